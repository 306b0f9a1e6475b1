//! Labels of the repository and on issues.

use serde_json::Value;

use crate::answer::{Answer, Outcome, invalid, not_found};
use crate::call::Call;
use crate::router::{Need, Route, route};
use crate::state::{Label, Level, Role, World};

use super::{READS_THREADS, SORTS};

/// Labels belong to the repository, so a person must be able to push.
const MANAGES: Need =
    Need::Repo { any_of: &[("issues", Level::Write), ("pull_requests", Level::Write)], role: Role::Write };

pub(super) const ROUTES: &[Route] = &[
    route("GET", "/repos/{owner}/{repo}/labels", READS_THREADS, list),
    route("POST", "/repos/{owner}/{repo}/labels", MANAGES, create),
    route("GET", "/repos/{owner}/{repo}/labels/{name}", READS_THREADS, get),
    route("PATCH", "/repos/{owner}/{repo}/labels/{name}", MANAGES, update),
    route("GET", "/repos/{owner}/{repo}/issues/{issue_number}/labels", READS_THREADS, on_issue),
    route("POST", "/repos/{owner}/{repo}/issues/{issue_number}/labels", SORTS, add),
    route("PUT", "/repos/{owner}/{repo}/issues/{issue_number}/labels", SORTS, set),
    route("DELETE", "/repos/{owner}/{repo}/issues/{issue_number}/labels/{name}", SORTS, remove),
];

fn list(world: &mut World, call: &Call) -> Outcome {
    let repo = call.repo(world)?;
    let list = repo.labels.iter().map(|label| world.label_json(repo, label)).collect();
    Ok(call.page(world, list))
}

fn get(world: &mut World, call: &Call) -> Outcome {
    let repo = call.repo(world)?;
    let label = repo.label(call.param(2)).ok_or_else(not_found)?;
    Ok(Answer::ok(world.label_json(repo, label)))
}

fn create(world: &mut World, call: &Call) -> Outcome {
    let name = call.required("Label", "name")?.to_owned();
    let color = color(call)?.unwrap_or_else(|| "ededed".to_owned());
    if call.repo(world)?.label(&name).is_some() {
        return Err(invalid("Label", "name", "already_exists"));
    }
    let id = world.id();
    let label = Label { id, name, color, description: call.text("description").map(str::to_owned) };
    let repo = world.repo_mut(call.repo).ok_or_else(not_found)?;
    repo.labels.push(label.clone());
    Ok(Answer::created(world.label_json(call.repo(world)?, &label)))
}

fn update(world: &mut World, call: &Call) -> Outcome {
    let color = color(call)?;
    let repo = world.repo_mut(call.repo).ok_or_else(not_found)?;
    let name = call.param(2);
    let label =
        repo.labels.iter_mut().find(|label| label.name.eq_ignore_ascii_case(name)).ok_or_else(not_found)?;
    let old = label.name.clone();
    if let Some(new) = call.text("new_name") {
        new.clone_into(&mut label.name);
    }
    if let Some(color) = color {
        label.color = color;
    }
    if let Some(description) = call.text("description") {
        label.description = Some(description.to_owned());
    }
    let label = label.clone();
    for on in repo.threads.iter_mut().flat_map(|thread| &mut thread.labels).filter(|on| **on == old) {
        on.clone_from(&label.name);
    }
    Ok(Answer::ok(world.label_json(call.repo(world)?, &label)))
}

/// Six hexadecimal digits without a `#`.
fn color(call: &Call) -> Result<Option<String>, crate::answer::Refused> {
    let Some(color) = call.text("color") else { return Ok(None) };
    if color.len() != 6 || !color.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(invalid("Label", "color", "invalid"));
    }
    Ok(Some(color.to_owned()))
}

fn on_issue(world: &mut World, call: &Call) -> Outcome {
    let list = shown(world, call)?;
    Ok(call.page(world, list))
}

fn shown(world: &World, call: &Call) -> Result<Vec<Value>, crate::answer::Refused> {
    let repo = call.repo(world)?;
    Ok(world.labels_json(repo, repo.thread(call.number(2)?).ok_or_else(not_found)?))
}

/// The body is `{"labels": […]}` or the bare list.
fn names(call: &Call) -> Vec<String> {
    let bare = call.body.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    call.texts("labels").unwrap_or_else(|| bare.collect())
}

fn add(world: &mut World, call: &Call) -> Outcome {
    let actor = call.actor(world)?;
    world.add_labels(call.repo, call.number(2)?, actor, &names(call)).ok_or_else(not_found)?;
    shown(world, call).map(|list| Answer::ok(Value::Array(list)))
}

fn set(world: &mut World, call: &Call) -> Outcome {
    let actor = call.actor(world)?;
    world.set_labels(call.repo, call.number(2)?, actor, &names(call)).ok_or_else(not_found)?;
    shown(world, call).map(|list| Answer::ok(Value::Array(list)))
}

fn remove(world: &mut World, call: &Call) -> Outcome {
    let actor = call.actor(world)?;
    let gone = || crate::answer::refused(404, "Label does not exist");
    world.remove_label(call.repo, call.number(2)?, actor, call.param(3)).ok_or_else(gone)?;
    shown(world, call).map(|list| Answer::ok(Value::Array(list)))
}
