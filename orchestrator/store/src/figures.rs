//! What an operator wants to see of the rows, in two cheap queries.
//!
//! Only what has not ended is counted, by its index: the answer takes as long with a hundred thousand ended tasks as with
//! none. What ends is counted by the process as it ends.

use async_trait::async_trait;
use cloud_code_task_schema::FailureKind;
use jiff::Timestamp;

use crate::StoreError;

/// Open tasks of one project in one status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskCount {
    /// The project.
    pub project: String,
    /// The status, as it is stored.
    pub status: String,
    /// How many.
    pub count: u64,
    /// When the oldest of them was asked for.
    pub oldest_at: Option<Timestamp>,
}

/// Things that wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many.
    pub count: u64,
    /// Since when the oldest.
    pub oldest_at: Option<Timestamp>,
}

/// All that has not ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenFigures {
    /// Tasks, by project and status.
    pub tasks: Vec<TaskCount>,
    /// The project of each task that waits for another attempt, and why the last one failed.
    pub backing_off: Vec<(String, FailureKind)>,
    /// Deliveries that nobody has read.
    pub deliveries: Waiting,
    /// Requests without an outcome.
    pub requests: Waiting,
    /// Comments that are to be written.
    pub notes: Waiting,
}

/// What the store says of itself to whoever watches it.
#[async_trait]
pub trait Figures: Send + Sync {
    /// All that has not ended.
    async fn open_figures(&self) -> Result<OpenFigures, StoreError>;
}
