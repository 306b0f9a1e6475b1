//! What a path asks for. Four APIs share one address; their paths never collide but for the list of models.

use axum::http::{HeaderMap, Method, Uri};

use crate::conversation::Api;

/// What a request wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// Whether anybody is here.
    Alive,
    /// The list of models, in one API's shape.
    Models(Api),
    /// A WebSocket, which is not served.
    Upgrade,
    /// Something of the model.
    Model(Api, Ask),
    /// Nothing that is known here.
    Unknown,
}

/// What the model is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ask {
    /// An answer; the body says how.
    Answer,
    /// The size of the prompt.
    TokenCount,
    /// Gemini names the model and the way to answer in the path.
    Generate { model: String, stream: bool },
}

/// Reads method and path. A query matters to Gemini only.
pub(crate) fn route(method: &Method, uri: &Uri, headers: &HeaderMap) -> Route {
    let path = uri.path();
    match (method.as_str(), path) {
        ("HEAD" | "GET", "/") => Route::Alive,
        ("GET", "/v1/models") if headers.contains_key("anthropic-version") => Route::Models(Api::Anthropic),
        ("GET", "/v1/models") => Route::Models(Api::OpenaiChat),
        ("GET", "/v1beta/models") => Route::Models(Api::Gemini),
        ("GET", "/v1/responses") => Route::Upgrade,
        ("POST", "/v1/messages") => Route::Model(Api::Anthropic, Ask::Answer),
        ("POST", "/v1/messages/count_tokens") => Route::Model(Api::Anthropic, Ask::TokenCount),
        ("POST", "/v1/responses") => Route::Model(Api::OpenaiResponses, Ask::Answer),
        ("POST", "/v1/chat/completions") => Route::Model(Api::OpenaiChat, Ask::Answer),
        ("POST", _) => gemini(path, uri.query()).map_or(Route::Unknown, |ask| Route::Model(Api::Gemini, ask)),
        _ => Route::Unknown,
    }
}

/// `/v1beta/models/NAME:METHOD`. An array of answers instead of events, which a stream without `alt=sse` would be, is
/// asked for by no CLI.
fn gemini(path: &str, query: Option<&str>) -> Option<Ask> {
    let named = ["/v1beta/models/", "/v1/models/"].iter().find_map(|start| path.strip_prefix(start));
    let (model, method) = named?.rsplit_once(':')?;
    let events = query.unwrap_or_default().split('&').any(|pair| pair == "alt=sse");
    let generate = |stream| Some(Ask::Generate { model: model.to_owned(), stream });
    match method {
        "generateContent" => generate(false),
        "streamGenerateContent" if events => generate(true),
        "countTokens" => Some(Ask::TokenCount),
        _ => None,
    }
}
