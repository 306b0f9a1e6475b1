//! Gemini on the wire: <https://ai.google.dev/api/generate-content>. The model and the way to answer stand in the path.

use serde_json::{Value, json};

use crate::conversation::{
    Api, Entry, ModelRequest, OfferedTool, array, is_added_by_the_cli, prompt_alone, working_directory,
};
use crate::mapping::{CallInput, ToolCall};
use crate::reply::{Finish, HttpError, Reply, SseEvent, pieces};
use crate::script::UsageFigures;

/// How tool call ids start.
pub(crate) const CALL_PREFIX: &str = "call_";

/// A thought must be signed when it goes back; nobody but the vendor checks by what.
const SIGNATURE: &str = "c2NyaXB0ZWQ=";

/// Reads a request. Anything that is missing or of another type is left out: a CLI's newest field is no error here.
pub(crate) fn request(body: &Value, model: &str, stream: bool) -> ModelRequest {
    let mut history = Vec::new();
    let mut surroundings = texts(&body["systemInstruction"]);
    for content in array(&body["contents"]) {
        if content["role"] == "model" {
            history.push(Entry::Assistant { text: texts(content).join("\n"), call_ids: call_ids(content) });
            continue;
        }
        if array(&content["parts"]).iter().any(|part| part["functionResponse"].is_object()) {
            history.push(Entry::ToolResult);
        }
        let (added, written): (Vec<_>, Vec<_>) =
            texts(content).into_iter().partition(|text| is_added_by_the_cli(text));
        surroundings.extend(added);
        if !written.is_empty() {
            history.push(Entry::User { text: prompt_alone(&written.join("\n")).to_owned() });
        }
    }
    ModelRequest {
        api: Api::Gemini,
        model: model.to_owned(),
        stream,
        stream_usage: true,
        max_tokens: body["generationConfig"]["maxOutputTokens"].as_u64(),
        schema: ["responseJsonSchema", "responseSchema"]
            .iter()
            .find_map(|key| body["generationConfig"].get(key))
            .cloned(),
        tools: array(&body["tools"])
            .iter()
            .flat_map(|group| array(&group["functionDeclarations"]))
            .filter_map(offered)
            .collect(),
        history,
        working_directory: surroundings.iter().find_map(|text| working_directory(text)),
        surroundings,
    }
}

/// A schema stands under one of two keys: JSON Schema, or the API's own dialect of it.
fn offered(tool: &Value) -> Option<OfferedTool> {
    let schema = tool.get("parametersJsonSchema").unwrap_or(&tool["parameters"]);
    Some(OfferedTool::json(tool["name"].as_str()?, schema))
}

/// Without the thoughts.
fn texts(content: &Value) -> Vec<String> {
    array(&content["parts"])
        .iter()
        .filter(|part| part["thought"] != true)
        .filter_map(|part| part["text"].as_str())
        .map(str::to_owned)
        .collect()
}

fn call_ids(content: &Value) -> Vec<String> {
    array(&content["parts"])
        .iter()
        .filter_map(|part| part["functionCall"]["id"].as_str())
        .map(str::to_owned)
        .collect()
}

/// Here the prompt counts what came from the cache and what went into it. The answer's own tokens are known at its end.
fn usage(figures: UsageFigures, output: Option<u64>) -> Value {
    let prompt = figures.input.saturating_add(figures.cache_read).saturating_add(figures.cache_write);
    let mut usage = json!({
        "promptTokenCount": prompt,
        "totalTokenCount": prompt.saturating_add(output.unwrap_or_default()),
    });
    if let Some(output) = output {
        usage["candidatesTokenCount"] = Value::from(output);
    }
    if figures.cache_read > 0 {
        usage["cachedContentTokenCount"] = Value::from(figures.cache_read);
    }
    usage
}

fn thought(text: &str) -> Value {
    json!({ "text": text, "thought": true })
}

fn function_call(id: &str, call: &ToolCall) -> Value {
    let arguments = match &call.input {
        CallInput::Json(input) => input.clone(),
        // No tool of this API takes free text; an object is what it would be wrapped in.
        CallInput::Text(text) => json!({ "input": text }),
    };
    json!({
        "functionCall": { "id": id, "name": call.name, "args": arguments },
        "thoughtSignature": SIGNATURE,
    })
}

/// A response, whole or one of a stream's. `last`: with the reason why the answer ends.
fn response(reply: &Reply, parts: Vec<Value>, last: bool) -> Value {
    let mut candidate = json!({ "index": 0 });
    if !parts.is_empty() {
        candidate["content"] = json!({ "role": "model", "parts": parts });
    }
    if last {
        candidate["finishReason"] = Value::from(match reply.finish {
            Finish::Whole => "STOP",
            Finish::Refused => "SAFETY",
        });
    }
    json!({
        "candidates": [candidate],
        "usageMetadata": usage(reply.usage, last.then_some(reply.usage.output)),
        "modelVersion": reply.model,
        "responseId": format!("resp_{:06}", reply.serial),
    })
}

/// What a refused answer says is not sent: the filter keeps it back.
fn said(reply: &Reply) -> Option<&str> {
    match reply.finish {
        Finish::Whole => reply.say.as_deref(),
        Finish::Refused => None,
    }
}

/// The whole answer in one body.
pub(crate) fn body(reply: &Reply) -> Value {
    let thoughts = reply.think.iter().map(|think| thought(think));
    let texts = said(reply).into_iter().map(|say| json!({ "text": say }));
    let calls = reply.calls.iter().map(|(id, call)| function_call(id, call));
    response(reply, thoughts.chain(texts).chain(calls).collect(), true)
}

/// The whole answer as events. The reason why it ends comes in one of its own.
pub(crate) fn events(reply: &Reply) -> Vec<SseEvent> {
    let thoughts = reply.think.iter().flat_map(|think| pieces(think)).map(|piece| (thought(&piece), true));
    let texts = said(reply).into_iter().flat_map(pieces).map(|piece| (json!({ "text": piece }), true));
    // Calls come whole: this API does not stream their arguments.
    let calls = reply.calls.iter().map(|(id, call)| (function_call(id, call), false));
    let mut events: Vec<SseEvent> = thoughts
        .chain(texts)
        .chain(calls)
        .map(|(part, text)| SseEvent::Chunk { data: response(reply, vec![part], false), text })
        .collect();
    let end = match reply.finish {
        Finish::Whole => vec![json!({ "text": "" })],
        Finish::Refused => Vec::new(),
    };
    events.push(SseEvent::Chunk { data: response(reply, end, true), text: false });
    events
}

/// The number of tokens of a request.
pub(crate) fn token_count(tokens: u64) -> Value {
    json!({ "totalTokens": tokens, "promptTokensDetails": [{ "modality": "TEXT", "tokenCount": tokens }] })
}

/// The body of an HTTP error: <https://cloud.google.com/apis/design/errors>. A delay stands in it, not in a header.
pub(crate) fn error_body(error: &HttpError, model: &str) -> Value {
    let unknown_model = format!(
        "models/{model} is not found for API version v1beta, or is not supported for generateContent. Call ListModels to see the list of available models and their supported methods."
    );
    let (status, message) = match error.status {
        401 => (
            "UNAUTHENTICATED",
            "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
        ),
        403 => ("PERMISSION_DENIED", "The caller does not have permission"),
        404 => ("NOT_FOUND", unknown_model.as_str()),
        429 => ("RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
        503 | 529 => ("UNAVAILABLE", "The model is overloaded. Please try again later."),
        504 => ("DEADLINE_EXCEEDED", "The request timed out. Please try again."),
        400..=499 => ("INVALID_ARGUMENT", "Request contains an invalid argument."),
        _ => (
            "INTERNAL",
            "An internal error has occurred. Please retry or report in https://developers.generativeai.google/guide/troubleshooting",
        ),
    };
    let mut body = json!({
        "code": error.status,
        "message": error.text.message.as_deref().unwrap_or(message),
        "status": error.text.kind.as_deref().unwrap_or(status),
    });
    let mut details = Vec::new();
    if let Some(reason) = &error.text.code {
        details.push(json!({
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": reason,
            // Plans are Code Assist's, and its errors are told from others by this.
            "domain": if error.resets_at.is_some() { "cloudcode-pa.googleapis.com" } else { "googleapis.com" },
        }));
    }
    if let Some(seconds) = error.retry_after {
        details.push(json!({
            "@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retryDelay": format!("{seconds}s"),
        }));
    }
    if !details.is_empty() {
        body["details"] = Value::from(details);
    }
    json!({ "error": body })
}

/// Overloaded, told inside a stream that began with 200.
pub(crate) fn stream_error() -> SseEvent {
    let error = json!({
        "error": {
            "code": 503,
            "message": "The model is overloaded. Please try again later.",
            "status": "UNAVAILABLE",
        },
    });
    SseEvent::Chunk { data: error, text: false }
}
