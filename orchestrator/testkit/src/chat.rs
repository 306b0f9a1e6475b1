//! OpenAI Chat Completions on the wire: <https://platform.openai.com/docs/api-reference/chat>. Half the providers of the
//! world speak it, each with additions; `reasoning_content` is the one that CLIs look for.

use serde_json::{Value, json};

use crate::conversation::{
    Api, Entry, ModelRequest, OfferedTool, ToolInput, array, is_added_by_the_cli, prompt_alone,
    working_directory,
};
use crate::mapping::{CallInput, ToolCall};
use crate::reply::{Finish, Reply, SseEvent, pieces};
use crate::script::UsageFigures;

/// How tool call ids start.
pub(crate) const CALL_PREFIX: &str = "call_";

/// Reads a request. Anything that is missing or of another type is left out: a CLI's newest field is no error here.
pub(crate) fn request(body: &Value) -> ModelRequest {
    let mut history = Vec::new();
    let mut surroundings = Vec::new();
    for message in array(&body["messages"]) {
        let texts = texts(&message["content"]);
        match message["role"].as_str() {
            Some("assistant") => history.push(Entry::Assistant {
                text: texts.join("\n"),
                call_ids: array(&message["tool_calls"])
                    .iter()
                    .filter_map(|call| call["id"].as_str())
                    .map(str::to_owned)
                    .collect(),
            }),
            Some("user") => {
                let (added, written): (Vec<_>, Vec<_>) =
                    texts.into_iter().partition(|text| is_added_by_the_cli(text));
                surroundings.extend(added);
                if !written.is_empty() {
                    history.push(Entry::User { text: prompt_alone(&written.join("\n")).to_owned() });
                }
            }
            Some("tool" | "function") => history.push(Entry::ToolResult),
            _ => surroundings.extend(texts),
        }
    }
    ModelRequest {
        api: Api::OpenaiChat,
        model: body["model"].as_str().unwrap_or_default().to_owned(),
        stream: body["stream"] == true,
        stream_usage: body["stream_options"]["include_usage"] == true,
        max_tokens: body["max_completion_tokens"].as_u64().or(body["max_tokens"].as_u64()),
        schema: body["response_format"]["json_schema"].get("schema").cloned(),
        tools: array(&body["tools"]).iter().filter_map(offered).collect(),
        history,
        working_directory: surroundings.iter().find_map(|text| working_directory(text)),
        surroundings,
    }
}

fn offered(tool: &Value) -> Option<OfferedTool> {
    if tool["type"] == "custom" {
        let input = ToolInput::Text;
        return Some(OfferedTool {
            input,
            ..OfferedTool::json(tool["custom"]["name"].as_str()?, &Value::Null)
        });
    }
    let function = &tool["function"];
    Some(OfferedTool::json(function["name"].as_str()?, &function["parameters"]))
}

fn texts(content: &Value) -> Vec<String> {
    match content {
        Value::String(text) => vec![text.clone()],
        other => array(other).iter().filter_map(|part| part["text"].as_str()).map(str::to_owned).collect(),
    }
}

fn finish_reason(reply: &Reply) -> &'static str {
    match reply.finish {
        Finish::Refused => "content_filter",
        Finish::Whole if reply.calls.is_empty() => "stop",
        Finish::Whole => "tool_calls",
    }
}

/// Here the prompt counts what came from the cache and what went into it.
fn usage(figures: UsageFigures) -> Value {
    let prompt = figures.input.saturating_add(figures.cache_read).saturating_add(figures.cache_write);
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": figures.output,
        "total_tokens": prompt.saturating_add(figures.output),
        "prompt_tokens_details": { "cached_tokens": figures.cache_read },
        "completion_tokens_details": { "reasoning_tokens": 0 },
    })
}

/// The type of a call, the key of what it takes there, and that: JSON in a string, or free text.
fn called(call: &ToolCall) -> (&'static str, &'static str, String) {
    match &call.input {
        CallInput::Json(input) => ("function", "arguments", input.to_string()),
        CallInput::Text(text) => ("custom", "input", text.clone()),
    }
}

fn completion(reply: &Reply, object: &str, choices: Value) -> Value {
    json!({
        "id": format!("chatcmpl-{:06}", reply.serial),
        "object": object,
        "created": jiff::Timestamp::now().as_second(),
        "model": reply.model,
        "choices": choices,
    })
}

/// The whole answer in one body.
pub(crate) fn body(reply: &Reply) -> Value {
    let mut message = json!({ "role": "assistant", "content": null, "refusal": null });
    let said = match reply.finish {
        Finish::Whole => "content",
        Finish::Refused => "refusal",
    };
    message[said] = json!(reply.say);
    if let Some(think) = &reply.think {
        message["reasoning_content"] = Value::from(think.as_str());
    }
    if !reply.calls.is_empty() {
        let calls = reply.calls.iter().map(|(id, call)| {
            let (kind, key, input) = called(call);
            json!({ "id": id, "type": kind, kind: { "name": call.name, key: input } })
        });
        message["tool_calls"] = calls.collect();
    }
    let choice =
        json!({ "index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason(reply) });
    let mut body = completion(reply, "chat.completion", json!([choice]));
    body["usage"] = usage(reply.usage);
    body
}

/// The whole answer as events. `with_usage`: an event of its own at the end counts the tokens; a client asks for it.
pub(crate) fn events(reply: &Reply, with_usage: bool) -> Vec<SseEvent> {
    let chunk = |choices: Value, usage: Value| {
        let mut data = completion(reply, "chat.completion.chunk", choices);
        if with_usage {
            data["usage"] = usage;
        }
        data
    };
    let choice = |delta: Value, finish_reason: Value| {
        let choice = json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason });
        chunk(json!([choice]), Value::Null)
    };
    let delta = |delta: Value, text: bool| SseEvent::Chunk { data: choice(delta, Value::Null), text };
    let mut events = vec![delta(json!({ "role": "assistant", "content": "" }), false)];
    for piece in reply.think.iter().flat_map(|think| pieces(think)) {
        events.push(delta(json!({ "reasoning_content": piece }), true));
    }
    let said = match reply.finish {
        Finish::Whole => "content",
        Finish::Refused => "refusal",
    };
    for piece in reply.say.iter().flat_map(|say| pieces(say)) {
        events.push(delta(json!({ said: piece }), true));
    }
    for (index, (id, call)) in reply.calls.iter().enumerate() {
        let (kind, key, input) = called(call);
        let begun = json!({ "index": index, "id": id, "type": kind, kind: { "name": call.name, key: "" } });
        events.push(delta(json!({ "tool_calls": [begun] }), false));
        for piece in pieces(&input) {
            let more = json!({ "index": index, kind: { key: piece } });
            events.push(delta(json!({ "tool_calls": [more] }), false));
        }
    }
    events.push(SseEvent::Chunk { data: choice(json!({}), Value::from(finish_reason(reply))), text: false });
    if with_usage {
        events.push(SseEvent::Chunk { data: chunk(json!([]), usage(reply.usage)), text: false });
    }
    events.push(SseEvent::Done);
    events
}

/// Overloaded, told inside a stream that began with 200.
pub(crate) fn stream_error() -> SseEvent {
    let error = json!({
        "error": {
            "message": "The server had an error while processing your request. Please try again later.",
            "type": "server_error",
            "param": null,
            "code": null,
        },
    });
    SseEvent::Chunk { data: error, text: false }
}
