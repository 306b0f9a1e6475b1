//! An App by one click: what it asks for, and what GitHub hands over for it.

use std::fmt;

use http::Method;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::ForgeError;
use crate::facts::Access;
use crate::port::Priority;

use super::path::segment;
use super::{GithubConfig, unauthenticated};

/// A permission that the App asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needed {
    /// GitHub's name for it.
    pub name: &'static str,
    /// How far it goes.
    pub access: Access,
    /// What for, as people are told.
    pub why: &'static str,
}

const fn needed(name: &'static str, access: Access, why: &'static str) -> Needed {
    Needed { name, access, why }
}

/// The permissions of the App: the least that everything we do needs. Not `workflows`: a push that changes
/// `.github/workflows` is meant to be refused. Nor `administration`, `secrets`, `members`, `actions`.
pub const PERMISSIONS: [Needed; 6] = [
    needed("metadata", Access::Read, "to see the repository and who may push to it"),
    needed("contents", Access::Write, "to fetch the code and push a branch"),
    needed("issues", Access::Write, "to comment, react and set labels"),
    needed("pull_requests", Access::Write, "to open and update pull requests and answer reviews"),
    needed("checks", Access::Write, "to show progress beside a pull request and see which checks fail"),
    needed("statuses", Access::Read, "to see which checks of older kinds of CI fail"),
];

/// The events that the App asks for, and those of a repository's own hook.
pub const EVENTS: [&str; 8] = [
    "issues",
    "issue_comment",
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
    "check_suite",
    "push",
    "repository",
];

/// The events that every App is told without asking.
pub const UNASKED_EVENTS: [&str; 2] = ["installation", "installation_repositories"];

/// What a new App should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestSpec {
    /// Its name; the user may change it. At most 34 characters on GitHub.
    pub name: String,
    /// Its home page.
    pub url: String,
    /// What it is, in a sentence.
    pub description: String,
    /// Where its webhooks go. Without one the hook stays off, and whether GitHub keeps a log of a hook that is off is not
    /// known: where the log is to be read, name an address, if only one that nobody has.
    pub webhook_url: Option<String>,
    /// Where GitHub sends the browser with the code.
    pub redirect_url: String,
    /// Whether others may install it.
    pub public: bool,
}

/// The form field `manifest`, to be posted by the user's browser to `WEB/settings/apps/new?state=S`.
pub fn manifest(spec: &ManifestSpec) -> Value {
    // GitHub wants an address also for a hook that is off.
    let hook = spec.webhook_url.as_deref().unwrap_or(&spec.url);
    let permissions: serde_json::Map<String, Value> =
        PERMISSIONS.iter().map(|needed| (needed.name.to_owned(), needed.access.word().into())).collect();
    json!({
        "name": spec.name,
        "url": spec.url,
        "description": spec.description,
        "hook_attributes": {"url": hook, "active": spec.webhook_url.is_some()},
        "redirect_url": spec.redirect_url,
        "public": spec.public,
        "default_permissions": permissions,
        "default_events": EVENTS,
    })
}

/// A new App. GitHub says this once: keep it before answering anybody.
#[derive(Deserialize)]
pub struct NewApp {
    /// Its number.
    pub id: u64,
    /// Its short name, part of its address and its mention.
    pub slug: String,
    /// For signing users in.
    pub client_id: String,
    /// For signing users in.
    pub client_secret: SecretString,
    /// Signs webhooks; missing if the hook has none.
    pub webhook_secret: Option<SecretString>,
    /// The private key.
    pub pem: SecretString,
    /// Its page; `/installations/new` below it installs it.
    pub html_url: String,
}

impl fmt::Debug for NewApp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewApp").field("id", &self.id).field("slug", &self.slug).finish_non_exhaustive()
    }
}

/// Exchanges the code that the browser came back with. It works once, within an hour.
pub async fn convert_manifest(config: &GithubConfig, code: &str) -> Result<NewApp, ForgeError> {
    let client = unauthenticated(config)?;
    let path = format!("/app-manifests/{}/conversions", segment(code));
    client.send(&Method::POST, &path, None, Priority::Terminal).await?.json()
}
