//! Places and pauses as rows.

use async_trait::async_trait;
use cloud_code_model::{Pause, PauseScope, QueuePlace};
use cloud_code_task_schema::TaskId;

use super::sql::sql;
use super::{Database, json, row};
use crate::{QueueStore, StoreError};

#[async_trait]
impl QueueStore for Database {
    async fn put_place(&self, id: &TaskId, place: &QueuePlace) -> Result<bool, StoreError> {
        // Like a cancel request: a fact beside the state, so a driver in the middle of a step is not made stale.
        let statement =
            sql("UPDATE tasks SET queue = $1 WHERE id = $2 AND status IN ('queued', 'backing_off')")
                .bind(json("task", id.as_str(), place)?)
                .bind(id.as_str());
        Ok(self.change(statement).await? > 0)
    }

    async fn pause(&self, pause: &Pause) -> Result<(), StoreError> {
        let statement = sql(
            "INSERT INTO pauses (scope, by_whom, reason, at) VALUES ($1, $2, $3, $4) ON CONFLICT (scope) \
             DO UPDATE SET by_whom = excluded.by_whom, reason = excluded.reason, at = excluded.at",
        )
        .bind(pause.scope.to_string())
        .bind(&pause.by)
        .bind(&pause.reason)
        .bind(pause.at.to_string());
        self.change(statement).await.map(drop)
    }

    async fn unpause(&self, scope: &PauseScope) -> Result<bool, StoreError> {
        let statement = sql("DELETE FROM pauses WHERE scope = $1").bind(scope.to_string());
        Ok(self.change(statement).await? > 0)
    }

    async fn pauses(&self) -> Result<Vec<Pause>, StoreError> {
        self.all(sql("SELECT * FROM pauses ORDER BY scope"), row::pause).await
    }
}
