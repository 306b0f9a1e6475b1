//! One next step from all facts. Pure: no clock, no I/O, so every case is a line in a test.

use std::time::Duration;

use cloud_code_model::{Outcome, OutcomeStatus, TaskState};
use cloud_code_task_schema::{Assignment, Failure, FailureKind, TaskReportStatus};
use jiff::{SignedDuration, Timestamp};

use crate::facts::{ContainerFact, ContainerPhase, Facts, ReportFact, WorkspaceFact};

/// How long an agent that was told to cancel may take (its own grace, a last commit) before the host stops its
/// container. Lower loses work in large trees; higher keeps a person waiting for a hung agent.
pub const CANCEL_PATIENCE: SignedDuration = SignedDuration::from_secs(45);
/// How long past the task's own wall clock the host waits for the agent to end it. The agent needs its grace time and a
/// commit; past that the agent itself hangs.
pub const OVERTIME: SignedDuration = SignedDuration::from_secs(120);
/// Oldest heartbeat of a working agent. It writes one every 10 s; a loaded machine may miss a few.
pub const HEARTBEAT_PATIENCE: SignedDuration = SignedDuration::from_secs(120);
/// How long to sleep when nothing announces itself. File changes and container exits wake earlier.
pub const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The next thing to do for a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Its turn has come.
    Take,
    /// It was taken back before an agent had it.
    Withdraw,
    /// Make the worktree and its folders.
    PrepareWorkspace,
    /// Write what is wanted.
    WriteTasking,
    /// Make the container.
    CreateContainer,
    /// Start it.
    StartContainer {
        /// Which.
        id: String,
    },
    /// Note that it runs.
    RecordStarted {
        /// Which.
        id: String,
    },
    /// End a container whose agent does not end by itself.
    StopContainer {
        /// Which.
        id: String,
        /// Why, for people.
        reason: StopReason,
    },
    /// Note how it ended.
    RecordEnded {
        /// How.
        outcome: Outcome,
    },
    /// Take the commits through the quarantine.
    Import,
    /// Hand the branch over.
    Publish,
    /// Remove the container of an ended task.
    RemoveContainer {
        /// Which.
        id: String,
    },
    /// Nothing to do until something changes.
    Wait,
    /// Nothing to do any more.
    Finished,
}

impl Step {
    /// A name for logs and `--json`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Take => "take",
            Self::Withdraw => "withdraw",
            Self::PrepareWorkspace => "prepare_workspace",
            Self::WriteTasking => "write_tasking",
            Self::CreateContainer => "create_container",
            Self::StartContainer { .. } => "start_container",
            Self::RecordStarted { .. } => "record_started",
            Self::StopContainer { .. } => "stop_container",
            Self::RecordEnded { .. } => "record_ended",
            Self::Import => "import",
            Self::Publish => "publish",
            Self::RemoveContainer { .. } => "remove_container",
            Self::Wait => "wait",
            Self::Finished => "finished",
        }
    }
}

/// Why the host ends a container itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The agent was told to cancel and did not.
    CancelIgnored,
    /// The agent let the task run past its wall clock.
    Overtime,
    /// The agent stopped giving signs of life.
    HeartbeatLost,
}

impl StopReason {
    /// For people, without a trailing period.
    pub const fn message(self) -> &'static str {
        match self {
            Self::CancelIgnored => "the agent did not end after it was told to cancel",
            Self::Overtime => "the agent let the task run past its time limit",
            Self::HeartbeatLost => "the agent gave no sign of life",
        }
    }
}

/// What to do next.
pub fn decide(facts: &Facts) -> Step {
    let cancelled = facts.record.cancel_requested_at.is_some();
    match &facts.record.state {
        TaskState::Queued if cancelled => Step::Withdraw,
        TaskState::Queued => Step::Take,
        TaskState::Preparing => preparing(facts, cancelled),
        TaskState::Running { started_at, .. } => running(facts, *started_at),
        TaskState::Importing { .. } => Step::Import,
        TaskState::Publishing { .. } => Step::Publish,
        TaskState::Done { .. } | TaskState::NeedsInput { .. } => ended(facts),
        TaskState::Failed { .. } | TaskState::Cancelled { .. } => ended(facts),
    }
}

fn preparing(facts: &Facts, cancelled: bool) -> Step {
    match &facts.container {
        Some(ContainerFact { id, phase: ContainerPhase::Created }) if cancelled => {
            Step::RemoveContainer { id: id.clone() }
        }
        None if cancelled => Step::Withdraw,
        Some(ContainerFact { id, phase: ContainerPhase::Running | ContainerPhase::Exited { .. } }) => {
            Step::RecordStarted { id: id.clone() }
        }
        Some(ContainerFact { id, phase: ContainerPhase::Created }) => match facts.tasking {
            Some(_) => Step::StartContainer { id: id.clone() },
            None => Step::WriteTasking,
        },
        None => match (facts.workspace, facts.tasking) {
            (WorkspaceFact::Missing, _) => Step::PrepareWorkspace,
            (WorkspaceFact::Ready, None) => Step::WriteTasking,
            (WorkspaceFact::Ready, Some(_)) => Step::CreateContainer,
        },
    }
}

fn running(facts: &Facts, started_at: Timestamp) -> Step {
    if let Some(outcome) = reported_end(facts) {
        return Step::RecordEnded { outcome };
    }
    let id = match &facts.container {
        Some(ContainerFact { id, phase: ContainerPhase::Running }) => id.clone(),
        Some(ContainerFact { phase: ContainerPhase::Exited { code, oom }, .. }) => {
            return Step::RecordEnded { outcome: died(facts, started_at, *code, *oom) };
        }
        Some(ContainerFact { phase: ContainerPhase::Created, .. }) | None => {
            return Step::RecordEnded { outcome: died(facts, started_at, None, false) };
        }
    };
    if let Some(asked_at) = facts.record.cancel_requested_at {
        if facts.tasking != Some(Assignment::Cancelled) {
            return Step::WriteTasking;
        }
        if facts.now.duration_since(asked_at) > CANCEL_PATIENCE {
            return Step::StopContainer { id, reason: StopReason::CancelIgnored };
        }
    }
    if is_overtime(facts, started_at) {
        return Step::StopContainer { id, reason: StopReason::Overtime };
    }
    let last_sign = match &facts.report {
        ReportFact::Task { heartbeat_at, .. } | ReportFact::NotYet { heartbeat_at: Some(heartbeat_at) } => {
            // A report of an earlier container is older than this start: the start is the later sign of life.
            (*heartbeat_at).max(started_at)
        }
        ReportFact::NotYet { heartbeat_at: None } | ReportFact::Unreadable { .. } => started_at,
    };
    if facts.now.duration_since(last_sign) > HEARTBEAT_PATIENCE {
        return Step::StopContainer { id, reason: StopReason::HeartbeatLost };
    }
    Step::Wait
}

/// Whether the task ran so long past its wall clock that the agent itself must hang.
fn is_overtime(facts: &Facts, started_at: Timestamp) -> bool {
    let limit = SignedDuration::try_from(facts.record.task.plan.limits.timeout.as_duration());
    let limit = limit.unwrap_or(SignedDuration::MAX).saturating_add(OVERTIME);
    facts.now.duration_since(started_at) > limit
}

/// The agent's own word on the end, as far as it goes.
fn reported_end(facts: &Facts) -> Option<Outcome> {
    let ReportFact::Task { report, .. } = &facts.report else { return None };
    let status = OutcomeStatus::of_report(report.status)?;
    let failure = match (status, &report.failure) {
        (OutcomeStatus::Completed | OutcomeStatus::Cancelled, _) => None,
        (OutcomeStatus::Blocked | OutcomeStatus::Failed, Some(failure)) => Some(failure.clone()),
        (OutcomeStatus::Blocked, None) => None,
        (OutcomeStatus::Failed, None) => {
            let kind = match report.status {
                TaskReportStatus::TimedOut => FailureKind::Timeout,
                _ => FailureKind::Internal,
            };
            Some(Failure::new(kind, "the agent reported a failure without saying why"))
        }
    };
    Some(Outcome { status, failure, head: report.head.clone() })
}

/// The container ended, or is gone, and the agent had not said how the task ended.
fn died(facts: &Facts, started_at: Timestamp, code: Option<i64>, oom: bool) -> Outcome {
    if facts.record.cancel_requested_at.is_some() {
        return Outcome {
            status: OutcomeStatus::Cancelled,
            failure: None,
            head: facts.worktree_head.clone(),
        };
    }
    let (kind, message) = if oom {
        (FailureKind::Oom, "the kernel killed the container for memory".to_owned())
    } else if is_overtime(facts, started_at) {
        (FailureKind::Timeout, format!("{}, so the host ended it", StopReason::Overtime.message()))
    } else if let ReportFact::Unreadable { reason } = &facts.report {
        (FailureKind::Internal, format!("the agent's report cannot be read: {reason}"))
    } else {
        let how = match code {
            Some(code) => format!("the container ended with code {code}"),
            None => "the container is gone".to_owned(),
        };
        (FailureKind::Crashed, format!("{how} before the agent reported the task's end"))
    };
    let failure = Failure::new(kind, message);
    Outcome { status: OutcomeStatus::Failed, failure: Some(failure), head: facts.worktree_head.clone() }
}

fn ended(facts: &Facts) -> Step {
    match &facts.container {
        Some(container) => Step::RemoveContainer { id: container.id.clone() },
        None => Step::Finished,
    }
}
