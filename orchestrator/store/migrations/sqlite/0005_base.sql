-- `start_sha` is the commit that the worktree is made at when it is not `base_sha`, because the host put the work on a newer
-- base. `settings_sha` is the commit whose settings for CLIs stand in the worktree, for work on somebody's pull request.
ALTER TABLE issues ADD COLUMN start_sha TEXT;
ALTER TABLE issues ADD COLUMN settings_sha TEXT;
