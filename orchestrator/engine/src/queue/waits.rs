//! Why a task waits, for people and for programs.

use std::fmt;

use cloud_code_model::{ByteSize, IssueKey, Pause, PauseScope};
use cloud_code_task_schema::{CliName, FailureKind};
use jiff::Timestamp;

/// Why a task waits.
#[derive(Debug, Clone, PartialEq)]
pub enum Waits {
    /// A person stopped this part of the queue.
    Paused(Pause),
    /// Its last attempt failed, and the next one has its time.
    ComesAgain {
        /// When.
        until: Timestamp,
        /// How the last one failed.
        kind: FailureKind,
    },
    /// The provider asked this account to wait.
    AccountHeld {
        /// Until when.
        until: Timestamp,
        /// Of which CLI.
        cli: CliName,
    },
    /// Other work comes first.
    Dependency(Unmet),
    /// A budget is used up.
    Budget {
        /// Which, in words.
        why: String,
    },
    /// As many of its project run as may.
    ProjectFull {
        /// How many.
        most: u32,
    },
    /// As many of its CLI run as may.
    CliFull {
        /// Which.
        cli: CliName,
        /// How many.
        most: u32,
    },
    /// As many run as may.
    Full {
        /// How many.
        most: u32,
    },
    /// The machine's memory is short.
    Memory {
        /// Bytes that are free.
        free: u64,
        /// What must be.
        least: ByteSize,
    },
    /// The disk is nearly full.
    Disk {
        /// Bytes that are free.
        free: u64,
        /// What must be.
        least: ByteSize,
    },
}

/// A dependency that does not stand in the base yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// Which issue.
    pub issue: IssueKey,
    /// Where it is, to follow its name: `is running`.
    pub how: String,
}

impl Waits {
    /// A name for `--json` and metrics.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Paused(_) => "paused",
            Self::ComesAgain { .. } => "backing_off",
            Self::AccountHeld { .. } => "account_held",
            Self::Dependency(_) => "dependency",
            Self::Budget { .. } => "budget",
            Self::ProjectFull { .. } => "project_full",
            Self::CliFull { .. } => "cli_full",
            Self::Full { .. } => "full",
            Self::Memory { .. } => "memory",
            Self::Disk { .. } => "disk",
        }
    }
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mebibytes = |bytes: u64| bytes >> 20;
        let time = |at: &Timestamp| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
        match self {
            Self::Paused(pause) => {
                match &pause.scope {
                    PauseScope::All => f.write_str("everything is paused")?,
                    PauseScope::Project(name) => write!(f, "project {name} is paused")?,
                    PauseScope::Cli(name) => write!(f, "{name} is paused")?,
                }
                if let Some(by) = &pause.by {
                    write!(f, " by {by}")?;
                }
                match &pause.reason {
                    Some(reason) => write!(f, ": {reason}"),
                    None => Ok(()),
                }
            }
            Self::ComesAgain { until, kind } => {
                write!(f, "failed with {kind}, comes again at {}", time(until))
            }
            Self::AccountHeld { until, cli } => {
                write!(f, "the provider of {cli} wants this account to wait until {}", time(until))
            }
            Self::Dependency(unmet) => write!(f, "waits for {}, which {}", unmet.issue, unmet.how),
            Self::Budget { why } => f.write_str(why),
            Self::ProjectFull { most } => write!(f, "{most} of its project run (queue.concurrency)"),
            Self::CliFull { cli, most } => write!(f, "{most} of {cli} run (queue.per_cli)"),
            Self::Full { most } => write!(f, "{most} tasks run (server.concurrency)"),
            Self::Memory { free, least } => {
                write!(
                    f,
                    "{} MiB of memory are free, {least} must be (queue.min_free_memory)",
                    mebibytes(*free)
                )
            }
            Self::Disk { free, least } => {
                write!(
                    f,
                    "{} MiB of the disk are free, {least} must be (queue.min_free_disk)",
                    mebibytes(*free)
                )
            }
        }
    }
}
