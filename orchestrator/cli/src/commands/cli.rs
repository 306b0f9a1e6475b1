//! `cli`: which coding CLIs there are, what each supports, and whether it would work, before a run fails of it.

use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use cloud_code_engine::{CliEntry, CliOrigin, Engine, NoVersion};
use cloud_code_model::RuntimeKind;
use cloud_code_runtime::{DockerRuntime, Runtime};
use cloud_code_task_schema::{CliManifest, to_yaml};
use comfy_table::{ContentArrangement, Table, presets};
use secrecy::SecretString;
use serde::Serialize;
use serde_json::json;

use super::EXIT_ERROR;
use crate::app::App;
use crate::args::{CheckArgs, CliCommand};
use crate::catalog::is_buildable;
use crate::provider::{self, Verdict};
use crate::support::{LimitSupport, PlanSupport, Support};
use crate::{plan, ui};

/// `cloud-code cli`.
pub(crate) async fn run(app: &App, command: CliCommand) -> Result<ExitCode> {
    match command {
        CliCommand::List { json } => list(app, json).await,
        CliCommand::Show { name, json } => show(app, &name, json).await,
        CliCommand::Check(args) => check(app, &args).await,
    }
}

/// Whether an image is there. Without an engine nobody knows, and a list is still worth reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "built", rename_all = "snake_case")]
enum ImageState {
    Yes { version: Option<String> },
    No,
    Unknown { why: String },
}

async fn image_state(docker: &Result<DockerRuntime>, image: &str) -> ImageState {
    match docker {
        Ok(docker) => match docker.image(image).await {
            Ok(Some(facts)) => ImageState::Yes { version: facts.cli_version().map(str::to_owned) },
            Ok(None) => ImageState::No,
            Err(error) => ImageState::Unknown { why: ui::one_line(&error.to_string()) },
        },
        Err(error) => ImageState::Unknown { why: format!("{error:#}") },
    }
}

/// The credentials of a CLI in this environment, by name. Values are read only to be asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "credentials", rename_all = "snake_case")]
enum Credentials {
    NotNeeded,
    Found { name: String },
    Missing { names: Vec<String> },
}

fn variable(name: &str) -> Option<SecretString> {
    std::env::var(name).ok().filter(|value| !value.is_empty()).map(SecretString::from)
}

fn credentials(manifest: &CliManifest) -> Credentials {
    if manifest.credentials.is_empty() {
        return Credentials::NotNeeded;
    }
    match manifest.credentials.iter().find(|name| variable(name).is_some()) {
        Some(name) => Credentials::Found { name: name.clone() },
        None => Credentials::Missing { names: manifest.credentials.clone() },
    }
}

fn origin(entry: &CliEntry) -> String {
    match &entry.origin {
        CliOrigin::BuiltIn => "built in".to_owned(),
        CliOrigin::Folder(path) => path.display().to_string(),
    }
}

async fn list(app: &App, json: bool) -> Result<ExitCode> {
    let docker = app.docker();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["CLI", "VERSION", "IMAGE", "RESUME", "PLAN", "COST", "TURNS", "TOKENS", "CREDENTIALS"]);
    for entry in app.catalog.iter() {
        let (support, image) = (Support::of(&entry.manifest), image_state(&docker, &entry.image).await);
        let found = credentials(&entry.manifest);
        if json {
            ui::out(described(entry, support, &image, &found).to_string());
            continue;
        }
        table.add_row([
            entry.manifest.name.to_string(),
            entry.version.clone().or_else(|| labelled(&image)).unwrap_or_default(),
            match &image {
                ImageState::Yes { .. } => "built".to_owned(),
                ImageState::No => "not built".to_owned(),
                ImageState::Unknown { .. } => "unknown".to_owned(),
            },
            yes(support.resume).to_owned(),
            plan_word(support.plan).to_owned(),
            cost_word(support).to_owned(),
            limit_word(support.max_turns).to_owned(),
            yes(support.tokens).to_owned(),
            credentials_word(&found),
        ]);
    }
    if !json {
        ui::out(table.trim_fmt());
        ui::out("\n`cloud-code cli show NAME` explains one, `cloud-code cli check` tries them");
    }
    Ok(ExitCode::SUCCESS)
}

fn described(
    entry: &CliEntry,
    support: Support,
    image: &ImageState,
    credentials: &Credentials,
) -> serde_json::Value {
    json!({
        "cli": entry.manifest.name,
        "pinned_version": entry.version,
        "image": entry.image,
        "image_state": image,
        "supports": support,
        "credentials": credentials,
        "from": origin(entry),
    })
}

/// The version that the image says it holds, for CLIs that nobody pins.
fn labelled(image: &ImageState) -> Option<String> {
    match image {
        ImageState::Yes { version } => version.clone(),
        ImageState::No | ImageState::Unknown { .. } => None,
    }
}

const fn yes(does: bool) -> &'static str {
    if does { "yes" } else { "no" }
}

const fn plan_word(plan: PlanSupport) -> &'static str {
    match plan {
        PlanSupport::Own => "own",
        PlanSupport::Mount => "mount",
    }
}

const fn cost_word(support: Support) -> &'static str {
    match (support.cost, support.max_cost) {
        (_, LimitSupport::Told) => "limited",
        (true, LimitSupport::Counted | LimitSupport::None) => "named",
        (false, LimitSupport::Counted | LimitSupport::None) => "no",
    }
}

const fn limit_word(limit: LimitSupport) -> &'static str {
    match limit {
        LimitSupport::Told => "limited",
        LimitSupport::Counted => "counted",
        LimitSupport::None => "no",
    }
}

fn credentials_word(credentials: &Credentials) -> String {
    match credentials {
        Credentials::NotNeeded => "none needed".to_owned(),
        Credentials::Found { name } => format!("{name} is set"),
        Credentials::Missing { names } => format!("missing: {}", names.join(" or ")),
    }
}

async fn show(app: &App, name: &str, json: bool) -> Result<ExitCode> {
    let entry = app.catalog.get(&plan::cli_name(app, name)?)?;
    let (support, image) = (Support::of(&entry.manifest), image_state(&app.docker(), &entry.image).await);
    let found = credentials(&entry.manifest);
    if json {
        let mut shown = described(entry, support, &image, &found);
        shown["manifest"] = serde_json::to_value(&entry.manifest)?;
        ui::out(shown.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    ui::out(format!("cli          {}", entry.manifest.name));
    ui::out(format!("from         {}", origin(entry)));
    ui::out(format!("version      {}", entry.version.as_deref().unwrap_or("not pinned")));
    let built = match &image {
        ImageState::Yes { .. } => "built".to_owned(),
        ImageState::No => build_hint(entry),
        ImageState::Unknown { why } => why.clone(),
    };
    ui::out(format!("image        {} ({built})", entry.image));
    let resume = match support.resume {
        true => "the CLI's own session goes on",
        false => "cannot resume: it is told in short what was said and done",
    };
    ui::out(format!("follow-up    {resume}"));
    let reading = match support.plan {
        PlanSupport::Own => "has a mode of its own; in Docker the worktree is mounted read only besides",
        PlanSupport::Mount => "by the read-only mount, in Docker only",
    };
    ui::out(format!("read only    {reading}"));
    let money = match support.max_cost {
        LimitSupport::Told => "the CLI is told the limit",
        LimitSupport::Counted => "named by the CLI; the limit is checked whenever it names one",
        LimitSupport::None => "not named, so a limit cannot be kept",
    };
    ui::out(format!("cost         {money}"));
    let turns = match support.max_turns {
        LimitSupport::Told => "the CLI is told the limit",
        LimitSupport::Counted => "counted by the agent",
        LimitSupport::None => "not told apart, so a limit cannot be kept",
    };
    ui::out(format!("turns        {turns}"));
    ui::out(format!("tokens       {}", if support.tokens { "counted by the CLI" } else { "not said" }));
    ui::out(format!("credentials  {}", credentials_word(&found)));
    ui::out("");
    ui::out_raw(to_yaml(&entry.manifest).map_err(|problems| anyhow!("{problems}"))?);
    Ok(ExitCode::SUCCESS)
}

fn build_hint(entry: &CliEntry) -> String {
    match is_buildable(entry) {
        true => format!("not built: cloud-code images build {}", entry.manifest.name),
        false => "not built: cloud-code images build".to_owned(),
    }
}

/// One answer of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Mark {
    Ok,
    /// Nothing was ever set up: wrong only when a person asked about just this.
    NotSetUp,
    /// It may work; nobody can say.
    Unknown,
    Wrong,
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
struct Finding {
    mark: Mark,
    message: String,
    /// What the provider said of the credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<Verdict>,
    /// The version that the program in the image says it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    installed: Option<String>,
}

impl Finding {
    fn new(mark: Mark, message: impl Into<String>) -> Self {
        Self { mark, message: message.into(), verdict: None, installed: None }
    }
}

async fn check(app: &App, args: &CheckArgs) -> Result<ExitCode> {
    if args.image.is_some() && args.names.len() != 1 {
        bail!("--image is one CLI's, so it needs exactly one name");
    }
    if args.base_url.is_some() && args.names.len() != 1 {
        bail!("--base-url is one provider's, and would get the keys of all: name one CLI");
    }
    let entries: Vec<&CliEntry> = match args.names.as_slice() {
        [] => app.catalog.iter().collect(),
        names => names
            .iter()
            .map(|name| Ok(app.catalog.get(&plan::cli_name(app, name)?)?))
            .collect::<Result<_>>()?,
    };
    let engine = app.engine(RuntimeKind::Docker).await?;
    let base_url = args.base_url.clone().or_else(|| app.settings.defaults.base_url.clone());
    if let Some(url) = base_url.as_deref().filter(|url| !is_web_address(url)) {
        bail!(
            "`{url}` is no address of a provider\n  hint: write it as https://api.anthropic.com, without a path like /v1"
        );
    }
    let (mut wrong, mut usable) = (false, false);
    for entry in entries {
        let image = args.image.as_deref().unwrap_or(&entry.image);
        let version = check_version(app, &engine, entry, image).await;
        let keys = check_credentials(&entry.manifest, base_url.as_deref()).await?;
        for finding in [&version, &keys] {
            wrong |=
                finding.mark == Mark::Wrong || (finding.mark == Mark::NotSetUp && !args.names.is_empty());
        }
        usable |= [&version, &keys].iter().all(|f| matches!(f.mark, Mark::Ok | Mark::Unknown));
        say(entry, image, &version, &keys, args.json);
    }
    if !usable {
        ui::err(
            "no CLI is ready\n  hint: `cloud-code images build claude-code`, and set one of its credentials",
        );
    }
    Ok(if wrong || !usable { ExitCode::from(EXIT_ERROR) } else { ExitCode::SUCCESS })
}

fn is_web_address(url: &str) -> bool {
    ["https://", "http://"].iter().any(|scheme| url.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()))
}

fn say(entry: &CliEntry, image: &str, version: &Finding, credentials: &Finding, json: bool) {
    let name = &entry.manifest.name;
    if json {
        let pinned = &entry.version;
        let line = json!({
            "cli": name, "image": image, "pinned": pinned, "version": version, "credentials": credentials
        });
        ui::out(line.to_string());
        return;
    }
    for (what, finding) in [("version", version), ("credentials", credentials)] {
        let mark = match finding.mark {
            Mark::Ok => "ok     ",
            Mark::NotSetUp => "not set",
            Mark::Unknown => "unknown",
            Mark::Wrong => "WRONG  ",
        };
        ui::out(format!("{mark}  {:<12} {what:<12} {}", name.as_str(), ui::one_line(&finding.message)));
    }
}

async fn check_version(app: &App, engine: &Engine, entry: &CliEntry, image: &str) -> Finding {
    match image_state(&app.docker(), image).await {
        ImageState::Yes { .. } => {}
        ImageState::No => return Finding::new(Mark::NotSetUp, format!("{image} is {}", build_hint(entry))),
        ImageState::Unknown { why } => return Finding::new(Mark::Wrong, why),
    }
    match (engine.installed_version(&entry.manifest, image).await, &entry.version) {
        (Ok(found), Some(pinned)) if found != *pinned => {
            let name = &entry.manifest.name;
            let message = format!("{image} holds {found}, not {pinned}: cloud-code images build {name}");
            Finding { installed: Some(found), ..Finding::new(Mark::Wrong, message) }
        }
        (Ok(found), _) => {
            let message = format!("{found} in {image}");
            Finding { installed: Some(found), ..Finding::new(Mark::Ok, message) }
        }
        (Err(error @ NoVersion::NotAskable), _) => Finding::new(Mark::Unknown, error.to_string()),
        (Err(error), _) => Finding::new(Mark::Wrong, error.to_string()),
    }
}

async fn check_credentials(manifest: &CliManifest, base_url: Option<&str>) -> Result<Finding> {
    let name = match credentials(manifest) {
        Credentials::NotNeeded => return Ok(Finding::new(Mark::Ok, "none needed")),
        Credentials::Missing { names } => {
            let message = format!("set one of {} in the environment", names.join(", "));
            return Ok(Finding::new(Mark::NotSetUp, message));
        }
        Credentials::Found { name } => name,
    };
    let Some(value) = variable(&name) else { bail!("{name} is gone from the environment") };
    let (asked, base_url) = (name.clone(), base_url.map(str::to_owned));
    let verdict =
        tokio::task::spawn_blocking(move || provider::ask(&asked, &value, base_url.as_deref())).await?;
    let finding = match &verdict {
        Verdict::Valid => Finding::new(Mark::Ok, format!("{name} is valid")),
        Verdict::Rejected { status } => Finding::new(
            Mark::Wrong,
            format!("{name} is rejected by the provider (HTTP {status}): make a new key and set it"),
        ),
        Verdict::NotAsked { why } => Finding::new(Mark::Unknown, format!("{name} is set, {why}")),
        Verdict::Unknown { why } => Finding::new(Mark::Unknown, format!("{name} is set, not tried: {why}")),
    };
    Ok(Finding { verdict: Some(verdict), ..finding })
}
