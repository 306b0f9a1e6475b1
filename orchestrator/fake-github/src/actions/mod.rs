//! What can happen to the world, whoever does it: a person of a story or a client through REST. Each change is made
//! in one place and tells its webhook there, so that our own App's writes come back as events like anybody's.

mod check;
mod label;
mod merge;
mod pull;
mod push;
mod review;
mod thread;

use serde_json::{Map, Value, json};

use crate::call::Actor;
use crate::state::World;
use crate::webhooks::{Only, Post};

pub(crate) use check::CheckRunChange;
pub(crate) use merge::rule_of_base_broken;
pub(crate) use pull::NewPull;
pub(crate) use thread::MAX_BODY;

impl World {
    /// Says that something happened: `more` with the repository and the sender.
    pub(crate) fn post(&mut self, event: &'static str, action: &str, repo: u64, actor: Actor, more: Value) {
        self.post_to(Only::Everybody, event, action, repo, actor, more);
    }

    /// A ping, which only the hook itself hears.
    pub(crate) fn post_to_hook(
        &mut self,
        hook: u64,
        event: &'static str,
        repo: u64,
        actor: Actor,
        more: Value,
    ) {
        self.post_to(Only::Hook(hook), event, "", repo, actor, more);
    }

    /// As `post`, for the events that not everybody hears.
    pub(crate) fn post_to(
        &mut self,
        only: Only,
        event: &'static str,
        action: &str,
        repo: u64,
        actor: Actor,
        more: Value,
    ) {
        let mut payload = Map::new();
        if !action.is_empty() {
            payload.insert("action".to_owned(), json!(action));
        }
        if let Value::Object(more) = more {
            payload.extend(more);
        }
        if let Some(repo) = self.repo(repo) {
            payload.insert("repository".to_owned(), self.repo_json(repo));
            if let Some(organization) = self.organization_json(repo.owner) {
                payload.insert("organization".to_owned(), organization);
            }
        }
        payload.insert("sender".to_owned(), self.user_json(Some(actor.user)));
        self.posts.push(Post {
            event,
            action: (!action.is_empty()).then(|| action.to_owned()),
            repo: Some(repo),
            only,
            payload: Value::Object(payload),
        });
    }
}

impl World {
    /// Tells an App about its installation, which has no repository.
    pub(crate) fn tell_installation(&mut self, action: &str, installation: u64, actor: Actor) {
        let Some(installed) = self.installation(installation) else { return };
        let repositories: Vec<Value> = self
            .repos
            .iter()
            .filter(|repo| repo.owner == installed.account && installed.covers(repo.id))
            .map(|repo| {
                json!({
                    "id": repo.id,
                    "node_id": crate::render::node_id("Repository", repo.id),
                    "name": repo.name,
                    "full_name": self.full_name(repo),
                    "private": repo.private,
                })
            })
            .collect();
        let app = installed.app;
        let payload = json!({
            "action": action,
            "installation": self.installation_json(installed),
            "repositories": repositories,
            "sender": self.user_json(Some(actor.user)),
        });
        self.posts.push(Post {
            event: "installation",
            action: Some(action.to_owned()),
            repo: None,
            only: Only::App(app),
            payload,
        });
    }
}
