//! The App about itself: its installations, its tokens, and the flow that makes one from a manifest.

use serde_json::{Value, json};

use crate::answer::{Answer, Outcome, Refused, not_found, refused};
use crate::auth::{APP_KEY, Caller};
use crate::call::Call;
use crate::render::app::permissions_json;
use crate::render::optional_time;
use crate::router::{Need, Route, route};
use crate::state::{App, Level, Permissions, World};

pub(super) const ROUTES: &[Route] = &[
    route("GET", "/app", Need::App, app),
    route("GET", "/app/installations", Need::App, installations),
    route("GET", "/app/installations/{installation_id}", Need::App, installation),
    route("POST", "/app/installations/{installation_id}/access_tokens", Need::App, access_token),
    route("POST", "/app-manifests/{code}/conversions", Need::Nothing, conversion),
    // Not Need::Repo: the App itself asks, and whether it is installed is the question.
    route("GET", "/repos/{owner}/{repo}/installation", Need::App, repo_installation),
    route("GET", "/installation/repositories", Need::Installation, repositories),
];

pub(super) fn me<'a>(world: &'a World, call: &Call) -> Result<&'a App, Refused> {
    match call.caller {
        Caller::App(id) => world.app(id).ok_or_else(not_found),
        Caller::Nobody | Caller::Installation { .. } | Caller::Person { .. } => Err(not_found()),
    }
}

fn app(world: &mut World, call: &Call) -> Outcome {
    let app = me(world, call)?;
    let mut body = world.app_json(Some(app.id));
    body["installations_count"] =
        json!(world.installations.iter().filter(|installed| installed.app == app.id).count());
    Ok(Answer::ok(body))
}

fn installations(world: &mut World, call: &Call) -> Outcome {
    let app = me(world, call)?.id;
    let list = world
        .installations
        .iter()
        .filter(|installed| installed.app == app)
        .map(|installed| world.installation_json(installed))
        .collect();
    Ok(call.page(world, list))
}

fn installation(world: &mut World, call: &Call) -> Outcome {
    let app = me(world, call)?.id;
    let installed = world.installation(call.number(0)?).filter(|installed| installed.app == app);
    Ok(Answer::ok(world.installation_json(installed.ok_or_else(not_found)?)))
}

fn repo_installation(world: &mut World, call: &Call) -> Outcome {
    let app = me(world, call)?.id;
    let name = format!("{}/{}", call.param(0), call.param(1));
    let repo = world.repo_named(&name).ok_or_else(not_found)?;
    let installed = world.installation_on(app, repo.id).ok_or_else(not_found)?;
    Ok(Answer::ok(world.installation_json(installed)))
}

fn access_token(world: &mut World, call: &Call) -> Outcome {
    let app = me(world, call)?.id;
    let installed = world
        .installation(call.number(0)?)
        .filter(|installed| installed.app == app)
        .cloned()
        .ok_or_else(not_found)?;
    if installed.suspended_at.is_some() {
        return Err(refused(403, "This installation has been suspended"));
    }
    let permissions = match call.body.get("permissions").and_then(Value::as_object) {
        None => installed.permissions.clone(),
        Some(asked) => {
            let mut narrowed = Permissions::new();
            for (name, level) in asked {
                let level = level.as_str().and_then(Level::parse);
                let held = installed.permissions.get(name);
                match (level, held) {
                    (Some(level), Some(held)) if *held >= level => narrowed.insert(name.clone(), level),
                    _ => {
                        return Err(refused(
                            422,
                            "The permissions requested are not granted to this installation.",
                        ));
                    }
                };
            }
            narrowed
        }
    };
    let repos = asked_repos(world, call)?;
    if let Some(repos) = &repos {
        let known = |id: &u64| {
            installed.covers(*id) && world.repo(*id).is_some_and(|repo| repo.owner == installed.account)
        };
        if !repos.iter().all(known) {
            return Err(refused(
                422,
                "There is at least one repository that does not exist or is not accessible to the parent installation.",
            ));
        }
    }
    let selected = repos.is_some() || installed.repos.is_some();
    let token = world.add_installation_token(&installed, repos.clone(), permissions.clone());
    let mut body = json!({
        "token": token.text,
        "expires_at": optional_time(token.expires_at),
        "permissions": permissions_json(&permissions),
        "repository_selection": if selected { "selected" } else { "all" },
    });
    if let Some(repos) = repos {
        body["repositories"] =
            repos.iter().filter_map(|id| world.repo(*id)).map(|repo| world.repo_json(repo)).collect();
    }
    Ok(Answer::created(body))
}

/// The repositories a token is asked for, by id or by name; `None` for all of the installation's.
fn asked_repos(world: &World, call: &Call) -> Result<Option<Vec<u64>>, Refused> {
    if let Some(ids) = call.body.get("repository_ids").and_then(Value::as_array) {
        return Ok(Some(ids.iter().filter_map(Value::as_u64).collect()));
    }
    let Some(names) = call.texts("repositories") else { return Ok(None) };
    let account = world.installation(call.number(0)?).map(|installed| installed.account);
    Ok(Some(
        names
            .iter()
            .map(|name| {
                world
                    .repos
                    .iter()
                    .find(|repo| Some(repo.owner) == account && repo.name.eq_ignore_ascii_case(name))
                    .map_or(0, |repo| repo.id)
            })
            .collect(),
    ))
}

/// Once only: the code is used up by the first answer, also by one that gets lost.
fn conversion(world: &mut World, call: &Call) -> Outcome {
    let at = world.manifest_codes.iter().position(|(code, _)| code == call.param(0)).ok_or_else(not_found)?;
    let (_, manifest) = world.manifest_codes.remove(at);
    let name = manifest["name"].as_str().unwrap_or("cloud-code").to_owned();
    let slug = name.to_lowercase().replace(' ', "-");
    let permissions: Permissions = manifest["default_permissions"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, level)| Some((name.clone(), Level::parse(level.as_str()?)?)))
        .collect();
    let events = manifest["default_events"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let events = events.map(str::to_owned).collect();
    let owner = manifest["fake_owner"].as_str().unwrap_or("octocat").to_owned();
    let owner = world.add_user(&owner, "User");
    let id = world.add_app(&slug, owner, permissions, events);
    // GitHub's description lets it be null.
    let is_unsigned = manifest["fake_without_secret"].as_bool().unwrap_or(false);
    let secret = (!is_unsigned).then(|| format!("webhook-secret-{}", world.token_number()));
    let url = manifest["hook_attributes"]["url"].as_str().map(str::to_owned);
    let mut client = String::new();
    for app in world.apps.iter_mut().filter(|app| app.id == id) {
        app.name.clone_from(&name);
        app.hook_url.clone_from(&url);
        app.hook_secret.clone_from(&secret);
        client.clone_from(&app.client_id);
    }
    let mut body = world.app_json(Some(id));
    body["client_id"] = json!(client);
    body["client_secret"] = json!(format!("client-secret-{id}"));
    body["webhook_secret"] = json!(secret);
    body["pem"] = json!(APP_KEY);
    Ok(Answer::created(body))
}

fn repositories(world: &mut World, call: &Call) -> Outcome {
    let list: Vec<Value> = world
        .repos
        .iter()
        .filter(|repo| crate::router::covers(world, &call.caller, repo))
        .map(|repo| world.repo_json(repo))
        .collect();
    let mut answer = call.page_in(world, "repositories", list);
    if let (Caller::Installation { installation, .. }, crate::answer::Content::Json(body)) =
        (&call.caller, &mut answer.body)
    {
        let all = world.installation(*installation).is_some_and(|installed| installed.repos.is_none());
        body["repository_selection"] = json!(if all { "all" } else { "selected" });
    }
    Ok(answer)
}
