//! What every part of one agent uses: settings, the reaper, the journal, and the line on which a stop is asked for.
//!
//! One thread, so plain cells: a borrow of the journal never lives across an `await`.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::BTreeMap;

use cloud_code_task_schema::{CliManifest, CommitSettings};
use tokio::sync::Notify;

use crate::environment::{self, Surroundings};
use crate::home::Home;
use crate::identity::CliUser;
use crate::journal::Journal;
use crate::oom::OomCounter;
use crate::options::Options;
use crate::reaper::Reaper;
use crate::secrets::{Masker, Secrets};

/// Lives as long as the agent.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) manifest: CliManifest,
    pub(crate) user: CliUser,
    pub(crate) secrets: Secrets,
    pub(crate) masker: Masker,
    pub(crate) reaper: Reaper,
    pub(crate) stop: StopLine,
    pub(crate) oom: OomCounter,
    journal: RefCell<Journal>,
}

impl Shared {
    /// Puts the parts together.
    pub(crate) fn new(
        options: Options,
        manifest: CliManifest,
        user: CliUser,
        secrets: Secrets,
        journal: Journal,
    ) -> Self {
        Self {
            options,
            manifest,
            user,
            masker: secrets.masker(),
            secrets,
            reaper: Reaper::default(),
            stop: StopLine::default(),
            oom: OomCounter::find(),
            journal: RefCell::new(journal),
        }
    }

    /// The journal, for one statement.
    pub(crate) fn journal(&self) -> RefMut<'_, Journal> {
        self.journal.borrow_mut()
    }

    /// The environment of the CLI, credentials included.
    pub(crate) fn cli_env(&self, identity: &CommitSettings, model: Option<&str>) -> BTreeMap<String, String> {
        environment::of_cli(&self.surroundings(), identity, model, &self.secrets)
    }

    /// The environment of helpers, without credentials.
    pub(crate) fn plain_env(&self, identity: &CommitSettings) -> BTreeMap<String, String> {
        environment::plain(&self.surroundings(), identity)
    }

    /// The CLI's HOME.
    pub(crate) fn home(&self) -> Home<'_> {
        Home { path: &self.options.home, user: self.user.switch_to }
    }

    /// Folders of the agent that lie in the worktree, from its top; none where the contract's own layout is kept.
    pub(crate) fn own_folders_inside(&self) -> Vec<String> {
        let own = [&self.options.control, &self.options.home].into_iter();
        let inside = own.filter_map(|folder| folder.strip_prefix(&self.options.workspace).ok());
        inside.map(|folder| folder.display().to_string()).collect()
    }

    /// Writes the list of what is never committed anew.
    pub(crate) fn renew_never_commit(&self) -> std::io::Result<()> {
        self.home().renew_never_commit(&self.manifest, &self.own_folders_inside())
    }

    fn surroundings(&self) -> Surroundings<'_> {
        Surroundings {
            home: &self.options.home,
            user_name: &self.user.name,
            manifest: &self.manifest,
            base_url: self.options.base_url.as_deref(),
        }
    }
}

/// Why the running task should end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopRequest {
    /// It is no longer wanted.
    Cancel,
    /// The agent was told to end.
    AgentStops,
}

/// How long a stop may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Patience {
    /// TERM, then the grace, then KILL.
    #[default]
    Grace,
    /// KILL now: somebody asked twice.
    None,
}

/// Carries a stop from the loop to the running task.
#[derive(Default)]
pub(crate) struct StopLine {
    request: Cell<Option<StopRequest>>,
    patience: Cell<Patience>,
    changed: Notify,
}

impl StopLine {
    /// A new task begins: a cancel of the last one does not concern it, the agent's own end does.
    pub(crate) fn begin_task(&self) {
        if self.request.get() == Some(StopRequest::Cancel) {
            self.request.set(None);
        }
    }

    /// Asks. The first reason stands.
    pub(crate) fn ask(&self, request: StopRequest) {
        if self.request.get().is_none() {
            self.request.set(Some(request));
            self.changed.notify_one();
        }
    }

    /// Asks for an end without grace.
    pub(crate) fn hurry(&self) {
        self.patience.set(Patience::None);
        self.changed.notify_one();
    }

    /// Whether something was asked for.
    pub(crate) const fn is_asked(&self) -> bool {
        self.request.get().is_some()
    }

    /// Waits until something is asked for.
    pub(crate) async fn requested(&self) -> StopRequest {
        loop {
            if let Some(request) = self.request.get() {
                return request;
            }
            self.changed.notified().await;
        }
    }

    /// Waits until patience ends.
    pub(crate) async fn hurried(&self) {
        while self.patience.get() != Patience::None {
            self.changed.notified().await;
        }
    }
}
