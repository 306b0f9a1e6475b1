//! Reads all facts of a task. What an agent wrote is read as data: capped, validated, links refused.

use std::path::Path;

use cloud_code_model::{TaskRecord, TaskState};
use cloud_code_runtime::{ContainerFacts, ContainerId, ContainerState, Labels};
use cloud_code_store::StoreError;
use cloud_code_task_schema::{
    Assignment, ControlDir, MAX_YAML_BYTES, ReadError, Task, TaskId, Tasking, parse_reporting, parse_tasking,
    read_capped,
};
use cloud_code_workspace::{IssuePaths, shortage};

use crate::clocks::Elapsed;
use crate::facts::{ContainerFact, ContainerPhase, Facts, ReportFact, WorkspaceFact};
use crate::{Engine, EngineError, blocking};

impl Engine {
    /// All facts of a task, as they are now. How long they have been so, and what it may use still, is for a driver to add.
    pub(crate) async fn gather(&self, id: &TaskId, read: &mut LastRead) -> Result<Facts, EngineError> {
        let mut record = self.row(id).await?;
        let asked = record.task.clone();
        let issue = self.store.issue(&asked.project, &asked.issue).await?;
        let issue = issue.ok_or_else(|| missing("issue", asked.issue.as_str()))?;
        let attempt = record.attempt;
        let container = self.container(&record).await?;
        let has_ended = |container: &ContainerFact| matches!(container.phase, ContainerPhase::Exited { .. });
        if container.as_ref().is_none_or(has_ended) {
            // Whoever ended it noted so first, maybe after the row was read above: without this second look it would
            // pass for a crash.
            record = self.row(id).await?;
        }
        let workspaces = self.workspaces_of(&record, &issue)?;
        let control = ControlDir::new(self.paths(&record).control);
        let task = id.clone();
        // The container was looked at before the files: a report that comes in between is then seen with a container
        // that still runs, which only means another look. The other way round an end could be taken for a crash.
        let mut last = std::mem::take(read);
        let (workspace, tasking, report, worktree_head, last) = blocking(move || {
            let ready = if workspaces.is_ready()? { WorkspaceFact::Ready } else { WorkspaceFact::Missing };
            let tasking = last.tasking(&control.tasking(), &task, attempt)?;
            let report = last.report(&control.reporting(), &task, attempt)?;
            Ok((ready, tasking, report, workspaces.worktree_head()?, last))
        })
        .await?;
        *read = last;
        let elapsed = Elapsed::default();
        let rest = match &record.state {
            TaskState::BackingOff { until, .. } => until.duration_since(self.clock.now()),
            _ => jiff::SignedDuration::ZERO,
        };
        let rest = rest.try_into().unwrap_or_default();
        let budget = Vec::new();
        Ok(Facts {
            record,
            issue,
            rest,
            workspace,
            tasking,
            report,
            container,
            worktree_head,
            budget,
            elapsed,
        })
    }

    async fn row(&self, id: &TaskId) -> Result<TaskRecord, EngineError> {
        self.store.task(id).await?.ok_or_else(|| missing("task", id.as_str()))
    }

    async fn container(&self, record: &TaskRecord) -> Result<Option<ContainerFact>, EngineError> {
        let found = match &record.state {
            // No decision about these looks at a container: the question would only cost time.
            TaskState::Queued | TaskState::Importing { .. } | TaskState::Publishing { .. } => None,
            TaskState::Running { container, .. } => self.runtime.facts(&ContainerId::new(container)).await?,
            TaskState::Preparing
            | TaskState::BackingOff { .. }
            | TaskState::OverBudget { .. }
            | TaskState::AwaitingApproval { .. }
            | TaskState::Done { .. }
            | TaskState::NeedsInput { .. }
            | TaskState::Failed { .. }
            | TaskState::Cancelled { .. } => {
                let selector = Labels {
                    task: Some(record.task.id.clone()),
                    ..Labels::of_instance(self.settings.instance.clone())
                };
                let mut found = self.runtime.find(&selector).await?;
                if record.state == TaskState::Preparing {
                    // What an earlier attempt left behind is not this one's.
                    found.retain(|c| c.labels.attempt == Some(record.attempt));
                }
                found.sort_by_key(|c| c.labels.attempt != Some(record.attempt));
                found.into_iter().next()
            }
        };
        Ok(found.map(container_fact))
    }

    pub(crate) fn paths(&self, record: &TaskRecord) -> IssuePaths {
        self.settings.layout.issue(&record.task.project, &record.task.issue)
    }
}

fn missing(what: &'static str, id: &str) -> EngineError {
    EngineError::Store(StoreError::Missing { what, id: id.to_owned() })
}

fn container_fact(facts: ContainerFacts) -> ContainerFact {
    let phase = match facts.state {
        ContainerState::Created => ContainerPhase::Created,
        ContainerState::Running => ContainerPhase::Running,
        ContainerState::Exited(exit) => {
            ContainerPhase::Exited { code: exit.code.map(i64::from), oom: exit.oom_killed }
        }
        ContainerState::Dead => ContainerPhase::Exited { code: None, oom: false },
    };
    ContainerFact { id: facts.id.as_str().to_owned(), phase }
}

/// What a driver read at its last look. Most looks find what the one before found, and a text that stands as it stood is not
/// parsed again: a task whose agent says nothing new costs little.
#[derive(Debug, Default)]
pub(crate) struct LastRead {
    tasking: Memo<Option<Assignment>>,
    report: Memo<ReportFact>,
}

impl LastRead {
    /// What `tasking.yaml` says of an attempt at a task.
    fn tasking(
        &mut self,
        path: &Path,
        task: &TaskId,
        attempt: u32,
    ) -> Result<Option<Assignment>, EngineError> {
        let Some(text) = tasking_text(path)? else { return Ok(None) };
        Ok(self.tasking.of(attempt, text, |text| {
            let is_meant = |t: &Task| t.id == *task && t.attempt >= attempt;
            parse_standing(path, text)?.tasks.into_iter().find(is_meant).map(|t| t.status)
        }))
    }

    /// What the agent says of a task, if it speaks of this attempt.
    fn report(&mut self, path: &Path, task: &TaskId, attempt: u32) -> Result<ReportFact, EngineError> {
        let text = match read_control(path)? {
            Ok(text) => text,
            Err(ReadError::Missing { .. }) => return Ok(ReportFact::NotYet { heartbeat_at: None }),
            Err(error) => return Ok(ReportFact::Unreadable { reason: error.to_string() }),
        };
        Ok(self.report.of(attempt, text, |text| match parse_reporting(&path.display().to_string(), text) {
            Ok(mut reporting) => {
                let heartbeat_at = reporting.heartbeat_at;
                match reporting.tasks.remove(task).filter(|report| report.attempt >= attempt) {
                    Some(report) => ReportFact::Task { report: Box::new(report), heartbeat_at },
                    None => ReportFact::NotYet { heartbeat_at: Some(heartbeat_at) },
                }
            }
            Err(problems) => ReportFact::Unreadable { reason: problems.to_string() },
        }))
    }
}

/// What a text said of an attempt.
#[derive(Debug)]
struct Memo<T>(Option<(u32, String, T)>);

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Clone> Memo<T> {
    fn of(&mut self, attempt: u32, text: String, parse: impl FnOnce(&str) -> T) -> T {
        if let Some((known_attempt, known, said)) = &self.0
            && (*known_attempt, known) == (attempt, &text)
        {
            return said.clone();
        }
        let said = parse(&text);
        self.0 = Some((attempt, text, said.clone()));
        said
    }
}

/// `tasking.yaml` as it stands. A damaged one counts as absent: the rows say what must be in it, and it is written anew.
pub(crate) fn read_tasking(path: &Path) -> Result<Option<Tasking>, EngineError> {
    Ok(tasking_text(path)?.and_then(|text| parse_standing(path, &text)))
}

/// A file of the control directory. That this machine lacks what it takes to read it says nothing of what is in it: a report
/// that passes for a bad one has its CLI run once more.
pub(crate) fn read_control(path: &Path) -> Result<Result<String, ReadError>, EngineError> {
    match read_capped(path, MAX_YAML_BYTES) {
        Err(ReadError::Io { path, source }) if shortage(&source).is_some() => {
            Err(EngineError::Io { path, source })
        }
        read => Ok(read),
    }
}

fn tasking_text(path: &Path) -> Result<Option<String>, EngineError> {
    match read_control(path)? {
        Ok(text) => Ok(Some(text)),
        Err(ReadError::Missing { .. }) => Ok(None),
        Err(error) => {
            tracing::warn!(error = %error, "tasking.yaml cannot be read and will be written anew");
            Ok(None)
        }
    }
}

fn parse_standing(path: &Path, text: &str) -> Option<Tasking> {
    match parse_tasking(&path.display().to_string(), text) {
        Ok(tasking) => Some(tasking),
        Err(problems) => {
            tracing::warn!(problems = %problems, "tasking.yaml is damaged and will be written anew");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_parsed_once_for_each_attempt() {
        let (mut memo, mut parsed) = (Memo::default(), 0);
        let mut of = |attempt, text: &str| {
            memo.of(attempt, text.to_owned(), |text| {
                parsed += 1;
                format!("{attempt}: {text}")
            })
        };
        let said = [of(1, "a"), of(1, "a"), of(2, "a"), of(2, "b"), of(2, "b"), of(2, "a")];
        assert_eq!(said, ["1: a", "1: a", "2: a", "2: b", "2: b", "2: a"]);
        assert_eq!(parsed, 4);
    }
}
