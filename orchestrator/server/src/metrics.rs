//! `GET /metrics`, on a listener of its own: what stands there is for whoever runs the machine, and the other listener is
//! what a proxy shows to the world.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use cloud_code_metrics::{Accounts, Instruments, Pulses, Scrape};
use cloud_code_model::Clock;
use cloud_code_store::{Figures, OpenFigures, Waiting};
use jiff::Timestamp;
use tokio::time::timeout;
use tracing::warn;

/// How long the store may take. Prometheus gives up after ten seconds, and the other figures are worth having then.
const STORE_TIME: Duration = Duration::from_secs(5);

/// What a scrape reads.
#[derive(Clone)]
pub struct MetricsSetup {
    /// The rows.
    pub store: Arc<dyn Figures>,
    /// Against which ages are counted.
    pub clock: Arc<dyn Clock>,
    /// What was counted.
    pub counted: &'static Instruments,
    /// The loops.
    pub pulses: &'static Pulses,
    /// What the forge said.
    pub accounts: &'static Accounts,
    /// A folder on the disk that fills.
    pub home: PathBuf,
    /// The program's version.
    pub version: &'static str,
}

/// The route.
pub fn metrics_router(setup: MetricsSetup) -> Router {
    Router::new().route("/metrics", get(scraped)).with_state(Arc::new(setup))
}

async fn scraped(State(setup): State<Arc<MetricsSetup>>) -> Response {
    let text = scrape(&setup).await.text(setup.counted);
    ([(CONTENT_TYPE, cloud_code_metrics::CONTENT_TYPE)], text).into_response()
}

async fn scrape(setup: &MetricsSetup) -> Scrape {
    let mut scrape = Scrape::new();
    let figures = timeout(STORE_TIME, setup.store.open_figures()).await;
    scrape.store(matches!(figures, Ok(Ok(_))));
    match figures {
        Ok(Ok(figures)) => fill(&mut scrape, &figures, setup.clock.now()),
        Ok(Err(failure)) => {
            warn!(error = &failure as &dyn std::error::Error, "the store cannot be read for its figures");
        }
        Err(_elapsed) => warn!("the store does not answer in time for its figures"),
    }
    if let Some(free) = free_bytes(&setup.home) {
        scrape.disk(free);
    }
    scrape.build(setup.version);
    scrape.loops(setup.pulses);
    scrape.forge(setup.accounts);
    scrape
}

fn fill(scrape: &mut Scrape, figures: &OpenFigures, now: Timestamp) {
    // A clock that was set back counts as no time.
    let age = |at: Option<Timestamp>| {
        at.and_then(|at| Duration::try_from(now.duration_since(at)).ok()).unwrap_or_default()
    };
    let mut queue = Waiting::default();
    for tasks in &figures.tasks {
        scrape.tasks(&tasks.project, &tasks.status, tasks.count);
        if tasks.status == QUEUED {
            queue.count += tasks.count;
            queue.oldest_at = queue.oldest_at.into_iter().chain(tasks.oldest_at).min();
        }
    }
    scrape.queue(queue.count, age(queue.oldest_at));
    for (project, kind) in &figures.backing_off {
        scrape.backs_off(project, &kind.to_string());
    }
    scrape.deliveries(figures.deliveries.count, age(figures.deliveries.oldest_at));
    scrape.outbox(figures.requests.count, figures.notes.count);
}

const QUEUED: &str = cloud_code_model::TaskStatus::Queued.as_str();

/// Room on the disk of a folder, for a user without privileges.
pub fn free_bytes(folder: &std::path::Path) -> Option<u64> {
    let found = rustix::fs::statvfs(folder).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}
