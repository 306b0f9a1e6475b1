//! `tasking.yaml`: what the orchestrator wants. Strict: a key the agent does not know is refused, because a
//! limit or a rule that is silently ignored is worse than a stop.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{BranchName, CliName, HumanDuration, TaskId, Usd};

/// The whole file: the desired state of one workspace.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Tasking {
    /// The protocol version, `1`.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1)))]
    pub version: u32,
    /// Grows by one with each rewrite, from 1.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub generation: u64,
    /// When the file was written, RFC 3339 in UTC.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date-time")))]
    pub updated_at: Timestamp,
    /// Project and issue, for people: `acme/shop#42`.
    pub workspace: String,
    /// Which CLI this container runs.
    pub cli: CliName,
    /// Append only. The agent takes the first one it has not ended.
    #[cfg_attr(feature = "schema", schemars(length(max = 1000)))]
    pub tasks: Vec<Task>,
}

/// One instruction against an issue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Task {
    /// Unique in the file.
    pub id: TaskId,
    /// Whether it is still wanted.
    pub status: Assignment,
    /// Which attempt at it is wanted, from 1, the default. A task that ended in an earlier attempt is run again; nothing else
    /// makes an agent run an ended task.
    #[serde(default = "first_attempt", skip_serializing_if = "is_first_attempt")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub attempt: u32,
    /// One line.
    pub title: String,
    /// May it edit, or only read?
    #[serde(default)]
    pub mode: Mode,
    /// The body of the prompt. Data: never a template, never a shell.
    pub description: String,
    /// What must be true at the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub acceptance_criteria: Vec<String>,
    /// Where to look, and what was said before.
    #[serde(default, skip_serializing_if = "TaskContext::is_empty")]
    pub context: TaskContext,
    /// An earlier task of the list whose CLI session goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<TaskId>,
    /// What the previous CLI left, when another took over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handoff: Option<Handoff>,
    /// Who asked, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    /// How urgent; the agent does not reorder by it.
    #[serde(default)]
    pub priority: Priority,
    /// The branch the work will stand on. The host creates it, the agent never does.
    pub branch: BranchName,
    /// The branch it starts from.
    pub base: BranchName,
    /// The model's name; the CLI's own default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// When to stop it.
    #[serde(default)]
    pub limits: Limits,
    /// Shell commands run in the worktree after the CLI; a failure goes back to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub verify: Vec<String>,
    /// How often a failing verify goes back to the CLI, 0 to 10; default 2.
    #[serde(default = "default_verify_rounds")]
    #[cfg_attr(feature = "schema", schemars(range(max = 10)))]
    pub verify_rounds: u32,
    /// How the agent commits what the CLI left.
    #[serde(default)]
    pub commit: CommitSettings,
}

const fn default_verify_rounds() -> u32 {
    2
}

const fn first_attempt() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_first_attempt(attempt: &u32) -> bool {
    *attempt == 1
}

/// Whether a task is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Assignment {
    /// To be done.
    Assigned,
    /// To be stopped, with the work committed, or never started.
    Cancelled,
}

/// What the CLI may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Mode {
    /// Change files.
    #[default]
    Edit,
    /// Read only: say what would be done.
    Plan,
    /// Read only: judge what is there.
    Review,
    /// Read only: answer a question.
    Ask,
}

/// How urgent a task is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Priority {
    /// Before everything.
    Critical,
    /// Before ordinary work.
    High,
    /// Ordinary.
    #[default]
    Medium,
    /// When nothing else waits.
    Low,
}

impl Priority {
    /// Every one, most urgent first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::High, Self::Medium, Self::Low];

    /// As it stands in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

impl std::fmt::Display for Priority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl std::str::FromStr for Priority {
    type Err = crate::InvalidScalar;

    fn from_str(text: &str) -> Result<Self, crate::InvalidScalar> {
        let named = Self::ALL.into_iter().find(|priority| priority.as_str() == text);
        let problem = || format!("`{text}` is not a priority: use critical, high, medium or low");
        named.ok_or_else(|| crate::InvalidScalar(problem()))
    }
}

/// Where to look, and what was said before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct TaskContext {
    /// Paths in the repository, for the prompt.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related_files: Vec<String>,
    /// Earlier discussion, already filtered for trusted authors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notes: Option<String>,
}

impl TaskContext {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.related_files.is_empty() && self.notes.is_none()
    }
}

/// What one CLI leaves for the next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Handoff {
    /// The CLI that left it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<CliName>,
    /// What it was to reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goal: Option<String>,
    /// The plan it followed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// What was done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub done: Vec<String>,
    /// What was tried and failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<String>,
    /// What is left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub open: Vec<String>,
    /// Which checks fail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_checks: Vec<String>,
    /// What nobody answered yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<String>,
    /// `git diff --stat` of the work so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diff_stat: Option<String>,
}

/// When to stop a task. Defaults stand in [`Limits::default`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct Limits {
    /// Wall clock of the whole task. Default `1h`.
    pub timeout: HumanDuration,
    /// Longest time without output, file changes and work of the processor. Default `15m`.
    pub idle_timeout: HumanDuration,
    /// The same before the CLI's first output. Default `2m`.
    pub start_timeout: HumanDuration,
    /// Longest run of one verify command. Default `10m`.
    pub verify_timeout: HumanDuration,
    /// Most money; no limit when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_cost_usd: Option<Usd>,
    /// Most turns of the model, 1 to 10,000; the CLI's own default when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 10000)))]
    pub max_turns: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            timeout: HumanDuration::from_secs(3600),
            idle_timeout: HumanDuration::from_secs(900),
            start_timeout: HumanDuration::from_secs(120),
            verify_timeout: HumanDuration::from_secs(600),
            max_cost_usd: None,
            max_turns: None,
        }
    }
}

/// How the agent commits what the CLI left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
pub struct CommitSettings {
    /// Whose name stands on the commit: no `<`, `>`, line break or NUL. Default `cloud-code`.
    pub author_name: String,
    /// The address beside it. Default `cloud-code@users.noreply.github.com`.
    pub author_email: String,
    /// How the first line of the message is written. Default `plain`.
    #[serde(skip_serializing_if = "CommitStyle::is_default")]
    pub style: CommitStyle,
    /// `Name <address>` of each co-author, as trailers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub co_authors: Vec<String>,
}

impl Default for CommitSettings {
    fn default() -> Self {
        Self {
            author_name: "cloud-code".to_owned(),
            author_email: "cloud-code@users.noreply.github.com".to_owned(),
            style: CommitStyle::default(),
            co_authors: Vec::new(),
        }
    }
}

/// How the first line of a commit message is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum CommitStyle {
    /// One line in the CLI's own words.
    #[default]
    Plain,
    /// As conventionalcommits.org has it: `fix(login): reject an empty password`.
    Conventional,
}

impl CommitStyle {
    const fn is_default(&self) -> bool {
        matches!(self, Self::Plain)
    }
}
