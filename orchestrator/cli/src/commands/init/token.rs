//! Working with a person's token: is it good, what can be seen of its permissions, and its webhooks.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use cloud_code_model::RepositoryName;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};

use super::github::{As, Github};
use super::manifest::{EVENTS, PERMISSIONS};
use crate::ui;

/// The token, below the folder of secrets.
pub(crate) const TOKEN_FILE: &str = "github-token";
/// Longest token that is believed to be one.
const MAX_TOKEN: u64 = 4096;
/// GitHub's answer where a hook with the same address is there.
const UNPROCESSABLE: u16 = 422;

/// A token from a file, or from standard input for `-`.
pub(crate) fn read(path: &Path) -> Result<SecretString> {
    let mut text = String::new();
    if path == Path::new("-") {
        std::io::stdin().take(MAX_TOKEN).read_to_string(&mut text).context("cannot read standard input")?;
    } else {
        let file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        file.take(MAX_TOKEN)
            .read_to_string(&mut text)
            .with_context(|| format!("cannot read {}", path.display()))?;
    }
    check_form(&text)
}

/// What was typed or read, without the line's end.
pub(crate) fn check_form(text: &str) -> Result<SecretString> {
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        bail!("this is no token: it is empty, or has blanks or several lines");
    }
    Ok(SecretString::from(token))
}

/// Whose token it is; an error where GitHub does not take it. Blocking.
pub(crate) fn owner(github: &Github, token: &SecretString) -> Result<String> {
    let answer = github.get("/user", As::Bearer(token))?;
    match answer.status {
        200 => Ok(answer.text("/login").context("GitHub's answer has no `login`")?.to_owned()),
        401 => bail!(
            "GitHub does not take this token: it is wrong, expired or revoked\n  hint: make one at \
             {}/settings/personal-access-tokens/new",
            github.web()
        ),
        _ => bail!("GitHub does not say whose token this is: {}", answer.complaint()),
    }
}

/// What is wrong with the token for one repository, a line each. Blocking.
///
/// GitHub tells nobody what a fine-grained token may write. What can be read is tried; the rest shows at first use.
pub(crate) fn lacks(
    github: &Github,
    token: &SecretString,
    repository: &RepositoryName,
) -> Result<Vec<String>> {
    let who = As::Bearer(token);
    let answer = github.get(&format!("/repos/{repository}"), who)?;
    if !answer.is_success() {
        return Ok(vec![format!(
            "{repository} is not there, or the token does not reach it: {} (add the repository to the token)",
            answer.complaint()
        )]);
    }
    let mut lacks = Vec::new();
    let flag = |pointer: &str| answer.body.pointer(pointer).and_then(Value::as_bool);
    if flag("/archived") == Some(true) {
        lacks.push(format!("{repository} is archived: nothing can be pushed to it"));
    }
    if flag("/permissions/push") == Some(false) {
        lacks.push(format!("{repository}: the token's owner may not push there"));
    }
    if let Some(scopes) = answer.header("x-oauth-scopes")
        && !scopes.is_empty()
        && !scopes.split(',').any(|scope| scope.trim() == "repo")
    {
        lacks.push(format!("the token lacks the scope `repo` (it has: {})", ui::one_line(scopes)));
    }
    for (permission, path) in [
        ("contents", "commits?per_page=1"),
        ("issues", "issues?per_page=1"),
        ("pull_requests", "pulls?per_page=1"),
    ] {
        let answer = github.get(&format!("/repos/{repository}/{path}"), who)?;
        // 409 is a repository without commits, 410 one without issues.
        if matches!(answer.status, 401 | 403 | 404) {
            lacks.push(format!("{repository}: the token lacks `{permission}`: {}", answer.complaint()));
        }
    }
    Ok(lacks)
}

/// The permissions that a fine-grained token needs, for a person to tick.
pub(crate) fn needed() -> String {
    let names: Vec<String> = PERMISSIONS
        .iter()
        // Check runs are for Apps alone; a token sets commit statuses.
        .filter(|(name, _, _)| !["checks", "statuses"].contains(name))
        .map(|(name, need, _)| format!("{name}: {}", need.as_str()))
        .chain(std::iter::once("statuses: write".to_owned()))
        .collect();
    names.join(", ")
}

/// What became of a repository's webhook.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    /// It was made.
    Made,
    /// One with this address was there. Whether its secret is ours cannot be read.
    There,
    /// The token may not.
    ByHand,
}

/// Makes the webhook of a repository, if the token may. Blocking.
pub(crate) fn hook(
    github: &Github,
    token: &SecretString,
    repository: &RepositoryName,
    url: &str,
    secret: &SecretString,
) -> Result<Hook> {
    let path = format!("/repos/{repository}/hooks");
    let there = github.get(&format!("{path}?per_page=100"), As::Bearer(token))?;
    let is_ours = |hook: &Value| hook.pointer("/config/url").and_then(Value::as_str) == Some(url);
    if there.body.as_array().is_some_and(|hooks| hooks.iter().any(is_ours)) {
        return Ok(Hook::There);
    }
    if !there.is_success() {
        return Ok(Hook::ByHand);
    }
    let body = json!({
        "name": "web",
        "active": true,
        "events": EVENTS,
        "config": {"url": url, "content_type": "json", "insecure_ssl": "0", "secret": secret.expose_secret()},
    });
    let made = github.post(&path, As::Bearer(token), &body)?;
    Ok(match made.status {
        201 => Hook::Made,
        UNPROCESSABLE => Hook::There,
        _ => Hook::ByHand,
    })
}
