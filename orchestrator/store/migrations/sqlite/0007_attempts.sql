-- Which attempt at a task is going on or comes next.
ALTER TABLE tasks ADD COLUMN attempt BIGINT NOT NULL DEFAULT 1;
