//! An App made in the browser.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use cloud_code_fake_github::{AppSeed, Fault};
use serde_json::{Value, json};

use crate::{House, Waiting, browse, mode, refused, said};

/// The action and the manifest of the page, and the state in the action.
pub(crate) fn form(page: &str) -> (String, Value, String) {
    let unescaped = |text: &str| text.replace("&quot;", "\"").replace("&#39;", "'").replace("&amp;", "&");
    let between = |from: &str| {
        let rest = page.split(from).nth(1).unwrap();
        unescaped(rest.split('"').next().unwrap())
    };
    let action = between("action=\"");
    let manifest = serde_json::from_str(&between("name=\"manifest\" value=\"")).unwrap();
    let state = action.split("state=").nth(1).unwrap().to_owned();
    (action, manifest, state)
}

#[test]
fn an_app_is_made_from_the_page_to_the_settings_and_a_second_run_changes_nothing() {
    let house = House::new();
    house.write("cloud-code.yaml", "# our machine\nserver:\n  listen: 127.0.0.1:9999 # behind caddy\n");
    let args = [
        "--owner",
        "acme",
        "--app-name",
        "acme-agent",
        "--public-url",
        "https://agents.example.com",
        "--repo",
        "acme/Shop",
        "--repo",
        "acme/site",
        "--cli",
        "codex",
    ];
    let waiting = Waiting::start(house.init(&args));
    let (status, page) = browse(&waiting.page);
    assert_eq!(status, 200);
    let (action, manifest, state) = form(&page);
    assert_eq!(
        action,
        format!("{}/organizations/acme/settings/apps/new?state={state}", house.github.web_url())
    );
    assert_eq!(manifest["name"], "acme-agent");
    assert_eq!(
        manifest["hook_attributes"],
        json!({"url": "https://agents.example.com/webhooks/github", "active": true})
    );
    assert_eq!(manifest["redirect_url"], format!("{}callback", waiting.page));

    let back =
        |code: &str, state: &str| browse(&format!("{}callback?code={code}&state={state}", waiting.page));
    let code = house.github.manifest_code(&manifest);
    let (status, told) = back(&code, "0123456789abcdef");
    assert_eq!(status, 400, "{told}");
    assert_eq!(house.github.requests().len(), 0, "a foreign answer was used");
    let (status, told) = back(&code, &state);
    assert_eq!(status, 200, "{told}");
    assert!(told.contains("/apps/acme-agent/installations/new"), "{told}");
    let (ended, text) = waiting.end();
    assert!(ended, "{text}");
    assert!(text.contains("/apps/acme-agent/installations/new"), "{text}");
    let secret = house.read("secrets/github-webhook-secret");
    for text in [&text, &told] {
        assert!(!text.contains(&secret) && !text.contains("PRIVATE KEY"), "{text}");
    }

    assert_eq!(house.read("secrets/github-app.pem"), house.github.app_key());
    assert!(secret.starts_with("webhook-secret-"), "{secret}");
    assert_eq!(mode(&house.path("secrets")), 0o700);
    assert_eq!(mode(&house.path("secrets/github-app.pem")), 0o600);
    assert_eq!(mode(&house.path("secrets/github-webhook-secret")), 0o600);
    let settings = house.read("cloud-code.yaml");
    assert_eq!(
        settings,
        format!(
            "# our machine\nserver:\n  listen: 127.0.0.1:9999 # behind caddy\n  public_url: \
             https://agents.example.com\ngithub:\n  intake: webhook\n  api_url: {}/api/v3\n  app:\n    id: {}\n    \
             private_key_file: secrets/github-app.pem\n    slug: acme-agent\n  webhook_secret_files:\n    - \
             secrets/github-webhook-secret\n",
            house.github.web_url(),
            house.app_id()
        )
    );
    let project = house.read("projects/shop.yaml");
    assert_eq!(
        project,
        format!("github: acme/Shop\nrepo: {}/acme/Shop.git\ncli: codex\n", house.github.web_url())
    );
    assert!(house.path("projects/site.yaml").is_file());
    said(&house.command(&["validate", house.path("cloud-code.yaml").to_str().unwrap()]).output().unwrap());

    house.write("projects/shop.yaml", &format!("{project}model: large # ours\n"));
    let again = said(&house.init(&args).output().unwrap());
    assert!(again.contains("stays"), "{again}");
    assert_eq!(house.read("cloud-code.yaml"), settings);
    assert_eq!(house.read("projects/shop.yaml"), format!("{project}model: large # ours\n"));
    assert_eq!(house.github.requests().len(), 1, "the App was made twice");
    house.holds();
}

#[test]
fn a_code_that_was_used_is_told_plainly_in_the_browser_and_the_terminal() {
    let house = House::new();
    let waiting = Waiting::start(house.init(&[]));
    let (_, _, state) = form(&browse(&waiting.page).1);
    let (status, told) = browse(&format!("{}callback?code=used&state={state}", waiting.page));
    assert_eq!(status, 502, "{told}");
    let (ended, text) = waiting.end();
    assert!(!ended);
    for text in [told, text] {
        assert!(text.contains("works once"), "{text}");
    }
    assert!(!house.path("secrets/github-app.pem").exists());
    assert!(!house.path("cloud-code.yaml").exists());
}

#[test]
fn without_a_listener_the_address_is_pasted() {
    let house = House::new();
    let mut command = house.init(&["--manual"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let page = house.path("make-github-app.html");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !page.is_file() {
        assert!(std::time::Instant::now() < deadline, "no page was written");
        std::thread::yield_now();
    }
    let (_, manifest, state) = form(&fs::read_to_string(&page).unwrap());
    assert_eq!(
        manifest["hook_attributes"],
        json!({"url": "https://cloud-code.invalid/webhooks/github", "active": true}),
        "without an address of ours nobody else may get the deliveries"
    );
    let mut stdin = child.stdin.take().unwrap();
    let code = house.github.manifest_code(&manifest);
    writeln!(stdin, "http://127.0.0.1:1/callback?code={code}&state={state}").unwrap();
    said(&child.wait_with_output().unwrap());
    assert!(house.read("cloud-code.yaml").contains("intake: deliveries"));
    assert!(!page.exists());
}

#[test]
fn an_app_without_a_webhook_secret_is_given_one_of_ours() {
    let house = House::new();
    let args = ["--public-url", "https://agents.example.com"];
    let text = house.makes_an_app(&args, |manifest| manifest["fake_without_secret"] = json!(true));
    let secret = house.read("secrets/github-webhook-secret");
    assert_eq!(secret.len(), 64, "not of our making");
    assert!(!text.contains(&secret) && !text.contains("warning"), "{text}");
    let asked = house.github.requests();
    let set = asked.iter().find(|asked| asked.method == "PATCH" && asked.path == "/app/hook/config").unwrap();
    assert_eq!(
        set.body,
        json!({"url": "https://agents.example.com/webhooks/github", "content_type": "json", "secret": secret})
    );
    assert!(house.read("cloud-code.yaml").contains("- secrets/github-webhook-secret\n"));
    house.holds();
}

#[test]
fn a_webhook_that_cannot_be_signed_is_left_to_the_person() {
    let house = House::new();
    house.github.fault("PATCH", "/app/hook/config", Fault::Status(500));
    let args = ["--public-url", "https://agents.example.com"];
    let text = house.makes_an_app(&args, |manifest| manifest["fake_without_secret"] = json!(true));
    for part in ["warning", "https://agents.example.com/webhooks/github", "secrets/github-webhook-secret"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains(&house.read("secrets/github-webhook-secret")), "{text}");
    assert_eq!(house.github.faults_waiting(), 0);
}

#[test]
fn an_app_that_is_there_is_taken_with_its_key_and_its_webhook_is_signed() {
    let house = House::new();
    let id = house.github.app(AppSeed::new("acme-agent")).to_string();
    house.write("../key.pem", house.github.app_key());
    let key = house.path("../key.pem").to_str().unwrap().to_owned();
    let args = ["--app-id", &id, "--app-key", &key, "--public-url", "https://agents.example.com"];

    let told = refused(&house.init(&[&args[..], &["--app-slug", "other"]].concat()).output().unwrap());
    assert!(told.contains("is called `acme-agent`"), "{told}");
    assert!(!house.path("secrets/github-app.pem").exists() && !house.path("cloud-code.yaml").exists());

    let text = said(&house.init(&args).output().unwrap());
    assert!(text.contains("The App acme-agent is taken"), "{text}");
    assert_eq!(house.read("secrets/github-app.pem"), house.github.app_key());
    assert_eq!(mode(&house.path("secrets/github-app.pem")), 0o600);
    assert_eq!(house.app_id().to_string(), id);
    let secret = house.read("secrets/github-webhook-secret");
    assert!(!text.contains(&secret) && !text.contains("PRIVATE KEY"), "{text}");
    assert_eq!(house.count("PATCH", "/app/hook/config"), 1);

    let (settings, again) = (house.read("cloud-code.yaml"), said(&house.init(&args).output().unwrap()));
    assert_eq!(house.count("PATCH", "/app/hook/config"), 1, "{again}");
    assert_eq!(
        (house.read("cloud-code.yaml"), house.read("secrets/github-webhook-secret")),
        (settings, secret)
    );
    house.holds();
}

#[test]
fn the_webhook_of_an_app_that_is_there_is_moved_with_a_yes_only() {
    let house = House::new();
    let id = house.github.app(AppSeed::new("acme-agent")).to_string();
    house.github.deliver_to("https://old.example.com/hook", "old");
    house.write("../key.pem", house.github.app_key());
    let key = house.path("../key.pem").to_str().unwrap().to_owned();
    let args = ["--app-id", &id, "--app-key", &key, "--public-url", "https://agents.example.com"];
    let told = refused(&house.init(&args).output().unwrap());
    assert!(told.contains("https://old.example.com/hook") && told.contains("--replace"), "{told}");
    assert_eq!(house.count("PATCH", "/app/hook/config"), 0);
    said(&house.init(&[&args[..], &["--replace"]].concat()).output().unwrap());
    assert_eq!(house.count("PATCH", "/app/hook/config"), 1);
    house.holds();
}

#[test]
fn what_a_person_wrote_is_replaced_with_a_yes_only_and_before_github_is_asked() {
    let house = House::new();
    let text = "server:\n  public_url: https://old.example.com\n";
    house.write("cloud-code.yaml", text);
    let told = refused(&house.init(&["--public-url", "https://new.example.com"]).output().unwrap());
    assert!(
        told.contains("server.public_url: https://old.example.com") && told.contains("--replace"),
        "{told}"
    );
    assert_eq!(house.read("cloud-code.yaml"), text);
    assert_eq!(house.github.requests().len(), 0);

    house.write("cloud-code.yaml", "github: {poll_interval: 90s}\n");
    let told = refused(&house.init(&[]).output().unwrap());
    assert!(told.contains("by hand") && told.contains("github.intake: deliveries"), "{told}");
}

#[test]
fn without_a_terminal_it_says_how_to_go_on() {
    let house = House::new();
    let told = refused(&house.command(&["init"]).output().unwrap());
    assert!(told.contains("--non-interactive"), "{told}");
}
