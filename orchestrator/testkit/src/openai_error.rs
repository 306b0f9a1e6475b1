//! The body of an HTTP error of OpenAI: Responses and Chat Completions share it.
//! <https://platform.openai.com/docs/guides/error-codes>

use serde_json::{Value, json};

use crate::reply::HttpError;

/// What one status says when the script does not.
struct Words<'a> {
    kind: &'a str,
    code: Option<&'a str>,
    message: &'a str,
}

/// The body; `model` is named where it is unknown.
pub(crate) fn body(error: &HttpError, model: &str) -> Value {
    let unknown_model = format!("The model `{model}` does not exist or you do not have access to it.");
    let words = words(error.status, &unknown_model);
    let mut told = json!({
        "message": error.text.message.as_deref().unwrap_or(words.message),
        "type": error.text.kind.as_deref().unwrap_or(words.kind),
        "param": null,
        "code": error.text.code.as_deref().or(words.code),
    });
    if let Some(resets_at) = error.resets_at {
        told["plan_type"] = Value::from("pro");
        told["resets_at"] = Value::from(resets_at.as_second());
    }
    json!({ "error": told })
}

fn words(status: u16, unknown_model: &str) -> Words<'_> {
    let (kind, code, message) = match status {
        401 => ("invalid_request_error", Some("invalid_api_key"), "Incorrect API key provided."),
        403 => ("invalid_request_error", Some("forbidden"), "You are not allowed to use this resource."),
        404 => ("invalid_request_error", Some("model_not_found"), unknown_model),
        429 => ("requests", Some("rate_limit_exceeded"), "Rate limit reached. Please try again later."),
        503 => (
            "service_unavailable_error",
            Some("server_is_overloaded"),
            "Our servers are currently overloaded. Please try again later.",
        ),
        400..=499 => ("invalid_request_error", None, "The request is not valid."),
        _ => ("server_error", Some("server_error"), "The server had an error while processing your request."),
    };
    Words { kind, code, message }
}
