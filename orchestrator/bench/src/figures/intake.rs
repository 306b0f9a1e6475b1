//! Taking webhooks in: signature checked and committed to disk before the answer, beside an axum handler that only
//! answers. Both are called over loopback by the same sender, which knows nothing of either.
//!
//! Time is counted from when a delivery was due, not from when the sender came to it: a server that stalls then pays
//! for every delivery that waited behind the stall.

mod sender;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use cloud_code_model::Clock;
use cloud_code_server::{Limits, ServerSetup, serve};
use cloud_code_store::{Database, Deliveries as _, HookTarget};
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::sender::{Load, Pace};
use crate::interrupt;
use crate::measure::{WARM_UPS, sample};
use crate::result::{Measured, Promise, Row, Unit};
use crate::scene::Scene;

/// Promised: so many deliveries a second…
const RATE: u32 = 2_000;
/// …of which 99 in 100 are answered within so many milliseconds.
const P99_MILLIS: f64 = 20.0;
/// How long each side is called in each run.
const WINDOW: Duration = Duration::from_secs(10);
/// Runs of each side.
const RUNS: u32 = 3;
/// Threads of either server: the promise is for two processors, and the sender needs some of them as well.
const SERVER_THREADS: usize = 2;
/// The webhook's secret.
const SECRET: &str = "a secret of the bench";
/// What GitHub's users published of a comment on an issue (octokit/webhooks, MIT licence): 13 KB.
const BODY: &[u8] = include_bytes!("../../data/issue_comment.json");

/// Times of one window, in milliseconds, and how many deliveries were answered in a second.
struct Window {
    median: f64,
    p99: f64,
    rate: f64,
}

pub(super) fn measure(scene: &Scene) -> Result<Measured> {
    let (mut paced, mut flooded) = (Sides::default(), Sides::default());
    for run in 0..WARM_UPS + scene.runs(RUNS) {
        for (pace, sides) in [(Pace::PerSecond(RATE), &mut paced), (Pace::Flood, &mut flooded)] {
            interrupt::check()?;
            let ours = ours(scene, run, pace)?;
            let other = alternative(pace)?;
            if run >= WARM_UPS {
                sides.ours.push(ours);
                sides.other.push(other);
            }
        }
    }
    let name = "an axum handler that only answers";
    let what = |part: &str| format!("intake: {part} of {RATE} deliveries a second, checked and stored");
    let row = |what, unit, sides: &Sides, of: fn(&Window) -> f64, promise| -> Result<Row> {
        let (ours, other) = sides.samples(of)?;
        Ok(Row::compared(what, unit, &ours, (name, &other), promise))
    };
    let rows = vec![
        row(what("median"), Unit::Milliseconds, &paced, |window| window.median, Promise::Nothing)?,
        row(what("99 in 100"), Unit::Milliseconds, &paced, |window| window.p99, Promise::AtMost(P99_MILLIS))?,
        row(
            "intake: most deliveries a second".to_owned(),
            Unit::PerSecond,
            &flooded,
            |window| window.rate,
            Promise::AtLeast(f64::from(RATE)),
        )?,
    ];
    let note = format!(
        "intake: {} connections, {} bytes a delivery, {} s a run; sender and servers share this machine's processors",
        sender::CONNECTIONS,
        BODY.len(),
        WINDOW.as_secs()
    );
    Ok(Measured { rows, notes: vec![note] })
}

#[derive(Default)]
struct Sides {
    ours: Vec<Window>,
    other: Vec<Window>,
}

impl Sides {
    fn samples(&self, of: fn(&Window) -> f64) -> Result<(crate::stats::Sample, crate::stats::Sample)> {
        Ok((sample(self.ours.iter().map(of).collect())?, sample(self.other.iter().map(of).collect())?))
    }
}

struct MachineClock;

impl Clock for MachineClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

fn server() -> Result<Runtime> {
    Ok(Builder::new_multi_thread().worker_threads(SERVER_THREADS).enable_all().build()?)
}

fn ours(scene: &Scene, run: u32, pace: Pace) -> Result<Window> {
    let path = scene.folder("intake")?.join(format!("{run}-{}.db", pace.name()));
    let runtime = server()?;
    let store = Arc::new(runtime.block_on(Database::open(&path))?);
    let setup = ServerSetup {
        store: store.clone(),
        clock: Arc::new(MachineClock),
        secrets: vec![SECRET.into()],
        look_again: Arc::new(Notify::new()),
        parts: Vec::new(),
        limits: Limits::default(),
    };
    let token = CancellationToken::new();
    let (listener, address) = listen(&runtime)?;
    let serving = runtime.spawn(serve(listener, setup, token.clone()));
    let load = call(address, pace)?;
    token.cancel();
    runtime.block_on(serving)??;
    // An answer whose delivery is not on disk is a lie, however fast it was.
    let hook = HookTarget { kind: sender::TARGET_TYPE.to_owned(), id: sender::TARGET_ID };
    let guids: Vec<String> = (0..load.numbers).map(sender::guid).collect();
    let stored = runtime.block_on(store.seen(&hook, &guids))?.len();
    if stored != load.sent {
        bail!("{} deliveries were answered and {stored} are stored", load.sent);
    }
    runtime.block_on(store.close());
    Ok(load.into())
}

fn alternative(pace: Pace) -> Result<Window> {
    let runtime = server()?;
    let (listener, address) = listen(&runtime)?;
    let routes = Router::new().route(sender::PATH, post(async |_body: Bytes| StatusCode::ACCEPTED));
    let serving = runtime.spawn(async move { axum::serve(listener, routes).await });
    let load = call(address, pace)?;
    serving.abort();
    Ok(load.into())
}

fn listen(runtime: &Runtime) -> Result<(TcpListener, SocketAddr)> {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).context("cannot listen on loopback")?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn call(address: SocketAddr, pace: Pace) -> Result<Load> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(sender::send(address, pace, WINDOW, BODY, SECRET))
}

impl From<Load> for Window {
    fn from(load: Load) -> Self {
        let mut times = load.times;
        times.sort_unstable();
        let at = |hundredth: usize| {
            let time = times.get((times.len() * hundredth / 100).min(times.len().saturating_sub(1)));
            time.copied().unwrap_or_default().as_secs_f64() * 1_000.0
        };
        #[expect(clippy::cast_precision_loss, reason = "some ten thousands")]
        let rate = load.sent as f64 / load.took.as_secs_f64();
        Self { median: at(50), p99: at(99), rate }
    }
}
