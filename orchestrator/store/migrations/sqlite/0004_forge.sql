-- `brief` is what an issue says in sections of its own (JSON). `intent` is the business key of what asked for the task:
-- the same request, seen again after a crash, finds its task instead of making a second one.
ALTER TABLE tasks ADD COLUMN brief TEXT NOT NULL DEFAULT '{}';
ALTER TABLE tasks ADD COLUMN intent TEXT;
CREATE UNIQUE INDEX tasks_intent ON tasks (project, intent) WHERE intent IS NOT NULL;

-- What was asked on a forge. `intent` is JSON of the model's type; it waits while `outcome` is NULL.
CREATE TABLE intents (
    project     TEXT NOT NULL,
    key         TEXT NOT NULL,
    intent      TEXT NOT NULL,
    received_at TEXT NOT NULL,
    reacted_at  TEXT,
    outcome     TEXT,
    settled_at  TEXT,
    PRIMARY KEY (project, key)
);

CREATE INDEX intents_waiting ON intents (received_at) WHERE outcome IS NULL;
CREATE INDEX intents_unreacted ON intents (received_at) WHERE reacted_at IS NULL;

-- Issues and pull requests of a forge that we have to do with. `facts`, `published` and `written` are JSON of the model's
-- types, and each has one writer: who receives, who publishes, who talks.
CREATE TABLE threads (
    project   TEXT NOT NULL,
    number    BIGINT NOT NULL,
    issue     TEXT,
    pull      BIGINT,
    facts     TEXT NOT NULL,
    published TEXT NOT NULL DEFAULT '{}',
    written   TEXT NOT NULL DEFAULT '{}',
    PRIMARY KEY (project, number)
);

CREATE INDEX threads_issue ON threads (project, issue);
CREATE INDEX threads_pull ON threads (project, pull);

-- Comments that are written once. `remote` is the forge's id; `gave_up` says why there is none.
CREATE TABLE notes (
    project    TEXT NOT NULL,
    key        TEXT NOT NULL,
    number     BIGINT NOT NULL,
    place      TEXT NOT NULL,
    body       TEXT NOT NULL,
    created_at TEXT NOT NULL,
    remote     BIGINT,
    gave_up    TEXT,
    PRIMARY KEY (project, key)
);

CREATE INDEX notes_waiting ON notes (created_at) WHERE remote IS NULL AND gave_up IS NULL;
