//! Working with a person's token: is it good, what can be seen of its permissions, and its webhooks.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use cloud_code_forge::{Access, Credentials, Forge, ForgeError, Github, PERMISSIONS, TokenFacts};
use cloud_code_model::RepositoryName;
use jiff::Timestamp;
use secrecy::SecretString;

use super::place::Place;
use crate::ui;

/// The token, below the folder of secrets.
pub(crate) const TOKEN_FILE: &str = "github-token";
/// Longest token that is believed to be one.
const MAX_TOKEN: u64 = 4096;
/// A branch that nobody has, to ask for its pull requests.
const NO_BRANCH: &str = "cloud-code/nothing";

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

/// A connection with the token, and whose it is; an error where GitHub does not take it.
pub(crate) async fn open(place: &Place, token: SecretString) -> Result<(Github, TokenFacts)> {
    let github = place.connect(Credentials::Token(token))?;
    match github.token().await {
        Ok(facts) => Ok((github, facts)),
        Err(ForgeError::Auth { .. }) => bail!(
            "GitHub does not take this token: it is wrong, expired or revoked\n  hint: make one at \
             {}/settings/personal-access-tokens/new",
            place.web()
        ),
        Err(error) => Err(error).context("GitHub does not say whose token this is"),
    }
}

/// What is wrong with the token for one repository, a line each.
pub(crate) async fn lacks(
    github: &Github,
    facts: &TokenFacts,
    name: &RepositoryName,
) -> Result<Vec<String>, ForgeError> {
    let mut lacks = Vec::new();
    if let Some(scopes) = &facts.scopes
        && !scopes.iter().any(|scope| scope == "repo")
    {
        lacks
            .push(format!("the token lacks the scope `repo` (it has: {})", ui::one_line(&scopes.join(", "))));
    }
    let forge = match github.repository(name).await {
        Ok(forge) => forge,
        Err(error @ (ForgeError::NotFound { .. } | ForgeError::Forbidden { .. })) => {
            lacks.push(format!("the token does not reach {name}: {error} (add the repository to the token)"));
            return Ok(lacks);
        }
        Err(error) => return Err(error),
    };
    let found = forge.repository().await?;
    if found.archived {
        lacks.push(format!("{name} is archived: nothing can be pushed to it"));
    }
    if found.grants.contents.falls_short_of(Access::Write) {
        lacks.push(format!("{name}: the token's owner may not push there"));
    }
    lacks.extend(unreadable(forge.as_ref(), name, &found.default_branch).await?);
    Ok(lacks)
}

/// GitHub tells nobody what a fine-grained token may write. What can be read is tried; the rest shows at first use. So does
/// a missing `issues` beside `pull_requests`: GitHub lists issues to who has either.
pub(crate) async fn unreadable(
    forge: &dyn Forge,
    name: &RepositoryName,
    branch: &str,
) -> Result<Vec<String>, ForgeError> {
    let tried = [
        ("contents", forge.branch(branch).await.map(drop)),
        ("issues", forge.recent_issues(Timestamp::now()).await.map(drop)),
        ("pull_requests", forge.find_pull(NO_BRANCH).await.map(drop)),
    ];
    let mut lacks = Vec::new();
    for (permission, answer) in tried {
        match answer {
            // A repository may have its issues switched off.
            Ok(()) | Err(ForgeError::Gone { .. }) => {}
            Err(error @ (ForgeError::Forbidden { .. } | ForgeError::NotFound { .. })) => {
                lacks.push(format!("{name}: the token lacks `{permission}`: {error}"));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(lacks)
}

/// The permissions that a fine-grained token needs, for a person to tick.
pub(crate) fn needed() -> String {
    let names: Vec<String> = PERMISSIONS
        .iter()
        // Check runs are for Apps alone; a token sets commit statuses.
        .filter(|needed| !["checks", "statuses"].contains(&needed.name))
        .map(|needed| format!("{}: {}", needed.name, needed.access.word()))
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

/// Makes the webhook of a repository, if the token may.
pub(crate) async fn hook(
    github: &Github,
    name: &RepositoryName,
    url: &str,
    secret: &SecretString,
) -> Result<Hook, ForgeError> {
    match github.repository_hook(name, url).await {
        Ok(Some(_)) => return Ok(Hook::There),
        Ok(None) => {}
        Err(ForgeError::NotFound { .. } | ForgeError::Forbidden { .. }) => return Ok(Hook::ByHand),
        Err(error) => return Err(error),
    }
    match github.make_repository_hook(name, url, secret).await {
        Ok(()) => Ok(Hook::Made),
        Err(ForgeError::NotFound { .. } | ForgeError::Forbidden { .. }) => Ok(Hook::ByHand),
        Err(error) => Err(error),
    }
}
