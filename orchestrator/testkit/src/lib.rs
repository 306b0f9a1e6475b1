#![doc = include_str!("../README.md")]

mod anthropic;
mod conversation;
mod director;
mod handle;
mod journal;
mod mapping;
mod reply;
mod responses;
mod script;
mod server;

pub use conversation::Api;
pub use handle::{ScriptedModel, ServeOptions, StartError};
pub use journal::{MAX_PROMPT_CHARS, RequestRecord, Served};
pub use script::{DEFAULT_SCENARIO, MAX_SCRIPT_BYTES, Script, ScriptError, TurnProblem};
