//! The embedded store: one SQLite file in WAL mode, fsynced at each commit.

mod deliveries;
mod forge;
mod history;

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use cloud_code_model::{
    Attempt, Issue, IssueKey, Move, NewTask, Project, ProjectName, StopReason, TaskEvent, TaskRecord,
    TaskState,
};
use cloud_code_task_schema::{BranchName, TaskId, Usage};
use jiff::Timestamp;
use serde::Serialize;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, SqliteConnection, SqlitePool, Transaction};

use crate::{Store, StoreError, row};

/// How long a writer waits for another process. Lower and two terminals trip over each other; higher and a stuck
/// process looks like a hang.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// One writer at a time is SQLite's rule; a second connection lets reads go on beside it, a third moves the log into the
/// database meanwhile. They are opened when they are needed.
const MAX_CONNECTIONS: u32 = 3;
/// Length of the write-ahead log, in pages of 4 KiB, at which a commit itself moves it into the database and pays for that
/// with its time. SQLite's own 1000 is reached six times a second under a stream of webhooks, each a pause of tens of
/// milliseconds; [`Deliveries::catch_up`] keeps it from being reached. More only takes disk.
///
/// [`Deliveries::catch_up`]: crate::Deliveries::catch_up
const LOG_PAGES: u32 = 16_384;
/// Pages kept in memory, in KiB (SQLite's own default is 2000; our rows are small).
const CACHE_KIB: i32 = 512;

/// The embedded store.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    pool: SqlitePool,
}

impl SqliteStore {
    /// Opens or makes the file and brings its schema up to date.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        // Two first processes would both make the schema, and one of them would fail at it.
        let _turn = take_turn(path).await?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("wal_autocheckpoint", LOG_PAGES.to_string())
            .pragma("cache_size", format!("-{CACHE_KIB}"));
        let pool = SqlitePoolOptions::new().max_connections(MAX_CONNECTIONS).connect_with(options).await?;
        sqlx::migrate!("migrations/sqlite").run(&pool).await.map_err(StoreError::Migrate)?;
        Ok(Self { pool })
    }

    /// Ends every connection; later calls fail.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        // IMMEDIATE takes the write lock at once: a deferred transaction can fail in its middle instead.
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }
}

/// Moves a task that is still where it was read.
async fn move_task(
    on: &mut SqliteConnection,
    record: &TaskRecord,
    event: TaskEvent,
    at: Timestamp,
) -> Result<TaskRecord, StoreError> {
    let id = record.task.id.as_str();
    let next = record.after(event.clone(), at)?;
    let moved = sqlx::query(MOVE_TASK)
        .bind(next.state.status().as_str())
        .bind(json("task", id, &next.state)?)
        .bind(next.version)
        .bind(at.to_string())
        .bind(i64::from(next.attempt))
        .bind(id)
        .bind(record.version)
        .execute(&mut *on)
        .await?;
    if moved.rows_affected() == 0 {
        return Err(StoreError::Stale { id: id.to_owned() });
    }
    history::note_move(on, &Move::between(record, &event, &next)).await?;
    Ok(next)
}

/// Waits until no other process is opening the database. The turn ends when the file is dropped.
async fn take_turn(path: &Path) -> Result<File, StoreError> {
    let path = path.with_added_extension("lock");
    let wait = {
        let path = path.clone();
        move || {
            let file = File::options().create(true).append(true).open(&path)?;
            file.lock()?;
            Ok(file)
        }
    };
    match tokio::task::spawn_blocking(wait).await {
        Ok(taken) => taken.map_err(|source| StoreError::Lock { path, source }),
        Err(stopped) => Err(StoreError::Lock { path, source: std::io::Error::other(stopped) }),
    }
}

fn json<T: Serialize>(what: &'static str, id: &str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::Corrupt {
        what,
        id: id.to_owned(),
        why: e.to_string(),
    })
}

/// The statuses of tasks that have not ended. By name, so that the index is of use among many that have.
macro_rules! open {
    () => {
        "('queued', 'preparing', 'running', 'importing', 'backing_off', 'awaiting_approval', 'publishing')"
    };
}

fn exists(error: sqlx::Error, what: &'static str, id: &str) -> StoreError {
    match error.as_database_error() {
        Some(e) if e.is_unique_violation() => StoreError::Exists { what, id: id.to_owned() },
        Some(_) | None => error.into(),
    }
}

const INSERT_ISSUE: &str = "INSERT INTO issues (project, key, title, branch, base, base_sha, created_at, start_sha, \
     settings_sha) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const INSERT_TASK: &str = "INSERT INTO tasks (id, project, issue, title, description, mode, plan, requested_by, \
     created_at, status, state, version, updated_at, usage, continues, handoff, brief, intent) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 1, $12, $13, $14, $15, $16, $17)";
/// Inserts nothing and changes nothing: asks whether the issue can take a task.
const TAKES_TASKS: &str = concat!(
    "SELECT key FROM issues WHERE project = $1 AND key = $2 AND cleaned_at IS NULL \
     AND NOT EXISTS (SELECT 1 FROM tasks WHERE tasks.project = issues.project AND tasks.issue = issues.key \
     AND tasks.status IN ",
    open!(),
    ")"
);
/// Not while a task is open: its worktree would go with the workspace.
const MARK_CLEANED: &str = concat!(
    "UPDATE issues SET cleaned_at = COALESCE(cleaned_at, $1) WHERE project = $2 AND key = $3 \
     AND NOT EXISTS (SELECT 1 FROM tasks WHERE tasks.project = issues.project AND tasks.issue = issues.key \
     AND tasks.status IN ",
    open!(),
    ")"
);
/// Why a container was ended is noted beside the version, and goes with its attempt.
const MOVE_TASK: &str = "UPDATE tasks SET status = $1, state = $2, version = $3, updated_at = $4, \
     stop_reason = CASE WHEN attempt = $5 THEN stop_reason END, attempt = $5 WHERE id = $6 AND version = $7";

async fn insert_task(tx: &mut Transaction<'static, Sqlite>, task: &NewTask) -> Result<(), StoreError> {
    let id = task.id.as_str();
    let state = TaskState::Queued;
    sqlx::query(INSERT_TASK)
        .bind(id)
        .bind(task.project.as_str())
        .bind(task.issue.as_str())
        .bind(&task.title)
        .bind(&task.description)
        .bind(json("task", id, &task.mode)?)
        .bind(json("task", id, &task.plan)?)
        .bind(&task.requested_by)
        .bind(task.created_at.to_string())
        .bind(state.status().as_str())
        .bind(json("task", id, &state)?)
        .bind(task.created_at.to_string())
        .bind(json("task", id, &Usage::default())?)
        .bind(task.continues.as_ref().map(TaskId::as_str))
        .bind(task.handoff.as_ref().map(|handoff| json("task", id, handoff)).transpose()?)
        .bind(json("task", id, &task.brief)?)
        .bind(&task.intent)
        .execute(&mut **tx)
        .await
        .map_err(|e| exists(e, "task", id))?;
    Ok(())
}

#[async_trait]
impl Store for SqliteStore {
    async fn put_project(&self, project: &Project) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO projects (name, repo, created_at) VALUES ($1, $2, $3) \
             ON CONFLICT (name) DO UPDATE SET repo = excluded.repo WHERE projects.repo <> excluded.repo",
        )
        .bind(project.name.as_str())
        .bind(&project.repo)
        .bind(project.created_at.to_string())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn project(&self, name: &ProjectName) -> Result<Option<Project>, StoreError> {
        let row = sqlx::query("SELECT * FROM projects WHERE name = $1")
            .bind(name.as_str())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(row::project).transpose()
    }

    async fn open_issue(&self, issue: &Issue, first: &NewTask) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query(INSERT_ISSUE)
            .bind(issue.project.as_str())
            .bind(issue.key.as_str())
            .bind(&issue.title)
            .bind(issue.branch.as_str())
            .bind(issue.base.as_str())
            .bind(&issue.base_sha)
            .bind(issue.created_at.to_string())
            .bind(&issue.start_sha)
            .bind(&issue.settings_sha)
            .execute(&mut *tx)
            .await
            .map_err(|e| exists(e, "the issue or its branch", issue.branch.as_str()))?;
        insert_task(&mut tx, first).await?;
        Ok(tx.commit().await?)
    }

    async fn add_task(&self, task: &NewTask) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let open = sqlx::query(TAKES_TASKS)
            .bind(task.project.as_str())
            .bind(task.issue.as_str())
            .fetch_optional(&mut *tx)
            .await?;
        if open.is_none() {
            return Err(StoreError::NotOpen { id: format!("{}#{}", task.project, task.issue) });
        }
        insert_task(&mut tx, task).await?;
        Ok(tx.commit().await?)
    }

    async fn issue(&self, project: &ProjectName, key: &IssueKey) -> Result<Option<Issue>, StoreError> {
        let row = sqlx::query("SELECT * FROM issues WHERE project = $1 AND key = $2")
            .bind(project.as_str())
            .bind(key.as_str())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(row::issue).transpose()
    }

    async fn issues(&self, project: Option<&ProjectName>, limit: u32) -> Result<Vec<Issue>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM issues WHERE $1 IS NULL OR project = $1 ORDER BY created_at DESC, key LIMIT $2",
        )
        .bind(project.map(ProjectName::as_str))
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(row::issue).collect()
    }

    async fn move_base(
        &self,
        project: &ProjectName,
        key: &IssueKey,
        base_sha: &str,
        start_sha: Option<&str>,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE issues SET base_sha = $1, start_sha = $2 WHERE project = $3 AND key = $4")
            .bind(base_sha)
            .bind(start_sha)
            .bind(project.as_str())
            .bind(key.as_str())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn is_taken(
        &self,
        project: &ProjectName,
        key: &IssueKey,
        branch: &BranchName,
    ) -> Result<bool, StoreError> {
        let row = sqlx::query(
            "SELECT key FROM issues WHERE project = $1 AND (key = $2 OR (branch = $3 AND cleaned_at IS NULL))",
        )
        .bind(project.as_str())
        .bind(key.as_str())
        .bind(branch.as_str())
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.is_some())
    }

    async fn mark_cleaned(
        &self,
        project: &ProjectName,
        key: &IssueKey,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let marked = sqlx::query(MARK_CLEANED)
            .bind(at.to_string())
            .bind(project.as_str())
            .bind(key.as_str())
            .execute(&self.pool)
            .await?;
        match marked.rows_affected() {
            0 => Err(StoreError::NotOpen { id: format!("{project}#{key}") }),
            _ => Ok(()),
        }
    }

    async fn task(&self, id: &TaskId) -> Result<Option<TaskRecord>, StoreError> {
        let row = sqlx::query("SELECT * FROM tasks WHERE id = $1")
            .bind(id.as_str())
            .fetch_optional(&self.pool)
            .await?;
        row.as_ref().map(row::task).transpose()
    }

    async fn tasks_of(&self, project: &ProjectName, issue: &IssueKey) -> Result<Vec<TaskRecord>, StoreError> {
        // By insertion: ids are made from a clock that can be set back, and `tasking.yaml` only ever grows at its end.
        let rows = sqlx::query("SELECT * FROM tasks WHERE project = $1 AND issue = $2 ORDER BY rowid")
            .bind(project.as_str())
            .bind(issue.as_str())
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(row::task).collect()
    }

    async fn open_tasks(&self) -> Result<Vec<TaskRecord>, StoreError> {
        let rows = sqlx::query(concat!("SELECT * FROM tasks WHERE status IN ", open!(), " ORDER BY id"))
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(row::task).collect()
    }

    async fn transition(
        &self,
        record: &TaskRecord,
        event: TaskEvent,
        at: Timestamp,
    ) -> Result<TaskRecord, StoreError> {
        let mut tx = self.begin().await?;
        let moved = move_task(&mut tx, record, event, at).await?;
        tx.commit().await?;
        Ok(moved)
    }

    async fn request_cancel(&self, id: &TaskId, at: Timestamp) -> Result<(), StoreError> {
        // Not a move: the version stays, so a driver that is in the middle of a step is not made stale by it.
        sqlx::query(
            concat!(
                "UPDATE tasks SET cancel_requested_at = COALESCE(cancel_requested_at, $1) WHERE id = $2 AND status IN ",
                open!()
            ),
        )
        .bind(at.to_string())
        .bind(id.as_str())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn record_stop(&self, id: &TaskId, reason: StopReason) -> Result<(), StoreError> {
        // Like a cancel request: a fact beside the state, so a driver in the middle of a step is not made stale.
        sqlx::query("UPDATE tasks SET stop_reason = COALESCE(stop_reason, $1) WHERE id = $2")
            .bind(json("task", id.as_str(), &reason)?)
            .bind(id.as_str())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn record_report(
        &self,
        id: &TaskId,
        usage: &Usage,
        summary: Option<&str>,
        questions: &[String],
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE tasks SET usage = $1, summary = COALESCE($2, summary), questions = $3 WHERE id = $4",
        )
        .bind(json("task", id.as_str(), usage)?)
        .bind(summary)
        .bind(json("task", id.as_str(), &questions)?)
        .bind(id.as_str())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn begin_attempt(&self, attempt: &Attempt) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO attempts (task, number, container, started_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (task, number) DO NOTHING",
        )
        .bind(attempt.task.as_str())
        .bind(i64::from(attempt.number))
        .bind(&attempt.container)
        .bind(attempt.started_at.to_string())
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn attempt_container(&self, task: &TaskId, number: u32, container: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE attempts SET container = $1 WHERE task = $2 AND number = $3")
            .bind(container)
            .bind(task.as_str())
            .bind(i64::from(number))
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn finish_attempt(
        &self,
        task: &TaskId,
        number: u32,
        at: Timestamp,
        result: &str,
    ) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE attempts SET finished_at = $1, result = $2 \
             WHERE task = $3 AND number = $4 AND finished_at IS NULL",
        )
        .bind(at.to_string())
        .bind(result)
        .bind(task.as_str())
        .bind(i64::from(number))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn attempts(&self, task: &TaskId) -> Result<Vec<Attempt>, StoreError> {
        let rows = sqlx::query("SELECT * FROM attempts WHERE task = $1 ORDER BY number")
            .bind(task.as_str())
            .fetch_all(&self.pool)
            .await?;
        rows.iter().map(row::attempt).collect()
    }
}
