//! How a task ended. One signal is never enough: CLIs exit 0 after a refused key, say `success` beside an error, and
//! claim work that is not there. The verdict weighs who stopped it, the kernel, the CLI's own answer, the exit code
//! and the worktree, in that order.

use cloud_code_task_schema::{ExitReport, Failure, FailureKind, Limits, Mode, TaskReportStatus};

use crate::clocks::Clock;
use crate::parse::{Answer, one_line};

/// Why the agent ended the CLI.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum StopCause {
    /// The task is no longer wanted.
    Cancelled,
    /// The agent itself was told to end; the task is not over.
    AgentStops,
    /// A clock ran out.
    Clock(Clock),
    /// The money or the turns ran out.
    LimitReached(Failure),
    /// The provider refused for good.
    Refused(Failure),
    /// It had answered and did not exit.
    Lingered,
}

/// What the kernel did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemoryKill {
    /// Nothing, as far as is known.
    None,
    /// Something in the container was killed for memory.
    Counted,
}

/// Whether there is room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disk {
    /// As far as is known.
    HasRoom,
    /// None left.
    Full,
}

/// Everything that counts.
#[derive(Debug)]
pub(crate) struct Evidence<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) stopped: Option<&'a StopCause>,
    pub(crate) memory: MemoryKill,
    pub(crate) exit: ExitReport,
    /// The CLI's own final word, and whether its format has one.
    pub(crate) answer: Option<&'a Answer>,
    pub(crate) ends_with_an_answer: bool,
    /// Trouble it told of on the way.
    pub(crate) trouble: Option<&'a Failure>,
    /// The last line of its standard error.
    pub(crate) complaint: &'a str,
    /// What its exit code means, where it means more than badly.
    pub(crate) of_exit: Option<&'a Failure>,
    /// Whether the worktree's or HOME's disk is full now.
    pub(crate) disk: Disk,
}

/// How one run of the CLI ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum RunEnd {
    /// Well, by all that is known without the worktree.
    Well,
    /// Badly or by a clock.
    Badly(TaskReportStatus, Failure),
    /// No longer wanted.
    Cancelled,
    /// The agent ends; the task stays open for the next one.
    Interrupted,
}

/// Judges one run of the CLI.
pub(crate) fn judge(evidence: &Evidence<'_>) -> RunEnd {
    let failed = |failure: Failure| RunEnd::Badly(TaskReportStatus::Failed, failure);
    match evidence.stopped {
        Some(StopCause::Cancelled) => return RunEnd::Cancelled,
        Some(StopCause::AgentStops) => return RunEnd::Interrupted,
        Some(StopCause::Clock(clock)) => {
            return RunEnd::Badly(TaskReportStatus::TimedOut, clock.failure(evidence.limits));
        }
        Some(StopCause::LimitReached(failure) | StopCause::Refused(failure)) => {
            return failed(failure.clone());
        }
        Some(StopCause::Lingered) | None => {}
    }
    let ended_by_us = evidence.stopped.is_some();
    let ended_well = ended_by_us || evidence.exit.code == Some(0);
    if !ended_well && evidence.memory == MemoryKill::Counted {
        return failed(Failure::new(
            FailureKind::Oom,
            "the kernel killed the CLI or one of its tools for memory",
        ));
    }
    match evidence.answer {
        Some(Answer::Failed(failure)) => return failed(failure.clone()),
        Some(Answer::Done { .. }) if ended_well => return RunEnd::Well,
        Some(Answer::Done { .. }) => {}
        None if ended_well && !evidence.ends_with_an_answer => return RunEnd::Well,
        None => {}
    }
    if evidence.exit.signal == Some(nix::libc::SIGKILL) && !ended_by_us {
        let message = "the CLI was killed by signal 9, which the agent did not send; most likely for memory";
        return failed(Failure::new(FailureKind::Oom, message));
    }
    failed(unexplained(evidence))
}

/// An end without an answer: the last known trouble names the kind, the exit and stderr fill the message.
fn unexplained(evidence: &Evidence<'_>) -> Failure {
    let how = match (evidence.exit.code, evidence.exit.signal) {
        (Some(0), _) => "the CLI exited with code 0 without a final event".to_owned(),
        (Some(code), _) => format!("the CLI exited with code {code}"),
        (None, Some(signal)) => format!("the CLI was ended by signal {signal}"),
        (None, None) => "the CLI's end was not seen".to_owned(),
    };
    let why = match (evidence.trouble, one_line(evidence.complaint)) {
        (Some(trouble), _) if !trouble.message.is_empty() => format!(" after: {}", trouble.message),
        (_, complaint) if !complaint.is_empty() => format!(": {complaint}"),
        _ => evidence.of_exit.map(|failure| format!(": {}", failure.message)).unwrap_or_default(),
    };
    let told = evidence.trouble.or(evidence.of_exit);
    let kind = match (told, evidence.disk) {
        (Some(told), _) => told.kind,
        (None, Disk::Full) => FailureKind::DiskFull,
        (None, Disk::HasRoom) => FailureKind::Crashed,
    };
    let retry_after = told.and_then(|told| told.retry_after);
    let resets_at = told.and_then(|told| told.resets_at);
    Failure { kind, message: format!("{how}{why}"), retry_after, resets_at }
}

/// The end of a task whose run ended well, seen together with the worktree.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// Done.
    Completed,
    /// It ended with a question.
    Asks(String),
    /// It claims success and nothing changed.
    Nothing(Failure),
}

/// Weighs a good end against the worktree.
pub(crate) fn weigh(mode: Mode, changed: Changed, last_words: Option<&str>) -> Outcome {
    if mode != Mode::Edit || changed == Changed::Yes {
        return Outcome::Completed;
    }
    let words = last_words.unwrap_or_default().trim();
    if words.ends_with('?') {
        return Outcome::Asks(words.to_owned());
    }
    let message = "the CLI reported success, but no file differs from the task's start";
    Outcome::Nothing(Failure::new(FailureKind::NoChanges, message))
}

/// Whether anything stands between the task's start and HEAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Changed {
    /// Something.
    Yes,
    /// Nothing.
    No,
}
