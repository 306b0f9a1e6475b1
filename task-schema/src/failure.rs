//! Why something ended badly, as a closed set that code branches on and people can act on.

use serde::{Deserialize, Serialize};

use crate::HumanDuration;

/// The kind of a failure. Retries, breakers and messages follow the kind, never the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum FailureKind {
    /// `tasking.yaml` could not be used; the agent waits for a better one.
    InvalidTasking,
    /// The CLI's program is not in the image or cannot be executed.
    CliMissing,
    /// The provider refused the credentials, or there were none.
    Auth,
    /// The provider asked to slow down; `retry_after` says how long, when it said so.
    RateLimited,
    /// The account's usage window or credit is used up; only time or money helps.
    UsageLimit,
    /// The provider is overloaded or answered 5xx.
    Overloaded,
    /// The provider could not be reached or the connection broke.
    Network,
    /// The task's wall clock ran out.
    Timeout,
    /// The CLI was silent and inactive for longer than `idle_timeout`.
    Idle,
    /// The CLI said nothing at all within `start_timeout`.
    StartTimeout,
    /// The kernel killed the CLI or its container for memory.
    Oom,
    /// The task's money or token limit was reached.
    Budget,
    /// The CLI used up its turns.
    MaxTurns,
    /// The CLI ended with an error that fits no other kind.
    Crashed,
    /// The project's verify commands stayed red; the work is kept.
    VerifyFailed,
    /// The CLI claimed success and changed nothing.
    NoChanges,
    /// The disk or a quota is full.
    DiskFull,
    /// The host refused what the agent left: a forbidden path, link, size or workflow change. Set by the host only.
    Rejected,
    /// A defect of the agent or the orchestrator.
    Internal,
}

impl FailureKind {
    /// Every kind, in the order of the protocol page.
    pub const ALL: [Self; 19] = [
        Self::InvalidTasking,
        Self::CliMissing,
        Self::Auth,
        Self::RateLimited,
        Self::UsageLimit,
        Self::Overloaded,
        Self::Network,
        Self::Timeout,
        Self::Idle,
        Self::StartTimeout,
        Self::Oom,
        Self::Budget,
        Self::MaxTurns,
        Self::Crashed,
        Self::VerifyFailed,
        Self::NoChanges,
        Self::DiskFull,
        Self::Rejected,
        Self::Internal,
    ];

    /// Whether running the same task again, unchanged, can end differently.
    pub const fn retry_can_help(self) -> bool {
        match self {
            Self::RateLimited | Self::UsageLimit | Self::Overloaded | Self::Network | Self::Idle => true,
            Self::StartTimeout | Self::Crashed | Self::Internal => true,
            Self::InvalidTasking
            | Self::CliMissing
            | Self::Auth
            | Self::Timeout
            | Self::Oom
            | Self::Budget => false,
            Self::MaxTurns | Self::VerifyFailed | Self::NoChanges | Self::DiskFull | Self::Rejected => false,
        }
    }

    /// The name as it stands in the files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidTasking => "invalid_tasking",
            Self::CliMissing => "cli_missing",
            Self::Auth => "auth",
            Self::RateLimited => "rate_limited",
            Self::UsageLimit => "usage_limit",
            Self::Overloaded => "overloaded",
            Self::Network => "network",
            Self::Timeout => "timeout",
            Self::Idle => "idle",
            Self::StartTimeout => "start_timeout",
            Self::Oom => "oom",
            Self::Budget => "budget",
            Self::MaxTurns => "max_turns",
            Self::Crashed => "crashed",
            Self::VerifyFailed => "verify_failed",
            Self::NoChanges => "no_changes",
            Self::DiskFull => "disk_full",
            Self::Rejected => "rejected",
            Self::Internal => "internal",
        }
    }

    /// What a person can do about it, in one sentence without a trailing period.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::InvalidTasking => {
                "correct the named key in tasking.yaml; the agent reads it again on the next change"
            }
            Self::CliMissing => "build the CLI's image again, or name an image that has the program",
            Self::Auth => "set the provider's key in the environment of the orchestrator and run again",
            Self::RateLimited => "wait for the time the provider named, then run again",
            Self::UsageLimit => "wait for the usage window to reset, add credit, or choose another CLI",
            Self::Overloaded => "the provider is busy; run again later",
            Self::Network => "check that the container reaches the provider, then run again",
            Self::Timeout => "raise limits.timeout or split the task; the work so far is kept",
            Self::Idle => {
                "look at the log's end for a hang; raise limits.idle_timeout if the CLI is slow by nature"
            }
            Self::StartTimeout => "look at the log; raise limits.start_timeout if the CLI starts slowly",
            Self::Oom => "raise the memory limit of the project's container",
            Self::Budget => "raise limits.max_cost_usd or split the task; the work so far is kept",
            Self::MaxTurns => "raise limits.max_turns or split the task; the work so far is kept",
            Self::Crashed => "look at the end of the attempt's log",
            Self::VerifyFailed => "look at the failing command's output in the report; the work is kept",
            Self::NoChanges => "say more precisely what should change, or check that it was not done already",
            Self::DiskFull => "free disk space on the host, then run again",
            Self::Rejected => "look at the named commit and path; a setting under `import` may allow it",
            Self::Internal => "report it with the two YAML files and the log",
        }
    }
}

impl std::fmt::Display for FailureKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failure as it stands in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Failure {
    /// What code branches on.
    pub kind: FailureKind,
    /// What happened, for people; never parsed.
    pub message: String,
    /// How long the provider asked to wait, when it did.
    #[serde(default)]
    pub retry_after: Option<HumanDuration>,
}

impl Failure {
    /// A failure without a wait.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None }
    }
}
