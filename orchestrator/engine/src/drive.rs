//! Step after step until the task has ended, asleep on real signals in between.

use std::time::Duration;

use cloud_code_model::{TaskEvent, TaskRecord, TaskState};
use cloud_code_runtime::ContainerId;
use cloud_code_store::StoreError;
use cloud_code_task_schema::{ControlDir, Failure, FailureKind, TaskId};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::budget::Meter;
use crate::clocks::Clocks;
use crate::decide::{LOOK_AGAIN, Step, decide};
use crate::driver_lock::DriverLock;
use crate::facts::Facts;
use crate::follow::Follower;
use crate::gather::LastRead;
use crate::keep::Ended;
use crate::observe::{Notice, Observer};
use crate::watch::{Watch, Watches};
use crate::{Engine, EngineError, seen};

/// How often a changing control directory makes the driver look: an agent writes several files a second while its CLI
/// talks, and one look covers them all. Higher delays the end of a task by as much.
const SETTLE: Duration = Duration::from_millis(15);
/// Room for wake-ups nobody has taken yet. One is enough: they all mean "look again".
const WAKE_ROOM: usize = 1;

impl Engine {
    /// Drives a task to its end, or until it waits for a person's yes or for the time of its next attempt, and returns its
    /// row.
    ///
    /// Only one process drives a task at a time: a second caller gets [`EngineError::Driven`]. `nudge` makes a sleeping
    /// driver look again, for instance after a cancel request. An error leaves the task where it was, to be driven on.
    pub async fn drive(
        &self,
        id: &TaskId,
        observer: &mut dyn Observer,
        nudge: &Notify,
    ) -> Result<TaskRecord, EngineError> {
        let lock = DriverLock::take(&self.settings.layout, id)?;
        self.shorten_events(id).await;
        let (mut session, mut read) = (None, LastRead::default());
        loop {
            let mut facts = self.gather(id, &mut read).await?;
            let control = ControlDir::new(self.paths(&facts.record).control);
            let session = session.get_or_insert_with(|| Session::new(&control, id));
            session.watch(self.watches.as_ref(), &control);
            facts.elapsed = session.clocks.look(&facts, Instant::now());
            facts.budget = session.meter.look(self, &facts).await?;
            session.follower.pump(&facts, observer);
            let step = decide(&facts);
            tracing::debug!(task.id = %id, step = step.name(), "next step");
            // An agent that ends at once is never waited for.
            if matches!(step, Step::Wait | Step::RecordEnded { .. })
                && !std::mem::replace(&mut session.is_settled, true)
            {
                self.settle(&facts);
            }
            match step {
                Step::Finished => {
                    self.tidy(&facts.record).await;
                    lock.spend();
                    return Ok(facts.record);
                }
                Step::AwaitApproval | Step::AwaitBudget | Step::Rest => return Ok(facts.record),
                Step::Wait => self.sleep(&facts, session, nudge).await,
                step => {
                    // A workspace may be made anew for the next attempt.
                    session.is_settled &= step != Step::PrepareWorkspace;
                    observer.notice(Notice::Step(&step));
                    self.perform_or_fail(&facts, step, observer).await?;
                }
            }
        }
    }

    /// What a killed agent or driver of this task left half written. Leaving it is no failure of the task: it is looked for
    /// again.
    async fn tidy(&self, record: &TaskRecord) {
        let (project, issue) = (&record.task.project, &record.task.issue);
        let newest =
            self.store.tasks_of(project, issue).await.ok().and_then(|tasks| tasks.into_iter().last());
        if newest.is_some_and(|newest| newest.task.id == record.task.id) {
            drop(self.sweep_workspace(project, issue).await);
        }
    }

    /// Performs a step; an error that concerns only this task ends the task, with the error as its failure.
    async fn perform_or_fail(
        &self,
        facts: &Facts,
        step: Step,
        observer: &mut dyn Observer,
    ) -> Result<(), EngineError> {
        let began = self.clock.now();
        let performed = self.perform(facts, &step, observer).await;
        seen::step(facts, step.name(), began, self.clock.now(), performed.as_ref().err());
        let error = match performed {
            Ok(()) => return Ok(()),
            // Somebody else moved the task or its container in between: look again.
            Err(EngineError::Store(StoreError::Stale { .. })) => return Ok(()),
            Err(error) => error.or_shortage(self.settings.layout.home()),
        };
        // The agent has done its part: only a verdict on the work may end the task. A busy repository is mended, and the
        // task resumed.
        let work_exists =
            matches!(facts.record.state, TaskState::Importing { .. } | TaskState::Publishing { .. });
        let is_verdict = matches!(error.failure_kind(), FailureKind::Rejected | FailureKind::PublishRefused);
        // Keys that this shell lacks are set in another one: the task waits for that.
        let is_keyless =
            matches!(error, EngineError::NoCredentials { .. } | EngineError::SecretNotSet { .. });
        // So does a task that found no room or no Docker: it is nobody's verdict on it, and they come back.
        // And one that has not begun: nothing is there yet that could be at fault.
        let is_untouched = step == Step::Take;
        // What became of the task is decided already where its container is only cleared away.
        let is_tidying = matches!(step, Step::RemoveContainer { .. });
        let waits = is_keyless || is_untouched || is_tidying || error.is_of_the_machine();
        if facts.record.state.status().is_terminal() || waits || (work_exists && !is_verdict) {
            return Err(error);
        }
        tracing::warn!(task.id = %facts.record.task.id, step = step.name(), error = %error.chain(), "a step failed");
        let failure = Failure::new(error.failure_kind(), error.for_record());
        let ended = Ended { status: "host_failed".into(), failure: Some(&failure), head: None };
        self.keep_attempt(facts, ended, observer).await?;
        let at = self.clock.now();
        // Before the task ends: nobody looks at it afterwards.
        let id = &facts.record.task.id;
        let kind = failure.kind.to_string();
        self.store.finish_attempt(id, facts.record.attempt, at, &kind).await?;
        let moved = self.store.transition(&facts.record, TaskEvent::HostFailed { failure }, at).await;
        match moved {
            Ok(record) => {
                seen::moved(&facts.record, &record);
                observer.notice(Notice::State(&record));
                Ok(())
            }
            Err(StoreError::Stale { .. }) => Ok(()),
            // The store cannot even note the failure: the first error is the one a person needs.
            Err(_) => Err(error),
        }
    }

    async fn sleep(&self, facts: &Facts, session: &mut Session, nudge: &Notify) {
        let exited = async {
            match &facts.container {
                Some(container) => {
                    let waited = self.runtime.wait(&ContainerId::new(&container.id)).await;
                    if let Err(error) = waited {
                        tracing::debug!(error = %error, "cannot wait for the container");
                        std::future::pending::<()>().await;
                    }
                }
                None => std::future::pending::<()>().await,
            }
        };
        // In this order, so that the same events lead to the same looks.
        tokio::select! {
            biased;
            () = nudge.notified() => {}
            () = exited => {}
            () = session.changed() => tokio::time::sleep(SETTLE).await,
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

/// What a driver keeps between looks. All of it is a convenience: a fresh one sees the same facts, and counts time anew.
struct Session {
    follower: Follower,
    clocks: Clocks,
    meter: Meter,
    watch: Option<(mpsc::Receiver<()>, Watch)>,
    /// Whether the disk was asked to take the workspace: once its agent has begun, so that it need not wait.
    is_settled: bool,
}

impl Session {
    fn new(control: &ControlDir, id: &TaskId) -> Self {
        Self {
            follower: Follower::new(control.clone(), id.clone()),
            clocks: Clocks::default(),
            meter: Meter::default(),
            watch: None,
            is_settled: false,
        }
    }

    /// Watches the folder as soon as it is there; it is made in the middle of a task's life.
    fn watch(&mut self, watches: &dyn Watches, control: &ControlDir) {
        if self.watch.is_some() || !control.path().is_dir() {
            return;
        }
        let (sender, changes) = mpsc::channel(WAKE_ROOM);
        match watches.watch(control.path(), sender) {
            Ok(watch) => self.watch = Some((changes, watch)),
            // For instance for lack of inotify instances: the look once a second has to do, and tries again.
            Err(error) => tracing::debug!(error = %error, "cannot watch the control directory"),
        }
    }

    /// Resolves when something changed in the folder; never without a watch.
    async fn changed(&mut self) {
        match &mut self.watch {
            Some((changes, _)) => match changes.recv().await {
                Some(()) => {}
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }
}
