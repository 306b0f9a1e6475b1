//! Makes the GitHub App by its manifest, and keeps what GitHub hands out for it.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use cloud_code_model::GithubAppSettings;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::callback::{self, Code, Loopback, Told};
use super::github::{As, Github};
use super::keep::{self, SECRETS_DIR};
use super::manifest::AppPlan;
use super::random;
use crate::ui;

/// The App's private key, below the folder of secrets.
pub(crate) const KEY_FILE: &str = "github-app.pem";
/// The current webhook secret, below the folder of secrets.
pub(crate) const WEBHOOK_SECRET_FILE: &str = "github-webhook-secret";
/// The page for a browser elsewhere, below the home folder.
const PAGE_FILE: &str = "make-github-app.html";
/// How long a person may take. GitHub's code is good for an hour.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Longest code that is believed to be one; real ones have 40 characters.
const MAX_CODE: usize = 200;

/// How the browser's answer comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WayBack {
    /// To a listener on loopback, on this port; 0 is any.
    Listener(u16),
    /// Pasted by the person.
    Pasted,
}

/// An App that was made and is kept.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) settings: GithubAppSettings,
    /// Where it is installed into repositories.
    pub(crate) install: String,
    /// GitHub gave no webhook secret, so one was made that GitHub does not know yet.
    pub(crate) secret_is_ours: bool,
}

/// Makes the App and keeps its secrets.
pub(crate) async fn make(home: &Path, github: &Github, plan: &AppPlan<'_>, way: WayBack) -> Result<Made> {
    let state = random::token()?;
    let action = plan.new_app_page(github.web(), &state);
    match way {
        WayBack::Listener(port) => {
            let loopback = Loopback::open(port).await?;
            let own = format!("http://127.0.0.1:{}", loopback.port());
            let html = callback::form(&action, &plan.manifest(&format!("{own}/callback")));
            ui::out(format!("Open this address in a browser: {own}/"));
            ui::out(format!(
                "  from another machine first: ssh -L {0}:127.0.0.1:{0} THIS-MACHINE   (or use --manual)",
                loopback.port()
            ));
            let (sender, mut codes) = mpsc::channel(1);
            let end = CancellationToken::new();
            let mut page = pin!(loopback.serve(html, state, sender, end.clone()));
            let made = tokio::select! {
                served = &mut page => {
                    served?;
                    bail!("the page on loopback ended")
                }
                made = timeout(PATIENCE, first_code(home, github, &mut codes)) => {
                    made.map_err(|_| anyhow!("nobody made the App within an hour\n  hint: run init again"))?
                }
            };
            end.cancel();
            // The browser gets its answer; a connection that it only holds open is not waited for.
            let _ = timeout(LAST_WORDS, page).await;
            made
        }
        WayBack::Pasted => {
            // Nothing listens there: the browser stops at the address, and the code stands in it.
            let html = callback::form(&action, &plan.manifest("http://127.0.0.1:1/callback"));
            let page = home.join(PAGE_FILE);
            keep::settings(&page, &html)?;
            ui::out(format!("Open this file in a browser, on any machine: {}", page.display()));
            ui::out(
                "At the end the browser says that it cannot reach 127.0.0.1. Paste the whole address here:",
            );
            let pasted = tokio::task::spawn_blocking(read_line).await??;
            let code = pasted_code(&pasted, &state)?;
            let made = convert(home.to_owned(), github.clone(), code).await?;
            // It served its purpose; a second App by accident is no help to anybody.
            let _ = std::fs::remove_file(&page);
            Ok(made)
        }
    }
}

async fn first_code(home: &Path, github: &Github, codes: &mut mpsc::Receiver<Code>) -> Result<Made> {
    let code = codes.recv().await.context("the page on loopback ended")?;
    let made = convert(home.to_owned(), github.clone(), code.code.clone()).await;
    code.answer(match &made {
        Ok(made) => Told::Done { install: made.install.clone() },
        Err(error) => Told::Failed { why: error.to_string() },
    });
    made
}

/// How long the browser has to take its answer. Too short and it shows a broken page.
const LAST_WORDS: Duration = Duration::from_secs(2);

fn read_line() -> Result<String> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        ui::err("> ");
    }
    let mut line = String::new();
    stdin.lock().read_line(&mut line).context("cannot read standard input")?;
    if line.trim().is_empty() {
        bail!("no address was pasted\n  hint: run init again");
    }
    Ok(line)
}

/// The code in a pasted address. The bare code is taken as well: then the person vouches for it.
fn pasted_code(pasted: &str, state: &str) -> Result<String> {
    let pasted = pasted.trim();
    let Some((_, query)) = pasted.split_once('?') else { return Ok(pasted.to_owned()) };
    let field = |name: &str| {
        let mut parts = query.split('#').next().unwrap_or_default().split('&');
        parts.find_map(|part| part.split_once('=').filter(|(key, _)| *key == name)).map(|(_, value)| value)
    };
    if field("state") != Some(state) {
        bail!(
            "this address belongs to another run of init\n  hint: open the page that this run wrote, and paste what comes of it"
        );
    }
    let code = field("code").context("there is no code in this address")?;
    Ok(code.to_owned())
}

async fn convert(home: std::path::PathBuf, github: Github, code: String) -> Result<Made> {
    tokio::task::spawn_blocking(move || convert_and_keep(&home, &github, &code)).await?
}

/// Blocking. The code is used up by the first question, so its answer is on disk before anything else is done.
fn convert_and_keep(home: &Path, github: &Github, code: &str) -> Result<Made> {
    let is_code = !code.is_empty()
        && code.len() <= MAX_CODE
        && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if !is_code {
        bail!("what came back is no code of GitHub");
    }
    let answer = github.post(&format!("/app-manifests/{code}/conversions"), As::Nobody, &Value::Null)?;
    match answer.status {
        201 => {}
        404 | 410 | 422 => bail!(
            "GitHub does not know this code: it works once, and for an hour\n  hint: run init again; an App that was \
             made already can be deleted at {}/settings/apps",
            github.web()
        ),
        _ => bail!("GitHub did not hand out the App's key: {}", answer.complaint()),
    }
    let field = |name: &str| {
        answer.text(&format!("/{name}")).with_context(|| format!("GitHub's answer has no `{name}`"))
    };
    let key = SecretString::from(field("pem")?);
    let secret = answer.text("/webhook_secret").filter(|secret| !secret.is_empty()).map(SecretString::from);
    keep::secret(home, KEY_FILE, key.expose_secret().as_bytes())?;
    let secret_is_ours = secret.is_none();
    let secret = secret.map_or_else(|| random::token().map(SecretString::from), Ok)?;
    keep::secret(home, WEBHOOK_SECRET_FILE, secret.expose_secret().as_bytes())?;
    let slug = field("slug")?;
    let id = answer.body.get("id").and_then(Value::as_u64).context("GitHub's answer has no `id`")?;
    let page =
        answer.text("/html_url").map_or_else(|| format!("{}/apps/{slug}", github.web()), str::to_owned);
    Ok(Made {
        settings: GithubAppSettings {
            id,
            slug: slug.to_owned(),
            private_key_file: format!("{SECRETS_DIR}/{KEY_FILE}"),
        },
        install: format!("{page}/installations/new"),
        secret_is_ours,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pasted_address_is_believed_with_the_right_state_only() {
        let address = "http://127.0.0.1:1/callback?code=a1b2&state=right#x\n";
        assert_eq!(pasted_code(address, "right").unwrap(), "a1b2");
        assert_eq!(pasted_code(" a1b2 ", "right").unwrap(), "a1b2");
        for bad in ["http://x/?code=a1b2&state=wrong", "http://x/?code=a1b2", "http://x/?state=right"] {
            assert!(pasted_code(bad, "right").is_err(), "{bad}");
        }
    }
}
