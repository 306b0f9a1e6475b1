//! Requests that a CLI makes for itself (a title, a probe of the account, which model is to answer). They are answered,
//! and use up no turn of a script.

use axum::http::{HeaderMap, header};
use serde_json::{Map, Value};

use crate::conversation::{ModelRequest, array};

/// What such a request gets: it fits a title, a summary and a probe alike.
const SIDE_TEXT: &str = "Scripted model";

/// User agents of the CLIs whose main conversation always offers tools, so that a request of theirs without any is one
/// for itself. Of another client nothing is assumed.
const CODING_CLIS: &[&str] = &["claude-cli/", "codex", "GeminiCLI", "QwenCode/", "opencode/"];

/// The answer for a request that is not about the task. `about` is the marker in it, which a summary must not lose.
pub(crate) fn answer(request: &ModelRequest, headers: &HeaderMap, about: Option<String>) -> Option<String> {
    let without_tools = request.tools.is_empty() && (is_coding_cli(headers) || is_summary(request));
    if request.max_tokens != Some(1) && !without_tools {
        return None;
    }
    Some(match &request.schema {
        Some(schema) => smallest(schema, MAX_DEPTH).to_string(),
        None => text(about),
    })
}

/// The text without a schema.
pub(crate) fn text(about: Option<String>) -> String {
    match about {
        Some(marker) => format!("{SIDE_TEXT} {marker}"),
        None => SIDE_TEXT.to_owned(),
    }
}

/// goose does not name itself.
const SUMMARY_PROMPTS: &[&str] =
    &["Please summarize the conversation history provided in the system prompt."];

fn is_summary(request: &ModelRequest) -> bool {
    request.prompt().is_some_and(|prompt| SUMMARY_PROMPTS.iter().any(|start| prompt.starts_with(start)))
}

fn is_coding_cli(headers: &HeaderMap) -> bool {
    headers
        .get(header::USER_AGENT)
        .and_then(|agent| agent.to_str().ok())
        .is_some_and(|agent| CODING_CLIS.iter().any(|name| agent.starts_with(name)))
}

/// A schema is a few levels deep; one that is deeper must not take the stack.
const MAX_DEPTH: usize = 16;

/// A small value that a JSON schema takes: the first of several choices, and only what is required.
fn smallest(schema: &Value, depth: usize) -> Value {
    if let Some(choice) = array(&schema["enum"]).first() {
        return choice.clone();
    }
    let kind = schema["type"].as_str().unwrap_or("object").to_lowercase();
    match kind.as_str() {
        "string" => Value::from(SIDE_TEXT),
        // Scores begin at 1 where the schema leaves the least of them to its description.
        "number" | "integer" => schema.get("minimum").cloned().unwrap_or_else(|| Value::from(1)),
        "boolean" => Value::from(false),
        "array" => Value::from(Vec::<Value>::new()),
        "null" => Value::Null,
        _ if depth == 0 => Value::Object(Map::new()),
        _ => {
            let required = array(&schema["required"]).iter().filter_map(Value::as_str);
            let fields =
                required.map(|key| (key.to_owned(), smallest(&schema["properties"][key], depth - 1)));
            Value::Object(fields.collect())
        }
    }
}

#[cfg(test)]
mod tests;
