//! What somebody asked for on a forge, once it has been read and found to be meant for us.
//!
//! An intent has a business key: the thing on the forge that it came from. A second delivery of the same comment, a
//! sweep that finds it again, and a poll that lists it all lead to the same key, and so change nothing.

use std::fmt;
use std::str::FromStr;

use cloud_code_task_schema::{BranchName, CliName, Usd};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A person or a program on a forge. Logins are renamed and reused; only the id says who it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Actor {
    /// The forge's number for it.
    pub id: u64,
    /// Its name today, for people.
    pub login: String,
}

/// Where an intent was voiced: what gets the reaction, and where its answer belongs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Place {
    /// The issue's or pull request's own text, its labels or its assignees.
    Issue,
    /// A comment on the issue or on the pull request's conversation.
    Comment {
        /// The forge's id.
        id: u64,
    },
    /// A review of the pull request.
    Review {
        /// The forge's id.
        id: u64,
    },
    /// A comment on a line of the pull request. Its answer belongs in its thread.
    ReviewComment {
        /// The forge's id.
        id: u64,
        /// The first comment of the thread; replies go to that one.
        thread: u64,
    },
    /// A check on a commit.
    Check {
        /// The commit.
        head_sha: String,
    },
}

/// What an intent is about: an issue, or the conversation of a pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// An issue.
    Issue,
    /// A pull request, ours or somebody's.
    PullRequest,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// Unique in the project: `comment-123`, `review-9`, `label-42-ready-for-agent-1700000000`.
    pub key: String,
    /// The number of the issue or pull request.
    pub number: u64,
    /// Which of the two.
    pub subject: Subject,
    /// Who asks.
    pub actor: Actor,
    /// When it was said. Text written or changed later is not part of what was asked.
    pub at: Timestamp,
    /// Where it was said.
    pub place: Place,
    /// What is asked.
    pub ask: Ask,
    /// The commit that somebody's pull request stood on when this was heard: nobody slips commits in between.
    #[serde(default)]
    pub head_sha: Option<String>,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Ask {
    /// A command that was understood.
    Command {
        /// The command.
        command: Command,
    },
    /// A plain comment of whoever asked, while the agent waits for an answer.
    Answer {
        /// What it says.
        text: String,
    },
    /// Text that begins as a command and is none. Answered once, with what to write instead.
    Mistake {
        /// What is wrong, for people.
        message: String,
        /// What to write.
        hint: Option<String>,
    },
    /// A review that asks for changes; its text and its line comments are the task.
    Changes {
        /// What the review says as a whole.
        text: String,
    },
    /// A comment on a line, without a command in it, that speaks to us.
    Line {
        /// What it says.
        text: String,
        /// The file.
        path: String,
        /// The line in the new version, if it still has one.
        line: Option<u32>,
        /// The part of the diff it stands at.
        diff_hunk: String,
    },
    /// A check of our own pull request failed.
    ChecksFailed {
        /// The names of the checks or of the program that ran them.
        names: Vec<String>,
    },
    /// Our own pull request conflicts with its base. Nobody asked: who asked for the work vouches for it.
    BaseConflict {
        /// The base branch.
        base: BranchName,
        /// Its commit that the work conflicts with.
        base_sha: String,
    },
}

/// A command, as the grammar reads it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case")]
pub enum Command {
    /// Work on the issue.
    Run {
        /// With this coding CLI.
        cli: Option<CliName>,
        /// And this model.
        model: Option<String>,
        /// From this branch.
        base: Option<BranchName>,
        /// For at most this money.
        budget: Option<Usd>,
        /// What to do besides what the issue says.
        text: String,
    },
    /// Say what would be done, and change nothing.
    Plan {
        /// What to plan.
        text: String,
    },
    /// Yes to what waits for a yes.
    Approve,
    /// No to what waits for a yes.
    Reject {
        /// Why.
        reason: String,
    },
    /// Stop, and keep the work.
    Cancel,
    /// The last task again, after it failed or was stopped.
    Retry,
    /// Where is it?
    Status,
    /// Let another CLI take over.
    Handoff {
        /// Which.
        cli: CliName,
        /// What to do next.
        text: String,
    },
    /// A question about the code or the work; nothing is changed.
    Ask {
        /// The question.
        text: String,
    },
    /// A setting of this issue for its later tasks.
    Config {
        /// Which.
        key: ConfigKey,
        /// Its value; `default` takes it back.
        value: String,
    },
    /// What has it cost?
    Cost,
    /// What did the agent do last?
    Logs,
    /// What can be said?
    Help,
}

/// What `config` can set for one issue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigKey {
    /// The coding CLI.
    Cli,
    /// The model.
    Model,
    /// The branch that work starts from; only before the first task.
    Base,
    /// Most money for a task, in US dollars.
    Budget,
    /// Wall clock of a task, as `30m`.
    Timeout,
    /// Whether the pull request is opened as a draft: `true` or `false`.
    Draft,
    /// How urgent it is: `critical`, `high`, `medium` or `low`.
    Priority,
    /// Issues whose work must be in the base first: their numbers, with commas.
    After,
}

impl ConfigKey {
    /// Every key, in the order people read them.
    pub const ALL: [Self; 8] = [
        Self::Cli,
        Self::Model,
        Self::Base,
        Self::Budget,
        Self::Timeout,
        Self::Draft,
        Self::Priority,
        Self::After,
    ];

    /// As people write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cli => "cli",
            Self::Model => "model",
            Self::Base => "base",
            Self::Budget => "budget",
            Self::Timeout => "timeout",
            Self::Draft => "draft",
            Self::Priority => "priority",
            Self::After => "after",
        }
    }
}

impl fmt::Display for ConfigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `owner/name` of a repository on a forge.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepositoryName {
    owner: String,
    name: String,
}

/// Why a text names no repository.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a repository: write it as `owner/name`")]
pub struct InvalidRepository(String);

/// Longest name of an owner or a repository on GitHub.
const MAX_PART: usize = 100;

impl RepositoryName {
    /// The person or organisation.
    pub fn owner(&self) -> &str {
        &self.owner
    }
    /// The repository alone.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for RepositoryName {
    type Err = InvalidRepository;
    fn from_str(text: &str) -> Result<Self, InvalidRepository> {
        let is_part = |part: &str| {
            !part.is_empty()
                && part.len() <= MAX_PART
                && !part.starts_with('-')
                && part != "."
                && part != ".."
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        };
        match text.split_once('/') {
            Some((owner, name)) if is_part(owner) && is_part(name) => {
                Ok(Self { owner: owner.to_owned(), name: name.to_owned() })
            }
            Some(_) | None => Err(InvalidRepository(text.to_owned())),
        }
    }
}

impl TryFrom<String> for RepositoryName {
    type Error = InvalidRepository;
    fn try_from(text: String) -> Result<Self, InvalidRepository> {
        text.parse()
    }
}

impl From<RepositoryName> for String {
    fn from(value: RepositoryName) -> String {
        value.to_string()
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

impl schemars::JsonSchema for RepositoryName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RepositoryName".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": "^[A-Za-z0-9._][A-Za-z0-9._-]{0,99}/[A-Za-z0-9._][A-Za-z0-9._-]{0,99}$"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_an_owner_and_a_name() {
        let shop: RepositoryName = "acme/shop".parse().unwrap();
        assert_eq!((shop.owner(), shop.name()), ("acme", "shop"));
        for bad in ["", "acme", "acme/", "/shop", "a/b/c", "-a/b", "a/-b", "../b", "a/..", "a b/c", "a/b\n"] {
            assert!(bad.parse::<RepositoryName>().is_err(), "{bad:?} was accepted");
        }
    }
}
