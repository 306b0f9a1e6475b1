CREATE TABLE workers (
    name       TEXT COLLATE "C" PRIMARY KEY,
    process    TEXT COLLATE "C" NOT NULL,
    host       TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

CREATE TABLE leases (
    project    TEXT COLLATE "C" NOT NULL,
    issue      TEXT COLLATE "C" NOT NULL,
    worker     TEXT COLLATE "C" NOT NULL,
    process    TEXT COLLATE "C" NOT NULL,
    token      BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    moved_from TEXT COLLATE "C",
    PRIMARY KEY (project, issue)
);

CREATE INDEX leases_worker ON leases (worker, process);

-- Word for the processes that listen. It is sent with the commit, and equal words of one transaction are one.
CREATE FUNCTION cloud_code_wake() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('cloud_code', TG_TABLE_NAME);
    RETURN NULL;
END
$$;

CREATE TRIGGER wake AFTER INSERT ON deliveries
    FOR EACH ROW WHEN (NEW.state = 'waiting') EXECUTE FUNCTION cloud_code_wake();
CREATE TRIGGER wake AFTER INSERT ON intents
    FOR EACH ROW EXECUTE FUNCTION cloud_code_wake();
CREATE TRIGGER wake_added AFTER INSERT ON tasks
    FOR EACH ROW EXECUTE FUNCTION cloud_code_wake();
CREATE TRIGGER wake_moved AFTER UPDATE ON tasks FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status OR OLD.cancel_requested_at IS DISTINCT FROM NEW.cancel_requested_at
        OR OLD.queue IS DISTINCT FROM NEW.queue)
    EXECUTE FUNCTION cloud_code_wake();
CREATE TRIGGER wake AFTER INSERT ON notes
    FOR EACH ROW EXECUTE FUNCTION cloud_code_wake();
CREATE TRIGGER wake AFTER DELETE ON pauses
    FOR EACH ROW EXECUTE FUNCTION cloud_code_wake();
CREATE TRIGGER wake AFTER INSERT ON grants
    FOR EACH ROW EXECUTE FUNCTION cloud_code_wake();
-- Given back. A renewal, which comes every few seconds, is no news.
CREATE TRIGGER wake AFTER UPDATE ON leases
    FOR EACH ROW WHEN (OLD.expires_at > 0 AND NEW.expires_at = 0) EXECUTE FUNCTION cloud_code_wake();
