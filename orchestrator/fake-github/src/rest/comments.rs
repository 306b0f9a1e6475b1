//! Comments in the conversation of an issue or pull request.

use crate::answer::{Answer, Outcome, Refused, not_found, refused};
use crate::auth::Caller;
use crate::call::Call;
use crate::router::{Route, route};
use crate::state::{Comment, Role, World};

use super::{READS_THREADS, SAYS, check_length};

pub(super) const ROUTES: &[Route] = &[
    route("GET", "/repos/{owner}/{repo}/issues/comments", READS_THREADS, list_all),
    route("GET", "/repos/{owner}/{repo}/issues/comments/{comment_id}", READS_THREADS, get),
    // GitHub takes PATCH only. A client that POSTs gets 404 here, and a violation.
    route("PATCH", "/repos/{owner}/{repo}/issues/comments/{comment_id}", SAYS, update),
    route("DELETE", "/repos/{owner}/{repo}/issues/comments/{comment_id}", SAYS, delete),
    route("GET", "/repos/{owner}/{repo}/issues/{issue_number}/comments", READS_THREADS, list),
    route("POST", "/repos/{owner}/{repo}/issues/{issue_number}/comments", SAYS, create),
];

fn list_all(world: &mut World, call: &Call) -> Outcome {
    let repo = call.repo(world)?;
    let since = call.since()?;
    let mut found: Vec<&Comment> = repo
        .comments
        .iter()
        .filter(|comment| since.is_none_or(|since| comment.updated_at >= since))
        .collect();
    if call.query("sort") == Some("updated") {
        found.sort_by_key(|comment| (comment.updated_at, comment.id));
    }
    // `direction` counts only beside `sort`.
    if call.query("direction") == Some("desc") && call.query("sort").is_some() {
        found.reverse();
    }
    let list = found.into_iter().map(|comment| world.comment_json(repo, comment)).collect();
    Ok(call.page(world, list))
}

fn list(world: &mut World, call: &Call) -> Outcome {
    let repo = call.repo(world)?;
    let number = call.number(2)?;
    repo.thread(number).ok_or_else(not_found)?;
    let since = call.since()?;
    let list = repo
        .comments
        .iter()
        .filter(|comment| comment.number == number)
        .filter(|comment| since.is_none_or(|since| comment.updated_at >= since))
        .map(|comment| world.comment_json(repo, comment))
        .collect();
    Ok(call.page(world, list))
}

fn create(world: &mut World, call: &Call) -> Outcome {
    let number = call.number(2)?;
    let thread = world.thread(call.repo, number).ok_or_else(not_found)?;
    if thread.locked {
        return Err(refused(403, "Unable to create comment because issue is locked."));
    }
    let body = call.required("IssueComment", "body")?;
    check_length("IssueComment", Some(body))?;
    let actor = call.actor(world)?;
    let id = world.add_comment(call.repo, number, actor, body).ok_or_else(not_found)?;
    one(world, call, id).map(|answer| Answer { status: 201, ..answer })
}

fn get(world: &mut World, call: &Call) -> Outcome {
    one(world, call, call.number(2)?)
}

fn one(world: &World, call: &Call, id: u64) -> Outcome {
    let repo = call.repo(world)?;
    Ok(Answer::ok(world.comment_json(repo, repo.comment(id).ok_or_else(not_found)?)))
}

fn update(world: &mut World, call: &Call) -> Outcome {
    let id = call.number(2)?;
    own(world, call, id)?;
    let body = call.required("IssueComment", "body")?;
    check_length("IssueComment", Some(body))?;
    let actor = call.actor(world)?;
    world.edit_comment(call.repo, id, actor, body).ok_or_else(not_found)?;
    one(world, call, id)
}

fn delete(world: &mut World, call: &Call) -> Outcome {
    let id = call.number(2)?;
    own(world, call, id)?;
    let actor = call.actor(world)?;
    world.delete_comment(call.repo, id, actor).ok_or_else(not_found)?;
    Ok(Answer::empty(204))
}

/// Somebody else's comment can be changed by who may write; an App with `issues: write` counts as such.
fn own(world: &World, call: &Call, id: u64) -> Result<(), Refused> {
    let repo = call.repo(world)?;
    let comment = repo.comment(id).ok_or_else(not_found)?;
    match call.caller {
        Caller::Person { user, .. } if comment.author != Some(user) && repo.role(user) < Role::Write => {
            Err(refused(403, "Must have push access to repository"))
        }
        Caller::Person { .. } | Caller::Installation { .. } | Caller::App(_) | Caller::Nobody => Ok(()),
    }
}
