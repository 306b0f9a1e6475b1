//! What is kept, what is dropped, and what is told of it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod export;
mod house;
mod keeping;
mod week;
