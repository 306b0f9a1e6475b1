-- What happened to each task, in the order of its versions. `detail` is JSON of the model's type. Append only, but that
-- the middle of a very long story goes.
CREATE TABLE moves (
    task   TEXT NOT NULL REFERENCES tasks (id),
    seq    BIGINT NOT NULL,
    at     TEXT NOT NULL,
    event  TEXT NOT NULL,
    status TEXT NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (task, seq)
);
