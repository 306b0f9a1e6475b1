//! One next step from all facts. Pure: no clock, no I/O, so every case is a line in a test.

use std::time::Duration;

use cloud_code_model::{Level, Outcome, OutcomeStatus, StopReason, TaskState, reads_only};
use cloud_code_task_schema::{Assignment, Failure, FailureKind, TaskReportStatus};

use crate::budget::is_cut;
use crate::facts::{ContainerFact, ContainerPhase, Facts, ReportFact, WorkspaceFact};

/// How long an agent that was told to cancel may take (its own grace, a last commit) before the host stops its
/// container. Lower loses work in large trees; higher keeps a person waiting for a hung agent.
pub const CANCEL_PATIENCE: Duration = Duration::from_secs(45);
/// How long past the task's own wall clock the host waits for the agent to end it. The agent needs its grace time and a
/// commit; past that the agent itself hangs.
pub const OVERTIME: Duration = Duration::from_secs(120);
/// Oldest heartbeat of a working agent. It writes one every 10 s; a loaded machine may miss a few.
pub const HEARTBEAT_PATIENCE: Duration = Duration::from_secs(120);
/// How long to sleep when nothing announces itself. File changes and container exits wake earlier.
pub const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The next thing to do for a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Its turn has come.
    Take,
    /// It was taken back before an agent had it, or before its work was published.
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
    /// The next attempt must wait. Nothing is left running meanwhile.
    Rest,
    /// The time of the next attempt has come.
    Wake,
    /// A budget is used up: the agent is to stop, with its work committed.
    CutBudget,
    /// A person must allow it more first, or another day must come. Nothing is left running meanwhile.
    AwaitBudget,
    /// A person must say yes first. Nothing is left running meanwhile.
    AwaitApproval,
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
            Self::Rest => "rest",
            Self::Wake => "wake",
            Self::CutBudget => "cut_budget",
            Self::AwaitBudget => "await_budget",
            Self::AwaitApproval => "await_approval",
            Self::Publish => "publish",
            Self::RemoveContainer { .. } => "remove_container",
            Self::Wait => "wait",
            Self::Finished => "finished",
        }
    }
}

/// What to do next.
pub fn decide(facts: &Facts) -> Step {
    let cancelled = facts.record.cancel_requested_at.is_some();
    match &facts.record.state {
        TaskState::Queued if cancelled => Step::Withdraw,
        TaskState::Queued if is_spent(facts) => Step::AwaitBudget,
        TaskState::Queued => Step::Take,
        TaskState::Preparing => preparing(facts, cancelled),
        TaskState::Running { .. } => running(facts),
        TaskState::Importing { .. } => Step::Import,
        TaskState::BackingOff { .. } if cancelled => Step::Withdraw,
        TaskState::BackingOff { .. } => match ended(facts) {
            Step::Finished if !facts.rest.is_zero() => Step::Rest,
            Step::Finished if is_spent(facts) => Step::AwaitBudget,
            Step::Finished => Step::Wake,
            tidy => tidy,
        },
        TaskState::OverBudget { .. } if cancelled => Step::Withdraw,
        TaskState::OverBudget { .. } => match ended(facts) {
            Step::Finished => Step::AwaitBudget,
            tidy => tidy,
        },
        TaskState::AwaitingApproval { .. } if cancelled => Step::Withdraw,
        TaskState::AwaitingApproval { .. } => match ended(facts) {
            Step::Finished => Step::AwaitApproval,
            tidy => tidy,
        },
        // The work is kept. What was pushed already stays as well; the next task goes on from there.
        TaskState::Publishing { .. } if cancelled => Step::Withdraw,
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

/// Whether no attempt may begin.
fn is_spent(facts: &Facts) -> bool {
    facts.budget.iter().any(Level::is_used_up)
}

/// Why a task is failed whose agent did as the host told it.
fn cut_short(facts: &Facts) -> Failure {
    let used_up = facts.budget.iter().filter(|level| level.cuts()).max_by_key(|level| level.percent);
    let message = used_up.map_or_else(|| StopReason::Budget.message().to_owned(), ToString::to_string);
    Failure::new(FailureKind::Budget, message)
}

fn running(facts: &Facts) -> Step {
    if let Some(outcome) = reported_end(facts) {
        return Step::RecordEnded { outcome };
    }
    let id = match &facts.container {
        Some(ContainerFact { id, phase: ContainerPhase::Running }) => id.clone(),
        Some(ContainerFact { phase: ContainerPhase::Exited { code, oom }, .. }) => {
            return Step::RecordEnded { outcome: died(facts, Death::Exited { code: *code, oom: *oom }) };
        }
        Some(ContainerFact { phase: ContainerPhase::Created, .. }) | None => {
            return Step::RecordEnded { outcome: died(facts, Death::Gone) };
        }
    };
    if facts.record.cancel_requested_at.is_some() || is_cut(&facts.record) {
        if facts.tasking != Some(Assignment::Cancelled) {
            return Step::WriteTasking;
        }
        if facts.elapsed.cancelling > CANCEL_PATIENCE {
            return Step::StopContainer { id, reason: StopReason::CancelIgnored };
        }
    } else if facts.budget.iter().any(Level::cuts) {
        return Step::CutBudget;
    }
    let limit = facts.record.task.plan.limits.timeout.as_duration();
    if facts.elapsed.running > limit.saturating_add(OVERTIME) {
        return Step::StopContainer { id, reason: StopReason::Overtime };
    }
    if facts.elapsed.silent > HEARTBEAT_PATIENCE {
        return Step::StopContainer { id, reason: StopReason::HeartbeatLost };
    }
    Step::Wait
}

/// The agent's own word on the end, as far as it goes.
fn reported_end(facts: &Facts) -> Option<Outcome> {
    let ReportFact::Task { report, .. } = &facts.report else { return None };
    let status = OutcomeStatus::of_report(report.status)?;
    if status == OutcomeStatus::Cancelled
        && is_cut(&facts.record)
        && facts.record.cancel_requested_at.is_none()
    {
        let head = work(facts, report.head.as_ref());
        return Some(Outcome { status: OutcomeStatus::Failed, failure: Some(cut_short(facts)), head });
    }
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
    Some(Outcome { status, failure, head: work(facts, report.head.as_ref()) })
}

/// The commit to import: none of a task that was only to read, whatever its CLI left.
fn work(facts: &Facts, head: Option<&String>) -> Option<String> {
    head.filter(|_| !reads_only(facts.record.task.mode)).cloned()
}

/// How a container ended whose agent had not said how the task ended.
#[derive(Clone, Copy)]
enum Death {
    Exited {
        code: Option<i64>,
        oom: bool,
    },
    /// Removed, or never started.
    Gone,
}

/// The container ended, or is gone, and the agent had not said how the task ended.
fn died(facts: &Facts, death: Death) -> Outcome {
    let head = work(facts, facts.worktree_head.as_ref());
    let failed = |kind, message: String| Outcome {
        status: OutcomeStatus::Failed,
        failure: Some(Failure::new(kind, message)),
        head: head.clone(),
    };
    let cancelled = Outcome { status: OutcomeStatus::Cancelled, failure: None, head: head.clone() };
    let ended_by_host = |reason: StopReason| format!("{}, so the host ended it", reason.message());
    match (facts.record.stop_reason, death) {
        (Some(StopReason::CancelIgnored | StopReason::Killed), _) => return cancelled,
        (Some(StopReason::Budget), _) if facts.record.cancel_requested_at.is_none() => {
            return failed(FailureKind::Budget, cut_short(facts).message);
        }
        (Some(StopReason::Budget), _) => return cancelled,
        (Some(reason @ StopReason::Overtime), _) => {
            return failed(FailureKind::Timeout, ended_by_host(reason));
        }
        (Some(reason @ (StopReason::HeartbeatLost | StopReason::ServiceStopped)), _) => {
            return failed(FailureKind::Internal, ended_by_host(reason));
        }
        (None, Death::Exited { oom: true, .. }) => {
            let message = "the kernel killed the container for memory".to_owned();
            return failed(FailureKind::Oom, message);
        }
        (None, Death::Exited { oom: false, .. } | Death::Gone) => {}
    }
    // A crash after a cancel request is still a crash; an end in good order, or a container that a person took away,
    // is what was asked for.
    let in_order = matches!(death, Death::Exited { code: Some(0), .. } | Death::Gone);
    if facts.record.cancel_requested_at.is_some() && in_order {
        return cancelled;
    }
    if let ReportFact::Unreadable { reason } = &facts.report {
        return failed(FailureKind::Internal, format!("the agent's report cannot be read: {reason}"));
    }
    let how = match death {
        Death::Exited { code: Some(code), .. } => format!("the container ended with code {code}"),
        Death::Exited { code: None, .. } => "the container ended, nobody saw how,".to_owned(),
        Death::Gone => "the container is gone, it ended".to_owned(),
    };
    failed(FailureKind::Crashed, format!("{how} before the agent reported the task's end"))
}

fn ended(facts: &Facts) -> Step {
    match &facts.container {
        Some(container) => Step::RemoveContainer { id: container.id.clone() },
        None => Step::Finished,
    }
}
