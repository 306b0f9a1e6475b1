//! OpenAI Responses on the wire: <https://platform.openai.com/docs/api-reference/responses>, as codex speaks it.

use serde_json::{Value, json};

use crate::conversation::{
    Api, Entry, ModelRequest, OfferedTool, ToolInput, is_added_by_the_cli, working_directory,
};
use crate::mapping::CallInput;
use crate::reply::{Reply, SseEvent, pieces};
use crate::script::{ErrorText, UsageFigures};

/// How tool call ids start.
pub(crate) const CALL_PREFIX: &str = "call_";

/// Reasoning goes back to the model sealed; nobody but the vendor opens it.
const SEALED: &str = "c2NyaXB0ZWQ=";

/// Reads a request. Anything that is missing or of another type is left out: a CLI's newest field is no error here.
pub(crate) fn request(body: &Value) -> ModelRequest {
    let mut history = Vec::new();
    let mut tools = Vec::new();
    let mut surroundings = Vec::new();
    collect_tools(&body["tools"], None, &mut tools);
    if let Some(text) = body["input"].as_str() {
        history.push(Entry::User { text: text.to_owned() });
    }
    for item in array(&body["input"]) {
        let kind = item["type"].as_str().unwrap_or("message");
        match (kind, item["role"].as_str()) {
            // Some models get their tools as an item of the conversation.
            ("additional_tools", _) => collect_tools(&item["tools"], None, &mut tools),
            ("message", Some("assistant")) => answer(&mut history, None),
            ("message", Some("user")) => {
                let (added, written): (Vec<_>, Vec<_>) =
                    texts(&item["content"]).into_iter().partition(|text| is_added_by_the_cli(text));
                surroundings.extend(added);
                if !written.is_empty() {
                    history.push(Entry::User { text: written.join("\n") });
                }
            }
            ("message", _) => surroundings.extend(texts(&item["content"])),
            (output, _) if output.ends_with("_output") => history.push(Entry::ToolResult),
            (call, _) if call.ends_with("_call") => answer(&mut history, item["call_id"].as_str()),
            ("reasoning", _) => answer(&mut history, None),
            // Bookkeeping of the CLI.
            _ => {}
        }
    }
    ModelRequest {
        api: Api::OpenaiResponses,
        model: body["model"].as_str().unwrap_or_default().to_owned(),
        stream: body["stream"] == true,
        max_tokens: None,
        tools,
        history,
        working_directory: surroundings.iter().find_map(|text| working_directory(text)),
    }
}

/// Items of one answer stand side by side, so one that follows another belongs to the same.
fn answer(history: &mut Vec<Entry>, call_id: Option<&str>) {
    if let Some(Entry::Assistant { call_ids }) = history.last_mut() {
        call_ids.extend(call_id.map(str::to_owned));
    } else {
        history.push(Entry::Assistant { call_ids: call_id.map(str::to_owned).into_iter().collect() });
    }
}

fn collect_tools(list: &Value, namespace: Option<&str>, tools: &mut Vec<OfferedTool>) {
    for tool in array(list) {
        let name = tool["name"].as_str();
        let input = match tool["type"].as_str() {
            // One level: a group stands in no other group, and a request that says so must not take the stack.
            Some("namespace") if namespace.is_none() => {
                collect_tools(&tool["tools"], Some(name.unwrap_or_default()), tools);
                continue;
            }
            Some("function") => ToolInput::Json,
            Some("custom") => ToolInput::Text,
            _ => continue,
        };
        if let Some(name) = name {
            tools.push(OfferedTool { name: name.to_owned(), namespace: namespace.map(str::to_owned), input });
        }
    }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn texts(content: &Value) -> Vec<String> {
    match content {
        Value::String(text) => vec![text.clone()],
        other => array(other).iter().filter_map(|part| part["text"].as_str()).map(str::to_owned).collect(),
    }
}

/// What an item becomes: its first form, the events between, and its last form.
struct Item {
    begun: Value,
    between: Vec<(&'static str, Value)>,
    done: Value,
}

fn items(reply: &Reply) -> Vec<Item> {
    let mut items = Vec::new();
    if let Some(think) = &reply.think {
        items.push(reasoning(&format!("rs_{:06}", reply.serial), think));
    }
    if let Some(say) = &reply.say {
        items.push(message(&format!("msg_{:06}", reply.serial), say));
    }
    for (id, call) in &reply.calls {
        items.push(tool_call(id, call));
    }
    items
}

fn reasoning(id: &str, think: &str) -> Item {
    let mut between = vec![(
        "response.reasoning_summary_part.added",
        json!({ "item_id": id, "summary_index": 0, "part": { "type": "summary_text", "text": "" } }),
    )];
    for piece in pieces(think) {
        between.push((
            "response.reasoning_summary_text.delta",
            json!({ "item_id": id, "summary_index": 0, "delta": piece }),
        ));
    }
    between.push((
        "response.reasoning_summary_text.done",
        json!({ "item_id": id, "summary_index": 0, "text": think }),
    ));
    between.push((
        "response.reasoning_summary_part.done",
        json!({ "item_id": id, "summary_index": 0, "part": { "type": "summary_text", "text": think } }),
    ));
    Item {
        begun: json!({ "id": id, "type": "reasoning", "summary": [] }),
        between,
        done: json!({
            "id": id,
            "type": "reasoning",
            "summary": [{ "type": "summary_text", "text": think }],
            "encrypted_content": SEALED,
        }),
    }
}

fn message(id: &str, say: &str) -> Item {
    let part = |text: &str| json!({ "type": "output_text", "text": text, "annotations": [] });
    let mut between =
        vec![("response.content_part.added", json!({ "item_id": id, "content_index": 0, "part": part("") }))];
    for piece in pieces(say) {
        between.push((
            "response.output_text.delta",
            json!({ "item_id": id, "content_index": 0, "delta": piece }),
        ));
    }
    between.push(("response.output_text.done", json!({ "item_id": id, "content_index": 0, "text": say })));
    between.push((
        "response.content_part.done",
        json!({ "item_id": id, "content_index": 0, "part": part(say) }),
    ));
    Item {
        begun: json!({ "id": id, "type": "message", "role": "assistant", "status": "in_progress", "content": [] }),
        between,
        done: json!({
            "id": id,
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [part(say)],
        }),
    }
}

fn tool_call(call_id: &str, call: &crate::mapping::ToolCall) -> Item {
    let (kind, field, input, id, delta, done) = match &call.input {
        CallInput::Json(input) => (
            "function_call",
            "arguments",
            input.to_string(),
            format!("fc_{call_id}"),
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
        ),
        CallInput::Text(text) => (
            "custom_tool_call",
            "input",
            text.clone(),
            format!("ctc_{call_id}"),
            "response.custom_tool_call_input.delta",
            "response.custom_tool_call_input.done",
        ),
    };
    let form = |status: &str, input: &str| {
        let mut item =
            json!({ "id": id, "type": kind, "status": status, "call_id": call_id, "name": call.name });
        item[field] = Value::from(input);
        if let Some(namespace) = &call.namespace {
            item["namespace"] = Value::from(namespace.as_str());
        }
        item
    };
    let mut between: Vec<(&'static str, Value)> =
        pieces(&input).into_iter().map(|piece| (delta, json!({ "item_id": id, "delta": piece }))).collect();
    let mut whole = json!({ "item_id": id });
    whole[field] = Value::from(input.as_str());
    between.push((done, whole));
    Item { begun: form("in_progress", ""), between, done: form("completed", &input) }
}

fn response_id(serial: u64) -> String {
    format!("resp_{serial:06}")
}

fn response(reply: &Reply, status: &str, output: Vec<Value>, usage: Value) -> Value {
    json!({
        "id": response_id(reply.serial),
        "object": "response",
        "created_at": jiff::Timestamp::now().as_second(),
        "status": status,
        "model": reply.model,
        "output": output,
        "error": null,
        "usage": usage,
    })
}

/// Here the input counts what came from the cache and what went into it.
fn usage(figures: UsageFigures) -> Value {
    let input = figures.input.saturating_add(figures.cache_read).saturating_add(figures.cache_write);
    json!({
        "input_tokens": input,
        "input_tokens_details": { "cached_tokens": figures.cache_read, "cache_write_tokens": figures.cache_write },
        "output_tokens": figures.output,
        "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": input.saturating_add(figures.output),
    })
}

/// The whole answer in one body.
pub(crate) fn body(reply: &Reply) -> Value {
    let output = items(reply).into_iter().map(|item| item.done).collect();
    response(reply, "completed", output, usage(reply.usage))
}

/// The whole answer as events.
pub(crate) fn events(reply: &Reply) -> Vec<SseEvent> {
    let mut plain: Vec<(&str, Value)> = Vec::new();
    let begun = || json!({ "response": response(reply, "in_progress", Vec::new(), Value::Null) });
    plain.push(("response.created", begun()));
    plain.push(("response.in_progress", begun()));
    let mut output = Vec::new();
    for (index, item) in items(reply).into_iter().enumerate() {
        plain.push(("response.output_item.added", json!({ "output_index": index, "item": item.begun })));
        for (name, mut data) in item.between {
            data["output_index"] = Value::from(index);
            plain.push((name, data));
        }
        plain.push(("response.output_item.done", json!({ "output_index": index, "item": item.done })));
        output.push(item.done);
    }
    plain.push((
        "response.completed",
        json!({ "response": response(reply, "completed", output, usage(reply.usage)) }),
    ));
    plain
        .into_iter()
        .enumerate()
        .map(|(sequence, (name, mut data))| {
            data["type"] = Value::from(name);
            data["sequence_number"] = Value::from(sequence);
            SseEvent::new(name, data)
        })
        .collect()
}

/// The body of an HTTP error.
pub(crate) fn error_body(status: u16, error: &ErrorText) -> Value {
    let (kind, code, message) = match status {
        401 => ("invalid_request_error", Some("invalid_api_key"), "Incorrect API key provided."),
        403 => ("invalid_request_error", Some("forbidden"), "You are not allowed to use this resource."),
        404 => (
            "invalid_request_error",
            Some("model_not_found"),
            "The model does not exist or you do not have access to it.",
        ),
        429 => ("requests", Some("rate_limit_exceeded"), "Rate limit reached. Please try again later."),
        503 => (
            "service_unavailable_error",
            Some("server_is_overloaded"),
            "Our servers are currently overloaded. Please try again later.",
        ),
        400..=499 => ("invalid_request_error", None, "The request is not valid."),
        _ => ("server_error", Some("server_error"), "The server had an error while processing your request."),
    };
    json!({
        "error": {
            "message": error.message.as_deref().unwrap_or(message),
            "type": error.kind.as_deref().unwrap_or(kind),
            "param": null,
            "code": error.code.as_deref().or(code),
        },
    })
}

/// Overloaded, told inside a stream that began with 200.
pub(crate) fn stream_error(model: &str, serial: u64) -> SseEvent {
    SseEvent::new(
        "response.failed",
        json!({
            "type": "response.failed",
            "response": {
                "id": response_id(serial),
                "object": "response",
                "status": "failed",
                "model": model,
                "output": [],
                "error": {
                    "code": "server_is_overloaded",
                    "message": "Our servers are currently overloaded. Please try again later.",
                },
            },
        }),
    )
}
