//! Files of the repository.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::answer::{Answer, Outcome, not_found};
use crate::call::{Call, encode};
use crate::git::Git;
use crate::router::{Route, route};
use crate::state::{Repo, World};

use super::READS_CODE;

pub(super) const ROUTES: &[Route] = &[route("GET", "/repos/{owner}/{repo}/contents/{path}", READS_CODE, get)];

fn get(world: &mut World, call: &Call) -> Outcome {
    let repo = call.repo(world)?;
    let git = Git::new(&repo.git_dir);
    let name = call.query("ref").unwrap_or(&repo.default_branch);
    let commit = git.branch(name).or_else(|| git.resolve(name)).ok_or_else(not_found)?;
    let path = call.param(2).trim_matches('/');
    let accept = call.header("accept").unwrap_or_default();
    if let Some((blob, content)) = git.file(&commit, path) {
        if accept.contains("raw") {
            return Ok(Answer::raw("application/vnd.github.raw+json; charset=utf-8", content));
        }
        let mut body = entry(world, repo, name, "file", &blob, path, content.len());
        body["encoding"] = json!("base64");
        body["content"] = json!(lines_of_60(&STANDARD.encode(content)));
        return Ok(Answer::ok(body));
    }
    let folder = git.folder(&commit, path).ok_or_else(not_found)?;
    let list = folder
        .iter()
        .map(|(kind, object, path)| {
            let size = git.file(&commit, path).map_or(0, |(_, content)| content.len());
            let kind = if kind == "tree" { "dir" } else { "file" };
            entry(world, repo, name, kind, object, path, if kind == "dir" { 0 } else { size })
        })
        .collect();
    Ok(Answer::ok(Value::Array(list)))
}

fn entry(world: &World, repo: &Repo, name: &str, kind: &str, object: &str, path: &str, size: usize) -> Value {
    let shown = encode(path).replace("%2F", "/");
    let url = format!("{}/contents/{shown}?ref={}", world.repo_url(repo), encode(name));
    let (page_kind, git_kind) = if kind == "dir" { ("tree", "trees") } else { ("blob", "blobs") };
    let git_url = format!("{}/git/{git_kind}/{object}", world.repo_url(repo));
    let page = format!("{}/{page_kind}/{name}/{shown}", world.repo_page(repo));
    json!({
        "name": path.rsplit('/').next(),
        "path": path,
        "sha": object,
        "size": size,
        "url": url,
        "html_url": page,
        "git_url": git_url,
        "download_url": (kind == "file").then(|| format!("{}/raw/{name}/{shown}", world.repo_page(repo))),
        "type": kind,
        "_links": {"self": url, "git": git_url, "html": page},
    })
}

/// GitHub breaks its base64 after 60 characters; a strict decoder falls over it.
fn lines_of_60(text: &str) -> String {
    let mut broken = String::new();
    for (at, character) in text.chars().enumerate() {
        broken.push(character);
        if at % 60 == 59 {
            broken.push('\n');
        }
    }
    if !broken.ends_with('\n') {
        broken.push('\n');
    }
    broken
}
