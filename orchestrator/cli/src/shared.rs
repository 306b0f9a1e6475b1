//! The store that several installations share: where it is, and this process among the others.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cloud_code_engine::{Membership, Role};
use cloud_code_model::{Issue, StoreSettings, TaskState};
use cloud_code_store::{Database, Leases as _, Store as _, Terms};
use secrecy::SecretString;

use crate::app::App;

/// Names the server, with a password. It counts before the setting.
pub(crate) const VARIABLE: &str = "CLOUD_CODE_STORE_URL";
/// Shorter leases are lost to an ordinary hiccup of a machine.
const LEAST: Duration = Duration::from_secs(1);

/// The server that keeps the rows; none when a file does.
pub(crate) fn url(app: &App) -> Result<Option<SecretString>> {
    if let Ok(url) = std::env::var(VARIABLE)
        && !url.is_empty()
    {
        let secret = SecretString::from(url.clone());
        app.scrubber.keep(secret.clone());
        if let Some(password) = password(&url) {
            app.scrubber.keep(SecretString::from(password.to_owned()));
        }
        return Ok(Some(secret));
    }
    let Some(url) = &app.settings.store.url else { return Ok(None) };
    if password(url).is_some() {
        bail!(
            "`store.url` has a password in it\n  hint: set the variable {VARIABLE} to the whole URL, and leave the setting out"
        );
    }
    Ok(Some(SecretString::from(url.clone())))
}

/// The password of a URL: behind the user's name, or among the parameters.
fn password(url: &str) -> Option<&str> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = place.split('/').next().unwrap_or_default();
    let user = authority.rsplit_once('@').and_then(|(user, _)| user.split_once(':')).map(|(_, word)| word);
    let named = parameters.split('&').find_map(|pair| pair.strip_prefix("password="));
    user.or(named).filter(|word| !word.is_empty())
}

/// How long leases and workers last.
fn terms(settings: &StoreSettings) -> Result<Terms> {
    let usual = Membership::usual_terms();
    let lease = settings.lease.map_or(usual.lease, |span| span.as_duration());
    let worker = settings.worker.map_or(usual.worker.max(lease * 2), |span| span.as_duration());
    if lease < LEAST || worker < lease {
        bail!("`store.lease` is at least one second, and `store.worker` at least as long as `store.lease`");
    }
    Ok(Terms { lease, worker })
}

/// This process among those that share the store; none where nobody else can.
pub(crate) async fn join(app: &App, store: &Database, role: Role) -> Result<Option<Membership>> {
    if url(app)?.is_none() {
        if role != Role::All {
            bail!(
                "`--role` is for several processes on one PostgreSQL server, and none is named\n  hint: set `store.url` in cloud-code.yaml, or {VARIABLE}"
            );
        }
        return Ok(None);
    }
    let terms = terms(&app.settings.store)?;
    if role == Role::Front {
        return Ok(Some(Membership::watching(store.clone(), terms)));
    }
    let process = ulid::Ulid::generate().to_string();
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "an unnamed host",
        named => named,
    };
    let joined = Membership::join(store.clone(), app.instance()?, process, host, terms).await;
    joined.map(Some).context("cannot join the workers that share the store")
}

/// Who works on an issue of a shared store, when a terminal must not: without a lease nothing would keep another worker
/// from running the same task, and what an installation has on its disk cannot be seen from another one.
pub(crate) async fn elsewhere(app: &App, store: &Database, issue: &Issue) -> Result<Option<String>> {
    if url(app)?.is_none() {
        return Ok(None);
    }
    if let Some(standing) = store.standing(&issue.project, &issue.key).await? {
        let owner = standing.lease.moved_from.unwrap_or(standing.lease.member.worker);
        let workers = store.workers().await?;
        let host = workers.into_iter().find(|worker| worker.member.worker == owner).map(|worker| worker.host);
        return Ok(Some(format!("worker {owner} on {}", host.as_deref().unwrap_or("an unknown host"))));
    }
    if issue.cleaned_at.is_some() {
        return Ok(None);
    }
    // Begun by hand: there is no lease to ask.
    let tasks = store.tasks_of(&issue.project, &issue.key).await?;
    let is_begun = tasks.iter().any(|record| record.state != TaskState::Queued);
    let is_here = app.layout.issue(&issue.project, &issue.key).root.exists();
    Ok((is_begun && !is_here).then(|| "another installation that shares this store".to_owned()))
}

/// Refuses to work by hand on an issue that somebody else works on.
pub(crate) async fn is_here(app: &App, store: &Database, issue: &Issue) -> Result<()> {
    match elsewhere(app, store, issue).await? {
        None => Ok(()),
        Some(who) => bail!(
            "{}#{} is worked on by {who}\n  hint: say it on the issue's thread, or there",
            issue.project,
            issue.key
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::password;

    #[test]
    fn a_password_is_found_wherever_a_url_may_have_it() {
        for (url, found) in [
            ("postgres://alice@db/rows", None),
            ("postgres://alice:@db/rows", None),
            ("postgres://alice:s3cret@db:5432/rows", Some("s3cret")),
            ("postgres://alice:p%40ss@db", Some("p%40ss")),
            ("postgres://db/rows?user=alice&password=s3cret", Some("s3cret")),
            ("postgres://alice@%2Frun%2Fpg/a:b@c", None),
        ] {
            assert_eq!(password(url), found, "{url}");
        }
    }
}
