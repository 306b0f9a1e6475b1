//! Issues, comments, labels, and who changed their texts.

use cloud_code_model::Actor;
use jiff::Timestamp;

use super::pulls::LineComment;

/// The forge's name for one text, by which its changes are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TextId(String);

impl TextId {
    /// As the forge spells it.
    pub const fn new(id: String) -> Self {
        Self(id)
    }

    /// As the forge spells it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The last change of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// When.
    pub at: Timestamp,
    /// By whom; missing if the account is gone or has no number.
    pub by: Option<Actor>,
    /// Whether a program did it.
    pub by_is_bot: bool,
}

/// What was changed about a text since it was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TextEdits {
    /// The text itself.
    pub text: Option<Edited>,
    /// The title, of an issue or pull request.
    pub title: Option<Edited>,
}

/// Whether an issue is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenState {
    /// Open.
    Open,
    /// Closed, for whatever reason.
    Closed,
}

/// An issue, or a pull request seen as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssueFacts {
    /// By which the changes of its text and title are asked for.
    pub text_id: TextId,
    /// Its number in the repository.
    pub number: u64,
    /// Its title.
    pub title: String,
    /// Its text; empty if there is none.
    pub body: String,
    /// Who opened it; missing if the account is gone.
    pub author: Option<Actor>,
    /// Whether a program opened it.
    pub author_is_bot: bool,
    /// Open or closed.
    pub state: OpenState,
    /// The names of its labels.
    pub labels: Vec<String>,
    /// Who is assigned.
    pub assignees: Vec<Actor>,
    /// Whether it is a pull request.
    pub is_pull_request: bool,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When anything about it changed last, comments included.
    pub updated_at: Timestamp,
    /// Where people find it.
    pub url: String,
    /// Whether only some may comment.
    pub locked: bool,
}

/// A comment of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommentFacts {
    /// By which its changes are asked for.
    pub text_id: TextId,
    /// The forge's id.
    pub id: u64,
    /// Who wrote it; missing if the account is gone.
    pub author: Option<Actor>,
    /// Whether a program wrote it.
    pub author_is_bot: bool,
    /// The App it was written through, also for a person.
    pub via_app: Option<u64>,
    /// What it says.
    pub body: String,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// Where people find it.
    pub url: String,
}

/// A comment somewhere in the repository.
#[derive(Debug, Clone, PartialEq)]
pub enum RecentComment {
    /// In the conversation of an issue or pull request.
    Conversation {
        /// Which one.
        number: u64,
        /// Whether that is a pull request.
        is_pull_request: bool,
        /// The comment.
        comment: CommentFacts,
    },
    /// On a line of a pull request.
    Line {
        /// Which pull request.
        number: u64,
        /// The comment.
        comment: LineComment,
    },
}

impl RecentComment {
    /// When it was changed last.
    pub const fn updated_at(&self) -> Timestamp {
        match self {
            Self::Conversation { comment, .. } => comment.updated_at,
            Self::Line { comment, .. } => comment.updated_at,
        }
    }
}

/// Something that happened to an issue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssueEvent {
    /// The forge's id.
    pub id: u64,
    /// The forge's word for it: `labeled`, `assigned`, `closed`, `reopened`, …
    pub kind: String,
    /// Who did it; missing if the account is gone.
    pub actor: Option<Actor>,
    /// Whether a program did it.
    pub actor_is_bot: bool,
    /// The App it was done through.
    pub via_app: Option<u64>,
    /// The label it is about.
    pub label: Option<String>,
    /// The account that was assigned or unassigned.
    pub assignee: Option<Actor>,
    /// When.
    pub at: Timestamp,
}

/// A comment that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommentHandle {
    /// The forge's id.
    pub id: u64,
    /// Where people find it.
    pub url: String,
}

/// A label as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelSpec {
    /// Its name.
    pub name: String,
    /// Six hexadecimal digits, no `#`.
    pub color: String,
    /// What it means; at most 100 characters on GitHub.
    pub description: String,
}
