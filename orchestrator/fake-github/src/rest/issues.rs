//! Issues.

use serde_json::Value;

use crate::answer::{Answer, Outcome, invalid, not_found};
use crate::call::Call;
use crate::router::{Route, route};
use crate::state::{Thread, World};

use super::{READS_THREADS, SAYS, SORTS, check_length};

pub(super) const ROUTES: &[Route] = &[
    route("GET", "/repos/{owner}/{repo}/issues", READS_THREADS, list),
    route("POST", "/repos/{owner}/{repo}/issues", SAYS, create),
    route("GET", "/repos/{owner}/{repo}/issues/{issue_number}", READS_THREADS, get),
    route("PATCH", "/repos/{owner}/{repo}/issues/{issue_number}", SORTS, update),
    route("GET", "/repos/{owner}/{repo}/issues/{issue_number}/events", READS_THREADS, events),
    route("POST", "/repos/{owner}/{repo}/issues/{issue_number}/assignees", SORTS, assign),
    route("DELETE", "/repos/{owner}/{repo}/issues/{issue_number}/assignees", SORTS, unassign),
];

fn list(world: &mut World, call: &Call) -> Outcome {
    let repo = call.repo(world)?;
    let since = call.since()?;
    let state = call.query("state").unwrap_or("open");
    let labels: Vec<&str> = call.query("labels").map(|text| text.split(',').collect()).unwrap_or_default();
    let mut found: Vec<&Thread> = repo
        .threads
        .iter()
        .filter(|thread| state == "all" || thread.open == (state == "open"))
        .filter(|thread| since.is_none_or(|since| thread.updated_at >= since))
        .filter(|thread| {
            labels.iter().all(|label| thread.labels.iter().any(|on| on.eq_ignore_ascii_case(label)))
        })
        .filter(|thread| match (call.query("assignee"), thread.assignees.first()) {
            (None | Some("*"), Some(_)) | (None | Some("none"), None) => true,
            (Some(login), Some(_)) => thread.assignees.iter().any(|id| world.login(Some(*id)) == login),
            (Some(_), None) => false,
        })
        .collect();
    let updated = call.query("sort") == Some("updated");
    found.sort_by_key(|thread| (if updated { thread.updated_at } else { thread.created_at }, thread.number));
    if call.query("direction") != Some("asc") {
        found.reverse();
    }
    let list = found.into_iter().map(|thread| world.issue_json(repo, thread)).collect();
    Ok(call.page(world, list))
}

fn events(world: &mut World, call: &Call) -> Outcome {
    let number = call.number(2)?;
    let repo = call.repo(world)?;
    repo.thread(number).ok_or_else(not_found)?;
    let of_thread = repo.events.iter().filter(|event| event.number == number);
    let list = of_thread.map(|event| world.issue_event_json(repo, event)).collect();
    Ok(call.page(world, list))
}

fn create(world: &mut World, call: &Call) -> Outcome {
    let title = call.required("Issue", "title")?;
    check_length("Issue", call.text("body"))?;
    let actor = call.actor(world)?;
    let number = world.open_issue(call.repo, actor, title, call.text("body")).ok_or_else(not_found)?;
    if let Some(labels) = call.texts("labels") {
        world.add_labels(call.repo, number, actor, &labels);
    }
    one(world, call, number).map(|answer| Answer { status: 201, ..answer })
}

fn get(world: &mut World, call: &Call) -> Outcome {
    one(world, call, call.number(2)?)
}

fn one(world: &World, call: &Call, number: u64) -> Outcome {
    let repo = call.repo(world)?;
    let thread = repo.thread(number).ok_or_else(not_found)?;
    Ok(Answer::ok(world.full_issue_json(repo, thread)))
}

fn update(world: &mut World, call: &Call) -> Outcome {
    let number = call.number(2)?;
    let actor = call.actor(world)?;
    check_length("Issue", call.text("body"))?;
    world
        .edit_thread(call.repo, number, actor, call.text("title"), call.text("body"))
        .ok_or_else(not_found)?;
    if let Some(labels) = call.texts("labels") {
        world.set_labels(call.repo, number, actor, &labels);
    }
    if let Some(logins) = call.texts("assignees") {
        let there =
            world.thread(call.repo, number).map(|thread| thread.assignees.clone()).unwrap_or_default();
        let wanted: Vec<u64> =
            logins.iter().filter_map(|login| world.user_by_login(login)).map(|user| user.id).collect();
        for user in there.iter().filter(|id| !wanted.contains(id)) {
            world.assign(call.repo, number, actor, *user, false);
        }
        for user in wanted {
            world.assign(call.repo, number, actor, user, true);
        }
    }
    match call.text("state") {
        None => {}
        Some(state @ ("open" | "closed")) => {
            world.set_open(call.repo, number, actor, state == "open", call.text("state_reason"));
        }
        Some(_) => return Err(invalid("Issue", "state", "invalid")),
    }
    one(world, call, number)
}

fn assign(world: &mut World, call: &Call) -> Outcome {
    assignees(world, call, true).map(|answer| Answer { status: 201, ..answer })
}

fn unassign(world: &mut World, call: &Call) -> Outcome {
    assignees(world, call, false)
}

/// Who cannot be assigned is left out in silence, as on GitHub.
fn assignees(world: &mut World, call: &Call, on: bool) -> Outcome {
    let number = call.number(2)?;
    let actor = call.actor(world)?;
    let logins = match call.body.get("assignees") {
        Some(Value::String(login)) => vec![login.clone()],
        _ => call.texts("assignees").unwrap_or_default(),
    };
    for login in logins {
        if let Some(user) = world.user_by_login(&login).map(|user| user.id) {
            world.assign(call.repo, number, actor, user, on).ok_or_else(not_found)?;
        }
    }
    one(world, call, number)
}
