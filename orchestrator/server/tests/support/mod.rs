//! What the tests share: a store on disk, a clock that stands, and a sender that signs.

use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Request, StatusCode, request};
use axum::response::Response;
use cloud_code_model::Clock;
use cloud_code_server::{Intake, Limits, ServerSetup, router};
use cloud_code_store::{Database, Deliveries, DeliveryKey, HookTarget};
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use sha2::Sha256;
use tokio::sync::Notify;
use tower::ServiceExt as _;

pub const SECRET: &str = "It's a Secret to Everybody";

pub struct Standing;

impl Clock for Standing {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_760_000_000).unwrap()
    }
}

pub async fn opened(dir: &Path) -> Arc<Database> {
    Arc::new(Database::open(&dir.join("cloud-code.db")).await.unwrap())
}

pub fn setup(store: Arc<dyn Deliveries>) -> ServerSetup {
    ServerSetup {
        store,
        clock: Arc::new(Standing),
        secrets: vec![SECRET.into()],
        look_again: Arc::new(Notify::new()),
        parts: Vec::new(),
        limits: Limits::default(),
    }
}

/// The routes with their writer running.
pub fn routes(setup: &ServerSetup) -> axum::Router {
    let (intake, writer) = Intake::new(setup.store.clone(), setup.look_again.clone(), setup.limits.queue);
    tokio::spawn(writer.run());
    router(setup, &intake)
}

pub fn key(guid: &str) -> DeliveryKey {
    DeliveryKey { target: HookTarget { kind: "integration".into(), id: 7 }, guid: guid.into() }
}

pub fn signature(body: &[u8], secret: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

/// A delivery as GitHub sends it, without its body.
pub fn headers(event: &str, guid: &str, signature: &str) -> request::Builder {
    Request::post("/webhooks/github")
        .header("content-type", "application/json")
        .header("user-agent", "GitHub-Hookshot/044aadd")
        .header("x-github-event", event)
        .header("x-github-delivery", guid)
        .header("x-github-hook-id", "1")
        .header("x-github-hook-installation-target-type", "integration")
        .header("x-github-hook-installation-target-id", "7")
        .header("x-hub-signature-256", signature)
}

pub fn delivery(event: &str, guid: &str, body: &[u8]) -> Request<Body> {
    headers(event, guid, &signature(body, SECRET)).body(Body::from(body.to_vec())).unwrap()
}

pub async fn ask(routes: &axum::Router, request: Request<Body>) -> (StatusCode, String) {
    read(routes.clone().oneshot(request).await.unwrap()).await
}

pub async fn read(response: Response) -> (StatusCode, String) {
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}
