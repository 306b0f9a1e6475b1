//! What a story sees.

use std::time::Duration;

use cloud_code_fake_github::{AppSeed, FakeGithub, RepoSeed, Role};
use serde_json::json;

use crate::http::Client;

#[tokio::test]
async fn a_transcript_reads_like_the_page() {
    let fake = FakeGithub::start().await;
    fake.repo(
        RepoSeed::new("acme/shop").of_organization().first_number(42).collaborator("alice", Role::Write),
    );
    let app = fake.app(AppSeed::new("cloud-code").installed_on("acme"));
    let bot = Client::new(&fake, &fake.installation_token(fake.installations(app)[0]));
    let alice = fake.user("alice");

    let issue = alice.opens_issue("acme/shop", "Prices are wrong", "Tax is missing.\nSee the receipt.");
    let command = alice.comments_on("acme/shop", issue, "/cloud-code run");
    bot.post(&format!("/repos/acme/shop/issues/comments/{command}/reactions"), json!({"content": "eyes"}))
        .expect(201);
    let said = bot.post("/repos/acme/shop/issues/42/comments", json!({"body": "Queued"})).expect(201);
    for body in ["Working", "Done"] {
        let at = format!("/repos/acme/shop/issues/comments/{}", said["id"]);
        bot.patch(&at, json!({"body": body})).expect(200);
    }
    bot.post("/repos/acme/shop/issues/42/labels", json!({"labels": ["cloud-code: done"]})).expect(200);

    insta::assert_snapshot!(fake.transcript("acme/shop", 42), @r"
    Issue #42: Prices are wrong [open, cloud-code: done]

    alice:
      Tax is missing.
      See the receipt.

    alice [eyes by cloud-code[bot]]: /cloud-code run

    cloud-code[bot] (edited 2x): Done
    ");
    let written: Vec<String> = fake
        .mutations()
        .iter()
        .map(|call| format!("{} {} {}", call.caller, call.method, call.status))
        .collect();
    assert_eq!(
        written,
        [
            "cloud-code[bot] POST 201",
            "cloud-code[bot] POST 201",
            "cloud-code[bot] PATCH 200",
            "cloud-code[bot] PATCH 200",
            "cloud-code[bot] POST 200",
        ]
    );
}

#[tokio::test]
async fn a_pull_request_follows_its_branch_and_its_review() {
    let fake = FakeGithub::start().await;
    fake.repo(RepoSeed::new("acme/shop").collaborator("alice", Role::Write));
    let alice = fake.user("alice");
    alice.pushes("acme/shop", "fix", "a.txt", "one\n");
    let number = alice.opens_pull_request("acme/shop", "fix", "main", "Fix it", "Fixes #1");
    let second = alice.pushes("acme/shop", "fix", "a.txt", "two\n");
    assert_eq!(fake.pull_requests("acme/shop")[0].head_sha, second);
    fake.user("bob").requests_changes("acme/shop", number, "Not yet");
    let line = fake.user("bob").review_comment("acme/shop", number, "a.txt", 1, "three?");
    alice.replies_to("acme/shop", number, line, "two.");
    alice.merges("acme/shop", number);
    assert_eq!(fake.file("acme/shop", "main", "a.txt").as_deref(), Some("two\n"));
    insta::assert_snapshot!(fake.transcript("acme/shop", number), @r"
    Pull request #1: Fix it [merged]
    acme:fix -> main

    alice: Fixes #1

    bob (changes requested): Not yet

    bob on a.txt:1: three?

    alice on a.txt:1: two.
    ");
}

#[tokio::test]
async fn a_conflict_is_not_mergeable() {
    let fake = FakeGithub::start().await;
    fake.repo(RepoSeed::new("acme/shop").collaborator("alice", Role::Write).file("a.txt", "one\n"));
    let alice = fake.user("alice");
    alice.pushes("acme/shop", "fix", "a.txt", "two\n");
    let number = alice.opens_pull_request("acme/shop", "fix", "main", "Fix it", "");
    let client = Client::new(&fake, &fake.token("alice"));
    let at = format!("/repos/acme/shop/pulls/{number}");
    assert_eq!(client.get(&at).expect(200)["mergeable"], true);
    alice.pushes("acme/shop", "main", "a.txt", "three\n");
    let after = client.get(&at).expect(200);
    assert_eq!((&after["mergeable"], &after["mergeable_state"]), (&json!(false), &json!("dirty")));
    client.put(&format!("{at}/merge"), json!({})).expect(405);
}

#[tokio::test]
async fn time_moves_and_a_token_expires() {
    let fake = FakeGithub::start().await;
    fake.repo(RepoSeed::new("acme/shop").private());
    let app = fake.app(AppSeed::new("cloud-code").installed_on("acme"));
    let bot = Client::new(&fake, &fake.installation_token(fake.installations(app)[0]));
    bot.get("/repos/acme/shop").expect(200);
    fake.advance(Duration::from_secs(3601));
    assert_eq!(bot.get("/repos/acme/shop").expect(401)["message"], "Bad credentials");
}
