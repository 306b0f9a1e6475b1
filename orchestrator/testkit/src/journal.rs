//! What was asked and what it got, one record a request, in memory and (if wished) in a file, so that a test asserts
//! on what the CLI really sent. Secrets are named, never written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use jiff::Timestamp;
use serde::Serialize;

use crate::conversation::Api;

/// One request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequestRecord {
    /// When it was read.
    pub at: Timestamp,
    /// The HTTP method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The API, when the path tells it.
    pub api: Option<Api>,
    /// The model it asks.
    pub model: Option<String>,
    /// Whether it asks for a stream.
    pub stream: bool,
    /// All headers; those that hold secrets say only that they are there.
    pub headers: BTreeMap<String, String>,
    /// The tools it offers, by name.
    pub tools: Vec<String>,
    /// The newest text of a person in it, cut at [`MAX_PROMPT_CHARS`].
    pub prompt: Option<String>,
    /// The scenario that answers it.
    pub scenario: Option<String>,
    /// The turn of the script that it got, counted from 1.
    pub turn: Option<usize>,
    /// What it got.
    pub served: Served,
    /// The HTTP status; absent when no headers were sent.
    pub status: Option<u16>,
}

/// What a request got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Served {
    /// A turn of the script.
    Turn,
    /// A fault of the script.
    Fault {
        /// Its key.
        fault: &'static str,
    },
    /// The closing text: the script has no more turns.
    Exhausted,
    /// A short text, for a question of the CLI's own.
    Side,
    /// A count of tokens.
    TokenCount,
    /// The list of models.
    Models,
    /// "I am here".
    Alive,
    /// The WebSocket was refused; the CLI goes on over HTTP.
    UpgradeRefused,
    /// The request cannot be served; it was answered with this message.
    Refused {
        /// Why.
        message: String,
    },
}

/// How much of a prompt is kept: enough for a marker, not a copy of every task in every request.
pub const MAX_PROMPT_CHARS: usize = 400;

/// Headers whose value is a secret or identifies somebody.
const SECRET_HEADERS: &[&str] =
    &["authorization", "proxy-authorization", "x-api-key", "api-key", "cookie", "chatgpt-account-id"];

/// The requests so far.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    state: Mutex<State>,
    grown: Condvar,
}

#[derive(Debug, Default)]
struct State {
    records: Vec<RequestRecord>,
    file: Option<File>,
    /// The first failure to write; a journal with a hole in it must not look whole.
    broken: Option<String>,
}

impl Journal {
    pub(crate) fn new(file: Option<File>) -> Self {
        Self { state: Mutex::new(State { file, ..State::default() }), grown: Condvar::new() }
    }

    pub(crate) fn add(&self, record: RequestRecord) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &mut state.file {
            let written = serde_json::to_string(&record)
                .map_err(std::io::Error::other)
                .and_then(|line| file.write_all(format!("{line}\n").as_bytes()));
            if let Err(error) = written {
                state.broken.get_or_insert(error.to_string());
            }
        }
        state.records.push(record);
        self.grown.notify_all();
    }

    pub(crate) fn records(&self) -> Vec<RequestRecord> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).records.clone()
    }

    /// Why the journal file is not complete.
    pub(crate) fn broken(&self) -> Option<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).broken.clone()
    }

    /// Waits until the records satisfy a condition; `None` when the time is over.
    pub(crate) fn wait_until(
        &self,
        limit: Duration,
        condition: impl Fn(&[RequestRecord]) -> bool,
    ) -> Option<Vec<RequestRecord>> {
        let deadline = Instant::now() + limit;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while !condition(&state.records) {
            let left = deadline.checked_duration_since(Instant::now())?;
            state = self.grown.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Some(state.records.clone())
    }
}

/// The headers as the journal may keep them.
pub(crate) fn public_headers(headers: &HeaderMap) -> BTreeMap<String, String> {
    headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            let shown = if SECRET_HEADERS.contains(&name.as_str()) {
                // The scheme tells an API key from a login.
                let scheme = value.split_once(' ').map_or("", |(scheme, _)| scheme);
                format!("{scheme} (present)").trim_start().to_owned()
            } else {
                value.into_owned()
            };
            (name.as_str().to_owned(), shown)
        })
        .collect()
}
