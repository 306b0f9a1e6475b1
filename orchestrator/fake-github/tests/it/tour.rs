//! Every operation once, so that each answer is held against GitHub's description.

use cloud_code_fake_github::{AppSeed, FakeGithub, RepoSeed, Role};
use serde_json::json;

use crate::http::Client;

#[tokio::test]
async fn every_answer_fits_githubs_description() {
    let fake = FakeGithub::start().await;
    fake.repo(
        RepoSeed::new("acme/shop")
            .of_organization()
            .collaborator("alice", Role::Write)
            .collaborator("bob", Role::Maintain)
            .collaborator("root", Role::Admin)
            .label("ready-for-agent")
            .file(".github/pull_request_template.md", "## What\n")
            .file("src/lib.rs", "one\n"),
    );
    fake.repo(RepoSeed::new("mallory/shop").fork_of("acme/shop"));
    let app_id = fake.app(AppSeed::new("cloud-code").installed_on("acme"));
    let alice = fake.user("alice");
    let issue = alice.opens_issue("acme/shop", "Prices are wrong", "Tax is missing.");
    let comment = alice.comments_on("acme/shop", issue, "/cloud-code run");
    alice.assigns("acme/shop", issue, "alice");
    fake.user("gone").comments_on("acme/shop", issue, "I was never here");
    fake.user("gone").opens_issue("acme/shop", "A ghost's", "boo");
    fake.delete_user("gone");

    // the App
    let app = Client::new(&fake, &fake.app_jwt(app_id));
    assert_eq!(app.get("/app").expect(200)["slug"], "cloud-code");
    let installations = app.get("/app/installations").expect(200);
    let id = installations[0]["id"].clone();
    app.get(&format!("/app/installations/{id}")).expect(200);
    assert_eq!(app.get("/repos/acme/shop/installation").expect(200)["id"], id);
    let minted = app.post(&format!("/app/installations/{id}/access_tokens"), json!({})).expect(201);
    let token = minted["token"].as_str().unwrap();
    assert!(token.starts_with(&format!("ghs_{app_id}_eyJ")) && token.len() > 200, "{token}");
    app.post(
        &format!("/app/installations/{id}/access_tokens"),
        json!({"repositories": ["shop"], "permissions": {"issues": "read"}}),
    )
    .expect(201);
    app.get("/app/hook/config").expect(200);
    app.patch("/app/hook/config", json!({"url": "http://127.0.0.1:9/hook", "secret": "s"})).expect(200);
    let deliveries = app.get("/app/hook/deliveries?per_page=2").expect(200);
    let delivery = &deliveries[0]["id"];
    app.get(&format!("/app/hook/deliveries/{delivery}")).expect(200);
    app.post(&format!("/app/hook/deliveries/{delivery}/attempts"), json!({})).expect(202);
    let code = fake.manifest_code(&json!({
        "name": "Made Here", "hook_attributes": {"url": "http://127.0.0.1:9/x"},
        "default_permissions": {"issues": "write"}, "default_events": ["issues"],
    }));
    let anybody = Client::new(&fake, "");
    let made = anybody.send("POST", &format!("/app-manifests/{code}/conversions"), None).expect(201);
    assert!(made["pem"].as_str().unwrap().starts_with("-----BEGIN RSA PRIVATE KEY-----"));
    anybody.send("POST", &format!("/app-manifests/{code}/conversions"), None).expect(404);
    anybody.get("/meta").expect(200);

    // the bot
    let bot = Client::new(&fake, token);
    assert_eq!(bot.get("/installation/repositories").expect(200)["total_count"], 1);
    bot.get("/rate_limit").expect(200);
    bot.get("/users/alice").expect(200);
    bot.get("/repos/acme/shop").expect(200);
    let permission = bot.get("/repos/acme/shop/collaborators/bob/permission").expect(200);
    assert_eq!((&permission["permission"], &permission["role_name"]), (&json!("write"), &json!("maintain")));
    bot.get("/repos/acme/shop/collaborators/nobody-here/permission").expect(404);
    let listed =
        bot.get("/repos/acme/shop/issues?state=all&since=2020-01-01T00:00:00Z&per_page=1").expect(200);
    assert_eq!(listed.as_array().unwrap().len(), 1);
    let at = format!("/repos/acme/shop/issues/{issue}");
    bot.get(&at).expect(200);
    bot.post("/repos/acme/shop/issues", json!({"title": "From the bot", "labels": ["bot"]})).expect(201);
    bot.patch(&at, json!({"title": "Prices are wrong!", "assignees": ["bob"]})).expect(200);
    bot.post(&format!("{at}/assignees"), json!({"assignees": ["alice"]})).expect(201);
    bot.send("DELETE", &format!("{at}/assignees"), Some(&json!({"assignees": ["alice"]}))).expect(200);
    let said = bot.post(&format!("{at}/comments"), json!({"body": "On it"})).expect(201);
    assert_eq!(said["performed_via_github_app"]["id"], app_id);
    let said = said["id"].as_u64().unwrap();
    bot.get(&format!("{at}/comments?since=2020-01-01T00:00:00Z")).expect(200);
    bot.get("/repos/acme/shop/issues/comments?since=2020-01-01T00:00:00Z&sort=updated").expect(200);
    bot.get(&format!("/repos/acme/shop/issues/comments/{said}")).expect(200);
    bot.patch(&format!("/repos/acme/shop/issues/comments/{said}"), json!({"body": "Done"})).expect(200);
    for on in [at.clone(), format!("/repos/acme/shop/issues/comments/{comment}")] {
        let eyes = bot.post(&format!("{on}/reactions"), json!({"content": "eyes"})).expect(201);
        bot.post(&format!("{on}/reactions"), json!({"content": "eyes"})).expect(200);
        bot.get(&format!("{on}/reactions")).expect(200);
        bot.delete(&format!("{on}/reactions/{}", eyes["id"])).expect(204);
    }
    bot.delete(&format!("/repos/acme/shop/issues/comments/{said}")).expect(204);
    bot.get("/repos/acme/shop/labels").expect(200);
    let label = json!({"name": "cloud-code: queued", "color": "ededed", "description": "waits"});
    bot.post("/repos/acme/shop/labels", label.clone()).expect(201);
    bot.post("/repos/acme/shop/labels", label).expect(422);
    bot.get("/repos/acme/shop/labels/cloud-code%3A%20queued").expect(200);
    bot.patch("/repos/acme/shop/labels/cloud-code%3A%20queued", json!({"color": "ff0000"})).expect(200);
    bot.post(&format!("{at}/labels"), json!({"labels": ["cloud-code: queued"]})).expect(200);
    bot.put(&format!("{at}/labels"), json!({"labels": ["cloud-code: working", "bug"]})).expect(200);
    bot.get(&format!("{at}/labels")).expect(200);
    bot.delete(&format!("{at}/labels/bug")).expect(200);
    bot.delete(&format!("{at}/labels/bug")).expect(404);

    // code
    let file = bot.get("/repos/acme/shop/contents/.github/pull_request_template.md").expect(200);
    assert_eq!(file["content"], "IyMgV2hhdAo=\n");
    bot.get("/repos/acme/shop/contents/src?ref=main").expect(200);
    bot.get("/repos/acme/shop/contents/nothing").expect(404);
    let base = alice.pushes("acme/shop", "fix/tax", "src/tax.rs", "tax\n");
    bot.get("/repos/acme/shop/branches").expect(200);
    bot.get("/repos/acme/shop/branches/fix%2Ftax").expect(200);
    bot.get("/repos/acme/shop/branches/none").expect(404);
    bot.get("/repos/acme/shop/git/ref/heads/fix/tax").expect(200);
    bot.get("/repos/acme/shop/git/ref/heads/none").expect(404);
    bot.get(&format!("/repos/acme/shop/commits/{base}")).expect(200);
    assert_eq!(bot.get("/repos/acme/shop/compare/main...fix%2Ftax").expect(200)["ahead_by"], 1);

    // a pull request
    let new = json!({
        "title": "Add tax", "head": "fix/tax", "base": "main", "body": "Fixes #1", "draft": true,
        "maintainer_can_modify": true,
    });
    let pull = bot.post("/repos/acme/shop/pulls", new.clone()).expect(201);
    let again = bot.post("/repos/acme/shop/pulls", new).expect(422);
    assert_eq!(again["errors"][0]["message"], "A pull request already exists for acme:fix/tax.");
    let number = pull["number"].as_u64().unwrap();
    let at = format!("/repos/acme/shop/pulls/{number}");
    assert_eq!(
        bot.get("/repos/acme/shop/pulls?head=acme:fix/tax&state=open").expect(200)[0]["number"],
        number
    );
    bot.get(&at).expect(200);
    bot.patch(&at, json!({"title": "Add the tax", "body": "Fixes #1", "state": "open"})).expect(200);
    bot.get(&format!("{at}/files")).expect(200);
    bot.get(&format!("{at}/commits")).expect(200);
    bot.get(&format!("{at}/merge")).expect(404);
    bot.get(&format!("{at}/requested_reviewers")).expect(200);
    bot.post(&format!("{at}/requested_reviewers"), json!({"reviewers": ["bob"]})).expect(201);
    bot.post(&format!("{at}/requested_reviewers"), json!({"reviewers": ["mallory"]})).expect(422);
    alice.requests_changes("acme/shop", number, "Round it");
    let line = alice.review_comment("acme/shop", number, "src/tax.rs", 1, "Why?");
    fake.user("bob").approves("acme/shop", number);
    let reviews = bot.get(&format!("{at}/reviews")).expect(200);
    assert_eq!(reviews[0]["state"], "CHANGES_REQUESTED");
    bot.get(&format!("{at}/reviews/{}", reviews[0]["id"])).expect(200);
    bot.get(&format!("{at}/reviews/{}/comments", reviews[1]["id"])).expect(200);
    bot.post(&format!("{at}/reviews"), json!({"event": "COMMENT", "body": "Looking"})).expect(200);
    let reply = bot.post(&format!("{at}/comments/{line}/replies"), json!({"body": "Because"})).expect(201);
    assert_eq!(reply["in_reply_to_id"], line);
    let on_line =
        json!({"body": "Here", "commit_id": base, "path": "src/tax.rs", "line": 1, "side": "RIGHT"});
    bot.post(&format!("{at}/comments"), on_line).expect(201);
    bot.get(&format!("{at}/comments")).expect(200);
    bot.get("/repos/acme/shop/pulls/comments").expect(200);
    bot.get(&format!("/repos/acme/shop/pulls/comments/{line}")).expect(200);
    bot.patch(&format!("/repos/acme/shop/pulls/comments/{}", reply["id"]), json!({"body": "So"})).expect(200);
    bot.post(&format!("/repos/acme/shop/pulls/comments/{line}/reactions"), json!({"content": "+1"}))
        .expect(201);
    bot.get(&format!("/repos/acme/shop/pulls/comments/{line}/reactions")).expect(200);

    // checks and statuses
    let run = json!({
        "name": "cloud-code", "head_sha": base, "status": "in_progress", "external_id": "run-1",
        "output": {"title": "Working", "summary": "…", "annotations": [{
            "path": "src/tax.rs", "start_line": 1, "end_line": 1, "annotation_level": "notice", "message": "here",
        }]},
    });
    let run = bot.post("/repos/acme/shop/check-runs", run).expect(201);
    let at_run = format!("/repos/acme/shop/check-runs/{}", run["id"]);
    bot.get(&at_run).expect(200);
    bot.get(&format!("{at_run}/annotations")).expect(200);
    let done =
        json!({"status": "completed", "conclusion": "success", "output": {"title": "Done", "summary": "ok"}});
    assert_eq!(bot.patch(&at_run, done).expect(200)["conclusion"], "success");
    assert_eq!(bot.get("/repos/acme/shop/commits/fix%2Ftax/check-runs").expect(200)["total_count"], 1);
    let suites = bot.get(&format!("/repos/acme/shop/commits/{base}/check-suites")).expect(200);
    let suite = &suites["check_suites"][0]["id"];
    bot.get(&format!("/repos/acme/shop/check-suites/{suite}")).expect(200);
    bot.get(&format!("/repos/acme/shop/check-suites/{suite}/check-runs")).expect(200);
    let status = json!({"state": "pending", "context": "cloud-code", "description": "working"});
    bot.post(&format!("/repos/acme/shop/statuses/{base}"), status).expect(201);
    bot.get(&format!("/repos/acme/shop/commits/{base}/statuses")).expect(200);
    bot.get(&format!("/repos/acme/shop/commits/{base}/status")).expect(200);
    fake.job_log("acme/shop", 7, "it failed\n");
    bot.get("/repos/acme/shop/actions/jobs/7/logs").expect(302);

    // a person with a token, a hook of the repository, a fork, the merge
    let root = Client::new(&fake, &fake.token("root"));
    assert_eq!(root.get("/user").expect(200)["login"], "root");
    let hook =
        json!({"config": {"url": "http://127.0.0.1:9/hook", "content_type": "json"}, "events": ["issues"]});
    let hook = root.post("/repos/acme/shop/hooks", hook).expect(201);
    let at_hook = format!("/repos/acme/shop/hooks/{}", hook["id"]);
    root.get("/repos/acme/shop/hooks").expect(200);
    root.get(&at_hook).expect(200);
    root.patch(&at_hook, json!({"active": true})).expect(200);
    root.send("POST", &format!("{at_hook}/pings"), None).expect(204);
    fake.settled().await;
    let log = root.get(&format!("{at_hook}/deliveries")).expect(200);
    assert_eq!(log[0]["event"], "ping");
    root.get(&format!("{at_hook}/deliveries/{}", log[0]["id"])).expect(200);
    root.send("POST", &format!("{at_hook}/deliveries/{}/attempts", log[0]["id"]), None).expect(202);
    root.delete(&at_hook).expect(204);
    let mallory = fake.user("mallory");
    mallory.pushes("mallory/shop", "patch", "src/lib.rs", "two\n");
    let foreign = mallory.opens_pull_request("acme/shop", "mallory:patch", "main", "Mine", "");
    root.put(&format!("/repos/acme/shop/pulls/{foreign}/merge"), json!({})).expect(200);
    root.get(&format!("/repos/acme/shop/pulls/{foreign}/merge")).expect(204);
    fake.delete_repo("mallory/shop");
    assert_eq!(
        root.get(&format!("/repos/acme/shop/pulls/{foreign}")).expect(200)["head"]["repo"],
        json!(null)
    );
    root.delete("/repos/acme/shop/git/refs/heads/fix/tax").expect(204);

    assert_eq!(fake.violations(), Vec::<String>::new());
    // Two places where the description is wrong about GitHub: an account is to be a user and an enterprise at once, and
    // the repository of a head is never to be null, which it is when the fork is gone.
    let places: Vec<String> =
        fake.drift().iter().map(|line| line.splitn(3, ": ").take(2).collect::<Vec<_>>().join(": ")).collect();
    assert_eq!(
        places,
        [
            "GET /app/installations 200: at `/0/account`",
            "GET /repos/{owner}/{repo}/pulls/{pull_number} 200: at `/head/repo`",
        ]
    );
}
