//! GitHub's JSON for what the world holds. The same objects serve REST answers and webhooks where GitHub's two
//! descriptions agree; the tests hold both against them.

pub(crate) mod app;
mod check;
pub(crate) mod person;
mod pull;
mod repository;
pub(crate) mod thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

/// `2026-01-31T12:00:00Z`: GitHub has no fractions of a second.
pub(crate) fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

pub(crate) fn optional_time(at: Option<Timestamp>) -> Option<String> {
    at.map(time)
}

/// A node id: opaque to clients, so any text will do, but one per object.
pub(crate) fn node_id(kind: &str, id: u64) -> String {
    STANDARD.encode(format!("0:{kind}{id}"))
}
