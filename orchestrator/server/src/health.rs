//! Whether the process lives, and whether it can do its work: part by part, so that whoever reads it knows where to look.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use axum::Json;
use axum::extract::State;
use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use cloud_code_metrics::{Accounts, Pulses};
use cloud_code_store::Deliveries;
use futures_util::future::join_all;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::intake::Intake;

/// How long a part may take to answer. A proxy asks every few seconds and gives up after about as long.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// How long an answer is good for. Anybody may ask, and each question costs a look at the disk, the store and the engine.
const KEEP: Duration = Duration::from_secs(1);
/// A name under which nothing stands: the question is only whether the store answers.
const PROBE: &str = "readyz";

/// A part that the service's work depends on.
#[async_trait]
pub trait Part: Send + Sync {
    /// Its name, a word that stays: people's alerts name it.
    fn name(&self) -> &'static str;
    /// Why it is not ready. A stranger may read it: no path, no address, no name of a person.
    async fn trouble(&self) -> Option<String>;
}

/// Deliveries find room in memory.
pub(crate) struct Room(pub(crate) Intake);

#[async_trait]
impl Part for Room {
    fn name(&self) -> &'static str {
        "intake"
    }
    async fn trouble(&self) -> Option<String> {
        (!self.0.has_room()).then(|| "too many deliveries wait to be stored".to_owned())
    }
}

/// The store answers.
pub(crate) struct Stored(pub(crate) Arc<dyn Deliveries>);

#[async_trait]
impl Part for Stored {
    fn name(&self) -> &'static str {
        "store"
    }
    async fn trouble(&self) -> Option<String> {
        let failure = self.0.cursor(PROBE).await.err()?;
        warn!(error = &failure as &dyn std::error::Error, "the store cannot be read");
        Some("the store cannot be read".to_owned())
    }
}

/// The loops of the service look again and again.
pub struct Loops(pub &'static Pulses);

#[async_trait]
impl Part for Loops {
    fn name(&self) -> &'static str {
        "loops"
    }
    async fn trouble(&self) -> Option<String> {
        let late = self.0.late();
        let said: Vec<String> =
            late.iter().map(|late| format!("`{}` for {} s", late.name, late.silent.as_secs())).collect();
        (!said.is_empty()).then(|| format!("no sign of life of {}", said.join(", ")))
    }
}

/// The forge takes our keys. Read from its last answers; nothing is asked for this.
pub struct Keys(pub &'static Accounts);

#[async_trait]
impl Part for Keys {
    fn name(&self) -> &'static str {
        "forge"
    }
    async fn trouble(&self) -> Option<String> {
        let refused = self.0.refused();
        let said = || format!("the forge refuses the credentials of {}", refused.join(", "));
        (!refused.is_empty()).then(said)
    }
}

/// What a part said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Said {
    name: &'static str,
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

/// What all parts said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Report {
    ready: bool,
    parts: Vec<Said>,
}

impl Report {
    fn status(&self) -> StatusCode {
        if self.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
    }

    /// `ok`, or a line for each part that is not ready.
    fn text(&self) -> String {
        if self.ready {
            return "ok\n".to_owned();
        }
        let mut text = String::new();
        for Said { name, why, .. } in &self.parts {
            if let Some(why) = why {
                let _ = writeln!(text, "{name}: {why}");
            }
        }
        text
    }
}

/// What readiness depends on.
pub(crate) struct Health {
    parts: Vec<Arc<dyn Part>>,
    last: Mutex<Option<(Instant, Report)>>,
}

impl Health {
    pub(crate) fn new(parts: Vec<Arc<dyn Part>>) -> Self {
        Self { parts, last: Mutex::default() }
    }

    async fn report(&self) -> Report {
        // Whoever asks meanwhile waits for the same answer.
        let mut last = self.last.lock().await;
        if let Some((at, report)) = last.as_ref()
            && at.elapsed() < KEEP
        {
            return report.clone();
        }
        let parts = join_all(self.parts.iter().map(|part| ask(part.as_ref()))).await;
        let report = Report { ready: parts.iter().all(|part| part.ready), parts };
        let was_ready = last.as_ref().is_none_or(|(_, report)| report.ready);
        // Told once, and not with each question of a stranger.
        match (was_ready, report.ready) {
            (true, false) => warn!(reason = report.text().trim_end(), "the service is not ready"),
            (false, true) => info!("the service is ready again"),
            (true, true) | (false, false) => {}
        }
        *last = Some((Instant::now(), report.clone()));
        report
    }
}

async fn ask(part: &dyn Part) -> Said {
    let why = match timeout(ANSWER_WITHIN, part.trouble()).await {
        Ok(why) => why,
        Err(_elapsed) => Some("it does not answer in time".to_owned()),
    };
    Said { name: part.name(), ready: why.is_none(), why }
}

/// `GET /healthz`.
pub(crate) async fn live() -> &'static str {
    "ok\n"
}

/// `GET /readyz`.
pub(crate) async fn ready(State(health): State<Arc<Health>>, headers: HeaderMap) -> Response {
    let report = health.report().await;
    let accepts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    if accepts.into_iter().any(|accepted| accepted.contains("application/json")) {
        return (report.status(), Json(report)).into_response();
    }
    (report.status(), report.text()).into_response()
}
