//! Whose turn it is: priorities, dependencies, limits and pauses.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use cloud_code_task_schema::{CliName, HumanDuration, Priority};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{ByteSize, InvalidName, IssueKey, ProjectName};

/// A task's place among those that wait.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct QueuePlace {
    /// How urgent it is.
    pub priority: Priority,
    /// Issues of the same project whose work must be in the base first.
    pub depends_on: Vec<IssueKey>,
}

/// What was stopped by a person: nothing of it begins. What runs goes on to its end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PauseScope {
    /// Everything.
    All,
    /// One project.
    Project(ProjectName),
    /// One coding CLI, in all projects.
    Cli(CliName),
}

impl fmt::Display for PauseScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Project(name) => write!(f, "project:{name}"),
            Self::Cli(name) => write!(f, "cli:{name}"),
        }
    }
}

impl FromStr for PauseScope {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let invalid = || InvalidName::new(text, "a pause");
        match text.split_once(':') {
            None if text == "all" => Ok(Self::All),
            Some(("project", name)) => Ok(Self::Project(name.parse()?)),
            Some(("cli", name)) => name.parse().map(Self::Cli).map_err(|_| invalid()),
            Some(_) | None => Err(invalid()),
        }
    }
}

/// A pause that a person made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Of what.
    pub scope: PauseScope,
    /// Who.
    pub by: Option<String>,
    /// Why, in their words.
    pub reason: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// How many tasks run at one time, in `cloud-code.yaml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct QueueSettings {
    /// Most tasks of one coding CLI at one time, by its name; no limit for those that are not named.
    pub per_cli: BTreeMap<CliName, u32>,
    /// Least memory that must be available on this machine for a task to begin while others run, as `512MiB`. Default
    /// `512MiB`. A machine without any task begins one all the same.
    pub min_free_memory: Option<ByteSize>,
    /// Least space that must be free where the home folder lies for a task to begin, as `1GiB`. Default `1GiB`.
    pub min_free_disk: Option<ByteSize>,
    /// After each such time of waiting a task counts as one priority higher, so that low ones are not passed over for ever;
    /// never as `critical`. Default `1h`.
    pub lift_after: Option<HumanDuration>,
}

/// A project's part of the queue.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct ProjectQueueSettings {
    /// The priority of its tasks unless one says otherwise. Default `medium`.
    pub priority: Option<Priority>,
    /// Most tasks of the project at one time; default: no limit but `server.concurrency`.
    #[schemars(range(min = 1, max = 1000))]
    pub concurrency: Option<u32>,
}

/// The limits in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueLimits {
    /// Most tasks at one time.
    pub concurrency: u32,
    /// Of one CLI.
    pub per_cli: BTreeMap<CliName, u32>,
    /// Of one project.
    pub per_project: BTreeMap<ProjectName, u32>,
    /// See [`QueueSettings::min_free_memory`].
    pub min_free_memory: ByteSize,
    /// See [`QueueSettings::min_free_disk`].
    pub min_free_disk: ByteSize,
    /// See [`QueueSettings::lift_after`].
    pub lift_after: HumanDuration,
}

/// Default of `server.concurrency`: a CLI with its build takes two processors and up to 4 GiB.
const DEFAULT_CONCURRENCY: u32 = 2;
/// Default of `queue.min_free_memory`: less, and the kernel kills what it likes.
const DEFAULT_FREE_MEMORY: ByteSize = ByteSize::mebibytes(512);
/// Default of `queue.min_free_disk`: a worktree with its build takes about as much.
const DEFAULT_FREE_DISK: ByteSize = ByteSize::mebibytes(1024);
/// Default of `queue.lift_after`, in seconds.
const DEFAULT_LIFT: u64 = 3600;

impl QueueSettings {
    /// The limits in force; absent keys take their defaults.
    pub fn limits(&self, concurrency: Option<u32>, per_project: BTreeMap<ProjectName, u32>) -> QueueLimits {
        QueueLimits {
            concurrency: concurrency.unwrap_or(DEFAULT_CONCURRENCY).max(1),
            per_cli: self.per_cli.clone(),
            per_project,
            min_free_memory: self.min_free_memory.unwrap_or(DEFAULT_FREE_MEMORY),
            min_free_disk: self.min_free_disk.unwrap_or(DEFAULT_FREE_DISK),
            lift_after: self.lift_after.unwrap_or(HumanDuration::from_secs(DEFAULT_LIFT)),
        }
    }
}

impl Default for QueueLimits {
    fn default() -> Self {
        QueueSettings::default().limits(None, BTreeMap::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_read_as_they_are_written() {
        let scopes = [
            PauseScope::All,
            PauseScope::Project("shop".parse().unwrap()),
            PauseScope::Cli("codex".parse().unwrap()),
        ];
        for scope in scopes {
            assert_eq!(scope.to_string().parse::<PauseScope>(), Ok(scope));
        }
        for text in ["", "project:", "cli:A b", "everything", "shop"] {
            assert!(text.parse::<PauseScope>().is_err(), "{text}");
        }
    }
}
