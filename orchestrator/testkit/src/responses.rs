//! OpenAI Responses on the wire: <https://platform.openai.com/docs/api-reference/responses>, as codex speaks it.

use serde_json::{Value, json};

use crate::conversation::{
    Api, Entry, ModelRequest, OfferedTool, ToolInput, array, is_added_by_the_cli, prompt_alone,
    working_directory,
};
use crate::mapping::CallInput;
use crate::reply::{Finish, Reply, SseEvent, pieces};
use crate::script::UsageFigures;

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
            ("message", Some("assistant")) => answer(&mut history, None, &texts(&item["content"]).join("\n")),
            ("message", Some("user")) => {
                let (added, written): (Vec<_>, Vec<_>) =
                    texts(&item["content"]).into_iter().partition(|text| is_added_by_the_cli(text));
                surroundings.extend(added);
                if !written.is_empty() {
                    history.push(Entry::User { text: prompt_alone(&written.join("\n")).to_owned() });
                }
            }
            ("message", _) => surroundings.extend(texts(&item["content"])),
            (output, _) if output.ends_with("_output") => history.push(Entry::ToolResult),
            (call, _) if call.ends_with("_call") => answer(&mut history, item["call_id"].as_str(), ""),
            ("reasoning", _) => answer(&mut history, None, ""),
            // Bookkeeping of the CLI.
            _ => {}
        }
    }
    ModelRequest {
        api: Api::OpenaiResponses,
        model: body["model"].as_str().unwrap_or_default().to_owned(),
        stream: body["stream"] == true,
        stream_usage: true,
        max_tokens: None,
        schema: body["text"]["format"].get("schema").cloned(),
        tools,
        history,
        working_directory: surroundings.iter().find_map(|text| working_directory(text)),
        surroundings,
    }
}

/// Items of one answer stand side by side, so one that follows another belongs to the same.
fn answer(history: &mut Vec<Entry>, call_id: Option<&str>, said: &str) {
    if let Some(Entry::Assistant { text, call_ids }) = history.last_mut() {
        text.push_str(said);
        call_ids.extend(call_id.map(str::to_owned));
    } else {
        history.push(Entry::Assistant {
            text: said.to_owned(),
            call_ids: call_id.map(str::to_owned).into_iter().collect(),
        });
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
            let namespace = namespace.map(str::to_owned);
            tools.push(OfferedTool { namespace, input, ..OfferedTool::json(name, &tool["parameters"]) });
        }
    }
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
        let id = format!("msg_{:06}", reply.serial);
        items.push(match reply.finish {
            Finish::Whole => message(&id, say),
            Finish::Refused => refusal(&id, say),
        });
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
    let form = |text: &str| json!({ "type": "output_text", "text": text, "annotations": [] });
    message_of(id, say, form, ["response.output_text.delta", "response.output_text.done"], "text")
}

fn refusal(id: &str, say: &str) -> Item {
    let form = |text: &str| json!({ "type": "refusal", "refusal": text });
    message_of(id, say, form, ["response.refusal.delta", "response.refusal.done"], "refusal")
}

/// A message of one part. `events` name a piece of it and its end, `field` is where the end holds it.
fn message_of(
    id: &str,
    say: &str,
    part: fn(&str) -> Value,
    events: [&'static str; 2],
    field: &'static str,
) -> Item {
    let [delta, done] = events;
    let mut between =
        vec![("response.content_part.added", json!({ "item_id": id, "content_index": 0, "part": part("") }))];
    for piece in pieces(say) {
        between.push((delta, json!({ "item_id": id, "content_index": 0, "delta": piece })));
    }
    between.push((done, json!({ "item_id": id, "content_index": 0, field: say })));
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
            SseEvent::named(name, data)
        })
        .collect()
}

/// Overloaded, told inside a stream that began with 200.
pub(crate) fn stream_error(model: &str, serial: u64) -> SseEvent {
    SseEvent::named(
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
