//! Whether the process lives, and whether it can take deliveries in.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use cloud_code_store::Deliveries;
use tokio::time::timeout;
use tracing::warn;

use crate::intake::Intake;

/// How long the store may take to answer. A proxy asks every few seconds and gives up after about as long.
const STORE_TIME: Duration = Duration::from_secs(2);
/// A name under which nothing stands: the question is only whether the store answers.
const PROBE: &str = "readyz";

/// What readiness depends on.
pub(crate) struct Health {
    pub(crate) store: Arc<dyn Deliveries>,
    pub(crate) intake: Intake,
}

/// `GET /healthz`.
pub(crate) async fn live() -> &'static str {
    "ok\n"
}

/// `GET /readyz`.
pub(crate) async fn ready(State(health): State<Arc<Health>>) -> (StatusCode, &'static str) {
    if !health.intake.has_room() {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many deliveries wait to be stored\n");
    }
    match timeout(STORE_TIME, health.store.cursor(PROBE)).await {
        Ok(Ok(_)) => (StatusCode::OK, "ok\n"),
        Ok(Err(failure)) => {
            warn!(error = &failure as &dyn std::error::Error, "the store cannot be read");
            (StatusCode::SERVICE_UNAVAILABLE, "the store cannot be read\n")
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer in time\n"),
    }
}
