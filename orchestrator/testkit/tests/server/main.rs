//! The server and its program, from outside.

#![expect(clippy::expect_used, reason = "helpers of a test fail as the test does")]

mod program;
mod requests;
mod support;
mod wire;
