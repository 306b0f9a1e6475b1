#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that meets something unexpected must fail")]

//! The fake through plain HTTP and the real git, as its users meet it.

mod faults;
mod git;
mod http;
mod refusals;
mod story;
mod tour;
mod webhooks;
