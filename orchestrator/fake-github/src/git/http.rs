//! Smart HTTP: who may, then `git http-backend`, then what the push changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;

use bytes::Bytes;
use hyper::HeaderMap;
use tokio::io::AsyncWriteExt;

use super::report::explain;
use super::{Git, refuse};
use crate::answer::{Answer, Content};
use crate::auth::{Caller, credential, token};
use crate::call::Actor;
use crate::router::{covers, sees};
use crate::shared::Shared;
use crate::state::{Level, Repo, Role, World};

/// A call of git's.
#[derive(Debug, Clone)]
pub(crate) struct GitCall {
    pub(crate) full_name: String,
    /// `info/refs`, `git-upload-pack` or `git-receive-pack`.
    pub(crate) action: &'static str,
    pub(crate) query: String,
    pub(crate) writes: bool,
}

impl GitCall {
    /// Reads `/O/R.git/…`, also without the `.git`.
    pub(crate) fn parse(path: &str, query: &str) -> Option<Self> {
        let (repo, action) = ["info/refs", "git-upload-pack", "git-receive-pack"]
            .into_iter()
            .find_map(|action| path.strip_suffix(&format!("/{action}")).map(|repo| (repo, action)))?;
        let (owner, name) = repo.strip_prefix('/')?.split_once('/')?;
        let name = name.strip_suffix(".git").unwrap_or(name);
        if owner.is_empty() || name.is_empty() || name.contains('/') {
            return None;
        }
        let writes = action == "git-receive-pack" || query.contains("service=git-receive-pack");
        Some(Self { full_name: format!("{owner}/{name}"), action, query: query.to_owned(), writes })
    }
}

/// A call that was let in.
#[derive(Debug)]
struct Admitted {
    repo: u64,
    git_dir: PathBuf,
    root: PathBuf,
    actor: Option<Actor>,
    protected: BTreeSet<String>,
    /// Who may not write workflow files: `app`, `token`, or empty.
    no_workflows: &'static str,
    login: String,
}

/// Who asks, for the journal and the checks; an unknown or expired token is `None`.
pub(crate) fn caller(world: &World, headers: &HeaderMap) -> Option<Caller> {
    match headers.get("authorization").and_then(|value| value.to_str().ok()) {
        None => Some(Caller::Nobody),
        Some(header) => credential(header).and_then(|secret| token(world, &secret)),
    }
}

fn plain(status: u16, text: &str) -> Answer {
    Answer { status, ..Answer::raw("text/plain; charset=utf-8", text.to_owned()) }
}

fn unauthorized(text: &str) -> Answer {
    plain(401, text).with("www-authenticate", "Basic realm=\"GitHub\"")
}

fn admit(world: &World, headers: &HeaderMap, call: &GitCall) -> Result<Admitted, Answer> {
    let Some(caller) = caller(world, headers) else {
        return Err(unauthorized(
            "Invalid username or token. Password authentication is not supported for Git operations.\n",
        ));
    };
    let missing = || match caller {
        Caller::Nobody => unauthorized("Repository not found.\n"),
        _ => plain(404, "Repository not found.\n"),
    };
    let Some(repo) = world.repo_named(&call.full_name) else {
        let moved = world.repo_once_named(&call.full_name).ok_or_else(missing)?;
        sees(world, &caller, moved).map_err(|_| missing())?;
        let query = if call.query.is_empty() { String::new() } else { format!("?{}", call.query) };
        let to = format!("{}.git/{}{query}", world.repo_page(moved), call.action);
        return Err(plain(301, "").with("location", to));
    };
    sees(world, &caller, repo).map_err(|_| missing())?;
    may(world, &caller, repo, call.writes)?;
    if call.writes && repo.archived {
        return Err(plain(403, "This repository was archived so it is read-only.\n"));
    }
    let held = |permissions: &BTreeMap<String, Level>| permissions.get("workflows") >= Some(&Level::Write);
    let (actor, no_workflows) = match &caller {
        Caller::Installation { app, permissions, .. } => (
            world.app(*app).map(|known| Actor { user: known.bot, app: Some(*app) }),
            if held(permissions) { "" } else { "app" },
        ),
        Caller::Person { user, permissions } => (
            Some(Actor { user: *user, app: None }),
            if permissions.as_ref().is_none_or(held) { "" } else { "token" },
        ),
        Caller::Nobody | Caller::App(_) => (None, ""),
    };
    Ok(Admitted {
        repo: repo.id,
        git_dir: repo.git_dir.clone(),
        root: world.root.clone(),
        login: world.login(actor.map(|actor| actor.user)).to_owned(),
        actor,
        protected: repo.protected.clone(),
        no_workflows,
    })
}

fn may(world: &World, caller: &Caller, repo: &Repo, writes: bool) -> Result<(), Answer> {
    let level = if writes { Level::Write } else { Level::Read };
    match caller {
        Caller::Nobody if writes => Err(unauthorized("No anonymous write access.\n")),
        Caller::Nobody => Ok(()),
        Caller::App(_) => Err(unauthorized("Invalid username or token.\n")),
        Caller::Installation { permissions, .. } => {
            let allowed = covers(world, caller, repo) && permissions.get("contents") >= Some(&level);
            if allowed || (!writes && !repo.private) {
                Ok(())
            } else {
                Err(plain(403, "Write access to repository not granted.\n"))
            }
        }
        Caller::Person { user, permissions } => {
            let role = if writes { Role::Write } else { Role::Read };
            let narrowed = permissions.as_ref().is_some_and(|held| held.get("contents") < Some(&level));
            if repo.role(*user) >= role && !(narrowed && (writes || repo.private)) {
                Ok(())
            } else {
                let name = world.full_name(repo);
                let login = world.login(Some(*user));
                Err(plain(403, &format!("Permission to {name}.git denied to {login}.\n")))
            }
        }
    }
}

/// Answers a call. A push that is under way is finished also when the client is gone, as on a real server.
pub(crate) async fn answer(shared: Arc<Shared>, headers: HeaderMap, call: GitCall, body: Bytes) -> Answer {
    let admitted = match shared.with(|world| admit(world, &headers, &call)) {
        Ok(admitted) => admitted,
        Err(answer) => return answer,
    };
    let is_push = call.action == "git-receive-pack";
    let guard = if is_push { Some(shared.pushes.lock().await) } else { None };
    let git = Git::new(&admitted.git_dir);
    let before = if is_push { git.refs("refs/") } else { BTreeMap::new() };
    let answer = match backend(&headers, &call, &admitted, body).await {
        Ok(answer) => answer,
        Err(error) => return plain(500, &format!("git http-backend: {error}\n")),
    };
    if is_push {
        let after = git.refs("refs/");
        shared.with(|world| tell(world, &admitted, &before, &after));
    }
    drop(guard);
    answer
}

/// Tells the world what moved.
fn tell(
    world: &mut World,
    admitted: &Admitted,
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) {
    let Some(actor) = admitted.actor else { return };
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names {
        let (old, new) = (before.get(name), after.get(name));
        if old != new && (name.starts_with("refs/heads/") || name.starts_with("refs/tags/")) {
            world.branch_moved(admitted.repo, actor, name, old.map(String::as_str), new.map(String::as_str));
        }
    }
}

async fn backend(
    headers: &HeaderMap,
    call: &GitCall,
    admitted: &Admitted,
    body: Bytes,
) -> std::io::Result<Answer> {
    refuse::install(&admitted.git_dir)?;
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let folder = admitted.git_dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let reasons = tempfile::NamedTempFile::new_in(&admitted.root)?;
    let mut command = std::process::Command::new("git");
    super::repository::isolate(&mut command);
    command
        .arg("http-backend")
        .env("GIT_PROJECT_ROOT", &admitted.root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("PATH_INFO", format!("/{folder}/{}", call.action))
        .env("QUERY_STRING", &call.query)
        .env("REQUEST_METHOD", if call.action == "info/refs" { "GET" } else { "POST" })
        .env("CONTENT_TYPE", header("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", header("content-encoding"))
        .env("GIT_PROTOCOL", header("git-protocol"))
        .env("REMOTE_USER", &admitted.login)
        .env("REMOTE_ADDR", "127.0.0.1")
        .env("FAKE_PROTECTED", admitted.protected.iter().cloned().collect::<Vec<_>>().join("\n"))
        .env("FAKE_WORKFLOWS", admitted.no_workflows)
        .env("FAKE_REASONS", reasons.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = tokio::process::Command::from(command).spawn()?;
    let stdin = child.stdin.take();
    let feed = async move {
        if let Some(mut stdin) = stdin {
            // A backend that refuses early closes its end; what it says is in its answer.
            let _ = stdin.write_all(&body).await;
        }
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), feed);
    let mut answer = parse_cgi(output?.stdout);
    let said = std::fs::read_to_string(reasons.path())?;
    let reasons: BTreeMap<String, String> = said
        .lines()
        .filter_map(|line| line.split_once('\t'))
        .map(|(name, reason)| (name.to_owned(), reason.to_owned()))
        .collect();
    if let Content::Raw(_, body) = &mut answer.body {
        *body = explain(body, &reasons).into();
    }
    Ok(answer)
}

/// Reads what a CGI program answers: headers, an empty line, the body.
fn parse_cgi(output: Vec<u8>) -> Answer {
    let output = Bytes::from(output);
    let end = output.windows(4).position(|four| four == b"\r\n\r\n").map_or(output.len(), |at| at + 4);
    let head = String::from_utf8_lossy(&output[..end]).into_owned();
    let mut answer = Answer::raw("text/plain", output.slice(end..));
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        match (name.to_ascii_lowercase().as_str(), &mut answer.body) {
            ("status", _) => {
                answer.status = value.split(' ').next().and_then(|code| code.parse().ok()).unwrap_or(500);
            }
            ("content-type", Content::Raw(kind, _)) => value.clone_into(kind),
            ("cache-control", _) => answer.headers.push(("cache-control", value.to_owned())),
            _ => {}
        }
    }
    answer
}
