-- What a task goes on from: an earlier task's session, or the packet another CLI left (JSON). What it asked at its end,
-- and why the host ended its container, when it did.
ALTER TABLE tasks ADD COLUMN continues TEXT;
ALTER TABLE tasks ADD COLUMN handoff TEXT;
ALTER TABLE tasks ADD COLUMN questions TEXT NOT NULL DEFAULT '[]';
ALTER TABLE tasks ADD COLUMN stop_reason TEXT;
