-- Who works on what, when several processes share the store. Times are milliseconds of this database's clock. `process` is
-- one start of the worker; `moved_from` has the workspace while `worker` has none yet. A token only grows.
CREATE TABLE workers (
    name       TEXT PRIMARY KEY,
    process    TEXT NOT NULL,
    host       TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE TABLE leases (
    project    TEXT NOT NULL,
    issue      TEXT NOT NULL,
    worker     TEXT NOT NULL,
    process    TEXT NOT NULL,
    token      BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    moved_from TEXT,
    PRIMARY KEY (project, issue)
);

CREATE INDEX leases_worker ON leases (worker, process);
