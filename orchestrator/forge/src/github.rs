//! GitHub, and GitHub Enterprise Server, behind the port.

mod account;
mod checks;
mod client;
mod comments;
mod connect;
mod deliveries;
mod edits;
mod etag;
mod hooks;
mod manifest;
mod path;
mod pulls;
mod refusal;
mod repository;
mod seen;
mod wire;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, RwLock};

use cloud_code_model::{Actor, Clock, RepositoryName};
use http::header::DATE;
use jiff::Timestamp;
use octocrab::models::InstallationId;
use secrecy::SecretString;
use serde::Deserialize;

use crate::error::ForgeError;
use crate::facts::{Access, Grants};
use crate::pace::{Limits, Pace};
use crate::port::{DeliveryLog, Forge};
use crate::scrub::Scrubber;

use account::{Account, Installation, InstallationAnswer, Proof};
use client::Client;
use connect::connect;
pub use hooks::HookConfig;
pub use manifest::{
    EVENTS, ManifestSpec, Needed, NewApp, PERMISSIONS, UNASKED_EVENTS, convert_manifest, manifest,
};
use repository::Repository;

/// The API of github.com.
pub const GITHUB_API: &str = "https://api.github.com";

/// Pages of installations: 3,000 of them.
const MAX_PAGES: usize = 30;

/// How to prove who we are.
#[derive(Clone)]
pub enum Credentials {
    /// As an App, by its number and its private key (PEM).
    App {
        /// The number.
        id: u64,
        /// The key.
        private_key: SecretString,
    },
    /// As whoever made the token.
    Token(SecretString),
    /// As nobody. Only good for [`convert_manifest`].
    None,
}

/// Where GitHub is and how we speak to it.
#[derive(Clone)]
pub struct GithubConfig {
    /// [`GITHUB_API`], or `https://HOST/api/v3` of an Enterprise Server.
    pub api_url: String,
    /// Who we are.
    pub credentials: Credentials,
    /// What we call ourselves; GitHub refuses requests without a name.
    pub user_agent: String,
    /// How fast we may ask.
    pub pace: Pace,
    /// What must not leave. Tokens made here are added to it.
    pub scrubber: Scrubber,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
}

impl fmt::Debug for GithubConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GithubConfig").field("api_url", &self.api_url).finish_non_exhaustive()
    }
}

/// The App we are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AppFacts {
    /// Its number.
    pub id: u64,
    /// Its short name.
    pub slug: String,
    /// Its name.
    pub name: String,
    /// Its page.
    pub html_url: String,
    /// What it asks for, by permission.
    #[serde(default)]
    pub permissions: std::collections::BTreeMap<String, String>,
    /// The events it wants.
    #[serde(default)]
    pub events: Vec<String>,
    /// Whose it is.
    pub owner: Option<AppOwner>,
}

/// Whose an App is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AppOwner {
    /// Their name; an enterprise has none.
    pub login: Option<String>,
    /// `User` or `Organization`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

impl AppFacts {
    /// How far the App asks to go.
    pub fn asks_for(&self, permission: &str) -> Access {
        Access::of(self.permissions.get(permission).map(String::as_str))
    }
}

/// A token of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFacts {
    /// Whose it is.
    pub owner: Actor,
    /// What a classic token may. GitHub tells nobody what a fine-grained one may.
    pub scopes: Option<Vec<String>>,
}

/// Somebody's account that the App is installed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallationFacts {
    /// Its number.
    pub id: u64,
    /// Whose account.
    pub account: Option<String>,
    /// What the owner granted; may be less than the App asks for until the owner agrees to a change.
    pub grants: Grants,
    /// Whether the owner put it on hold.
    pub suspended: bool,
}

/// How much may still be asked this hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests an hour.
    pub limit: u64,
    /// Left.
    pub remaining: u64,
    /// When it is full again.
    pub reset_at: Timestamp,
}

/// Whose delivery log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HookOwner {
    /// The App's one hook.
    App,
    /// A hook of a repository, for a token that administers it.
    Repository {
        /// Which repository.
        name: RepositoryName,
        /// The number of the hook.
        hook_id: u64,
    },
}

/// A GitHub, as one identity. Copies share connections, tokens and limits.
#[derive(Clone)]
pub struct Github(Arc<Inner>);

struct Inner {
    config: GithubConfig,
    account: Arc<Account>,
    /// One client an installation: a second one would make its own tokens and keep its own limits.
    installations: tokio::sync::Mutex<HashMap<u64, Arc<Client>>>,
}

impl fmt::Debug for Github {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Github").field("config", &self.0.config).finish_non_exhaustive()
    }
}

/// `https://HOST/api/v3` without a slash at its end.
fn base(config: &GithubConfig) -> String {
    config.api_url.trim_end_matches('/').to_owned()
}

/// The client of the identity itself: the App, the token's owner, or nobody.
fn root(config: &GithubConfig) -> Result<Client, ForgeError> {
    let base = base(config);
    let rest = connect(config, &base)?;
    let graph = connect(config, base.strip_suffix("/v3").unwrap_or(&base))?;
    let limits = Limits::new(config.pace, Arc::clone(&config.clock));
    Ok(Client::new(rest, graph, limits, config.scrubber.clone(), Arc::clone(&config.clock), None, base))
}

fn unauthenticated(config: &GithubConfig) -> Result<Client, ForgeError> {
    root(&GithubConfig { credentials: Credentials::None, ..config.clone() })
}

impl Github {
    /// Prepares to speak; asks nothing yet. Must be called inside a tokio runtime.
    pub fn connect(config: GithubConfig) -> Result<Self, ForgeError> {
        let proof = match &config.credentials {
            Credentials::App { private_key, .. } => {
                config.scrubber.keep(private_key.clone());
                Proof::App
            }
            Credentials::Token(token) => {
                config.scrubber.keep(token.clone());
                Proof::Token(token.clone())
            }
            Credentials::None => {
                let message = "no App and no token was given".to_owned();
                return Err(ForgeError::Auth { message });
            }
        };
        let account = Arc::new(Account::new(proof, Arc::new(root(&config)?)));
        Ok(Self(Arc::new(Inner { config, account, installations: tokio::sync::Mutex::default() })))
    }

    fn root(&self) -> &Client {
        &self.0.account.root
    }

    async fn installation_client(&self, id: u64) -> Result<Arc<Client>, ForgeError> {
        let mut known = self.0.installations.lock().await;
        if let Some(client) = known.get(&id) {
            // Whoever asks has just been told that the installation is there.
            client.is_gone.store(false, Ordering::Relaxed);
            return Ok(Arc::clone(client));
        }
        let root = self.root();
        let no_app = |_| ForgeError::Auth { message: "only an App has installations".to_owned() };
        let config = &self.0.config;
        let client = Arc::new(Client::new(
            root.rest.installation(InstallationId(id)).map_err(no_app)?,
            root.graph.clone(),
            Limits::new(config.pace, Arc::clone(&config.clock)),
            config.scrubber.clone(),
            Arc::clone(&config.clock),
            Some(id),
            root.base.clone(),
        ));
        known.insert(id, Arc::clone(&client));
        Ok(client)
    }

    /// A repository, by its name of today or a former one. [`ForgeError::NotFound`] if the App is not installed there.
    pub async fn repository(&self, name: &RepositoryName) -> Result<Arc<dyn Forge>, ForgeError> {
        let (client, installation) = match self.0.account.proof {
            Proof::App => {
                let found: InstallationAnswer =
                    self.root().read(&format!("/repos/{name}/installation")).await?;
                if found.suspended_at.is_some() {
                    let what = format!("`{name}`: the App's installation is suspended");
                    return Err(ForgeError::NoAccess { what });
                }
                let installation =
                    Installation { id: found.id, app_id: found.app_id, grants: found.grants() };
                (self.installation_client(found.id).await?, Some(installation))
            }
            Proof::Token(_) => (Arc::clone(&self.0.account.root), None),
        };
        let facts: wire::Repository = client.read(&format!("/repos/{name}")).await?;
        let today = facts.full_name.parse().unwrap_or_else(|_| name.clone());
        Ok(Arc::new(Repository {
            client,
            account: Arc::clone(&self.0.account),
            installation,
            id: facts.id,
            name: RwLock::new(today),
            permissions: Mutex::default(),
            labels: Mutex::default(),
        }))
    }

    /// A log of deliveries.
    pub fn delivery_log(&self, owner: &HookOwner) -> Arc<dyn DeliveryLog> {
        let root = match owner {
            HookOwner::App => "/app/hook/deliveries".to_owned(),
            HookOwner::Repository { name, hook_id } => format!("/repos/{name}/hooks/{hook_id}/deliveries"),
        };
        Arc::new(deliveries::Deliveries { client: Arc::clone(&self.0.account.root), root })
    }

    /// Where the App is installed.
    pub async fn installations(&self) -> Result<Vec<InstallationFacts>, ForgeError> {
        let pages = self.root().pages::<InstallationAnswer>("/app/installations", None, MAX_PAGES).await?;
        let facts = pages.items.into_iter().map(|found| InstallationFacts {
            id: found.id,
            grants: found.grants(),
            suspended: found.suspended_at.is_some(),
            account: found.account.and_then(|account| account.login.or(account.slug)),
        });
        Ok(facts.collect())
    }

    /// The App we are.
    pub async fn app(&self) -> Result<AppFacts, ForgeError> {
        self.0.account.app().await
    }

    /// The token we speak with; [`ForgeError::Auth`] where GitHub does not take it, or we are an App.
    pub async fn token(&self) -> Result<TokenFacts, ForgeError> {
        if matches!(self.0.account.proof, Proof::App) {
            return Err(ForgeError::Auth { message: "an App has no token of a person".to_owned() });
        }
        let answer = self.root().get("/user").await?;
        let user: wire::User = answer.json()?;
        let scopes = answer.headers.get("x-oauth-scopes").and_then(|scopes| scopes.to_str().ok());
        let scopes = scopes.filter(|scopes| !scopes.is_empty());
        let scopes = scopes.map(|scopes| scopes.split(',').map(|scope| scope.trim().to_owned()).collect());
        Ok(TokenFacts { owner: user.actor(), scopes })
    }

    /// How much may still be asked, by the token or by the installation of a repository. Costs nothing.
    pub async fn rate_limit(&self, name: &RepositoryName) -> Result<RateLimit, ForgeError> {
        #[derive(Deserialize)]
        struct Answer {
            resources: Resources,
        }
        #[derive(Deserialize)]
        struct Resources {
            core: Core,
        }
        #[derive(Deserialize)]
        struct Core {
            limit: u64,
            remaining: u64,
            reset: i64,
        }
        let client = match self.0.account.proof {
            Proof::App => {
                let found: InstallationAnswer =
                    self.root().read(&format!("/repos/{name}/installation")).await?;
                self.installation_client(found.id).await?
            }
            Proof::Token(_) => Arc::clone(&self.0.account.root),
        };
        let core = client.read::<Answer>("/rate_limit").await?.resources.core;
        let reset_at = Timestamp::from_second(core.reset).unwrap_or(Timestamp::MAX);
        Ok(RateLimit { limit: core.limit, remaining: core.remaining, reset_at })
    }

    /// GitHub's clock, to the second. An App's signatures fail when ours is a minute off.
    pub async fn server_time(&self) -> Result<Timestamp, ForgeError> {
        // Asked as nobody: with a wrong clock of ours an App would be refused.
        let answer = unauthenticated(&self.0.config)?.get("/meta").await?;
        let date = answer.headers.get(DATE).and_then(|date| date.to_str().ok());
        let parsed = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
        parsed
            .map(|date| date.timestamp())
            .ok_or(ForgeError::Unexpected { message: "an answer without a date".to_owned() })
    }
}
