//! What killed processes of this installation left: containers, lock files, workspaces that were to be removed, files half
//! written. Looked for at the start and now and then; a task that ends in good order leaves nothing.
//!
//! Only what is ours by its label or below our home folder, and only what the store says is over: to sweep whatever looks
//! unknown would end healthy work of a process beside us. Networks and volumes of our own there are none: a container's
//! anonymous volumes go with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cloud_code_model::{Issue, IssueKey, ProjectName, TaskRecord, TaskState};
use cloud_code_runtime::{ContainerFacts, ContainerId, Labels};
use cloud_code_workspace::{SweepError, sweep_issue};
use tokio_util::sync::CancellationToken;

use super::Inner;
use crate::driver_lock::{DriverLock, locked};
use crate::{Engine, EngineError, blocking};

/// How often is looked. What is left costs room and nothing else; more often reads folders for nothing.
const EVERY: Duration = Duration::from_secs(600);
/// First wait before a look that was asked for, and between two that were not whole; doubles up to [`EVERY`].
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// How many workspaces are looked at between two questions for what is open. More, and one of them may be at work before
/// it is looked at; fewer asks oftener.
const AT_ONCE: usize = 100;

/// Containers without a task that had ended at the last look: a question for a CLI's version takes seconds.
type Idle = BTreeSet<ContainerId>;

/// How it stands after a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looked {
    /// Everything was looked at.
    Whole,
    /// A runtime did not answer, or something could not be removed.
    InPart,
}

/// Runs until `stop`. An error ends only the look. Nobody drives a task that is over: what its last step could not remove,
/// because Docker was away for one, is removed here, so a look that somebody asked for is repeated until it was whole.
pub(super) async fn run(inner: Arc<Inner>, stop: CancellationToken) {
    let mut idle = Idle::new();
    let mut again: Option<Duration> = None;
    loop {
        let looked = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            looked = look(&inner, &mut idle) => looked,
        };
        again = match looked {
            Looked::Whole => None,
            Looked::InPart => again.map(|wait| (wait * 2).min(EVERY)),
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(again.unwrap_or(EVERY)) => {}
            () = inner.wakes.leftovers.notified() => {
                again = Some(FIRST_WAIT);
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(FIRST_WAIT) => {}
                }
            }
        }
    }
}

async fn look(inner: &Inner, idle: &mut Idle) -> Looked {
    let (mut seen, mut looked) = (Idle::new(), Looked::Whole);
    for engine in [&inner.engines.local, &inner.engines.docker] {
        match engine.sweep_containers(idle).await {
            Ok(found) => seen.extend(found),
            // A machine without Docker is none of ours to complain about: the tasks that need it do.
            Err(EngineError::Runtime(error)) => {
                looked = Looked::InPart;
                tracing::debug!(error = %error, "no containers to look through");
            }
            Err(error) => {
                looked = Looked::InPart;
                tracing::warn!(error = %error.chain(), "leftover containers stay");
            }
        }
    }
    *idle = seen;
    if let Err(error) = inner.engines.local.sweep_files().await {
        looked = Looked::InPart;
        tracing::warn!(error = %error.chain(), "leftover files stay");
    }
    looked
}

impl Engine {
    /// Removes containers whose task is over, or is at a later attempt. Gives those without a task that have ended.
    async fn sweep_containers(&self, idle: &Idle) -> Result<Idle, EngineError> {
        let mut seen = Idle::new();
        for container in self.runtime.find(&Labels::of_instance(self.settings.instance.clone())).await? {
            let is_over = match &container.labels.task {
                Some(task) => is_spent(&container, self.store.task(task).await?.as_ref()),
                None if container.state.is_ended() => {
                    seen.insert(container.id.clone());
                    idle.contains(&container.id)
                }
                None => false,
            };
            if is_over {
                tracing::info!(container.id = %container.id, container.name = container.name, "a leftover container is removed");
                self.runtime.remove(&container.id).await?;
            }
        }
        Ok(seen)
    }

    async fn sweep_files(&self) -> Result<(), EngineError> {
        for id in locked(&self.settings.layout) {
            let record = self.store.task(&id).await?;
            if record.is_none_or(|record| record.state.status().is_terminal())
                && let Ok(lock) = DriverLock::take(&self.settings.layout, &id)
            {
                lock.spend();
            }
        }
        let layout = self.settings.layout.clone();
        let there: Vec<_> = blocking(move || Ok(layout.issues().into_iter().collect())).await?;
        let mut repos = BTreeMap::new();
        for some in there.chunks(AT_ONCE) {
            self.sweep_workspaces(some, &mut repos).await?;
        }
        let home = self.settings.layout.home().to_owned();
        blocking(move || {
            sweep_settings(&home);
            Ok(())
        })
        .await
    }

    async fn sweep_workspaces(
        &self,
        some: &[(ProjectName, IssueKey)],
        repos: &mut BTreeMap<ProjectName, String>,
    ) -> Result<(), EngineError> {
        // Read before the issues: a task that is added meanwhile is of an issue that was resting, and its folders are locked
        // while they are prepared.
        let open: BTreeSet<(ProjectName, IssueKey)> = self
            .store
            .open_tasks()
            .await?
            .into_iter()
            .map(|open| (open.task.project, open.task.issue))
            .collect();
        for (project, key) in some.iter().filter(|it| !open.contains(it)) {
            // One that the store does not know is another's.
            let Some(issue) = self.store.issue(project, key).await? else { continue };
            match issue.cleaned_at {
                Some(_) => self.finish_removal(&issue, repos).await?,
                None => self.sweep_workspace(project, key).await?,
            }
        }
        Ok(())
    }

    /// Ends the removal of a cleaned issue's workspace that was broken off.
    async fn finish_removal(
        &self,
        issue: &Issue,
        repos: &mut BTreeMap<ProjectName, String>,
    ) -> Result<(), EngineError> {
        if !repos.contains_key(&issue.project) {
            let tasks = self.store.tasks_of(&issue.project, &issue.key).await?;
            let Some(task) = tasks.into_iter().next() else { return Ok(()) };
            repos.insert(issue.project.clone(), task.task.plan.repo);
        }
        let Some(repo) = repos.get(&issue.project) else { return Ok(()) };
        let repo = self.repo(&issue.project, repo)?;
        let (name, key) = (issue.project.clone(), issue.key.clone());
        tracing::info!(project = %name, issue = %key, "the workspace of a cleaned issue is removed");
        blocking(move || repo.remove(&key)).await
    }

    /// Removes what killed processes left in an issue's workspace. Nothing may work on the issue.
    pub(crate) async fn sweep_workspace(
        &self,
        project: &ProjectName,
        issue: &IssueKey,
    ) -> Result<(), EngineError> {
        let paths = self.settings.layout.issue(project, issue);
        let (project, issue) = (project.clone(), issue.clone());
        blocking(move || {
            match sweep_issue(&paths) {
                Ok(0) => {}
                Ok(swept) => {
                    tracing::info!(project = %project, issue = %issue, swept, "leftover files were removed")
                }
                // Somebody begins to work on it, and tidies by that.
                Err(SweepError::Lock(_)) => {}
                Err(error) => {
                    tracing::warn!(project = %project, issue = %issue, error = %error, "leftover files stay")
                }
            }
            Ok(())
        })
        .await
    }
}

/// Whether nobody will ask for this container again.
fn is_spent(container: &ContainerFacts, record: Option<&TaskRecord>) -> bool {
    match record {
        // Rows are stored before containers are made, so no task is on its way for it.
        None => true,
        Some(record) if record.state.status().is_terminal() => true,
        // The next attempt's comes when its time has; whoever drives the task removes the last one's.
        Some(TaskRecord { state: TaskState::BackingOff { .. }, .. }) => false,
        Some(record) => container.labels.attempt.is_some_and(|attempt| attempt < record.attempt),
    }
}

/// Removes settings files that a killed `init` had half written, as `cloud-code.yaml.4711.tmp`, and an id of the installation
/// that was not given its name.
fn sweep_settings(home: &Path) {
    for folder in [home.to_owned(), home.join("projects"), home.join("secrets")] {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name.to_str().and_then(maker).is_some_and(|pid| !is_alive(pid)) {
                // The next look tries again.
                drop(fs::remove_file(entry.path()));
            }
        }
    }
}

/// The process that is writing a file of this name.
fn maker(name: &str) -> Option<u32> {
    let pid = match name.strip_suffix(".tmp") {
        Some(name) => name.rsplit_once('.')?.1,
        None => name.strip_prefix(".instance.")?,
    };
    pid.parse().ok()
}

fn is_alive(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_writers_settings_go_and_a_persons_files_stay() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("projects")).unwrap();
        let own = std::process::id();
        let goes = ["cloud-code.yaml.4194999.tmp", "projects/shop.yaml.4194999.tmp", ".instance.4194999"];
        let stays = ["cloud-code.yaml", "notes.tmp", "projects/shop.yaml", "instance"].map(str::to_owned);
        let stays = stays.into_iter().chain([format!("cloud-code.yaml.{own}.tmp")]);
        let stays: Vec<String> = stays.collect();
        for name in goes.iter().copied().chain(stays.iter().map(String::as_str)) {
            fs::write(home.path().join(name), "x").unwrap();
        }
        sweep_settings(home.path());
        assert!(!goes.iter().any(|name| home.path().join(name).exists()));
        assert!(stays.iter().all(|name| home.path().join(name).exists()));
    }
}
