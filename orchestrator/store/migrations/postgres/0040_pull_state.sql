-- Where a thread's pull request is, beside its number: what is merged is never looked at again, and with the years that is
-- nearly all there is.
ALTER TABLE threads ADD COLUMN pull_state TEXT;
UPDATE threads SET pull_state = published::json #>> '{pull,state}' WHERE pull IS NOT NULL;
CREATE INDEX threads_unmerged ON threads (project, number) WHERE pull IS NOT NULL AND pull_state <> 'merged';
