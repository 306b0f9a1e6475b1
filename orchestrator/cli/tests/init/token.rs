//! Setting up with a person's token.

use serde_json::json;

use crate::{House, SHOP, mode, refused, said};

const ALL: [(&str, &str); 6] = [
    ("metadata", "read"),
    ("contents", "write"),
    ("issues", "write"),
    ("pull_requests", "write"),
    ("statuses", "write"),
    ("repository_hooks", "write"),
];

/// A token of alice, in a file, and its text.
fn token(house: &House, without: &[&str]) -> (String, String) {
    let permissions: Vec<_> = ALL.into_iter().filter(|(name, _)| !without.contains(name)).collect();
    let token = house.github.fine_grained_token("alice", &permissions);
    house.write("../token", &format!("{token}\n"));
    (house.path("../token").to_str().unwrap().to_owned(), token)
}

#[test]
fn a_token_is_checked_kept_and_its_webhook_made_once() {
    let house = House::new();
    let (file, token) = token(&house, &[]);
    let args = ["--token-file", &file, "--repo", SHOP, "--public-url", "https://agents.example.com"];
    let text = said(&house.init(&args).output().unwrap());
    assert!(text.contains("alice") && !text.contains(&token) && !text.contains("warning"), "{text}");
    assert_eq!(house.read("secrets/github-token"), token);
    assert_eq!(mode(&house.path("secrets/github-token")), 0o600);
    assert!(house.read("cloud-code.yaml").contains("  token_file: secrets/github-token\n"));
    let secret = house.read("secrets/github-webhook-secret");
    let asked = house.github.requests();
    let made = asked.iter().find(|asked| asked.method == "POST").unwrap();
    assert_eq!((made.path.as_str(), made.caller.as_str()), ("/repos/acme/shop/hooks", "alice"));
    assert_eq!(
        made.body["config"],
        json!({"url": "https://agents.example.com/webhooks/github", "content_type": "json", "insecure_ssl": "0", "secret": secret})
    );

    let (settings, again) = (house.read("cloud-code.yaml"), said(&house.init(&args).output().unwrap()));
    assert!(again.contains("there already"), "{again}");
    assert_eq!(house.count("POST", "/repos/acme/shop/hooks"), 1);
    assert_eq!(
        (house.read("cloud-code.yaml"), house.read("secrets/github-webhook-secret")),
        (settings, secret)
    );
    house.holds();
}

#[test]
fn what_the_token_may_not_is_named_and_the_hook_is_left_to_the_person() {
    let house = House::new();
    house.github.archive(SHOP, true);
    let (file, _) = token(&house, &["pull_requests", "repository_hooks"]);
    let args = ["--token-file", &file, "--repo", SHOP, "--public-url", "https://agents.example.com"];
    let text = said(&house.init(&args).output().unwrap());
    for part in ["lacks `pull_requests`", "archived", "/acme/shop/settings/hooks/new", "application/json"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains(&house.read("secrets/github-webhook-secret")), "{text}");
    house.holds();
}

#[test]
fn a_token_of_somebody_who_may_not_push_says_so() {
    let house = House::new();
    house.write("../token", &house.github.token("mallory"));
    let file = house.path("../token").to_str().unwrap().to_owned();
    let text = said(&house.init(&["--token-file", &file, "--repo", SHOP]).output().unwrap());
    assert!(text.contains("may not push there"), "{text}");
}

#[test]
fn a_token_that_github_does_not_take_leaves_nothing_behind() {
    let house = House::new();
    let unknown = "github_pat_11AAAAAAA0a0a0a0a0a0a0_test";
    house.write("../token", unknown);
    let file = house.path("../token").to_str().unwrap().to_owned();
    let told = refused(&house.init(&["--token-file", &file, "--repo", SHOP]).output().unwrap());
    assert!(told.contains("expired or revoked") && !told.contains(unknown), "{told}");
    assert!(!house.path("secrets/github-token").exists() && !house.path("cloud-code.yaml").exists());
}

#[test]
fn without_an_address_a_token_polls() {
    let house = House::new();
    let (file, _) = token(&house, &[]);
    said(&house.init(&["--token-file", &file, "--repo", SHOP]).output().unwrap());
    assert!(house.read("cloud-code.yaml").contains("intake: polling"));
    assert!(!house.path("secrets/github-webhook-secret").exists());
}
