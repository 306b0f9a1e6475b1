//! A repository, and who may what in it.

use serde_json::json;

use crate::answer::{Answer, Outcome, not_found};
use crate::auth::Caller;
use crate::call::Call;
use crate::router::{Route, route};
use crate::state::{Role, World};

use super::READS_METADATA;

pub(super) const ROUTES: &[Route] = &[
    route("GET", "/repos/{owner}/{repo}", READS_METADATA, repo),
    route("GET", "/repos/{owner}/{repo}/collaborators/{username}/permission", READS_METADATA, permission),
];

fn flags(role: Role) -> serde_json::Value {
    json!({
        "pull": role >= Role::Read,
        "triage": role >= Role::Triage,
        "push": role >= Role::Write,
        "maintain": role >= Role::Maintain,
        "admin": role >= Role::Admin,
    })
}

fn repo(world: &mut World, call: &Call) -> Outcome {
    let repo = call.repo(world)?;
    let mut body = world.full_repo_json(repo);
    if let Caller::Person { user, .. } = call.caller {
        body["permissions"] = flags(repo.role(user));
    }
    Ok(Answer::ok(body))
}

/// The highest of all grants. Any account has `read` on a public repository; what is no person's account is not found.
fn permission(world: &mut World, call: &Call) -> Outcome {
    let repo = call.repo(world)?;
    let user = world.user_by_login(call.param(2)).ok_or_else(not_found)?;
    if user.kind != "User" {
        return Err(Box::new(Answer::error(404, &format!("{} is not a user", user.login))));
    }
    let role = repo.role(user.id);
    let mut person = world.user_json(Some(user.id));
    person["permissions"] = flags(role);
    person["role_name"] = json!(role.role_name());
    Ok(Answer::ok(json!({"permission": role.permission(), "role_name": role.role_name(), "user": person})))
}
