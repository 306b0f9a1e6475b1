//! An answer before it is HTTP, and GitHub's ways of saying no.

use bytes::Bytes;
use serde_json::{Value, json};

/// What a handler says no with. Boxed: it is rare, and large beside what it stands for.
pub(crate) type Refused = Box<Answer>;

/// What a handler returns.
pub(crate) type Outcome = Result<Answer, Refused>;

/// Status, headers and body.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Content,
}

/// The body.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    None,
    Json(Value),
    Raw(String, Bytes),
}

impl Answer {
    pub(crate) fn json(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), body: Content::Json(body) }
    }

    pub(crate) fn ok(body: Value) -> Self {
        Self::json(200, body)
    }

    pub(crate) fn created(body: Value) -> Self {
        Self::json(201, body)
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Content::None }
    }

    pub(crate) fn raw(content_type: &str, body: impl Into<Bytes>) -> Self {
        Self { status: 200, headers: Vec::new(), body: Content::Raw(content_type.to_owned(), body.into()) }
    }

    pub(crate) fn with(mut self, header: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((header, value.into()));
        self
    }

    /// GitHub's plain error body.
    pub(crate) fn error(status: u16, message: &str) -> Self {
        Self::json(
            status,
            json!({
                "message": message,
                "documentation_url": "https://docs.github.com/rest",
                "status": status.to_string(),
            }),
        )
    }
}

pub(crate) fn refused(status: u16, message: &str) -> Refused {
    Box::new(Answer::error(status, message))
}

pub(crate) fn not_found() -> Refused {
    refused(404, "Not Found")
}

/// 422 with the field that is wrong. Codes are GitHub's: `missing_field`, `invalid`, `already_exists`, ….
pub(crate) fn invalid(resource: &str, field: &str, code: &str) -> Refused {
    validation(json!({"resource": resource, "field": field, "code": code}))
}

/// 422 with a sentence.
pub(crate) fn custom(resource: &str, message: &str) -> Refused {
    validation(json!({"resource": resource, "code": "custom", "message": message}))
}

fn validation(error: Value) -> Refused {
    Box::new(Answer::json(
        422,
        json!({
            "message": "Validation Failed",
            "errors": [error],
            "documentation_url": "https://docs.github.com/rest",
            "status": "422",
        }),
    ))
}
