use axum::http::HeaderValue;
use serde_json::json;

use super::*;
use crate::{anthropic, chat, gemini};

fn from(agent: &'static str) -> HeaderMap {
    HeaderMap::from_iter([(header::USER_AGENT, HeaderValue::from_static(agent))])
}

#[test]
fn a_probe_of_the_account_is_answered_with_a_word() {
    let probe =
        anthropic::request(&json!({ "max_tokens": 1, "messages": [{ "role": "user", "content": "quota" }] }));
    assert_eq!(answer(&probe, &HeaderMap::new(), None), Some(SIDE_TEXT.to_owned()));
}

#[test]
fn a_title_is_a_request_without_tools_of_a_cli_that_always_offers_some() {
    let title = chat::request(&json!({ "messages": [{ "role": "user", "content": "a title, please" }] }));
    for agent in [
        "claude-cli/2.1.329",
        "codex_exec/0.169.0",
        "GeminiCLI-tui/0.61.0",
        "QwenCode/0.24.4",
        "opencode/1.18.33",
    ] {
        assert_eq!(answer(&title, &from(agent), None), Some(SIDE_TEXT.to_owned()), "{agent}");
    }
    assert_eq!(answer(&title, &from("litellm/1.81.10"), None), None, "another client may do without tools");
    assert_eq!(answer(&title, &HeaderMap::new(), None), None);
    let work = chat::request(
        &json!({ "messages": [], "tools": [{ "type": "function", "function": { "name": "bash" } }] }),
    );
    assert_eq!(answer(&work, &from("opencode/1.18.33"), None), None);
}

/// What follows a summary has nothing else to be known by.
#[test]
fn a_summary_keeps_the_marker() {
    let ask = "Please summarize the conversation history provided in the system prompt.";
    let summary = anthropic::request(&json!({
        "system": "user: do it [login]",
        "messages": [{ "role": "user", "content": ask }],
    }));
    let about = Some("[login]".to_owned());
    assert_eq!(answer(&summary, &HeaderMap::new(), about), Some("Scripted model [login]".to_owned()));
}

/// A router that is not answered as it demands chooses a model of its own, and says so on stderr.
#[test]
fn a_question_with_a_schema_gets_what_the_schema_takes() {
    let router = |schema: Value| {
        let body = json!({ "contents": [], "generationConfig": { "responseJsonSchema": schema } });
        let text = answer(&gemini::request(&body, "m", false), &from("GeminiCLI/0.61.0"), None)
            .expect("a side request");
        serde_json::from_str::<Value>(&text).expect("JSON")
    };
    let scored = json!({
        "type": "OBJECT",
        "properties": { "reason": { "type": "STRING" }, "score": { "type": "INTEGER" }, "more": { "type": "STRING" } },
        "required": ["reason", "score"],
    });
    assert_eq!(router(scored), json!({ "reason": SIDE_TEXT, "score": 1 }));
    let chosen = json!({
        "type": "object",
        "properties": {
            "model": { "enum": ["flash", "pro"] },
            "least": { "type": "number", "minimum": 3 },
            "sure": { "type": "boolean" },
            "list": { "type": "array" },
            "none": { "type": "null" },
        },
        "required": ["model", "least", "sure", "list", "none"],
    });
    assert_eq!(
        router(chosen),
        json!({ "model": "flash", "least": 3, "sure": false, "list": [], "none": null })
    );
}

#[test]
fn a_schema_without_a_bottom_ends() {
    let mut schema = json!({ "type": "object" });
    for _ in 0..3 * MAX_DEPTH {
        schema = json!({ "type": "object", "properties": { "in": schema }, "required": ["in"] });
    }
    let value = smallest(&schema, MAX_DEPTH);
    assert_eq!(value.to_string().matches("in").count(), MAX_DEPTH);
}
