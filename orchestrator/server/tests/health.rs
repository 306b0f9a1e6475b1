//! Which part is not ready, and what is served to who measures.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(dead_code, unreachable_pub, reason = "the support module is shared")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use cloud_code_metrics::{Accounts, Credentials, Instruments, Pulses};
use cloud_code_server::{Keys, Loops, MetricsSetup, Part, ServerSetup, metrics_router};
use serde_json::{Value, json};

use support::{Standing, ask, opened, routes, setup};

struct Engine(AtomicBool);

#[async_trait]
impl Part for Engine {
    fn name(&self) -> &'static str {
        "runtime"
    }
    async fn trouble(&self) -> Option<String> {
        match self.0.load(Ordering::Relaxed) {
            true => None,
            false => Some("the engine does not answer".to_owned()),
        }
    }
}

struct Hangs;

#[async_trait]
impl Part for Hangs {
    fn name(&self) -> &'static str {
        "forge"
    }
    async fn trouble(&self) -> Option<String> {
        std::future::pending().await
    }
}

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

fn json_of(path: &str) -> Request<Body> {
    Request::get(path).header("accept", "application/json").body(Body::empty()).unwrap()
}

fn kept<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

#[tokio::test]
async fn each_part_says_whether_it_is_ready_and_a_recovery_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let engine = Arc::new(Engine(AtomicBool::new(false)));
    let setup = ServerSetup { parts: vec![engine.clone()], ..setup(opened(dir.path()).await) };
    let routes = routes(&setup);
    let (status, body) = ask(&routes, json_of("/readyz")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        serde_json::from_str::<Value>(&body).unwrap(),
        json!({"ready": false, "parts": [
            {"name": "intake", "ready": true},
            {"name": "store", "ready": true},
            {"name": "runtime", "ready": false, "why": "the engine does not answer"},
        ]})
    );
    assert_eq!(ask(&routes, get("/readyz")).await.1, "runtime: the engine does not answer\n");
    assert_eq!(ask(&routes, get("/healthz")).await, (StatusCode::OK, "ok\n".to_owned()));
    engine.0.store(true, Ordering::Relaxed);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while ask(&routes, get("/readyz")).await != (StatusCode::OK, "ok\n".to_owned()) {
        assert!(tokio::time::Instant::now() < deadline, "it is never ready again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_part_that_hangs_is_told_and_holds_up_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    let parts: Vec<Arc<dyn Part>> = vec![Arc::new(Hangs), Arc::new(Engine(AtomicBool::new(true)))];
    let routes = routes(&ServerSetup { parts, ..setup(opened(dir.path()).await) });
    let (status, said) = ask(&routes, get("/readyz")).await;
    assert_eq!(
        (status, said.as_str()),
        (StatusCode::SERVICE_UNAVAILABLE, "forge: it does not answer in time\n")
    );
}

#[tokio::test]
async fn a_silent_loop_and_a_refused_key_are_named() {
    let (pulses, accounts) = (kept(Pulses::default()), kept(Accounts::default()));
    let (loops, keys) = (Loops(pulses), Keys(accounts));
    assert_eq!((loops.trouble().await, keys.trouble().await), (None, None));
    let drivers = pulses.begin("drivers", Duration::ZERO);
    accounts.credentials("own", Credentials::Refused);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while loops.trouble().await.is_none() {
        assert!(tokio::time::Instant::now() < deadline, "the silence is never noticed");
        tokio::task::yield_now().await;
    }
    assert_eq!(loops.trouble().await.unwrap(), "no sign of life of `drivers` for 0 s");
    assert_eq!(keys.trouble().await.unwrap(), "the forge refuses the credentials of own");
    accounts.credentials("own", Credentials::Taken);
    drivers.ends();
    assert_eq!((loops.trouble().await, keys.trouble().await), (None, None));
}

#[tokio::test]
async fn a_store_that_is_gone_leaves_the_other_figures() {
    let dir = tempfile::tempdir().unwrap();
    let store = opened(dir.path()).await;
    let routes = metrics_router(MetricsSetup {
        store: store.clone(),
        clock: Arc::new(Standing),
        counted: kept(Instruments::new()),
        pulses: kept(Pulses::default()),
        accounts: kept(Accounts::default()),
        home: dir.path().to_owned(),
        version: "1.2.3",
    });
    let (status, text) = ask(&routes, get("/metrics")).await;
    assert_eq!(status, StatusCode::OK);
    for line in ["cloud_code_store_up 1.0", "cloud_code_queue_depth 0.0", "cloud_code_notes_waiting 0.0"] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in:\n{text}");
    }
    store.close().await;
    let (status, text) = ask(&routes, get("/metrics")).await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains("cloud_code_store_up 0.0\n"), "{text}");
    assert!(!text.contains("cloud_code_queue_depth"), "nobody knows it:\n{text}");
    assert!(text.contains("process_resident_memory_bytes"), "{text}");
}
