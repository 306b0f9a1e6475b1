#![doc = include_str!("../README.md")]

mod body;
mod error;
mod facts;
mod github;
mod marker;
mod pace;
mod port;
mod scrub;

pub use error::{Effect, ForgeError};
pub use facts::{
    Access, Annotation, BotIdentity, BranchFacts, CheckFacts, CheckHandle, CheckSpec, CheckStatus,
    CommentFacts, CommentHandle, Conclusion, Delivery, DeliveryPage, DeliveryPayload, Edited, FailedCheck,
    GitCredential, Grants, IssueEvent, IssueFacts, LabelSpec, LineComment, Listing, Mergeable, Merged,
    OpenState, Permission, PermissionFact, PullFacts, PullNote, PullSpec, PullState, PullUpdate, PutPull,
    Readiness, RecentComment, RepositoryFacts, ReviewFacts, ReviewState, TextEdits, TextId,
};
pub use github::{
    AppFacts, AppOwner, Credentials, EVENTS, GITHUB_API, Github, GithubConfig, HookConfig, HookOwner,
    InstallationFacts, ManifestSpec, Needed, NewApp, PERMISSIONS, RateLimit, TokenFacts, UNASKED_EVENTS,
    convert_manifest, manifest,
};
pub use marker::{InvalidMarker, Marker};
pub use pace::Pace;
pub use port::{DeliveryLog, Forge, Priority};
pub use scrub::{MakeScrubbed, ScrubbedWriter, Scrubber};
