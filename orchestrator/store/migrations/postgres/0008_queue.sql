ALTER TABLE tasks ADD COLUMN queue TEXT NOT NULL DEFAULT '{}';

CREATE TABLE pauses (
    scope   TEXT COLLATE "C" PRIMARY KEY,
    by_whom TEXT,
    reason  TEXT,
    at      TEXT COLLATE "C" NOT NULL
);
