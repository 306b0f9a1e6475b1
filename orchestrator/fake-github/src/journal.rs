//! Every request, in the order it came.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::Value;

/// One request as the fake saw it. Tokens are not in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// When it came, by the real clock.
    pub at: Timestamp,
    /// The method.
    pub method: String,
    /// The path without a prefix such as `/api/v3`.
    pub path: String,
    /// The query as sent, without the question mark.
    pub query: String,
    /// Who asked: a login, `app <slug>`, or `nobody`.
    pub caller: String,
    /// The body, null when it was empty or no JSON.
    pub body: Value,
    /// The status that was answered; 0 while it is open, or when the connection was cut.
    pub status: u16,
}

impl Request {
    /// Whether it changes what people see. Minting a token, fetching and asking GraphQL do not.
    pub fn is_mutation(&self) -> bool {
        is_mutation(&self.method, &self.path)
    }
}

pub(crate) fn is_mutation(method: &str, path: &str) -> bool {
    matches!(method, "POST" | "PUT" | "PATCH" | "DELETE")
        && !path.ends_with("/access_tokens")
        && !path.ends_with("/git-upload-pack")
        && !path.ends_with("/graphql")
}

/// The list of requests.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    requests: Mutex<Vec<Request>>,
}

impl Journal {
    /// Notes a request; the number finds it again.
    pub(crate) fn note(&self, request: Request) -> usize {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.push(request);
        requests.len() - 1
    }

    pub(crate) fn answered(&self, at: usize, status: u16) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(request) = requests.get_mut(at) {
            request.status = status;
        }
    }

    pub(crate) fn all(&self) -> Vec<Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
