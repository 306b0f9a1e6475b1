#![doc = include_str!("../README.md")]

mod again;
mod blocking;
mod budget;
mod catalog;
mod catch_up;
mod clocks;
mod container;
mod decide;
mod drive;
mod driver_lock;
mod error;
mod facts;
mod fall_back;
mod follow;
mod follow_up;
mod forges;
mod gather;
mod git;
mod held;
mod host_git;
mod installed;
mod keep;
mod moved_base;
mod observe;
mod open;
mod packet;
mod perform;
mod prices;
mod prompts;
mod public;
mod publish;
mod pull_request;
mod queue;
mod rows;
mod seen;
mod service;
mod settle;
mod take_over;
mod tasking;
mod theirs;
mod unimported;
mod watch;
mod words;

use std::path::PathBuf;
use std::sync::Arc;

use cloud_code_history::History;
use cloud_code_model::{Clock, IdSource, InstanceId};
use cloud_code_runtime::{Runtime, Secrets};
use cloud_code_workspace::Layout;
use secrecy::SecretString;

pub use blocking::{Inline, run_inline};
pub use catalog::{COMMAND_CLI, CliCatalog, CliEntry, CliError, CliOrigin};
pub use clocks::Elapsed;
pub use decide::{CANCEL_PATIENCE, HEARTBEAT_PATIENCE, LOOK_AGAIN, OVERTIME, Step, decide};
pub use error::EngineError;
pub use facts::{ContainerFact, ContainerPhase, Facts, ReportFact, WorkspaceFact};
pub use follow::Follower;
pub use follow_up::FollowUpRequest;
pub use forges::{Forges, NoForges};
pub use git::Repo;
pub use host_git::{Git, GitMirror, Handover, HostGit, Intake, Preparation};
pub use installed::NoVersion;
pub use observe::{Notice, Observer, Silent};
pub use open::{Origin, RunRequest, Uncommitted};
pub use packet::packet;
pub use prompts::PromptError;
pub use queue::{Entry, Picture, Room, Turns, Unmet, Waits, plan, spent, unmet, waits_for_itself};
pub use rows::Rows;
pub use service::{
    Engines, HookLog, Membership, OnStop, Projects, Role, ServedProject, Service, ServiceSettings, SweepMode,
    Wakes,
};
pub use tasking::next_tasking;
pub use watch::{Inotify, Watch, Watches};

pub(crate) use blocking::blocking;
pub(crate) use settle::Settler;

/// Reads a variable of the orchestrator's environment. Given, not taken: tests give their own.
pub type Environment = Arc<dyn Fn(&str) -> Option<SecretString> + Send + Sync>;

/// The secrets that this process knows now. Asked when they are needed, because tokens are minted all the time.
pub type KnownSecrets = Arc<dyn Fn() -> Vec<SecretString> + Send + Sync>;

/// What holds for one installation, whatever the task.
pub struct EngineSettings {
    /// Whose containers they are.
    pub instance: InstanceId,
    /// Where everything lives.
    pub layout: Layout,
    /// The static agent binary on this host.
    pub agent_binary: PathBuf,
    /// The user that a CLI runs as and that owns the tree. Never root.
    pub cli_user: (u32, u32),
    /// Whether this process is root, and therefore must hand the tree to that user.
    pub runs_as_root: bool,
    /// The coding CLIs.
    pub catalog: CliCatalog,
    /// The forges of its projects.
    pub forges: Arc<dyn Forges>,
    /// Where credentials come from.
    pub environment: Environment,
    /// What this process knows of its forges' credentials. None of it may stand in a commit.
    pub forge_secrets: KnownSecrets,
}

/// The reconciler of one installation.
pub struct Engine {
    pub(crate) settings: Arc<EngineSettings>,
    pub(crate) store: Arc<dyn Rows>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) history: History,
    pub(crate) git: Arc<dyn Git>,
    pub(crate) watches: Arc<dyn Watches>,
    pub(crate) settler: Arc<Settler>,
    /// Under which it works, where several processes share the store.
    pub(crate) held: Option<Arc<held::Held>>,
}

impl Engine {
    /// Puts the rooms together, with this host's git and its notices of changed files. Nothing is read or started.
    pub fn new(
        settings: EngineSettings,
        store: impl Rows + 'static,
        runtime: Arc<dyn Runtime>,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
    ) -> Self {
        let history = keep::default_history(&settings.layout);
        let (store, git, watches) = (Arc::new(store), Arc::new(HostGit), Arc::new(Inotify::default()));
        let settings = Arc::new(settings);
        let settler = Arc::default();
        Self { settings, store, runtime, clock, ids, history, git, watches, settler, held: None }
    }

    /// The same with another history than that of the default settings.
    #[must_use]
    pub fn with_history(self, history: History) -> Self {
        Self { history, ..self }
    }

    /// What is kept of every attempt.
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// The same with another git.
    #[must_use]
    pub fn with_git(self, git: Arc<dyn Git>) -> Self {
        Self { git, ..self }
    }

    /// The same with other notices of changed files.
    #[must_use]
    pub fn with_watches(self, watches: Arc<dyn Watches>) -> Self {
        Self { watches, ..self }
    }

    /// The store.
    pub fn store(&self) -> &dyn Rows {
        self.store.as_ref()
    }

    /// What holds for this installation.
    pub fn settings(&self) -> &EngineSettings {
        &self.settings
    }

    /// The credentials and secrets of a task, read now from the environment.
    pub(crate) fn secrets(&self, facts: &Facts) -> Result<Secrets, EngineError> {
        let plan = &facts.record.task.plan;
        let manifest = self.settings.catalog.manifest_for(plan)?;
        self.check_credentials(&manifest, plan)?;
        let names = manifest.credentials.iter().chain(&plan.secrets);
        Ok(names.filter_map(|name| Some((name.clone(), (self.settings.environment)(name)?))).collect())
    }
}

impl Engine {
    /// The values that may stand in no commit of a task: what its CLI was given, and what opens the forge. Keys that are
    /// not set here, in another shell than the one that ran the task, cannot be looked for.
    pub(crate) fn forbidden(&self, facts: &Facts) -> Result<Vec<SecretString>, EngineError> {
        let plan = &facts.record.task.plan;
        let manifest = self.settings.catalog.manifest_for(plan)?;
        let names = manifest.credentials.iter().chain(&plan.secrets);
        let own = names.filter_map(|name| (self.settings.environment)(name));
        Ok(own.chain((self.settings.forge_secrets)()).collect())
    }
}

/// A status as it stands in files.
pub(crate) fn words<T: serde::Serialize>(status: &T) -> String {
    serde_json::to_value(status).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}
