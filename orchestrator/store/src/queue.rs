//! What the store keeps of the queue beside the tasks themselves.

use async_trait::async_trait;
use cloud_code_model::{Pause, PauseScope, QueuePlace};
use cloud_code_task_schema::TaskId;

use crate::StoreError;

/// Places and pauses. Each call is one transaction.
#[async_trait]
pub trait QueueStore: Send + Sync {
    /// Changes a task's place; false when it is not waiting any more.
    async fn put_place(&self, id: &TaskId, place: &QueuePlace) -> Result<bool, StoreError>;
    /// Stops a part of the queue; a second pause of the same changes its words.
    async fn pause(&self, pause: &Pause) -> Result<(), StoreError>;
    /// Lets it go on; false when it was not stopped.
    async fn unpause(&self, scope: &PauseScope) -> Result<bool, StoreError>;
    /// What is stopped.
    async fn pauses(&self) -> Result<Vec<Pause>, StoreError>;
}
