#![doc = include_str!("../README.md")]

mod consistency;
mod document;
mod event;
mod event_reader;
mod failure;
mod files;
mod manifest;
mod reporting;
mod scalar;
#[cfg(feature = "schema")]
mod schema;
mod tasking;

pub use consistency::{Finding, FindingKind, HEARTBEAT_IDLE, HEARTBEAT_WORKING, Severity, findings};
pub use document::{
    Diagnostic, Diagnostics, parse_event, parse_manifest, parse_reporting, parse_strict, parse_tasking,
    to_yaml,
};
pub use event::{Event, EventKind};
pub use event_reader::{EventItem, EventReader, MAX_EVENT_LOG_BYTES};
pub use failure::{Failure, FailureKind};
pub use files::{
    ControlDir, EVENTS_FILE, LOGS_DIR, MAX_EVENT_BYTES, MAX_YAML_BYTES, REPORTING_FILE, ReadError,
    TASKING_FILE, read_capped, write_atomic,
};
pub use manifest::{CliManifest, OutputFormat, PromptChannel};
pub use reporting::{
    AgentInfo, AgentStatus, ChangeKind, CommitReport, CostSource, ExitReport, FileChange, Progress,
    Reporting, TaskReport, TaskReportStatus, Usage, VerifyReport,
};
#[cfg(feature = "schema")]
pub use schema::{SchemaKind, schema, schema_of};
pub use scalar::{BranchName, CliName, HumanDuration, InvalidScalar, TaskId, Usd};
pub use tasking::{Assignment, CommitIdentity, Handoff, Limits, Mode, Priority, Task, TaskContext, Tasking};

/// The only protocol version this crate reads and writes.
pub const PROTOCOL_VERSION: u32 = 1;
