//! `events.jsonl`: what happened, one JSON object a line. One vocabulary for all CLIs.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{ChangeKind, ExitReport, Failure, TaskId, TaskReportStatus, Usage};

/// One line of the event log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Event {
    /// Counts from 1 in each workspace, without gaps.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub seq: u64,
    /// When.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
    pub at: Timestamp,
    /// The task it belongs to; absent for events of the agent itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskId>,
    /// The attempt it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
    /// The CLI's own line, where it adds something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
}

/// What happened. The `type` key names the variant in snake case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum EventKind {
    /// The agent is up and watches.
    AgentStarted {
        /// The agent's version.
        version: String,
        /// New at each start.
        instance: String,
    },
    /// A task was taken.
    TaskReceived {
        /// Its title.
        title: String,
    },
    /// The CLI's process was started.
    CliStarted {
        /// Its argument vector; never contains the prompt or a secret.
        command: Vec<String>,
        /// Its process id in the agent's namespace.
        pid: i32,
    },
    /// The model said something to people.
    Message {
        /// What.
        text: String,
    },
    /// The model thought aloud.
    Thinking {
        /// What.
        text: String,
    },
    /// A tool was called.
    ToolUse {
        /// The CLI's name of the tool.
        tool: String,
        /// The CLI's id of the call, when it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// A few words for people: the command, the path.
        summary: String,
    },
    /// A tool answered.
    ToolResult {
        /// The CLI's id of the call, when it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// Whether the tool failed.
        is_error: bool,
        /// The beginning of what it said.
        output: String,
    },
    /// The CLI says that it changed a file.
    FileChanged {
        /// Path as the CLI gives it.
        path: String,
        /// What happened to it.
        change: ChangeKind,
    },
    /// Tokens and money of the task so far.
    Usage {
        /// The figures.
        usage: Usage,
    },
    /// A verify command ended.
    Verify {
        /// The command.
        command: String,
        /// Its exit code.
        exit_code: Option<i32>,
        /// Which round.
        round: u32,
    },
    /// A person must answer.
    Question {
        /// What.
        text: String,
    },
    /// Something is not as it should be, and the agent went on.
    Warning {
        /// What.
        message: String,
    },
    /// The CLI's process ended.
    CliExited {
        /// How.
        exit: ExitReport,
    },
    /// A commit stands.
    Committed {
        /// Its id.
        sha: String,
        /// The first line of its message.
        message: String,
    },
    /// The task ended.
    TaskEnded {
        /// How.
        status: TaskReportStatus,
        /// Why, when badly.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failure: Option<Failure>,
    },
    /// Output was cut; the count says how much is missing.
    LogTruncated {
        /// Bytes left out.
        dropped_bytes: u64,
        /// Where: the raw log, a line, or this event log.
        what: String,
    },
}
