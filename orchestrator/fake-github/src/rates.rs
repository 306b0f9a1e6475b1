//! The primary rate limit, counted for each caller.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::auth::Caller;
use crate::state::World;

/// Calls an hour.
const LIMIT: u64 = 5000;

/// What each caller has used.
#[derive(Debug, Default)]
pub(crate) struct Rates(BTreeMap<String, Used>);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    pub(crate) used: u64,
    pub(crate) reset: Timestamp,
}

fn key(caller: &Caller) -> String {
    match caller {
        Caller::Nobody => "nobody".to_owned(),
        Caller::App(app) => format!("app {app}"),
        Caller::Installation { installation, .. } => format!("installation {installation}"),
        Caller::Person { user, .. } => format!("user {user}"),
    }
}

/// What a caller has used, after `cost` more.
pub(crate) fn spend(world: &mut World, caller: &Caller, cost: u64) -> Used {
    let now = world.now();
    let next = now.checked_add(SignedDuration::from_hours(1)).unwrap_or(now);
    let used = world.rates.0.entry(key(caller)).or_insert(Used { used: 0, reset: next });
    if used.reset <= now {
        *used = Used { used: 0, reset: next };
    }
    used.used = (used.used + cost).min(LIMIT);
    *used
}

pub(crate) fn json(world: &mut World, caller: &Caller) -> Value {
    let used = spend(world, caller, 0);
    json!({
        "limit": LIMIT,
        "used": used.used,
        "remaining": LIMIT - used.used,
        "reset": used.reset.as_second(),
        "resource": "core",
    })
}

/// The headers of every answer.
pub(crate) fn headers(used: Used) -> [(&'static str, String); 5] {
    [
        ("x-ratelimit-limit", LIMIT.to_string()),
        ("x-ratelimit-remaining", (LIMIT - used.used).to_string()),
        ("x-ratelimit-used", used.used.to_string()),
        ("x-ratelimit-reset", used.reset.as_second().to_string()),
        ("x-ratelimit-resource", "core".to_owned()),
    ]
}
