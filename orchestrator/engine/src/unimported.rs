//! Whether an issue's workspace still holds work that never came into the mirror. Asked before it is removed, because
//! nothing brings it back. The host cannot run git in a tree that an agent wrote, so this goes by HEAD and by what the
//! agent said.

use cloud_code_model::{Issue, TaskRecord, reads_only};
use cloud_code_task_schema::{ControlDir, TaskReport};

use crate::follow_up::heard;
use crate::{Engine, EngineError, blocking};

impl Engine {
    /// What would be lost with the workspace, in words; `None` when everything is in the mirror.
    pub async fn unimported(&self, issue: &Issue) -> Result<Option<String>, EngineError> {
        let records = self.store.tasks_of(&issue.project, &issue.key).await?;
        let Some(last) = records.last() else { return Ok(None) };
        let repo = self.repo(&issue.project, &last.task.plan.repo)?;
        let wrote = match records.iter().rev().find(|record| !reads_only(record.task.mode)) {
            Some(record) => self.was_started(record).await?.then(|| record.task.id.clone()),
            None => None,
        };
        let control = ControlDir::new(self.settings.layout.issue(&issue.project, &issue.key).control);
        let key = issue.key.clone();
        blocking(move || {
            if let Some(lost) = repo.unimported_head(&key)? {
                return Ok(Some(lost));
            }
            // The agent commits what its CLI left before it says how a task ended. Where it could not, it names no head.
            let reports = heard(&control)?.reports;
            let is_committed = |report: &TaskReport| {
                report.status.is_ended() && (report.head.is_some() || report.started_at.is_none())
            };
            let is_uncommitted = wrote.is_some_and(|id| !reports.get(&id).is_some_and(is_committed));
            Ok(is_uncommitted.then(|| "its agent ended before it could commit what was changed".to_owned()))
        })
        .await
    }

    async fn was_started(&self, record: &TaskRecord) -> Result<bool, EngineError> {
        let attempts = self.store.attempts(&record.task.id).await?;
        Ok(attempts.iter().any(|attempt| attempt.container.is_some()))
    }
}
