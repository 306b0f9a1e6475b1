//! One line a request: what was asked, how it ended, how long it took. Never a query, a header's value that a stranger
//! chose freely, a body, or a signature.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use jiff::Timestamp;
use tracing::{Instrument as _, debug, field, info, info_span};

/// By which a person finds the line that belongs to an answer.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest id that a proxy may give.
const MAX_ID: usize = 64;

/// Ids of requests: when the server started, and a number.
#[derive(Debug)]
pub(crate) struct RequestIds {
    start: i64,
    next: AtomicU64,
}

impl RequestIds {
    pub(crate) fn new(start: Timestamp) -> Self {
        Self { start: start.as_millisecond(), next: AtomicU64::new(1) }
    }

    fn id(&self, given: Option<&HeaderValue>) -> String {
        let sane = |id: &&str| {
            (1..=MAX_ID).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        match given.and_then(|value| value.to_str().ok()).filter(sane) {
            Some(id) => id.to_owned(),
            None => format!("{:x}-{:x}", self.start, self.next.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

/// The middleware.
pub(crate) async fn log(State(ids): State<Arc<RequestIds>>, request: Request, next: Next) -> Response {
    let id = ids.id(request.headers().get(&REQUEST_ID));
    // The path of a route we know, not what a stranger wrote.
    let path = request.extensions().get::<MatchedPath>().map_or("-", MatchedPath::as_str).to_owned();
    let webhook = path.starts_with("/webhooks/");
    let span = info_span!(
        "request",
        request.id = id,
        http.method = %request.method(),
        http.path = path,
        delivery.guid = field::Empty,
    );
    async move {
        let begun = Instant::now();
        let mut response = next.run(request).await;
        let (status, took) = (response.status().as_u16(), begun.elapsed());
        let millis = took.as_secs_f64() * 1_000.0;
        if webhook {
            info!(http.status = status, http.duration_ms = millis, "request answered");
        } else {
            debug!(http.status = status, http.duration_ms = millis, "request answered");
        }
        if let Ok(id) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        response
    }
    .instrument(span)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sane_id_of_a_proxy_is_kept_and_no_other() {
        let ids = RequestIds::new(Timestamp::from_millisecond(0xabc).unwrap());
        let id = |text: &'static str| ids.id(Some(&HeaderValue::from_static(text)));
        assert_eq!(id("7f3a-1.b_2"), "7f3a-1.b_2");
        assert_eq!([id("a b"), id(""), ids.id(None)], ["abc-1", "abc-2", "abc-3"]);
    }
}
