//! What is known about things on a forge, and what is wanted of them, in our words.
//!
//! Thin on purpose: only what a decision or a text of ours uses. Forges send `null` where their libraries promise a
//! value (deleted accounts, deleted forks), so these say where something can be missing.

use cloud_code_model::{Actor, RepositoryName};
use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::marker::Marker;

/// Some of a long list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing<T> {
    /// In the order the call promises.
    pub items: Vec<T>,
    /// Whether there was more than one call reads. The next call continues from the last item.
    pub more: bool,
}

/// Who we are on the forge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BotIdentity {
    /// The account that our comments carry.
    pub actor: Actor,
    /// The App, if we are one and not a person's token.
    pub app_id: Option<u64>,
    /// What people write after `@` to speak to us: an App's short name, not its account's `name[bot]`.
    pub mention: String,
}

/// How far a permission goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Not at all.
    None,
    /// Reading.
    Read,
    /// Reading and writing.
    Write,
    /// The forge does not tell; trying shows it.
    Unknown,
}

impl Access {
    /// By the forge's word for it; without one, not at all.
    pub(crate) fn of(word: Option<&str>) -> Self {
        match word {
            Some("write" | "admin") => Self::Write,
            Some("read") => Self::Read,
            Some(_) => Self::Unknown,
            None => Self::None,
        }
    }

    /// The word for it, as people know it from the forge's pages.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::Write => "write",
            Self::Unknown => "unknown",
        }
    }

    /// Whether it is known to be less than what is needed.
    pub const fn falls_short_of(self, needed: Self) -> bool {
        match (self, needed) {
            (Self::Unknown | Self::Write, _) | (Self::Read, Self::Read | Self::None | Self::Unknown) => false,
            (Self::None, Self::None | Self::Unknown) => false,
            (Self::None, Self::Read | Self::Write) | (Self::Read, Self::Write) => true,
        }
    }
}

/// What we may do in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grants {
    /// Code: fetch and push.
    pub contents: Access,
    /// Issues, comments, labels.
    pub issues: Access,
    /// Pull requests.
    pub pull_requests: Access,
    /// Check runs.
    pub checks: Access,
    /// Commit statuses.
    pub statuses: Access,
    /// Files of the forge's own CI. Meant to be missing.
    pub workflows: Access,
}

impl Grants {
    /// By the forge's name of the permission. Whoever sees a repository may read its metadata.
    pub fn of(&self, permission: &str) -> Access {
        match permission {
            "metadata" => Access::Read,
            "contents" => self.contents,
            "issues" => self.issues,
            "pull_requests" => self.pull_requests,
            "checks" => self.checks,
            "statuses" => self.statuses,
            "workflows" => self.workflows,
            _ => Access::Unknown,
        }
    }
}

/// A repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryFacts {
    /// The forge's number for it. Names change hands; this does not.
    pub id: u64,
    /// Its name today.
    pub name: RepositoryName,
    /// Where work starts from by default.
    pub default_branch: String,
    /// Where git finds it.
    pub clone_url: String,
    /// Where people find it.
    pub web_url: String,
    /// Whether it is read-only for good.
    pub archived: bool,
    /// Whether only some may see it.
    pub private: bool,
    /// Whether it is a fork of another.
    pub fork: bool,
    /// What we may do in it.
    pub grants: Grants,
}

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

/// What an account may do, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Permission {
    /// Nothing, or not known.
    None,
    /// Read; in a public repository everybody may.
    Read,
    /// Push.
    Write,
    /// Everything.
    Admin,
}

/// An account's permission in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionFact {
    /// Whom the forge answered about; missing if it knows nobody of that name.
    pub user_id: Option<u64>,
    /// The highest of all grants.
    pub permission: Permission,
    /// The finer role (`maintain`, `triage`, or a custom one), for people.
    pub role_name: Option<String>,
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

/// Where a pull request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullState {
    /// Open, draft or not.
    Open,
    /// Merged.
    Merged,
    /// Closed without being merged.
    Closed,
}

/// Whether a pull request can be merged as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mergeable {
    /// It can.
    Clean,
    /// It conflicts with its base.
    Conflict,
    /// The forge has not worked it out yet, or was not asked.
    Unknown,
}

/// What the forge says of a pull request as a whole: what could be told apart for us is told apart elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Nothing is in its way.
    Clear,
    /// It can be merged, though not every check has passed.
    Unstable,
    /// A rule of the base is not kept.
    Blocked,
    /// The base has moved on, and wants branches that hold all of it.
    Behind,
    /// A draft, a conflict, something not worked out yet, or something new.
    Other,
}

/// A pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullFacts {
    /// Its number.
    pub number: u64,
    /// Where people find it.
    pub url: String,
    /// Its title.
    pub title: String,
    /// Its text; empty if there is none.
    pub body: String,
    /// Who opened it.
    pub author: Option<Actor>,
    /// Open, merged or closed.
    pub state: PullState,
    /// Whether it is a draft.
    pub draft: bool,
    /// The newest commit of its branch.
    pub head_sha: String,
    /// Its branch, in `head_repository`.
    pub head_branch: String,
    /// Where its branch lives; missing if that fork was deleted.
    pub head_repository: Option<RepositoryName>,
    /// Whether the branch lives in this very repository.
    pub same_repository: bool,
    /// The branch it wants to go to.
    pub base: String,
    /// Whether it can be merged.
    pub mergeable: Mergeable,
    /// Who merged it; missing as long as nobody has, and in lists.
    pub merged_by: Option<Actor>,
    /// What the forge says of it as a whole; [`Readiness::Other`] in lists.
    pub readiness: Readiness,
    /// When anything about it changed last: commits, comments, reviews, its state. What checks say is not told so.
    pub updated_at: Timestamp,
}

/// A pull request as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullSpec {
    /// The branch with the work, in this repository.
    pub branch: String,
    /// Where it should go.
    pub base: String,
    /// Its title.
    pub title: String,
    /// Its text. The marker is added.
    pub body: String,
    /// Whether it starts as a draft.
    pub draft: bool,
    /// What marks it as ours.
    pub marker: Marker,
    /// Who is asked to look at it: logins, or `organisation/team`.
    pub reviewers: Vec<String>,
    /// Labels it gets besides those it has.
    pub labels: Vec<String>,
}

/// What came of [`crate::Forge::put_pull`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutPull {
    /// The pull request.
    pub pull: PullFacts,
    /// Whether this call opened it. A later call finds it and changes neither title nor text.
    pub created: bool,
    /// What the forge did not grant, none of it worth failing for.
    pub notes: Vec<PullNote>,
}

/// A wish about a pull request that the forge refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PullNote {
    /// Drafts are not available here; it is a plain pull request.
    NoDraft,
    /// These reviewers were not asked.
    Reviewers {
        /// Who.
        refused: Vec<String>,
        /// Why, in the forge's words.
        message: String,
    },
    /// The labels were not set.
    Labels {
        /// Why, in the forge's words.
        message: String,
    },
}

/// A change to a pull request. What is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PullUpdate {
    /// Another title.
    pub title: Option<String>,
    /// Another text, with the marker that it must keep.
    pub body: Option<(String, Marker)>,
    /// Take the draft state away.
    pub ready: bool,
}

/// What a review decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReviewState {
    /// Approved.
    Approved,
    /// Asks for changes.
    ChangesRequested,
    /// Only comments.
    Commented,
    /// Taken back.
    Dismissed,
    /// Not submitted yet.
    Pending,
}

/// A review of a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReviewFacts {
    /// By which its changes are asked for.
    pub text_id: TextId,
    /// The forge's id.
    pub id: u64,
    /// What it says as a whole; often empty.
    pub body: String,
    /// What it decided.
    pub state: ReviewState,
    /// Who wrote it; missing if the account is gone.
    pub author: Option<Actor>,
    /// Whether a program wrote it.
    pub author_is_bot: bool,
    /// When it was submitted; missing while it is pending.
    pub submitted_at: Option<Timestamp>,
    /// The commit it looked at.
    pub head_sha: Option<String>,
    /// Where people find it.
    pub url: String,
    /// Its comments on lines.
    pub comments: Vec<LineComment>,
}

/// A comment on a line of a pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineComment {
    /// The forge's name for its text.
    pub text_id: TextId,
    /// The forge's id.
    pub id: u64,
    /// The review it came with.
    pub review_id: Option<u64>,
    /// The file.
    pub path: String,
    /// The line in the new version, if it still has one.
    pub line: Option<u32>,
    /// What it says.
    pub body: String,
    /// Who wrote it; missing if the account is gone.
    pub author: Option<Actor>,
    /// Whether a program wrote it.
    pub author_is_bot: bool,
    /// The part of the diff it stands at.
    pub diff_hunk: String,
    /// When it was written.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
    /// The first comment of its thread, if it is an answer.
    pub in_reply_to: Option<u64>,
    /// Where people find it.
    pub url: String,
}

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

/// What came of [`crate::Forge::merge_pull`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merged {
    /// It is merged, by this call or by one before it.
    Done,
    /// The branch has another newest commit by now.
    HeadMoved,
    /// The base moved at that moment, or the forge is at work on it. The same call can succeed in a moment.
    NotNow,
    /// It conflicts with its base.
    Conflict,
    /// The repository does not allow this way of merging.
    MethodRefused {
        /// The forge's words.
        message: String,
    },
    /// The base takes pull requests by a queue alone, which is for people to put them into.
    Queue {
        /// The forge's words.
        message: String,
    },
    /// A rule of the base is not kept: a review, a check, something that only the message says.
    Refused {
        /// The forge's words.
        message: String,
    },
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

/// A branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchFacts {
    /// Its newest commit.
    pub sha: String,
    /// Whether rules protect it.
    pub protected: bool,
}

/// What git needs to log in.
#[derive(Debug, Clone)]
pub struct GitCredential {
    /// The user's name.
    pub username: String,
    /// The password.
    pub secret: SecretString,
    /// When it stops working; missing for a person's token, which says nothing about it.
    pub expires_at: Option<Timestamp>,
}

/// A webhook delivery in the forge's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The id of this attempt.
    pub id: u64,
    /// The id of the event, the same for every attempt.
    pub guid: String,
    /// The event's name.
    pub event: String,
    /// The action, if the event has any.
    pub action: Option<String>,
    /// When it was sent.
    pub delivered_at: Timestamp,
    /// `OK`, or why not. Anything but `OK` did not arrive: some failures carry no status code.
    pub status: String,
    /// What we answered; 0 if nothing was.
    pub status_code: u16,
    /// Whether it was asked for again.
    pub redelivery: bool,
}

impl Delivery {
    /// Whether the forge saw us take it.
    pub fn has_arrived(&self) -> bool {
        self.status == "OK"
    }
}

/// Some of a delivery log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryPage {
    /// Newest first.
    pub deliveries: Vec<Delivery>,
    /// Where older ones are.
    pub next: Option<String>,
}

/// What was sent with a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryPayload {
    /// The headers, names in lower case. Carries the target of the hook, which is part of a delivery's key.
    pub headers: Vec<(String, String)>,
    /// The body as JSON. The log keeps its meaning and not its bytes, so its signature cannot be checked; that it
    /// came from the forge is known from where we asked.
    pub body: String,
}
