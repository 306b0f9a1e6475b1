#![doc = include_str!("../README.md")]

mod fsops;
mod ident;
mod inspect;
mod layout;
mod lock;
mod mirror;
mod prepare;
mod program;
mod remove;
mod source;
mod worktree;

pub use fsops::ReadError;
pub use ident::{CommitId, InvalidCommitId};
pub use inspect::{Expectations, SourceError, SourceFacts, UncommittedWork, branch_in_source, inspect};
pub use layout::{IssuePaths, Layout, inside};
pub use lock::LockError;
pub use mirror::{Mirror, MirrorError};
pub use prepare::{GitView, Mount, Owner, PrepareError, Prepared, PrepareRequest, prepare};
pub use program::{GitError, git_version};
pub use remove::{RemoveError, remove};
pub use source::{InvalidSource, Source};
pub use worktree::{HeadError, WorktreeHead, worktree_head};
