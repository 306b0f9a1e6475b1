//! Deliveries: their shape, their signature, and what a test can do to them.

use std::collections::BTreeSet;

use cloud_code_fake_github::{AppSeed, FakeGithub, Fate, RepoSeed, Role, third_party};
use serde_json::{Value, json};

use crate::http::{Client, Receiver};

fn shop() -> (FakeGithub, u64) {
    let fake = FakeGithub::start_blocking();
    fake.repo(RepoSeed::new("acme/shop").of_organization().collaborator("alice", Role::Write));
    let app = fake.app(AppSeed::new("cloud-code").installed_on("acme"));
    (fake, app)
}

/// Everything a person can do, and what our own App does, in one repository.
fn everything(fake: &FakeGithub, app: u64) {
    let alice = fake.user("alice");
    let issue = alice.opens_issue("acme/shop", "One", "Body");
    alice.edits_issue("acme/shop", issue, "Better body");
    alice.retitles("acme/shop", issue, "One!");
    let comment = alice.comments_on("acme/shop", issue, "/cloud-code run");
    alice.edits_comment("acme/shop", comment, "/cloud-code plan");
    alice.deletes_comment("acme/shop", comment);
    alice.labels("acme/shop", issue, "bug");
    alice.unlabels("acme/shop", issue, "bug");
    alice.assigns("acme/shop", issue, "cloud-code[bot]");
    alice.unassigns("acme/shop", issue, "cloud-code[bot]");
    alice.closes("acme/shop", issue);
    alice.reopens("acme/shop", issue);
    let bot = Client::new(fake, &fake.installation_token(fake.installations(app)[0]));
    bot.post(&format!("/repos/acme/shop/issues/{issue}/comments"), json!({"body": "Done"})).expect(201);
    let first = alice.pushes("acme/shop", "fix", "a.txt", "one\n");
    let pull = alice.opens_pull_request("acme/shop", "fix", "main", "Fix", "Fixes #1");
    let sha = alice.pushes("acme/shop", "fix", "a.txt", "two\n");
    alice.force_pushes("acme/shop", "fix", &first);
    alice.force_pushes("acme/shop", "fix", &sha);
    alice.labels("acme/shop", pull, "bug");
    alice.assigns("acme/shop", pull, "alice");
    alice.comments_on("acme/shop", pull, "looks odd");
    alice.edits_issue("acme/shop", pull, "Fixes #1, really");
    fake.user("bob").requests_changes("acme/shop", pull, "No");
    fake.user("bob").reviews("acme/shop", pull, "Hm");
    fake.user("bob").approves("acme/shop", pull);
    let line = fake.user("bob").review_comment("acme/shop", pull, "a.txt", 1, "Why?");
    alice.replies_to("acme/shop", pull, line, "Because");
    bot.post(&format!("/repos/acme/shop/pulls/{pull}/requested_reviewers"), json!({"reviewers": ["alice"]}))
        .expect(422);
    let run = json!({"name": "cloud-code", "head_sha": sha, "status": "in_progress"});
    let run = bot.post("/repos/acme/shop/check-runs", run).expect(201);
    let done = json!({"status": "completed", "conclusion": "failure"});
    bot.patch(&format!("/repos/acme/shop/check-runs/{}", run["id"]), done).expect(200);
    alice.sees_check_suite("acme/shop", &sha, "failure");
    alice.closes("acme/shop", pull);
    alice.reopens("acme/shop", pull);
    alice.merges("acme/shop", pull);
    alice.deletes_branch("acme/shop", "fix");
    fake.uninstall(fake.installations(app)[0]);
}

#[test]
fn every_payload_fits_githubs_schemas() {
    let (fake, app) = shop();
    everything(&fake, app);
    let path = third_party("webhooks-schemas-7.6.1.json").unwrap();
    let schemas: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut seen = BTreeSet::new();
    let mut wrong = Vec::new();
    for delivery in fake.deliveries() {
        let name = match &delivery.action {
            Some(action) => format!("{}${action}", delivery.event),
            None => format!("{}$event", delivery.event),
        };
        assert!(!schemas["definitions"][&name].is_null(), "no schema {name}");
        let root = json!({
            "$schema": "http://json-schema.org/draft-07/schema#",
            "allOf": [{"$ref": format!("#/definitions/{}", name.replace('$', "%24"))}],
            "definitions": schemas["definitions"],
        });
        let validator = jsonschema::draft7::new(&root).unwrap();
        for error in validator.iter_errors(&delivery.payload) {
            let text: String = error.to_string().chars().take(300).collect();
            wrong.push(format!("{name} at {}: {text}", error.instance_path()));
        }
        seen.insert(name);
    }
    assert_eq!(wrong, Vec::<String>::new());
    let expected = [
        "check_run$completed",
        "check_run$created",
        "check_suite$completed",
        "check_suite$requested",
        "installation$created",
        "installation$deleted",
        "issue_comment$created",
        "issue_comment$deleted",
        "issue_comment$edited",
        "issues$assigned",
        "issues$closed",
        "issues$edited",
        "issues$labeled",
        "issues$opened",
        "issues$reopened",
        "issues$unassigned",
        "issues$unlabeled",
        "pull_request$assigned",
        "pull_request$closed",
        "pull_request$edited",
        "pull_request$labeled",
        "pull_request$opened",
        "pull_request$reopened",
        "pull_request$synchronize",
        "pull_request_review$submitted",
        "pull_request_review_comment$created",
        "push$event",
    ];
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), expected);
}

/// Every member that GitHub's own sample has at the top of an issue comment's payload, ours has too.
#[test]
fn a_comment_has_the_members_of_githubs_sample() {
    let (fake, app) = shop();
    everything(&fake, app);
    let path = third_party("webhooks-examples-7.6.1.json").unwrap();
    let samples: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let event = samples.as_array().unwrap().iter().find(|event| event["name"] == "issue_comment").unwrap();
    let sample =
        event["examples"].as_array().unwrap().iter().find(|sample| sample["action"] == "created").unwrap();
    let deliveries = fake.deliveries();
    let ours = deliveries.iter().find(|delivery| delivery.event == "issue_comment").unwrap();
    for part in ["issue", "comment", "repository", "sender"] {
        for name in sample[part].as_object().unwrap().keys() {
            assert!(ours.payload[part].get(name).is_some(), "{part}.{name}");
        }
    }
}

#[tokio::test]
async fn a_delivery_is_signed_and_logged() {
    let (fake, _) = shop();
    let receiver = Receiver::start();
    fake.deliver_to(&receiver.url, "It's a Secret to Everybody");
    fake.user("alice").opens_issue("acme/shop", "One", "");
    fake.settled().await;
    let got = receiver.got();
    assert_eq!(got.len(), 1);
    let headers = &got[0].headers;
    assert_eq!(headers["x-github-event"], "issues");
    assert_eq!(headers["x-github-hook-installation-target-type"], "integration");
    assert!(headers["user-agent"].starts_with("GitHub-Hookshot/"));
    assert!(
        headers["x-hub-signature-256"].starts_with("sha256=")
            && headers["x-hub-signature"].starts_with("sha1=")
    );
    let payload: Value = serde_json::from_str(&got[0].body).unwrap();
    assert_eq!(payload["action"], "opened");
    let log = fake.deliveries();
    let logged = log.last().unwrap();
    assert_eq!(
        (logged.guid.as_str(), &logged.fate),
        (headers["x-github-delivery"].as_str(), &Fate::Answered(202))
    );
}

#[tokio::test]
async fn what_is_lost_can_be_swept_and_keeps_its_guid() {
    let (fake, app) = shop();
    let receiver = Receiver::start();
    fake.deliver_to(&receiver.url, "secret");
    fake.lose_next(1);
    let alice = fake.user("alice");
    let issue = alice.opens_issue("acme/shop", "One", "");
    alice.comments_on("acme/shop", issue, "/cloud-code run");
    fake.settled().await;
    assert_eq!(receiver.got().len(), 1);

    let client = Client::new(&fake, &fake.app_jwt(app));
    let page = client.get("/app/hook/deliveries?per_page=2");
    assert!(page.headers["link"].contains("cursor=v1_"), "{:?}", page.headers);
    let list = page.expect(200);
    assert_eq!((&list[0]["status"], &list[0]["event"]), (&json!("OK"), &json!("issue_comment")));
    assert_eq!(
        (&list[1]["status"], &list[1]["event"]),
        (&json!("failed to connect to host"), &json!("issues"))
    );
    let whole = client.get(&format!("/app/hook/deliveries/{}", list[1]["id"])).expect(200);
    assert_eq!(whole["request"]["payload"]["issue"]["number"], issue);
    client.post(&format!("/app/hook/deliveries/{}/attempts", list[1]["id"]), json!({})).expect(202);
    fake.settled().await;
    let got = receiver.got();
    assert_eq!(got[1].headers["x-github-delivery"], list[1]["guid"].as_str().unwrap());
    let newest = &client.get("/app/hook/deliveries?per_page=1").expect(200)[0];
    assert_eq!((&newest["redelivery"], &newest["guid"]), (&json!(true), &list[1]["guid"]));
    assert_eq!(fake.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn held_deliveries_are_reordered_and_doubled() {
    let (fake, _) = shop();
    let receiver = Receiver::start();
    fake.deliver_to(&receiver.url, "secret");
    fake.hold_deliveries();
    let alice = fake.user("alice");
    let issue = alice.opens_issue("acme/shop", "One", "");
    alice.comments_on("acme/shop", issue, "two");
    let held = fake.held_deliveries();
    assert_eq!(held.len(), 2);
    assert_eq!(fake.send(&held[1]).await, Fate::Answered(202));
    assert_eq!(fake.send_times(&held[0], 5).await, [202; 5]);
    let events: Vec<String> =
        receiver.got().iter().map(|got| got.headers["x-github-event"].clone()).collect();
    assert_eq!(events, ["issue_comment", "issues", "issues", "issues", "issues", "issues"]);
    let guids: BTreeSet<String> =
        receiver.got()[1..].iter().map(|got| got.headers["x-github-delivery"].clone()).collect();
    assert_eq!(guids.len(), 1);
    assert_eq!(fake.held_deliveries().len(), 0);
}
