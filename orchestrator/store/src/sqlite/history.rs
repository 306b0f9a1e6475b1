use async_trait::async_trait;
use cloud_code_model::{IssueKey, Move, ProjectName};
use cloud_code_task_schema::TaskId;
use sqlx::SqliteConnection;

use super::json;
use crate::history::{FIRST_MOVES, FORGET_MOVES, INSERT_MOVE, MOVES_OF, MOVES_OF_ISSUE, NEWEST_MOVES};
use crate::{HistoryStore, SqliteStore, StoreError, row};

/// Notes a move in the transaction that makes it.
pub(super) async fn note_move(on: &mut SqliteConnection, made: &Move) -> Result<(), StoreError> {
    let task = made.task.as_str();
    sqlx::query(INSERT_MOVE)
        .bind(task)
        .bind(made.seq)
        .bind(made.at.to_string())
        .bind(&made.event)
        .bind(made.status.as_str())
        .bind(json("move", task, &made.detail)?)
        .execute(&mut *on)
        .await?;
    if made.seq > FIRST_MOVES + NEWEST_MOVES {
        sqlx::query(FORGET_MOVES)
            .bind(task)
            .bind(FIRST_MOVES)
            .bind(made.seq - NEWEST_MOVES)
            .execute(&mut *on)
            .await?;
    }
    Ok(())
}

#[async_trait]
impl HistoryStore for SqliteStore {
    async fn moves(&self, task: &TaskId) -> Result<Vec<Move>, StoreError> {
        let rows = sqlx::query(MOVES_OF).bind(task.as_str()).fetch_all(&self.pool).await?;
        rows.iter().map(row::task_move).collect()
    }

    async fn moves_of_issue(&self, project: &ProjectName, issue: &IssueKey) -> Result<Vec<Move>, StoreError> {
        let rows = sqlx::query(MOVES_OF_ISSUE)
            .bind(project.as_str())
            .bind(issue.as_str())
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(row::task_move).collect()
    }
}
