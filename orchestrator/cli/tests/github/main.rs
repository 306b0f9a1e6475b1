//! Conversations on GitHub, from a comment to a merged pull request, against a GitHub that keeps its published rules.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod cast;
mod commands;
mod conversation;
mod questions;
mod reviews;
mod stage;
mod transcript;
