//! What the rest of the house may ask of a forge.
//!
//! Every write can be repeated: after a crash the caller does the same again and ends with one comment, one pull
//! request, one check. No implementation may answer by sending a write twice that it has not looked for in between.

use std::collections::HashMap;

use async_trait::async_trait;
use cloud_code_model::{Actor, MergeMethod, Place};
use jiff::Timestamp;

use crate::error::ForgeError;
use crate::facts::{
    BotIdentity, BranchFacts, CheckFacts, CheckHandle, CheckSpec, CommentFacts, CommentHandle, DeliveryPage,
    DeliveryPayload, FailedCheck, GitCredential, IssueEvent, IssueFacts, LabelSpec, LineComment, Listing,
    Merged, PermissionFact, PullFacts, PullSpec, PullUpdate, PutPull, RecentComment, RepositoryFacts,
    ReviewFacts, TextEdits, TextId,
};
use crate::marker::Marker;

/// How long a write may wait behind others of the same account. Earlier variants overtake later ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// The sign that somebody was heard.
    Reaction,
    /// How a task ended, and its pull request.
    Terminal,
    /// An answer to a person.
    Reply,
    /// How far a task is. Anything newer makes it worthless, so it waits longest.
    Progress,
}

/// One repository on a forge, as one identity.
///
/// Any call may fail with [`ForgeError::Auth`], [`ForgeError::Forbidden`], [`ForgeError::Limited`],
/// [`ForgeError::Unreachable`], [`ForgeError::NoAccess`] or [`ForgeError::Unexpected`]. A read that names something missing says
/// [`ForgeError::NotFound`] unless it returns an `Option`. Every text that is written loses secrets on its way and is
/// cut to what the forge takes, with a line that says so.
#[async_trait]
pub trait Forge: Send + Sync {
    /// Who we are here. Asked once, then remembered.
    async fn identity(&self) -> Result<BotIdentity, ForgeError>;

    /// Whether the access that this was made with is gone. It does not come back to this object: after a person gave it
    /// back, another one has to be made.
    fn has_lost_access(&self) -> bool;

    /// The repository's number, which stays when its name changes or is given to another.
    fn number(&self) -> u64;

    /// The repository, and what we may do in it.
    async fn repository(&self) -> Result<RepositoryFacts, ForgeError>;

    /// An issue or pull request, as an issue.
    async fn issue(&self, number: u64) -> Result<IssueFacts, ForgeError>;

    /// The comments of the conversation, oldest first; with `since`, those changed at or after it.
    async fn comments(&self, number: u64, since: Option<Timestamp>) -> Result<Vec<CommentFacts>, ForgeError>;

    /// Whether a comment of a conversation is still there. Asked by its number: a list lags behind what was just written,
    /// and would call a new comment gone.
    async fn has_comment(&self, id: u64) -> Result<bool, ForgeError>;

    /// What happened to an issue besides comments (labels, assignments, closing), oldest first.
    async fn issue_events(&self, number: u64) -> Result<Vec<IssueEvent>, ForgeError>;

    /// The comments of the whole repository changed at or after `since`, least recently changed first, both of
    /// conversations and of lines. An unchanged answer costs no limit, so this serves polling.
    async fn recent_comments(&self, since: Timestamp) -> Result<Listing<RecentComment>, ForgeError>;

    /// The issues and pull requests changed at or after `since`, least recently changed first, open and closed.
    async fn recent_issues(&self, since: Timestamp) -> Result<Listing<IssueFacts>, ForgeError>;

    /// The pull requests changed at or after `since`, most recently changed first, open and closed, without whether they can be
    /// merged. An unchanged answer costs no limit.
    async fn recent_pulls(&self, since: Timestamp) -> Result<Listing<PullFacts>, ForgeError>;

    /// Who changed these texts last, and when. One that is missing in the answer is gone, or the forge does not tell: then
    /// nobody knows whose words they are.
    async fn edits(&self, texts: &[TextId]) -> Result<HashMap<TextId, TextEdits>, ForgeError>;

    /// What an account may do here. [`crate::Permission::None`] for whom the forge does not know, for bots it does not
    /// list, and for a login that by now belongs to another id. At most a minute old.
    async fn permission(&self, actor: &Actor) -> Result<PermissionFact, ForgeError>;

    /// Shows that something was seen (eyes). The second time changes nothing. Places that take no reaction (reviews,
    /// checks) are passed over in silence.
    async fn react(&self, number: u64, place: &Place) -> Result<(), ForgeError>;

    /// Makes the comment with this marker say `body`: edits the `known` one, else the one of ours that carries the
    /// marker, else writes it. One that somebody deleted is written anew. The marker is added to the body.
    async fn put_comment(
        &self,
        number: u64,
        marker: &Marker,
        known: Option<u64>,
        body: &str,
        priority: Priority,
    ) -> Result<CommentHandle, ForgeError>;

    /// Answers in the thread of a line comment, once per marker. A repeated call edits the answer.
    async fn put_reply(
        &self,
        pull: u64,
        thread: u64,
        marker: &Marker,
        body: &str,
        priority: Priority,
    ) -> Result<CommentHandle, ForgeError>;

    /// Leaves exactly one label of the family on the issue, or none. Other labels are not touched; a label that the
    /// repository lacks is made first.
    async fn set_labels(
        &self,
        number: u64,
        family: &[LabelSpec],
        wanted: Option<&str>,
        priority: Priority,
    ) -> Result<(), ForgeError>;

    /// Whether the repository has this label.
    async fn has_label(&self, name: &str) -> Result<bool, ForgeError>;

    /// Makes a label of the repository, unless it is there.
    async fn make_label(&self, label: &LabelSpec) -> Result<(), ForgeError>;

    /// The pull request from this branch of this repository: the open one, else the newest.
    async fn find_pull(&self, branch: &str) -> Result<Option<PullFacts>, ForgeError>;

    /// A pull request.
    async fn pull(&self, number: u64) -> Result<PullFacts, ForgeError>;

    /// The open pull request of the branch, as it is, or a new one. [`ForgeError::NothingToMerge`] if the branch adds
    /// nothing to its base.
    async fn put_pull(&self, spec: &PullSpec) -> Result<PutPull, ForgeError>;

    /// Changes what the update names and nothing else.
    async fn update_pull(&self, number: u64, update: &PullUpdate) -> Result<PullFacts, ForgeError>;

    /// Merges an open pull request, if this is its newest commit still: nobody slips another one in between. A pull request
    /// that is merged already is [`Merged::Done`]; whoever calls has made sure that it may be.
    async fn merge_pull(
        &self,
        number: u64,
        head_sha: &str,
        method: MergeMethod,
    ) -> Result<Merged, ForgeError>;

    /// A review with its line comments.
    async fn review(&self, pull: u64, review_id: u64) -> Result<ReviewFacts, ForgeError>;

    /// All submitted reviews of a pull request, oldest first, without their line comments.
    async fn reviews(&self, pull: u64) -> Result<Vec<ReviewFacts>, ForgeError>;

    /// All line comments of a pull request, oldest first.
    async fn review_comments(&self, pull: u64) -> Result<Vec<LineComment>, ForgeError>;

    /// Makes the check say this: the `known` one if it is of the same commit, else ours with the same
    /// `external_id`, else a new one.
    async fn put_check(
        &self,
        spec: &CheckSpec,
        known: Option<&CheckHandle>,
        priority: Priority,
    ) -> Result<CheckHandle, ForgeError>;

    /// The checks that failed on a commit, without those of our own App.
    async fn failed_checks(&self, head_sha: &str) -> Result<Vec<FailedCheck>, ForgeError>;

    /// How all checks of a commit stand, without those of our own App.
    async fn checks(&self, head_sha: &str) -> Result<CheckFacts, ForgeError>;

    /// A text file as of a branch, tag or commit. `None` if there is none or it is no text;
    /// [`ForgeError::TooLong`] beyond 256 KiB.
    async fn file(&self, path: &str, reference: &str) -> Result<Option<String>, ForgeError>;

    /// A branch of the repository.
    async fn branch(&self, name: &str) -> Result<Option<BranchFacts>, ForgeError>;

    /// What git needs to fetch and push here, made now and good for at least ten minutes. Keep it no longer than one
    /// git command.
    async fn git_credential(&self) -> Result<GitCredential, ForgeError>;
}

/// What a forge remembers of the webhooks it sent, so that downtime loses nothing.
#[async_trait]
pub trait DeliveryLog: Send + Sync {
    /// A page of deliveries, newest first. Without a cursor, the newest.
    async fn list(&self, cursor: Option<&str>) -> Result<DeliveryPage, ForgeError>;

    /// What was sent.
    async fn payload(&self, id: u64) -> Result<DeliveryPayload, ForgeError>;

    /// Has it sent once more, under the same GUID.
    async fn redeliver(&self, id: u64) -> Result<(), ForgeError>;
}
