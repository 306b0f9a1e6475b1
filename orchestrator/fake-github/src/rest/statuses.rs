//! Commit statuses.

use serde_json::json;

use crate::answer::{Answer, Outcome, Refused, invalid, not_found, refused};
use crate::call::Call;
use crate::git::Git;
use crate::router::{Need, Route, route};
use crate::state::{Level, Repo, Role, Status, World};

const READS: Need = Need::Repo { any_of: &[("statuses", Level::Read)], role: Role::Read };
const WRITES: Need = Need::Repo { any_of: &[("statuses", Level::Write)], role: Role::Write };

pub(super) const ROUTES: &[Route] = &[
    route("POST", "/repos/{owner}/{repo}/statuses/{sha}", WRITES, create),
    route("GET", "/repos/{owner}/{repo}/commits/{ref}/statuses", READS, list),
    route("GET", "/repos/{owner}/{repo}/commits/{ref}/status", READS, combined),
];

fn create(world: &mut World, call: &Call) -> Outcome {
    let sha = call.param(2).to_owned();
    if sha.len() != 40 || Git::new(&call.repo(world)?.git_dir).commit(&sha).is_none() {
        return Err(refused(422, &format!("No commit found for SHA: {sha}")));
    }
    let state = call.required("Status", "state")?;
    if !matches!(state, "error" | "failure" | "pending" | "success") {
        return Err(invalid("Status", "state", "invalid"));
    }
    // GitHub refuses more than 140 characters.
    if call.text("description").is_some_and(|text| text.chars().count() > 140) {
        return Err(invalid("Status", "description", "invalid"));
    }
    let actor = call.actor(world)?;
    let status = Status {
        id: 0,
        sha,
        state: state.to_owned(),
        context: call.text("context").unwrap_or("default").to_owned(),
        description: call.text("description").map(str::to_owned),
        target_url: call.text("target_url").map(str::to_owned),
        creator: 0,
        created_at: world.now(),
    };
    let status = world.add_status(call.repo, actor, status).ok_or_else(not_found)?;
    Ok(Answer::created(world.status_json(call.repo(world)?, &status)))
}

/// A commit's statuses, newest first.
fn of<'a>(repo: &'a Repo, name: &str) -> Result<(String, Vec<&'a Status>), Refused> {
    let git = Git::new(&repo.git_dir);
    let sha = git.branch(name).or_else(|| git.resolve(name)).ok_or_else(not_found)?;
    let found = repo.statuses.iter().rev().filter(|status| status.sha == sha).collect();
    Ok((sha, found))
}

fn list(world: &mut World, call: &Call) -> Outcome {
    let repo = call.repo(world)?;
    let (_, statuses) = of(repo, call.param(2))?;
    let list = statuses.into_iter().map(|status| world.status_json(repo, status)).collect();
    Ok(call.page(world, list))
}

/// The newest status of each context, and what they come to.
fn combined(world: &mut World, call: &Call) -> Outcome {
    let repo = call.repo(world)?;
    let (sha, statuses) = of(repo, call.param(2))?;
    let mut newest: Vec<&Status> = Vec::new();
    for status in statuses {
        if !newest.iter().any(|known| known.context == status.context) {
            newest.push(status);
        }
    }
    let state = if newest.iter().any(|status| matches!(status.state.as_str(), "error" | "failure")) {
        "failure"
    } else if !newest.is_empty() && newest.iter().all(|status| status.state == "success") {
        "success"
    } else {
        "pending"
    };
    let url = world.repo_url(repo);
    let shown: Vec<_> = newest
        .iter()
        .map(|status| {
            let mut shown = world.status_json(repo, status);
            shown["required"] = json!(false);
            shown
        })
        .collect();
    Ok(Answer::ok(json!({
        "state": state,
        "sha": sha,
        "total_count": shown.len(),
        "statuses": shown,
        "repository": world.repo_json(repo),
        "commit_url": format!("{url}/commits/{sha}"),
        "url": format!("{url}/commits/{sha}/status"),
    })))
}
