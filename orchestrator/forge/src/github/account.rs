//! Who we are on a GitHub, and the tokens made for us there.

use std::sync::Arc;

use cloud_code_model::Actor;
use http::Method;
use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::OnceCell;

use crate::error::ForgeError;
use crate::facts::{Access, BotIdentity, GitCredential, Grants};
use crate::port::Priority;

use super::client::Client;
use super::path::segment;
use super::wire;

/// GitHub's user name for a token over HTTP.
const GIT_USER: &str = "x-access-token";

/// An App's place in somebody's account.
#[derive(Debug, Clone)]
pub(super) struct Installation {
    pub(super) id: u64,
    pub(super) app_id: u64,
    pub(super) grants: Grants,
}

/// What GitHub says about an installation.
#[derive(Debug, Deserialize)]
pub(super) struct InstallationAnswer {
    pub(super) id: u64,
    pub(super) app_id: u64,
    #[serde(default)]
    pub(super) permissions: std::collections::BTreeMap<String, String>,
    pub(super) account: Option<InstallationAccount>,
    pub(super) suspended_at: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
pub(super) struct InstallationAccount {
    #[serde(default)]
    pub(super) login: Option<String>,
    #[serde(default)]
    pub(super) slug: Option<String>,
}

impl InstallationAnswer {
    pub(super) fn grants(&self) -> Grants {
        let access = |name: &str| Access::of(self.permissions.get(name).map(String::as_str));
        Grants {
            contents: access("contents"),
            issues: access("issues"),
            pull_requests: access("pull_requests"),
            checks: access("checks"),
            statuses: access("statuses"),
            workflows: access("workflows"),
        }
    }
}

/// How we prove who we are.
pub(super) enum Proof {
    /// The App's key signs; tokens are made from it.
    App,
    /// The token itself.
    Token(SecretString),
}

/// One identity on one GitHub.
pub(super) struct Account {
    pub(super) proof: Proof,
    /// Speaks as the App, or as the token's owner.
    pub(super) root: Arc<Client>,
    identity: OnceCell<BotIdentity>,
}

#[derive(Debug, Deserialize)]
struct AppAnswer {
    id: u64,
    slug: String,
}

#[derive(Debug, Deserialize)]
struct TokenAnswer {
    token: SecretString,
    expires_at: Timestamp,
}

impl Account {
    pub(super) fn new(proof: Proof, root: Arc<Client>) -> Self {
        Self { proof, root, identity: OnceCell::new() }
    }

    /// The App, as it sees itself. GitHub answers 404 to a number that no App has, whatever key signed it.
    pub(super) async fn app<T: DeserializeOwned>(&self) -> Result<T, ForgeError> {
        let message = "GitHub knows no App of this number".to_owned();
        match self.root.read("/app").await {
            Err(ForgeError::NotFound { .. }) => Err(ForgeError::Auth { message }),
            other => other,
        }
    }

    /// Who we are. `client` may look up accounts: an App itself may not.
    pub(super) async fn identity(&self, client: &Client) -> Result<BotIdentity, ForgeError> {
        let ask = || async {
            match self.proof {
                Proof::App => {
                    let app: AppAnswer = self.app().await?;
                    let bot = format!("/users/{}", segment(&format!("{}[bot]", app.slug)));
                    let bot: wire::User = client.read(&bot).await?;
                    Ok(BotIdentity { actor: bot.actor(), app_id: Some(app.id), mention: app.slug })
                }
                Proof::Token(_) => {
                    let user: wire::User = self.root.read("/user").await?;
                    let Actor { login, .. } = user.actor();
                    Ok(BotIdentity { actor: user.actor(), app_id: None, mention: login })
                }
            }
        };
        self.identity.get_or_try_init(ask).await.cloned()
    }

    /// A token for git in one repository. GitHub gives it an hour from now; nothing older is handed out.
    pub(super) async fn git_credential(
        &self,
        installation: Option<&Installation>,
        repository: u64,
    ) -> Result<GitCredential, ForgeError> {
        let username = GIT_USER.to_owned();
        let installation = match (&self.proof, installation) {
            (Proof::Token(token), _) => {
                return Ok(GitCredential { username, secret: token.clone(), expires_at: None });
            }
            (Proof::App, Some(installation)) => installation,
            (Proof::App, None) => {
                return Err(ForgeError::NotFound { what: "the App's installation".to_owned() });
            }
        };
        // Without `workflows`, so that GitHub refuses a push that changes its CI.
        let wanted = json!({"repository_ids": [repository], "permissions": {"contents": "write"}});
        let path = format!("/app/installations/{}/access_tokens", installation.id);
        let sent = self.root.send(&Method::POST, &path, Some(&wanted), Priority::Terminal).await;
        let answer = sent.map_err(|error| match error {
            ForgeError::NotFound { .. } => {
                ForgeError::NoAccess { what: "this account: the App is not installed there".to_owned() }
            }
            error => error,
        })?;
        let made: TokenAnswer = answer.json()?;
        self.root.scrubber.learn(SecretString::from(made.token.expose_secret().to_owned()));
        Ok(GitCredential { username, secret: made.token, expires_at: Some(made.expires_at) })
    }
}
