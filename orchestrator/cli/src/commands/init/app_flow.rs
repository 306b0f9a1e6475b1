//! The GitHub App: made by its manifest, or one that is there already. What it needs is kept, and its webhook is signed.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use cloud_code_forge::{Credentials, ForgeError, Github, NewApp, convert_manifest};
use cloud_code_model::GithubAppSettings;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::answers::Replace;
use super::callback::{self, Code, Loopback, Told};
use super::keep::{self, SECRETS_DIR};
use super::manifest::AppPlan;
use super::place::Place;
use super::{random, webhook_secret};
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

/// An App that is kept.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) settings: GithubAppSettings,
    /// Where it is installed into repositories.
    pub(crate) install: String,
    /// Whether there is a webhook secret.
    pub(crate) is_signed: bool,
    /// What the person has to do by hand.
    pub(crate) by_hand: Option<String>,
}

/// An App that was there before.
#[derive(Debug, Clone)]
pub(crate) struct Existing {
    pub(crate) id: u64,
    /// Its short name, when the person gave one.
    pub(crate) slug: Option<String>,
    pub(crate) key: SecretString,
}

/// Makes the App and keeps its secrets.
pub(crate) async fn make(home: &Path, place: &Place, plan: &AppPlan<'_>, way: WayBack) -> Result<Made> {
    let state = random::token()?;
    let action = plan.new_app_page(place.web(), &state);
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
                made = timeout(PATIENCE, first_code(home, place, plan, &mut codes)) => {
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
            let made = convert(home, place, plan, &code).await?;
            // It served its purpose; a second App by accident is no help to anybody.
            let _ = std::fs::remove_file(&page);
            Ok(made)
        }
    }
}

async fn first_code(
    home: &Path,
    place: &Place,
    plan: &AppPlan<'_>,
    codes: &mut mpsc::Receiver<Code>,
) -> Result<Made> {
    let code = codes.recv().await.context("the page on loopback ended")?;
    let made = convert(home, place, plan, &code.code).await;
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

/// The code is used up by the first question, so its answer is on disk before anything else is done.
async fn convert(home: &Path, place: &Place, plan: &AppPlan<'_>, code: &str) -> Result<Made> {
    let is_code = !code.is_empty()
        && code.len() <= MAX_CODE
        && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if !is_code {
        bail!("what came back is no code of GitHub");
    }
    let app = match convert_manifest(&place.config(Credentials::None), code).await {
        Ok(app) => app,
        Err(ForgeError::NotFound { .. } | ForgeError::Gone { .. } | ForgeError::Invalid { .. }) => bail!(
            "GitHub does not know this code: it works once, and for an hour\n  hint: run init again; an App that was \
             made already can be deleted at {}/settings/apps",
            place.web()
        ),
        Err(error) => return Err(error).context("GitHub did not hand out the App's key"),
    };
    let NewApp { id, slug, pem, webhook_secret: secret, html_url, .. } = app;
    let secret = secret.filter(|secret| !secret.expose_secret().is_empty());
    let is_given = secret.is_some();
    let (folder, key) = (home.to_owned(), pem.clone());
    tokio::task::spawn_blocking(move || -> Result<()> {
        keep::secret(&folder, KEY_FILE, key.expose_secret().as_bytes())?;
        if let Some(secret) = secret {
            keep::secret(&folder, WEBHOOK_SECRET_FILE, secret.expose_secret().as_bytes())?;
        }
        Ok(())
    })
    .await??;
    let mut made = Made {
        settings: GithubAppSettings { id, slug, private_key_file: format!("{SECRETS_DIR}/{KEY_FILE}") },
        install: format!("{html_url}/installations/new"),
        is_signed: is_given,
        by_hand: None,
    };
    if let Some(url) = plan.webhook_url().filter(|_| !is_given) {
        let github = place.connect(Credentials::App { id, private_key: pem })?;
        sign(home, &github, &url, &mut made).await?;
    }
    Ok(made)
}

/// Gives the webhook a secret of our making, which GitHub takes and never shows.
async fn sign(home: &Path, github: &Github, url: &str, made: &mut Made) -> Result<()> {
    let folder = home.to_owned();
    let secret = tokio::task::spawn_blocking(move || webhook_secret(&folder)).await??;
    made.is_signed = true;
    if let Err(error) = github.set_hook_config(url, &secret).await {
        made.by_hand = Some(format!(
            "GitHub does not take the webhook's address and secret ({}). Set them on the App's page: {url}, and the content \
             of {SECRETS_DIR}/{WEBHOOK_SECRET_FILE}.",
            ui::one_line(&error.to_string())
        ));
    }
    Ok(())
}

/// Takes an App that is there: looks whether the key is its key, keeps it, and points its webhook here.
pub(crate) async fn take(
    home: &Path,
    place: &Place,
    plan: &AppPlan<'_>,
    existing: &Existing,
    replace: Replace,
) -> Result<Made> {
    let github = place.connect(Credentials::App { id: existing.id, private_key: existing.key.clone() });
    let github = github.context(
        "the App's private key cannot be used\n  hint: --app-key is the PEM file that GitHub gave",
    )?;
    let app = github
        .app()
        .await
        .with_context(|| format!("GitHub does not know the App {} by this key", existing.id))?;
    if let Some(slug) = &existing.slug
        && *slug != app.slug
    {
        bail!("the App {} is called `{}` and not `{slug}`", existing.id, app.slug);
    }
    let (folder, key) = (home.to_owned(), existing.key.clone());
    tokio::task::spawn_blocking(move || keep::secret(&folder, KEY_FILE, key.expose_secret().as_bytes()))
        .await??;
    let mut made = Made {
        settings: GithubAppSettings {
            id: app.id,
            slug: app.slug,
            private_key_file: format!("{SECRETS_DIR}/{KEY_FILE}"),
        },
        install: format!("{}/installations/new", app.html_url),
        is_signed: false,
        by_hand: None,
    };
    let Some(url) = plan.webhook_url() else { return Ok(made) };
    let now = github.hook_config().await.ok();
    let is_kept = home.join(SECRETS_DIR).join(WEBHOOK_SECRET_FILE).is_file();
    match now.as_ref().and_then(|now| now.url.as_deref()).filter(|now| !now.is_empty()) {
        // The one that signs and the one that checks were made together.
        Some(there) if there == url && is_kept => made.is_signed = true,
        Some(there) if there != url && plan.public_url.is_none() => {
            // Nobody calls us, so whoever is called may go on being called: the log tells us the same.
            ui::out(format!("The App's webhook stays at {}.", ui::one_line(there)));
        }
        Some(there) if there != url => {
            let there = ui::one_line(there);
            let question = format!("The App's webhook goes to {there}. Send it to {url}, with a new secret?");
            let agreed = tokio::task::spawn_blocking(move || replace.agrees(&question)).await??;
            if !agreed {
                bail!(
                    "the App's webhook goes to {there}, and nothing was changed there\n  hint: --replace sends it to {url}"
                );
            }
            sign(home, &github, &url, &mut made).await?;
        }
        Some(_) | None => sign(home, &github, &url, &mut made).await?,
    }
    Ok(made)
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
