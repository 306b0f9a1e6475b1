//! The GitHub part of `doctor`: what would keep a comment from becoming a pull request, with what mends it.
//!
//! Each check asks one thing and goes on when another failed. Without a network it says so and checks the files.

mod jwt;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use cloud_code_model::{GlobalSettings, IntakeMode, ProjectName, ProjectSettings, RepositoryName};
use jiff::Timestamp;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::doctor::Check;
use super::init::github::{Answer, As, Github};
use super::init::manifest::{EVENTS, PERMISSIONS, webhook_url};
use crate::ui;

/// A clock that is further off makes statements of the App that GitHub takes for expired, or for not yet valid.
const MAX_CLOCK_SECONDS: i64 = 60;
/// Fewer requests left than this will not carry a task to its end.
const FEW_REQUESTS: u64 = 500;
/// How many of the last deliveries are looked at.
const DELIVERIES: usize = 30;
/// Modes of secret files that are fine: nobody else may read.
const FOR_OTHERS: u32 = 0o077;
/// The colour of labels that `--fix` makes.
const LABEL_COLOUR: &str = "5319e7";

/// What is to be done about what can be mended from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mend {
    /// Say it.
    Tell,
    /// Do it.
    Do,
}

/// A project that lives on GitHub.
#[derive(Debug, Clone)]
pub(super) struct OnGithub {
    pub(super) name: ProjectName,
    pub(super) repository: RepositoryName,
    pub(super) settings: ProjectSettings,
}

/// Everything that is looked at.
pub(super) struct Scene<'a> {
    pub(super) home: &'a Path,
    pub(super) settings: &'a GlobalSettings,
    pub(super) projects: &'a [OnGithub],
    pub(super) now: Timestamp,
    pub(super) mend: Mend,
}

/// All checks; none where GitHub is not set up. Blocking.
pub(super) fn checks(scene: &Scene<'_>) -> Vec<Check> {
    let settings = &scene.settings.github;
    if settings.app.is_none() && settings.token_file.is_none() {
        return match scene.projects {
            [] => Vec::new(),
            _ => vec![Check::missing(
                "github",
                "projects name a repository, and nobody acts there",
                "cloud-code init",
            )],
        };
    }
    let github = match Github::of_api(settings.api_url.as_deref()) {
        Ok(github) => github,
        Err(error) => {
            return vec![Check::missing(
                "github",
                error.to_string(),
                "set `github.api_url` in cloud-code.yaml",
            )];
        }
    };
    let mut checks = Vec::new();
    secrets(scene, &mut checks);
    match &settings.app {
        Some(app) => match read_secret(scene.home, &app.private_key_file) {
            Ok(key) => as_app(scene, &github, app.id, &key, &mut checks),
            Err(check) => checks.push(*check),
        },
        None => {
            if let Some(file) = &settings.token_file {
                match read_secret(scene.home, file) {
                    Ok(token) => as_token(scene, &github, &token, &mut checks),
                    Err(check) => checks.push(*check),
                }
            }
        }
    }
    public_address(scene, &mut checks);
    checks
}

fn read_secret(home: &Path, file: &str) -> Result<SecretString, Box<Check>> {
    let path = home.join(file);
    match fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => Ok(SecretString::from(text.trim())),
        Ok(_) => Err(Box::new(Check::missing(
            "github",
            format!("{} is empty", path.display()),
            "cloud-code init --replace",
        ))),
        Err(error) => {
            let found = format!("cannot read {}: {error}", path.display());
            Err(Box::new(Check::missing(
                "github",
                found,
                "cloud-code init, or correct the path in cloud-code.yaml",
            )))
        }
    }
}

/// Who may read the secrets.
fn secrets(scene: &Scene<'_>, checks: &mut Vec<Check>) {
    let settings = &scene.settings.github;
    let app = settings.app.iter().map(|app| &app.private_key_file);
    let files: Vec<&String> = app.chain(&settings.token_file).chain(&settings.webhook_secret_files).collect();
    let mut fine = true;
    for file in &files {
        let path = scene.home.join(file);
        // One that is not there is told where it is used.
        let Ok(there) = fs::metadata(&path) else {
            if settings.webhook_secret_files.contains(file) {
                let found = format!("{} is not there, so no delivery can be checked", path.display());
                checks.push(Check::missing(
                    "secrets",
                    found,
                    "cloud-code init, or correct `github.webhook_secret_files`",
                ));
                fine = false;
            }
            continue;
        };
        let mode = there.permissions().mode() & 0o777;
        if mode & FOR_OTHERS != 0 {
            fine = false;
            let found = format!("{} can be read by others (mode {mode:o})", path.display());
            checks.push(Check::missing("secrets", found, format!("chmod 600 {}", path.display())));
        }
    }
    if fine {
        checks.push(Check::ok("secrets", format!("{} files, readable by this user alone", files.len())));
    }
    if settings.intake.unwrap_or_default() == IntakeMode::Webhook && settings.webhook_secret_files.is_empty()
    {
        checks.push(Check::missing(
            "webhook",
            "there is no webhook secret, so nothing is taken in",
            "cloud-code init",
        ));
    }
}

/// An answer, or the check that says why there is none.
fn asked(what: &'static str, answer: anyhow::Result<Answer>) -> Result<Answer, Box<Check>> {
    answer.map_err(|error| {
        let found = format!("not checked: {}", ui::one_line(&error.to_string()));
        Box::new(Check::warning(what, found, "check the network and `github.api_url`, then run doctor again"))
    })
}

/// The clock, by the time that GitHub's answer carries. Told before a refusal, which it may be the reason of.
fn clock(scene: &Scene<'_>, answer: &Answer, checks: &mut Vec<Check>) {
    let Some(date) = answer
        .header("date")
        .and_then(|text| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok())
    else {
        return;
    };
    let off = scene.now.duration_since(date).as_secs();
    if off.abs() > MAX_CLOCK_SECONDS {
        let found = format!(
            "{} s {} GitHub's; its App's statements are refused",
            off.abs(),
            if off > 0 { "ahead of" } else { "behind" }
        );
        checks.push(Check::missing("clock", found, "timedatectl set-ntp true"));
    } else {
        checks.push(Check::ok("clock", format!("{} s off GitHub's", off.abs())));
    }
}

fn as_app(scene: &Scene<'_>, github: &Github, id: u64, key: &SecretString, checks: &mut Vec<Check>) {
    let statement = match jwt::statement(id, key, scene.now) {
        Ok(statement) => statement,
        Err(error) => {
            let fix = "make a new key on the App's page, and put it there";
            checks.push(Check::missing("app", error.to_string(), fix));
            return;
        }
    };
    let who = As::Bearer(&statement);
    let app = match asked("app", github.get("/app", who)) {
        Ok(app) => app,
        Err(check) => return checks.push(*check),
    };
    clock(scene, &app, checks);
    if !app.is_success() {
        let fix =
            "correct `github.app.id` and the key, or the clock; cloud-code init --replace makes a new App";
        checks.push(Check::missing("app", format!("GitHub refuses its key: {}", app.complaint()), fix));
        return;
    }
    let slug = ui::one_line(app.text("/slug").unwrap_or_default());
    checks.push(Check::ok("app", format!("{slug}, {id}")));
    let page = match (app.text("/owner/type"), app.text("/owner/login")) {
        (Some("Organization"), Some(owner)) => {
            format!("{}/organizations/{owner}/settings/apps/{slug}", github.web())
        }
        _ => format!("{}/settings/apps/{slug}", github.web()),
    };
    grants("app", &app.body, &format!("{page}/permissions"), checks);
    events(&app.body, &format!("{page}/permissions"), checks);
    hook(scene, github, who, &page, checks);
    for project in scene.projects {
        let path = format!("/repos/{}/installation", project.repository);
        let installation = match asked("project", github.get(&path, who)) {
            Ok(installation) => installation,
            Err(check) => return checks.push(*check),
        };
        if !installation.is_success() {
            let found = format!("{}: the App is not installed in {}", project.name, project.repository);
            let fix = format!("{}/apps/{slug}/installations/new", github.web());
            checks.push(Check::missing("project", found, fix));
            continue;
        }
        let accept = installation.text("/html_url").unwrap_or(&page).to_owned();
        grants("project", &installation.body, &accept, checks);
        let number = installation.body.get("id").and_then(Value::as_u64).unwrap_or_default();
        // A token for this one repository, of an hour, that goes nowhere else.
        let wanted = json!({"repositories": [project.repository.name()]});
        let minted = asked(
            "project",
            github.post(&format!("/app/installations/{number}/access_tokens"), who, &wanted),
        );
        match minted {
            Ok(minted) => match minted.text("/token") {
                Some(token) => repository(scene, github, &SecretString::from(token), project, checks),
                None => {
                    let found = format!("{}: GitHub mints no token: {}", project.name, minted.complaint());
                    checks.push(Check::missing(
                        "project",
                        found,
                        "look at the installation's page, it may be suspended",
                    ));
                }
            },
            Err(check) => checks.push(*check),
        }
    }
}

/// What is missing of what is needed, one check each.
fn grants(what: &'static str, body: &Value, page: &str, checks: &mut Vec<Check>) {
    let granted = |name: &str| body.pointer(&format!("/permissions/{name}")).and_then(Value::as_str);
    let mut complete = true;
    for (name, need, why) in PERMISSIONS {
        if !need.is_met_by(granted(name)) {
            complete = false;
            let found = format!("lacks `{name}: {}`, {why}", need.as_str());
            checks.push(Check::missing(
                what,
                found,
                format!("grant it at {page}, then accept it in the installation"),
            ));
        }
    }
    if complete {
        checks.push(Check::ok(what, "has every permission it needs"));
    }
}

fn events(body: &Value, page: &str, checks: &mut Vec<Check>) {
    let list: Vec<&str> = body
        .get("events")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let missing: Vec<&str> = EVENTS.into_iter().filter(|event| !list.contains(event)).collect();
    if missing.is_empty() {
        checks.push(Check::ok("events", format!("{} subscribed", EVENTS.len())));
    } else {
        let found = format!("not subscribed: {}", missing.join(", "));
        checks.push(Check::missing("events", found, format!("tick them at {page}")));
    }
}

/// The App's webhook and how its last deliveries went.
fn hook(scene: &Scene<'_>, github: &Github, who: As<'_>, page: &str, checks: &mut Vec<Check>) {
    let mode = scene.settings.github.intake.unwrap_or_default();
    if mode == IntakeMode::Polling {
        return;
    }
    let config = match asked("webhook", github.get("/app/hook/config", who)) {
        Ok(config) => config,
        Err(check) => return checks.push(*check),
    };
    let expected = webhook_url(scene.settings.server.public_url.as_deref());
    match (config.text("/url"), mode) {
        (Some(url), IntakeMode::Webhook) if url != expected => {
            let found =
                format!("GitHub calls {}, and `server.public_url` makes it {expected}", ui::one_line(url));
            checks.push(Check::missing(
                "webhook",
                found,
                format!("correct one of them; GitHub's is at {page}"),
            ));
        }
        (Some(url), _) => checks.push(Check::ok("webhook", ui::one_line(url))),
        (None, _) => {
            let found = format!("the App has no webhook: {}", config.complaint());
            checks.push(Check::missing(
                "webhook",
                found,
                format!("make it active with {expected} at {page}"),
            ));
            return;
        }
    }
    if config.text("/secret").is_none_or(str::is_empty) {
        let fix = format!("set the content of the first of `github.webhook_secret_files` at {page}");
        checks.push(Check::missing("webhook", "GitHub has no secret for it, so its calls are refused", fix));
    }
    if config.text("/content_type").is_some_and(|kind| kind != "json") {
        checks.push(Check::missing(
            "webhook",
            "it sends forms",
            format!("choose application/json at {page}"),
        ));
    }
    if mode == IntakeMode::Webhook {
        last_deliveries(github, who, page, checks);
    }
}

fn last_deliveries(github: &Github, who: As<'_>, page: &str, checks: &mut Vec<Check>) {
    let log =
        match asked("deliveries", github.get(&format!("/app/hook/deliveries?per_page={DELIVERIES}"), who)) {
            Ok(log) => log,
            Err(check) => return checks.push(*check),
        };
    let Some(items) = log.body.as_array() else {
        let found = format!("GitHub's log cannot be read: {}", log.complaint());
        checks.push(Check::warning("deliveries", found, "run doctor again later"));
        return;
    };
    let text =
        |item: &Value, name: &str| item.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    // An event counts as told when any of its attempts was.
    let told: Vec<String> =
        items.iter().filter(|item| text(item, "status") == "OK").map(|item| text(item, "guid")).collect();
    let failed: Vec<&Value> = items.iter().filter(|item| !told.contains(&text(item, "guid"))).collect();
    match failed.first() {
        None => checks.push(Check::ok("deliveries", format!("the last {} arrived", items.len()))),
        Some(last) => {
            let found = format!(
                "{} of the last {} did not arrive, the newest with `{}`",
                failed.len(),
                items.len(),
                ui::one_line(&text(last, "status"))
            );
            let fix =
                format!("see {page}/advanced; `cloud-code serve` fetches what was missed of the last days");
            checks.push(Check::warning("deliveries", found, fix));
        }
    }
}

fn as_token(scene: &Scene<'_>, github: &Github, token: &SecretString, checks: &mut Vec<Check>) {
    let user = match asked("token", github.get("/user", As::Bearer(token))) {
        Ok(user) => user,
        Err(check) => return checks.push(*check),
    };
    clock(scene, &user, checks);
    if !user.is_success() {
        let found = format!("GitHub does not take it: {}", user.complaint());
        checks.push(Check::missing("token", found, "cloud-code init --replace --token-file PATH"));
        return;
    }
    checks.push(Check::ok("token", format!("{}'s", ui::one_line(user.text("/login").unwrap_or("nobody")))));
    for project in scene.projects {
        repository(scene, github, token, project, checks);
    }
}

/// One project's repository, with a token that may look at it.
fn repository(
    scene: &Scene<'_>,
    github: &Github,
    token: &SecretString,
    project: &OnGithub,
    checks: &mut Vec<Check>,
) {
    let (name, who) = (&project.repository, As::Bearer(token));
    let found = match asked("project", github.get(&format!("/repos/{name}"), who)) {
        Ok(found) => found,
        Err(check) => return checks.push(*check),
    };
    let file = format!("projects/{}.yaml", project.name);
    match found.status {
        200 => {}
        301 => {
            let fix = format!("write its new name as `github` in {file}");
            checks.push(Check::missing("project", format!("{}: {name} was renamed", project.name), fix));
            return;
        }
        _ => {
            let told =
                format!("{}: {name} is not there, or cannot be seen: {}", project.name, found.complaint());
            checks.push(Check::missing(
                "project",
                told,
                format!("correct `github` in {file}, or grant access"),
            ));
            return;
        }
    }
    if found.body.get("archived").and_then(Value::as_bool) == Some(true) {
        let told = format!("{}: {name} is archived, so nothing can be pushed", project.name);
        checks.push(Check::missing("project", told, format!("unarchive it, or remove {file}")));
    }
    let branch = found.text("/default_branch").unwrap_or_default();
    checks.push(Check::ok(
        "project",
        format!("{}: {name}, starts from {}", project.name, ui::one_line(branch)),
    ));
    if let Some(base) = &project.settings.base
        && base.as_str() != branch
    {
        let there = github.get(&format!("/repos/{name}/branches/{}", base.as_str().replace('/', "%2F")), who);
        if there.is_ok_and(|there| there.status == 404) {
            let told = format!("{}: the branch `{base}` is not there", project.name);
            checks.push(Check::missing("project", told, format!("correct `base` in {file}")));
        }
    }
    labels(scene, github, who, project, checks);
    requests_left(&found, checks);
}

/// The labels that start work.
fn labels(scene: &Scene<'_>, github: &Github, who: As<'_>, project: &OnGithub, checks: &mut Vec<Check>) {
    let name = &project.repository;
    for label in project.settings.triggers.resolved().labels {
        let path = format!("/repos/{name}/labels/{}", escaped(&label));
        match github.get(&path, who) {
            Ok(there) if there.is_success() => {}
            Ok(there) if there.status == 404 && scene.mend == Mend::Do => {
                let body =
                    json!({"name": label, "color": LABEL_COLOUR, "description": "Starts work of cloud-code"});
                match asked("labels", github.post(&format!("/repos/{name}/labels"), who, &body)) {
                    Ok(made) if made.is_success() => {
                        checks.push(Check::ok("labels", format!("{name}: `{label}` was made")));
                    }
                    Ok(made) => {
                        let told = format!("{name}: `{label}` cannot be made: {}", made.complaint());
                        checks.push(Check::warning("labels", told, "grant `issues: write`"));
                    }
                    Err(check) => checks.push(*check),
                }
            }
            Ok(there) if there.status == 404 => {
                let told = format!("{name}: the label `{label}` is not there");
                checks.push(Check::warning("labels", told, "cloud-code doctor --fix"));
            }
            Ok(_) | Err(_) => {
                let told = format!("{name}: not checked whether the label `{label}` is there");
                checks.push(Check::warning("labels", told, "run doctor again"));
            }
        }
    }
}

/// A name as one part of an address.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

fn requests_left(answer: &Answer, checks: &mut Vec<Check>) {
    let number = |name: &str| answer.header(name).and_then(|text| text.parse::<u64>().ok());
    if let (Some(left), Some(limit)) = (number("x-ratelimit-remaining"), number("x-ratelimit-limit")) {
        let found = format!("{left} of {limit} requests left this hour");
        checks.push(match left < FEW_REQUESTS {
            true => Check::warning(
                "limit",
                found,
                "wait for the next hour; raise `github.poll_interval` when it comes again",
            ),
            false => Check::ok("limit", found),
        });
    }
}

/// Whether the world can call us.
fn public_address(scene: &Scene<'_>, checks: &mut Vec<Check>) {
    let Some(url) = &scene.settings.server.public_url else { return };
    let fix = "start `cloud-code serve`, and point the proxy or tunnel of that address at `server.listen`";
    let server = match Github::of_api(Some(url)) {
        Ok(server) => server,
        Err(error) => {
            checks.push(Check::missing("address", error.to_string(), "correct `server.public_url`"));
            return;
        }
    };
    match server.get("/healthz", As::Nobody) {
        Ok(answer) if answer.is_success() => checks.push(Check::ok("address", format!("{url} answers"))),
        Ok(answer) => {
            checks.push(Check::warning("address", format!("{url}/healthz answers {}", answer.status), fix));
        }
        Err(error) => checks.push(Check::warning("address", ui::one_line(&error.to_string()), fix)),
    }
}
