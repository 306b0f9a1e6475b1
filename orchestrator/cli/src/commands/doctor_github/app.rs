//! The App and its webhook, and the webhooks of a token's repositories.

use cloud_code_forge::{Access, AppFacts, EVENTS, ForgeError, Github, HookConfig, HookOwner, PERMISSIONS};
use cloud_code_model::IntakeMode;

use super::{OnGithub, Scene, asked, is_silence, project};
use crate::commands::doctor::Check;
use crate::commands::init::manifest::webhook_url;
use crate::commands::init::place::Place;
use crate::ui;

pub(super) async fn check(
    scene: &Scene<'_>,
    place: &Place,
    github: &Github,
    id: u64,
    checks: &mut Vec<Check>,
) {
    let app = match github.app().await {
        Ok(app) => app,
        Err(error) if is_silence(&error) => return checks.extend(asked::<()>("app", Err(error)).err()),
        Err(error) => {
            let fix = "correct `github.app.id` and the key, or the clock; cloud-code init --replace makes a new App";
            let found = format!("GitHub refuses its key: {}", ui::one_line(&error.to_string()));
            checks.push(Check::missing("app", found, fix));
            return;
        }
    };
    checks.push(Check::ok("app", format!("{}, {id}", ui::one_line(&app.slug))));
    let page = settings_page(place, &app);
    grants("app", |name| app.asks_for(name), &format!("{page}/permissions"), checks);
    events(&app, &format!("{page}/permissions"), checks);
    hook(scene, github, &page, checks).await;
    for project in scene.projects {
        installed(scene, place, github, &app, project, checks).await;
    }
}

fn settings_page(place: &Place, app: &AppFacts) -> String {
    let slug = ui::one_line(&app.slug);
    let owner = app.owner.as_ref().filter(|owner| owner.kind.as_deref() == Some("Organization"));
    match owner.and_then(|owner| owner.login.as_deref()) {
        Some(login) => {
            format!("{}/organizations/{}/settings/apps/{slug}", place.web(), ui::one_line(login))
        }
        None => format!("{}/settings/apps/{slug}", place.web()),
    }
}

/// What is missing of what is needed, one check each.
fn grants(what: &'static str, granted: impl Fn(&str) -> Access, page: &str, checks: &mut Vec<Check>) {
    let mut complete = true;
    for needed in PERMISSIONS {
        if granted(needed.name).falls_short_of(needed.access) {
            complete = false;
            let found = format!("lacks `{}: {}`, {}", needed.name, needed.access.word(), needed.why);
            let fix = format!("grant it at {page}, then accept it in the installation");
            checks.push(Check::missing(what, found, fix));
        }
    }
    if complete {
        checks.push(Check::ok(what, "has every permission it needs"));
    }
}

fn events(app: &AppFacts, page: &str, checks: &mut Vec<Check>) {
    let missing: Vec<&str> =
        EVENTS.into_iter().filter(|event| !app.events.iter().any(|there| there == event)).collect();
    if missing.is_empty() {
        checks.push(Check::ok("events", format!("{} subscribed", EVENTS.len())));
    } else {
        let found = format!("not subscribed: {}", missing.join(", "));
        checks.push(Check::missing("events", found, format!("tick them at {page}")));
    }
}

/// The App's webhook and how its last deliveries went.
async fn hook(scene: &Scene<'_>, github: &Github, page: &str, checks: &mut Vec<Check>) {
    let mode = scene.settings.github.intake.unwrap_or_default();
    if mode == IntakeMode::Polling {
        return;
    }
    let expected = webhook_url(scene.settings.server.public_url.as_deref());
    let config = match github.hook_config().await {
        Ok(config) => config,
        Err(error) if is_silence(&error) => return checks.extend(asked::<()>("webhook", Err(error)).err()),
        Err(error) => {
            let found = format!("the App has no webhook: {}", ui::one_line(&error.to_string()));
            checks.push(Check::missing(
                "webhook",
                found,
                format!("make it active with {expected} at {page}"),
            ));
            return;
        }
    };
    match (config.url.as_deref().filter(|url| !url.is_empty()), mode) {
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
            let fix = format!("make it active with {expected} at {page}");
            checks.push(Check::missing("webhook", "the App's webhook has no address", fix));
        }
    }
    if mode == IntakeMode::Webhook {
        form(&config, page, checks);
        last_deliveries(github, page, checks).await;
    }
}

fn form(config: &HookConfig, page: &str, checks: &mut Vec<Check>) {
    if !config.has_secret {
        let fix = format!("set the content of the first of `github.webhook_secret_files` at {page}");
        checks.push(Check::missing("webhook", "GitHub has no secret for it, so its calls are refused", fix));
    }
    if config.content_type.as_deref().is_some_and(|kind| kind != "json") {
        let fix = format!("choose application/json at {page}");
        checks.push(Check::missing("webhook", "it sends forms", fix));
    }
}

async fn last_deliveries(github: &Github, page: &str, checks: &mut Vec<Check>) {
    let log = match asked("deliveries", github.delivery_log(&HookOwner::App).list(None).await) {
        Ok(log) => log.deliveries,
        Err(check) => return checks.push(check),
    };
    // An event counts as told when any of its attempts was.
    let told: Vec<&str> =
        log.iter().filter(|item| item.has_arrived()).map(|item| item.guid.as_str()).collect();
    let failed: Vec<_> = log.iter().filter(|item| !told.contains(&item.guid.as_str())).collect();
    checks.push(match failed.first() {
        None => Check::ok("deliveries", format!("the last {} arrived", log.len())),
        Some(last) => {
            let (bad, all, status) = (failed.len(), log.len(), ui::one_line(&last.status));
            let found = format!("{bad} of the last {all} did not arrive, the newest with `{status}`");
            let fix =
                format!("see {page}/advanced; `cloud-code serve` fetches what was missed of the last days");
            Check::warning("deliveries", found, fix)
        }
    });
}

/// A project's installation, and its repository.
async fn installed(
    scene: &Scene<'_>,
    place: &Place,
    github: &Github,
    app: &AppFacts,
    project: &OnGithub,
    checks: &mut Vec<Check>,
) {
    let install = format!("{}/apps/{}/installations/new", place.web(), ui::one_line(&app.slug));
    let forge = match github.repository(&project.repository).await {
        Ok(forge) => forge,
        Err(error) if is_silence(&error) => return checks.extend(asked::<()>("project", Err(error)).err()),
        Err(ForgeError::NotFound { .. }) => {
            let found = format!("{}: the App is not installed in {}", project.name, project.repository);
            checks.push(Check::missing("project", found, install));
            return;
        }
        Err(error) => {
            let found = format!("{}: {}", project.name, ui::one_line(&error.to_string()));
            checks.push(Check::missing("project", found, format!("look at the installation: {install}")));
            return;
        }
    };
    if let Ok(found) = forge.repository().await {
        grants("project", |name| found.grants.of(name), &install, checks);
    }
    project::check(scene, forge.as_ref(), project, checks).await;
}

/// The webhook of a repository, where a token works.
pub(super) async fn repository_hook(
    scene: &Scene<'_>,
    place: &Place,
    github: &Github,
    project: &OnGithub,
    checks: &mut Vec<Check>,
) {
    if scene.settings.github.intake.unwrap_or_default() != IntakeMode::Webhook {
        return;
    }
    let (name, url) = (&project.repository, webhook_url(scene.settings.server.public_url.as_deref()));
    let page = format!("{}/{name}/settings/hooks", place.web());
    match github.repository_hook(name, &url).await {
        Ok(Some(config)) => {
            checks.push(Check::ok("webhook", format!("{name}: {url}")));
            form(&config, &page, checks);
        }
        Ok(None) => {
            let fix = format!("cloud-code init, or add it at {page}/new");
            checks.push(Check::missing("webhook", format!("{name} has no webhook to {url}"), fix));
        }
        Err(ForgeError::NotFound { .. } | ForgeError::Forbidden { .. }) => {
            let found = format!("{name}: the token may not see webhooks, so this is not checked");
            checks.push(Check::warning("webhook", found, format!("look at {page} for {url}")));
        }
        Err(error) => checks.extend(asked::<()>("webhook", Err(error)).err()),
    }
}
