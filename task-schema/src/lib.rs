#![doc = include_str!("../README.md")]

mod check;
mod consistency;
mod containers;
mod document;
mod event;
mod event_line;
mod event_reader;
mod failure;
mod files;
mod filler;
mod key_path;
mod locate;
mod manifest;
mod problem;
mod reader;
mod refusal;
mod reporting;
mod scalar;
mod scalar_value;
#[cfg(feature = "schema")]
mod schema;
mod strict;
mod tasking;

pub use consistency::{Finding, FindingKind, HEARTBEAT_IDLE, HEARTBEAT_WORKING, Severity, findings};
pub use document::{parse_manifest, parse_reporting, parse_strict, parse_tasking, to_yaml};
pub use event::{Event, EventKind};
pub use event_line::parse_event;
pub use event_reader::{EventItem, EventReader, MAX_EVENT_LOG_BYTES};
pub use failure::{Failure, FailureKind};
pub use files::{
    ControlDir, EVENTS_FILE, LOGS_DIR, MAX_EVENT_BYTES, MAX_PROMPT_BYTES, MAX_YAML_BYTES, PROMPT_NAMES,
    PROMPTS_DIR, REPORTING_FILE, ReadError, TASKING_FILE, read_capped, write_atomic,
};
pub use manifest::{CliManifest, OutputFormat, PromptChannel};
pub use problem::{Diagnostic, Diagnostics};
pub use reporting::{
    AgentInfo, AgentStatus, ChangeKind, CommitReport, Conversation, CostSource, ExitReport, FileChange,
    Progress, Reporting, TaskReport, TaskReportStatus, Usage, VerifyReport,
};
pub use scalar::{BranchName, CliName, HumanDuration, InvalidScalar, TaskId, Usd};
#[cfg(feature = "schema")]
pub use schema::{SchemaKind, schema, schema_of};
pub use tasking::{
    Assignment, CommitSettings, CommitStyle, Handoff, Limits, Mode, Priority, Task, TaskContext, Tasking,
};

/// The only protocol version this crate reads and writes.
pub const PROTOCOL_VERSION: u32 = 1;
