//! Connections: taken, bounded, and ended in order.
//!
//! axum's own `serve` was not taken: it bounds neither the time a header may take nor the number of connections, and a
//! stranger who sends one byte a minute would hold them all.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::access::{self, RequestIds};
use crate::budget::Budget;
use crate::health::{self, Health, Part, Room, Stored};
use crate::intake::Intake;
use crate::quiet::Quiet;
use crate::setup::{Limits, ServerSetup};
use crate::webhook::{self, Webhook};

/// Pause after a connection could not be taken, as when no file handle is free. Shorter and the loop burns a processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Silence after which the kernel asks whether the other side is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(60);
/// Memory for the headers of a request. hyper's default is six times as much; GitHub sends about 1 KiB.
const HEADER_BYTES: usize = 64 * 1024;

/// Why serving ended before it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Nothing can be stored any more, so nothing may be taken in.
    #[error("the writer of deliveries ended by itself; see the log above, and start again")]
    WriterEnded,
    /// Some of what was taken in is still not on disk.
    #[error(
        "the store did not take the last deliveries within {seconds} s; the forge was not told that they are stored"
    )]
    StoreStuck {
        /// How long was waited.
        seconds: u64,
    },
}

/// The routes. For whoever adds routes of their own, or serves them another way; [`Intake`]'s writer has to run beside.
pub fn router(setup: &ServerSetup, intake: &Intake) -> Router {
    let own: [Arc<dyn Part>; 2] = [Arc::new(Room(intake.clone())), Arc::new(Stored(setup.store.clone()))];
    let health = Arc::new(Health::new(own.into_iter().chain(setup.parts.iter().cloned()).collect()));
    let mut router = Router::new()
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .with_state(health);
    if !setup.secrets.is_empty() {
        let hook = Webhook {
            intake: intake.clone(),
            clock: setup.clock.clone(),
            secrets: setup.secrets.clone(),
            budget: Budget::new(setup.limits.bodies),
            limits: setup.limits.clone(),
            refused: Quiet::default(),
        };
        let hooks =
            Router::new().route(webhook::WEBHOOK_PATH, post(webhook::github)).with_state(Arc::new(hook));
        router = router.merge(hooks);
    }
    let ids = Arc::new(RequestIds::new(setup.clock.now()));
    router.layer(from_fn_with_state(ids, access::log))
}

/// Serves until the token is cancelled. Then no connection is taken any more, requests that are under way are answered
/// within [`Limits::grace`], and everything that was taken in is stored before this returns.
pub async fn serve(
    listener: TcpListener,
    setup: ServerSetup,
    token: CancellationToken,
) -> Result<(), ServeError> {
    let (intake, writer) = Intake::new(setup.store.clone(), setup.look_again.clone(), setup.limits.queue);
    let router = router(&setup, &intake);
    drop(intake);
    let tracker = TaskTracker::new();
    let mut writing = tracker.spawn(writer.run());
    tracker.close();

    let ended_early = {
        let mut connections = pin!(accept(listener, router, &setup.limits, &token));
        tokio::select! {
            () = &mut connections => false,
            _ = &mut writing => true,
        }
    };
    if ended_early {
        return Err(ServeError::WriterEnded);
    }
    // The routes are gone, and with them every way in: the writer ends when it has stored the rest.
    let seconds = setup.limits.grace.as_secs();
    timeout(setup.limits.grace, tracker.wait()).await.map_err(|_| ServeError::StoreStuck { seconds })
}

/// Serves other routes within the same bounds, until the token is cancelled.
pub async fn serve_routes(listener: TcpListener, router: Router, limits: &Limits, token: &CancellationToken) {
    accept(listener, router, limits, token).await;
}

async fn accept(listener: TcpListener, router: Router, limits: &Limits, token: &CancellationToken) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.header_time).max_buf_size(HEADER_BYTES);
    let room = Arc::new(Semaphore::new(limits.connections.clamp(1, Semaphore::MAX_PERMITS)));
    let graceful = GracefulShutdown::new();
    let tracker = TaskTracker::new();
    // Ends connections that do not end by themselves, also when this future is dropped.
    let hard = CancellationToken::new();
    let _cut = hard.clone().drop_guard();
    loop {
        let Some(Ok(permit)) = unless(token, room.clone().acquire_owned()).await else { break };
        let stream = match unless(token, listener.accept()).await {
            Some(Ok((stream, _))) => stream,
            Some(Err(failure)) => {
                if !is_of_one_connection(&failure) {
                    warn!(error = &failure as &dyn std::error::Error, "a connection cannot be taken");
                    sleep(ACCEPT_PAUSE).await;
                }
                continue;
            }
            None => break,
        };
        prepare(&stream);
        let served = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router.clone()));
        let served = graceful.watch(served);
        let hard = hard.clone();
        tracker.spawn(async move {
            let _permit = permit;
            if let Some(Err(failure)) = unless(&hard, served).await {
                // Strangers hang up, and speak other protocols than HTTP.
                debug!(error = &failure as &dyn std::error::Error, "a connection broke");
            }
        });
    }
    drop(listener);
    tracker.close();
    if timeout(limits.grace, graceful.shutdown()).await.is_err() {
        info!(connections = tracker.len(), "connections that did not end are cut");
    }
    hard.cancel();
    tracker.wait().await;
}

async fn unless<T>(token: &CancellationToken, work: impl Future<Output = T>) -> Option<T> {
    token.run_until_cancelled(work).await
}

/// Whether only the connection that was being taken is broken, and the next one may be fine.
fn is_of_one_connection(failure: &io::Error) -> bool {
    matches!(
        failure.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}

fn prepare(stream: &TcpStream) {
    // Both only save time; a connection without them is as good.
    let set = stream.set_nodelay(true).and_then(|()| {
        rustix::net::sockopt::set_socket_keepalive(stream, true)?;
        rustix::net::sockopt::set_tcp_keepidle(stream, KEEP_ALIVE)?;
        Ok(())
    });
    if let Err(failure) = set {
        debug!(error = &failure as &dyn std::error::Error, "a connection's options cannot be set");
    }
}
