//! What the store keeps of a forge: requests, the threads they were made in, and comments to be written once.

use async_trait::async_trait;
use cloud_code_model::{
    Intent, IntentRecord, IssueKey, Note, ProjectName, Published, TaskEvent, TaskRecord, Thread, ThreadFacts,
    ThreadWritten,
};
use jiff::Timestamp;

use crate::StoreError;

/// What is to be changed in a value that others change too. It may be called more than once.
pub type Change<'a, T> = &'a mut (dyn FnMut(&mut T) + Send);

/// Requests, threads and notes. Each call is one transaction.
#[async_trait]
pub trait ForgeStore: Send + Sync {
    /// Stores a request. False when it is there already: a second delivery of it changes nothing.
    async fn put_intent(
        &self,
        project: &ProjectName,
        intent: &Intent,
        at: Timestamp,
    ) -> Result<bool, StoreError>;
    /// A request by its key.
    async fn intent(&self, project: &ProjectName, key: &str) -> Result<Option<IntentRecord>, StoreError>;
    /// Requests that nothing has come of yet, oldest first.
    async fn waiting_intents(&self) -> Result<Vec<IntentRecord>, StoreError>;
    /// Notes what came of a request; the first time counts.
    async fn settle_intent(
        &self,
        project: &ProjectName,
        key: &str,
        outcome: &str,
        at: Timestamp,
    ) -> Result<(), StoreError>;
    /// Moves a task because a request says so, and notes what came of the request: both or neither, so that a request seen
    /// again after a crash does not find its own doing and take it for another's.
    async fn decide(
        &self,
        record: &TaskRecord,
        event: TaskEvent,
        key: &str,
        outcome: &str,
        at: Timestamp,
    ) -> Result<TaskRecord, StoreError>;
    /// Requests without a reaction, oldest first.
    async fn unreacted_intents(&self) -> Result<Vec<IntentRecord>, StoreError>;
    /// Notes that a request has its reaction, or needs none.
    async fn mark_reacted(&self, project: &ProjectName, key: &str, at: Timestamp) -> Result<(), StoreError>;
    /// The task that came of a request.
    async fn task_of_intent(
        &self,
        project: &ProjectName,
        key: &str,
    ) -> Result<Option<TaskRecord>, StoreError>;

    /// A thread by its number.
    async fn thread(&self, project: &ProjectName, number: u64) -> Result<Option<Thread>, StoreError>;
    /// The thread that an issue of ours works on.
    async fn thread_of_issue(
        &self,
        project: &ProjectName,
        issue: &IssueKey,
    ) -> Result<Option<Thread>, StoreError>;
    /// The thread whose work a pull request holds.
    async fn thread_of_pull(&self, project: &ProjectName, pull: u64) -> Result<Option<Thread>, StoreError>;
    /// The threads of a project whose pull request is not merged, open or closed, in their order.
    async fn unmerged_threads(&self, project: &ProjectName) -> Result<Vec<Thread>, StoreError>;
    /// At most `limit` threads in their order, by project and number, from the one behind `after`: for whoever looks at all
    /// that ever were, and is not to hold them in memory at once.
    async fn threads_after(
        &self,
        after: Option<(&ProjectName, u64)>,
        limit: u32,
    ) -> Result<Vec<Thread>, StoreError>;
    /// Makes a thread; false when it is there already.
    async fn make_thread(
        &self,
        project: &ProjectName,
        number: u64,
        facts: &ThreadFacts,
    ) -> Result<bool, StoreError>;
    /// Changes what is known of a thread, as it stands at that moment: what others learnt meanwhile stays. The thread as it
    /// is then; none when there is no such thread.
    async fn change_thread(
        &self,
        project: &ProjectName,
        number: u64,
        change: Change<'_, ThreadFacts>,
    ) -> Result<Option<Thread>, StoreError>;
    /// Changes what is known of the work's pull request, in the same way.
    async fn change_published(
        &self,
        project: &ProjectName,
        number: u64,
        change: Change<'_, Published>,
    ) -> Result<Option<Thread>, StoreError>;
    /// Replaces what was written in a thread, which only the one who writes there does.
    async fn put_written(
        &self,
        project: &ProjectName,
        number: u64,
        written: &ThreadWritten,
    ) -> Result<(), StoreError>;

    /// A comment to be written once; the first time counts.
    async fn put_note(&self, note: &Note) -> Result<(), StoreError>;
    /// Comments that are not written yet, oldest first.
    async fn waiting_notes(&self) -> Result<Vec<Note>, StoreError>;
    /// Notes where a comment was written.
    async fn note_written(&self, project: &ProjectName, key: &str, remote: u64) -> Result<(), StoreError>;
    /// The forge's id of a comment that was written once.
    async fn written_note(&self, project: &ProjectName, key: &str) -> Result<Option<u64>, StoreError>;
    /// Notes why a comment cannot be written.
    async fn note_given_up(&self, project: &ProjectName, key: &str, why: &str) -> Result<(), StoreError>;
}
