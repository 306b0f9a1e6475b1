//! What breaks on request, and what is left behind.

use std::thread;
use std::time::Duration;

use cloud_code_fake_github::{AppSeed, FakeGithub, Fault, RepoSeed, When};
use serde_json::{Value, json};

use crate::http::{Client, Reply};

const COMMENTS: &str = "/repos/acme/shop/issues/1/comments";

fn shop() -> (FakeGithub, Client) {
    let fake = FakeGithub::start_blocking();
    fake.repo(RepoSeed::new("acme/shop"));
    let app = fake.app(AppSeed::new("cloud-code").installed_on("acme"));
    fake.user("alice").opens_issue("acme/shop", "One", "");
    let client = Client::new(&fake, &fake.installation_token(fake.installations(app)[0]));
    (fake, client)
}

fn comment(client: &Client, body: &str) -> Result<Reply, ureq::Error> {
    client.try_send("POST", COMMENTS, &[], Some(&json!({"body": body})))
}

fn said(fake: &FakeGithub) -> Vec<String> {
    fake.comments("acme/shop", 1).into_iter().map(|comment| comment.body).collect()
}

#[test]
fn a_fault_before_the_effect_leaves_nothing() {
    let (fake, client) = shop();
    fake.fault("POST", "**/comments", Fault::Status(502));
    fake.fault("POST", "**/comments", Fault::Cut);
    fake.fault("POST", "**/comments", Fault::TokenExpired);
    fake.fault("POST", "**/comments", Fault::LostAccess);
    assert_eq!(comment(&client, "a").unwrap().status, 502);
    comment(&client, "b").unwrap_err();
    assert_eq!(comment(&client, "c").unwrap().status, 401);
    assert_eq!(comment(&client, "d").unwrap().status, 404);
    assert_eq!(said(&fake), Vec::<String>::new());
    comment(&client, "e").unwrap().expect(201);
    assert_eq!(said(&fake), ["e"]);
}

#[test]
fn a_fault_after_the_effect_leaves_it() {
    let (fake, client) = shop();
    fake.fault("POST", "**/comments", Fault::EffectThenStatus(502));
    fake.fault("POST", "**/comments", Fault::EffectThenCut);
    fake.fault("POST", "**/comments", Fault::Truncated);
    assert_eq!(comment(&client, "a").unwrap().status, 502);
    comment(&client, "b").unwrap_err();
    comment(&client, "c").unwrap_err();
    assert_eq!(said(&fake), ["a", "b", "c"]);
    assert_eq!(fake.faults_waiting(), 0);
}

#[test]
fn the_limits_say_when_to_come_back() {
    let (fake, client) = shop();
    fake.fault("GET", "/repos/*/*", Fault::SecondaryLimit { status: 403, retry_after: Some(7) });
    fake.fault("GET", "/repos/*/*", Fault::SecondaryLimit { status: 429, retry_after: None });
    fake.fault("GET", "/repos/*/*", Fault::PrimaryLimit { reset_in: Duration::from_secs(60) });
    let first = client.get("/repos/acme/shop");
    assert_eq!((first.status, first.headers["retry-after"].as_str()), (403, "7"));
    let second = client.get("/repos/acme/shop");
    assert_eq!((second.status, second.headers.get("retry-after")), (429, None));
    let third = client.get("/repos/acme/shop");
    assert_eq!((third.status, third.headers["x-ratelimit-remaining"].as_str()), (403, "0"));
    assert!(third.headers.contains_key("x-ratelimit-reset"));
    client.get("/repos/acme/shop").expect(200);
}

#[tokio::test]
async fn a_write_is_held_on_the_side_that_was_asked_for() {
    for (when, seen) in [(When::Before, 1), (When::After, 2)] {
        let (fake, client) = shop();
        fake.hold_write(2, when);
        let asks = thread::spawn(move || {
            comment(&client, "a").unwrap().expect(201);
            client.get(COMMENTS).expect(200);
            comment(&client, "b").map(|reply| reply.status)
        });
        let held = fake.held().await;
        assert_eq!((held.method.as_str(), held.when), ("POST", when));
        assert_eq!(said(&fake).len(), seen);
        fake.release();
        assert_eq!(asks.join().unwrap().unwrap(), 201);
        assert_eq!(said(&fake).len(), 2);
    }
}

#[tokio::test]
async fn a_held_write_that_is_cut_never_happens_or_has_happened() {
    for (when, left) in [(When::Before, 0), (When::After, 1)] {
        let (fake, client) = shop();
        fake.hold_write(1, when);
        let asks = thread::spawn(move || comment(&client, "a").is_err());
        fake.held().await;
        fake.cut_held();
        assert!(asks.join().unwrap());
        assert_eq!(said(&fake).len(), left);
    }
}

#[test]
fn what_github_does_not_have_is_a_violation() {
    let (fake, client) = shop();
    let id = comment(&client, "a").unwrap().expect(201)["id"].clone();
    // octocrab's update_comment does this.
    client.post(&format!("/repos/acme/shop/issues/comments/{id}"), json!({"body": "b"})).expect(404);
    client.get("/repos/acme/shop/issues?stat=open").expect(200);
    client.get("/repos/acme/shop/issues?per_page=many").expect(200);
    client.post(COMMENTS, json!({"body": "c", "marker": 1})).expect(201);
    client.post("/repos/acme/shop/labels", json!({"name": 7})).expect(422);
    client.get("/repos/acme/shop/stargazers").expect(404);
    let short = |line: &String| line.split(": at").next().unwrap().to_owned();
    assert_eq!(
        fake.violations().iter().map(short).collect::<Vec<_>>(),
        [
            format!("POST /repos/acme/shop/issues/comments/{id}: not an operation of GitHub's"),
            "GET /repos/{owner}/{repo}/issues: no query parameter `stat`".to_owned(),
            "GET /repos/{owner}/{repo}/issues query per_page".to_owned(),
            "POST /repos/{owner}/{repo}/issues/{issue_number}/comments: the body has no property `marker`"
                .to_owned(),
            "POST /repos/{owner}/{repo}/labels body".to_owned(),
            "GET /repos/acme/shop/stargazers: the fake does not play it".to_owned(),
        ]
    );
    let _: Value = client.get(COMMENTS).expect(200);
}
