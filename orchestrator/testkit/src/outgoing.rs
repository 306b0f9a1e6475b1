//! HTTP responses: a whole answer, an answer that breaks off, and plain JSON.

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::Response;
use futures_util::{StreamExt, stream};
use serde_json::Value;

use crate::conversation::ModelRequest;
use crate::reply::{self, Reply};

/// A whole answer, as the request wants it.
pub(crate) fn respond(request: &ModelRequest, reply: &Reply) -> Response {
    if request.stream {
        let frames: Vec<Result<Bytes, std::io::Error>> =
            reply::events(request, reply).iter().map(|event| Ok(Bytes::from(event.encode()))).collect();
        response(200, "text/event-stream; charset=utf-8", Body::from_stream(stream::iter(frames)))
    } else {
        json_response(200, &reply::body(request.api, reply))
    }
}

/// How a broken answer ends.
#[derive(Clone, Copy)]
pub(crate) enum Ending {
    Silence,
    Close,
    Error,
}

/// An answer that begins well and does not end so.
pub(crate) fn broken(request: &ModelRequest, serial: u64, ending: Ending) -> Response {
    let mut text = String::new();
    if request.stream {
        for event in reply::opening(request, serial) {
            text.push_str(&event.encode());
        }
        if matches!(ending, Ending::Error) {
            text.push_str(&reply::stream_error(request, serial).encode());
        }
    } else {
        text = reply::body(request.api, &reply::unfinished(&request.model, serial)).to_string();
        text.truncate(text.len() / 2);
    }
    let begun = stream::iter([Ok(Bytes::from(text))]);
    let body = match ending {
        Ending::Silence => Body::from_stream(begun.chain(stream::pending::<Result<Bytes, std::io::Error>>())),
        Ending::Error if request.stream => Body::from_stream(begun),
        Ending::Error | Ending::Close => {
            // The server closes the connection without the stream's end when the body fails. The failure comes one
            // turn of the loop later, or what was begun would never leave the buffer.
            let failure = stream::once(async {
                tokio::task::yield_now().await;
                Err(std::io::Error::new(
                    std::io::ErrorKind::ConnectionAborted,
                    "the script cuts the stream here",
                ))
            });
            Body::from_stream(begun.chain(failure))
        }
    };
    let content_type = if request.stream { "text/event-stream; charset=utf-8" } else { "application/json" };
    response(200, content_type, body)
}

pub(crate) fn json_response(status: u16, body: &Value) -> Response {
    response(status, "application/json", Body::from(body.to_string()))
}

fn response(status: u16, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}
