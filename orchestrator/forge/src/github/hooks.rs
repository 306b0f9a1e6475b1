//! Where webhooks go: the App's one, and those of repositories for a token whose owner administers them.

use cloud_code_model::RepositoryName;
use http::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer};
use serde_json::json;

use crate::error::ForgeError;
use crate::port::Priority;

use super::Github;
use super::manifest::EVENTS;

/// A repository has 20 hooks at most.
const MAX_PAGES: usize = 1;

/// Where a webhook goes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct HookConfig {
    /// The address.
    pub url: Option<String>,
    /// Must be `json`.
    pub content_type: Option<String>,
    /// Whether it is signed. GitHub does not show with what.
    #[serde(rename = "secret", default, deserialize_with = "is_there")]
    pub has_secret: bool,
}

fn is_there<'de, D: Deserializer<'de>>(from: D) -> Result<bool, D::Error> {
    Ok(Option::<String>::deserialize(from)?.is_some_and(|stars| !stars.is_empty()))
}

#[derive(Deserialize)]
struct Hook {
    id: u64,
    config: HookConfig,
}

impl Github {
    /// Where the App's webhooks go.
    pub async fn hook_config(&self) -> Result<HookConfig, ForgeError> {
        self.root().read("/app/hook/config").await
    }

    /// Sends the App's webhooks to `url`, as JSON, signed with `secret`.
    pub async fn set_hook_config(&self, url: &str, secret: &SecretString) -> Result<HookConfig, ForgeError> {
        self.0.config.scrubber.keep(secret.clone());
        let config = json!({"url": url, "content_type": "json", "secret": secret.expose_secret()});
        self.root().send(&Method::PATCH, "/app/hook/config", Some(&config), Priority::Reply).await?.json()
    }

    /// The webhook of a repository that goes to `url`. A token needs `repository_hooks: read` to be told.
    pub async fn repository_hook(
        &self,
        name: &RepositoryName,
        url: &str,
    ) -> Result<Option<HookConfig>, ForgeError> {
        Ok(self.hook_to(name, url).await?.map(|hook| hook.config))
    }

    /// The number of the webhook of a repository that goes to `url`, by which its log of deliveries is found. A token needs
    /// `repository_hooks: read`, or the older `admin:repo_hook`, and its owner must administer the repository.
    pub async fn repository_hook_number(
        &self,
        name: &RepositoryName,
        url: &str,
    ) -> Result<Option<u64>, ForgeError> {
        Ok(self.hook_to(name, url).await?.map(|hook| hook.id))
    }

    async fn hook_to(&self, name: &RepositoryName, url: &str) -> Result<Option<Hook>, ForgeError> {
        let hooks = self.root().pages::<Hook>(&format!("/repos/{name}/hooks"), None, MAX_PAGES).await?;
        Ok(hooks.items.into_iter().find(|hook| hook.config.url.as_deref() == Some(url)))
    }

    /// Makes the webhook of a repository. A token needs `repository_hooks: write`. A second one with the same address is
    /// refused by GitHub as [`ForgeError::Invalid`].
    pub async fn make_repository_hook(
        &self,
        name: &RepositoryName,
        url: &str,
        secret: &SecretString,
    ) -> Result<(), ForgeError> {
        self.0.config.scrubber.keep(secret.clone());
        let body = json!({
            "name": "web",
            "active": true,
            "events": EVENTS,
            "config": {"url": url, "content_type": "json", "insecure_ssl": "0", "secret": secret.expose_secret()},
        });
        let path = format!("/repos/{name}/hooks");
        self.root().send(&Method::POST, &path, Some(&body), Priority::Reply).await.map(drop)
    }
}
