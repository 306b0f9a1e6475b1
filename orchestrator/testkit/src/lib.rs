#![doc = include_str!("../README.md")]

mod aider;
mod anthropic;
mod chat;
mod conversation;
mod director;
mod gemini;
mod handle;
mod journal;
mod mapping;
mod openai_error;
mod outgoing;
mod reply;
mod responses;
#[cfg(test)]
mod robustness;
mod routes;
mod script;
mod server;
mod side;
mod unpack;

pub use conversation::Api;
pub use handle::{ScriptedModel, ServeOptions, StartError};
pub use journal::{MAX_PROMPT_CHARS, RequestRecord, Served};
pub use script::{DEFAULT_SCENARIO, MAX_SCRIPT_BYTES, Script, ScriptError, TurnProblem};
