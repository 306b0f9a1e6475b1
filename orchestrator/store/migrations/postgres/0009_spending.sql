CREATE TABLE spending (
    account   TEXT COLLATE "C" PRIMARY KEY,
    micro_usd BIGINT NOT NULL DEFAULT 0,
    tokens    BIGINT NOT NULL DEFAULT 0,
    turns     BIGINT NOT NULL DEFAULT 0,
    attempts  BIGINT NOT NULL DEFAULT 0,
    wall_ms   BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE grants (
    account TEXT COLLATE "C" NOT NULL,
    key     TEXT COLLATE "C" NOT NULL,
    by_whom TEXT,
    at      TEXT NOT NULL,
    PRIMARY KEY (account, key)
);
