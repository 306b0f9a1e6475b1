//! Checks: ours, and those that failed.

use serde::{Deserialize, Serialize};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conclusion {
    /// Well.
    Success,
    /// Badly.
    Failure,
    /// Neither, and nobody has to act.
    Neutral,
    /// It was stopped.
    Cancelled,
    /// It ran out of time.
    TimedOut,
    /// A person has to act.
    ActionRequired,
}

/// How far a check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CheckStatus {
    /// It waits.
    Queued,
    /// It runs.
    InProgress,
    /// It is over.
    Completed {
        /// With this.
        conclusion: Conclusion,
    },
}

/// A check on a commit as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckSpec {
    /// What people read beside the tick; the same for all tasks of a project.
    pub name: String,
    /// The commit.
    pub head_sha: String,
    /// Our key for it: a second call with the same key and commit changes the first one's check.
    pub external_id: String,
    /// How far it is.
    pub status: CheckStatus,
    /// One line.
    pub title: String,
    /// More, in Markdown. Left out where only a commit status can be had.
    pub summary: String,
    /// Where people read on.
    pub details_url: Option<String>,
}

/// A check that was written. An App writes check runs; a token can only write commit statuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum CheckHandle {
    /// A check run.
    Run {
        /// The forge's id.
        id: u64,
        /// The commit.
        head_sha: String,
    },
    /// A commit status, which has a name and no id.
    Status {
        /// The commit.
        head_sha: String,
        /// Its name.
        name: String,
    },
}

/// How the checks of a commit stand, without those of our own App.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckFacts {
    /// Those that have not ended.
    pub running: Vec<String>,
    /// Those that failed, were stopped, or want a person.
    pub failed: Vec<String>,
    /// How many passed.
    pub passed: u32,
    /// Whether all kinds of checks could be read: not every token may.
    pub is_whole: bool,
}

/// A check of somebody else that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedCheck {
    /// Its name.
    pub name: String,
    /// The App that ran it; missing for a commit status.
    pub app_id: Option<u64>,
    /// Where people read on.
    pub url: Option<String>,
    /// What it says, cut to a few thousand characters. Others wrote it.
    pub summary: String,
    /// Where it points, at most 30.
    pub annotations: Vec<Annotation>,
}

/// A place in the code that a check complains about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// The file.
    pub path: String,
    /// The first line.
    pub line: u32,
    /// `notice`, `warning` or `failure`.
    pub level: String,
    /// What it says. Others wrote it.
    pub message: String,
}
