//! Rows to records. A value that does not read is a named error, never a default.

use std::str::FromStr;
use std::time::Duration;

use cloud_code_model::{
    Attempt, IntentRecord, Issue, Move, NewTask, Note, Pause, Project, Spent, TaskRecord, Thread,
};
use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::sql::Row;
use crate::StoreError;
use crate::leases::{Lease, Member, Standing, Worker};

/// A row with the name of its table, for messages.
pub(crate) struct Reader<'a> {
    what: &'static str,
    id: String,
    row: &'a Row,
}

impl<'a> Reader<'a> {
    fn new(what: &'static str, id_column: &str, row: &'a Row) -> Result<Self, StoreError> {
        Ok(Self { what, id: row.try_get(id_column)?, row })
    }
    fn corrupt(&self, column: &str, why: impl std::fmt::Display) -> StoreError {
        StoreError::Corrupt { what: self.what, id: self.id.clone(), why: format!("{column}: {why}") }
    }
    fn text(&self, column: &str) -> Result<String, StoreError> {
        Ok(self.row.try_get(column)?)
    }
    fn optional(&self, column: &str) -> Result<Option<String>, StoreError> {
        Ok(self.row.try_get(column)?)
    }
    fn parsed<T: FromStr<Err: std::fmt::Display>>(&self, column: &str) -> Result<T, StoreError> {
        self.text(column)?.parse().map_err(|e| self.corrupt(column, e))
    }
    fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, StoreError> {
        serde_json::from_str(&self.text(column)?).map_err(|e| self.corrupt(column, e))
    }
    fn optional_json<T: DeserializeOwned>(&self, column: &str) -> Result<Option<T>, StoreError> {
        let text = self.optional(column)?;
        text.map(|t| serde_json::from_str(&t).map_err(|e| self.corrupt(column, e))).transpose()
    }
    fn number(&self, column: &str) -> Result<u64, StoreError> {
        let number: i64 = self.row.try_get(column)?;
        u64::try_from(number).map_err(|e| self.corrupt(column, e))
    }
    fn optional_time(&self, column: &str) -> Result<Option<Timestamp>, StoreError> {
        self.optional(column)?.map(|t| t.parse().map_err(|e| self.corrupt(column, e))).transpose()
    }
}

pub(crate) fn project(row: &Row) -> Result<Project, StoreError> {
    let r = Reader::new("project", "name", row)?;
    Ok(Project { name: r.parsed("name")?, repo: r.text("repo")?, created_at: r.parsed("created_at")? })
}

pub(crate) fn issue(row: &Row) -> Result<Issue, StoreError> {
    let r = Reader::new("issue", "key", row)?;
    Ok(Issue {
        project: r.parsed("project")?,
        key: r.parsed("key")?,
        title: r.text("title")?,
        branch: r.parsed("branch")?,
        base: r.parsed("base")?,
        base_sha: r.text("base_sha")?,
        start_sha: r.optional("start_sha")?,
        settings_sha: r.optional("settings_sha")?,
        created_at: r.parsed("created_at")?,
        cleaned_at: r.optional_time("cleaned_at")?,
    })
}

pub(crate) fn task(row: &Row) -> Result<TaskRecord, StoreError> {
    let r = Reader::new("task", "id", row)?;
    Ok(TaskRecord {
        task: NewTask {
            id: r.parsed("id")?,
            project: r.parsed("project")?,
            issue: r.parsed("issue")?,
            title: r.text("title")?,
            description: r.text("description")?,
            brief: r.json("brief")?,
            mode: r.json("mode")?,
            continues: r
                .optional("continues")?
                .map(|id| id.parse().map_err(|e| r.corrupt("continues", e)))
                .transpose()?,
            handoff: r.optional_json("handoff")?,
            plan: r.json("plan")?,
            requested_by: r.optional("requested_by")?,
            intent: r.optional("intent")?,
            queue: r.json("queue")?,
            created_at: r.parsed("created_at")?,
        },
        state: r.json("state")?,
        attempt: u32::try_from(r.number("attempt")?).map_err(|e| r.corrupt("attempt", e))?,
        version: row.try_get("version")?,
        cancel_requested_at: r.optional_time("cancel_requested_at")?,
        updated_at: r.parsed("updated_at")?,
        usage: r.json("usage")?,
        summary: r.optional("summary")?,
        questions: r.json("questions")?,
        stop_reason: r.optional_json("stop_reason")?,
    })
}

pub(crate) fn attempt(row: &Row) -> Result<Attempt, StoreError> {
    let r = Reader::new("attempt", "task", row)?;
    let number: i64 = row.try_get("number")?;
    Ok(Attempt {
        task: r.parsed("task")?,
        number: u32::try_from(number).map_err(|e| r.corrupt("number", e))?,
        container: r.optional("container")?,
        started_at: r.parsed("started_at")?,
        finished_at: r.optional_time("finished_at")?,
        result: r.optional("result")?,
    })
}

pub(crate) fn task_move(row: &Row) -> Result<Move, StoreError> {
    let r = Reader::new("move", "task", row)?;
    Ok(Move {
        task: r.parsed("task")?,
        seq: row.try_get("seq")?,
        at: r.parsed("at")?,
        event: r.text("event")?,
        status: serde_json::from_value(r.text("status")?.into()).map_err(|e| r.corrupt("status", e))?,
        detail: r.json("detail")?,
    })
}

pub(crate) fn intent(row: &Row) -> Result<IntentRecord, StoreError> {
    let r = Reader::new("intent", "key", row)?;
    Ok(IntentRecord {
        project: r.parsed("project")?,
        intent: r.json("intent")?,
        received_at: r.parsed("received_at")?,
        is_reacted: r.optional("reacted_at")?.is_some(),
        outcome: r.optional("outcome")?,
    })
}

pub(crate) fn thread(row: &Row) -> Result<Thread, StoreError> {
    let r = Reader::new("thread", "project", row)?;
    Ok(Thread {
        project: r.parsed("project")?,
        number: r.number("number")?,
        facts: r.json("facts")?,
        published: r.json("published")?,
        written: r.json("written")?,
    })
}

pub(crate) fn note(row: &Row) -> Result<Note, StoreError> {
    let r = Reader::new("note", "key", row)?;
    Ok(Note {
        project: r.parsed("project")?,
        key: r.text("key")?,
        number: r.number("number")?,
        place: r.json("place")?,
        body: r.text("body")?,
        created_at: r.parsed("created_at")?,
    })
}

pub(crate) fn note_remote(row: &Row) -> Result<u64, StoreError> {
    Reader::new("note", "key", row)?.number("remote")
}

pub(crate) fn lease(row: &Row) -> Result<Lease, StoreError> {
    let r = Reader::new("lease", "issue", row)?;
    let moved_from = r.optional("moved_from")?;
    Ok(Lease {
        project: r.parsed("project")?,
        issue: r.parsed("issue")?,
        member: Member { worker: r.parsed("worker")?, process: r.text("process")?.into() },
        token: row.try_get("token")?,
        moved_from: moved_from
            .map(|name| name.parse().map_err(|e| r.corrupt("moved_from", e)))
            .transpose()?,
    })
}

pub(crate) fn standing(row: &Row) -> Result<Standing, StoreError> {
    Ok(Standing { lease: lease(row)?, remaining: remaining(row)? })
}

pub(crate) fn worker(row: &Row) -> Result<Worker, StoreError> {
    let r = Reader::new("worker", "name", row)?;
    Ok(Worker {
        member: Member { worker: r.parsed("name")?, process: r.text("process")?.into() },
        host: r.text("host")?,
        remaining: remaining(row)?,
    })
}

fn remaining(row: &Row) -> Result<Option<Duration>, StoreError> {
    let left: i64 = row.try_get("remaining")?;
    Ok(u64::try_from(left).ok().filter(|left| *left > 0).map(Duration::from_millis))
}

pub(crate) fn pause(row: &Row) -> Result<Pause, StoreError> {
    let r = Reader::new("pause", "scope", row)?;
    Ok(Pause {
        scope: r.parsed("scope")?,
        by: r.optional("by_whom")?,
        reason: r.optional("reason")?,
        at: r.parsed("at")?,
    })
}

pub(crate) fn spent(row: &Row) -> Result<Spent, StoreError> {
    let r = Reader::new("account", "account", row)?;
    Ok(Spent {
        micro_usd: r.number("micro_usd")?,
        tokens: r.number("tokens")?,
        turns: r.number("turns")?,
        attempts: r.number("attempts")?,
        wall_ms: r.number("wall_ms")?,
    })
}

pub(crate) fn account(row: &Row) -> Result<String, StoreError> {
    Ok(row.try_get("account")?)
}

pub(crate) fn grants(row: &Row) -> Result<u32, StoreError> {
    let grants: i64 = row.try_get("grants")?;
    Ok(u32::try_from(grants).unwrap_or(u32::MAX))
}
