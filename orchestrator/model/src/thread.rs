//! What we know of an issue or pull request of a forge, and what we wrote there.
//!
//! Both parts are derived from elsewhere and can be lost without harm: the facts come again with the next look at the
//! forge, and what was written is found again by its marker. They are kept so that a restart does not have to ask.

use std::collections::BTreeMap;

use cloud_code_task_schema::TaskId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Actor, ConfigKey, Intent, IssueKey, Merging, Place, ProjectName, Subject};

/// An issue or pull request of a forge that somebody commanded us on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Thread {
    /// Its project.
    pub project: ProjectName,
    /// Its number.
    pub number: u64,
    /// What is so.
    pub facts: ThreadFacts,
    /// What came of the work.
    pub published: Published,
    /// What we wrote.
    pub written: ThreadWritten,
}

/// What is so on the forge, and what was said there about later tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThreadFacts {
    /// Issue or pull request.
    pub subject: Subject,
    /// Its title, for people.
    pub title: String,
    /// Its address in a browser.
    pub url: String,
    /// Our issue that works on it; none before the first task.
    pub issue: Option<IssueKey>,
    /// Who asked last: a plain comment of this person answers a question.
    pub requester: Option<Actor>,
    /// What `config` set for later tasks.
    #[serde(default)]
    pub config: BTreeMap<ConfigKey, String>,
    /// Closed, deleted or moved away: nothing starts by itself any more.
    #[serde(default)]
    pub is_closed: bool,
    /// The plan that somebody said no to, without asking for another.
    #[serde(default)]
    pub declined: Option<TaskId>,
    /// What was left out of the last task's prompt, for people.
    #[serde(default)]
    pub left_out: Vec<String>,
}

/// What came of the work on the forge.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Published {
    /// The pull request that holds the work.
    pub pull: Option<Pull>,
    /// What people should know besides: a branch that was rebased, a draft that was refused.
    pub remarks: Vec<String>,
    /// Which of our issues it holds. What is asked for after a merge is another one, with a branch of its own.
    pub of: Option<IssueKey>,
    /// What is known of merging it, in a project whose pull requests we merge.
    pub merging: Option<Merging>,
}

impl Published {
    /// What is known for this issue of ours: nothing, when what is known is of an earlier one.
    #[must_use]
    pub fn of_issue(&self, issue: &IssueKey) -> Self {
        match &self.of {
            Some(of) if of != issue => Self { of: Some(issue.clone()), ..Self::default() },
            Some(_) | None => Self { of: Some(issue.clone()), ..self.clone() },
        }
    }
}

/// Our pull request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pull {
    /// Its number.
    pub number: u64,
    /// Its address in a browser.
    pub url: String,
    /// Where it is.
    pub state: PullState,
    /// The commit we last pushed to it.
    pub head_sha: String,
}

/// Where a pull request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PullState {
    /// Open, draft or not.
    Open,
    /// Merged.
    Merged,
    /// Closed without a merge.
    Closed,
}

/// What we wrote, as far as we know. A digest says which text stands there, so that equal text is not written twice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ThreadWritten {
    /// The one status comment.
    pub comment: Option<u64>,
    /// Its address in a browser.
    pub comment_url: Option<String>,
    /// The digest of its text.
    pub comment_digest: Option<String>,
    /// The label of ours that it carries.
    pub label: Option<String>,
    /// The check or status, as the forge adapter names it, and the commit it stands on.
    pub check: Option<String>,
    /// The digest of the check's text.
    pub check_digest: Option<String>,
    /// The digest of the pull request's text.
    pub pull_digest: Option<String>,
    /// What the last task's agent reported, as the comment shows it.
    pub reported: Option<Reported>,
}

/// What a comment shows of an agent's report, kept for the time after its workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reported {
    /// Whose.
    pub task: TaskId,
    /// The rows of the comment's table.
    pub rows: Vec<(String, String)>,
}

/// An intent with where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IntentRecord {
    /// Its project.
    pub project: ProjectName,
    /// What was asked.
    pub intent: Intent,
    /// When it reached us.
    pub received_at: Timestamp,
    /// Whether the reaction stands.
    pub is_reacted: bool,
    /// What came of it; none while it waits.
    pub outcome: Option<String>,
}

/// A comment of ours that is written once and never changed: an answer, a question, a refusal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Note {
    /// Its project.
    pub project: ProjectName,
    /// Unique in the project: the intent's key it answers, or `question-TASK`.
    pub key: String,
    /// The issue or pull request.
    pub number: u64,
    /// Where it belongs.
    pub place: Place,
    /// Its text, without the marker.
    pub body: String,
    /// When it was to be written.
    pub created_at: Timestamp,
}
