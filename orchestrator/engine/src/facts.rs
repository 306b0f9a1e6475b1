//! What is so: the row, the files of the control directory, the container. Read anew at every look.

use cloud_code_model::{Issue, Level, TaskRecord};
use cloud_code_task_schema::{Assignment, TaskReport};
use jiff::Timestamp;

use crate::clocks::Elapsed;

/// Everything `decide` looks at.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The task's row.
    pub record: TaskRecord,
    /// The issue's row.
    pub issue: Issue,
    /// The worktree and its folders.
    pub workspace: WorkspaceFact,
    /// What `tasking.yaml` says of this task; `None` when it is not in it, or only with an earlier attempt.
    pub tasking: Option<Assignment>,
    /// What `reporting.yaml` says of this task's attempt.
    pub report: ReportFact,
    /// The container of this attempt.
    pub container: Option<ContainerFact>,
    /// The commit the worktree stands on, read by the host without git. Used when the agent died.
    pub worktree_head: Option<String>,
    /// How long the next attempt must wait still; nothing when its time has come.
    pub rest: std::time::Duration,
    /// How far the task is from each limit of its budgets; nothing where that does not count now.
    pub budget: Vec<Level>,
    /// How long things have lasted, as far as the driver has seen.
    pub elapsed: Elapsed,
}

/// The worktree and its folders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkspaceFact {
    /// Not there, or half made.
    Missing,
    /// Whole.
    Ready,
}

/// What the agent says of a task.
#[derive(Debug, Clone, PartialEq)]
pub enum ReportFact {
    /// Nothing of this task.
    NotYet {
        /// The agent's last sign of life, if there is any report.
        heartbeat_at: Option<Timestamp>,
    },
    /// There is a report that cannot be used. It is data of an untrusted writer, so this is no error of ours.
    Unreadable {
        /// Why, for people.
        reason: String,
    },
    /// The task's entry.
    Task {
        /// The entry.
        report: Box<TaskReport>,
        /// The agent's last sign of life.
        heartbeat_at: Timestamp,
    },
}

/// A container, in the engine's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerFact {
    /// The runtime's id.
    pub id: String,
    /// How far it is.
    pub phase: ContainerPhase,
}

/// How far a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerPhase {
    /// Made, never started.
    Created,
    /// Its agent runs.
    Running,
    /// Its agent ended.
    Exited {
        /// The exit code, when the runtime knows it.
        code: Option<i64>,
        /// Whether the kernel killed it for memory.
        oom: bool,
    },
}
