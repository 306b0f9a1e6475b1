//! Webhooks: the App's, those of a repository, and the logs of their deliveries.

use serde_json::{Value, json};

use crate::answer::{Answer, Outcome, Refused, custom, not_found};
use crate::call::{Call, with_link};
use crate::render::time;
use crate::router::{Need, Route, route};
use crate::state::{Hook, Level, Repo, Role, World};
use crate::webhooks::{Delivery, Fate, Target};

use super::app::me;

const MANAGES: Need = Need::Repo { any_of: &[("repository_hooks", Level::Write)], role: Role::Admin };
const READS: Need = Need::Repo { any_of: &[("repository_hooks", Level::Read)], role: Role::Admin };

pub(super) const ROUTES: &[Route] = &[
    route("GET", "/app/hook/config", Need::App, app_config),
    route("PATCH", "/app/hook/config", Need::App, set_app_config),
    route("GET", "/app/hook/deliveries", Need::App, app_deliveries),
    route("GET", "/app/hook/deliveries/{delivery_id}", Need::App, app_delivery),
    route("POST", "/app/hook/deliveries/{delivery_id}/attempts", Need::App, app_attempt),
    route("GET", "/repos/{owner}/{repo}/hooks", READS, list),
    route("POST", "/repos/{owner}/{repo}/hooks", MANAGES, create),
    route("GET", "/repos/{owner}/{repo}/hooks/{hook_id}", READS, get),
    route("PATCH", "/repos/{owner}/{repo}/hooks/{hook_id}", MANAGES, update),
    route("DELETE", "/repos/{owner}/{repo}/hooks/{hook_id}", MANAGES, delete),
    route("POST", "/repos/{owner}/{repo}/hooks/{hook_id}/pings", MANAGES, ping),
    route("GET", "/repos/{owner}/{repo}/hooks/{hook_id}/deliveries", READS, deliveries),
    route("GET", "/repos/{owner}/{repo}/hooks/{hook_id}/deliveries/{delivery_id}", READS, delivery),
    route(
        "POST",
        "/repos/{owner}/{repo}/hooks/{hook_id}/deliveries/{delivery_id}/attempts",
        MANAGES,
        attempt,
    ),
];

fn config(url: Option<&str>, secret: bool, content_type: &str) -> Value {
    let mut config =
        json!({"content_type": content_type, "insecure_ssl": "0", "url": url.unwrap_or_default()});
    if secret {
        config["secret"] = json!("********");
    }
    config
}

fn app_config(world: &mut World, call: &Call) -> Outcome {
    let app = me(world, call)?;
    Ok(Answer::ok(config(app.hook_url.as_deref(), app.hook_secret.is_some(), "json")))
}

fn set_app_config(world: &mut World, call: &Call) -> Outcome {
    let id = me(world, call)?.id;
    for app in world.apps.iter_mut().filter(|app| app.id == id) {
        if let Some(url) = call.text("url") {
            app.hook_url = Some(url.to_owned());
        }
        if let Some(secret) = call.text("secret") {
            app.hook_secret = Some(secret.to_owned());
        }
    }
    app_config(world, call)
}

/// Newest first, by cursor: a page begins below the id that the cursor names. What the test holds back has not
/// happened yet for GitHub's log.
fn log(world: &World, call: &Call, target: Target) -> Outcome {
    let size: usize = call.query("per_page").and_then(|text| text.parse().ok()).unwrap_or(30).clamp(1, 100);
    let below = call
        .query("cursor")
        .map(|cursor| cursor.trim_start_matches("v1_").parse::<u64>())
        .transpose()
        .map_err(|_| custom("Hook", "Invalid cursor"))?;
    let failed = |delivery: &&Delivery| {
        let (_, code) = delivery.status();
        match call.query("status") {
            Some("failure") => (400..600).contains(&code),
            Some("success") => (200..400).contains(&code),
            _ => true,
        }
    };
    let mut found: Vec<&Delivery> = world
        .deliveries
        .iter()
        .filter(|delivery| delivery.target == target && !matches!(delivery.fate, Fate::Held | Fate::Sending))
        .filter(|delivery| below.is_none_or(|below| delivery.id < below))
        .filter(failed)
        .collect();
    found.sort_by_key(|delivery| std::cmp::Reverse(delivery.id));
    let more = found.len() > size;
    found.truncate(size);
    let link = found
        .last()
        .filter(|_| more)
        .map(|last| call.link(world, &[("cursor", &format!("v1_{}", last.id))], "next"));
    Ok(with_link(Answer::ok(found.into_iter().map(Delivery::item_json).collect()), link))
}

fn find(world: &World, target: Target, id: u64) -> Result<&Delivery, Refused> {
    world
        .deliveries
        .iter()
        .find(|delivery| delivery.id == id && delivery.target == target && delivery.fate != Fate::Held)
        .ok_or_else(not_found)
}

/// 202: the attempt is made later, and shows in the log as a delivery of its own with the same GUID.
fn again(world: &mut World, target: Target, id: u64) -> Outcome {
    find(world, target, id)?;
    world.redeliver.push(id);
    Ok(Answer::json(202, json!({})))
}

fn app_deliveries(world: &mut World, call: &Call) -> Outcome {
    let target = Target::App(me(world, call)?.id);
    log(world, call, target)
}

fn app_delivery(world: &mut World, call: &Call) -> Outcome {
    let target = Target::App(me(world, call)?.id);
    Ok(Answer::ok(find(world, target, call.number(0)?)?.full_json()))
}

fn app_attempt(world: &mut World, call: &Call) -> Outcome {
    let target = Target::App(me(world, call)?.id);
    again(world, target, call.number(0)?)
}

fn hook_json(world: &World, repo: &Repo, hook: &Hook) -> Value {
    let url = format!("{}/hooks/{}", world.repo_url(repo), hook.id);
    json!({
        "type": "Repository",
        "id": hook.id,
        "name": "web",
        "active": hook.active,
        "events": hook.events,
        "config": config(Some(&hook.url), hook.secret.is_some(), &hook.content_type),
        "updated_at": time(hook.updated_at),
        "created_at": time(hook.created_at),
        "url": url,
        "test_url": format!("{url}/test"),
        "ping_url": format!("{url}/pings"),
        "deliveries_url": format!("{url}/deliveries"),
        "last_response": {"code": null, "status": "unused", "message": null},
    })
}

fn found<'a>(world: &'a World, call: &Call) -> Result<(&'a Repo, &'a Hook), Refused> {
    let repo = call.repo(world)?;
    let id = call.number(2)?;
    let hook = repo.hooks.iter().find(|hook| hook.id == id).ok_or_else(not_found)?;
    Ok((repo, hook))
}

fn list(world: &mut World, call: &Call) -> Outcome {
    let repo = call.repo(world)?;
    let list = repo.hooks.iter().map(|hook| hook_json(world, repo, hook)).collect();
    Ok(call.page(world, list))
}

fn get(world: &mut World, call: &Call) -> Outcome {
    let (repo, hook) = found(world, call)?;
    Ok(Answer::ok(hook_json(world, repo, hook)))
}

fn create(world: &mut World, call: &Call) -> Outcome {
    let text = |name: &str| call.body["config"][name].as_str().map(str::to_owned);
    let url = text("url").ok_or_else(|| custom("Hook", "URL cannot be blank"))?;
    let events = call.texts("events").unwrap_or_else(|| vec!["push".to_owned()]);
    if call.repo(world)?.hooks.iter().any(|hook| hook.url == url && hook.events == events) {
        return Err(custom("Hook", "Hook already exists on this repository"));
    }
    let (id, now) = (world.id(), world.now());
    let hook = Hook {
        id,
        url,
        secret: text("secret"),
        content_type: text("content_type").unwrap_or_else(|| "form".to_owned()),
        events,
        active: call.body["active"].as_bool().unwrap_or(true),
        created_at: now,
        updated_at: now,
    };
    world.repo_mut(call.repo).ok_or_else(not_found)?.hooks.push(hook.clone());
    send_ping(world, call, &hook)?;
    Ok(Answer::created(hook_json(world, call.repo(world)?, &hook)))
}

fn update(world: &mut World, call: &Call) -> Outcome {
    let id = call.number(2)?;
    let now = world.now();
    let repo = world.repo_mut(call.repo).ok_or_else(not_found)?;
    let hook = repo.hooks.iter_mut().find(|hook| hook.id == id).ok_or_else(not_found)?;
    let text = |name: &str| call.body["config"][name].as_str().map(str::to_owned);
    hook.url = text("url").unwrap_or_else(|| hook.url.clone());
    hook.secret = text("secret").or_else(|| hook.secret.take());
    hook.content_type = text("content_type").unwrap_or_else(|| hook.content_type.clone());
    hook.active = call.body["active"].as_bool().unwrap_or(hook.active);
    hook.updated_at = now;
    if let Some(events) = call.texts("events") {
        hook.events = events;
    }
    get(world, call)
}

fn delete(world: &mut World, call: &Call) -> Outcome {
    let id = found(world, call)?.1.id;
    world.repo_mut(call.repo).ok_or_else(not_found)?.hooks.retain(|hook| hook.id != id);
    Ok(Answer::empty(204))
}

fn ping(world: &mut World, call: &Call) -> Outcome {
    let hook = found(world, call)?.1.clone();
    send_ping(world, call, &hook)?;
    Ok(Answer::empty(204))
}

fn send_ping(world: &mut World, call: &Call, hook: &Hook) -> Result<(), Refused> {
    let actor = call.actor(world)?;
    let mut shown = hook_json(world, call.repo(world)?, hook);
    if let Value::Object(shown) = &mut shown {
        shown.remove("test_url");
    }
    let payload = json!({"zen": "Keep it logically awesome.", "hook_id": hook.id, "hook": shown});
    world.post_to_hook(hook.id, "ping", call.repo, actor, payload);
    Ok(())
}

fn deliveries(world: &mut World, call: &Call) -> Outcome {
    let target = Target::Repository { repository: call.repo, hook: found(world, call)?.1.id };
    log(world, call, target)
}

fn delivery(world: &mut World, call: &Call) -> Outcome {
    let target = Target::Repository { repository: call.repo, hook: found(world, call)?.1.id };
    Ok(Answer::ok(find(world, target, call.number(3)?)?.full_json()))
}

fn attempt(world: &mut World, call: &Call) -> Outcome {
    let target = Target::Repository { repository: call.repo, hook: found(world, call)?.1.id };
    again(world, target, call.number(3)?)
}
