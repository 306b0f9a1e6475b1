//! `attempt.yaml`: what ties the files of one attempt together.

use cloud_code_model::{IssueKey, ProjectName, RuntimeKind};
use cloud_code_task_schema::{
    BranchName, CliName, Conversation, ExitReport, Failure, HumanDuration, Mode, TaskId, Usage,
};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::place::Key;

/// One attempt at a task, as it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AttemptFile {
    /// Version of this file: 1.
    pub version: u32,
    /// The project.
    #[schemars(with = "String")]
    pub project: ProjectName,
    /// The issue's key.
    #[schemars(with = "String")]
    pub issue: IssueKey,
    /// The task's id.
    pub task: TaskId,
    /// Which attempt at it, from 1.
    #[schemars(range(min = 1))]
    pub attempt: u32,
    /// The task in one line.
    pub title: String,
    /// May it edit, or only read?
    pub mode: Mode,
    /// Who asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    /// When its container was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub finished_at: Timestamp,
    /// When it was put here.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub kept_at: Timestamp,
    /// How it ended.
    pub ending: Ending,
    /// How its processes ended, as far as anybody saw.
    pub exit: ExitFacts,
    /// What it ran with.
    pub cli: CliFacts,
    /// Tokens and money of the task up to here, earlier attempts included.
    pub usage: Usage,
    /// The verify commands that were run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verify: Vec<VerifyRound>,
    /// Where the branch stood.
    pub commits: CommitFacts,
    /// Names of the variables that were set. Never their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// Names of the secrets that were given. Never their values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<String>,
    /// What is in `files.tar.gz`.
    pub files: Vec<KeptFile>,
    /// What should be there and is not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingFile>,
}

impl AttemptFile {
    /// The only version that this program reads and writes.
    pub const VERSION: u32 = 1;

    /// Which attempt it is.
    pub fn key(&self) -> Key {
        Key {
            project: self.project.clone(),
            issue: self.issue.clone(),
            task: self.task.clone(),
            attempt: self.attempt,
        }
    }

    /// Bytes that are not in the files, because they were over a cap.
    pub fn dropped_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.dropped_bytes).sum()
    }

    /// How many rounds of verify commands there were.
    pub fn verify_rounds(&self) -> u32 {
        self.verify.iter().map(|run| run.round).max().unwrap_or(0)
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ending {
    /// `completed`, `blocked`, `failed` or `cancelled`; `host_failed` where the host could not go on.
    pub status: String,
    /// Why, when badly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Why the host ended its container, when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

/// How the processes of an attempt ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ExitFacts {
    /// The container's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<i32>,
    /// Whether the kernel killed something in it for memory. Only true is certain.
    #[serde(default)]
    pub oom_killed: bool,
    /// The CLI's own end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cli: Option<ExitReport>,
}

/// What an attempt ran with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CliFacts {
    /// The coding CLI.
    pub name: CliName,
    /// Its version, as it said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The model, as the CLI said; else the one that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The agent's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// How the agent was started.
    pub runtime: RuntimeKind,
    /// The image's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The image's digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    /// The runtime's id of the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// The CLI's session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// How it was tied to what was said before.
    pub conversation: Conversation,
}

/// Where the branch stood.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CommitFacts {
    /// The branch.
    pub branch: BranchName,
    /// The commit that the issue's work stands on.
    pub base: String,
    /// The branch's commit before the attempt; none when there was no work yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The branch's commit after it; none when it left no work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// One run of a verify command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct VerifyRound {
    /// Which round, from 1.
    pub round: u32,
    /// The command.
    pub command: String,
    /// Its exit code; none when it was ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// How long it took.
    pub duration: HumanDuration,
}

/// A file in `files.tar.gz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KeptFile {
    /// Its name there.
    pub name: String,
    /// Its bytes there.
    pub bytes: u64,
    /// Bytes of the original that are missing, because it was over its cap; a line in the file says the same.
    #[serde(default)]
    pub dropped_bytes: u64,
}

/// A file that should be there and is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MissingFile {
    /// Its name.
    pub name: String,
    /// Why, for people.
    pub why: String,
}
