#![doc = include_str!("../README.md")]

mod error;
mod facts;
mod marker;
mod port;

pub use error::{Effect, ForgeError};
pub use facts::{
    Access, Annotation, BotIdentity, BranchFacts, CheckHandle, CheckSpec, CheckStatus, CommentFacts,
    CommentHandle, Conclusion, Delivery, DeliveryPage, DeliveryPayload, FailedCheck, GitCredential, Grants,
    IssueEvent, IssueFacts, LabelSpec, LineComment, Listing, Mergeable, OpenState, Permission,
    PermissionFact, PullFacts, PullNote, PullSpec, PullState, PullUpdate, PutPull, RecentComment,
    RepositoryFacts, ReviewFacts, ReviewState,
};
pub use marker::{InvalidMarker, Marker};
pub use port::{DeliveryLog, Forge, Priority};
