//! Pull requests.

use serde_json::{Value, json};

use crate::actions::NewPull;
use crate::answer::{Answer, Outcome, Refused, invalid, not_found, refused};
use crate::call::Call;
use crate::git::{FileChange, Git};
use crate::router::{Need, Route, route};
use crate::state::{Level, Pull, Repo, Role, Thread, World};

use super::{READS_PULLS, SAYS_ON_PULLS, check_length};

const WRITES: Need = Need::Repo { any_of: &[("pull_requests", Level::Write)], role: Role::Write };
const MERGES: Need = Need::Repo { any_of: &[("contents", Level::Write)], role: Role::Write };

pub(super) const ROUTES: &[Route] = &[
    route("GET", "/repos/{owner}/{repo}/pulls", READS_PULLS, list),
    route("POST", "/repos/{owner}/{repo}/pulls", SAYS_ON_PULLS, create),
    route("GET", "/repos/{owner}/{repo}/pulls/{pull_number}", READS_PULLS, get),
    route("PATCH", "/repos/{owner}/{repo}/pulls/{pull_number}", WRITES, update),
    route("GET", "/repos/{owner}/{repo}/pulls/{pull_number}/files", READS_PULLS, files),
    route("GET", "/repos/{owner}/{repo}/pulls/{pull_number}/commits", READS_PULLS, commits),
    route("GET", "/repos/{owner}/{repo}/pulls/{pull_number}/merge", READS_PULLS, merged),
    route("PUT", "/repos/{owner}/{repo}/pulls/{pull_number}/merge", MERGES, merge),
    route("GET", "/repos/{owner}/{repo}/pulls/{pull_number}/requested_reviewers", READS_PULLS, reviewers),
    route("POST", "/repos/{owner}/{repo}/pulls/{pull_number}/requested_reviewers", WRITES, request_reviewers),
];

/// A pull request of the call's repository.
pub(super) fn found(repo: &Repo, number: u64) -> Result<(&Thread, &Pull), Refused> {
    let thread = repo.thread(number).ok_or_else(not_found)?;
    Ok((thread, thread.pull.as_ref().ok_or_else(not_found)?))
}

fn list(world: &mut World, call: &Call) -> Outcome {
    let repo = call.repo(world)?;
    let state = call.query("state").unwrap_or("open");
    let head = call.query("head");
    let mut found: Vec<(&Thread, &Pull)> = repo
        .threads
        .iter()
        .filter_map(|thread| thread.pull.as_ref().map(|pull| (thread, pull)))
        .filter(|(thread, _)| state == "all" || thread.open == (state == "open"))
        .filter(|(_, pull)| call.query("base").is_none_or(|base| pull.base_ref == base))
        .filter(|(_, pull)| {
            // Without an owner GitHub ignores the filter, and answers every pull request.
            head.and_then(|head| head.split_once(':')).is_none_or(|(owner, branch)| {
                world.login(Some(pull.head_owner)).eq_ignore_ascii_case(owner) && pull.head_ref == branch
            })
        })
        .collect();
    let updated = call.query("sort") == Some("updated");
    found.sort_by_key(|(thread, _)| {
        (if updated { thread.updated_at } else { thread.created_at }, thread.number)
    });
    if call.query("direction") != Some("asc") {
        found.reverse();
    }
    let list: Vec<Value> =
        found.into_iter().map(|(thread, pull)| world.simple_pull_json(repo, thread, pull)).collect();
    Ok(call.page(world, list))
}

fn create(world: &mut World, call: &Call) -> Outcome {
    let head = call.required("PullRequest", "head")?;
    let base = call.required("PullRequest", "base")?;
    let title = call.required("PullRequest", "title")?;
    check_length("PullRequest", call.text("body"))?;
    let actor = call.actor(world)?;
    let flag = |name: &str| call.body.get(name).and_then(Value::as_bool);
    let new = NewPull {
        title,
        body: call.text("body"),
        head,
        base,
        draft: flag("draft").unwrap_or(false),
        maintainer_can_modify: flag("maintainer_can_modify").unwrap_or(false),
    };
    let number = world.open_pull(call.repo, actor, new)?;
    one(world, call, number).map(|answer| Answer { status: 201, ..answer })
}

fn get(world: &mut World, call: &Call) -> Outcome {
    one(world, call, call.number(2)?)
}

fn one(world: &World, call: &Call, number: u64) -> Outcome {
    let repo = call.repo(world)?;
    let (thread, pull) = found(repo, number)?;
    Ok(Answer::ok(world.pull_json(repo, thread, pull)))
}

fn update(world: &mut World, call: &Call) -> Outcome {
    let number = call.number(2)?;
    found(call.repo(world)?, number)?;
    check_length("PullRequest", call.text("body"))?;
    let actor = call.actor(world)?;
    if let Some(base) = call.text("base") {
        let git = Git::new(&call.repo(world)?.git_dir);
        let sha = git.branch(base).ok_or_else(|| invalid("PullRequest", "base", "invalid"))?;
        world.change_thread(call.repo, number, |thread| {
            if let Some(pull) = &mut thread.pull {
                base.clone_into(&mut pull.base_ref);
                pull.base_sha = sha;
            }
        });
    }
    world
        .edit_thread(call.repo, number, actor, call.text("title"), call.text("body"))
        .ok_or_else(not_found)?;
    match call.text("state") {
        None => {}
        Some("closed") => drop(world.set_open(call.repo, number, actor, false, None)),
        Some("open") => {
            let (_, pull) = found(call.repo(world)?, number)?;
            if pull.merged_at.is_some() {
                return Err(invalid("PullRequest", "state", "invalid"));
            }
            world.set_open(call.repo, number, actor, true, None);
        }
        Some(_) => return Err(invalid("PullRequest", "state", "invalid")),
    }
    one(world, call, number)
}

fn files(world: &mut World, call: &Call) -> Outcome {
    let repo = call.repo(world)?;
    let (_, pull) = found(repo, call.number(2)?)?;
    let files = Git::new(&repo.git_dir).changed_files(&pull.base_sha, &pull.head_sha);
    let list = files.iter().map(|file| file_json(world, repo, &pull.head_sha, file)).collect();
    Ok(call.page(world, list))
}

/// A `diff-entry`.
pub(super) fn file_json(world: &World, repo: &Repo, sha: &str, file: &FileChange) -> Value {
    let path = crate::call::encode(&file.path).replace("%2F", "/");
    let page = world.repo_page(repo);
    json!({
        "sha": file.blob,
        "filename": file.path,
        "status": file.status,
        "additions": file.additions,
        "deletions": file.deletions,
        "changes": file.additions + file.deletions,
        "blob_url": format!("{page}/blob/{sha}/{path}"),
        "raw_url": format!("{page}/raw/{sha}/{path}"),
        "contents_url": format!("{}/contents/{path}?ref={sha}", world.repo_url(repo)),
        "patch": file.patch,
    })
}

fn commits(world: &mut World, call: &Call) -> Outcome {
    let repo = call.repo(world)?;
    let (_, pull) = found(repo, call.number(2)?)?;
    let log = Git::new(&repo.git_dir).log(&pull.base_sha, &pull.head_sha);
    let list = log.iter().map(|commit| world.commit_json(repo, commit)).collect();
    Ok(call.page(world, list))
}

fn merged(world: &mut World, call: &Call) -> Outcome {
    let (_, pull) = found(call.repo(world)?, call.number(2)?)?;
    if pull.merged_at.is_some() { Ok(Answer::empty(204)) } else { Err(not_found()) }
}

fn merge(world: &mut World, call: &Call) -> Outcome {
    let number = call.number(2)?;
    let actor = call.actor(world)?;
    let (_, pull) = found(call.repo(world)?, number)?;
    if call.text("sha").is_some_and(|sha| sha != pull.head_sha) {
        return Err(refused(409, "Head branch was modified. Review and try the merge again."));
    }
    let method = match call.text("merge_method") {
        None => "merge",
        Some(method @ ("merge" | "squash" | "rebase")) => method,
        Some(_) => return Err(invalid("PullRequest", "merge_method", "invalid")),
    };
    let sha = world.merge_pull(call.repo, number, actor, method)?;
    Ok(Answer::ok(json!({"sha": sha, "merged": true, "message": "Pull Request successfully merged"})))
}

fn reviewers(world: &mut World, call: &Call) -> Outcome {
    let (_, pull) = found(call.repo(world)?, call.number(2)?)?;
    Ok(Answer::ok(json!({"users": world.people_json(&pull.reviewers), "teams": []})))
}

/// All or none: one who cannot review refuses the call.
fn request_reviewers(world: &mut World, call: &Call) -> Outcome {
    let number = call.number(2)?;
    let actor = call.actor(world)?;
    let repo = call.repo(world)?;
    let (thread, _) = found(repo, number)?;
    let mut wanted = Vec::new();
    for login in call.texts("reviewers").unwrap_or_default() {
        let user = world.user_by_login(&login).map(|user| user.id);
        if user.is_some() && user == thread.author {
            return Err(refused(422, "Review cannot be requested from pull request author."));
        }
        match user.filter(|user| *user == repo.owner || repo.collaborators.contains_key(user)) {
            Some(user) => wanted.push(user),
            None => {
                return Err(refused(
                    422,
                    "Reviews may only be requested from collaborators. One or more of the users or teams you specified is not a collaborator of the repository.",
                ));
            }
        }
    }
    for user in wanted {
        world.request_review(call.repo, number, actor, user);
    }
    let repo = call.repo(world)?;
    let (thread, pull) = found(repo, number)?;
    Ok(Answer::created(world.simple_pull_json(repo, thread, pull)))
}
