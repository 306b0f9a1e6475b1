//! A person's token.

use serde_json::json;

use crate::{House, mode, refused, said};

const TOKEN: &str = "github_pat_11AAAAAAA0a0a0a0a0a0a0_test";

fn house() -> House {
    let house = House::new();
    house.write("../token", &format!("{TOKEN}\n"));
    house.github.on("GET /user", 200, json!({"login": "alice", "id": 1}));
    let repository = json!({"archived": false, "default_branch": "main", "permissions": {"push": true}});
    house.github.on("GET /repos/acme/shop", 200, repository);
    for list in ["commits", "issues", "pulls"] {
        house.github.on(&format!("GET /repos/acme/shop/{list}"), 200, json!([]));
    }
    house
}

fn token_file(house: &House) -> String {
    house.path("../token").to_str().unwrap().to_owned()
}

#[test]
fn a_token_is_checked_kept_and_its_webhook_made_once() {
    let house = house();
    house.github.on("GET /repos/acme/shop/hooks", 200, json!([]));
    house.github.on("POST /repos/acme/shop/hooks", 201, json!({"id": 9}));
    let file = token_file(&house);
    let args = ["--token-file", &file, "--repo", "acme/shop", "--public-url", "https://agents.example.com"];
    let text = said(&house.init(&args).output().unwrap());
    assert!(text.contains("alice") && !text.contains(TOKEN) && !text.contains("warning"), "{text}");
    assert_eq!(house.read("secrets/github-token"), TOKEN);
    assert_eq!(mode(&house.path("secrets/github-token")), 0o600);
    assert!(house.read("cloud-code.yaml").contains("  token_file: secrets/github-token\n"));
    let secret = house.read("secrets/github-webhook-secret");
    let asked = house.github.asked();
    let made = asked.iter().find(|asked| asked.what == "POST /repos/acme/shop/hooks").unwrap();
    assert_eq!(made.authorization, format!("Bearer {TOKEN}"));
    assert_eq!(
        made.body["config"],
        json!({"url": "https://agents.example.com/webhooks/github", "content_type": "json", "insecure_ssl": "0", "secret": secret})
    );

    let hook = json!([{"id": 9, "config": {"url": "https://agents.example.com/webhooks/github"}}]);
    house.github.on("GET /repos/acme/shop/hooks", 200, hook);
    let (settings, again) = (house.read("cloud-code.yaml"), said(&house.init(&args).output().unwrap()));
    assert!(again.contains("there already"), "{again}");
    assert_eq!(house.github.count("POST /repos/acme/shop/hooks"), 1);
    assert_eq!(
        (house.read("cloud-code.yaml"), house.read("secrets/github-webhook-secret")),
        (settings, secret)
    );
}

#[test]
fn what_the_token_may_not_is_named_and_the_hook_is_left_to_the_person() {
    let house = house();
    let forbidden = json!({"message": "Resource not accessible by personal access token"});
    house.github.on("GET /repos/acme/shop/issues", 403, forbidden.clone());
    house.github.on("GET /repos/acme/shop/hooks", 403, forbidden);
    let repository = json!({"archived": true, "permissions": {"push": false}});
    house.github.on("GET /repos/acme/shop", 200, repository);
    let file = token_file(&house);
    let args = ["--token-file", &file, "--repo", "acme/shop", "--public-url", "https://agents.example.com"];
    let text = said(&house.init(&args).output().unwrap());
    for part in
        ["lacks `issues`", "archived", "may not push", "/acme/shop/settings/hooks/new", "application/json"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains(&house.read("secrets/github-webhook-secret")), "{text}");
}

#[test]
fn a_token_that_github_does_not_take_leaves_nothing_behind() {
    let house = house();
    house.github.on("GET /user", 401, json!({"message": "Bad credentials"}));
    let file = token_file(&house);
    let told = refused(&house.init(&["--token-file", &file, "--repo", "acme/shop"]).output().unwrap());
    assert!(told.contains("expired or revoked") && !told.contains(TOKEN), "{told}");
    assert!(!house.path("secrets/github-token").exists() && !house.path("cloud-code.yaml").exists());
}

#[test]
fn without_an_address_a_token_polls() {
    let house = house();
    let file = token_file(&house);
    said(&house.init(&["--token-file", &file, "--repo", "acme/shop"]).output().unwrap());
    assert!(house.read("cloud-code.yaml").contains("intake: polling"));
    assert!(!house.path("secrets/github-webhook-secret").exists());
}
