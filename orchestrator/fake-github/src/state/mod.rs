//! What the fake knows: one world behind one lock. Handlers and people change it; nothing here speaks HTTP.

mod app;
mod check;
mod clock;
mod repository;
mod thread;
mod user;

use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::Value;

pub(crate) use app::{App, Holder, Installation, Level, Permissions, Token};
pub(crate) use check::{Annotation, CheckRun, CheckSuite, Status};
pub(crate) use clock::Clock;
pub(crate) use repository::{Hook, IssueEvent, Label, Repo};
pub use repository::{MergeRules, Role};
pub(crate) use thread::{Comment, Pull, Reaction, Review, ReviewComment, Subject, Thread};
pub(crate) use user::User;

use crate::webhooks::{Delivery, Post};

/// Everything. Ids are unique over all kinds, so an id of the wrong kind never finds something by luck.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) clock: Clock,
    /// The folder of the bare repositories, each `<id>.git`.
    pub(crate) root: PathBuf,
    pub(crate) api_url: String,
    pub(crate) web_url: String,
    pub(crate) users: Vec<User>,
    pub(crate) repos: Vec<Repo>,
    pub(crate) apps: Vec<App>,
    pub(crate) installations: Vec<Installation>,
    pub(crate) tokens: Vec<Token>,
    /// Codes of the manifest flow that were not exchanged yet, with their manifests.
    pub(crate) manifest_codes: Vec<(String, Value)>,
    pub(crate) deliveries: Vec<Delivery>,
    /// What happened since the lock was last given back; `Shared` makes deliveries of it.
    pub(crate) posts: Vec<Post>,
    /// Deliveries to be attempted again.
    pub(crate) redeliver: Vec<u64>,
    pub(crate) rates: crate::rates::Rates,
    next_id: u64,
    token_count: u64,
}

impl World {
    pub(crate) fn new(root: PathBuf, url: &str) -> Self {
        Self {
            clock: Clock::default(),
            root,
            api_url: url.to_owned(),
            web_url: url.to_owned(),
            users: Vec::new(),
            repos: Vec::new(),
            apps: Vec::new(),
            installations: Vec::new(),
            tokens: Vec::new(),
            manifest_codes: Vec::new(),
            deliveries: Vec::new(),
            posts: Vec::new(),
            redeliver: Vec::new(),
            rates: crate::rates::Rates::default(),
            next_id: 1000,
            token_count: 0,
        }
    }

    pub(crate) fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A number that makes each token's text its own.
    pub(crate) fn token_number(&mut self) -> u64 {
        self.token_count += 1;
        self.token_count
    }
}
