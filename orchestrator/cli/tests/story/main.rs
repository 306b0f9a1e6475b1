//! Stories: the built program, real git repositories, real containers, the real coding CLIs.
//!
//! Nothing here is skipped. What a story needs and does not find, it names, with the command that makes it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::panic, reason = "a test fails by panicking")]

mod bad_input;
mod clis;
mod conversation;
mod files;
mod history;
mod life_cycle;
mod read_only;
mod real_clis;
mod settings;
mod support;
