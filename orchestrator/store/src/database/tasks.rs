//! Projects, issues, tasks and attempts as rows.

use async_trait::async_trait;
use cloud_code_model::{
    Attempt, Issue, IssueKey, Move, NewTask, Project, ProjectName, StopReason, TaskEvent, TaskRecord,
    TaskState, Thread,
};
use cloud_code_task_schema::{BranchName, TaskId, Usage};
use jiff::Timestamp;

use super::forge::change_thread;
use super::history::note_move;
use super::sql::{Dialect, sql};
use super::transaction::Tx;
use super::{Database, json, row};
use crate::{Store, StoreError};

/// Moves a task that is still where it was read, and notes the move.
pub(super) async fn move_task(
    tx: &mut Tx,
    record: &TaskRecord,
    event: TaskEvent,
    at: Timestamp,
) -> Result<TaskRecord, StoreError> {
    let id = record.task.id.as_str();
    let next = record.after(event.clone(), at)?;
    let statement = sql(MOVE_TASK)
        .bind(next.state.status().as_str())
        .bind(json("task", id, &next.state)?)
        .bind(next.version)
        .bind(at.to_string())
        .bind(i64::from(next.attempt))
        .bind(id)
        .bind(record.version);
    if tx.change(statement).await? == 0 {
        return Err(StoreError::Stale { id: id.to_owned() });
    }
    note_move(tx, &Move::between(record, &event, &next)).await?;
    Ok(next)
}

/// The statuses of tasks that have not ended. By name, so that the index is of use among many that have.
macro_rules! open {
    () => {
        "('queued', 'preparing', 'running', 'importing', 'backing_off', 'over_budget', \
          'awaiting_approval', 'publishing')"
    };
}

fn exists(error: StoreError, what: &'static str, id: &str) -> StoreError {
    match error {
        StoreError::Database(error) if error.as_database_error().is_some_and(|e| e.is_unique_violation()) => {
            StoreError::Exists { what, id: id.to_owned() }
        }
        other => other,
    }
}

const INSERT_ISSUE: &str = "INSERT INTO issues (project, key, title, branch, base, base_sha, created_at, start_sha, \
     settings_sha) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
const INSERT_TASK: &str = "INSERT INTO tasks (id, project, issue, title, description, mode, plan, requested_by, \
     created_at, status, state, version, updated_at, usage, continues, handoff, brief, intent, queue) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 1, $12, $13, $14, $15, $16, $17, $18)";
const LOCK_ISSUE: &str = "SELECT key FROM issues WHERE project = $1 AND key = $2 FOR UPDATE";
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

/// Keeps others from adding tasks to an issue, or from cleaning it, until the transaction ends. A statement of its own: in
/// PostgreSQL the one that comes after it sees what was done before the lock was had.
async fn lock_issue(tx: &mut Tx, project: &ProjectName, key: &IssueKey) -> Result<(), StoreError> {
    match tx.dialect() {
        Dialect::Sqlite => Ok(()),
        Dialect::Postgres => {
            tx.is_there(sql(LOCK_ISSUE).bind(project.as_str()).bind(key.as_str())).await.map(drop)
        }
    }
}

/// Nobody settles the request until the transaction ends.
async fn refuse_settled(tx: &mut Tx, project: &ProjectName, intent: &str) -> Result<(), StoreError> {
    let found = sql("SELECT * FROM intents WHERE project = $1 AND key = $2")
        .bind(project.as_str())
        .bind(intent)
        .locking();
    match tx.one(found, row::intent).await? {
        Some(record) if record.outcome.is_some() => Err(StoreError::Settled { id: intent.to_owned() }),
        Some(_) | None => Ok(()),
    }
}

async fn insert_task(tx: &mut Tx, task: &NewTask) -> Result<(), StoreError> {
    let id = task.id.as_str();
    if let Some(intent) = &task.intent {
        refuse_settled(tx, &task.project, intent).await?;
    }
    let state = TaskState::Queued;
    let statement = sql(INSERT_TASK)
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
        .bind(json("task", id, &task.queue)?);
    tx.change(statement).await.map_err(|e| exists(e, "task", id))?;
    Ok(())
}

#[async_trait]
impl Store for Database {
    async fn put_project(&self, project: &Project) -> Result<(), StoreError> {
        let statement = sql("INSERT INTO projects (name, repo, created_at) VALUES ($1, $2, $3) \
             ON CONFLICT (name) DO UPDATE SET repo = excluded.repo WHERE projects.repo <> excluded.repo")
        .bind(project.name.as_str())
        .bind(&project.repo)
        .bind(project.created_at.to_string());
        self.change(statement).await?;
        Ok(())
    }

    async fn project(&self, name: &ProjectName) -> Result<Option<Project>, StoreError> {
        let statement = sql("SELECT * FROM projects WHERE name = $1").bind(name.as_str());
        self.one(statement, row::project).await
    }

    async fn open_issue(
        &self,
        issue: &Issue,
        first: &NewTask,
        thread: Option<u64>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let statement = sql(INSERT_ISSUE)
            .bind(issue.project.as_str())
            .bind(issue.key.as_str())
            .bind(&issue.title)
            .bind(issue.branch.as_str())
            .bind(issue.base.as_str())
            .bind(&issue.base_sha)
            .bind(issue.created_at.to_string())
            .bind(&issue.start_sha)
            .bind(&issue.settings_sha);
        let named = issue.branch.as_str();
        tx.change(statement).await.map_err(|e| exists(e, "the issue or its branch", named))?;
        insert_task(&mut tx, first).await?;
        if let Some(thread) = thread {
            let name = &mut |thread: &mut Thread| thread.facts.issue = Some(issue.key.clone());
            change_thread(&mut tx, &issue.project, thread, name).await?;
        }
        tx.commit().await
    }

    async fn add_task(&self, task: &NewTask) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        lock_issue(&mut tx, &task.project, &task.issue).await?;
        let takes = sql(TAKES_TASKS).bind(task.project.as_str()).bind(task.issue.as_str());
        if !tx.is_there(takes).await? {
            return Err(StoreError::NotOpen { id: format!("{}#{}", task.project, task.issue) });
        }
        insert_task(&mut tx, task).await?;
        tx.commit().await
    }

    async fn issue(&self, project: &ProjectName, key: &IssueKey) -> Result<Option<Issue>, StoreError> {
        let statement = sql("SELECT * FROM issues WHERE project = $1 AND key = $2")
            .bind(project.as_str())
            .bind(key.as_str());
        self.one(statement, row::issue).await
    }

    async fn issues(&self, project: Option<&ProjectName>, limit: u32) -> Result<Vec<Issue>, StoreError> {
        let statement = sql(
            "SELECT * FROM issues WHERE $1 IS NULL OR project = $1 ORDER BY created_at DESC, key LIMIT $2",
        )
        .bind(project.map(ProjectName::as_str))
        .bind(i64::from(limit));
        self.all(statement, row::issue).await
    }

    async fn move_base(
        &self,
        project: &ProjectName,
        key: &IssueKey,
        base_sha: &str,
        start_sha: Option<&str>,
    ) -> Result<(), StoreError> {
        let statement =
            sql("UPDATE issues SET base_sha = $1, start_sha = $2 WHERE project = $3 AND key = $4")
                .bind(base_sha)
                .bind(start_sha)
                .bind(project.as_str())
                .bind(key.as_str());
        self.change(statement).await?;
        Ok(())
    }

    async fn is_taken(
        &self,
        project: &ProjectName,
        key: &IssueKey,
        branch: &BranchName,
    ) -> Result<bool, StoreError> {
        let statement = sql(
            "SELECT key FROM issues WHERE project = $1 AND (key = $2 OR (branch = $3 AND cleaned_at IS NULL))",
        )
        .bind(project.as_str())
        .bind(key.as_str())
        .bind(branch.as_str());
        Ok(self.one(statement, |_| Ok(())).await?.is_some())
    }

    async fn mark_cleaned(
        &self,
        project: &ProjectName,
        key: &IssueKey,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let statement = sql(MARK_CLEANED).bind(at.to_string()).bind(project.as_str()).bind(key.as_str());
        let mut tx = self.begin().await?;
        lock_issue(&mut tx, project, key).await?;
        if tx.change(statement).await? == 0 {
            return Err(StoreError::NotOpen { id: format!("{project}#{key}") });
        }
        tx.commit().await
    }

    async fn task(&self, id: &TaskId) -> Result<Option<TaskRecord>, StoreError> {
        let statement = sql("SELECT * FROM tasks WHERE id = $1").bind(id.as_str());
        self.one(statement, row::task).await
    }

    async fn tasks_of(&self, project: &ProjectName, issue: &IssueKey) -> Result<Vec<TaskRecord>, StoreError> {
        // By insertion: ids are made from a clock that can be set back, and `tasking.yaml` only ever grows at its end.
        let statement = sql("SELECT * FROM tasks WHERE project = $1 AND issue = $2 ORDER BY rowid")
            .bind(project.as_str())
            .bind(issue.as_str());
        self.all(statement, row::task).await
    }

    async fn open_tasks(&self) -> Result<Vec<TaskRecord>, StoreError> {
        let statement = sql(concat!("SELECT * FROM tasks WHERE status IN ", open!(), " ORDER BY id"));
        self.all(statement, row::task).await
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
        let statement = sql(
            concat!(
                "UPDATE tasks SET cancel_requested_at = COALESCE(cancel_requested_at, $1) WHERE id = $2 AND status IN ",
                open!()
            ),
        )
        .bind(at.to_string())
        .bind(id.as_str());
        self.change(statement).await?;
        Ok(())
    }

    async fn record_stop(&self, id: &TaskId, reason: StopReason) -> Result<(), StoreError> {
        // Like a cancel request: a fact beside the state, so a driver in the middle of a step is not made stale.
        let statement = sql("UPDATE tasks SET stop_reason = COALESCE(stop_reason, $1) WHERE id = $2")
            .bind(json("task", id.as_str(), &reason)?)
            .bind(id.as_str());
        self.change(statement).await?;
        Ok(())
    }

    async fn record_report(
        &self,
        id: &TaskId,
        usage: &Usage,
        summary: Option<&str>,
        questions: &[String],
    ) -> Result<(), StoreError> {
        let statement =
            sql("UPDATE tasks SET usage = $1, summary = COALESCE($2, summary), questions = $3 WHERE id = $4")
                .bind(json("task", id.as_str(), usage)?)
                .bind(summary)
                .bind(json("task", id.as_str(), &questions)?)
                .bind(id.as_str());
        self.change(statement).await?;
        Ok(())
    }

    async fn begin_attempt(&self, attempt: &Attempt) -> Result<(), StoreError> {
        let statement =
            sql("INSERT INTO attempts (task, number, container, started_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (task, number) DO NOTHING")
            .bind(attempt.task.as_str())
            .bind(i64::from(attempt.number))
            .bind(&attempt.container)
            .bind(attempt.started_at.to_string());
        self.change(statement).await?;
        Ok(())
    }

    async fn attempt_container(&self, task: &TaskId, number: u32, container: &str) -> Result<(), StoreError> {
        let statement = sql("UPDATE attempts SET container = $1 WHERE task = $2 AND number = $3")
            .bind(container)
            .bind(task.as_str())
            .bind(i64::from(number));
        self.change(statement).await?;
        Ok(())
    }

    async fn finish_attempt(
        &self,
        task: &TaskId,
        number: u32,
        at: Timestamp,
        result: &str,
    ) -> Result<(), StoreError> {
        let statement = sql("UPDATE attempts SET finished_at = $1, result = $2 \
             WHERE task = $3 AND number = $4 AND finished_at IS NULL")
        .bind(at.to_string())
        .bind(result)
        .bind(task.as_str())
        .bind(i64::from(number));
        self.change(statement).await?;
        Ok(())
    }

    async fn attempts(&self, task: &TaskId) -> Result<Vec<Attempt>, StoreError> {
        let statement = sql("SELECT * FROM attempts WHERE task = $1 ORDER BY number").bind(task.as_str());
        self.all(statement, row::attempt).await
    }
}
