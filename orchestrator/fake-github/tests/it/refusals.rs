//! How it says no, and the headers of every answer.

use cloud_code_fake_github::{AppSeed, FakeGithub, RepoSeed, Role};
use serde_json::json;

use crate::http::Client;

fn shop() -> FakeGithub {
    let fake = FakeGithub::start_blocking();
    fake.repo(RepoSeed::new("acme/shop").private().collaborator("alice", Role::Write).refuses_drafts());
    fake.user("alice").opens_issue("acme/shop", "One", "");
    fake
}

fn bot(fake: &FakeGithub, seed: AppSeed) -> Client {
    let app = fake.app(seed.installed_on("acme"));
    Client::new(fake, &fake.installation_token(fake.installations(app)[0]))
}

#[test]
fn tokens_open_what_they_are_for() {
    let fake = shop();
    let reader =
        bot(&fake, AppSeed::new("reader").permission("issues", "read").permission("pull_requests", "read"));
    reader.get("/repos/acme/shop/issues/1").expect(200);
    let refused = reader.send("POST", "/repos/acme/shop/issues/1/comments", Some(&json!({"body": "x"})));
    assert_eq!(refused.headers["x-accepted-github-permissions"], "issues=write; pull_requests=write");
    assert_eq!(refused.expect(403)["message"], "Resource not accessible by integration");

    Client::new(&fake, "ghp_unknown").get("/repos/acme/shop").expect(401);
    Client::new(&fake, "").get("/repos/acme/shop").expect(404);
    Client::new(&fake, &fake.token("mallory")).get("/repos/acme/shop").expect(404);
    let alice = Client::new(&fake, &fake.token("alice"));
    assert_eq!(
        alice.get("/repos/acme/shop/hooks").expect(403)["message"],
        "Must have admin rights to Repository."
    );
    let sha = fake.branch("acme/shop", "main").unwrap();
    let run = json!({"name": "x", "head_sha": sha});
    alice.post("/repos/acme/shop/check-runs", run).expect(403);
    let narrow = Client::new(&fake, &fake.fine_grained_token("alice", &[("issues", "read")]));
    narrow.get("/repos/acme/shop/issues").expect(200);
    narrow.get("/repos/acme/shop/pulls").expect(403);
    narrow.get("/repos/acme/shop/contents/README.md").expect(403);
}

#[test]
fn an_installation_does_not_reach_beyond_its_account() {
    let fake = shop();
    fake.repo(RepoSeed::new("other/public"));
    fake.user("alice").opens_issue("other/public", "Theirs", "");
    let bot = bot(&fake, AppSeed::new("cloud-code"));
    bot.get("/repos/other/public/issues/1").expect(200);
    bot.post("/repos/other/public/issues/1/comments", json!({"body": "x"})).expect(403);
}

#[test]
fn bodies_are_held_against_githubs_limits() {
    let fake = shop();
    let bot = bot(&fake, AppSeed::new("cloud-code"));
    let at = "/repos/acme/shop/issues/1/comments";
    bot.post(at, json!({"body": "ö".repeat(65_536)})).expect(201);
    bot.post(at, json!({"body": "ö".repeat(65_537)})).expect(422);
    let pull = |head: &str, draft: bool| json!({"title": "x", "head": head, "base": "main", "draft": draft});
    let at = "/repos/acme/shop/pulls";
    let none = bot.post(at, pull("main", false)).expect(422);
    assert_eq!(none["errors"][0]["message"], "No commits between main and main");
    assert_eq!(bot.post(at, pull("nothing", false)).expect(422)["errors"][0]["field"], "head");
    fake.user("alice").pushes("acme/shop", "fix", "a.txt", "a\n");
    let draft = bot.post(at, pull("fix", true)).expect(422);
    assert_eq!(draft["message"], "Draft pull requests are not supported in this repository.");
    bot.post(at, pull("acme:fix", false)).expect(201);
}

#[test]
fn a_renamed_repository_redirects_and_an_archived_one_is_read_only() {
    let fake = shop();
    let alice = Client::new(&fake, &fake.token("alice"));
    fake.rename("acme/shop", "store");
    let moved = alice.get("/repos/acme/shop/issues/1");
    assert_eq!(moved.status, 301);
    let to = moved.headers["location"].replace(&fake.api_url(), "");
    assert_eq!(alice.get(&to).expect(200)["title"], "One");
    fake.archive("acme/store", true);
    let refused = alice.post("/repos/acme/store/issues/1/comments", json!({"body": "x"})).expect(403);
    assert_eq!(refused["message"], "Repository was archived so is read-only.");
}

#[test]
fn what_has_not_changed_costs_nothing() {
    let fake = shop();
    let alice = Client::new(&fake, &fake.token("alice"));
    let first = alice.get("/repos/acme/shop/issues/1");
    assert_eq!(first.headers["x-ratelimit-used"], "1");
    assert!(first.headers.contains_key("x-github-request-id"));
    let tag = first.headers["etag"].as_str();
    let ask = || alice.try_send("GET", "/repos/acme/shop/issues/1", &[("if-none-match", tag)], None).unwrap();
    let same = ask();
    assert_eq!((same.status, same.headers["x-ratelimit-used"].as_str()), (304, "1"));
    fake.user("bob").comments_on("acme/shop", 1, "news");
    assert_eq!(ask().status, 200);
}

#[test]
fn pages_link_to_each_other_also_below_a_prefix() {
    let fake = shop();
    for n in 0..5 {
        fake.user("alice").comments_on("acme/shop", 1, &n.to_string());
    }
    let alice = Client::new(&fake, &fake.token("alice")).under("/api/v3");
    let page = alice.get("/repos/acme/shop/issues/1/comments?per_page=2&page=2");
    let base = format!("{}/api/v3/repos/acme/shop/issues/1/comments?per_page=2", fake.api_url());
    assert_eq!(
        page.headers["link"],
        format!(
            "<{base}&page=3>; rel=\"next\", <{base}&page=3>; rel=\"last\", <{base}&page=1>; rel=\"prev\", <{base}&page=1>; rel=\"first\""
        )
    );
    assert_eq!(page.expect(200)[0]["body"], "2");
}

#[test]
fn a_missing_user_agent_is_refused() {
    let fake = shop();
    let answer = {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(fake.api_url().trim_start_matches("http://")).unwrap();
        stream.write_all(b"GET /meta HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}
