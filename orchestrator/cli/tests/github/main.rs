//! Conversations on GitHub, from a comment to a merged pull request, against a GitHub that keeps its published rules.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod conversation;
mod crashes;
mod deliveries;
mod faults;
mod stage;
mod sweep;
mod token;
