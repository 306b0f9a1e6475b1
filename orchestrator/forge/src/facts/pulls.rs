//! Pull requests, their reviews and their merge.

use cloud_code_model::{Actor, RepositoryName};
use jiff::Timestamp;

use super::issues::TextId;
use crate::marker::Marker;

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
