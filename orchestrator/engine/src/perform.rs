//! Does one step. Every step may be done again: after a crash the same facts lead to the same step.

use std::path::PathBuf;

use cloud_code_fault_points::{Point, reach};
use cloud_code_model::{Attempt, Gate, Next, OutcomeStatus, StopReason, TaskEvent, TaskRecord, TaskState};
use cloud_code_runtime::{ContainerId, RuntimeError};
use cloud_code_task_schema::{ControlDir, to_yaml, write_atomic};

use crate::again;
use crate::budget;
use crate::container::container_spec;
use crate::decide::Step;
use crate::facts::{Facts, ReportFact, WorkspaceFact};
use crate::fall_back::fall_back;
use crate::follow_up::heard;
use crate::gather::read_tasking;
use crate::keep::Ended;
use crate::observe::{Notice, Observer};
use crate::open::Uncommitted;
use crate::tasking::next_tasking;
use crate::{Engine, EngineError, blocking, prompts, seen};

/// How long the agent has after TERM to commit and write its last report before the runtime kills it.
pub(crate) const STOP_GRACE: std::time::Duration = std::time::Duration::from_secs(20);

impl Engine {
    pub(crate) async fn perform(
        &self,
        facts: &Facts,
        step: &Step,
        observer: &mut dyn Observer,
    ) -> Result<(), EngineError> {
        match step {
            Step::Take => {
                self.renew_base(facts).await?;
                self.advance(facts, TaskEvent::Taken, observer).await
            }
            Step::Withdraw => self.withdraw(facts, observer).await,
            Step::PrepareWorkspace => {
                self.prepare_workspace(facts).await?;
                reach(Point::WorkspacePrepared).await;
                Ok(())
            }
            Step::WriteTasking => self.write_tasking(facts).await,
            Step::CreateContainer => self.create_container(facts).await,
            Step::StartContainer { id } => {
                let (id, secrets) = (ContainerId::new(id), self.secrets(facts)?);
                match seen::start(facts, self.runtime.start(&id, &secrets)).await {
                    // A driver that was killed had its hands on this container's stdin: a fresh one takes its place.
                    Err(RuntimeError::StdinSpent { .. }) => Ok(self.runtime.remove(&id).await?),
                    started => {
                        started?;
                        reach(Point::ContainerStarted).await;
                        Ok(())
                    }
                }
            }
            Step::RecordStarted { id } => {
                let event = TaskEvent::Started { container: id.clone(), at: self.clock.now() };
                self.advance(facts, event, observer).await
            }
            Step::StopContainer { id, reason } => {
                observer.notice(Notice::Warning(format!("{}, its container is stopped", reason.message())));
                // Noted first: the next look finds a container that ended, and must know who ended it.
                self.store.record_stop(&facts.record.task.id, *reason).await?;
                Ok(self.runtime.stop(&ContainerId::new(id), STOP_GRACE).await?)
            }
            Step::RecordEnded { outcome } => {
                self.keep_report(facts).await?;
                reach(Point::ReportKept).await;
                let event = TaskEvent::Ended { outcome: outcome.clone() };
                self.advance(facts, event, observer).await
            }
            Step::Import => self.import(facts, observer).await,
            Step::Publish => self.publish(facts, observer).await,
            Step::RemoveContainer { id } => {
                self.runtime.remove(&ContainerId::new(id)).await?;
                reach(Point::ContainerRemoved).await;
                Ok(())
            }
            Step::Wake => self.advance(facts, TaskEvent::Woken, observer).await,
            Step::CutBudget => {
                let why = budget::cut(&facts.budget, self.clock.now()).failure.message;
                observer.notice(Notice::Warning(format!(
                    "{why}; the agent is told to stop, and its work is kept"
                )));
                Ok(self.store.record_stop(&facts.record.task.id, StopReason::Budget).await?)
            }
            Step::Wait | Step::Rest | Step::AwaitBudget | Step::AwaitApproval | Step::Finished => Ok(()),
        }
    }

    pub(crate) async fn advance(
        &self,
        facts: &Facts,
        event: TaskEvent,
        observer: &mut dyn Observer,
    ) -> Result<(), EngineError> {
        let point = point_after(&event);
        let record = self.store.transition(&facts.record, event, self.clock.now()).await?;
        if let Some(point) = point {
            reach(point).await;
        }
        seen::moved(&facts.record, &record);
        observer.notice(Notice::State(&record));
        Ok(())
    }

    async fn withdraw(&self, facts: &Facts, observer: &mut dyn Observer) -> Result<(), EngineError> {
        // One that was begun ends with its task, which nobody looks at afterwards.
        let (id, cancelled) = (&facts.record.task.id, crate::words(&OutcomeStatus::Cancelled));
        self.store.finish_attempt(id, facts.record.attempt, self.clock.now(), &cancelled).await?;
        self.advance(facts, TaskEvent::Withdrawn, observer).await
    }

    /// Work that waited for other work begins from what that has left in the base, not from the base of when it was asked for.
    async fn renew_base(&self, facts: &Facts) -> Result<(), EngineError> {
        let (issue, asked) = (&facts.issue, &facts.record.task);
        let is_begun = facts.workspace == WorkspaceFact::Ready || issue.settings_sha.is_some();
        if asked.queue.depends_on.is_empty() || is_begun {
            return Ok(());
        }
        let repo = self.repo(&asked.project, &asked.plan.repo)?;
        let base = Some(issue.base.clone());
        let (_, tip) = match &asked.plan.publish.github {
            Some(repository) => self.fetch_from_forge(&repo, repository, base).await?,
            None => {
                blocking(move || repo.fetch(&repo.inspect(base.as_ref(), Uncommitted::LeaveOut)?)).await?
            }
        };
        if tip != issue.base_sha {
            self.store.move_base(&issue.project, &issue.key, &tip, None).await?;
        }
        Ok(())
    }

    async fn prepare_workspace(&self, facts: &Facts) -> Result<(), EngineError> {
        let workspaces = self.workspaces(facts)?;
        let control = ControlDir::new(workspaces.paths().control.clone());
        blocking(move || {
            workspaces.prepare()?;
            make_dir(control.path())?;
            make_dir(&control.logs())
        })
        .await
    }

    async fn write_tasking(&self, facts: &Facts) -> Result<(), EngineError> {
        let asked = &facts.record.task;
        let mut records = self.store.tasks_of(&asked.project, &asked.issue).await?;
        if let Some(last) = records.pop() {
            records.push(self.raised(last).await?);
        }
        let manifest = self.settings.catalog.manifest_for(&asked.plan)?;
        let control = ControlDir::new(self.paths(&facts.record).control);
        let (issue, now) = (facts.issue.clone(), self.clock.now());
        // Before the agent starts, and not under its hands.
        let prompts = match facts.record.state {
            TaskState::Preparing => Some(asked.plan.prompts.clone()),
            _ => None,
        };
        let repo = self.repo(&asked.project, &asked.plan.repo)?;
        let (beside, known) = (control.clone(), issue.clone());
        blocking(move || {
            if let Some(folder) = prompts {
                let own =
                    folder.map(|folder| prompts::read(&folder, &repo, known.trusted_sha())).transpose()?;
                prompts::write(&beside, &own.unwrap_or_default())?;
            }
            // The manifest first: the agent reads it when it starts, and the tasking tells it to start working.
            let manifest = to_yaml(&manifest).map_err(EngineError::Document)?;
            put(beside.path().join(MANIFEST_FILE), manifest.as_bytes())
        })
        .await?;
        reach(Point::ManifestWritten).await;
        blocking(move || {
            let path = control.tasking();
            let standing = read_tasking(&path)?;
            // After a damaged file the count goes on from what the agent has seen.
            let heard = heard(&control)?;
            match next_tasking(&issue, &records, standing.as_ref(), heard.generation, &heard.ended(), now) {
                Some(next) => put(path, to_yaml(&next).map_err(EngineError::Document)?.as_bytes()),
                None => Ok(()),
            }
        })
        .await?;
        reach(Point::TaskingWritten).await;
        Ok(())
    }

    async fn create_container(&self, facts: &Facts) -> Result<(), EngineError> {
        let task = &facts.record.task.id;
        let attempt = Attempt {
            task: task.clone(),
            number: facts.record.attempt,
            container: None,
            started_at: self.clock.now(),
            finished_at: None,
            result: None,
        };
        self.store.begin_attempt(&attempt).await?;
        reach(Point::AttemptBegun).await;
        let workspaces = self.workspaces(facts)?;
        let prepared = blocking(move || workspaces.prepare()).await?;
        let spec = container_spec(&self.settings, facts, &prepared)?;
        let id = self.runtime.create(&spec).await?;
        reach(Point::ContainerCreated).await;
        self.store.attempt_container(task, facts.record.attempt, id.as_str()).await?;
        reach(Point::ContainerNoted).await;
        Ok(())
    }

    /// Keeps the last figures and words of the agent, whatever comes after.
    async fn keep_report(&self, facts: &Facts) -> Result<(), EngineError> {
        self.charge_all(facts).await?;
        let ReportFact::Task { report, .. } = &facts.report else { return Ok(()) };
        let (id, usage) = (&facts.record.task.id, budget::priced(&facts.record, &facts.report));
        self.store.record_report(id, &usage, report.summary.as_deref(), &report.questions).await?;
        seen::used(&facts.record, &usage);
        Ok(())
    }

    async fn import(&self, facts: &Facts, observer: &mut dyn Observer) -> Result<(), EngineError> {
        let TaskState::Importing { outcome } = &facts.record.state else { return Ok(()) };
        let result = match &outcome.failure {
            Some(failure) => failure.kind.to_string(),
            None => crate::words(&outcome.status),
        };
        let id = &facts.record.task.id;
        self.store.finish_attempt(id, facts.record.attempt, self.clock.now(), &result).await?;
        reach(Point::AttemptFinished).await;
        let head = match &outcome.head {
            Some(head) => {
                let (workspaces, head) = (self.workspaces(facts)?, head.clone());
                let policy = facts.record.task.plan.import.clone();
                let earlier = self.earlier_head(facts).await?;
                let forbidden = self.forbidden(facts)?;
                blocking(move || workspaces.import(&head, earlier.as_deref(), &policy, &forbidden)).await
            }
            None => Ok(None),
        };
        let head = match head.map_err(|error| error.or_shortage(self.settings.layout.home())) {
            Ok(head) => head,
            // They are taken when there is room for them.
            Err(error) if error.is_of_the_machine() => return Err(error),
            // The agent's own failure is the one to tell; that its leftovers are refused as well comes second.
            Err(error) if outcome.failure.is_some() => {
                observer.notice(Notice::Warning(format!("the work was not taken: {}", error.chain())));
                None
            }
            Err(error) => return Err(error),
        };
        reach(Point::WorkTaken).await;
        let ended = Ended {
            status: crate::words(&outcome.status).into(),
            failure: outcome.failure.as_ref(),
            head: head.as_deref(),
        };
        self.keep_attempt(facts, ended, observer).await?;
        let gate = match facts.record.task.plan.publish.approval {
            true => Gate::Approval,
            false => Gate::Open,
        };
        let next = match (&outcome.failure, outcome.status) {
            (Some(failure), OutcomeStatus::Failed) => again::next(facts, failure, self.clock.now()),
            _ => Next::End,
        };
        if let (Some(failure), Next::End, None) = (&outcome.failure, next, facts.record.cancel_requested_at)
            && let Some(cli) = fall_back(&facts.record, failure)
        {
            observer.notice(Notice::Warning(format!("{}; {cli} takes over", failure.message)));
            self.ask_for_fall_back(&facts.record, cli).await?;
        }
        self.advance(facts, TaskEvent::Imported { head, gate, next }, observer).await
    }

    /// Where an earlier task of the issue left the branch, or an earlier attempt at this one.
    pub(crate) async fn earlier_head(&self, facts: &Facts) -> Result<Option<String>, EngineError> {
        let asked = &facts.record.task;
        if facts.record.attempt > 1 {
            let workspaces = self.workspaces(facts)?;
            if let Some(head) = blocking(move || workspaces.imported()).await? {
                return Ok(Some(head));
            }
        }
        let tasks = self.store.tasks_of(&asked.project, &asked.issue).await?;
        let earlier: Vec<_> = tasks.into_iter().take_while(|t| t.task.id != asked.id).collect();
        for task in earlier.iter().rev() {
            if let Some(head) = task.state.head() {
                return Ok(Some(head.to_owned()));
            }
            // An attempt that left nothing, or a step of the host that failed, ends a task whose earlier attempt moved the
            // branch: the row does not say so any more, its moves do.
            let moves = self.store.moves(&task.task.id).await?;
            if let Some(head) = moves.into_iter().rev().find_map(|one| one.detail.head) {
                return Ok(Some(head));
            }
        }
        Ok(None)
    }

    /// Where an earlier task of the issue left the branch in the user's repository. Work of a task that ended otherwise
    /// stays in the mirror.
    async fn delivered_head(&self, facts: &Facts) -> Result<Option<String>, EngineError> {
        let asked = &facts.record.task;
        let tasks = self.store.tasks_of(&asked.project, &asked.issue).await?;
        let earlier: Vec<_> = tasks.into_iter().take_while(|t| t.task.id != asked.id).collect();
        Ok(delivered_head(&earlier).map(str::to_owned))
    }

    async fn publish(&self, facts: &Facts, observer: &mut dyn Observer) -> Result<(), EngineError> {
        let TaskState::Publishing { head, .. } = &facts.record.state else { return Ok(()) };
        if let Some(repository) = facts.record.task.plan.publish.github.clone() {
            return self.publish_to_forge(facts, &repository, observer).await;
        }
        let (workspaces, head) = (self.workspaces(facts)?, head.clone());
        let earlier = self.delivered_head(facts).await?;
        self.may_write().await?;
        let delivered = blocking(move || workspaces.deliver(&head, earlier.as_deref())).await?;
        if let Some(repository) = delivered {
            observer.notice(Notice::Delivered { repository });
        }
        self.advance(facts, TaskEvent::Published, observer).await
    }
}

/// The moment after an event was stored.
const fn point_after(event: &TaskEvent) -> Option<Point> {
    match event {
        TaskEvent::Taken => Some(Point::TaskTaken),
        TaskEvent::Started { .. } => Some(Point::TaskStarted),
        TaskEvent::Ended { .. } => Some(Point::TaskEnded),
        TaskEvent::Imported { .. } => Some(Point::TaskImported),
        TaskEvent::Woken | TaskEvent::Granted => Some(Point::TaskWoken),
        TaskEvent::Published => Some(Point::TaskPublished),
        TaskEvent::Approved | TaskEvent::Declined | TaskEvent::Retried | TaskEvent::Rebased { .. } => None,
        TaskEvent::HostFailed { .. } | TaskEvent::Withdrawn | TaskEvent::Moved { .. } => None,
    }
}

/// Where these tasks left the branch in the user's repository.
pub(crate) fn delivered_head(records: &[TaskRecord]) -> Option<&str> {
    records.iter().rev().find_map(|record| match &record.state {
        TaskState::Done { head } => head.as_deref(),
        _ => None,
    })
}

/// The manifest in force, beside the two YAML files.
pub(crate) const MANIFEST_FILE: &str = "cli.yaml";

/// Mode of the control directory: nobody but its owner, because logs may hold what a task saw.
const CONTROL_MODE: u32 = 0o700;

pub(crate) fn make_dir(path: &std::path::Path) -> Result<(), EngineError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(CONTROL_MODE).create(path);
    made.map_err(|source| EngineError::Io { path: path.to_owned(), source })
}

fn put(path: PathBuf, content: &[u8]) -> Result<(), EngineError> {
    write_atomic(&path, content).map_err(|source| EngineError::Io { path, source })
}
