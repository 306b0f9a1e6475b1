//! GitHub, as this installation is set up for it: credentials from files, one connection for all projects.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use async_trait::async_trait;
use cloud_code_engine::{Forges, NoForges, ServedProject};
use cloud_code_forge::{Credentials, Forge, ForgeError, GITHUB_API, Github, GithubConfig, Pace};
use cloud_code_model::{DEFAULT_CLI, ProjectName, ProjectSettings, RepositoryName};
use secrecy::SecretString;
use tokio::sync::Mutex;

use crate::app::{App, SystemClock};
use crate::settings;

/// How long a repository's forge is kept. An App that was taken away and installed anew has another installation.
const KEEP: Duration = Duration::from_secs(600);
/// Largest file of a secret: an RSA key of 8192 bits takes 6.5 KiB.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// The connection, when one is set up.
pub(crate) fn connect(app: &App) -> Result<Option<Github>> {
    let github = &app.settings.github;
    let credentials = match (&github.app, &github.token_file) {
        (Some(_), Some(_)) => bail!(
            "cloud-code.yaml names both `github.app` and `github.token_file`\n  hint: keep the one that is to be used"
        ),
        (Some(settings), None) => {
            Credentials::App { id: settings.id, private_key: secret(app, &settings.private_key_file)? }
        }
        (None, Some(file)) => Credentials::Token(secret(app, file)?),
        (None, None) => return Ok(None),
    };
    let mut pace = Pace::default();
    if let Some(interval) = github.write_interval_ms {
        pace.write_gap = Duration::from_millis(interval.into());
    }
    let config = GithubConfig {
        api_url: github.api_url.clone().unwrap_or_else(|| GITHUB_API.to_owned()),
        credentials,
        user_agent: format!("cloud-code/{}", env!("CARGO_PKG_VERSION")),
        pace,
        scrubber: app.scrubber.clone(),
        clock: Arc::new(SystemClock),
    };
    Ok(Some(Github::connect(config)?))
}

/// The forges of all projects; none where nothing is set up.
pub(crate) fn forges(app: &App) -> Result<Arc<dyn Forges>> {
    Ok(match connect(app)? {
        Some(github) => Arc::new(Connected::new(github)),
        None => Arc::new(NoForges),
    })
}

/// The webhook's secrets, the current one first.
pub(crate) fn webhook_secrets(app: &App) -> Result<Vec<SecretString>> {
    app.settings.github.webhook_secret_files.iter().map(|file| secret(app, file)).collect()
}

/// A secret from its file. What others may read is no secret, so such a file is refused.
fn secret(app: &App, file: &str) -> Result<SecretString> {
    let path = app.home.join(file);
    let shown = path.display();
    let found = fs::metadata(&path).with_context(|| format!("cannot read the secret in {shown}"))?;
    if found.permissions().mode() & 0o077 != 0 {
        bail!("the secret in {shown} can be read by others\n  hint: chmod 600 {shown}");
    }
    if found.len() > MAX_SECRET_BYTES {
        bail!("{shown} is too large for a secret");
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read the secret in {shown}"))?;
    if text.trim().is_empty() {
        bail!("the secret in {shown} is empty");
    }
    let secret = SecretString::from(text.trim().to_owned());
    app.scrubber.keep(secret.clone());
    Ok(secret)
}

/// One forge a repository, kept for a while: finding its installation costs requests.
pub(crate) struct Connected {
    github: Github,
    known: Mutex<HashMap<RepositoryName, Found>>,
    /// The numbers that the repositories had first: after a rename another one may take the name.
    numbers: Mutex<HashMap<RepositoryName, u64>>,
}

struct Found {
    since: Instant,
    forge: Arc<dyn Forge>,
}

impl Connected {
    pub(crate) fn new(github: Github) -> Self {
        Self::with_numbers(github, HashMap::new())
    }

    /// As `new`; `numbers` are those that earlier runs saw.
    pub(crate) fn with_numbers(github: Github, numbers: HashMap<RepositoryName, u64>) -> Self {
        Self { github, known: Mutex::default(), numbers: Mutex::new(numbers) }
    }
}

#[async_trait]
impl Forges for Connected {
    async fn of(&self, repository: &RepositoryName) -> Result<Arc<dyn Forge>, ForgeError> {
        let mut known = self.known.lock().await;
        if let Some(found) = known.get(repository)
            && found.since.elapsed() < KEEP
            && !found.forge.has_lost_access()
        {
            return Ok(found.forge.clone());
        }
        let forge = self.github.repository(repository).await.map_err(|error| match error {
            ForgeError::NotFound { .. } => ForgeError::NoAccess { what: format!("`{repository}`") },
            error => error,
        })?;
        let number = *self.numbers.lock().await.entry(repository.clone()).or_insert(forge.number());
        if number != forge.number() {
            // Renamed while we serve: the forge that we had follows the number, whoever has the name now.
            if let Some(found) = known.get(repository).filter(|found| found.forge.number() == number) {
                return Ok(found.forge.clone());
            }
            let what = format!(
                "the repository with the number {number}: `{repository}` is another one now\n  hint: write the name it has \
                 today into its project's file; a project for the new repository needs another name"
            );
            return Err(ForgeError::NoAccess { what });
        }
        known.insert(repository.clone(), Found { since: Instant::now(), forge: forge.clone() });
        Ok(forge)
    }
}

/// The address that git clones from, until the forge itself says it.
pub(crate) fn clone_url(app: &App, repository: &RepositoryName) -> String {
    let api = app.settings.github.api_url.as_deref().unwrap_or(GITHUB_API);
    let web = match api {
        GITHUB_API => "https://github.com",
        other => other.trim_end_matches('/').trim_end_matches("/api/v3"),
    };
    format!("{web}/{repository}.git")
}

/// Every project whose file names a repository on GitHub.
pub(crate) fn projects(app: &App) -> Result<Vec<ServedProject>> {
    let mut served = Vec::new();
    for name in settings::projects(&app.home)? {
        let Some(own) = settings::project(&app.home, &name)? else { continue };
        let merged = own.over(app.settings.defaults.clone());
        if let Some(repository) = merged.github.clone() {
            served.push(served_project(app, name, repository, merged)?);
        }
    }
    for (index, project) in served.iter().enumerate() {
        let same = |other: &&ServedProject| other.repository == project.repository;
        if let Some(other) = served.iter().skip(index + 1).find(same) {
            bail!(
                "the projects `{}` and `{}` have the same repository {}\n  hint: take the key `github` out of one",
                project.name,
                other.name,
                project.repository
            );
        }
    }
    Ok(served)
}

fn served_project(
    app: &App,
    name: ProjectName,
    repository: RepositoryName,
    settings: ProjectSettings,
) -> Result<ServedProject> {
    let (triggers, access) = (settings.triggers.resolved(), settings.access.resolved());
    let priority = settings.queue.priority.unwrap_or_default();
    let url = clone_url(app, &repository);
    let plan = settings.plan(url, DEFAULT_CLI.parse()?);
    app.catalog.get(&plan.cli).map_err(|error| anyhow!("{error}").context(format!("project `{name}`")))?;
    Ok(ServedProject { name, repository, plan, triggers, access, priority })
}
