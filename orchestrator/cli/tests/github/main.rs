//! Conversations on GitHub, from a comment to a merged pull request, against a GitHub that keeps its published rules.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "the table of faults is printed")]

mod access;
mod budgets;
mod cast;
mod commands;
mod conversation;
mod crashes;
mod deliveries;
mod enterprise;
mod fault_points;
mod faults;
mod house;
mod merging;
mod moving_base;
mod publishing;
mod pulls;
mod questions;
mod queue;
mod restarts;
mod retries;
mod reviews;
mod secrets;
mod small_disk;
mod stage;
mod sweep;
mod token;
mod transcript;
mod waiting;
mod workers;
