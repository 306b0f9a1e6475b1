//! Moves as rows.

use async_trait::async_trait;
use cloud_code_model::{IssueKey, Move, ProjectName};
use cloud_code_task_schema::TaskId;

use super::sql::sql;
use super::transaction::Tx;
use super::{Database, json, row};
use crate::history::{FIRST_MOVES, FORGET_MOVES, INSERT_MOVE, MOVES_OF, MOVES_OF_ISSUE, NEWEST_MOVES};
use crate::{HistoryStore, StoreError};

/// Notes a move in the transaction that makes it.
pub(super) async fn note_move(tx: &mut Tx, made: &Move) -> Result<(), StoreError> {
    let task = made.task.as_str();
    let statement = sql(INSERT_MOVE)
        .bind(task)
        .bind(made.seq)
        .bind(made.at.to_string())
        .bind(&made.event)
        .bind(made.status.as_str())
        .bind(json("move", task, &made.detail)?);
    tx.change(statement).await?;
    if made.seq > FIRST_MOVES + NEWEST_MOVES {
        let forget = sql(FORGET_MOVES).bind(task).bind(FIRST_MOVES).bind(made.seq - NEWEST_MOVES);
        tx.change(forget).await?;
    }
    Ok(())
}

#[async_trait]
impl HistoryStore for Database {
    async fn moves(&self, task: &TaskId) -> Result<Vec<Move>, StoreError> {
        self.all(sql(MOVES_OF).bind(task.as_str()), row::task_move).await
    }

    async fn moves_of_issue(&self, project: &ProjectName, issue: &IssueKey) -> Result<Vec<Move>, StoreError> {
        let statement = sql(MOVES_OF_ISSUE).bind(project.as_str()).bind(issue.as_str());
        self.all(statement, row::task_move).await
    }
}
