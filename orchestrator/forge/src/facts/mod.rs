//! What is known about things on a forge, and what is wanted of them, in our words.
//!
//! Thin on purpose: only what a decision or a text of ours uses. Forges send `null` where their libraries promise a
//! value (deleted accounts, deleted forks), so these say where something can be missing.

mod access;
mod checks;
mod deliveries;
mod issues;
mod pulls;

pub use self::access::{
    Access, BotIdentity, BranchFacts, GitCredential, Grants, Permission, PermissionFact, RepositoryFacts,
};
pub use self::checks::{
    Annotation, CheckFacts, CheckHandle, CheckSpec, CheckStatus, Conclusion, FailedCheck,
};
pub use self::deliveries::{Delivery, DeliveryPage, DeliveryPayload};
pub use self::issues::{
    CommentFacts, CommentHandle, Edited, IssueEvent, IssueFacts, LabelSpec, OpenState, RecentComment,
    TextEdits, TextId,
};
pub use self::pulls::{
    LineComment, Mergeable, Merged, PullFacts, PullNote, PullSpec, PullState, PullUpdate, PutPull, Readiness,
    ReviewFacts, ReviewState,
};

/// Some of a long list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing<T> {
    /// In the order the call promises.
    pub items: Vec<T>,
    /// Whether there was more than one call reads. The next call continues from the last item.
    pub more: bool,
}
