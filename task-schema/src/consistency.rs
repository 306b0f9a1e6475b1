//! What does not fit when the two files are laid side by side: stale, late, or contradictory.
//!
//! Each file alone may be valid and still be wrong about the world: a dead agent's last report says `working` for
//! ever. These findings are for people and for a doctor's eye; the reconciler must not branch on them, it has the
//! container and the clock itself.

use std::time::Duration;

use jiff::Timestamp;

use crate::{AgentStatus, Reporting, Task, TaskId, TaskReport, TaskReportStatus, Tasking};

/// How often an agent with a running task rewrites its report.
pub const HEARTBEAT_WORKING: Duration = Duration::from_secs(10);
/// How often an agent without one does.
pub const HEARTBEAT_IDLE: Duration = Duration::from_secs(60);
/// Heartbeats that may be missed. One or two fall out on a busy disk; more and a dead agent is noticed late.
const MISSED_HEARTBEATS: u32 = 3;
/// How long an agent may take to observe a generation: three of its slow polls. Lower flickers at each rewrite.
const OBSERVE_GRACE: Duration = Duration::from_secs(15);
/// How long the first report may take: a container has to start first.
const FIRST_REPORT_GRACE: Duration = Duration::from_secs(60);
/// What a task may take beyond its timeout: the CLI's grace of 10 s, then the commit of what is there.
const TIMEOUT_GRACE: Duration = Duration::from_secs(30);
/// How far a time may lie ahead. Container and host share a clock, so this only covers its steps.
const CLOCK_SKEW: Duration = Duration::from_secs(5);

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth a look; may pass by itself.
    Warning,
    /// Does not pass by itself: someone must act, or one side is broken.
    Error,
}

/// What sort of thing does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FindingKind {
    /// The report is older than a living agent would leave it.
    Stale,
    /// Something that should have happened by now has not.
    Late,
    /// Two statements cannot both be true.
    Contradictory,
}

/// One thing that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// What sort.
    pub kind: FindingKind,
    /// File and key, such as `reporting.heartbeat_at` or `tasking.tasks[1].continues`.
    pub key: String,
    /// One sentence without a trailing period. Holds no text of the untrusted side but checked ids and names.
    pub message: String,
}

/// Everything that does not fit, in the order of the files. An absent file is `None`; both absent means nothing to find.
pub fn findings(tasking: Option<&Tasking>, reporting: Option<&Reporting>, now: Timestamp) -> Vec<Finding> {
    let mut found = Found(Vec::new());
    match (tasking, reporting) {
        (None, None) => {}
        (Some(tasking), None) => found.without_report(tasking, now),
        (None, Some(reporting)) => {
            found.without_tasking(reporting);
            found.report_alone(reporting, now);
        }
        (Some(tasking), Some(reporting)) => {
            found.generations(tasking, reporting, now);
            found.clis(tasking, reporting);
            found.report_alone(reporting, now);
            found.strangers(tasking, reporting);
            for (index, task) in tasking.tasks.iter().enumerate() {
                found.overdue(task, reporting, now);
                found.continuation(index, task, reporting);
            }
        }
    }
    found.0
}

struct Found(Vec<Finding>);

impl Found {
    fn add(
        &mut self,
        severity: Severity,
        kind: FindingKind,
        key: impl Into<String>,
        message: impl Into<String>,
    ) {
        self.0.push(Finding { severity, kind, key: key.into(), message: message.into() });
    }

    fn contradiction(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.add(Severity::Error, FindingKind::Contradictory, key, message);
    }

    fn without_report(&mut self, tasking: &Tasking, now: Timestamp) {
        let age = since(tasking.updated_at, now);
        if age > FIRST_REPORT_GRACE {
            let message = format!("tasking.yaml is {} old and no agent has reported yet", words(age));
            self.add(Severity::Warning, FindingKind::Late, "reporting", message);
        }
    }

    fn without_tasking(&mut self, reporting: &Reporting) {
        let seen = reporting.observed_generation;
        if seen > 0 {
            let message = format!("the report answers generation {seen}, but there is no tasking.yaml");
            self.contradiction("reporting.observed_generation", message);
        }
    }

    fn generations(&mut self, tasking: &Tasking, reporting: &Reporting, now: Timestamp) {
        let (wanted, seen) = (tasking.generation, reporting.observed_generation);
        let key = "reporting.observed_generation";
        let age = since(tasking.updated_at, now);
        if seen > wanted {
            let message = format!("the agent has seen generation {seen}, but tasking.yaml is at {wanted}");
            self.contradiction(key, message);
        } else if seen < wanted && age > OBSERVE_GRACE {
            let age = words(age);
            let message = format!("generation {wanted} was written {age} ago, the agent is still at {seen}");
            self.add(Severity::Warning, FindingKind::Late, key, message);
        }
    }

    fn clis(&mut self, tasking: &Tasking, reporting: &Reporting) {
        let (wanted, running) = (&tasking.cli, &reporting.agent.cli);
        if wanted == running {
            return;
        }
        let message = format!("tasking.yaml asks for {wanted}, the agent drives {running}");
        // While a hand-off is under way the old agent's report still stands.
        let under_way = reporting.observed_generation < tasking.generation;
        let severity = if under_way { Severity::Warning } else { Severity::Error };
        self.add(severity, FindingKind::Contradictory, "reporting.agent.cli", message);
    }

    fn report_alone(&mut self, reporting: &Reporting, now: Timestamp) {
        self.heartbeat(reporting, now);
        self.agent_status(reporting);
        for (id, task) in &reporting.tasks {
            self.task_times(id, task, now);
            self.task_failure(id, task);
        }
    }

    fn heartbeat(&mut self, reporting: &Reporting, now: Timestamp) {
        let key = "reporting.heartbeat_at";
        let ahead = since(now, reporting.heartbeat_at);
        if ahead > CLOCK_SKEW {
            let ahead = words(ahead);
            return self.contradiction(
                key,
                format!("the last heartbeat lies {ahead} in the future; compare the clocks"),
            );
        }
        let works = match reporting.status {
            AgentStatus::Working | AgentStatus::Stopping => true,
            AgentStatus::Idle | AgentStatus::Error => running(reporting).next().is_some(),
        };
        let age = since(reporting.heartbeat_at, now);
        let (severity, every, who) = if works {
            (Severity::Error, HEARTBEAT_WORKING, "a working")
        } else {
            (Severity::Warning, HEARTBEAT_IDLE, "an idle")
        };
        if age > every * MISSED_HEARTBEATS {
            let (age, every) = (words(age), words(every));
            let message = format!(
                "the last heartbeat is {age} old, {who} agent writes one every {every}; it may have ended"
            );
            self.add(severity, FindingKind::Stale, key, message);
        }
    }

    fn agent_status(&mut self, reporting: &Reporting) {
        let mut running = running(reporting);
        let (first, second) = (running.next(), running.next());
        match (reporting.status, first) {
            (AgentStatus::Working, None) => {
                let message = "the agent says it works, but no task is in progress";
                self.add(Severity::Warning, FindingKind::Contradictory, "reporting.status", message);
            }
            (AgentStatus::Idle, Some(id)) => {
                let message = format!("the agent says it is idle, but task {id} is in progress");
                self.add(Severity::Warning, FindingKind::Contradictory, "reporting.status", message);
            }
            (AgentStatus::Working | AgentStatus::Stopping | AgentStatus::Error | AgentStatus::Idle, _) => {}
        }
        if let (Some(first), Some(second)) = (first, second) {
            let message =
                format!("tasks {first} and {second} are in progress at once; an agent runs one at a time");
            self.contradiction("reporting.tasks", message);
        }
        match (reporting.status, &reporting.failure) {
            (AgentStatus::Error, None) => {
                self.contradiction("reporting.failure", "the status is error, but no failure says why");
            }
            (AgentStatus::Idle | AgentStatus::Working | AgentStatus::Stopping, Some(failure)) => {
                let message = format!("a failure ({}) is set, but the status is not error", failure.kind);
                self.contradiction("reporting.failure", message);
            }
            (AgentStatus::Error, Some(_)) => {}
            (AgentStatus::Idle | AgentStatus::Working | AgentStatus::Stopping, None) => {}
        }
    }

    fn task_times(&mut self, id: &TaskId, task: &TaskReport, now: Timestamp) {
        let key = format!("reporting.tasks.{id}.finished_at");
        let status = status_word(task.status);
        match (task.status.is_ended(), task.finished_at) {
            (true, None) => {
                self.contradiction(key, format!("the status is {status}, but has no time of its end"))
            }
            (false, Some(_)) => {
                self.contradiction(key, format!("the status is {status}, but has a time of its end"));
            }
            (true, Some(end)) if task.started_at.is_some_and(|start| end < start) => {
                self.contradiction(key, "the task ended before it started");
            }
            (true, Some(end)) if since(now, end) > CLOCK_SKEW => {
                self.contradiction(key, "the task ended in the future; compare the clocks");
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    fn task_failure(&mut self, id: &TaskId, task: &TaskReport) {
        let key = format!("reporting.tasks.{id}.failure");
        let status = status_word(task.status);
        match (task.status, &task.failure) {
            (TaskReportStatus::Failed | TaskReportStatus::TimedOut, None) => {
                self.contradiction(key, format!("the status is {status}, but no failure says why"));
            }
            (
                TaskReportStatus::Completed
                | TaskReportStatus::Cancelled
                | TaskReportStatus::Received
                | TaskReportStatus::InProgress
                | TaskReportStatus::Verifying,
                Some(failure),
            ) => self
                .contradiction(key, format!("the status is {status}, but has a failure ({})", failure.kind)),
            (TaskReportStatus::Blocked, None) if task.questions.is_empty() => {
                let key = format!("reporting.tasks.{id}.questions");
                self.contradiction(key, "the status is blocked, but asks nothing and no failure says why");
            }
            _ => {}
        }
    }

    fn strangers(&mut self, tasking: &Tasking, reporting: &Reporting) {
        for id in reporting.tasks.keys() {
            if !tasking.tasks.iter().any(|task| task.id == *id) {
                let message =
                    "the report names a task that tasking.yaml does not have; its list only ever grows";
                self.contradiction(format!("reporting.tasks.{id}"), message);
            }
        }
    }

    fn overdue(&mut self, task: &Task, reporting: &Reporting, now: Timestamp) {
        let Some(report) = reporting.tasks.get(&task.id) else { return };
        let (false, Some(start)) = (report.status.is_ended(), report.started_at) else { return };
        let (age, limit) = (since(start, now), task.limits.timeout);
        if age > limit.as_duration() + TIMEOUT_GRACE {
            let message = format!("the task has run for {}, its limit is {limit}", words(age));
            let key = format!("reporting.tasks.{}.started_at", task.id);
            self.add(Severity::Error, FindingKind::Late, key, message);
        }
    }

    /// A continuation may wait for its predecessor; begun before that one's end, it has no session to go on.
    fn continuation(&mut self, index: usize, task: &Task, reporting: &Reporting) {
        let Some(earlier) = &task.continues else { return };
        let begun = reporting.tasks.get(&task.id).is_some_and(|t| t.status != TaskReportStatus::Received);
        let ended = reporting.tasks.get(earlier).is_some_and(|t| t.status.is_ended());
        if begun && !ended {
            let message =
                format!("task {} was begun, but {earlier}, which it continues, never ended", task.id);
            self.contradiction(format!("tasking.tasks[{index}].continues"), message);
        }
    }
}

fn running(reporting: &Reporting) -> impl Iterator<Item = &TaskId> {
    let runs = |status| matches!(status, TaskReportStatus::InProgress | TaskReportStatus::Verifying);
    reporting.tasks.iter().filter(move |(_, task)| runs(task.status)).map(|(id, _)| id)
}

/// From `earlier` to `later`; zero when they are the other way round.
fn since(earlier: Timestamp, later: Timestamp) -> Duration {
    later.duration_since(earlier).try_into().unwrap_or(Duration::ZERO)
}

/// An age in its two largest units, as the contract writes durations: `31s`, `30m31s`, `4d3h`.
fn words(age: Duration) -> String {
    const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let mut rest = age.as_secs();
    let mut parts = Vec::new();
    for (unit, size) in UNITS {
        if rest >= size && parts.len() < 2 {
            parts.push(format!("{}{unit}", rest / size));
        }
        rest %= size;
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.concat() }
}

const fn status_word(status: TaskReportStatus) -> &'static str {
    match status {
        TaskReportStatus::Received => "received",
        TaskReportStatus::InProgress => "in progress",
        TaskReportStatus::Verifying => "verifying",
        TaskReportStatus::Blocked => "blocked",
        TaskReportStatus::Completed => "completed",
        TaskReportStatus::Failed => "failed",
        TaskReportStatus::Cancelled => "cancelled",
        TaskReportStatus::TimedOut => "timed out",
    }
}
