-- A task's place among those that wait: JSON of the model's type.
ALTER TABLE tasks ADD COLUMN queue TEXT NOT NULL DEFAULT '{}';

-- What people stopped: nothing of it begins.
CREATE TABLE pauses (
    scope   TEXT PRIMARY KEY,
    by_whom TEXT,
    reason  TEXT,
    at      TEXT NOT NULL
);
