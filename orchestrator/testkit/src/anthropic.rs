//! Anthropic Messages on the wire: <https://docs.anthropic.com/en/api/messages>.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::conversation::{
    Api, Entry, ModelRequest, OfferedTool, array, is_added_by_the_cli, prompt_alone, working_directory,
};
use crate::mapping::{CallInput, ToolCall};
use crate::reply::{Finish, HttpError, Reply, SseEvent, pieces};
use crate::script::UsageFigures;

/// Thinking must be signed; nobody but the vendor checks by what.
const SIGNATURE: &str = "c2NyaXB0ZWQ=";

/// How tool call ids start.
pub(crate) const CALL_PREFIX: &str = "toolu_";

/// Reads a request. Anything that is missing or of another type is left out: a CLI's newest field is no error here.
pub(crate) fn request(body: &Value) -> ModelRequest {
    let mut history = Vec::new();
    let mut surroundings = texts(&body["system"]);
    for message in array(&body["messages"]) {
        match message["role"].as_str() {
            Some("assistant") => history.push(Entry::Assistant {
                text: texts(&message["content"]).join("\n"),
                call_ids: call_ids(&message["content"]),
            }),
            Some("user") => {
                let results = array(&message["content"]).iter().any(|block| block["type"] == "tool_result");
                if results {
                    history.push(Entry::ToolResult);
                }
                let (added, written): (Vec<_>, Vec<_>) =
                    texts(&message["content"]).into_iter().partition(|text| is_added_by_the_cli(text));
                surroundings.extend(added);
                if !written.is_empty() {
                    history.push(Entry::User { text: prompt_alone(&written.join("\n")).to_owned() });
                }
            }
            // A system message in the middle: surroundings.
            _ => surroundings.extend(texts(&message["content"])),
        }
    }
    ModelRequest {
        api: Api::Anthropic,
        model: body["model"].as_str().unwrap_or_default().to_owned(),
        stream: body["stream"] == true,
        stream_usage: true,
        max_tokens: body["max_tokens"].as_u64(),
        schema: body["output_config"]["format"].get("schema").cloned(),
        tools: array(&body["tools"])
            .iter()
            .filter_map(|tool| Some(OfferedTool::json(tool["name"].as_str()?, &tool["input_schema"])))
            .collect(),
        history,
        working_directory: surroundings.iter().find_map(|text| working_directory(text)),
        surroundings,
    }
}

fn texts(content: &Value) -> Vec<String> {
    match content {
        Value::String(text) => vec![text.clone()],
        other => array(other).iter().filter_map(|block| block["text"].as_str()).map(str::to_owned).collect(),
    }
}

fn call_ids(content: &Value) -> Vec<String> {
    array(content)
        .iter()
        .filter(|block| block["type"] == "tool_use")
        .filter_map(|block| block["id"].as_str())
        .map(str::to_owned)
        .collect()
}

/// What a refused answer says is not sent: the reason to stop says it all.
fn said(reply: &Reply) -> Option<&str> {
    match reply.finish {
        Finish::Whole => reply.say.as_deref(),
        Finish::Refused => None,
    }
}

fn message_id(reply: &Reply) -> String {
    format!("msg_{:06}", reply.serial)
}

fn stop_reason(reply: &Reply) -> &'static str {
    match reply.finish {
        Finish::Refused => "refusal",
        Finish::Whole if reply.calls.is_empty() => "end_turn",
        Finish::Whole => "tool_use",
    }
}

fn usage(figures: UsageFigures, output: u64) -> Value {
    json!({
        "input_tokens": figures.input,
        "cache_creation_input_tokens": figures.cache_write,
        "cache_read_input_tokens": figures.cache_read,
        "output_tokens": output,
    })
}

fn input(call: &ToolCall) -> Value {
    match &call.input {
        CallInput::Json(input) => input.clone(),
        // No tool of this API takes free text; an object is what it would be wrapped in.
        CallInput::Text(text) => json!({ "input": text }),
    }
}

/// The whole answer in one body.
pub(crate) fn body(reply: &Reply) -> Value {
    let mut content = Vec::new();
    if let Some(think) = &reply.think {
        content.push(json!({ "type": "thinking", "thinking": think, "signature": SIGNATURE }));
    }
    if let Some(say) = said(reply) {
        content.push(json!({ "type": "text", "text": say }));
    }
    for (id, call) in &reply.calls {
        content.push(json!({ "type": "tool_use", "id": id, "name": call.name, "input": input(call) }));
    }
    json!({
        "id": message_id(reply),
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": content,
        "stop_reason": stop_reason(reply),
        "stop_sequence": null,
        "usage": usage(reply.usage, reply.usage.output),
    })
}

/// The whole answer as events.
pub(crate) fn events(reply: &Reply) -> Vec<SseEvent> {
    let start = json!({
        "type": "message_start",
        "message": {
            "id": message_id(reply),
            "type": "message",
            "role": "assistant",
            "model": reply.model,
            "content": [],
            "stop_reason": null,
            "stop_sequence": null,
            "usage": usage(reply.usage, 1),
        },
    });
    let mut stream = Blocks { events: vec![event(start), event(json!({ "type": "ping" }))], index: 0 };
    if let Some(think) = &reply.think {
        let mut deltas: Vec<Value> = pieces(think)
            .iter()
            .map(|piece| json!({ "type": "thinking_delta", "thinking": piece }))
            .collect();
        deltas.push(json!({ "type": "signature_delta", "signature": SIGNATURE }));
        stream.block(json!({ "type": "thinking", "thinking": "", "signature": "" }), deltas);
    }
    if let Some(say) = said(reply) {
        let deltas = pieces(say).iter().map(|piece| json!({ "type": "text_delta", "text": piece })).collect();
        stream.block(json!({ "type": "text", "text": "" }), deltas);
    }
    for (id, call) in &reply.calls {
        let deltas = pieces(&input(call).to_string())
            .iter()
            .map(|piece| json!({ "type": "input_json_delta", "partial_json": piece }))
            .collect();
        stream.block(json!({ "type": "tool_use", "id": id, "name": call.name, "input": {} }), deltas);
    }
    let mut events = stream.events;
    events.push(event(json!({
        "type": "message_delta",
        "delta": { "stop_reason": stop_reason(reply), "stop_sequence": null },
        "usage": usage(reply.usage, reply.usage.output),
    })));
    events.push(event(json!({ "type": "message_stop" })));
    events
}

struct Blocks {
    events: Vec<SseEvent>,
    index: u64,
}

impl Blocks {
    fn block(&mut self, start: Value, deltas: Vec<Value>) {
        let index = self.index;
        self.index += 1;
        self.events
            .push(event(json!({ "type": "content_block_start", "index": index, "content_block": start })));
        for delta in deltas {
            self.events.push(event(json!({ "type": "content_block_delta", "index": index, "delta": delta })));
        }
        self.events.push(event(json!({ "type": "content_block_stop", "index": index })));
    }
}

/// An event of this API is named as its data's `type`.
fn event(data: Value) -> SseEvent {
    let name = data["type"].as_str().unwrap_or_default().to_owned();
    SseEvent::Named { name, data }
}

/// The body of an HTTP error.
pub(crate) fn error_body(error: &HttpError, model: &str, serial: u64) -> Value {
    let unknown_model = format!("model: {model}");
    let (kind, message) = match error.status {
        401 => ("authentication_error", "invalid x-api-key"),
        402 => ("billing_error", "There is a problem with your billing or payment information"),
        403 => ("permission_error", "Your API key does not have permission to use the specified resource"),
        404 => ("not_found_error", unknown_model.as_str()),
        413 => ("request_too_large", "Request exceeds the maximum size"),
        429 => (
            "rate_limit_error",
            "This request would exceed your account's rate limit. Please try again later.",
        ),
        504 => ("timeout_error", "Request timed out"),
        529 => ("overloaded_error", "Overloaded"),
        400..=499 => ("invalid_request_error", "The request is not valid"),
        _ => ("api_error", "Internal server error"),
    };
    json!({
        "type": "error",
        "error": {
            "type": error.text.kind.as_deref().unwrap_or(kind),
            "message": error.text.message.as_deref().unwrap_or(message),
        },
        "request_id": format!("req_{serial:06}"),
    })
}

/// What a plan's account is told beside a 429: <https://docs.anthropic.com/en/api/rate-limits> has the family, Claude Code
/// reads these.
pub(crate) fn window_headers(resets_at: Timestamp) -> [(&'static str, String); 3] {
    [
        ("anthropic-ratelimit-unified-status", "rejected".to_owned()),
        ("anthropic-ratelimit-unified-representative-claim", "five_hour".to_owned()),
        ("anthropic-ratelimit-unified-reset", resets_at.as_second().to_string()),
    ]
}

/// Overloaded, told inside a stream that began with 200.
pub(crate) fn stream_error() -> SseEvent {
    SseEvent::named(
        "error",
        json!({ "type": "error", "error": { "type": "overloaded_error", "message": "Overloaded" } }),
    )
}
