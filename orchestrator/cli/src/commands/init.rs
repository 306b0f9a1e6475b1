//! `init`: connects GitHub. An App made in the browser or a person's token, the webhook's secret, and the projects.
//!
//! A second run changes nothing that is right already. What a person wrote is replaced only with a yes.

mod answers;
mod app_flow;
mod callback;
mod edit;
mod keep;
pub(crate) mod manifest;
pub(crate) mod place;
mod random;
pub(crate) mod token;

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use cloud_code_forge::{EVENTS, Scrubber};
use cloud_code_model::{GlobalSettings, IntakeMode, ProjectName, ProjectSettings, RepositoryName};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use self::answers::{Answers, Identity};
use self::app_flow::{Made, WEBHOOK_SECRET_FILE};
use self::edit::Edit;
use self::keep::SECRETS_DIR;
use self::manifest::{AppPlan, webhook_url};
use self::place::Place;
use self::token::{Hook, TOKEN_FILE};
use crate::app::App;
use crate::args::InitArgs;
use crate::{settings, ui};

/// `cloud-code init`.
pub(crate) async fn run(app: &App, args: InitArgs) -> Result<ExitCode> {
    // Makes the home folder, and gives the App a name that nobody else has.
    let instance = app.instance()?;
    let (current, home) = (app.settings.clone(), app.home.clone());
    let clis: Vec<String> = app.catalog.iter().map(|entry| entry.manifest.name.to_string()).collect();
    let answers = {
        let (current, home) = (current.clone(), home.clone());
        let (name, scrubber) = (format!("cloud-code-{instance}"), app.scrubber.clone());
        let gather = move || answers::gather(args, &current, &home, &name, &clis, &scrubber);
        tokio::task::spawn_blocking(gather).await??
    };
    let file = home.join(settings::GLOBAL_FILE);
    // Before anything is made at GitHub: a file that cannot be changed or must not is found out now.
    let mut edits = global_edits(&answers);
    prepare::<GlobalSettings>(&file, edits.clone(), &answers)?;

    let mut install = None;
    match &answers.identity {
        Identity::Kept => ui::out("The App or token in cloud-code.yaml stays (--replace makes it anew)."),
        Identity::App { name, owner } => {
            let plan = plan(&answers, name, owner.as_deref());
            let made = app_flow::make(&home, &answers.place, &plan, answers.way_back).await?;
            edits.extend(app_edits(&made));
            tell_made(&made, "made");
            install = Some(made.install);
        }
        Identity::Existing(existing) => {
            let plan = plan(&answers, "", None);
            let made = app_flow::take(&home, &answers.place, &plan, existing, answers.replace).await?;
            edits.extend(app_edits(&made));
            tell_made(&made, "taken");
            install = Some(made.install);
        }
        Identity::Token(token) => edits.extend(with_token(&home, &answers, token).await?),
    }
    change::<GlobalSettings>(&file, edits)?;
    for repository in &answers.repos {
        project(&home, &answers, repository)?;
    }
    tell_next(&answers, install.as_deref());
    Ok(ExitCode::SUCCESS)
}

fn plan<'a>(answers: &'a Answers, name: &'a str, owner: Option<&'a str>) -> AppPlan<'a> {
    AppPlan { name, owner, public_url: answers.public_url.as_deref(), intake: answers.intake }
}

/// What stands in `cloud-code.yaml` whoever acts.
fn global_edits(answers: &Answers) -> Vec<Edit> {
    let intake = match answers.intake {
        IntakeMode::Webhook => "webhook",
        IntakeMode::Deliveries => "deliveries",
        IntakeMode::Polling => "polling",
    };
    let mut edits = vec![Edit::new(&["github", "intake"], intake)];
    if let Some(api) = answers.place.api_setting() {
        edits.push(Edit::new(&["github", "api_url"], api));
    }
    if let Some(url) = &answers.public_url {
        edits.push(Edit::new(&["server", "public_url"], url.as_str()));
    }
    edits
}

fn secret_edit() -> Edit {
    Edit::new(&["github", "webhook_secret_files"], json!([format!("{SECRETS_DIR}/{WEBHOOK_SECRET_FILE}")]))
}

fn app_edits(made: &Made) -> Vec<Edit> {
    let app = &made.settings;
    let value = json!({"id": app.id, "slug": app.slug, "private_key_file": app.private_key_file});
    let mut edits = vec![Edit::new(&["github", "app"], value)];
    if made.is_signed {
        edits.push(secret_edit());
    }
    edits
}

fn tell_made(made: &Made, how: &str) {
    ui::out(format!("The App {} is {how}; its key is in {SECRETS_DIR}/.", made.settings.slug));
    if let Some(by_hand) = &made.by_hand {
        ui::out(format!("warning: {by_hand}"));
    }
}

/// Checks the token, keeps it, and makes the webhooks it may make.
async fn with_token(home: &Path, answers: &Answers, token: &SecretString) -> Result<Vec<Edit>> {
    let (github, facts) = token::open(&answers.place, token.clone()).await?;
    ui::out(format!("The token is {}'s. It needs: {}.", ui::one_line(&facts.owner.login), token::needed()));
    for repository in &answers.repos {
        for lack in token::lacks(&github, &facts, repository).await? {
            ui::out(format!("warning: {lack}"));
        }
    }
    let (folder, kept) = (home.to_owned(), token.clone());
    let keep = move || keep::secret(&folder, TOKEN_FILE, kept.expose_secret().as_bytes());
    tokio::task::spawn_blocking(keep).await??;
    let mut edits = vec![Edit::new(&["github", "token_file"], format!("{SECRETS_DIR}/{TOKEN_FILE}"))];
    if answers.intake == IntakeMode::Webhook {
        let folder = home.to_owned();
        let secret = tokio::task::spawn_blocking(move || webhook_secret(&folder)).await??;
        edits.push(secret_edit());
        let url = webhook_url(answers.public_url.as_deref());
        for repository in &answers.repos {
            tell_hook(answers, repository, &url, token::hook(&github, repository, &url, &secret).await?);
        }
    }
    Ok(edits)
}

/// The secret that is there, else a new one.
fn webhook_secret(home: &Path) -> Result<SecretString> {
    let path = home.join(SECRETS_DIR).join(WEBHOOK_SECRET_FILE);
    match fs::read_to_string(&path) {
        Ok(text) if !text.trim().is_empty() => Ok(SecretString::from(text.trim())),
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot read {}", path.display()))
        }
        Ok(_) | Err(_) => {
            let secret = SecretString::from(random::token()?);
            keep::secret(home, WEBHOOK_SECRET_FILE, secret.expose_secret().as_bytes())?;
            Ok(secret)
        }
    }
}

fn tell_hook(answers: &Answers, repository: &RepositoryName, url: &str, hook: Hook) {
    match hook {
        Hook::Made => ui::out(format!("The webhook of {repository} is made.")),
        Hook::There => ui::out(format!("The webhook of {repository} is there already.")),
        Hook::ByHand => {
            let web = answers.place.web();
            ui::out(format!("The token may not make the webhook of {repository}. Add it by hand:"));
            ui::out(format!("  page          {web}/{repository}/settings/hooks/new"));
            ui::out(format!("  payload URL   {url}"));
            ui::out("  content type  application/json");
            ui::out(format!("  secret        the content of {SECRETS_DIR}/{WEBHOOK_SECRET_FILE}"));
            ui::out(format!("  events        {}", EVENTS.join(", ")));
        }
    }
}

fn project(home: &Path, answers: &Answers, repository: &RepositoryName) -> Result<()> {
    let name = project_name(answers, repository)?;
    let file = settings::project_file(home, &name);
    let there = settings::project(home, &name)?.unwrap_or_default();
    let mut edits = vec![Edit::new(&["github"], repository.to_string())];
    if there.repo.is_none() {
        edits.push(Edit::new(&["repo"], format!("{}/{repository}.git", answers.place.web())));
    }
    if let Some(cli) = &answers.cli {
        edits.push(Edit::new(&["cli"], cli.as_str()));
    }
    let edits = prepare::<ProjectSettings>(&file, edits, answers)?;
    change::<ProjectSettings>(&file, edits)
}

/// As asked; else the repository's name, with its owner's where two repositories have the same.
fn project_name(answers: &Answers, repository: &RepositoryName) -> Result<ProjectName> {
    if let Some(name) = &answers.project {
        return Ok(name.clone());
    }
    let same =
        answers.repos.iter().filter(|other| other.name().eq_ignore_ascii_case(repository.name())).count();
    let name = match same {
        0 | 1 => repository.name().to_ascii_lowercase(),
        _ => format!("{}-{}", repository.owner(), repository.name()).to_ascii_lowercase(),
    };
    name.parse()
        .map_err(|error| anyhow!("{error}\n  hint: run init for {repository} alone, with --project NAME"))
}

/// The edits that are still to be made; a question or a refusal where they replace what somebody wrote.
fn prepare<T: DeserializeOwned + Serialize>(
    file: &Path,
    edits: Vec<Edit>,
    answers: &Answers,
) -> Result<Vec<Edit>> {
    let (name, text) = (file.display().to_string(), read(file)?);
    let (edits, conflicts) = edit::needed::<T>(&name, &text, edits)?;
    for conflict in conflicts {
        let now = edit::one_line(&conflict.now);
        let question = format!("{name} has `{}: {now}`. Replace it?", conflict.key);
        if !answers.replace.agrees(&question)? {
            bail!(
                "{name} has `{}: {now}`, and nothing was changed\n  hint: --replace replaces it, or give the flag that says the same",
                conflict.key
            );
        }
    }
    // Shows now whether the file can be changed at all.
    edit::apply::<T>(&name, &text, &edits)?;
    Ok(edits)
}

fn change<T: DeserializeOwned + Serialize>(file: &Path, edits: Vec<Edit>) -> Result<()> {
    let (name, text) = (file.display().to_string(), read(file)?);
    let (edits, _) = edit::needed::<T>(&name, &text, edits)?;
    if edits.is_empty() {
        ui::out(format!("{name} is right as it is."));
        return Ok(());
    }
    keep::settings(file, &edit::apply::<T>(&name, &text, &edits)?)?;
    let keys: Vec<String> = edits.iter().map(Edit::name).collect();
    ui::out(format!("{name}: set {}.", keys.join(", ")));
    Ok(())
}

fn read(file: &Path) -> Result<String> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}

fn tell_next(answers: &Answers, install: Option<&str>) {
    ui::out("");
    ui::out("Next:");
    if let Some(install) = install {
        ui::out(format!("  1. choose the App's repositories: {install}"));
    }
    if answers.repos.is_empty() {
        ui::out("  cloud-code init --repo OWNER/NAME   names a repository to work in");
    }
    ui::out("  cloud-code doctor                   checks permissions, webhook and labels");
    ui::out("  cloud-code serve                    starts the work");
    ui::out("  then comment on an issue: /cloud-code");
}

/// Where the settings say that GitHub is.
fn current_place(current: &GlobalSettings, scrubber: &Scrubber) -> Result<Place> {
    Place::of_api(current.github.api_url.as_deref(), scrubber)
}
