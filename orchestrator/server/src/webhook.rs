//! `POST /webhooks/github`: checked, stored, answered. Nothing in a body is read here.

use std::sync::Arc;

use axum::Json;
use axum::body::Body as HttpBody;
use axum::extract::State;
use axum::http::header::{CONTENT_LENGTH, RETRY_AFTER};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use cloud_code_forge::{EVENTS, UNASKED_EVENTS};
use cloud_code_intake::{DeliveryError, DeliveryHeaders, SIGNATURE_HEADER, SignatureError, Verifier};
use cloud_code_metrics::{Received, instruments};
use cloud_code_model::Clock;
use cloud_code_store::{DeliveryKey, DeliverySource, DeliveryState, HookTarget, NewDelivery, Put};
use http_body_util::BodyExt as _;
use secrecy::SecretString;
use serde::Serialize;
use tokio::time::timeout;
use tracing::{Span, warn};

use crate::budget::{Body, Budget, NoRoom};
use crate::intake::{Intake, IntakeError};
use crate::quiet::Quiet;
use crate::setup::Limits;

/// Where GitHub calls.
pub const WEBHOOK_PATH: &str = "/webhooks/github";
/// Sent once, when a hook is made.
const PING: &str = "ping";
/// What a sender is told to wait, in seconds. GitHub does not heed it; proxies and people's scripts do.
const COME_AGAIN: &str = "5";

/// What the route works with.
pub(crate) struct Webhook {
    pub(crate) intake: Intake,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) secrets: Vec<SecretString>,
    pub(crate) limits: Limits,
    pub(crate) budget: Budget,
    pub(crate) refused: Quiet,
}

/// Why a delivery is not taken.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error("{0}")]
    Headers(#[from] DeliveryError),
    #[error("the delivery is not accepted")]
    Signature(SignatureError),
    #[error("the body did not come in time")]
    Slow,
    #[error("the body is cut off")]
    Cut,
    #[error("{0}; come again")]
    Later(&'static str),
}

#[derive(Serialize)]
struct Taken<'a> {
    delivery: &'a str,
    stored: bool,
}

#[derive(Serialize)]
struct Refused {
    error: String,
}

impl Refusal {
    const fn counted(&self) -> Received {
        match self {
            Self::TooLarge(_) => Received::TooLarge,
            Self::Headers(_) | Self::Cut => Received::Malformed,
            Self::Signature(_) => Received::BadSignature,
            Self::Slow => Received::Slow,
            Self::Later(_) => Received::Later,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Headers(DeliveryError::NotJson) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Headers(_) | Self::Cut => StatusCode::BAD_REQUEST,
            Self::Signature(_) => StatusCode::UNAUTHORIZED,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Later(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let mut response = (status, Json(Refused { error: self.to_string() })).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, axum::http::HeaderValue::from_static(COME_AGAIN));
        }
        response
    }
}

/// The handler.
pub(crate) async fn github(State(hook): State<Arc<Webhook>>, request: Request<HttpBody>) -> Response {
    match take(&hook, request).await {
        Ok(response) => response,
        Err(refusal) => {
            instruments().received(refusal.counted());
            if let Refusal::Signature(why) = &refusal
                && let Some(count) = hook.refused.count(hook.clock.now())
            {
                warn!(count, reason = %why, "webhook deliveries were refused for their signature");
            }
            refusal.into_response()
        }
    }
}

async fn take(hook: &Webhook, request: Request<HttpBody>) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    if announced(&head.headers).is_some_and(|length| length > hook.limits.body as u64) {
        return Err(Refusal::TooLarge(hook.limits.body));
    }
    let headers = DeliveryHeaders::read(|name| head.headers.get(name).map(|value| value.as_bytes()))?;
    let key = key(&headers)?;
    Span::current().record("delivery.guid", &headers.guid);
    let signature = head.headers.get(SIGNATURE_HEADER).map(|value| value.to_str().unwrap_or_default());
    let mut verifier = Verifier::new(signature, &hook.secrets).map_err(Refusal::Signature)?;
    let body = timeout(hook.limits.body_time, read(hook, body, &mut verifier))
        .await
        .map_err(|_| Refusal::Slow)??;
    verifier.finish().map_err(Refusal::Signature)?;

    if headers.event == PING {
        instruments().received(Received::Ping);
        return Ok(answer(StatusCode::OK, &headers.guid, false));
    }
    // Of others only the key is kept, so that a sweep of the delivery log passes them over.
    let known = EVENTS.iter().chain(&UNASKED_EVENTS).any(|event| *event == headers.event);
    let (bytes, held) = if known { (body.bytes, Some(body.held)) } else { (Vec::new(), None) };
    let new = NewDelivery {
        key,
        event: headers.event,
        body: bytes,
        received_at: hook.clock.now(),
        source: DeliverySource::Webhook,
        state: if known { DeliveryState::Waiting } else { DeliveryState::Ignored },
    };
    match hook.intake.put_held(new, held).await {
        Ok(put) => {
            let is_new = put == Put::Stored;
            instruments().received(if is_new { Received::Stored } else { Received::Duplicate });
            Ok(answer(StatusCode::ACCEPTED, &headers.guid, is_new))
        }
        Err(IntakeError::Full) => Err(Refusal::Later("too many deliveries wait to be stored")),
        Err(IntakeError::Stopping) => Err(Refusal::Later("the server is stopping")),
        // The writer has told the log why.
        Err(IntakeError::Store(_)) => Err(Refusal::Later("the delivery cannot be stored now")),
    }
}

fn answer(status: StatusCode, delivery: &str, stored: bool) -> Response {
    (status, Json(Taken { delivery, stored })).into_response()
}

/// What `Content-Length` says. One that is no number was already refused with the request.
fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The store counts in 63 bits. A number beyond that is no forge's, and would fail the batch of everybody else.
fn key(headers: &DeliveryHeaders) -> Result<DeliveryKey, Refusal> {
    if i64::try_from(headers.target_id).is_err() {
        return Err(DeliveryError::Malformed(cloud_code_intake::Header::TargetId).into());
    }
    let target = HookTarget { kind: headers.target_type.clone(), id: headers.target_id };
    Ok(DeliveryKey { target, guid: headers.guid.clone() })
}

async fn read(hook: &Webhook, mut body: HttpBody, verifier: &mut Verifier) -> Result<Body, Refusal> {
    let mut read = hook.budget.body();
    while let Some(frame) = body.frame().await {
        // Trailers are no part of what is signed.
        let Ok(piece) = frame.map_err(|_| Refusal::Cut)?.into_data() else { continue };
        if read.bytes.len() + piece.len() > hook.limits.body {
            return Err(Refusal::TooLarge(hook.limits.body));
        }
        verifier.update(&piece);
        read.push(&piece).map_err(|NoRoom| Refusal::Later("too many large bodies at one time"))?;
    }
    Ok(read)
}
