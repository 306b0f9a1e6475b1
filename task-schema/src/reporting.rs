//! `reporting.yaml`: what the agent observed. The orchestrator reads it as untrusted data and tolerates keys it
//! does not know, so an older host can read a newer agent.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{CliName, Failure, HumanDuration, TaskId, Usd};

/// The whole file: the observed state of one workspace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Reporting {
    /// The protocol version, `1`.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1)))]
    pub version: u32,
    /// The highest generation of `tasking.yaml` acted on; 0 before the first.
    pub observed_generation: u64,
    /// When the content last changed.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
    pub updated_at: Timestamp,
    /// Rewritten at least every 10 s while a task runs, every 60 s when idle.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
    pub heartbeat_at: Timestamp,
    /// Who reports.
    pub agent: AgentInfo,
    /// What the agent does now.
    pub status: AgentStatus,
    /// Set with status `error`.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// Every task ever taken, by id.
    #[serde(default)]
    pub tasks: BTreeMap<TaskId, TaskReport>,
}

/// Who reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AgentInfo {
    /// The agent's version.
    pub version: String,
    /// New at each start of the agent.
    pub instance: String,
    /// The CLI it drives.
    pub cli: CliName,
    /// What the CLI says of its version; absent until known.
    #[serde(default)]
    pub cli_version: Option<String>,
    /// When this instance started.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
    pub started_at: Timestamp,
}

/// What the agent does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum AgentStatus {
    /// Nothing to do.
    Idle,
    /// A task runs.
    Working,
    /// It was told to end and is committing what is there.
    Stopping,
    /// `tasking.yaml` cannot be used; `failure` says why. Running work goes on.
    Error,
}

/// What is known of one task.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TaskReport {
    /// How far it is.
    pub status: TaskReportStatus,
    /// Counts from 1; grows when an agent takes up a task that an earlier agent did not end.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub attempt: u32,
    /// The CLI that ran it. Sessions belong to their CLI.
    #[serde(default)]
    pub cli: Option<CliName>,
    /// When this attempt began.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>", extend("format" = "date-time")))]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>", extend("format" = "date-time")))]
    pub finished_at: Option<Timestamp>,
    /// What it does now, in a few words.
    #[serde(default)]
    pub current_step: Option<String>,
    /// The CLI's own session id, for resume.
    #[serde(default)]
    pub session_id: Option<String>,
    /// Whether an earlier conversation goes on in this task.
    #[serde(default)]
    pub conversation: Conversation,
    /// The model that answered, when the CLI said so.
    #[serde(default)]
    pub model: Option<String>,
    /// Tokens, turns and money of this task.
    #[serde(default)]
    pub usage: Usage,
    /// How the CLI's process ended.
    #[serde(default)]
    pub exit: Option<ExitReport>,
    /// Null unless failed, timed out or blocked.
    #[serde(default)]
    pub failure: Option<Failure>,
    /// For people: the pull request's body and the issue comment.
    #[serde(default)]
    pub summary: Option<String>,
    /// The message of the agent's own commit, when it made one.
    #[serde(default)]
    pub commit_message: Option<String>,
    /// New commits, oldest first.
    #[serde(default)]
    pub commits: Vec<CommitReport>,
    /// The commit the worktree stood on when the first attempt began.
    #[serde(default)]
    pub base: Option<String>,
    /// The commit the worktree stands on at the end.
    #[serde(default)]
    pub head: Option<String>,
    /// What differs between the task's start and `head`.
    #[serde(default)]
    pub files_modified: Vec<FileChange>,
    /// Results of the verify commands, oldest first.
    #[serde(default)]
    pub verify: Vec<VerifyReport>,
    /// What a person must answer; status `blocked`.
    #[serde(default)]
    pub questions: Vec<String>,
    /// The last 50; all of them stand in `events.jsonl`.
    #[serde(default)]
    pub progress: Vec<Progress>,
}

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum TaskReportStatus {
    /// Seen, not started.
    Received,
    /// The CLI runs.
    InProgress,
    /// The verify commands run.
    Verifying,
    /// Ended with a question to a person. Ended: the answer is another task.
    Blocked,
    /// Ended well.
    Completed,
    /// Ended badly; `failure` says why.
    Failed,
    /// Ended because it was no longer wanted. Not a failure.
    Cancelled,
    /// Ended by a clock; `failure` says which.
    TimedOut,
}

impl TaskReportStatus {
    /// Whether the task has ended and must never be run again.
    pub const fn is_ended(self) -> bool {
        match self {
            Self::Received | Self::InProgress | Self::Verifying => false,
            Self::Blocked | Self::Completed | Self::Failed | Self::Cancelled | Self::TimedOut => true,
        }
    }

    /// As the files write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Received => "received",
            Self::InProgress => "in_progress",
            Self::Verifying => "verifying",
            Self::Blocked => "blocked",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timed_out",
        }
    }
}

/// How a task is tied to what was said before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Conversation {
    /// Nothing was said before, or nothing of it was to go on.
    #[default]
    New,
    /// The CLI's own session goes on.
    Resumed,
    /// The session could not go on; the prompt tells in short what was said and done.
    Packet,
}

/// Tokens, turns and money. Absent counts were not reported by the CLI; they are not zero.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Usage {
    /// Tokens sent that were not read from a cache.
    #[serde(default)]
    pub input_tokens: Option<u64>,
    /// Tokens received.
    #[serde(default)]
    pub output_tokens: Option<u64>,
    /// Tokens read from the provider's cache.
    #[serde(default)]
    pub cache_read_tokens: Option<u64>,
    /// Tokens written to the provider's cache.
    #[serde(default)]
    pub cache_write_tokens: Option<u64>,
    /// Answers of the model.
    #[serde(default)]
    pub turns: Option<u32>,
    /// Money.
    #[serde(default)]
    pub cost_usd: Option<Usd>,
    /// Where the money figure comes from.
    #[serde(default)]
    pub cost_source: CostSource,
}

/// Where a money figure comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum CostSource {
    /// The CLI said it.
    Reported,
    /// Computed from tokens and a price table.
    Estimated,
    /// Nobody knows; there is no figure.
    #[default]
    Unknown,
}

/// How a process ended: by `code` or by `signal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ExitReport {
    /// The exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal's number, when one ended it.
    pub signal: Option<i32>,
}

/// A commit made during the task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CommitReport {
    /// Its full id.
    pub sha: String,
    /// The first line of its message.
    pub message: String,
}

/// One changed file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FileChange {
    /// Path in the repository.
    pub path: String,
    /// What happened to it.
    pub change: ChangeKind,
    /// Absent for binary files.
    #[serde(default)]
    pub lines_added: Option<u64>,
    /// Absent for binary files.
    #[serde(default)]
    pub lines_removed: Option<u64>,
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ChangeKind {
    /// New.
    Added,
    /// Content or mode differs.
    Modified,
    /// Gone.
    Deleted,
    /// Moved; `path` is the new one.
    Renamed,
}

/// One run of one verify command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct VerifyReport {
    /// As it stands in `tasking.yaml`.
    pub command: String,
    /// Its exit code; absent when a signal or a clock ended it.
    pub exit_code: Option<i32>,
    /// How long it took.
    pub duration: HumanDuration,
    /// Which round, from 1.
    pub round: u32,
    /// The end of its output.
    #[serde(default)]
    pub output_tail: String,
}

/// One line of progress.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Progress {
    /// When.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
    pub at: Timestamp,
    /// What, in a few words.
    pub message: String,
}
