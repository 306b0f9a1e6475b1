-- What was used, a row for each account: `task:…`, `issue:…`, `project:…`, `day:…`. A task's own row says how much of it
-- was charged to the others already.
CREATE TABLE spending (
    account   TEXT PRIMARY KEY,
    micro_usd BIGINT NOT NULL DEFAULT 0,
    tokens    BIGINT NOT NULL DEFAULT 0,
    turns     BIGINT NOT NULL DEFAULT 0,
    attempts  BIGINT NOT NULL DEFAULT 0,
    wall_ms   BIGINT NOT NULL DEFAULT 0
);

-- Each yes to as much again; the key of what said so, so that one yes counts once.
CREATE TABLE grants (
    account TEXT NOT NULL,
    key     TEXT NOT NULL,
    by_whom TEXT,
    at      TEXT NOT NULL,
    PRIMARY KEY (account, key)
);
