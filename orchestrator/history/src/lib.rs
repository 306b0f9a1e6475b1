#![doc = include_str!("../README.md")]

mod archive;
mod attempt;
mod control;
mod cut;
mod dropped;
mod error;
mod export;
mod keep;
mod ledger;
mod mask;
mod place;
mod prune;
mod story;

pub use archive::{Archive, FileName, Take};
pub use attempt::{
    AttemptFile, CliFacts, CommitFacts, Ending, ExitFacts, KeptFile, MissingFile, VerifyRound,
};
pub use control::ControlFiles;
pub use dropped::{Dropped, Drops, Reason};
pub use error::HistoryError;
pub use export::{Existing, Export, ExportError};
pub use keep::{Content, Draft, Material, Outcome};
pub use ledger::Sums;
pub use mask::{Mask, Unmasked};
pub use place::{Caps, History, Kept, Key};
pub use prune::Pruned;
pub use story::{AttemptStory, Cost, Phase, Rows, Story, TaskStory};
