//! Commits, comparisons, refs and branches.

use serde_json::json;

use crate::answer::{Answer, Outcome, not_found, refused};
use crate::call::Call;
use crate::git::Git;
use crate::router::{Need, Route, route};
use crate::state::{Level, Role, World};

use super::READS_CODE;
use super::pulls::file_json;

const WRITES: Need = Need::Repo { any_of: &[("contents", Level::Write)], role: Role::Write };

pub(super) const ROUTES: &[Route] = &[
    route("GET", "/repos/{owner}/{repo}/commits/{ref}", READS_CODE, commit),
    route("GET", "/repos/{owner}/{repo}/compare/{basehead}", READS_CODE, compare),
    route("GET", "/repos/{owner}/{repo}/git/ref/{ref}", READS_CODE, git_ref),
    route("DELETE", "/repos/{owner}/{repo}/git/refs/{ref}", WRITES, delete_ref),
    route("GET", "/repos/{owner}/{repo}/branches", READS_CODE, branches),
    route("GET", "/repos/{owner}/{repo}/branches/{branch}", READS_CODE, branch),
];

fn commit(world: &mut World, call: &Call) -> Outcome {
    let repo = call.repo(world)?;
    let git = Git::new(&repo.git_dir);
    let name = call.param(2);
    let missing = || refused(422, &format!("No commit found for SHA: {name}"));
    let sha = git.branch(name).or_else(|| git.resolve(name)).ok_or_else(missing)?;
    let commit = git.commit(&sha).ok_or_else(missing)?;
    let mut body = world.commit_json(repo, &commit);
    if let Some(parent) = commit.parents.first() {
        let files = git.changed_files(parent, &sha);
        let added: u64 = files.iter().map(|file| file.additions).sum();
        let removed: u64 = files.iter().map(|file| file.deletions).sum();
        body["stats"] = json!({"additions": added, "deletions": removed, "total": added + removed});
        body["files"] = files.iter().map(|file| file_json(world, repo, &sha, file)).collect();
    }
    Ok(Answer::ok(body))
}

/// `base...head`, where either may be `owner:branch` of the same repository.
fn compare(world: &mut World, call: &Call) -> Outcome {
    let repo = call.repo(world)?;
    let git = Git::new(&repo.git_dir);
    let (base, head) = call.param(2).split_once("...").ok_or_else(not_found)?;
    let resolve = |name: &str| {
        let name = name.rsplit_once(':').map_or(name, |(_, name)| name);
        git.branch(name).or_else(|| git.resolve(name))
    };
    let (base_sha, head_sha) = (resolve(base).ok_or_else(not_found)?, resolve(head).ok_or_else(not_found)?);
    let common = git.merge_base(&base_sha, &head_sha).ok_or_else(not_found)?;
    let ahead = git.log(&base_sha, &head_sha);
    let behind = git.log(&head_sha, &base_sha).len();
    let status = match (ahead.len(), behind) {
        (0, 0) => "identical",
        (_, 0) => "ahead",
        (0, _) => "behind",
        _ => "diverged",
    };
    let full = |sha: &str| git.commit(sha).map(|commit| world.commit_json(repo, &commit));
    let page = format!("{}/compare/{base}...{head}", world.repo_page(repo));
    let files = git.changed_files(&base_sha, &head_sha);
    Ok(Answer::ok(json!({
        "url": format!("{}/compare/{base}...{head}", world.repo_url(repo)),
        "html_url": page,
        "permalink_url": page,
        "diff_url": format!("{page}.diff"),
        "patch_url": format!("{page}.patch"),
        "base_commit": full(&base_sha),
        "merge_base_commit": full(&common),
        "status": status,
        "ahead_by": ahead.len(),
        "behind_by": behind,
        "total_commits": ahead.len(),
        "commits": ahead.iter().map(|commit| world.commit_json(repo, commit)).collect::<Vec<_>>(),
        "files": files.iter().map(|file| file_json(world, repo, &head_sha, file)).collect::<Vec<_>>(),
    })))
}

fn git_ref(world: &mut World, call: &Call) -> Outcome {
    let repo = call.repo(world)?;
    let name = format!("refs/{}", call.param(2));
    let refs = Git::new(&repo.git_dir).refs(&name);
    let sha = refs.get(&name).ok_or_else(not_found)?;
    let url = world.repo_url(repo);
    Ok(Answer::ok(json!({
        "ref": name,
        "node_id": format!("REF_{name}"),
        "url": format!("{url}/git/{name}"),
        "object": {"type": "commit", "sha": sha, "url": format!("{url}/git/commits/{sha}")},
    })))
}

fn delete_ref(world: &mut World, call: &Call) -> Outcome {
    let actor = call.actor(world)?;
    let repo = call.repo(world)?;
    let name = format!("refs/{}", call.param(2));
    let git = Git::new(&repo.git_dir);
    let before = git.refs(&name).remove(&name).ok_or_else(|| refused(422, "Reference does not exist"))?;
    if repo.protected.contains(call.param(2).trim_start_matches("heads/")) {
        return Err(refused(422, "Cannot delete a protected branch"));
    }
    git.delete_ref(&name);
    world.branch_moved(call.repo, actor, &name, Some(&before), None);
    Ok(Answer::empty(204))
}

fn branches(world: &mut World, call: &Call) -> Outcome {
    let repo = call.repo(world)?;
    let url = world.repo_url(repo);
    let list = Git::new(&repo.git_dir)
        .refs("refs/heads")
        .into_iter()
        .map(|(name, sha)| {
            let name = name.trim_start_matches("refs/heads/");
            json!({
                "name": name,
                "commit": {"sha": sha, "url": format!("{url}/commits/{sha}")},
                "protected": repo.protected.contains(name),
            })
        })
        .collect();
    Ok(call.page(world, list))
}

fn branch(world: &mut World, call: &Call) -> Outcome {
    let repo = call.repo(world)?;
    let name = call.param(2);
    let git = Git::new(&repo.git_dir);
    let missing = || refused(404, "Branch not found");
    let commit = git.branch(name).and_then(|sha| git.commit(&sha)).ok_or_else(missing)?;
    let protected = repo.protected.contains(name);
    let url = format!("{}/branches/{}", world.repo_url(repo), crate::call::encode(name));
    Ok(Answer::ok(json!({
        "name": name,
        "commit": world.commit_json(repo, &commit),
        "_links": {"self": url, "html": format!("{}/tree/{name}", world.repo_page(repo))},
        "protected": protected,
        "protection": {
            "enabled": protected,
            "required_status_checks": {"enforcement_level": "off", "contexts": [], "checks": []},
        },
        "protection_url": format!("{url}/protection"),
    })))
}
