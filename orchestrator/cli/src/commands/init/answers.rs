//! What is to be set up: from flags, from the settings that are there, and from the person.

use std::io::{IsTerminal as _, Read as _};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use cloud_code_forge::Scrubber;
use cloud_code_model::{GlobalSettings, IntakeMode, ProjectName, RepositoryName};
use cloud_code_task_schema::CliName;
use dialoguer::{Confirm, Input, Password, Select};
use secrecy::SecretString;

use super::app_flow::{Existing, WayBack};
use super::place::{Place, address};
use super::{current_place, token};
use crate::args::{InitArgs, IntakeArg};

/// Longest name of an App on GitHub.
const MAX_APP_NAME: usize = 34;

/// Largest file of a key: one of 8192 bits takes 6.5 KiB.
const MAX_KEY: u64 = 64 * 1024;

/// Everything that was decided.
#[derive(Debug, Clone)]
pub(crate) struct Answers {
    pub(crate) place: Place,
    pub(crate) identity: Identity,
    pub(crate) public_url: Option<String>,
    pub(crate) intake: IntakeMode,
    pub(crate) repos: Vec<RepositoryName>,
    pub(crate) cli: Option<CliName>,
    pub(crate) project: Option<ProjectName>,
    pub(crate) replace: Replace,
    pub(crate) way_back: WayBack,
}

/// Who acts on GitHub.
#[derive(Debug, Clone)]
pub(crate) enum Identity {
    /// Who does already.
    Kept,
    /// An App that is to be made.
    App {
        /// Its name.
        name: String,
        /// The organisation it belongs to.
        owner: Option<String>,
    },
    /// An App that is there already.
    Existing(Existing),
    /// A person's token.
    Token(SecretString),
}

/// Whether what stands in a file may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replace {
    /// It was asked for.
    Yes,
    /// Nobody can be asked.
    No,
    /// The person is asked each time.
    Ask,
}

impl Replace {
    /// Blocking when it asks.
    pub(crate) fn agrees(self, question: &str) -> Result<bool> {
        match self {
            Self::Yes => Ok(true),
            Self::No => Ok(false),
            Self::Ask => Ok(Confirm::new().with_prompt(question).default(false).interact()?),
        }
    }
}

/// Blocking: reads files and, unless told not to, asks.
pub(crate) fn gather(
    args: InitArgs,
    current: &GlobalSettings,
    home: &Path,
    app_name: &str,
    clis: &[String],
    scrubber: &Scrubber,
) -> Result<Answers> {
    let asks = !args.non_interactive;
    if asks && !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        bail!(
            "init asks questions, and there is no terminal to ask on\n  hint: cloud-code init --non-interactive --help"
        );
    }
    if args.project.is_some() && args.repos.len() != 1 {
        bail!("--project names one project, so it needs exactly one --repo");
    }
    if let Some(cli) = &args.cli
        && !clis.iter().any(|known| known == cli.as_str())
    {
        bail!("there is no CLI `{cli}`\n  hint: `cloud-code cli list` shows them");
    }
    let replace = match (args.replace, asks) {
        (true, _) => Replace::Yes,
        (false, true) => Replace::Ask,
        (false, false) => Replace::No,
    };
    let place = match &args.github_url {
        Some(url) => Place::of_pages(url, scrubber)?,
        None if asks && current.github == cloud_code_model::GithubSettings::default() => ask_place(scrubber)?,
        None => current_place(current, scrubber)?,
    };
    let identity = identity(&args, current, home, app_name, asks)?;
    let public_url = match &args.public_url {
        Some(url) => Some(address(url)?),
        None if asks => ask_public_url(current.server.public_url.as_deref())?,
        None => current.server.public_url.clone(),
    };
    let is_token = match &identity {
        Identity::Token(_) => true,
        Identity::Kept => current.github.app.is_none(),
        Identity::App { .. } | Identity::Existing(_) => false,
    };
    let intake = intake(args.intake, current.github.intake, public_url.is_some(), is_token)?;
    let repos = if args.repos.is_empty() && asks { ask_repos()? } else { args.repos };
    let cli = match args.cli {
        None if asks && !repos.is_empty() => ask_cli(clis)?,
        given => given,
    };
    let way_back = if args.manual { WayBack::Pasted } else { WayBack::Listener(args.port) };
    Ok(Answers { place, identity, public_url, intake, repos, cli, project: args.project, replace, way_back })
}

fn identity(
    args: &InitArgs,
    current: &GlobalSettings,
    home: &Path,
    app_name: &str,
    asks: bool,
) -> Result<Identity> {
    let has = |file: &str| home.join(file).is_file();
    let has_app = current.github.app.as_ref().is_some_and(|app| has(&app.private_key_file));
    let has_token = current.github.token_file.as_deref().is_some_and(has);
    if let Some(path) = &args.token_file {
        if current.github.app.is_some() {
            bail!(
                "cloud-code.yaml names an App, and either an App or a token acts\n  hint: remove `github.app` there first"
            );
        }
        return Ok(Identity::Token(token::read(path)?));
    }
    if let (Some(id), Some(path)) = (args.app_id, &args.app_key) {
        if current.github.token_file.is_some() {
            bail!(
                "cloud-code.yaml names a token, and either an App or a token acts\n  hint: remove `github.token_file` there first"
            );
        }
        let key = read_key(path)?;
        return Ok(Identity::Existing(Existing { id, slug: args.app_slug.clone(), key }));
    }
    if (has_app || has_token) && !args.replace {
        return Ok(Identity::Kept);
    }
    if current.github.token_file.is_some() {
        bail!(
            "cloud-code.yaml names a token, and either an App or a token acts\n  hint: remove `github.token_file` there, or pass --token-file"
        );
    }
    if asks && args.app_name.is_none() {
        let items = [
            "a GitHub App: its own name, least permissions (recommended)",
            "a fine-grained personal access token",
        ];
        let chosen = Select::new().with_prompt("Who acts on GitHub").items(items).default(0).interact()?;
        if chosen == 1 {
            let text = Password::new().with_prompt("The token").interact()?;
            return Ok(Identity::Token(token::check_form(&text)?));
        }
    }
    let name = match &args.app_name {
        Some(name) => name.clone(),
        None if asks => Input::new()
            .with_prompt("Name of the App (unique on GitHub)")
            .default(app_name.to_owned())
            .interact_text()?,
        None => app_name.to_owned(),
    };
    if name.trim().is_empty() || name.chars().count() > MAX_APP_NAME {
        bail!("the name of an App has 1 to {MAX_APP_NAME} characters");
    }
    let owner = match &args.owner {
        Some(owner) => Some(owner.clone()),
        None if asks => {
            let text: String = Input::new()
                .with_prompt("Organisation that it belongs to (empty: yourself)")
                .allow_empty(true)
                .interact_text()?;
            Some(text.trim().to_owned()).filter(|owner| !owner.is_empty())
        }
        None => None,
    };
    if let Some(owner) = &owner {
        // It becomes part of an address.
        let _: RepositoryName =
            format!("{owner}/x").parse().map_err(|_| anyhow!("`{owner}` is no organisation's name"))?;
    }
    Ok(Identity::App { name, owner })
}

fn read_key(path: &Path) -> Result<SecretString> {
    let mut text = String::new();
    let file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    file.take(MAX_KEY)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {}", path.display()))?;
    if !text.contains("PRIVATE KEY-----") {
        bail!(
            "{} is no private key\n  hint: it is the PEM file that GitHub gave for the App",
            path.display()
        );
    }
    Ok(SecretString::from(text))
}

fn intake(
    asked: Option<IntakeArg>,
    current: Option<IntakeMode>,
    is_public: bool,
    is_token: bool,
) -> Result<IntakeMode> {
    let mode = match (asked, current) {
        (Some(IntakeArg::Webhook), _) => IntakeMode::Webhook,
        (Some(IntakeArg::Deliveries), _) => IntakeMode::Deliveries,
        (Some(IntakeArg::Polling), _) => IntakeMode::Polling,
        (None, Some(mode)) => mode,
        (None, None) if is_public => IntakeMode::Webhook,
        (None, None) if is_token => IntakeMode::Polling,
        (None, None) => IntakeMode::Deliveries,
    };
    match mode {
        IntakeMode::Webhook if !is_public => {
            bail!(
                "GitHub can call only an address that it can reach\n  hint: pass --public-url, or --intake deliveries or polling"
            )
        }
        IntakeMode::Deliveries if is_token => {
            bail!("the log of deliveries is an App's\n  hint: pass --intake polling, or work with an App")
        }
        mode => Ok(mode),
    }
}

fn ask_place(scrubber: &Scrubber) -> Result<Place> {
    let items = ["GitHub.com", "GitHub Enterprise Server"];
    let chosen =
        Select::new().with_prompt("Where your repositories are").items(items).default(0).interact()?;
    if chosen == 0 {
        return current_place(&GlobalSettings::default(), scrubber);
    }
    let url: String = Input::new().with_prompt("Its address (https://github.example.com)").interact_text()?;
    Place::of_pages(&url, scrubber)
}

fn ask_public_url(current: Option<&str>) -> Result<Option<String>> {
    let prompt = "Address by which GitHub reaches this machine (empty: none, events are fetched instead)";
    let mut input = Input::<String>::new().with_prompt(prompt).allow_empty(true);
    if let Some(current) = current {
        input = input.default(current.to_owned());
    }
    let text = input.interact_text()?;
    if text.trim().is_empty() { Ok(None) } else { address(&text).map(Some) }
}

fn ask_repos() -> Result<Vec<RepositoryName>> {
    let prompt = "Repositories to work in, as owner/name, with blanks between (empty: none yet)";
    let text: String = Input::new().with_prompt(prompt).allow_empty(true).interact_text()?;
    let names = text.split([' ', ',']).filter(|name| !name.is_empty());
    names.map(|name| Ok(name.parse::<RepositoryName>()?)).collect()
}

fn ask_cli(clis: &[String]) -> Result<Option<CliName>> {
    let default = clis.iter().position(|cli| cli == cloud_code_model::DEFAULT_CLI).unwrap_or(0);
    let chosen = Select::new()
        .with_prompt("The coding CLI that works there")
        .items(clis)
        .default(default)
        .interact()?;
    let name = clis.get(chosen).context("no CLI was chosen")?;
    Ok(Some(name.parse()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_the_way_that_can_work() {
        assert_eq!(intake(None, None, true, false).unwrap(), IntakeMode::Webhook);
        assert_eq!(intake(None, None, false, false).unwrap(), IntakeMode::Deliveries);
        assert_eq!(intake(None, None, false, true).unwrap(), IntakeMode::Polling);
        assert_eq!(intake(None, Some(IntakeMode::Polling), true, false).unwrap(), IntakeMode::Polling);
        assert!(intake(Some(IntakeArg::Webhook), None, false, false).is_err());
        assert!(intake(Some(IntakeArg::Deliveries), None, true, true).is_err());
    }
}
