-- What SQLite's migrations up to 0007 make, at once: PostgreSQL came later, so nobody has older data in it. From here on
-- every migration has the same number and name in both folders.
--
-- Times are RFC 3339 text in UTC, and text sorts by its bytes, as in SQLite: hence the collation. `rowid` is the order of
-- insertion, which SQLite keeps of itself. The columns are explained beside SQLite's.
CREATE TABLE projects (
    name       TEXT COLLATE "C" PRIMARY KEY,
    repo       TEXT NOT NULL,
    created_at TEXT COLLATE "C" NOT NULL
);

CREATE TABLE issues (
    project      TEXT COLLATE "C" NOT NULL REFERENCES projects (name),
    key          TEXT COLLATE "C" NOT NULL,
    title        TEXT NOT NULL,
    branch       TEXT COLLATE "C" NOT NULL,
    base         TEXT NOT NULL,
    base_sha     TEXT NOT NULL,
    created_at   TEXT COLLATE "C" NOT NULL,
    cleaned_at   TEXT COLLATE "C",
    start_sha    TEXT,
    settings_sha TEXT,
    PRIMARY KEY (project, key)
);

CREATE UNIQUE INDEX issues_branch ON issues (project, branch) WHERE cleaned_at IS NULL;

CREATE TABLE tasks (
    rowid               BIGINT GENERATED ALWAYS AS IDENTITY,
    id                  TEXT COLLATE "C" PRIMARY KEY,
    project             TEXT COLLATE "C" NOT NULL,
    issue               TEXT COLLATE "C" NOT NULL,
    title               TEXT NOT NULL,
    description         TEXT NOT NULL,
    mode                TEXT NOT NULL,
    plan                TEXT NOT NULL,
    requested_by        TEXT,
    created_at          TEXT COLLATE "C" NOT NULL,
    status              TEXT COLLATE "C" NOT NULL,
    state               TEXT NOT NULL,
    version             BIGINT NOT NULL,
    cancel_requested_at TEXT COLLATE "C",
    updated_at          TEXT COLLATE "C" NOT NULL,
    usage               TEXT NOT NULL,
    summary             TEXT,
    continues           TEXT,
    handoff             TEXT,
    questions           TEXT NOT NULL DEFAULT '[]',
    stop_reason         TEXT,
    brief               TEXT NOT NULL DEFAULT '{}',
    intent              TEXT COLLATE "C",
    attempt             BIGINT NOT NULL DEFAULT 1,
    FOREIGN KEY (project, issue) REFERENCES issues (project, key)
);

CREATE INDEX tasks_issue ON tasks (project, issue, id);
CREATE INDEX tasks_status ON tasks (status, id);
CREATE UNIQUE INDEX tasks_intent ON tasks (project, intent) WHERE intent IS NOT NULL;

CREATE TABLE attempts (
    task        TEXT COLLATE "C" NOT NULL REFERENCES tasks (id),
    number      BIGINT NOT NULL,
    container   TEXT,
    started_at  TEXT COLLATE "C" NOT NULL,
    finished_at TEXT COLLATE "C",
    result      TEXT,
    PRIMARY KEY (task, number)
);

CREATE TABLE deliveries (
    seq         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target_type TEXT COLLATE "C" NOT NULL,
    target_id   BIGINT NOT NULL,
    guid        TEXT COLLATE "C" NOT NULL,
    event       TEXT NOT NULL,
    source      TEXT NOT NULL,
    received_at TEXT COLLATE "C" NOT NULL,
    state       TEXT NOT NULL,
    attempts    BIGINT NOT NULL DEFAULT 0,
    note        TEXT,
    done_at     TEXT COLLATE "C",
    packing     TEXT NOT NULL,
    body        BYTEA NOT NULL
);

CREATE UNIQUE INDEX deliveries_key ON deliveries (target_type, target_id, guid);
CREATE INDEX deliveries_waiting ON deliveries (seq) WHERE state = 'waiting';
CREATE INDEX deliveries_received ON deliveries (received_at);
CREATE INDEX deliveries_with_body ON deliveries (done_at) WHERE state <> 'waiting' AND LENGTH(body) > 0;

CREATE TABLE cursors (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE intents (
    rowid       BIGINT GENERATED ALWAYS AS IDENTITY,
    project     TEXT COLLATE "C" NOT NULL,
    key         TEXT COLLATE "C" NOT NULL,
    intent      TEXT NOT NULL,
    received_at TEXT COLLATE "C" NOT NULL,
    reacted_at  TEXT COLLATE "C",
    outcome     TEXT,
    settled_at  TEXT COLLATE "C",
    PRIMARY KEY (project, key)
);

CREATE INDEX intents_waiting ON intents (received_at) WHERE outcome IS NULL;
CREATE INDEX intents_unreacted ON intents (received_at) WHERE reacted_at IS NULL;

CREATE TABLE threads (
    project   TEXT COLLATE "C" NOT NULL,
    number    BIGINT NOT NULL,
    issue     TEXT COLLATE "C",
    pull      BIGINT,
    facts     TEXT NOT NULL,
    published TEXT NOT NULL DEFAULT '{}',
    written   TEXT NOT NULL DEFAULT '{}',
    PRIMARY KEY (project, number)
);

CREATE INDEX threads_issue ON threads (project, issue);
CREATE INDEX threads_pull ON threads (project, pull);

CREATE TABLE notes (
    rowid      BIGINT GENERATED ALWAYS AS IDENTITY,
    project    TEXT COLLATE "C" NOT NULL,
    key        TEXT COLLATE "C" NOT NULL,
    number     BIGINT NOT NULL,
    place      TEXT NOT NULL,
    body       TEXT NOT NULL,
    created_at TEXT COLLATE "C" NOT NULL,
    remote     BIGINT,
    gave_up    TEXT,
    PRIMARY KEY (project, key)
);

CREATE INDEX notes_waiting ON notes (created_at) WHERE remote IS NULL AND gave_up IS NULL;
