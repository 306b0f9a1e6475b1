//! Who am I, what is left, what is this.

use serde_json::json;

use crate::answer::{Answer, Outcome, not_found, refused};
use crate::auth::Caller;
use crate::call::Call;
use crate::rates;
use crate::router::{Need, Route, route};
use crate::state::World;

pub(super) const ROUTES: &[Route] = &[
    route("GET", "/user", Need::Token, user),
    route("GET", "/users/{username}", Need::Nothing, user_named),
    route("GET", "/rate_limit", Need::Nothing, rate_limit),
    route("GET", "/meta", Need::Nothing, meta),
];

fn user(world: &mut World, call: &Call) -> Outcome {
    match &call.caller {
        Caller::Person { user, .. } => {
            Ok(Answer::ok(world.profile_json(*user)).with("x-oauth-scopes", "repo"))
        }
        Caller::Installation { .. } => Err(refused(403, "Resource not accessible by integration")),
        Caller::App(_) | Caller::Nobody => Err(refused(401, "Requires authentication")),
    }
}

fn user_named(world: &mut World, call: &Call) -> Outcome {
    let id = world.user_by_login(call.param(0)).map(|user| user.id).ok_or_else(not_found)?;
    Ok(Answer::ok(world.profile_json(id)))
}

fn rate_limit(world: &mut World, call: &Call) -> Outcome {
    let rate = rates::json(world, &call.caller);
    Ok(Answer::ok(json!({"resources": {"core": rate, "search": rate}, "rate": rate})))
}

fn meta(_: &mut World, _: &Call) -> Outcome {
    Ok(Answer::ok(json!({
        "verifiable_password_authentication": false,
        "hooks": ["127.0.0.0/8"],
        "web": ["127.0.0.0/8"],
        "api": ["127.0.0.0/8"],
        "git": ["127.0.0.0/8"],
    })))
}
