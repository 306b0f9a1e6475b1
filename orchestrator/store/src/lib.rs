#![doc = include_str!("../README.md")]

mod database;
mod deliveries;
mod error;
mod figures;
mod forge;
mod history;
mod leases;
mod queue;
mod spending;
mod wakes;

use async_trait::async_trait;
use cloud_code_model::{
    Attempt, Issue, IssueKey, NewTask, Project, ProjectName, StopReason, TaskEvent, TaskRecord,
};
use cloud_code_task_schema::{BranchName, TaskId, Usage};
use jiff::Timestamp;

pub use database::{Database, Front, Wakes};
pub use deliveries::{
    Deliveries, Delivery, DeliveryKey, DeliverySource, DeliveryState, Forget, Forgotten, HookTarget,
    NewDelivery, Put,
};
pub use error::StoreError;
pub use figures::{Figures, OpenFigures, TaskCount, Waiting};
pub use forge::{Change, ForgeStore};
pub use history::HistoryStore;
pub use leases::{Claim, Lease, Leases, Member, ProcessId, Standing, Terms, Worker};
pub use queue::QueueStore;
pub use spending::{Balances, Spending};
pub use wakes::Wake;

/// What the rest of the orchestrator asks of the store. Each call is one transaction.
#[async_trait]
pub trait Store: Send + Sync {
    /// Remembers a project, or changes where its repository is.
    async fn put_project(&self, project: &Project) -> Result<(), StoreError>;
    /// A project by name.
    async fn project(&self, name: &ProjectName) -> Result<Option<Project>, StoreError>;
    /// Opens an issue with its first task, and has the thread that it was asked for in name it: all or nothing.
    ///
    /// Refuses with [`StoreError::Exists`] when the key or the branch is taken, and with [`StoreError::Settled`] when the
    /// task's request was settled: whoever settles one finds its task in the thread, or there never is one.
    async fn open_issue(&self, issue: &Issue, first: &NewTask, thread: Option<u64>)
    -> Result<(), StoreError>;
    /// Adds a task to an issue, after all others.
    ///
    /// Refuses with [`StoreError::NotOpen`] while another task of the issue has not ended, and when it was cleaned: two
    /// tasks never share a worktree at one time. With [`StoreError::Settled`] as [`Store::open_issue`] does.
    async fn add_task(&self, task: &NewTask) -> Result<(), StoreError>;
    /// An issue by key.
    async fn issue(&self, project: &ProjectName, key: &IssueKey) -> Result<Option<Issue>, StoreError>;
    /// Issues, newest first, at most `limit`.
    async fn issues(&self, project: Option<&ProjectName>, limit: u32) -> Result<Vec<Issue>, StoreError>;
    /// Notes the commit that the issue's work now stands on, and where its worktree is made anew if that is another one.
    async fn move_base(
        &self,
        project: &ProjectName,
        key: &IssueKey,
        base_sha: &str,
        start_sha: Option<&str>,
    ) -> Result<(), StoreError>;
    /// Whether an issue's key was ever used, or its branch is used by a live one.
    async fn is_taken(
        &self,
        project: &ProjectName,
        key: &IssueKey,
        branch: &BranchName,
    ) -> Result<bool, StoreError>;
    /// Notes that an issue's workspace is gone. Its branch name becomes free for another issue.
    async fn mark_cleaned(
        &self,
        project: &ProjectName,
        key: &IssueKey,
        at: Timestamp,
    ) -> Result<(), StoreError>;
    /// A task by id.
    async fn task(&self, id: &TaskId) -> Result<Option<TaskRecord>, StoreError>;
    /// The tasks of an issue, oldest first.
    async fn tasks_of(&self, project: &ProjectName, issue: &IssueKey) -> Result<Vec<TaskRecord>, StoreError>;
    /// Every task that has not ended, oldest first.
    async fn open_tasks(&self) -> Result<Vec<TaskRecord>, StoreError>;
    /// Moves a task: reads `record.version`, applies the event, and refuses with [`StoreError::Stale`] when somebody
    /// else moved it in between. Returns the task as it stands now.
    async fn transition(
        &self,
        record: &TaskRecord,
        event: TaskEvent,
        at: Timestamp,
    ) -> Result<TaskRecord, StoreError>;
    /// Notes that a person wants the task stopped. The first time counts; an ended task is left alone.
    async fn request_cancel(&self, id: &TaskId, at: Timestamp) -> Result<(), StoreError>;
    /// Notes why the host is about to end the task's container. The first time counts.
    async fn record_stop(&self, id: &TaskId, reason: StopReason) -> Result<(), StoreError>;
    /// Keeps the figures, the words and the questions of the agent's last report.
    async fn record_report(
        &self,
        id: &TaskId,
        usage: &Usage,
        summary: Option<&str>,
        questions: &[String],
    ) -> Result<(), StoreError>;
    /// Notes that an attempt began; the same attempt again changes nothing.
    async fn begin_attempt(&self, attempt: &Attempt) -> Result<(), StoreError>;
    /// Notes which container runs an attempt.
    async fn attempt_container(&self, task: &TaskId, number: u32, container: &str) -> Result<(), StoreError>;
    /// Notes that an attempt ended; the first time counts.
    async fn finish_attempt(
        &self,
        task: &TaskId,
        number: u32,
        at: Timestamp,
        result: &str,
    ) -> Result<(), StoreError>;
    /// The attempts of a task, first to last.
    async fn attempts(&self, task: &TaskId) -> Result<Vec<Attempt>, StoreError>;
}
