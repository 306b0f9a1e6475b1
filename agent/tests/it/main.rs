//! Drives the built agent with small shell scripts as coding CLIs, in real git repositories.
//!
//! As root the CLI runs as uid 1000, as in a container; as anybody else it runs as that user.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails here"
)]

mod alone;
mod commits;
mod conversation;
mod files;
mod footprint;
mod house;
mod isolation;
mod output;
mod processes;
mod rounds;
mod stopping;
mod strangers;
mod tasks;
mod verdicts;
