//! The moves of tasks. Every statement here is taken by SQLite and PostgreSQL alike.

use async_trait::async_trait;
use cloud_code_model::{IssueKey, Move, ProjectName};
use cloud_code_task_schema::TaskId;

use crate::StoreError;

/// How many of a task's first moves are kept whatever comes.
pub(crate) const FIRST_MOVES: i64 = 50;
/// How many of its newest are kept beside them. A task with all its attempts makes some dozens; one that a bug moves for
/// ever must not fill the store.
pub(crate) const NEWEST_MOVES: i64 = 150;

pub(crate) const INSERT_MOVE: &str =
    "INSERT INTO moves (task, seq, at, event, status, detail) VALUES ($1, $2, $3, $4, $5, $6)";
pub(crate) const FORGET_MOVES: &str = "DELETE FROM moves WHERE task = $1 AND seq > $2 AND seq <= $3";
pub(crate) const MOVES_OF: &str = "SELECT * FROM moves WHERE task = $1 ORDER BY seq";
pub(crate) const MOVES_OF_ISSUE: &str = "SELECT moves.* FROM moves JOIN tasks ON tasks.id = moves.task \
     WHERE tasks.project = $1 AND tasks.issue = $2 ORDER BY moves.task, moves.seq";

/// How tasks came where they are.
#[async_trait]
pub trait HistoryStore: Send + Sync {
    /// The moves of a task, first to last. At most two hundred: of more, the middle is left out.
    async fn moves(&self, task: &TaskId) -> Result<Vec<Move>, StoreError>;
    /// The moves of all tasks of an issue, by task and then in their order.
    async fn moves_of_issue(&self, project: &ProjectName, issue: &IssueKey) -> Result<Vec<Move>, StoreError>;
}
