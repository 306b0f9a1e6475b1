//! Why something ended badly, as a closed set that code branches on and people can act on.

use jiff::Timestamp;
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
    /// A login that once worked is no longer accepted; a person must log in again.
    LoginExpired,
    /// The provider asked to slow down; `retry_after` says how long, when it said so.
    RateLimited,
    /// The account's usage window or credit is used up; only time or money helps.
    UsageLimit,
    /// The provider is overloaded or answered 5xx.
    Overloaded,
    /// The provider could not be reached or the connection broke.
    Network,
    /// The conversation or the prompt exceeds what the model can read.
    ContextTooLong,
    /// The model or its provider declined to work on the content.
    Refused,
    /// The provider does not know the model that was asked for.
    ModelUnknown,
    /// The task's wall clock ran out.
    Timeout,
    /// The CLI was silent and inactive for longer than `idle_timeout`.
    Idle,
    /// The CLI neither said nor did anything within `start_timeout`.
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
    /// A task that may only read changed files; nothing was committed.
    NotReadOnly,
    /// The disk or a quota is full.
    DiskFull,
    /// The host refused what the agent left: a forbidden path, link, size or workflow change. Set by the host only.
    Rejected,
    /// The forge refused the finished work: a protected branch, a missing right, an archived repository. The work is kept
    /// in the mirror. Set by the host only.
    PublishRefused,
    /// A defect of the agent or the orchestrator.
    Internal,
}

impl FailureKind {
    /// Every kind, in the order of the protocol page.
    pub const ALL: [Self; 25] = [
        Self::InvalidTasking,
        Self::CliMissing,
        Self::Auth,
        Self::LoginExpired,
        Self::RateLimited,
        Self::UsageLimit,
        Self::Overloaded,
        Self::Network,
        Self::ContextTooLong,
        Self::Refused,
        Self::ModelUnknown,
        Self::Timeout,
        Self::Idle,
        Self::StartTimeout,
        Self::Oom,
        Self::Budget,
        Self::MaxTurns,
        Self::Crashed,
        Self::VerifyFailed,
        Self::NoChanges,
        Self::NotReadOnly,
        Self::DiskFull,
        Self::Rejected,
        Self::PublishRefused,
        Self::Internal,
    ];

    /// Whether running the same task again, unchanged, can end differently.
    pub const fn retry_can_help(self) -> bool {
        match self {
            Self::RateLimited | Self::UsageLimit | Self::Overloaded | Self::Network | Self::Idle => true,
            Self::StartTimeout | Self::Crashed | Self::Internal => true,
            // Somebody makes room; until then the next attempt does not begin.
            Self::DiskFull => true,
            Self::InvalidTasking
            | Self::CliMissing
            | Self::Auth
            | Self::LoginExpired
            | Self::ContextTooLong
            | Self::Refused
            | Self::ModelUnknown
            | Self::NotReadOnly
            | Self::Timeout
            | Self::Oom
            | Self::Budget => false,
            Self::MaxTurns | Self::VerifyFailed | Self::NoChanges | Self::Rejected => false,
            Self::PublishRefused => false,
        }
    }

    /// The name as it stands in the files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidTasking => "invalid_tasking",
            Self::CliMissing => "cli_missing",
            Self::Auth => "auth",
            Self::LoginExpired => "login_expired",
            Self::RateLimited => "rate_limited",
            Self::UsageLimit => "usage_limit",
            Self::Overloaded => "overloaded",
            Self::Network => "network",
            Self::ContextTooLong => "context_too_long",
            Self::Refused => "refused",
            Self::ModelUnknown => "model_unknown",
            Self::Timeout => "timeout",
            Self::Idle => "idle",
            Self::StartTimeout => "start_timeout",
            Self::Oom => "oom",
            Self::Budget => "budget",
            Self::MaxTurns => "max_turns",
            Self::Crashed => "crashed",
            Self::VerifyFailed => "verify_failed",
            Self::NoChanges => "no_changes",
            Self::NotReadOnly => "not_read_only",
            Self::DiskFull => "disk_full",
            Self::Rejected => "rejected",
            Self::PublishRefused => "publish_refused",
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
            Self::LoginExpired => {
                "log in again with the CLI where its login was made, and put the new credentials in place"
            }
            Self::RateLimited => "wait for the time the provider named, then run again",
            Self::UsageLimit => "wait for the usage window to reset, add credit, or choose another CLI",
            Self::Overloaded => "the provider is busy; run again later",
            Self::Network => "check that the container reaches the provider, then run again",
            Self::ContextTooLong => {
                "begin without the earlier conversation, shorten the task, or choose a model with a larger window"
            }
            Self::Refused => "word the task differently, or choose another model",
            Self::ModelUnknown => "correct the model's name, or leave it out for the CLI's own default",
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
            Self::NotReadOnly => "run it where the worktree is mounted read only, or in mode edit",
            Self::DiskFull => "free disk space on the host, then run again",
            Self::PublishRefused => "mend what the message names, then try again; the work is kept",
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
    /// When the account's usage window opens again, when the provider told.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>", extend("format" = "date-time")))]
    pub resets_at: Option<Timestamp>,
}

impl Failure {
    /// A failure without a wait.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None, resets_at: None }
    }
}
