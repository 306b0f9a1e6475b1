//! Deliveries: what happened, sent to whoever has a hook for it, logged, held back, lost or sent again as a test asks.

mod courier;
mod post;
mod signature;

pub(crate) use courier::{Mail, Mode, run, send};
pub(crate) use post::{Only, Post};

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::render::time;
use crate::state::{App, Level, World};

/// Which hook a delivery is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The webhook of an App, by the App's id.
    App(u64),
    /// A webhook of a repository.
    Repository {
        /// The repository's id.
        repository: u64,
        /// The hook's id.
        hook: u64,
    },
}

/// What became of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Held back by the test; not in GitHub's log yet.
    Held,
    /// On its way.
    Sending,
    /// Answered with this status.
    Answered(u16),
    /// Never arrived. GitHub logs it and does not try again.
    Failed(String),
}

/// One delivery: one event for one hook. A redelivery is another one with the same GUID.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// GitHub's id in its log, rising.
    pub id: u64,
    /// `X-GitHub-Delivery`: one per event, kept by redeliveries.
    pub guid: String,
    /// `X-GitHub-Event`.
    pub event: String,
    /// The payload's action.
    pub action: Option<String>,
    /// Whose hook.
    pub target: Target,
    /// The payload.
    pub payload: Value,
    /// What became of it.
    pub fate: Fate,
    /// How long the answer took.
    pub duration: Duration,
    /// Whether it repeats an earlier one.
    pub redelivery: bool,
    pub(crate) at: Timestamp,
    pub(crate) hook_id: u64,
    pub(crate) url: Option<String>,
    pub(crate) secret: Option<String>,
    pub(crate) installation: Option<u64>,
    pub(crate) repository: Option<u64>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) answer_body: String,
}

/// A hook that hears of an event.
struct Addressee {
    target: Target,
    hook_id: u64,
    url: Option<String>,
    secret: Option<String>,
    installation: Option<u64>,
}

impl Delivery {
    /// A delivery of a payload from elsewhere to an App's hook. It is in no log.
    pub(crate) fn sample(
        id: u64,
        guid: String,
        app: &App,
        event: &str,
        payload: Value,
        at: Timestamp,
    ) -> Self {
        let mut delivery = Self {
            id,
            guid,
            event: event.to_owned(),
            action: payload["action"].as_str().map(str::to_owned),
            target: Target::App(app.id),
            payload,
            fate: Fate::Sending,
            duration: Duration::ZERO,
            redelivery: false,
            at,
            hook_id: app.hook_id,
            url: app.hook_url.clone(),
            secret: app.hook_secret.clone(),
            installation: None,
            repository: None,
            headers: BTreeMap::new(),
            answer_body: String::new(),
        };
        delivery.headers = signature::headers(&delivery);
        delivery
    }

    /// GitHub's words for the fate.
    pub(crate) fn status(&self) -> (String, u16) {
        match &self.fate {
            Fate::Held | Fate::Sending => ("pending".to_owned(), 0),
            Fate::Answered(code) if (200..300).contains(code) => ("OK".to_owned(), *code),
            Fate::Answered(code) => (format!("Invalid HTTP Response: {code}"), *code),
            Fate::Failed(why) => (why.clone(), if why == "timed out" { 504 } else { 502 }),
        }
    }

    pub(crate) fn item_json(&self) -> Value {
        let (status, code) = self.status();
        json!({
            "id": self.id,
            "guid": self.guid,
            "delivered_at": time(self.at),
            "redelivery": self.redelivery,
            "duration": self.duration.as_secs_f64(),
            "status": status,
            "status_code": code,
            "event": self.event,
            "action": self.action,
            "installation_id": self.installation,
            "repository_id": self.repository,
            "throttled_at": null,
        })
    }

    pub(crate) fn full_json(&self) -> Value {
        let mut object = self.item_json();
        object["url"] = json!(self.url.clone().unwrap_or_default());
        object["request"] = json!({"headers": self.headers, "payload": self.payload});
        object["response"] = json!({"headers": {}, "payload": self.answer_body});
        object
    }
}

impl World {
    /// Makes the deliveries of an event: one for each hook that asked for it, all with one GUID.
    pub(crate) fn deliveries_of(&mut self, post: Post) -> Vec<Delivery> {
        let guid = self.guid();
        let mut made = Vec::new();
        for Addressee { target, hook_id, url, secret, installation } in self.hooks_for(&post) {
            let mut payload = post.payload.clone();
            if let Some(installation) = installation
                && payload.get("installation").is_none()
            {
                let node = crate::render::node_id("Integration Installation", installation);
                payload["installation"] = json!({"id": installation, "node_id": node});
            }
            let mut delivery = Delivery {
                id: self.id(),
                guid: guid.clone(),
                event: post.event.to_owned(),
                action: post.action.clone(),
                target,
                payload,
                fate: Fate::Held,
                duration: Duration::ZERO,
                redelivery: false,
                at: self.now(),
                hook_id,
                url,
                secret,
                installation,
                repository: post.repo,
                headers: BTreeMap::new(),
                answer_body: String::new(),
            };
            delivery.headers = signature::headers(&delivery);
            made.push(delivery);
        }
        made
    }

    fn hooks_for(&self, post: &Post) -> Vec<Addressee> {
        let mut hooks = Vec::new();
        for app in &self.apps {
            if post.only != Only::Everybody && post.only != Only::App(app.id) {
                continue;
            }
            let installation = match post.repo {
                Some(repo) => self.installation_on(app.id, repo).map(|installed| installed.id),
                None => post.payload["installation"]["id"].as_u64(),
            };
            // Events about the installation come unasked.
            let asked =
                post.event.starts_with("installation") || app.events.iter().any(|name| name == post.event);
            let reads_checks = !post.event.starts_with("check_")
                || app.permissions.get("checks").is_some_and(|level| *level >= Level::Read);
            if installation.is_some() && asked && reads_checks {
                let (url, secret) = (app.hook_url.clone(), app.hook_secret.clone());
                let (target, hook_id) = (Target::App(app.id), app.hook_id);
                hooks.push(Addressee { target, hook_id, url, secret, installation });
            }
        }
        let repo = post.repo.and_then(|id| self.repo(id));
        for (repo, hook) in repo.into_iter().flat_map(|repo| repo.hooks.iter().map(move |hook| (repo, hook)))
        {
            let asked = match post.only {
                Only::Everybody => {
                    hook.active && hook.events.iter().any(|name| name == "*" || name == post.event)
                }
                Only::App(_) => false,
                Only::Hook(only) => hook.id == only,
            };
            if asked {
                let target = Target::Repository { repository: repo.id, hook: hook.id };
                let (url, secret) = (Some(hook.url.clone()), hook.secret.clone());
                hooks.push(Addressee { target, hook_id: hook.id, url, secret, installation: None });
            }
        }
        hooks
    }

    /// A GUID in GitHub's form, unique within this world and the same in every run.
    pub(crate) fn guid(&mut self) -> String {
        let id = self.id();
        format!("{id:08x}-fa4e-11f0-8000-{:012x}", id * 7919)
    }

    /// A further attempt at a delivery: a new log entry with the old GUID, signed anew.
    pub(crate) fn redelivery_of(&mut self, id: u64) -> Option<Delivery> {
        let mut again = self.deliveries.iter().find(|delivery| delivery.id == id)?.clone();
        again.id = self.id();
        again.redelivery = true;
        again.at = self.now();
        again.duration = Duration::ZERO;
        again.answer_body = String::new();
        let (url, secret) = match again.target {
            Target::App(app) => self.app(app).map(|app| (app.hook_url.clone(), app.hook_secret.clone()))?,
            Target::Repository { repository, hook } => {
                let hook = self.repo(repository)?.hooks.iter().find(|known| known.id == hook)?;
                (Some(hook.url.clone()), hook.secret.clone())
            }
        };
        again.url = url;
        again.secret = secret;
        again.headers = signature::headers(&again);
        Some(again)
    }

    pub(crate) fn delivery_mut(&mut self, id: u64) -> Option<&mut Delivery> {
        self.deliveries.iter_mut().find(|delivery| delivery.id == id)
    }
}
