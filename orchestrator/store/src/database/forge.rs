//! Requests, threads and notes as rows.

use async_trait::async_trait;
use cloud_code_model::{
    Intent, IntentRecord, IssueKey, Note, ProjectName, Published, PullState, TaskEvent, TaskRecord, Thread,
    ThreadFacts, ThreadWritten,
};
use jiff::Timestamp;

use super::sql::{Sql, sql};
use super::tasks::move_task;
use super::transaction::Tx;
use super::{Database, json, row};
use crate::StoreError;
use crate::forge::{Change, ForgeStore};

/// Numbers of a forge are far below this; a larger one is refused rather than cut.
fn number(what: &'static str, id: u64) -> Result<i64, StoreError> {
    i64::try_from(id).map_err(|e| StoreError::Corrupt { what, id: id.to_string(), why: e.to_string() })
}

impl Database {
    async fn change_both(
        &self,
        project: &ProjectName,
        id: u64,
        change: Change<'_, Thread>,
    ) -> Result<Option<Thread>, StoreError> {
        let mut tx = self.begin().await?;
        let changed = change_thread(&mut tx, project, id, change).await?;
        tx.commit().await?;
        Ok(changed)
    }
}

/// Reads a thread, changes it and writes it back, with nobody in between.
pub(super) async fn change_thread(
    tx: &mut Tx,
    project: &ProjectName,
    id: u64,
    change: Change<'_, Thread>,
) -> Result<Option<Thread>, StoreError> {
    let found = sql("SELECT * FROM threads WHERE project = $1 AND number = $2")
        .bind(project.as_str())
        .bind(number("thread", id)?)
        .locking();
    let Some(mut thread) = tx.one(found, row::thread).await? else { return Ok(None) };
    change(&mut thread);
    let pull = thread.published.pull.as_ref().map(|pull| number("pull request", pull.number)).transpose()?;
    let state = thread.published.pull.as_ref().map(|pull| pull_state(pull.state));
    let what = id.to_string();
    let statement =
        sql("UPDATE threads SET issue = $1, facts = $2, published = $3, pull = $4, pull_state = $5 \
         WHERE project = $6 AND number = $7")
        .bind(thread.facts.issue.as_ref().map(IssueKey::as_str))
        .bind(json("thread", &what, &thread.facts)?)
        .bind(json("thread", &what, &thread.published)?)
        .bind(pull)
        .bind(state)
        .bind(project.as_str())
        .bind(number("thread", id)?);
    tx.change(statement).await?;
    Ok(Some(thread))
}

/// As its JSON says it.
const fn pull_state(state: PullState) -> &'static str {
    match state {
        PullState::Open => "open",
        PullState::Merged => "merged",
        PullState::Closed => "closed",
    }
}

fn settling(project: &ProjectName, key: &str, outcome: &str, at: Timestamp) -> Sql {
    sql(
        "UPDATE intents SET outcome = $1, settled_at = $2 WHERE project = $3 AND key = $4 AND outcome IS NULL",
    )
    .bind(outcome.to_owned())
    .bind(at.to_string())
    .bind(project.to_string())
    .bind(key.to_owned())
}

#[async_trait]
impl ForgeStore for Database {
    async fn put_intent(
        &self,
        project: &ProjectName,
        intent: &Intent,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let statement =
            sql("INSERT INTO intents (project, key, intent, received_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (project, key) DO NOTHING")
            .bind(project.as_str())
            .bind(&intent.key)
            .bind(json("intent", &intent.key, intent)?)
            .bind(at.to_string());
        let put = self.change(statement).await?;
        Ok(put > 0)
    }

    async fn intent(&self, project: &ProjectName, key: &str) -> Result<Option<IntentRecord>, StoreError> {
        let query =
            sql("SELECT * FROM intents WHERE project = $1 AND key = $2").bind(project.as_str()).bind(key);
        self.one(query, row::intent).await
    }

    async fn waiting_intents(&self) -> Result<Vec<IntentRecord>, StoreError> {
        let query = sql("SELECT * FROM intents WHERE outcome IS NULL ORDER BY received_at, rowid");
        self.all(query, row::intent).await
    }

    async fn settle_intent(
        &self,
        project: &ProjectName,
        key: &str,
        outcome: &str,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.change(settling(project, key, outcome, at)).await.map(drop)
    }

    async fn decide(
        &self,
        record: &TaskRecord,
        event: TaskEvent,
        key: &str,
        outcome: &str,
        at: Timestamp,
    ) -> Result<TaskRecord, StoreError> {
        let mut tx = self.begin().await?;
        let moved = move_task(&mut tx, record, event, at).await?;
        tx.change(settling(&record.task.project, key, outcome, at)).await?;
        tx.commit().await?;
        Ok(moved)
    }

    async fn unreacted_intents(&self) -> Result<Vec<IntentRecord>, StoreError> {
        let query = sql("SELECT * FROM intents WHERE reacted_at IS NULL ORDER BY received_at, rowid");
        self.all(query, row::intent).await
    }

    async fn mark_reacted(&self, project: &ProjectName, key: &str, at: Timestamp) -> Result<(), StoreError> {
        let query =
            sql("UPDATE intents SET reacted_at = COALESCE(reacted_at, $1) WHERE project = $2 AND key = $3")
                .bind(at.to_string())
                .bind(project.as_str())
                .bind(key);
        self.change(query).await.map(drop)
    }

    async fn task_of_intent(
        &self,
        project: &ProjectName,
        key: &str,
    ) -> Result<Option<TaskRecord>, StoreError> {
        let query =
            sql("SELECT * FROM tasks WHERE project = $1 AND intent = $2").bind(project.as_str()).bind(key);
        self.one(query, row::task).await
    }

    async fn thread(&self, project: &ProjectName, id: u64) -> Result<Option<Thread>, StoreError> {
        let query = sql("SELECT * FROM threads WHERE project = $1 AND number = $2")
            .bind(project.as_str())
            .bind(number("thread", id)?);
        self.one(query, row::thread).await
    }

    async fn thread_of_issue(
        &self,
        project: &ProjectName,
        issue: &IssueKey,
    ) -> Result<Option<Thread>, StoreError> {
        let query = sql("SELECT * FROM threads WHERE project = $1 AND issue = $2")
            .bind(project.as_str())
            .bind(issue.as_str());
        self.one(query, row::thread).await
    }

    async fn thread_of_pull(&self, project: &ProjectName, pull: u64) -> Result<Option<Thread>, StoreError> {
        let query = sql("SELECT * FROM threads WHERE project = $1 AND pull = $2")
            .bind(project.as_str())
            .bind(number("pull request", pull)?);
        self.one(query, row::thread).await
    }

    async fn unmerged_threads(&self, project: &ProjectName) -> Result<Vec<Thread>, StoreError> {
        let query =
            sql("SELECT * FROM threads WHERE project = $1 AND pull IS NOT NULL AND pull_state <> 'merged' \
             ORDER BY number")
            .bind(project.as_str());
        self.all(query, row::thread).await
    }

    async fn threads_after(
        &self,
        after: Option<(&ProjectName, u64)>,
        limit: u32,
    ) -> Result<Vec<Thread>, StoreError> {
        // No project is called nothing.
        let (project, last) = after.map_or(("", 0), |(project, number)| (project.as_str(), number));
        let query =
            sql("SELECT * FROM threads WHERE (project, number) > ($1, $2) ORDER BY project, number LIMIT $3")
                .bind(project)
                .bind(number("thread", last)?)
                .bind(i64::from(limit));
        self.all(query, row::thread).await
    }

    async fn make_thread(
        &self,
        project: &ProjectName,
        id: u64,
        facts: &ThreadFacts,
    ) -> Result<bool, StoreError> {
        let statement = sql("INSERT INTO threads (project, number, issue, facts) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (project, number) DO NOTHING")
        .bind(project.as_str())
        .bind(number("thread", id)?)
        .bind(facts.issue.as_ref().map(IssueKey::as_str))
        .bind(json("thread", &id.to_string(), facts)?);
        let made = self.change(statement).await?;
        Ok(made > 0)
    }

    async fn change_thread(
        &self,
        project: &ProjectName,
        id: u64,
        change: Change<'_, ThreadFacts>,
    ) -> Result<Option<Thread>, StoreError> {
        self.change_both(project, id, &mut |thread| change(&mut thread.facts)).await
    }

    async fn change_published(
        &self,
        project: &ProjectName,
        id: u64,
        change: Change<'_, Published>,
    ) -> Result<Option<Thread>, StoreError> {
        self.change_both(project, id, &mut |thread| change(&mut thread.published)).await
    }

    async fn put_written(
        &self,
        project: &ProjectName,
        id: u64,
        written: &ThreadWritten,
    ) -> Result<(), StoreError> {
        let query = sql("UPDATE threads SET written = $1 WHERE project = $2 AND number = $3")
            .bind(json("thread", &id.to_string(), written)?)
            .bind(project.as_str())
            .bind(number("thread", id)?);
        self.change(query).await.map(drop)
    }

    async fn put_note(&self, note: &Note) -> Result<(), StoreError> {
        let query = sql(
            "INSERT INTO notes (project, key, number, place, body, created_at) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (project, key) DO NOTHING",
        )
        .bind(note.project.as_str())
        .bind(&note.key)
        .bind(number("note", note.number)?)
        .bind(json("note", &note.key, &note.place)?)
        .bind(&note.body)
        .bind(note.created_at.to_string());
        self.change(query).await.map(drop)
    }

    async fn waiting_notes(&self) -> Result<Vec<Note>, StoreError> {
        let query =
            sql("SELECT * FROM notes WHERE remote IS NULL AND gave_up IS NULL ORDER BY created_at, rowid");
        self.all(query, row::note).await
    }

    async fn note_written(&self, project: &ProjectName, key: &str, remote: u64) -> Result<(), StoreError> {
        let query = sql("UPDATE notes SET remote = $1 WHERE project = $2 AND key = $3")
            .bind(number("note", remote)?)
            .bind(project.as_str())
            .bind(key);
        self.change(query).await.map(drop)
    }

    async fn written_note(&self, project: &ProjectName, key: &str) -> Result<Option<u64>, StoreError> {
        let query = sql("SELECT * FROM notes WHERE project = $1 AND key = $2 AND remote IS NOT NULL")
            .bind(project.as_str())
            .bind(key);
        self.one(query, row::note_remote).await
    }

    async fn note_given_up(&self, project: &ProjectName, key: &str, why: &str) -> Result<(), StoreError> {
        let query = sql("UPDATE notes SET gave_up = $1 WHERE project = $2 AND key = $3 AND remote IS NULL")
            .bind(why)
            .bind(project.as_str())
            .bind(key);
        self.change(query).await.map(drop)
    }
}
