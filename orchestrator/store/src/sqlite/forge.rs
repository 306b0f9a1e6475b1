//! Requests, threads and notes in SQLite.

use async_trait::async_trait;
use cloud_code_model::{
    Intent, IntentRecord, IssueKey, Note, ProjectName, Published, TaskRecord, Thread, ThreadFacts,
    ThreadWritten,
};
use jiff::Timestamp;

use super::{SqliteStore, json};
use crate::forge::ForgeStore;
use crate::{StoreError, row};

/// Numbers of a forge are far below this; a larger one is refused rather than cut.
fn number(what: &'static str, id: u64) -> Result<i64, StoreError> {
    i64::try_from(id).map_err(|e| StoreError::Corrupt { what, id: id.to_string(), why: e.to_string() })
}

#[async_trait]
impl ForgeStore for SqliteStore {
    async fn put_intent(
        &self,
        project: &ProjectName,
        intent: &Intent,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let put = sqlx::query(
            "INSERT INTO intents (project, key, intent, received_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (project, key) DO NOTHING",
        )
        .bind(project.as_str())
        .bind(&intent.key)
        .bind(json("intent", &intent.key, intent)?)
        .bind(at.to_string())
        .execute(&self.pool)
        .await?;
        Ok(put.rows_affected() > 0)
    }

    async fn intent(&self, project: &ProjectName, key: &str) -> Result<Option<IntentRecord>, StoreError> {
        let row = sqlx::query("SELECT * FROM intents WHERE project = $1 AND key = $2")
            .bind(project.as_str())
            .bind(key)
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(row::intent).transpose()
    }

    async fn waiting_intents(&self) -> Result<Vec<IntentRecord>, StoreError> {
        let rows = sqlx::query("SELECT * FROM intents WHERE outcome IS NULL ORDER BY received_at, rowid")
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(row::intent).collect()
    }

    async fn settle_intent(
        &self,
        project: &ProjectName,
        key: &str,
        outcome: &str,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE intents SET outcome = $1, settled_at = $2 WHERE project = $3 AND key = $4 AND outcome IS NULL",
        )
        .bind(outcome)
        .bind(at.to_string())
        .bind(project.as_str())
        .bind(key)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn unreacted_intents(&self) -> Result<Vec<IntentRecord>, StoreError> {
        let rows = sqlx::query("SELECT * FROM intents WHERE reacted_at IS NULL ORDER BY received_at, rowid")
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(row::intent).collect()
    }

    async fn mark_reacted(&self, project: &ProjectName, key: &str, at: Timestamp) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE intents SET reacted_at = COALESCE(reacted_at, $1) WHERE project = $2 AND key = $3",
        )
        .bind(at.to_string())
        .bind(project.as_str())
        .bind(key)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn task_of_intent(
        &self,
        project: &ProjectName,
        key: &str,
    ) -> Result<Option<TaskRecord>, StoreError> {
        let row = sqlx::query("SELECT * FROM tasks WHERE project = $1 AND intent = $2")
            .bind(project.as_str())
            .bind(key)
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(row::task).transpose()
    }

    async fn thread(&self, project: &ProjectName, id: u64) -> Result<Option<Thread>, StoreError> {
        let row = sqlx::query("SELECT * FROM threads WHERE project = $1 AND number = $2")
            .bind(project.as_str())
            .bind(number("thread", id)?)
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(row::thread).transpose()
    }

    async fn thread_of_issue(
        &self,
        project: &ProjectName,
        issue: &IssueKey,
    ) -> Result<Option<Thread>, StoreError> {
        let row = sqlx::query("SELECT * FROM threads WHERE project = $1 AND issue = $2")
            .bind(project.as_str())
            .bind(issue.as_str())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(row::thread).transpose()
    }

    async fn thread_of_pull(&self, project: &ProjectName, pull: u64) -> Result<Option<Thread>, StoreError> {
        let row = sqlx::query("SELECT * FROM threads WHERE project = $1 AND pull = $2")
            .bind(project.as_str())
            .bind(number("pull request", pull)?)
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(row::thread).transpose()
    }

    async fn threads(&self) -> Result<Vec<Thread>, StoreError> {
        let rows =
            sqlx::query("SELECT * FROM threads ORDER BY project, number").fetch_all(&self.pool).await?;
        rows.iter().map(row::thread).collect()
    }

    async fn put_thread(
        &self,
        project: &ProjectName,
        id: u64,
        facts: &ThreadFacts,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO threads (project, number, issue, facts) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (project, number) DO UPDATE SET issue = excluded.issue, facts = excluded.facts",
        )
        .bind(project.as_str())
        .bind(number("thread", id)?)
        .bind(facts.issue.as_ref().map(IssueKey::as_str))
        .bind(json("thread", &id.to_string(), facts)?)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn put_published(
        &self,
        project: &ProjectName,
        id: u64,
        published: &Published,
    ) -> Result<(), StoreError> {
        let pull = published.pull.as_ref().map(|pull| number("pull request", pull.number)).transpose()?;
        sqlx::query("UPDATE threads SET published = $1, pull = $2 WHERE project = $3 AND number = $4")
            .bind(json("thread", &id.to_string(), published)?)
            .bind(pull)
            .bind(project.as_str())
            .bind(number("thread", id)?)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn put_written(
        &self,
        project: &ProjectName,
        id: u64,
        written: &ThreadWritten,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE threads SET written = $1 WHERE project = $2 AND number = $3")
            .bind(json("thread", &id.to_string(), written)?)
            .bind(project.as_str())
            .bind(number("thread", id)?)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn put_note(&self, note: &Note) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO notes (project, key, number, place, body, created_at) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (project, key) DO NOTHING",
        )
        .bind(note.project.as_str())
        .bind(&note.key)
        .bind(number("note", note.number)?)
        .bind(json("note", &note.key, &note.place)?)
        .bind(&note.body)
        .bind(note.created_at.to_string())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn waiting_notes(&self) -> Result<Vec<Note>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM notes WHERE remote IS NULL AND gave_up IS NULL ORDER BY created_at, rowid",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(row::note).collect()
    }

    async fn note_written(&self, project: &ProjectName, key: &str, remote: u64) -> Result<(), StoreError> {
        sqlx::query("UPDATE notes SET remote = $1 WHERE project = $2 AND key = $3")
            .bind(number("note", remote)?)
            .bind(project.as_str())
            .bind(key)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn written_note(&self, project: &ProjectName, key: &str) -> Result<Option<u64>, StoreError> {
        let row = sqlx::query("SELECT * FROM notes WHERE project = $1 AND key = $2 AND remote IS NOT NULL")
            .bind(project.as_str())
            .bind(key)
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(row::note_remote).transpose()
    }

    async fn note_given_up(&self, project: &ProjectName, key: &str, why: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE notes SET gave_up = $1 WHERE project = $2 AND key = $3 AND remote IS NULL")
            .bind(why)
            .bind(project.as_str())
            .bind(key)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
