-- Times are RFC 3339 text in UTC. `state`, `plan` and `usage` are JSON of the model's types; `status` repeats the
-- state's name so that it can be indexed, and is only ever written together with it.
CREATE TABLE projects (
    name       TEXT PRIMARY KEY,
    repo       TEXT NOT NULL,
    created_at TEXT NOT NULL
);

CREATE TABLE issues (
    project    TEXT NOT NULL REFERENCES projects (name),
    key        TEXT NOT NULL,
    title      TEXT NOT NULL,
    branch     TEXT NOT NULL,
    base       TEXT NOT NULL,
    base_sha   TEXT NOT NULL,
    created_at TEXT NOT NULL,
    cleaned_at TEXT,
    PRIMARY KEY (project, key)
);

-- Two live issues of a project never share a branch.
CREATE UNIQUE INDEX issues_branch ON issues (project, branch) WHERE cleaned_at IS NULL;

CREATE TABLE tasks (
    id                  TEXT PRIMARY KEY,
    project             TEXT NOT NULL,
    issue               TEXT NOT NULL,
    title               TEXT NOT NULL,
    description         TEXT NOT NULL,
    mode                TEXT NOT NULL,
    plan                TEXT NOT NULL,
    requested_by        TEXT,
    created_at          TEXT NOT NULL,
    status              TEXT NOT NULL,
    state               TEXT NOT NULL,
    version             BIGINT NOT NULL,
    cancel_requested_at TEXT,
    updated_at          TEXT NOT NULL,
    usage               TEXT NOT NULL,
    summary             TEXT,
    FOREIGN KEY (project, issue) REFERENCES issues (project, key)
);

CREATE INDEX tasks_issue ON tasks (project, issue, id);
CREATE INDEX tasks_status ON tasks (status, id);

CREATE TABLE attempts (
    task        TEXT NOT NULL REFERENCES tasks (id),
    number      BIGINT NOT NULL,
    container   TEXT,
    started_at  TEXT NOT NULL,
    finished_at TEXT,
    result      TEXT,
    PRIMARY KEY (task, number)
);
