//! The loop: what is wanted, what is so, one next step.
//!
//! Watch, poll, signals, the end of a child and the end of a task all mean only "look again"; the loop then compares
//! the desired state with the report and starts, cancels or waits. One task runs at a time, as a future of this very
//! loop: no second thread, and no task of the runtime that could outlive its owner.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;

use cloud_code_task_schema::{
    AgentInfo, AgentStatus, Assignment, ControlDir, EventKind, PROTOCOL_VERSION, Reporting, Task, TaskId,
    TaskReport, TaskReportStatus,
};
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep_until;

use crate::desired::{Desired, Reading};
use crate::event_log::EventLog;
use crate::finish::cancel_unstarted;
use crate::identity::CliUser;
use crate::journal::{Journal, Subject};
use crate::options::{Lifetime, Options};
use crate::probe;
use crate::recovery::{bare_report, recover};
use crate::secrets::Secrets;
use crate::session;
use crate::shared::{Shared, StopRequest};
use crate::start::{Aim, Known, Start};
use crate::sweep::sweep;
use crate::watch::{Change, Watch};

type Work = Pin<Box<dyn Future<Output = ()>>>;
type Probe = Pin<Box<dyn Future<Output = Option<String>>>>;

/// Why the loop could not begin or go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AgentError {
    /// Signals cannot be received.
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] io::Error),
    /// The control directory cannot be used.
    #[error("cannot use {file}: {source}")]
    Control {
        /// Which file.
        file: String,
        /// Why not.
        source: io::Error,
    },
}

/// Runs until the work is done (`--once`) or a signal asks to stop.
pub(crate) async fn run(
    options: Options,
    manifest: cloud_code_task_schema::CliManifest,
    user: CliUser,
    secrets: Secrets,
) -> Result<(), AgentError> {
    let listen = |kind| signal(kind).map_err(AgentError::Signals);
    let mut child_ended = listen(SignalKind::child())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut hangup = listen(SignalKind::hangup())?;
    // Watched before the first read, so that no change falls between.
    let (mut watch, watch_trouble) = Watch::start(&options.control, options.poll);
    let mut agent = Agent::begin(options, manifest, user, secrets)?;
    if let Some(error) = watch_trouble {
        let poll = watch.poll().as_millis();
        let message =
            format!("the folder cannot be watched ({error}); tasking.yaml is polled every {poll} ms instead");
        agent.shared.journal().warn(None, message);
    }
    watch.mark_seen();
    agent.read_desired();
    loop {
        agent.advance();
        if agent.is_done() {
            break;
        }
        let next_tick = agent.shared.journal().next_tick();
        tokio::select! {
            // The running task first: a freshly started one executes the CLI before anything is written.
            biased;
            () = poll_optional(&mut agent.running) => agent.task_ended(),
            _ = child_ended.recv() => agent.shared.reaper.reap(),
            change = watch.changed() => {
                let mut journal = agent.shared.journal();
                journal.follow_path();
                if let Change::Missed { poll } = change {
                    let poll = poll.as_millis();
                    journal.warn(None, format!("the watch missed a change of tasking.yaml; it is polled every {poll} ms from now on"));
                }
                drop(journal);
                agent.read_desired();
            }
            _ = terminate.recv() => agent.stop(),
            _ = interrupt.recv() => agent.stop(),
            _ = hangup.recv() => agent.stop(),
            version = poll_optional(&mut agent.probe) => agent.note_version(version),
            () = sleep_until(next_tick) => agent.shared.journal().tick(),
        }
    }
    agent.end().await
}

/// Waits for a future that may not be there; then for ever.
async fn poll_optional<T>(future: &mut Option<Pin<Box<dyn Future<Output = T>>>>) -> T {
    match future {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}

/// Whether a task has ended, and no later attempt at it is wanted.
fn is_over(task: &Task, report: &TaskReport) -> bool {
    report.status.is_ended() && task.attempt <= report.attempt
}

struct Agent {
    shared: Rc<Shared>,
    desired: Desired,
    running: Option<Work>,
    current: Option<Subject>,
    probe: Option<Probe>,
    probes: u32,
    /// Left un-ended by an earlier agent: taking them up is a new attempt.
    interrupted: Vec<TaskId>,
    stopping: bool,
}

impl Agent {
    fn begin(
        options: Options,
        manifest: cloud_code_task_schema::CliManifest,
        user: CliUser,
        secrets: Secrets,
    ) -> Result<Self, AgentError> {
        let control = ControlDir::new(&options.control);
        let failed = |path: std::path::PathBuf| {
            move |source| AgentError::Control { file: path.display().to_string(), source }
        };
        let (log, found) = EventLog::open(&control.events()).map_err(failed(control.events()))?;
        let now = Timestamp::now();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let instance = crate::identity::new_id();
        let cli = manifest.name.clone();
        let agent = AgentInfo {
            version: version.clone(),
            instance: instance.clone(),
            cli: cli.clone(),
            cli_version: None,
            started_at: now,
        };
        let mut reporting = Reporting {
            version: PROTOCOL_VERSION,
            observed_generation: 0,
            updated_at: now,
            heartbeat_at: now,
            agent,
            status: AgentStatus::Idle,
            failure: None,
            tasks: std::collections::BTreeMap::new(),
        };
        let warnings = recover(&control, &found, &mut reporting).map_err(failed(control.reporting()))?;
        let begun = |status: TaskReportStatus| !status.is_ended() && status != TaskReportStatus::Received;
        let interrupted = reporting
            .tasks
            .iter()
            .filter(|(_, report)| begun(report.status))
            .map(|(id, _)| id.clone())
            .collect();
        let desired = Desired::new(control.tasking(), cli, reporting.observed_generation);
        let mut journal = Journal::new(control, log, reporting);
        journal.event(None, EventKind::AgentStarted { version, instance });
        for warning in warnings {
            journal.warn(None, warning);
        }
        if user.switch_to.is_none() && nix::unistd::geteuid().is_root() {
            journal.warn(None, "the CLI runs as root, because --user was not given");
        }
        // Scheduled, not written: the CLI comes first.
        journal.update_now(|_| {});
        let shared = Rc::new(Shared::new(options, manifest, user, secrets, journal));
        Ok(Self {
            shared,
            desired,
            running: None,
            current: None,
            probe: None,
            probes: 0,
            interrupted,
            stopping: false,
        })
    }

    fn read_desired(&mut self) {
        let reading = self.desired.read();
        let mut journal = self.shared.journal();
        match &reading {
            Reading::Missing => {}
            Reading::Accepted => {
                let generation = self.desired.generation();
                journal.update_now(|reporting| reporting.observed_generation = generation);
            }
            Reading::Backwards { found, seen } => {
                journal.warn(
                    None,
                    format!(
                        "tasking.yaml has generation {found}, but {seen} was seen already; it is ignored"
                    ),
                );
            }
            Reading::Refused => {
                let failure = self.desired.refused().cloned();
                let message = failure.map(|failure| failure.message).unwrap_or_default();
                journal.warn(None, format!("tasking.yaml is refused: {message}"));
            }
        }
        drop(journal);
        self.note_status();
        if let Some(current) = &self.current
            && self.desired.is_cancelled(&current.task)
        {
            self.shared.stop.ask(StopRequest::Cancel);
        }
    }

    /// Starts what should run now.
    fn advance(&mut self) {
        if self.running.is_none() && !self.stopping {
            self.cancel_waiting();
            if let Some(task) = self.next_task() {
                let start = self.prepare(task);
                self.current = Some(Subject { task: start.task.id.clone(), attempt: start.attempt });
                self.shared.stop.begin_task();
                self.running = Some(Box::pin(session::run(Rc::clone(&self.shared), start)));
                return;
            }
        }
        self.note_waiting();
        let asks = self.probe.is_none() && self.probes < probe::MAX_PROBES && !self.stopping;
        let unknown = self.shared.journal().reporting().agent.cli_version.is_none();
        if asks && unknown && !self.shared.manifest.version.is_empty() {
            self.probes += 1;
            self.probe = Some(Box::pin(probe::ask(Rc::clone(&self.shared))));
        }
    }

    fn next_task(&self) -> Option<Task> {
        let journal = self.shared.journal();
        let is_over =
            |task: &Task| journal.reporting().tasks.get(&task.id).is_some_and(|report| is_over(task, report));
        self.desired.tasks().iter().find(|task| !is_over(task)).cloned()
    }

    fn prepare(&mut self, task: Task) -> Start {
        let id = task.id.clone();
        let aim = if task.status == Assignment::Cancelled { Aim::Cancel } else { Aim::Work };
        let journal = self.shared.journal();
        let known = Known {
            control: &ControlDir::new(&self.shared.options.control),
            cli: &self.shared.manifest.name,
            can_resume: self.shared.manifest.resume.is_some(),
            tasks: self.desired.tasks(),
            reports: &journal.reporting().tasks,
            was_interrupted: self.interrupted.contains(&id),
        };
        let start = known.start(task, aim);
        drop(journal);
        self.interrupted.retain(|interrupted| *interrupted != id);
        start
    }

    /// Ends what was cancelled before it ran. What an earlier agent began has work to be committed; that takes an
    /// attempt.
    fn cancel_waiting(&mut self) {
        let unwanted: Vec<Subject> = {
            let journal = self.shared.journal();
            let tasks = &journal.reporting().tasks;
            let open = |task: &&Task| {
                task.status == Assignment::Cancelled
                    && !self.interrupted.contains(&task.id)
                    && tasks.get(&task.id).is_none_or(|report| !is_over(task, report))
            };
            let attempt =
                |task: &Task| tasks.get(&task.id).map_or(1, |report| report.attempt).max(task.attempt);
            let cancelled = self.desired.tasks().iter().filter(open);
            cancelled.map(|task| Subject { task: task.id.clone(), attempt: attempt(task) }).collect()
        };
        for subject in unwanted {
            cancel_unstarted(&self.shared, &subject);
        }
    }

    /// Says of tasks further down the list that they were seen.
    fn note_waiting(&self) {
        let mut journal = self.shared.journal();
        let running = self.current.as_ref().map(|current| &current.task);
        let unseen: Vec<TaskId> = {
            let tasks = &journal.reporting().tasks;
            let ids = self.desired.tasks().iter().map(|task| &task.id);
            ids.filter(|id| Some(*id) != running && !tasks.contains_key(*id)).cloned().collect()
        };
        if !unseen.is_empty() {
            journal.update(|reporting| {
                for id in unseen {
                    reporting.tasks.insert(id, bare_report(TaskReportStatus::Received, 1));
                }
            });
        }
    }

    fn task_ended(&mut self) {
        self.running = None;
        self.current = None;
        self.note_status();
        crate::memory::give_back();
    }

    /// The one place that decides what the agent says of itself.
    fn note_status(&self) {
        let refused = self.desired.refused().cloned();
        let status = match (self.stopping, &refused, &self.running) {
            (true, _, _) => AgentStatus::Stopping,
            (false, Some(_), _) => AgentStatus::Error,
            (false, None, Some(_)) => AgentStatus::Working,
            (false, None, None) => AgentStatus::Idle,
        };
        let mut journal = self.shared.journal();
        if journal.reporting().status != status || journal.reporting().failure != refused {
            journal.update_now(|reporting| {
                reporting.status = status;
                reporting.failure = refused.filter(|_| status == AgentStatus::Error);
            });
        }
    }

    /// Once: gracefully. Twice: at once.
    fn stop(&mut self) {
        if self.stopping {
            self.shared.stop.hurry();
        }
        self.stopping = true;
        self.shared.stop.ask(StopRequest::AgentStops);
        self.note_status();
    }

    fn is_done(&self) -> bool {
        if self.running.is_some() {
            return false;
        }
        let tasks = self.desired.tasks();
        let once = self.shared.options.lifetime == Lifetime::Once;
        self.stopping || (once && !tasks.is_empty() && self.next_task().is_none())
    }

    fn note_version(&mut self, version: Option<String>) {
        self.probe = None;
        if let Some(version) = version {
            self.shared.journal().update(|reporting| reporting.agent.cli_version = Some(version));
        }
    }

    async fn end(&self) -> Result<(), AgentError> {
        // The version's probe may still run.
        sweep(&self.shared.reaper).await;
        // The last chance: an exit that claims success must not hide that nobody can read how it went.
        let file = ControlDir::new(&self.shared.options.control).reporting().display().to_string();
        let written = self.shared.journal().write_through();
        written.map_err(|source| AgentError::Control { file, source })
    }
}
