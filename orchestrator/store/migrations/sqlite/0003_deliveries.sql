-- What a forge told us, kept before it is answered. `guid` alone is not a key: every hook that is subscribed to an event
-- gets the same one. Times have three decimals, so that they sort as text. `body` is last: a row is looked at far more
-- often without it than with it. `packing` is how it is stored: `plain`, or `lz4` with its length before it.
CREATE TABLE deliveries (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    target_type TEXT NOT NULL,
    target_id   BIGINT NOT NULL,
    guid        TEXT NOT NULL,
    event       TEXT NOT NULL,
    source      TEXT NOT NULL,
    received_at TEXT NOT NULL,
    state       TEXT NOT NULL,
    attempts    BIGINT NOT NULL DEFAULT 0,
    note        TEXT,
    done_at     TEXT,
    packing     TEXT NOT NULL,
    body        BLOB NOT NULL
);

CREATE UNIQUE INDEX deliveries_key ON deliveries (target_type, target_id, guid);
CREATE INDEX deliveries_waiting ON deliveries (seq) WHERE state = 'waiting';
CREATE INDEX deliveries_received ON deliveries (received_at);

-- How far a list of the forge was read.
CREATE TABLE cursors (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
