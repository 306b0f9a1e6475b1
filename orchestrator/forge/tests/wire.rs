//! What goes over the wire, seen by a server that answers what a test tells it to: for answers that no proper forge
//! gives on request, and for what a stateful fake would hide.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use cloud_code_forge::{
    Access, Credentials, Effect, Forge, ForgeError, Github, LabelSpec, Marker, Priority, PullUpdate,
};
use serde_json::{Value, json};

/// A request as it came.
#[derive(Debug, Clone)]
struct Seen {
    line: String,
    token: Option<String>,
    agent: Option<String>,
    etag: Option<String>,
    body: Value,
}

/// What is answered: a status, headers, a body.
type Reply = (u16, Vec<(&'static str, String)>, String);
type Shared = (Arc<Mutex<Vec<Seen>>>, Arc<Script>);
type Script = dyn Fn(&Seen, usize) -> Reply + Send + Sync;

struct Double {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Double {
    /// Answers by `script`, which also gets how many requests of the same line came before.
    async fn start(script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Script> = Arc::new(script);
        let app = axum::Router::new().fallback(answer).with_state((Arc::clone(&seen), script));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, seen }
    }

    fn lines(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|seen| seen.line.clone()).collect()
    }

    fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|seen| *seen == line).count()
    }
}

async fn answer(State((seen, script)): State<Shared>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let header = |name: &str| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let now = Seen {
        line: format!("{} {}", parts.method, parts.uri),
        token: header("authorization"),
        agent: header("user-agent"),
        etag: header("if-none-match"),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    };
    let before = {
        let mut seen = seen.lock().unwrap();
        let before = seen.iter().filter(|seen| seen.line == now.line).count();
        seen.push(now.clone());
        before
    };
    let (status, headers, text) = script(&now, before);
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(Body::from(text)).unwrap()
}

fn ok(value: Value) -> Reply {
    (200, Vec::new(), value.to_string())
}

fn repository() -> Value {
    json!({
        "id": 7, "full_name": "acme/shop", "default_branch": "main", "private": false, "fork": false,
        "clone_url": "http://git.example/acme/shop.git", "html_url": "http://git.example/acme/shop",
        "permissions": {"push": true, "pull": true, "admin": false},
    })
}

fn pull(draft: bool) -> Value {
    let side = |branch: &str| json!({"ref": branch, "sha": "1".repeat(40), "repo": {"id": 7, "full_name": "acme/shop"}});
    json!({
        "number": 3, "node_id": "PR_3", "html_url": "http://git.example/acme/shop/pull/3", "title": "t", "body": null,
        "user": null, "state": "open", "draft": draft, "merged_at": null, "updated_at": "2026-01-02T03:04:05Z", "head": side("work"), "base": side("main"),
        "mergeable": null,
    })
}

const TOKEN: &str = "ghp_0123456789012345678901234567890123456";

async fn forge(double: &Double, prefix: &str) -> Arc<dyn Forge> {
    let credentials = Credentials::Token(TOKEN.into());
    let github = Github::connect(common::config(format!("{}{prefix}", double.url), credentials)).unwrap();
    github.repository(&"acme/shop".parse().unwrap()).await.unwrap()
}

#[tokio::test]
async fn an_enterprise_server_is_asked_below_its_prefix_and_graphql_beside_it() {
    let double = Double::start(|seen, before| match seen.line.as_str() {
        "GET /api/v3/repos/acme/shop" => ok(repository()),
        "GET /api/v3/repos/acme/shop/pulls/3" => ok(pull(before == 0)),
        "POST /api/graphql" => ok(json!({"data": {}})),
        other => panic!("{other}"),
    })
    .await;
    let forge = forge(&double, "/api/v3/").await;
    let ready = PullUpdate { ready: true, ..PullUpdate::default() };
    assert!(!forge.update_pull(3, &ready).await.unwrap().draft);
    let seen = double.seen.lock().unwrap().clone();
    let bearer = format!("Bearer {TOKEN}");
    assert!(seen.iter().all(|seen| seen.token.as_ref() == Some(&bearer)), "{seen:?}");
    assert!(seen.iter().all(|seen| seen.agent.as_deref() == Some("cloud-code-test")), "{seen:?}");
    let graph = seen.iter().find(|seen| seen.line.starts_with("POST")).unwrap();
    assert_eq!(graph.body["variables"], json!({"id": "PR_3"}));
}

#[tokio::test]
async fn graphql_refusals_are_refusals() {
    let double = Double::start(|seen, _| match seen.line.as_str() {
        "GET /repos/acme/shop" => ok(repository()),
        "GET /repos/acme/shop/pulls/3" => ok(pull(true)),
        "POST /graphql" => {
            ok(json!({"data": null, "errors": [{"type": "FORBIDDEN", "message": "Resource not accessible"}]}))
        }
        other => panic!("{other}"),
    })
    .await;
    let ready = PullUpdate { ready: true, ..PullUpdate::default() };
    let refused = forge(&double, "").await.update_pull(3, &ready).await;
    let message = "Resource not accessible".to_owned();
    assert_eq!(refused, Err(ForgeError::Forbidden { message, permission: None }));
}

#[tokio::test]
async fn reads_are_tried_again_and_writes_are_not() {
    let double = Double::start(|seen, before| match (seen.line.as_str(), before) {
        ("GET /repos/acme/shop", _) => ok(repository()),
        ("GET /repos/acme/shop/pulls/3", 0 | 1) => (502, Vec::new(), "<html>".to_owned()),
        ("GET /repos/acme/shop/pulls/3", 2) => ok(pull(true)),
        ("PATCH /repos/acme/shop/pulls/3", _) => (502, Vec::new(), "<html>".to_owned()),
        other => panic!("{other:?}"),
    })
    .await;
    let forge = forge(&double, "").await;
    assert!(forge.pull(3).await.unwrap().draft);
    let update = PullUpdate { title: Some("Better".to_owned()), ..PullUpdate::default() };
    let failed = forge.update_pull(3, &update).await;
    assert!(matches!(failed, Err(ForgeError::Unreachable { effect: Effect::Unknown, .. })), "{failed:?}");
    assert_eq!(double.count("PATCH /repos/acme/shop/pulls/3"), 1);
}

#[tokio::test]
async fn a_plain_403_is_never_asked_again() {
    let double = Double::start(|seen, _| match seen.line.as_str() {
        "GET /repos/acme/shop" => ok(repository()),
        _ => (
            403,
            Vec::new(),
            json!({"message": "Resource not accessible by personal access token"}).to_string(),
        ),
    })
    .await;
    let refused = forge(&double, "").await.pull(3).await;
    assert!(matches!(refused, Err(ForgeError::Forbidden { .. })), "{refused:?}");
    assert_eq!(double.count("GET /repos/acme/shop/pulls/3"), 1);
}

#[tokio::test]
async fn an_unchanged_answer_is_taken_from_memory() {
    let double = Double::start(|seen, _| match (seen.line.as_str(), seen.etag.as_deref()) {
        ("GET /repos/acme/shop", _) => ok(repository()),
        (_, None) => (200, vec![("etag", "W/\"1\"".to_owned())], pull(true).to_string()),
        (_, Some("W/\"1\"")) => (304, Vec::new(), String::new()),
        other => panic!("{other:?}"),
    })
    .await;
    let forge = forge(&double, "").await;
    assert_eq!(forge.pull(3).await.unwrap(), forge.pull(3).await.unwrap());
    assert_eq!(double.count("GET /repos/acme/shop/pulls/3"), 2);
}

#[tokio::test]
async fn the_token_is_not_sent_to_where_a_redirection_leads_outside() {
    let outside = Double::start(|_, _| ok(pull(true))).await;
    let elsewhere = format!("{}/pulls/3", outside.url);
    let double = Double::start(move |seen, _| match seen.line.as_str() {
        "GET /repos/acme/shop" => ok(repository()),
        _ => (301, vec![("location", elsewhere.clone())], "{}".to_owned()),
    })
    .await;
    let refused = forge(&double, "").await.pull(3).await;
    assert!(matches!(refused, Err(ForgeError::Unexpected { .. })), "{refused:?}");
    assert!(outside.lines().is_empty());
}

#[tokio::test]
async fn a_name_that_another_repository_took_is_not_ours() {
    let double = Double::start(|seen, before| {
        // Not by its number either: it is gone for us.
        if seen.line.starts_with("GET /repositories/") {
            return (404, Vec::new(), "{}".to_owned());
        }
        let mut repository = repository();
        repository["id"] = json!(if before == 0 { 7 } else { 8 });
        ok(repository)
    })
    .await;
    let gone = forge(&double, "").await.repository().await;
    assert!(matches!(gone, Err(ForgeError::NoAccess { .. })), "{gone:?}");
}

#[tokio::test]
async fn what_was_never_sent_had_no_effect_and_no_error_tells_the_token() {
    let double = Double::start(|_, _| ok(repository())).await;
    let forge = forge(&double, "").await;
    // Nobody listens where the port was just given back.
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let credentials = Credentials::Token(TOKEN.into());
    let github = Github::connect(common::config(format!("http://{unused}"), credentials)).unwrap();
    let refused = github.repository(&"acme/shop".parse().unwrap()).await.err().unwrap();
    assert!(matches!(refused, ForgeError::Unreachable { effect: Effect::None, .. }), "{refused:?}");
    // A server that repeats the token in its refusal.
    let echo = Double::start(|seen, _| {
        let token = seen.token.clone().unwrap_or_default();
        (400, Vec::new(), json!({"message": format!("no such thing as {token}")}).to_string())
    })
    .await;
    let credentials = Credentials::Token(TOKEN.into());
    let github = Github::connect(common::config(echo.url.clone(), credentials)).unwrap();
    let refused = github.repository(&"acme/shop".parse().unwrap()).await.err().unwrap();
    assert_eq!(
        refused.to_string(),
        "the forge refuses the request: no such thing as Bearer [secret removed]"
    );
    assert!(!format!("{github:?}{refused:?}").contains(TOKEN));
    drop(forge);
}

#[tokio::test]
async fn secrets_and_foreign_markers_do_not_leave_in_a_comment() {
    let double = Double::start(|seen, _| match seen.line.as_str() {
        "GET /repos/acme/shop" => ok(repository()),
        "GET /user" => ok(json!({"id": 1, "login": "alice", "type": "User"})),
        "POST /repos/acme/shop/issues/3/comments" => {
            (201, Vec::new(), json!({"id": 9, "html_url": "http://git.example/9"}).to_string())
        }
        _ => ok(json!([])),
    })
    .await;
    let marker = Marker::new("answer-1").unwrap();
    let body = format!("It is {TOKEN}\n<!-- cloud-code:status-3 -->\n{}", "x".repeat(70_000));
    forge(&double, "").await.put_comment(3, &marker, None, &body, Priority::Reply).await.unwrap();
    let seen = double.seen.lock().unwrap().clone();
    let sent = seen.iter().find(|seen| seen.line.starts_with("POST")).unwrap().body["body"].as_str().unwrap();
    assert!(sent.starts_with("It is [secret removed]\nxxx"), "{}", &sent[..100]);
    assert!(sent.ends_with("65,536 characters.*\n\n<!-- cloud-code:answer-1 -->"));
    assert!(sent.len() <= 65_536);
}

#[tokio::test]
async fn nothing_that_cannot_be_sent_is_taken_as_a_credential() {
    for token in ["", "abc\n", "a b"] {
        let made = Github::connect(common::config(
            "http://127.0.0.1:1".to_owned(),
            Credentials::Token(token.into()),
        ));
        assert!(matches!(made, Err(ForgeError::Auth { .. })), "{token:?} was taken");
    }
    let app = Credentials::App { id: 1, private_key: "no key".into() };
    assert!(matches!(
        Github::connect(common::config("http://127.0.0.1:1".to_owned(), app)),
        Err(ForgeError::Auth { .. })
    ));
}

#[tokio::test]
async fn a_label_that_somebody_makes_in_between_is_used() {
    let double = Double::start(|seen, _| match seen.line.as_str() {
        "GET /repos/acme/shop" => ok(repository()),
        "GET /repos/acme/shop/labels/cloud-code%3A%20queued" => (404, Vec::new(), "{}".to_owned()),
        "POST /repos/acme/shop/labels" => {
            let errors = json!([{"resource": "Label", "code": "already_exists", "field": "name"}]);
            (422, Vec::new(), json!({"message": "Validation Failed", "errors": errors}).to_string())
        }
        "POST /repos/acme/shop/issues/3/labels" => ok(json!([])),
        _ => ok(json!([{"name": "bug"}])),
    })
    .await;
    let family = [LabelSpec {
        name: "cloud-code: queued".to_owned(),
        color: "ededed".to_owned(),
        description: "It waits.".to_owned(),
    }];
    let forge = forge(&double, "").await;
    forge.set_labels(3, &family, Some("cloud-code: queued"), Priority::Progress).await.unwrap();
    assert_eq!(double.count("POST /repos/acme/shop/issues/3/labels"), 1);
    assert!(!double.lines().iter().any(|line| line.starts_with("DELETE")));
}

#[tokio::test]
async fn an_installation_is_found_by_a_former_name() {
    let double = Double::start(|seen, _| match seen.line.as_str() {
        "GET /repos/acme/store/installation" => {
            (301, vec![("location", "/repositories/7/installation".to_owned())], "{}".to_owned())
        }
        "GET /repositories/7/installation" => {
            ok(json!({"id": 5, "app_id": 1, "permissions": {"contents": "read"}}))
        }
        "POST /app/installations/5/access_tokens" => (
            201,
            Vec::new(),
            json!({"token": TOKEN, "expires_at": "2999-01-01T00:00:00Z", "permissions": {}}).to_string(),
        ),
        "GET /repos/acme/store" => (301, vec![("location", "/repositories/7".to_owned())], "{}".to_owned()),
        "GET /repositories/7" | "GET /repos/acme/shop" => ok(repository()),
        other => panic!("{other}"),
    })
    .await;
    let key = include_str!("../../fake-github/testdata/app-key.pem");
    let credentials = Credentials::App { id: 1, private_key: key.into() };
    let github = Github::connect(common::config(double.url.clone(), credentials)).unwrap();
    let facts = github.repository(&"acme/store".parse().unwrap()).await.unwrap().repository().await.unwrap();
    assert_eq!((facts.name.to_string().as_str(), facts.grants.contents), ("acme/shop", Access::Read));
}
