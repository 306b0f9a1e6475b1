//! Check runs and suites. Only Apps write them; a person's token is refused.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::actions::CheckRunChange;
use crate::answer::{Answer, Outcome, Refused, invalid, not_found, refused};
use crate::auth::Caller;
use crate::call::Call;
use crate::git::Git;
use crate::router::{Need, Route, route};
use crate::state::{Annotation, CheckRun, Level, Repo, Role, World};

const READS: Need = Need::Repo { any_of: &[("checks", Level::Read)], role: Role::Read };
const WRITES: Need = Need::Repo { any_of: &[("checks", Level::Write)], role: Role::Read };
const READS_ACTIONS: Need = Need::Repo { any_of: &[("actions", Level::Read)], role: Role::Read };

pub(super) const ROUTES: &[Route] = &[
    route("POST", "/repos/{owner}/{repo}/check-runs", WRITES, create),
    route("GET", "/repos/{owner}/{repo}/check-runs/{check_run_id}", READS, get),
    route("PATCH", "/repos/{owner}/{repo}/check-runs/{check_run_id}", WRITES, update),
    route("GET", "/repos/{owner}/{repo}/check-runs/{check_run_id}/annotations", READS, annotations),
    route("GET", "/repos/{owner}/{repo}/commits/{ref}/check-runs", READS, runs_of_commit),
    route("GET", "/repos/{owner}/{repo}/commits/{ref}/check-suites", READS, suites_of_commit),
    route("GET", "/repos/{owner}/{repo}/check-suites/{check_suite_id}", READS, get_suite),
    route("GET", "/repos/{owner}/{repo}/check-suites/{check_suite_id}/check-runs", READS, runs_of_suite),
    route("GET", "/repos/{owner}/{repo}/actions/jobs/{job_id}/logs", READS_ACTIONS, job_logs),
];

/// The App of the token; a person has none.
fn app(call: &Call) -> Result<u64, Refused> {
    match call.caller {
        Caller::Installation { app, .. } => Ok(app),
        Caller::Person { .. } | Caller::App(_) | Caller::Nobody => {
            Err(refused(403, "You must authenticate via a GitHub App."))
        }
    }
}

fn change(call: &Call) -> Result<CheckRunChange, Refused> {
    let text = |name: &str| call.text(name).map(str::to_owned);
    let time = |name: &str| -> Result<Option<Timestamp>, Refused> {
        call.text(name).map(|text| text.parse().map_err(|_| invalid("CheckRun", name, "invalid"))).transpose()
    };
    let output = &call.body["output"];
    let out = |name: &str| output[name].as_str().map(str::to_owned);
    let annotations: Vec<Annotation> =
        output["annotations"].as_array().into_iter().flatten().cloned().map(Annotation).collect();
    if annotations.len() > 50 {
        return Err(invalid("CheckRun", "annotations", "invalid"));
    }
    if [out("summary"), out("text")].into_iter().flatten().any(|text| text.chars().count() > 65_535) {
        return Err(invalid("CheckRun", "output", "invalid"));
    }
    let status = text("status");
    let conclusion = text("conclusion");
    if status.as_deref() == Some("completed") && conclusion.is_none() {
        return Err(invalid("CheckRun", "conclusion", "missing_field"));
    }
    Ok(CheckRunChange {
        name: text("name"),
        external_id: text("external_id"),
        details_url: text("details_url"),
        status,
        conclusion,
        started_at: time("started_at")?,
        completed_at: time("completed_at")?,
        title: out("title"),
        summary: out("summary"),
        text: out("text"),
        annotations,
    })
}

fn create(world: &mut World, call: &Call) -> Outcome {
    let app = app(call)?;
    call.required("CheckRun", "name")?;
    let sha = call.required("CheckRun", "head_sha")?;
    let known = sha.len() == 40 && Git::new(&call.repo(world)?.git_dir).commit(sha).is_some();
    if !known {
        return Err(refused(422, &format!("No commit found for SHA: {sha}")));
    }
    let change = change(call)?;
    let actor = call.actor(world)?;
    let id = world.add_check_run(call.repo, actor, app, sha, change).ok_or_else(not_found)?;
    one(world, call, id).map(|answer| Answer { status: 201, ..answer })
}

fn run(repo: &Repo, id: u64) -> Result<&CheckRun, Refused> {
    repo.check_runs.iter().find(|run| run.id == id).ok_or_else(not_found)
}

fn one(world: &World, call: &Call, id: u64) -> Outcome {
    let repo = call.repo(world)?;
    Ok(Answer::ok(world.check_run_json(repo, run(repo, id)?)))
}

fn get(world: &mut World, call: &Call) -> Outcome {
    one(world, call, call.number(2)?)
}

fn update(world: &mut World, call: &Call) -> Outcome {
    let app = app(call)?;
    let id = call.number(2)?;
    if run(call.repo(world)?, id)?.app != app {
        return Err(refused(
            403,
            "Invalid app_id `fake` - check run can only be modified by the GitHub App that created it.",
        ));
    }
    let change = change(call)?;
    let actor = call.actor(world)?;
    world.change_check_run(call.repo, id, actor, change).ok_or_else(not_found)?;
    one(world, call, id)
}

fn annotations(world: &mut World, call: &Call) -> Outcome {
    let repo = call.repo(world)?;
    let run = run(repo, call.number(2)?)?;
    let list = run
        .annotations
        .iter()
        .map(|annotation| {
            let sent = &annotation.0;
            json!({
                "path": sent["path"],
                "blob_href": format!("{}/blob/{}/{}", world.repo_page(repo), run.head_sha, sent["path"].as_str().unwrap_or_default()),
                "start_line": sent["start_line"],
                "end_line": sent["end_line"],
                "start_column": sent["start_column"],
                "end_column": sent["end_column"],
                "annotation_level": sent["annotation_level"],
                "title": sent["title"],
                "message": sent["message"],
                "raw_details": sent["raw_details"],
            })
        })
        .collect();
    Ok(call.page(world, list))
}

/// The commit that `{ref}` means.
fn commit(repo: &Repo, name: &str) -> Result<String, Refused> {
    let git = Git::new(&repo.git_dir);
    git.branch(name)
        .or_else(|| git.resolve(name))
        .ok_or_else(|| refused(422, &format!("No commit found for SHA: {name}")))
}

fn shown(world: &World, call: &Call, keep: impl Fn(&CheckRun) -> bool) -> Outcome {
    let repo = call.repo(world)?;
    // Without `filter=all` GitHub shows the newest run of each name alone.
    let is_shown = |run: &CheckRun| {
        let same = |other: &&CheckRun| {
            (other.app, &other.name, &other.head_sha) == (run.app, &run.name, &run.head_sha)
        };
        let newest = repo.check_runs.iter().rev().find(same);
        call.query("filter") == Some("all") || newest.is_some_and(|newest| newest.id == run.id)
    };
    let list: Vec<Value> = repo
        .check_runs
        .iter()
        .filter(|run| keep(run) && is_shown(run))
        .filter(|run| call.query("check_name").is_none_or(|name| run.name == name))
        .filter(|run| call.query("status").is_none_or(|status| run.status == status))
        .filter(|run| call.query("app_id").is_none_or(|app| run.app.to_string() == app))
        .map(|run| world.check_run_json(repo, run))
        .collect();
    Ok(call.page_in(world, "check_runs", list))
}

fn runs_of_commit(world: &mut World, call: &Call) -> Outcome {
    let sha = commit(call.repo(world)?, call.param(2))?;
    shown(world, call, |run| run.head_sha == sha)
}

fn runs_of_suite(world: &mut World, call: &Call) -> Outcome {
    let id = call.number(2)?;
    shown(world, call, |run| run.suite == id)
}

fn suites_of_commit(world: &mut World, call: &Call) -> Outcome {
    let repo = call.repo(world)?;
    let sha = commit(repo, call.param(2))?;
    let suites = repo.check_suites.iter().filter(|suite| suite.head_sha == sha);
    let list = suites.map(|suite| world.suite_json(repo, suite)).collect();
    Ok(call.page_in(world, "check_suites", list))
}

fn get_suite(world: &mut World, call: &Call) -> Outcome {
    let repo = call.repo(world)?;
    let id = call.number(2)?;
    let suite = repo.check_suites.iter().find(|suite| suite.id == id).ok_or_else(not_found)?;
    Ok(Answer::ok(world.suite_json(repo, suite)))
}

/// GitHub redirects to a store that needs no token.
fn job_logs(world: &mut World, call: &Call) -> Outcome {
    let id = call.number(2)?;
    call.repo(world)?.job_logs.get(&id).ok_or_else(not_found)?;
    Ok(Answer::empty(302).with("location", format!("{}/_logs/{}/{id}", world.api_url, call.repo)))
}
