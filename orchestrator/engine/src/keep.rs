//! What an attempt leaves goes into the history as it ends, before its task moves on: whoever is killed in between comes
//! here again, and finds it done or does it.
//!
//! The work matters more than its record: a history that cannot be written is told and holds nothing up.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cloud_code_fault_points::{Point, reach};
use cloud_code_forge::Scrubber;
use cloud_code_history::{
    AttemptFile, CliFacts, CommitFacts, Content, ControlFiles, Ending, ExitFacts, History, Key, Mask,
    Material, Outcome, VerifyRound,
};
use cloud_code_model::{Attempt, IssueKey, ProjectName, TaskState};
use cloud_code_runtime::{ContainerExit, ContainerId, ContainerState, Exit};
use cloud_code_task_schema::{
    ControlDir, ExitReport, Failure, Reporting, TaskId, TaskReport, parse_reporting, to_yaml,
};
use cloud_code_workspace::{Shortage, shortage};
use tokio_util::sync::CancellationToken;

use crate::facts::Facts;
use crate::gather::read_control;
use crate::observe::{Notice, Observer};
use crate::service::Inner;
use crate::{Engine, EngineError, blocking};

/// How long the agent's own end is waited for: it reports the task's end first and then writes its last event. It takes
/// milliseconds; one that hangs is not waited for, and its record lacks a line.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// How often what is too old is looked for when no attempt ends. An age is given in hours.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);

/// Length at which a workspace's event log is shortened: what a reader takes in is capped at eight times of it.
const MOST_EVENTS: u64 = 32 << 20;
/// About what is left of it then: the newest attempt or two.
const KEPT_EVENTS: u64 = 1 << 20;

/// How an attempt ended.
pub(crate) struct Ended<'a> {
    /// In a word.
    pub(crate) status: Cow<'static, str>,
    /// Why, when badly.
    pub(crate) failure: Option<&'a Failure>,
    /// The branch's commit after it.
    pub(crate) head: Option<&'a str>,
}

struct Scrub(Scrubber);

impl Mask for Scrub {
    fn clean<'t>(&self, text: &'t str) -> Cow<'t, str> {
        self.0.scrub(text)
    }
}

/// What the runtime and the agent said of an attempt.
#[derive(Default)]
struct Heard {
    exit: Option<Exit>,
    image: Option<String>,
    digest: Option<String>,
    reporting: Option<Reporting>,
}

impl Engine {
    /// Puts the attempt that ended into the history; does nothing when it is there, or never began. A disk may be full for
    /// days, and is not waited for; descriptors are.
    pub(crate) async fn keep_attempt(
        &self,
        facts: &Facts,
        ended: Ended<'_>,
        observer: &mut dyn Observer,
    ) -> Result<(), EngineError> {
        if let Err(error) = self.try_keep(facts, ended).await {
            if shortage(&error) == Some(Shortage::System) {
                return Err(error);
            }
            tracing::warn!(
                task.id = %facts.record.task.id, attempt = facts.record.attempt, error = %error.chain(),
                "an attempt could not be put into the history"
            );
            let text = format!("what the attempt left is not kept in the history: {}", error.chain());
            observer.notice(Notice::Warning(text));
            return Ok(());
        }
        for tidied in [self.tidy_control(facts).await, self.prune_history().await] {
            if let Err(error) = tidied {
                tracing::warn!(
                    task.id = %facts.record.task.id, error = %error.chain(),
                    "what is kept twice or too long could not be removed"
                );
            }
        }
        Ok(())
    }

    async fn try_keep(&self, facts: &Facts, ended: Ended<'_>) -> Result<(), EngineError> {
        let task = &facts.record.task;
        let attempts = self.store.attempts(&task.id).await?;
        let Some(attempt) = attempts.into_iter().find(|one| one.number == facts.record.attempt) else {
            return Ok(());
        };
        let key = Key {
            project: task.project.clone(),
            issue: task.issue.clone(),
            task: task.id.clone(),
            attempt: attempt.number,
        };
        let history = self.history.clone();
        if history.has(&key) {
            blocking(move || Ok(history.ensure_noted(&key)?)).await?;
        } else {
            let outcome = self.write_attempt(facts, &attempt, ended).await?;
            reach(Point::HistoryWritten).await;
            if let Outcome::Written(draft) = outcome {
                blocking(move || Ok(history.place(draft)?)).await?;
            }
            reach(Point::HistoryPlaced).await;
        }
        Ok(())
    }

    async fn write_attempt(
        &self,
        facts: &Facts,
        attempt: &Attempt,
        ended: Ended<'_>,
    ) -> Result<Outcome, EngineError> {
        let heard = self.hear(facts, attempt).await?;
        let before = self.head_before(facts).await?;
        let mask = Scrub(Scrubber::new(match self.forbidden(facts) {
            Ok(values) => values,
            // A CLI that is no longer in the catalog: its keys are not known any more.
            Err(_) => (self.settings.forge_secrets)(),
        }));
        let about = self.about(facts, attempt, &heard, &ended, before.clone(), &mask);
        let last_counted = heard.report(facts).map_or(attempt.number, |report| report.attempt);
        let repo = self.repo(&facts.issue.project, &facts.record.task.plan.repo)?;
        let base = facts.issue.base_sha.clone();
        let after = ended.head.map(str::to_owned);
        let claimed = match &facts.record.state {
            TaskState::Importing { outcome } => outcome.head.clone(),
            _ => None,
        };
        let manifest = self.bare_manifest(facts);
        let (history, control) = (self.history.clone(), ControlFiles::new(self.paths(&facts.record).control));
        blocking(move || {
            let patch = |from: &str, to: Option<&str>| match to {
                None => Content::Nothing,
                Some(to) if to == from => Content::Nothing,
                Some(to) => match repo.diff_patch(from, to) {
                    Ok(patch) => Content::Bytes(patch),
                    Err(error) => Content::Missing(error.chain()),
                },
            };
            let stood = before.as_deref().unwrap_or(&base);
            Ok(history.write(Material {
                about,
                control: &control,
                last_counted,
                manifest,
                before: patch(&base, before.as_deref()),
                after: match (&after, claimed) {
                    (None, Some(head)) if head != stood && head != base => {
                        Content::Missing(format!("the commit {head} that the agent named was not taken"))
                    }
                    _ => patch(stood, after.as_deref()),
                },
                mask: &mask,
            })?)
        })
        .await
    }

    /// The manifest in force. The project's variables are in it: their names are kept, their values are not.
    fn bare_manifest(&self, facts: &Facts) -> Content {
        let plan = &facts.record.task.plan;
        let mut manifest = match self.settings.catalog.manifest_for(plan) {
            Ok(manifest) => manifest,
            Err(error) => return Content::Missing(error.to_string()),
        };
        for name in plan.env.keys() {
            if let Some(value) = manifest.env.get_mut(name) {
                *value = "[value left out]".to_owned();
            }
        }
        match to_yaml(&manifest) {
            Ok(text) => Content::Bytes(text.into_bytes()),
            Err(problems) => Content::Missing(problems.to_string()),
        }
    }

    /// Where the branch stood before this attempt: where the one before left it, or the task before. Of rows alone, because
    /// the branch itself may have moved already.
    async fn head_before(&self, facts: &Facts) -> Result<Option<String>, EngineError> {
        let moves = self.store.moves(&facts.record.task.id).await?;
        match moves.into_iter().rev().find_map(|one| one.detail.head) {
            Some(head) => Ok(Some(head)),
            None => self.earlier_head(facts).await,
        }
    }

    /// Asks the runtime and reads the report. What cannot be learnt stays unknown.
    async fn hear(&self, facts: &Facts, attempt: &Attempt) -> Result<Heard, EngineError> {
        let mut heard = Heard::default();
        if let Some(id) = attempt.container.as_ref().map(ContainerId::new) {
            if matches!(facts.record.state, TaskState::Importing { .. }) {
                let waited = tokio::time::timeout(LAST_WORDS, self.runtime.wait(&id)).await;
                if let Ok(Ok(ContainerExit::Exited(exit))) = waited {
                    heard.exit = Some(exit);
                }
            }
            if let Ok(Some(found)) = self.runtime.facts(&id).await {
                heard.image = Some(found.image).filter(|image| !image.is_empty());
                if let ContainerState::Exited(exit) = found.state {
                    heard.exit.get_or_insert(exit);
                }
            }
            if let Some(image) = &heard.image
                && let Ok(Some(image)) = self.runtime.image(image).await
            {
                heard.digest = Some(image.id.as_str().to_owned());
            }
        }
        let path = ControlDir::new(self.paths(&facts.record).control).reporting();
        let read = blocking(move || {
            let text = read_control(&path)?.ok();
            Ok(text.and_then(|text| parse_reporting("reporting.yaml", &text).ok()))
        });
        heard.reporting = read.await?;
        Ok(heard)
    }

    fn about(
        &self,
        facts: &Facts,
        attempt: &Attempt,
        heard: &Heard,
        ended: &Ended<'_>,
        before: Option<String>,
        mask: &Scrub,
    ) -> AttemptFile {
        let (task, now) = (&facts.record.task, self.clock.now());
        let clean = |text: &str| mask.clean(text).into_owned();
        let report = heard.report(facts);
        let agent = heard.reporting.as_ref().map(|reporting| &reporting.agent);
        let agent = agent.filter(|_| report.is_some());
        let manifest = self.settings.catalog.manifest_for(&task.plan).ok();
        let manifest_env = manifest.iter().flat_map(|manifest| manifest.env.keys());
        let env: BTreeSet<String> = task.plan.env.keys().chain(manifest_env).cloned().collect();
        let credentials = manifest.iter().flat_map(|manifest| &manifest.credentials);
        let given = credentials.chain(&task.plan.secrets);
        let secrets: BTreeSet<String> =
            given.filter(|name| (self.settings.environment)(name).is_some()).cloned().collect();
        let model = report.and_then(|report| report.model.clone()).or_else(|| task.plan.model.clone());
        AttemptFile {
            version: AttemptFile::VERSION,
            project: task.project.clone(),
            issue: task.issue.clone(),
            task: task.id.clone(),
            attempt: attempt.number,
            title: clean(&task.title),
            mode: task.mode,
            requested_by: task.requested_by.clone(),
            started_at: Some(attempt.started_at),
            finished_at: attempt.finished_at.unwrap_or(now),
            kept_at: now,
            ending: Ending {
                status: ended.status.clone().into_owned(),
                failure: ended
                    .failure
                    .map(|failure| Failure { message: clean(&failure.message), ..failure.clone() }),
                stopped: facts.record.stop_reason.map(|reason| reason.message().to_owned()),
            },
            exit: ExitFacts {
                container: heard.exit.as_ref().and_then(|exit| exit.code),
                oom_killed: heard.exit.as_ref().is_some_and(|exit| exit.oom_killed),
                cli: report.and_then(|report| report.exit).map(|exit: ExitReport| exit),
            },
            cli: CliFacts {
                name: task.plan.cli.clone(),
                version: agent.and_then(|agent| agent.cli_version.as_deref()).map(clean),
                model: model.as_deref().map(clean),
                agent: agent.map(|agent| clean(&agent.version)),
                runtime: task.plan.runtime,
                image: heard.image.clone(),
                image_digest: heard.digest.clone(),
                container: attempt.container.clone(),
                session: report.and_then(|report| report.session_id.as_deref()).map(clean),
                conversation: report.map(|report| report.conversation).unwrap_or_default(),
            },
            usage: report.map_or_else(|| facts.record.usage.clone(), |report| report.usage.clone()),
            verify: report.map(|report| rounds(report, mask)).unwrap_or_default(),
            commits: CommitFacts {
                branch: facts.issue.branch.clone(),
                base: facts.issue.base_sha.clone(),
                before,
                after: ended.head.map(str::to_owned),
            },
            env: env.into_iter().collect(),
            secrets: secrets.into_iter().collect(),
            files: Vec::new(),
            missing: Vec::new(),
        }
    }

    /// The raw logs of earlier attempts are in the history: the control directory does not grow with the number of tasks.
    async fn tidy_control(&self, facts: &Facts) -> Result<(), EngineError> {
        let asked = &facts.record.task;
        let (project, issue, task) = (asked.project.clone(), asked.issue.clone(), asked.id.clone());
        let (history, attempt) = (self.history.clone(), facts.record.attempt);
        let control = ControlFiles::new(self.paths(&facts.record).control);
        blocking(move || {
            let is_kept = |of: &str, number: u32| {
                of.parse().is_ok_and(|task| {
                    let (project, issue) = (project.clone(), issue.clone());
                    history.has(&Key { project, issue, task, attempt: number })
                })
            };
            let path = history.root().to_owned();
            control
                .forget_logs((&task, attempt), is_kept)
                .map_err(|source| EngineError::Io { path, source })?;
            Ok(())
        })
        .await
    }

    /// Makes the workspace's event log short again before a task begins, while no agent writes it and nobody follows it.
    /// What could not be done is told and harms nobody: the log is a little longer.
    pub(crate) async fn shorten_events(&self, id: &TaskId) {
        let shorten = async {
            let Some(record) = self.store.task(id).await? else { return Ok(0) };
            if record.state != TaskState::Queued {
                return Ok(0);
            }
            let (project, issue) = (record.task.project.clone(), record.task.issue.clone());
            let path = self.paths(&record).control;
            let (history, control) = (self.history.clone(), ControlFiles::new(path.clone()));
            blocking(move || {
                if !path.is_dir() {
                    return Ok(0);
                }
                let is_kept = |task: &TaskId, attempt: u32| {
                    let (project, issue, task) = (project.clone(), issue.clone(), task.clone());
                    history.has(&Key { project, issue, task, attempt })
                };
                let shortened = control.shorten_events(MOST_EVENTS, KEPT_EVENTS, is_kept);
                shortened.map_err(|source| EngineError::Io { path, source })
            })
            .await
        };
        match shorten.await {
            Ok(0) => {}
            Ok(bytes) => {
                tracing::info!(task.id = %id, bytes, "older lines of the event log were left to the history")
            }
            Err(error) => {
                tracing::warn!(task.id = %id, error = %error.chain(), "the event log could not be shortened");
            }
        }
    }

    /// Drops what is over the caps of the history.
    pub async fn prune_history(&self) -> Result<(), EngineError> {
        let (history, now) = (self.history.clone(), self.clock.now());
        let asked = history.clone();
        if !blocking(move || Ok(asked.is_over(now)?)).await? {
            return Ok(());
        }
        let open: BTreeSet<(ProjectName, IssueKey)> = self
            .store
            .open_tasks()
            .await?
            .into_iter()
            .map(|one| (one.task.project, one.task.issue))
            .collect();
        let is_open =
            move |project: &ProjectName, issue: &IssueKey| open.contains(&(project.clone(), issue.clone()));
        let pruned = blocking(move || Ok(history.prune(now, &is_open)?)).await?;
        if pruned.attempts > 0 {
            tracing::info!(
                attempts = pruned.attempts,
                bytes = pruned.bytes,
                left = pruned.left,
                "attempts were dropped from the history"
            );
        }
        Ok(())
    }
}

impl Heard {
    /// What the agent says of the attempt.
    fn report(&self, facts: &Facts) -> Option<&TaskReport> {
        let report = self.reporting.as_ref()?.tasks.get(&facts.record.task.id)?;
        Some(report).filter(|report| report.attempt >= facts.record.attempt)
    }
}

fn rounds(report: &TaskReport, mask: &Scrub) -> Vec<VerifyRound> {
    let round = |run: &cloud_code_task_schema::VerifyReport| VerifyRound {
        round: run.round,
        command: mask.clean(&run.command).into_owned(),
        exit_code: run.exit_code,
        duration: run.duration,
    };
    report.verify.iter().map(round).collect()
}

/// Looks from time to time for what is too old. Attempts that end do the same, so an installation that is busy does not
/// wait for it.
pub(crate) async fn prune_now_and_then(inner: Arc<Inner>, stop: CancellationToken) {
    loop {
        if let Err(error) = inner.engines.docker.prune_history().await {
            tracing::warn!(error = %error.chain(), "the history cannot be pruned");
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PRUNE_EVERY) => {}
        }
    }
}

/// What an engine keeps unless told otherwise.
pub(crate) fn default_history(layout: &cloud_code_workspace::Layout) -> History {
    let caps = cloud_code_history::Caps::of(&cloud_code_model::HistorySettings::default());
    History::new(layout.history(), caps)
}
