//! What happened to a task, move by move. The row says where it is; this says how it came there.

use cloud_code_task_schema::{Failure, TaskId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{TaskEvent, TaskRecord, TaskState, TaskStatus};

/// Longest message of a failure that a move keeps, in characters. The row and the attempt's files have it whole.
const MAX_MESSAGE: usize = 300;

/// One move of a task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Move {
    /// Its task.
    pub task: TaskId,
    /// The row's version after it: moves are in this order, and a number that is missing was left out.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// What happened: [`TaskEvent::name`].
    pub event: String,
    /// Where the task was then.
    pub status: TaskStatus,
    /// What else is to be said.
    pub detail: MoveDetail,
}

/// What else is to be said of a move.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MoveDetail {
    /// The attempt that was going on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// The branch's commit, where the state knows one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// Why it failed, with its message cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// When the next attempt may begin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Move {
    /// The move that led from `before` to `after`.
    pub fn between(before: &TaskRecord, event: &TaskEvent, after: &TaskRecord) -> Self {
        let failure = match (&after.state, event) {
            (TaskState::Importing { outcome }, _) => outcome.failure.as_ref(),
            (state, _) => state.failure(),
        };
        let until = match &after.state {
            TaskState::BackingOff { until, .. } => Some(*until),
            _ => None,
        };
        // An attempt ends where it is imported; the row counts on only when the next one begins.
        let attempt = match event {
            TaskEvent::Woken | TaskEvent::Granted => after.attempt,
            _ => before.attempt,
        };
        Self {
            task: after.task.id.clone(),
            seq: after.version,
            at: after.updated_at,
            event: event.name().to_owned(),
            status: after.state.status(),
            detail: MoveDetail {
                attempt: Some(attempt),
                head: after.state.head().map(str::to_owned),
                failure: failure.cloned().map(cut),
                until,
            },
        }
    }
}

fn cut(mut failure: Failure) -> Failure {
    if let Some((at, _)) = failure.message.char_indices().nth(MAX_MESSAGE) {
        failure.message.truncate(at);
        failure.message.push('…');
    }
    failure
}
