//! The REST endpoints, one file a resource. Each file has its table of routes; the router asks the questions that
//! come before.

mod app;
mod checks;
mod comments;
mod contents;
mod git;
mod hooks;
mod issues;
mod labels;
mod meta;
mod pulls;
mod reactions;
mod repos;
mod reviews;
mod statuses;

use crate::answer::{Refused, custom};
use crate::router::{Need, Route};
use crate::state::{Level, Role};

/// Every table.
pub(crate) static TABLES: &[&[Route]] = &[
    app::ROUTES,
    checks::ROUTES,
    comments::ROUTES,
    contents::ROUTES,
    git::ROUTES,
    hooks::ROUTES,
    issues::ROUTES,
    labels::ROUTES,
    meta::ROUTES,
    pulls::ROUTES,
    reactions::ROUTES,
    repos::ROUTES,
    reviews::ROUTES,
    statuses::ROUTES,
];

const READS_THREADS: Need =
    Need::Repo { any_of: &[("issues", Level::Read), ("pull_requests", Level::Read)], role: Role::Read };
/// Comments, reactions: anybody who can read may.
const SAYS: Need =
    Need::Repo { any_of: &[("issues", Level::Write), ("pull_requests", Level::Write)], role: Role::Read };
/// Labels, assignees, state.
const SORTS: Need =
    Need::Repo { any_of: &[("issues", Level::Write), ("pull_requests", Level::Write)], role: Role::Triage };
const READS_PULLS: Need = Need::Repo { any_of: &[("pull_requests", Level::Read)], role: Role::Read };
const SAYS_ON_PULLS: Need = Need::Repo { any_of: &[("pull_requests", Level::Write)], role: Role::Read };
const READS_CODE: Need = Need::Repo { any_of: &[("contents", Level::Read)], role: Role::Read };
const READS_METADATA: Need = Need::Repo { any_of: &[("metadata", Level::Read)], role: Role::Read };

/// Refuses what is longer than GitHub keeps.
fn check_length(resource: &str, body: Option<&str>) -> Result<(), Refused> {
    let limit = crate::actions::MAX_BODY;
    if body.is_some_and(|body| body.chars().count() > limit) {
        return Err(custom(resource, &format!("body is too long (maximum is {limit} characters)")));
    }
    Ok(())
}
