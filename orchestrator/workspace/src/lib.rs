#![doc = include_str!("../README.md")]

mod deliver;
mod diff;
mod folder;
mod fsops;
mod ident;
mod import;
mod inspect;
mod layout;
mod lock;
mod mirror;
mod names;
mod policy;
mod prepare;
mod program;
mod quarantine;
mod remove;
mod source;
mod worktree;

pub use deliver::{DeliverError, DeliverRequest, Delivery, check_delivery, deliver};
pub use diff::{ChangedFile, DiffError, Lines, changed_files, diff};
pub use folder::{FolderError, FolderFile, folder_files};
pub use fsops::ReadError;
pub use ident::{CommitId, InvalidCommitId};
pub use import::{History, ImportError, ImportOutcome, ImportRequest, Imported, ImportedCommit, import};
pub use inspect::{Expectations, SourceError, SourceFacts, UncommittedWork, branch_in_source, inspect};
pub use layout::{IssuePaths, Layout, inside};
pub use lock::LockError;
pub use mirror::{Mirror, MirrorError};
pub use names::{BadLink, BadName};
pub use policy::{CiChanges, ImportPolicy, Refusal, RefusalReason};
pub use prepare::{GitView, Mount, Owner, PrepareError, PrepareRequest, Prepared, Worktree, prepare};
pub use program::{GitError, git_version};
pub use quarantine::QuarantineError;
pub use remove::{RemoveError, remove};
pub use source::{InvalidSource, Source};
pub use worktree::{HeadError, WorktreeHead, worktree_head};
