//! The GitHub part of `doctor`: each fault is named with what mends it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::door::Door;
use crate::{House, SHOP, said};

/// An App that is set up as it should be, in one repository, by `init` itself.
fn house() -> House {
    made(200, |_| {})
}

/// As `house`, with a public address that answers so, and an App that a person changed on GitHub's page.
fn made(status: u16, changed: impl FnOnce(&mut Value)) -> House {
    let house = House::new();
    let door = Door::open(status);
    house.makes_an_app(&["--app-name", "acme-agent", "--public-url", &door.url, "--repo", SHOP], changed);
    house.github.install(house.app_id(), "acme", None);
    house
}

/// What `doctor` found about GitHub: subject, verdict, and found and fix in one text.
fn found(house: &House, args: &[&str]) -> Vec<(String, String, String)> {
    let output = house.command(&[&["doctor", "--json"], args].concat()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        !text.contains("PRIVATE KEY") && !text.contains("ghs_") && !text.contains("webhook-secret-"),
        "{text}"
    );
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
fn an_app_that_is_set_up_right_has_no_fault() {
    let house = house();
    assert_eq!(faults(&house), []);
    let told = found(&house, &[]);
    for what in ["secrets", "clock", "app", "events", "webhook", "deliveries", "project", "limit", "address"]
    {
        assert!(told.iter().any(|(of, _, _)| of == what), "{what} was not looked at: {told:?}");
    }
    house.holds();
}

#[test]
fn each_fault_is_named_with_what_mends_it() {
    type Break = fn() -> House;
    let faulty: [(Break, &str, &[&str]); 13] = [
        (
            || {
                let house = house();
                let key = house.path("secrets/github-app.pem");
                fs::set_permissions(key, Permissions::from_mode(0o644)).unwrap();
                house
            },
            "secrets",
            &["read by others", "chmod 600"],
        ),
        (
            || {
                let house = house();
                fs::remove_file(house.path("secrets/github-webhook-secret")).unwrap();
                house
            },
            "secrets",
            &["no delivery can be checked"],
        ),
        (
            || {
                let house = house();
                house.write("secrets/github-app.pem", "-----BEGIN RSA PRIVATE KEY-----\nxx\n");
                house
            },
            "app",
            &["new key on the App's page"],
        ),
        (
            || {
                let house = house();
                let id = house.app_id();
                let text = house.read("cloud-code.yaml").replace(&format!("id: {id}"), "id: 999999");
                house.write("cloud-code.yaml", &text);
                house
            },
            "app",
            &["refuses its key", "github.app.id"],
        ),
        (
            || made(200, |manifest| manifest["default_permissions"] = json!({"metadata": "read"})),
            "app",
            &[
                "lacks `contents: write`",
                "lacks `checks: write`",
                "lacks `statuses: read`",
                "/organizations/acme/settings/apps/acme-agent",
            ],
        ),
        (
            || made(200, |manifest| manifest["default_events"] = json!(["push"])),
            "events",
            &["issue_comment", "repository"],
        ),
        (
            || {
                let house = house();
                house.github.deliver_to("https://old.example.com/x", "another");
                house
            },
            "webhook",
            &["https://old.example.com/x", "server.public_url"],
        ),
        (
            || {
                let house = house();
                house.github.lose_next(1);
                house.github.user("alice").opens_issue(SHOP, "Prices are wrong", "");
                house
            },
            "deliveries",
            &["1 of the last", "did not arrive", "fetches what was missed"],
        ),
        (
            || {
                let house = house();
                let installed = house.github.installations(house.app_id());
                house.github.uninstall(installed[0]);
                house
            },
            "project",
            &["not installed in acme/shop", "/apps/acme-agent/installations/new"],
        ),
        (
            || {
                let house = house();
                house.github.archive(SHOP, true);
                house
            },
            "project",
            &["archived"],
        ),
        (
            || {
                let house = house();
                house.write("projects/shop.yaml", "github: acme/shop\nbase: nothing\n");
                house
            },
            "project",
            &["the branch `nothing` is not there", "correct `base`"],
        ),
        (
            || {
                let house = house();
                house.write("projects/shop.yaml", "github: acme/shop\ntriggers: {labels: [go on]}\n");
                house
            },
            "labels",
            &["`go on` is not there", "doctor --fix"],
        ),
        (|| made(502, |_| {}), "address", &["answers 502", "cloud-code serve"]),
    ];
    for (breaks, what, parts) in faulty {
        let house = breaks();
        let told = faults(&house);
        let all: String =
            told.iter().filter(|(of, _, _)| of == what).map(|(_, _, told)| format!("{told}\n")).collect();
        for part in parts {
            assert!(all.contains(part), "{part} is not in {told:?}");
        }
        house.holds();
    }
}

#[test]
fn a_missing_label_is_made_when_asked() {
    let house = house();
    house.write("projects/shop.yaml", "github: acme/shop\ntriggers: {labels: [go on]}\n");
    let labels: Vec<_> =
        found(&house, &["--fix"]).into_iter().filter(|(what, _, _)| what == "labels").collect();
    assert_eq!(labels.len(), 1);
    assert!(
        labels.iter().all(|(_, verdict, told)| verdict == "ok" && told.contains("was made")),
        "{labels:?}"
    );
    assert_eq!(house.github.repository_labels(SHOP), ["ready-for-agent", "go on"]);
    assert_eq!(faults(&house), []);
    house.holds();
}

#[test]
fn a_token_is_checked_as_far_as_github_tells() {
    let house = House::new();
    let door = Door::open(200);
    let permissions =
        [("metadata", "read"), ("contents", "write"), ("issues", "write"), ("repository_hooks", "write")];
    house.write("../token", &house.github.fine_grained_token("alice", &permissions));
    let file = house.path("../token").to_str().unwrap().to_owned();
    said(&house.init(&["--token-file", &file, "--public-url", &door.url, "--repo", SHOP]).output().unwrap());
    let told = found(&house, &[]);
    let of = |of: &str| -> Vec<(&str, &str)> {
        told.iter().filter(|(what, ..)| what == of).map(|(_, v, told)| (v.as_str(), told.as_str())).collect()
    };
    assert_eq!(of("clock").len(), 1);
    let token = of("token");
    assert_eq!(token[0], ("ok", "alice's | "));
    assert_eq!(token.len(), 2, "{token:?}");
    assert!(token[1].0 == "missing" && token[1].1.contains("lacks `pull_requests`"), "{token:?}");
    assert!(token[1].1.contains("/settings/personal-access-tokens"), "{token:?}");
    assert_eq!(of("webhook"), [("ok", format!("{SHOP}: {}/webhooks/github | ", door.url).as_str())]);
    assert_eq!(of("project"), [("ok", "shop: acme/shop, starts from main | ")]);
    house.github.rename(SHOP, "store");
    let told = faults(&house);
    let renamed = told.iter().find(|(what, ..)| what == "project").unwrap();
    assert!(renamed.2.contains("is now called acme/store | write its new name as `github`"), "{told:?}");
    house.holds();
}

#[test]
fn without_a_network_it_says_so_and_checks_the_files() {
    let house = house();
    let text = house.read("cloud-code.yaml").replace(&house.github.web_url(), "http://127.0.0.1:1");
    house.write("cloud-code.yaml", &text);
    let told = found(&house, &[]);
    let verdict =
        |of: &str| told.iter().find(|(what, _, _)| what == of).map(|(_, verdict, _)| verdict.as_str());
    assert_eq!(
        (verdict("secrets"), verdict("clock"), verdict("address")),
        (Some("ok"), Some("warning"), Some("ok"))
    );
    assert!(
        told.iter().any(|(_, _, told)| told.contains("not checked") && told.contains("check the network")),
        "{told:?}"
    );
}
