//! What goes back, before it is put on the wire: one answer, or an error with its words. The wire modules draw it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::conversation::{Api, ModelRequest};
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
    pub(crate) finish: Finish,
}

/// Why an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finish {
    /// It is complete, or waits for the tools that it called.
    Whole,
    /// The model or the provider's filter refuses. What the answer says is the refusal, where the API has room for one.
    Refused,
}

/// One server-sent event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum SseEvent {
    /// With a name, as Anthropic Messages and OpenAI Responses send them.
    Named { name: String, data: Value },
    /// Data alone, as Gemini and OpenAI Chat Completions send it. `text` says whether a piece of text is in it.
    Chunk { data: Value, text: bool },
    /// The word with which Chat Completions ends a stream.
    Done,
}

impl SseEvent {
    pub(crate) fn named(name: &str, data: Value) -> Self {
        Self::Named { name: name.to_owned(), data }
    }

    /// As it is on the wire.
    pub(crate) fn encode(&self) -> String {
        match self {
            Self::Named { name, data } => format!("event: {name}\ndata: {data}\n\n"),
            Self::Chunk { data, text: _ } => format!("data: {data}\n\n"),
            Self::Done => "data: [DONE]\n\n".to_owned(),
        }
    }

    fn has_text(&self) -> bool {
        match self {
            Self::Named { name, data: _ } => name.ends_with("delta"),
            Self::Chunk { data: _, text } => *text,
            Self::Done => false,
        }
    }
}

/// What an answer says that is sent until the stream breaks: short enough to be in its first piece.
pub(crate) const UNFINISHED: &str = "This answer will not be finished because the script";

/// An answer without meaning, whose opening is sent before a stream breaks.
pub(crate) fn unfinished(model: &str, serial: u64) -> Reply {
    Reply {
        model: model.to_owned(),
        think: None,
        say: Some(UNFINISHED.to_owned()),
        calls: Vec::new(),
        usage: UsageFigures::default(),
        serial,
        finish: Finish::Whole,
    }
}

/// A refusal, in words that no CLI takes for work done.
pub(crate) fn refusal(model: &str, serial: u64) -> Reply {
    Reply {
        say: Some("I can't help with that.".to_owned()),
        finish: Finish::Refused,
        ..unfinished(model, serial)
    }
}

/// The events of a whole answer.
pub(crate) fn events(request: &ModelRequest, reply: &Reply) -> Vec<SseEvent> {
    match request.api {
        Api::Anthropic => crate::anthropic::events(reply),
        Api::OpenaiResponses => crate::responses::events(reply),
        Api::OpenaiChat => crate::chat::events(reply, request.stream_usage),
        Api::Gemini => crate::gemini::events(reply),
    }
}

/// The events up to the first piece of text: nothing in them is complete, so no CLI keeps any of it.
pub(crate) fn opening(request: &ModelRequest, serial: u64) -> Vec<SseEvent> {
    let mut events = events(request, &unfinished(&request.model, serial));
    let first_piece = events.iter().position(SseEvent::has_text).map_or(0, |at| at + 1);
    events.truncate(first_piece);
    events
}

/// The same answer as one JSON body.
pub(crate) fn body(api: Api, reply: &Reply) -> Value {
    match api {
        Api::Anthropic => crate::anthropic::body(reply),
        Api::OpenaiResponses => crate::responses::body(reply),
        Api::OpenaiChat => crate::chat::body(reply),
        Api::Gemini => crate::gemini::body(reply),
    }
}

/// An HTTP error before it has an API's shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpError {
    pub(crate) status: u16,
    /// In seconds.
    pub(crate) retry_after: Option<u64>,
    /// When a plan's window opens again.
    pub(crate) resets_at: Option<Timestamp>,
    pub(crate) text: ErrorText,
}

impl HttpError {
    fn new(status: u16, kind: &str, code: Option<&str>, message: &str) -> Self {
        let text = ErrorText {
            kind: Some(kind.to_owned()),
            code: code.map(str::to_owned),
            message: Some(message.to_owned()),
        };
        Self { text, ..Self::plain(status) }
    }

    /// In the API's usual words.
    pub(crate) fn plain(status: u16) -> Self {
        Self { status, retry_after: None, resets_at: None, text: ErrorText::default() }
    }
}

/// The headers of an HTTP error, beside the usual ones.
pub(crate) fn error_headers(api: Api, error: &HttpError) -> Vec<(&'static str, String)> {
    let mut headers = Vec::new();
    // Google says it in the body, see `gemini`.
    if let Some(seconds) = error.retry_after
        && api != Api::Gemini
    {
        headers.push(("retry-after", seconds.to_string()));
    }
    if let Some(resets_at) = error.resets_at
        && api == Api::Anthropic
    {
        headers.extend(crate::anthropic::window_headers(resets_at));
    }
    headers
}

/// The body of an HTTP error. `model` is what the request asked for: an unknown model is named.
pub(crate) fn error_body(api: Api, error: &HttpError, model: &str, serial: u64) -> Value {
    match api {
        Api::Anthropic => crate::anthropic::error_body(error, model, serial),
        Api::OpenaiResponses | Api::OpenaiChat => crate::openai_error::body(error, model),
        Api::Gemini => crate::gemini::error_body(error, model),
    }
}

/// A key that nobody was given.
pub(crate) fn bad_key(api: Api) -> HttpError {
    match api {
        Api::Anthropic | Api::OpenaiResponses | Api::OpenaiChat => HttpError::plain(401),
        // 401 is for logins there.
        Api::Gemini => HttpError::new(
            400,
            "INVALID_ARGUMENT",
            Some("API_KEY_INVALID"),
            "API key not valid. Please pass a valid API key.",
        ),
    }
}

/// An account without money.
pub(crate) fn out_of_credit(api: Api) -> HttpError {
    match api {
        Api::Anthropic => HttpError::new(
            400,
            "invalid_request_error",
            None,
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.",
        ),
        Api::OpenaiResponses | Api::OpenaiChat => HttpError::new(
            429,
            "insufficient_quota",
            Some("insufficient_quota"),
            "You exceeded your current quota, please check your plan and billing details.",
        ),
        // No word tells it from a limit that passes, and no delay is named.
        Api::Gemini => HttpError::new(
            429,
            "RESOURCE_EXHAUSTED",
            None,
            "You exceeded your current quota, please check your plan and billing details. For more information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits.",
        ),
    }
}

/// A prompt that is larger than the model's window.
pub(crate) fn context_too_long(api: Api) -> HttpError {
    match api {
        Api::Anthropic => HttpError::new(
            400,
            "invalid_request_error",
            None,
            "prompt is too long: 210000 tokens > 200000 maximum",
        ),
        Api::OpenaiResponses => HttpError::new(
            400,
            "invalid_request_error",
            Some("context_length_exceeded"),
            "Your input exceeds the context window of this model. Please adjust your input and try again.",
        ),
        Api::OpenaiChat => HttpError::new(
            400,
            "invalid_request_error",
            Some("context_length_exceeded"),
            "This model's maximum context length is 128000 tokens. However, your messages resulted in 210000 tokens. Please reduce the length of the messages.",
        ),
        Api::Gemini => HttpError::new(
            400,
            "INVALID_ARGUMENT",
            None,
            "The input token count (1200293) exceeds the maximum number of tokens allowed (1048576).",
        ),
    }
}

/// A login whose token has run out, and which only a person renews.
pub(crate) fn login_expired(api: Api) -> HttpError {
    match api {
        Api::Anthropic => HttpError::new(
            401,
            "authentication_error",
            None,
            "OAuth token has expired. Please obtain a new token or refresh your existing token.",
        ),
        Api::OpenaiResponses | Api::OpenaiChat => HttpError::new(
            401,
            "invalid_request_error",
            Some("token_expired"),
            "Your authentication token has expired. Please try signing in again.",
        ),
        Api::Gemini => HttpError::new(
            401,
            "UNAUTHENTICATED",
            Some("ACCESS_TOKEN_EXPIRED"),
            "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.",
        ),
    }
}

/// A plan whose hours are used up.
pub(crate) fn usage_limit(api: Api, now: Timestamp, resets_in: Duration) -> HttpError {
    let seconds = resets_in.as_secs();
    let resets_at = now.saturating_add(resets_in).unwrap_or(Timestamp::MAX);
    let error = match api {
        // What kind of limit it is stands in the headers.
        Api::Anthropic => HttpError { retry_after: Some(seconds), ..HttpError::plain(429) },
        Api::OpenaiResponses => {
            HttpError::new(429, "usage_limit_reached", None, "The usage limit has been reached")
        }
        // OpenAI itself has none here; the words of a provider that has.
        Api::OpenaiChat => {
            let at = resets_at.strftime("%Y-%m-%d %H:%M:%S");
            let message = format!("Usage limit reached for 5 hour. Your limit will reset at {at}");
            return HttpError::new(429, "rate_limit_error", Some("1308"), &message);
        }
        Api::Gemini => {
            let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
            let message = format!(
                "You have exhausted your capacity on this model. Your quota will reset after {hours}h{minutes}m{}s.",
                seconds % 60
            );
            let error = HttpError::new(429, "RESOURCE_EXHAUSTED", Some("QUOTA_EXHAUSTED"), &message);
            HttpError { retry_after: Some(seconds), ..error }
        }
    };
    HttpError { resets_at: Some(resets_at), ..error }
}

/// The event with which a stream reports that the model is overloaded.
pub(crate) fn stream_error(request: &ModelRequest, serial: u64) -> SseEvent {
    match request.api {
        Api::Anthropic => crate::anthropic::stream_error(),
        Api::OpenaiResponses => crate::responses::stream_error(&request.model, serial),
        Api::OpenaiChat => crate::chat::stream_error(),
        Api::Gemini => crate::gemini::stream_error(),
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
