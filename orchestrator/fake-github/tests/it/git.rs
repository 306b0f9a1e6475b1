//! The real git against it.

use std::path::Path;
use std::process::{Command, Output};

use cloud_code_fake_github::{AppSeed, FakeGithub, Fault, RepoSeed, Role, When};
use serde_json::json;
use tempfile::TempDir;

use crate::http::Client;

fn git(folder: &Path, args: &[&str]) -> Output {
    Command::new("git")
        .args(["-c", "user.name=alice", "-c", "user.email=alice@users.noreply.example"])
        .args(args)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C")
        .output()
        .unwrap()
}

#[track_caller]
fn fine(output: &Output) {
    assert!(output.status.success(), "{}", said(output));
}

#[track_caller]
fn fails(output: &Output, why: &str) {
    assert!(!output.status.success(), "it worked");
    assert!(said(output).contains(why), "{}", said(output));
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

struct Clone {
    _folder: TempDir,
    path: std::path::PathBuf,
}

fn url(fake: &FakeGithub, token: &str, repo: &str) -> String {
    fake.clone_url(repo).replace("http://", &format!("http://x-access-token:{token}@"))
}

fn clone(fake: &FakeGithub, token: &str) -> Clone {
    let folder = tempfile::tempdir().unwrap();
    fine(&git(folder.path(), &["clone", "--quiet", &url(fake, token, "acme/shop"), "shop"]));
    Clone { path: folder.path().join("shop"), _folder: folder }
}

fn commit(clone: &Clone, path: &str, content: &str) {
    let file = clone.path.join(path);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, content).unwrap();
    fine(&git(&clone.path, &["add", "."]));
    fine(&git(&clone.path, &["commit", "--quiet", "-m", "Change"]));
}

fn shop(seed: RepoSeed) -> (FakeGithub, String) {
    let fake = FakeGithub::start_blocking();
    fake.repo(seed.collaborator("alice", Role::Write));
    let app = fake.app(AppSeed::new("cloud-code").installed_on("acme"));
    let token = fake.installation_token(fake.installations(app)[0]);
    (fake, token)
}

#[test]
fn a_push_moves_its_pull_request_and_is_told() {
    let (fake, token) = shop(RepoSeed::new("acme/shop").private());
    let clone = clone(&fake, &token);
    fine(&git(&clone.path, &["checkout", "--quiet", "-b", "cloud-code/issue-1"]));
    commit(&clone, "a.txt", "one\n");
    fine(&git(&clone.path, &["push", "--quiet", "origin", "HEAD"]));
    let bot = Client::new(&fake, &token);
    let new = json!({"title": "Do it", "head": "cloud-code/issue-1", "base": "main"});
    bot.post("/repos/acme/shop/pulls", new).expect(201);
    commit(&clone, "a.txt", "two\n");
    fine(&git(&clone.path, &["push", "--quiet", "origin", "HEAD"]));
    assert_eq!(
        fake.pull_requests("acme/shop")[0].head_sha,
        fake.branch("acme/shop", "cloud-code/issue-1").unwrap()
    );
    fine(&git(&clone.path, &["fetch", "--quiet", "origin", "refs/pull/1/head"]));
    let told: Vec<String> = fake
        .deliveries()
        .iter()
        .map(|delivery| format!("{} {}", delivery.event, delivery.action.clone().unwrap_or_default()))
        .collect();
    assert_eq!(
        told,
        [
            "installation created",
            "push ",
            "check_suite requested",
            "pull_request opened",
            "push ",
            "pull_request synchronize",
            "check_suite requested",
        ]
    );
    assert_eq!(fake.deliveries()[4].payload["sender"]["login"], "cloud-code[bot]");
}

#[test]
fn a_protected_branch_is_refused_and_the_other_ref_goes_in() {
    let (fake, token) = shop(RepoSeed::new("acme/shop").protected("main"));
    let clone = clone(&fake, &token);
    commit(&clone, "a.txt", "one\n");
    let pushed = git(&clone.path, &["push", "origin", "HEAD:main", "HEAD:other"]);
    fails(&pushed, "remote: error: GH006: Protected branch update failed for refs/heads/main.");
    fails(&pushed, "main (protected branch hook declined)");
    assert_eq!(fake.branches("acme/shop"), ["main", "other"]);
    assert_ne!(fake.branch("acme/shop", "main"), fake.branch("acme/shop", "other"));
}

#[test]
fn a_workflow_file_needs_its_permission() {
    let (fake, token) = shop(RepoSeed::new("acme/shop"));
    let clone = clone(&fake, &token);
    commit(&clone, ".github/workflows/ci.yml", "on: push\n");
    let refusal = "refusing to allow a GitHub App to create or update workflow `.github/workflows/ci.yml` without `workflows` permission";
    fails(&git(&clone.path, &["push", "origin", "HEAD:ci"]), refusal);
    assert_eq!(fake.branch("acme/shop", "ci"), None);
    fine(&git(&clone.path, &["push", "--quiet", &url(&fake, &fake.token("alice"), "acme/shop"), "HEAD:ci"]));
    assert!(fake.branch("acme/shop", "ci").is_some());
}

#[test]
fn who_may_not_is_told_as_by_github() {
    let (fake, token) = shop(RepoSeed::new("acme/shop").private());
    let clone = clone(&fake, &token);
    commit(&clone, "a.txt", "one\n");
    let push = |token: &str| git(&clone.path, &["push", &url(&fake, token, "acme/shop"), "HEAD:x"]);
    fails(&push("ghs_unknown"), "Authentication failed");
    fails(&push(&fake.token("mallory")), "not found");
    fake.set_role("acme/shop", "bob", Role::Read);
    fails(&push(&fake.token("bob")), "403");
    fails(&push(&fake.token("bob")), "Permission to acme/shop.git denied to bob.");
    fake.archive("acme/shop", true);
    fails(&push(&token), "This repository was archived so it is read-only.");
    fake.archive("acme/shop", false);
    fake.rename("acme/shop", "store");
    fine(&push(&token));
    assert!(fake.branch("acme/store", "x").is_some());
    fake.expire_tokens();
    fails(&push(&token), "Authentication failed");
}

#[test]
fn a_push_breaks_where_the_test_says() {
    let (fake, token) = shop(RepoSeed::new("acme/shop"));
    let clone = clone(&fake, &token);
    commit(&clone, "a.txt", "one\n");
    let push = |branch: &str| git(&clone.path, &["push", "origin", &format!("HEAD:{branch}")]);
    let receive = "/acme/shop.git/git-receive-pack";

    fake.fault("POST", receive, Fault::CutMidUpload);
    assert!(!push("mid").status.success());
    assert_eq!(fake.branch("acme/shop", "mid"), None);

    fake.fault("POST", receive, Fault::EffectThenCut);
    assert!(!push("after").status.success());
    assert!(fake.branch("acme/shop", "after").is_some());

    fake.fault("POST", receive, Fault::TokenExpired);
    assert!(!push("expired").status.success());
    assert_eq!(fake.branch("acme/shop", "expired"), None);
    assert_eq!(fake.faults_waiting(), 0);
    fine(&push("expired"));
}

#[tokio::test]
async fn a_client_killed_after_its_push_has_pushed() {
    let (fake, token) = shop(RepoSeed::new("acme/shop"));
    let clone = clone(&fake, &token);
    commit(&clone, "a.txt", "one\n");
    fake.hold_write(1, When::After);
    let mut child = Command::new("git")
        .args(["push", "origin", "HEAD:held"])
        .current_dir(&clone.path)
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let held = fake.held().await;
    assert_eq!(held.path, "/acme/shop.git/git-receive-pack");
    child.kill().unwrap();
    child.wait().unwrap();
    fake.cut_held();
    assert!(fake.branch("acme/shop", "held").is_some());
}
