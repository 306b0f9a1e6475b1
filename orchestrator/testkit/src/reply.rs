//! What goes back, before it is put on the wire: one answer, or an error with its words. Both wire modules draw it.

use crate::conversation::Api;
use crate::mapping::ToolCall;
use crate::script::{ErrorText, UsageFigures};

/// One answer of the model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reply {
    pub(crate) model: String,
    pub(crate) think: Option<String>,
    pub(crate) say: Option<String>,
    /// With its id.
    pub(crate) calls: Vec<(String, ToolCall)>,
    pub(crate) usage: UsageFigures,
    /// Unique in this server's life; part of the answer's id.
    pub(crate) serial: u64,
}

/// One server-sent event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct SseEvent {
    pub(crate) name: String,
    pub(crate) data: serde_json::Value,
}

impl SseEvent {
    pub(crate) fn new(name: &str, data: serde_json::Value) -> Self {
        Self { name: name.to_owned(), data }
    }

    /// As it is on the wire.
    pub(crate) fn encode(&self) -> String {
        format!("event: {}\ndata: {}\n\n", self.name, self.data)
    }
}

/// An answer without meaning, whose opening is sent before a stream breaks.
pub(crate) fn unfinished(model: &str, serial: u64) -> Reply {
    Reply {
        model: model.to_owned(),
        think: None,
        say: Some("This answer will not be finished because the script".to_owned()),
        calls: Vec::new(),
        usage: UsageFigures::default(),
        serial,
    }
}

/// The events of a whole answer.
pub(crate) fn events(api: Api, reply: &Reply) -> Vec<SseEvent> {
    match api {
        Api::Anthropic => crate::anthropic::events(reply),
        Api::OpenaiResponses => crate::responses::events(reply),
    }
}

/// The events up to the first piece of text: nothing in them is complete, so no CLI keeps any of it.
pub(crate) fn opening(api: Api, model: &str, serial: u64) -> Vec<SseEvent> {
    let mut events = events(api, &unfinished(model, serial));
    let first_piece = events.iter().position(|event| event.name.ends_with("delta")).map_or(0, |at| at + 1);
    events.truncate(first_piece);
    events
}

/// The same answer as one JSON body.
pub(crate) fn body(api: Api, reply: &Reply) -> serde_json::Value {
    match api {
        Api::Anthropic => crate::anthropic::body(reply),
        Api::OpenaiResponses => crate::responses::body(reply),
    }
}

/// The body of an HTTP error.
pub(crate) fn error_body(api: Api, status: u16, error: &ErrorText, serial: u64) -> serde_json::Value {
    match api {
        Api::Anthropic => crate::anthropic::error_body(status, error, serial),
        Api::OpenaiResponses => crate::responses::error_body(status, error),
    }
}

/// Status and words of an account without money.
pub(crate) fn out_of_credit(api: Api) -> (u16, ErrorText) {
    let text = |kind: &str, code: Option<&str>, message: &str| ErrorText {
        kind: Some(kind.to_owned()),
        code: code.map(str::to_owned),
        message: Some(message.to_owned()),
    };
    match api {
        Api::Anthropic => (
            400,
            text(
                "invalid_request_error",
                None,
                "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.",
            ),
        ),
        Api::OpenaiResponses => (
            429,
            text(
                "insufficient_quota",
                Some("insufficient_quota"),
                "You exceeded your current quota, please check your plan and billing details.",
            ),
        ),
    }
}

/// The event with which a stream reports that the model is overloaded.
pub(crate) fn stream_error(api: Api, model: &str, serial: u64) -> SseEvent {
    match api {
        Api::Anthropic => crate::anthropic::stream_error(),
        Api::OpenaiResponses => crate::responses::stream_error(model, serial),
    }
}

/// A text in pieces of a few words, as a model streams it. Never empty, so a stream always has a delta.
pub(crate) fn pieces(text: &str) -> Vec<String> {
    /// About a line: enough events to be a stream, few enough to read.
    const PIECE_CHARS: usize = 60;
    let characters: Vec<char> = text.chars().collect();
    if characters.is_empty() {
        return vec![String::new()];
    }
    characters.chunks(PIECE_CHARS).map(|piece| piece.iter().collect()).collect()
}
