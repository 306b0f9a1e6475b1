//! The rows of the store, in the model's words.

use cloud_code_task_schema::{BranchName, CliName, Handoff, Mode, TaskId, Usage};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    IllegalTransition, IssueKey, ProjectName, ProjectPlan, QueuePlace, StopReason, TaskEvent, TaskState,
};

/// A project as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Project {
    /// Its name.
    pub name: ProjectName,
    /// Path or URL of its repository.
    pub repo: String,
    /// When it was first seen.
    pub created_at: Timestamp,
}

/// An issue: the owner of one workspace and one branch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issue {
    /// Its project.
    pub project: ProjectName,
    /// Its key in the project.
    pub key: IssueKey,
    /// One line.
    pub title: String,
    /// The branch that will hold the work.
    pub branch: BranchName,
    /// The branch it starts from.
    pub base: BranchName,
    /// The commit it starts from.
    pub base_sha: String,
    /// The commit that the worktree is made at, when it is not `base_sha`: the host put the work on a newer base since.
    pub start_sha: Option<String>,
    /// The commit whose files with settings for CLIs stand in the worktree, when the base is somebody's pull request.
    pub settings_sha: Option<String>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When its workspace was removed; the branch stays.
    pub cleaned_at: Option<Timestamp>,
}

/// A task to be stored. What it runs with is fixed here: a later change of settings changes later tasks only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewTask {
    /// Its id.
    pub id: TaskId,
    /// Its project.
    pub project: ProjectName,
    /// Its issue.
    pub issue: IssueKey,
    /// One line.
    pub title: String,
    /// The body of the prompt.
    pub description: String,
    /// What the issue says beside its text.
    pub brief: Brief,
    /// May it edit, or only read?
    pub mode: Mode,
    /// The earlier task of the issue whose conversation goes on.
    pub continues: Option<TaskId>,
    /// What another CLI left, when this one takes over.
    pub handoff: Option<Handoff>,
    /// What it runs with.
    pub plan: ProjectPlan,
    /// Who asked.
    pub requested_by: Option<String>,
    /// The key of the intent it came from. One intent makes one task, however often it is looked at.
    pub intent: Option<String>,
    /// Its place among those that wait.
    pub queue: QueuePlace,
    /// When.
    pub created_at: Timestamp,
}

/// What an issue says in sections of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Brief {
    /// When the work is done.
    pub acceptance_criteria: Vec<String>,
    /// Files that matter, relative to the repository's root.
    pub related_files: Vec<String>,
    /// What else to know.
    pub notes: Option<String>,
}

/// A task as the store knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// What was asked.
    pub task: NewTask,
    /// Where it is.
    pub state: TaskState,
    /// Which attempt at it is going on or comes next, from 1.
    pub attempt: u32,
    /// Grows with each change; a writer names the one it read, and a stale writer is refused.
    pub version: i64,
    /// When a person asked to stop it.
    pub cancel_requested_at: Option<Timestamp>,
    /// When its state last changed.
    pub updated_at: Timestamp,
    /// Tokens and money of all its attempts, as last reported.
    pub usage: Usage,
    /// What the agent said for people at the end.
    pub summary: Option<String>,
    /// What a person must answer, when it ended with a question.
    pub questions: Vec<String>,
    /// Why the host ended its last container, when it did.
    pub stop_reason: Option<StopReason>,
}

/// Whether a task of this mode must leave the worktree as it is.
pub const fn reads_only(mode: Mode) -> bool {
    match mode {
        Mode::Edit => false,
        Mode::Plan | Mode::Review | Mode::Ask => true,
    }
}

impl TaskRecord {
    /// A task that was just stored.
    pub fn queued(task: NewTask) -> Self {
        Self {
            state: TaskState::Queued,
            attempt: 1,
            version: 1,
            cancel_requested_at: None,
            updated_at: task.created_at,
            usage: Usage::default(),
            summary: None,
            questions: Vec::new(),
            stop_reason: None,
            task,
        }
    }

    /// The task after an event, as a store writes it.
    pub fn after(&self, event: TaskEvent, at: Timestamp) -> Result<Self, IllegalTransition> {
        let (attempt, stop_reason) = match (&self.state, &event) {
            // Who ended the last attempt's container says nothing about the next one's.
            (TaskState::BackingOff { attempt, .. }, TaskEvent::Woken | TaskEvent::Granted)
            | (TaskState::OverBudget { attempt, .. }, TaskEvent::Granted) => (*attempt, None),
            _ => (self.attempt, self.stop_reason),
        };
        let state = self.state.apply(event)?;
        Ok(Self { state, attempt, stop_reason, version: self.version + 1, updated_at: at, ..self.clone() })
    }

    /// The CLI it runs with.
    pub const fn cli(&self) -> &CliName {
        &self.task.plan.cli
    }
}

impl Issue {
    /// The commit whose settings and prompts count: the base, unless somebody's pull request is the base.
    pub fn trusted_sha(&self) -> &str {
        self.settings_sha.as_ref().unwrap_or(&self.base_sha)
    }
}

/// One execution of a task by one container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// Its task.
    pub task: TaskId,
    /// From 1.
    pub number: u32,
    /// The runtime's id of its container.
    pub container: Option<String>,
    /// When its container was made.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How: an outcome status or a failure kind, for people.
    pub result: Option<String>,
}
