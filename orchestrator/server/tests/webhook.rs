//! The webhook's route: what it takes, what it refuses, and what it leaves on disk.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(unreachable_pub, reason = "the support module is shared by two tests")]

mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, Request, StatusCode};
use cloud_code_server::{Limits, ServerSetup};
use cloud_code_store::{
    Deliveries, Delivery, DeliveryKey, DeliverySource, DeliveryState, Forget, Forgotten, HookTarget,
    NewDelivery, Put, StoreError,
};
use jiff::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::sync::{Notify, Semaphore};
use tower::ServiceExt as _;

use support::{SECRET, ask, delivery, headers, key, opened, read, routes, setup, signature};

const BODY: &[u8] = br#"{"action":"created","comment":{"body":"/cloud-code run"}}"#;

#[tokio::test]
async fn a_signed_delivery_is_on_disk_before_its_answer_and_somebody_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = opened(dir.path()).await;
    let setup = setup(store.clone());
    let routes = routes(&setup);
    let answer = ask(&routes, delivery("issue_comment", "a-1", BODY)).await;
    assert_eq!(answer, (StatusCode::ACCEPTED, r#"{"delivery":"a-1","stored":true}"#.to_owned()));
    let kept = store.next(10).await.unwrap();
    assert_eq!(kept.len(), 1);
    let kept = &kept.first().unwrap().delivery;
    assert_eq!(
        (&kept.key, kept.event.as_str(), kept.source),
        (&key("a-1"), "issue_comment", DeliverySource::Webhook)
    );
    assert_eq!(kept.body, BODY);
    tokio::time::timeout(Duration::from_secs(10), setup.look_again.notified()).await.unwrap();

    let again = ask(&routes, delivery("issue_comment", "a-1", BODY)).await;
    assert_eq!(again, (StatusCode::ACCEPTED, r#"{"delivery":"a-1","stored":false}"#.to_owned()));
    assert_eq!(store.next(10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_ping_is_answered_and_an_event_we_do_not_know_leaves_its_key_alone() {
    let dir = tempfile::tempdir().unwrap();
    let store = opened(dir.path()).await;
    let setup = setup(store.clone());
    let routes = routes(&setup);
    let ping = ask(&routes, delivery("ping", "p-1", br#"{"zen":"Design for failure."}"#)).await;
    assert_eq!(ping, (StatusCode::OK, r#"{"delivery":"p-1","stored":false}"#.to_owned()));
    let star = ask(&routes, delivery("star", "s-1", BODY)).await;
    assert_eq!(star, (StatusCode::ACCEPTED, r#"{"delivery":"s-1","stored":true}"#.to_owned()));
    assert_eq!(store.next(10).await.unwrap(), []);
    let kept = store.delivery(&key("s-1")).await.unwrap().unwrap();
    assert_eq!((kept.delivery.state, kept.delivery.body), (DeliveryState::Ignored, Vec::new()));
    assert_eq!(store.delivery(&key("p-1")).await.unwrap(), None);
}

#[tokio::test]
async fn a_wrong_signature_is_refused_alike_whatever_is_wrong_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = opened(dir.path()).await;
    let routes = routes(&setup(store.clone()));
    let mut answers = HashSet::new();
    for wrong in [
        signature(BODY, "another secret"),
        signature(b"another body", SECRET),
        signature(BODY, SECRET).to_uppercase(),
        signature(BODY, SECRET).replace("sha256=", "sha1="),
        String::new(),
    ] {
        let request = headers("issue_comment", "a-1", &wrong).body(Body::from(BODY)).unwrap();
        answers.insert(ask(&routes, request).await);
    }
    let mut unsigned = delivery("issue_comment", "a-1", BODY);
    unsigned.headers_mut().remove("x-hub-signature-256");
    answers.insert(ask(&routes, unsigned).await);
    let only = (StatusCode::UNAUTHORIZED, r#"{"error":"the delivery is not accepted"}"#.to_owned());
    assert_eq!(answers, HashSet::from([only]));
    assert_eq!(store.delivery(&key("a-1")).await.unwrap(), None);
}

#[tokio::test]
async fn the_old_and_the_new_secret_both_fit_while_one_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    let store = opened(dir.path()).await;
    let both = ServerSetup { secrets: vec!["new".into(), "old".into()], ..setup(store) };
    let routes = routes(&both);
    for (secret, status) in
        [("new", StatusCode::ACCEPTED), ("old", StatusCode::ACCEPTED), ("older", StatusCode::UNAUTHORIZED)]
    {
        let request = headers("issues", secret, &signature(BODY, secret)).body(Body::from(BODY)).unwrap();
        assert_eq!(ask(&routes, request).await.0, status, "{secret}");
    }
}

#[tokio::test]
async fn without_a_secret_nothing_is_taken_in() {
    let dir = tempfile::tempdir().unwrap();
    let store = opened(dir.path()).await;
    let routes = routes(&ServerSetup { secrets: Vec::new(), ..setup(store.clone()) });
    let request = headers("issues", "a-1", &signature(BODY, "")).body(Body::from(BODY)).unwrap();
    assert_eq!(ask(&routes, request).await.0, StatusCode::NOT_FOUND);
    assert_eq!(store.delivery(&key("a-1")).await.unwrap(), None);
}

#[tokio::test]
async fn what_is_no_delivery_is_told_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let routes = routes(&setup(opened(dir.path()).await));
    let changed = |name: &'static str, value: &'static str| {
        let mut request = delivery("issues", "a-1", BODY);
        request.headers_mut().insert(name, HeaderValue::from_static(value));
        request
    };
    for (name, value, status) in [
        ("content-type", "application/x-www-form-urlencoded", StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("x-github-event", "Issues!", StatusCode::BAD_REQUEST),
        ("x-github-delivery", "../x", StatusCode::BAD_REQUEST),
        ("x-github-hook-installation-target-id", "18446744073709551615", StatusCode::BAD_REQUEST),
    ] {
        let (told, body) = ask(&routes, changed(name, value)).await;
        assert_eq!(told, status, "{name}");
        assert!(!body.contains(value), "{body}");
    }
    let get = Request::get("/webhooks/github").body(Body::empty()).unwrap();
    assert_eq!(ask(&routes, get).await.0, StatusCode::METHOD_NOT_ALLOWED);
}

/// A body in pieces, without an announced length.
fn in_pieces(body: &[u8]) -> Body {
    let pieces: Vec<Result<Bytes, std::io::Error>> =
        body.chunks(64 * 1024).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    Body::from_stream(futures_util::stream::iter(pieces))
}

#[tokio::test]
async fn the_largest_body_github_sends_is_taken_and_one_byte_beyond_the_bound_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = opened(dir.path()).await;
    let limits = Limits { body_time: Duration::from_secs(120), ..Limits::default() };
    let routes = routes(&ServerSetup { limits: limits.clone(), ..setup(store.clone()) });
    for (guid, length) in [("mb", 25_000_000), ("mib", limits.body)] {
        let body = vec![b'x'; length];
        assert_eq!(ask(&routes, delivery("push", guid, &body)).await.0, StatusCode::ACCEPTED, "{length}");
        assert_eq!(store.delivery(&key(guid)).await.unwrap().unwrap().delivery.body.len(), length);
    }
    let over = vec![b'x'; limits.body + 1];
    let signed = signature(&over, SECRET);
    let announced = headers("push", "over", &signed).header("content-length", over.len());
    assert_eq!(ask(&routes, announced.body(Body::empty()).unwrap()).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    let request = headers("push", "over", &signed).body(in_pieces(&over)).unwrap();
    assert_eq!(ask(&routes, request).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(store.delivery(&key("over")).await.unwrap(), None);
}

#[tokio::test]
async fn bodies_together_have_a_bound_that_is_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits { bodies: 64 * 1024, body_time: Duration::from_secs(1), ..Limits::default() };
    let routes = routes(&ServerSetup { limits, ..setup(opened(dir.path()).await) });
    let big = vec![b'x'; 48 * 1024];
    // The first one holds its part and never ends.
    let piece: Result<Bytes, std::io::Error> = Ok(Bytes::from(big.clone()));
    let taken = Arc::new(Notify::new());
    let told = taken.clone();
    let endless = futures_util::stream::once(async move { piece }).chain_pending(told);
    let request = headers("push", "slow", &signature(&big, SECRET)).body(Body::from_stream(endless)).unwrap();
    let slow = tokio::spawn({
        let routes = routes.clone();
        async move { read(routes.oneshot(request).await.unwrap()).await.0 }
    });
    taken.notified().await;
    let response = routes.clone().oneshot(delivery("push", "b", &big)).await.unwrap();
    assert_eq!(response.headers().get("retry-after").unwrap(), "5");
    assert_eq!(read(response).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(slow.await.unwrap(), StatusCode::REQUEST_TIMEOUT);
    assert_eq!(ask(&routes, delivery("push", "b", &big)).await.0, StatusCode::ACCEPTED);
}

trait ChainPending: futures_util::Stream + Sized {
    /// After the last piece: tell, and never end.
    fn chain_pending(self, told: Arc<Notify>) -> impl futures_util::Stream<Item = Self::Item> + Send
    where
        Self: Send,
        Self::Item: Send,
    {
        use futures_util::StreamExt as _;
        self.chain(futures_util::stream::once(async move {
            told.notify_one();
            std::future::pending().await
        }))
    }
}

impl<S: futures_util::Stream> ChainPending for S {}

/// A store whose answers to `put` wait for a permit, after the commit.
struct Slow<S> {
    inner: Arc<S>,
    committed: Notify,
    answers: Semaphore,
}

#[async_trait]
impl<S: Deliveries> Deliveries for Slow<S> {
    async fn put(&self, deliveries: &[NewDelivery]) -> Result<Vec<Put>, StoreError> {
        let put = self.inner.put(deliveries).await;
        self.committed.notify_one();
        self.answers.acquire().await.unwrap().forget();
        put
    }
    async fn next_after(&self, seq: u64, limit: u32) -> Result<Vec<Delivery>, StoreError> {
        self.inner.next_after(seq, limit).await
    }
    async fn cursors(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        self.inner.cursors(prefix).await
    }
    async fn drop_cursor(&self, name: &str, value: &str) -> Result<(), StoreError> {
        self.inner.drop_cursor(name, value).await
    }
    async fn delivery(&self, key: &DeliveryKey) -> Result<Option<Delivery>, StoreError> {
        self.inner.delivery(key).await
    }
    async fn settle(
        &self,
        key: &DeliveryKey,
        state: DeliveryState,
        note: Option<&str>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.inner.settle(key, state, note, at).await
    }
    async fn seen(&self, target: &HookTarget, guids: &[String]) -> Result<HashSet<String>, StoreError> {
        self.inner.seen(target, guids).await
    }
    async fn last_received(&self, target: &HookTarget) -> Result<Option<Timestamp>, StoreError> {
        self.inner.last_received(target).await
    }
    async fn forget(&self, what: Forget) -> Result<Forgotten, StoreError> {
        self.inner.forget(what).await
    }
    async fn cursor(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.inner.cursor(name).await
    }
    async fn set_cursor(&self, name: &str, value: &str) -> Result<(), StoreError> {
        self.inner.set_cursor(name, value).await
    }
}

fn slow<S: Deliveries>(inner: Arc<S>) -> Arc<Slow<S>> {
    Arc::new(Slow { inner, committed: Notify::new(), answers: Semaphore::new(0) })
}

#[tokio::test]
async fn a_death_between_commit_and_answer_makes_the_redelivery_a_duplicate() {
    let dir = tempfile::tempdir().unwrap();
    let dying = slow(opened(dir.path()).await);
    let routes_of_the_dying = routes(&setup(dying.clone()));
    let asked =
        tokio::spawn(async move { ask(&routes_of_the_dying, delivery("issue_comment", "a-1", BODY)).await });
    dying.committed.notified().await;
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled(), "it was answered before it died");

    let store = opened(dir.path()).await;
    let answer = ask(&routes(&setup(store.clone())), delivery("issue_comment", "a-1", BODY)).await;
    assert_eq!(answer.1, r#"{"delivery":"a-1","stored":false}"#);
    assert_eq!(store.next(10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_full_queue_says_come_again_and_is_not_ready() {
    let dir = tempfile::tempdir().unwrap();
    let store = slow(opened(dir.path()).await);
    let limits = Limits { queue: 1, ..Limits::default() };
    let routes = routes(&ServerSetup { limits, ..setup(store.clone()) });
    let ready = || Request::get("/readyz").body(Body::empty()).unwrap();
    assert_eq!(ask(&routes, ready()).await.0, StatusCode::OK);
    let ask_later = |guid: &'static str| {
        let routes = routes.clone();
        tokio::spawn(async move { ask(&routes, delivery("issues", guid, BODY)).await.0 })
    };
    // One is being written, one waits.
    let first = ask_later("1");
    store.committed.notified().await;
    let second = ask_later("2");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while ask(&routes, ready()).await.0 == StatusCode::OK {
        assert!(tokio::time::Instant::now() < deadline, "the queue never filled");
        tokio::task::yield_now().await;
    }
    let response = routes.clone().oneshot(delivery("issues", "3", BODY)).await.unwrap();
    assert_eq!(response.headers().get("retry-after").unwrap(), "5");
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    store.answers.add_permits(10);
    assert_eq!((first.await.unwrap(), second.await.unwrap()), (StatusCode::ACCEPTED, StatusCode::ACCEPTED));
    assert_eq!(ask(&routes, delivery("issues", "3", BODY)).await.0, StatusCode::ACCEPTED);
    assert_eq!(store.next(10).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_store_that_is_gone_says_come_again_and_is_not_ready() {
    let dir = tempfile::tempdir().unwrap();
    let store = opened(dir.path()).await;
    let routes = routes(&setup(store.clone()));
    store.close().await;
    assert_eq!(ask(&routes, delivery("issues", "1", BODY)).await.0, StatusCode::SERVICE_UNAVAILABLE);
    let get = |path: &str| Request::get(path).body(Body::empty()).unwrap();
    assert_eq!(ask(&routes, get("/readyz")).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(ask(&routes, get("/healthz")).await, (StatusCode::OK, "ok\n".to_owned()));
}

fn header_names() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "content-type",
        "content-length",
        "transfer-encoding",
        "x-github-event",
        "x-github-delivery",
        "x-github-hook-installation-target-type",
        "x-github-hook-installation-target-id",
        "x-hub-signature-256",
        "x-request-id",
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Whatever stands in the headers and the body, signed or not, it is the sender's mistake and not ours.
    #[test]
    fn no_request_makes_a_server_error(
        changes in vec((header_names(), prop::option::of(vec(any::<u8>(), 0..80))), 0..4),
        body in vec(any::<u8>(), 0..2_000),
        method in prop::sample::select(vec!["POST", "GET", "PUT", "OPTIONS", "HEAD"]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let routes = routes(&setup(opened(dir.path()).await));
            let mut request = delivery("issues", "a-1", &body);
            *request.method_mut() = method.parse().unwrap();
            for (name, value) in &changes {
                match value.as_deref().map(HeaderValue::from_bytes) {
                    Some(Ok(value)) => {
                        request.headers_mut().append(HeaderName::from_static(name), value);
                    }
                    Some(Err(_)) => {}
                    None => {
                        request.headers_mut().remove(*name);
                    }
                }
            }
            let status = routes.oneshot(request).await.unwrap().status();
            assert!(!status.is_server_error(), "{status}");
        });
    }
}
