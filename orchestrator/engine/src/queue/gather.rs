//! What decides about turns and stands in the store: dependencies and budgets.

use std::collections::BTreeMap;

use cloud_code_model::{IssueKey, ProjectName, PullState, TaskRecord, TaskState};
use cloud_code_task_schema::{Mode, TaskId};
use jiff::Timestamp;

use super::Unmet;
use crate::budget;
use crate::words::how_it_ended;
use crate::{EngineError, Rows};

/// Why tasks with dependencies cannot begin yet.
pub async fn unmet(store: &dyn Rows, open: &[TaskRecord]) -> Result<BTreeMap<TaskId, Unmet>, EngineError> {
    let mut found = BTreeMap::new();
    for record in open.iter().filter(|record| matches!(record.state, TaskState::Queued)) {
        for issue in &record.task.queue.depends_on {
            if let Some(how) = missing(store, &record.task.project, issue).await? {
                found.insert(record.task.id.clone(), Unmet { issue: issue.clone(), how });
                break;
            }
        }
    }
    Ok(found)
}

/// What keeps an issue's work from being built on; nothing when it can be.
async fn missing(
    store: &dyn Rows,
    project: &ProjectName,
    issue: &IssueKey,
) -> Result<Option<String>, EngineError> {
    let tasks = store.tasks_of(project, issue).await?;
    let Some(last) = tasks.iter().rev().find(|task| task.task.mode != Mode::Ask) else {
        return Ok(Some("was not asked for yet".to_owned()));
    };
    if !matches!(last.state, TaskState::Done { .. }) {
        return Ok(Some(how_it_ended(&last.state).to_owned()));
    }
    let thread = store.thread_of_issue(project, issue).await?;
    // Without a pull request the branch was handed over as it is, and what comes of it is the person's.
    Ok(match thread.and_then(|thread| thread.published.pull) {
        Some(pull) => match pull.state {
            PullState::Open => Some(format!("is not merged (pull request {})", pull.number)),
            PullState::Closed => Some(format!("was closed without merging (pull request {})", pull.number)),
            PullState::Merged => None,
        },
        None => None,
    })
}

/// Whether a task's budgets let no attempt begin, in words.
pub async fn spent(
    store: &dyn Rows,
    record: &TaskRecord,
    now: Timestamp,
) -> Result<Option<String>, EngineError> {
    let levels = budget::levels(store, record, now).await?;
    let level = levels.iter().filter(|level| level.is_used_up()).max_by_key(|level| level.percent);
    Ok(level.map(ToString::to_string))
}
