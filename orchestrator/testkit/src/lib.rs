#![doc = include_str!("../README.md")]

mod anthropic;
mod conversation;
mod director;
mod handle;
mod journal;
mod mapping;
mod outgoing;
mod reply;
mod responses;
#[cfg(test)]
mod robustness;
mod script;
mod server;
mod unpack;

pub use conversation::Api;
pub use handle::{ScriptedModel, ServeOptions, StartError};
pub use journal::{MAX_PROMPT_CHARS, RequestRecord, Served};
pub use script::{DEFAULT_SCENARIO, MAX_SCRIPT_BYTES, Script, ScriptError, TurnProblem};
