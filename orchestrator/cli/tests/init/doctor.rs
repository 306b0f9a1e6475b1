//! The GitHub part of `doctor`: each fault is named with what mends it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::House;
use crate::github::{KEY, SECRET};

/// An App that is set up as it should be, in one repository.
fn house() -> House {
    let house = House::new();
    let api = format!("{}/api/v3", house.github.url());
    house.write("secrets/github-app.pem", KEY);
    house.write("secrets/github-webhook-secret", SECRET);
    for file in ["secrets/github-app.pem", "secrets/github-webhook-secret"] {
        fs::set_permissions(house.path(file), Permissions::from_mode(0o600)).unwrap();
    }
    house.write(
        "cloud-code.yaml",
        &format!(
            "github:\n  api_url: {api}\n  app: {{id: 4711, slug: acme-agent, private_key_file: secrets/github-app.pem}}\n  \
             webhook_secret_files: [secrets/github-webhook-secret]\nserver:\n  public_url: {}\n",
            house.github.url()
        ),
    );
    house.write("projects/shop.yaml", "github: acme/shop\n");
    let permissions = json!({"metadata": "read", "contents": "write", "issues": "write", "pull_requests": "write",
        "checks": "write", "statuses": "read"});
    let events = [
        "issues",
        "issue_comment",
        "pull_request",
        "pull_request_review",
        "pull_request_review_comment",
        "check_suite",
        "push",
    ];
    house.github.on(
        "GET /app",
        200,
        json!({"slug": "acme-agent", "permissions": permissions, "events": events,
            "owner": {"login": "acme", "type": "Organization"}}),
    );
    house.github.on(
        "GET /app/hook/config",
        200,
        json!({"url": format!("{}/webhooks/github", house.github.url()), "secret": "********", "content_type": "json"}),
    );
    let ok = |guid: &str, status: &str| json!({"guid": guid, "status": status});
    house.github.on(
        "GET /app/hook/deliveries",
        200,
        json!([ok("b", "OK"), ok("a", "OK"), ok("a", "timed out")]),
    );
    house.github.on("GET /repos/acme/shop/installation", 200, json!({"id": 9, "permissions": permissions}));
    house.github.on("POST /app/installations/9/access_tokens", 201, json!({"token": "ghs_test"}));
    house.github.on("GET /repos/acme/shop", 200, json!({"archived": false, "default_branch": "main"}));
    house.github.on("GET /repos/acme/shop/labels/ready-for-agent", 200, json!({"name": "ready-for-agent"}));
    house.github.on("GET /healthz", 200, json!("ok"));
    house
}

/// What `doctor` found about GitHub: subject, verdict, and found and fix in one text.
fn found(house: &House, args: &[&str]) -> Vec<(String, String, String)> {
    let output = house.command(&[&["doctor", "--json"], args].concat()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.contains("PRIVATE KEY") && !text.contains("ghs_test") && !text.contains(SECRET), "{text}");
    let field = |check: &Value, name: &str| check[name].as_str().unwrap_or_default().to_owned();
    let ours = [
        "github",
        "secrets",
        "app",
        "token",
        "events",
        "webhook",
        "deliveries",
        "clock",
        "address",
        "project",
        "labels",
        "limit",
    ];
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|check| {
            let told = format!("{} | {}", field(&check, "found"), field(&check, "fix"));
            (field(&check, "what"), field(&check, "verdict"), told)
        })
        .filter(|(what, _, _)| ours.contains(&what.as_str()))
        .collect()
}

fn faults(house: &House) -> Vec<(String, String, String)> {
    found(house, &[]).into_iter().filter(|(_, verdict, _)| verdict != "ok").collect()
}

#[test]
fn an_app_that_is_set_up_right_has_no_fault_and_signs_its_questions() {
    let house = house();
    assert_eq!(faults(&house), []);
    let asked = house.github.asked();
    let app = asked.iter().find(|asked| asked.what == "GET /app").unwrap();
    let statement = app.authorization.strip_prefix("Bearer ").unwrap();
    assert_eq!(statement.split('.').count(), 3);
    let repository = asked.iter().find(|asked| asked.what == "GET /repos/acme/shop").unwrap();
    assert_eq!(repository.authorization, "Bearer ghs_test");
    let minted = asked.iter().find(|asked| asked.what.ends_with("access_tokens")).unwrap();
    assert_eq!(minted.body, json!({"repositories": ["shop"]}));
}

#[test]
fn each_fault_is_named_with_what_mends_it() {
    type Break = fn(&House);
    let faulty: [(Break, &str, &[&str]); 11] = [
        (
            |house| {
                fs::set_permissions(house.path("secrets/github-app.pem"), Permissions::from_mode(0o644))
                    .unwrap()
            },
            "secrets",
            &["read by others", "chmod 600"],
        ),
        (
            |house| fs::remove_file(house.path("secrets/github-webhook-secret")).unwrap(),
            "secrets",
            &["no delivery can be checked"],
        ),
        (
            |house| {
                house.github.on("GET /app", 401, json!({"message": "A JSON web token could not be decoded"}))
            },
            "app",
            &["refuses its key", "could not be decoded"],
        ),
        (
            |house| {
                let body = json!({"slug": "acme-agent", "permissions": {"metadata": "read"}, "events": ["push"],
                    "owner": {"login": "acme", "type": "Organization"}});
                house.github.on("GET /app", 200, body);
            },
            "app",
            &[
                "lacks `contents: write`",
                "lacks `checks: write`",
                "/organizations/acme/settings/apps/acme-agent",
            ],
        ),
        (
            |house| {
                house.github.on(
                    "GET /app/hook/config",
                    200,
                    json!({"url": "https://old.example.com/x", "content_type": "form"}),
                )
            },
            "webhook",
            &["https://old.example.com/x", "no secret", "sends forms"],
        ),
        (
            |house| {
                let log = json!([{"guid": "c", "status": "failed to connect to host"}, {"guid": "b", "status": "OK"}]);
                house.github.on("GET /app/hook/deliveries", 200, log);
            },
            "deliveries",
            &["1 of the last 2 did not arrive", "failed to connect to host"],
        ),
        (|house| house.github.set_clock_off(-600), "clock", &["ahead of", "set-ntp"]),
        (
            |house| {
                house.github.on("GET /repos/acme/shop/installation", 404, json!({"message": "Not Found"}))
            },
            "project",
            &["not installed in acme/shop", "/apps/acme-agent/installations/new"],
        ),
        (
            |house| {
                house.github.on(
                    "GET /repos/acme/shop",
                    200,
                    json!({"archived": true, "default_branch": "main"}),
                )
            },
            "project",
            &["archived"],
        ),
        (
            |house| house.github.on("GET /repos/acme/shop/labels/ready-for-agent", 404, json!({})),
            "labels",
            &["`ready-for-agent` is not there", "doctor --fix"],
        ),
        (
            |house| house.github.on("GET /healthz", 502, json!({})),
            "address",
            &["answers 502", "cloud-code serve"],
        ),
    ];
    for (breaks, what, parts) in faulty {
        let house = house();
        breaks(&house);
        let told = faults(&house);
        let all: String =
            told.iter().filter(|(of, _, _)| of == what).map(|(_, _, told)| format!("{told}\n")).collect();
        for part in parts {
            assert!(all.contains(part), "{part} is not in {told:?}");
        }
    }
}

#[test]
fn a_missing_label_is_made_when_asked() {
    let house = house();
    house.github.on("GET /repos/acme/shop/labels/ready-for-agent", 404, json!({}));
    house.github.on("POST /repos/acme/shop/labels", 201, json!({}));
    let labels: Vec<_> =
        found(&house, &["--fix"]).into_iter().filter(|(what, _, _)| what == "labels").collect();
    assert_eq!(labels.len(), 1);
    assert!(
        labels.iter().all(|(_, verdict, told)| verdict == "ok" && told.contains("was made")),
        "{labels:?}"
    );
    assert_eq!(house.github.count("POST /repos/acme/shop/labels"), 1);
}

#[test]
fn without_a_network_it_says_so_and_checks_the_files() {
    let house = house();
    let text = house.read("cloud-code.yaml").replace(house.github.url(), "http://127.0.0.1:1");
    house.write("cloud-code.yaml", &text);
    let told = found(&house, &[]);
    let verdict =
        |of: &str| told.iter().find(|(what, _, _)| what == of).map(|(_, verdict, _)| verdict.as_str());
    assert_eq!(
        (verdict("secrets"), verdict("app"), verdict("address")),
        (Some("ok"), Some("warning"), Some("warning"))
    );
    assert!(
        told.iter().any(|(_, _, told)| told.contains("not checked") && told.contains("check the network")),
        "{told:?}"
    );
}
