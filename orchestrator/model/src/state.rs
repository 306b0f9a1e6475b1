//! The life of a task on the host: its states with their evidence, and the one function that moves between them.
//!
//! A state is stored; whether its agent is alive, stale or late is computed from facts and never stored. The
//! alternative, a status column that every caller updates, is how rows get stuck: an illegal move is refused
//! here, in one place, with a name.

use cloud_code_task_schema::{Failure, FailureKind, TaskReportStatus};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Where a task is, with the evidence that brought it there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum TaskState {
    /// Waits for its turn; nothing exists for it outside the store.
    Queued,
    /// Its worktree, `tasking.yaml` and container are being made.
    Preparing,
    /// Its container was started. Says nothing about whether the agent still lives: that is a fact, not a state.
    Running {
        /// The runtime's id of the container.
        container: String,
        /// When it was started.
        started_at: Timestamp,
    },
    /// The agent ended it; the commits are being taken through the quarantine.
    Importing {
        /// How the agent ended it.
        outcome: Outcome,
    },
    /// An attempt failed in a way that another one can mend, later. Work that was committed is on the mirror's branch; nothing
    /// runs meanwhile.
    BackingOff {
        /// Why the attempt failed.
        failure: Failure,
        /// The branch's commit, when there was work.
        head: Option<String>,
        /// When the next attempt may begin.
        until: Timestamp,
        /// Its number.
        attempt: u32,
    },
    /// An attempt was cut because a budget is used up. The work is on the mirror's branch; a person may allow as much again.
    /// Nothing runs meanwhile.
    OverBudget {
        /// Which budget.
        failure: Failure,
        /// The branch's commit, when there was work.
        head: Option<String>,
        /// The number of the attempt that a yes begins.
        attempt: u32,
    },
    /// The branch stands in the mirror and waits for a person's yes before it is published. Nothing runs meanwhile.
    AwaitingApproval {
        /// The branch's commit.
        head: String,
        /// How the agent ended it.
        outcome: Outcome,
    },
    /// The branch stands in the mirror and is being handed to where the project wants it.
    Publishing {
        /// The branch's commit.
        head: String,
        /// How the agent ended it.
        outcome: Outcome,
    },
    /// Ended well. Without `head` it was a task that changes nothing (a plan, a review).
    Done {
        /// The branch's commit.
        head: Option<String>,
    },
    /// Ended with a question. Not a failure: the answer is the next task.
    NeedsInput {
        /// The branch's commit, when work was done before the question.
        head: Option<String>,
    },
    /// Ended badly. Work that was committed is kept on the mirror's branch.
    Failed {
        /// Why.
        failure: Failure,
        /// The branch's commit, when there was work.
        head: Option<String>,
    },
    /// Ended because a person said so. Not a failure; work that was committed is kept.
    Cancelled {
        /// The branch's commit, when there was work.
        head: Option<String>,
    },
}

/// The name of a [`TaskState`] without its evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskStatus {
    /// See [`TaskState::Queued`].
    Queued,
    /// See [`TaskState::Preparing`].
    Preparing,
    /// See [`TaskState::Running`].
    Running,
    /// See [`TaskState::Importing`].
    Importing,
    /// See [`TaskState::BackingOff`].
    BackingOff,
    /// See [`TaskState::OverBudget`].
    OverBudget,
    /// See [`TaskState::AwaitingApproval`].
    AwaitingApproval,
    /// See [`TaskState::Publishing`].
    Publishing,
    /// See [`TaskState::Done`].
    Done,
    /// See [`TaskState::NeedsInput`].
    NeedsInput,
    /// See [`TaskState::Failed`].
    Failed,
    /// See [`TaskState::Cancelled`].
    Cancelled,
}

impl TaskStatus {
    /// Every status, in the order of a task's life.
    pub const ALL: [Self; 12] = [
        Self::Queued,
        Self::Preparing,
        Self::Running,
        Self::Importing,
        Self::BackingOff,
        Self::OverBudget,
        Self::AwaitingApproval,
        Self::Publishing,
        Self::Done,
        Self::NeedsInput,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The name in the store, in `--json` and in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Preparing => "preparing",
            Self::Running => "running",
            Self::Importing => "importing",
            Self::BackingOff => "backing_off",
            Self::OverBudget => "over_budget",
            Self::AwaitingApproval => "awaiting_approval",
            Self::Publishing => "publishing",
            Self::Done => "done",
            Self::NeedsInput => "needs_input",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing will happen to the task any more.
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Done | Self::NeedsInput | Self::Failed | Self::Cancelled => true,
            Self::Queued | Self::Preparing | Self::Running | Self::Importing => false,
            Self::BackingOff | Self::OverBudget | Self::AwaitingApproval | Self::Publishing => false,
        }
    }
}

impl std::fmt::Display for TaskStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// How the agent, or its death, ended a task. Taken from an untrusted report: `head` is checked by the import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// How.
    pub status: OutcomeStatus,
    /// Why, when badly.
    pub failure: Option<Failure>,
    /// The commit the worktree is said to stand on.
    pub head: Option<String>,
}

/// The ways a task ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeStatus {
    /// Well.
    Completed,
    /// With a question.
    Blocked,
    /// Badly, clocks included.
    Failed,
    /// Because it was no longer wanted.
    Cancelled,
}

impl OutcomeStatus {
    /// The outcome that a report's status stands for; `None` while the task has not ended.
    pub const fn of_report(status: TaskReportStatus) -> Option<Self> {
        match status {
            TaskReportStatus::Received | TaskReportStatus::InProgress | TaskReportStatus::Verifying => None,
            TaskReportStatus::Completed => Some(Self::Completed),
            TaskReportStatus::Blocked => Some(Self::Blocked),
            TaskReportStatus::Failed | TaskReportStatus::TimedOut => Some(Self::Failed),
            TaskReportStatus::Cancelled => Some(Self::Cancelled),
        }
    }
}

/// What comes after an attempt that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing: the task has failed.
    End,
    /// Another attempt.
    Again {
        /// When it may begin.
        until: Timestamp,
        /// Its number.
        attempt: u32,
    },
    /// Another attempt, once a person allows it more.
    Grant {
        /// Its number.
        attempt: u32,
    },
}

/// Whether work that ended well is published at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// At once.
    Open,
    /// After a person's yes.
    Approval,
}

/// What happened to a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEvent {
    /// It is its turn.
    Taken,
    /// Its container runs.
    Started {
        /// The runtime's id of the container.
        container: String,
        /// When.
        at: Timestamp,
    },
    /// The agent ended it, or died.
    Ended {
        /// How.
        outcome: Outcome,
    },
    /// Its commits stand on the mirror's branch; without `head` there were none.
    Imported {
        /// The branch's commit.
        head: Option<String>,
        /// Whether finished work is published at once.
        gate: Gate,
        /// What follows a failed attempt.
        next: Next,
    },
    /// The time of the next attempt has come.
    Woken,
    /// A person allowed as much again as was used up.
    Granted,
    /// A person said yes to what waits.
    Approved,
    /// A person said no to what waits. The work is kept.
    Declined,
    /// The publication that a forge refused is tried again.
    Retried,
    /// Its commits were put on top of a base that had moved.
    Rebased {
        /// The branch's commit.
        head: String,
    },
    /// The branch was handed over.
    Published,
    /// The host could not go on.
    HostFailed {
        /// Why.
        failure: Failure,
    },
    /// A person took it back before an agent had it, or before its work was published.
    Withdrawn,
    /// The worker that had it is dead, and what it held of the task with it: another one begins an attempt.
    Moved {
        /// What was lost.
        failure: Failure,
        /// When it begins.
        until: Timestamp,
        /// Its number.
        attempt: u32,
    },
}

impl TaskEvent {
    /// A name for messages.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Started { .. } => "started",
            Self::Ended { .. } => "ended",
            Self::Imported { .. } => "imported",
            Self::Woken => "woken",
            Self::Granted => "granted",
            Self::Approved => "approved",
            Self::Declined => "declined",
            Self::Retried => "retried",
            Self::Rebased { .. } => "rebased",
            Self::Published => "published",
            Self::HostFailed { .. } => "host_failed",
            Self::Withdrawn => "withdrawn",
            Self::Moved { .. } => "moved",
        }
    }
}

/// An event that cannot happen to a task in that state. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a task that is {status} cannot be {event}")]
pub struct IllegalTransition {
    /// Where the task is.
    pub status: TaskStatus,
    /// What was said to have happened.
    pub event: &'static str,
}

impl TaskState {
    /// The state's name.
    pub const fn status(&self) -> TaskStatus {
        match self {
            Self::Queued => TaskStatus::Queued,
            Self::Preparing => TaskStatus::Preparing,
            Self::Running { .. } => TaskStatus::Running,
            Self::Importing { .. } => TaskStatus::Importing,
            Self::BackingOff { .. } => TaskStatus::BackingOff,
            Self::OverBudget { .. } => TaskStatus::OverBudget,
            Self::AwaitingApproval { .. } => TaskStatus::AwaitingApproval,
            Self::Publishing { .. } => TaskStatus::Publishing,
            Self::Done { .. } => TaskStatus::Done,
            Self::NeedsInput { .. } => TaskStatus::NeedsInput,
            Self::Failed { .. } => TaskStatus::Failed,
            Self::Cancelled { .. } => TaskStatus::Cancelled,
        }
    }

    /// The branch's commit, where the state knows one.
    pub fn head(&self) -> Option<&str> {
        match self {
            Self::AwaitingApproval { head, .. } | Self::Publishing { head, .. } => Some(head),
            Self::Done { head } | Self::NeedsInput { head } | Self::Cancelled { head } => head.as_deref(),
            Self::Failed { head, .. } | Self::BackingOff { head, .. } => head.as_deref(),
            Self::OverBudget { head, .. } => head.as_deref(),
            Self::Queued | Self::Preparing | Self::Running { .. } | Self::Importing { .. } => None,
        }
    }

    /// Whether it begins, or begins again, when its turn comes.
    pub const fn waits_for_turn(&self) -> bool {
        matches!(self, Self::Queued | Self::BackingOff { .. })
    }

    /// Why it failed, when it did.
    pub const fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed { failure, .. } | Self::BackingOff { failure, .. } => Some(failure),
            Self::OverBudget { failure, .. } => Some(failure),
            Self::Queued | Self::Preparing | Self::Running { .. } | Self::Importing { .. } => None,
            Self::AwaitingApproval { .. }
            | Self::Publishing { .. }
            | Self::Done { .. }
            | Self::NeedsInput { .. }
            | Self::Cancelled { .. } => None,
        }
    }

    /// The next state after an event, or a typed refusal.
    ///
    /// Work is published only when the agent ended it well; anything else ends at once with the work kept on
    /// the mirror's branch.
    pub fn apply(&self, event: TaskEvent) -> Result<Self, IllegalTransition> {
        let illegal = IllegalTransition { status: self.status(), event: event.name() };
        match (self, event) {
            (Self::Queued, TaskEvent::Taken) => Ok(Self::Preparing),
            (Self::Preparing, TaskEvent::Started { container, at }) => {
                Ok(Self::Running { container, started_at: at })
            }
            (Self::Running { .. }, TaskEvent::Ended { outcome }) => Ok(Self::Importing { outcome }),
            (Self::Importing { outcome }, TaskEvent::Imported { head, gate, next }) => {
                Ok(after_import(outcome, head, gate, next))
            }
            (Self::BackingOff { .. }, TaskEvent::Woken) => Ok(Self::Preparing),
            (Self::OverBudget { .. }, TaskEvent::Granted) => Ok(Self::Preparing),
            // The day's budget is used up, and somebody does not want to wait for another day.
            (Self::BackingOff { failure, .. }, TaskEvent::Granted)
                if failure.kind == cloud_code_task_schema::FailureKind::Budget =>
            {
                Ok(Self::Preparing)
            }
            (Self::OverBudget { failure, head, .. }, TaskEvent::Declined) => {
                Ok(Self::Failed { failure: failure.clone(), head: head.clone() })
            }
            (Self::BackingOff { head, .. } | Self::OverBudget { head, .. }, TaskEvent::Withdrawn) => {
                Ok(Self::Cancelled { head: head.clone() })
            }
            (
                Self::BackingOff { head, .. } | Self::OverBudget { head, .. },
                TaskEvent::HostFailed { failure },
            ) => Ok(Self::Failed { failure, head: head.clone() }),
            (Self::AwaitingApproval { head, outcome }, TaskEvent::Approved) => {
                Ok(Self::Publishing { head: head.clone(), outcome: outcome.clone() })
            }
            (Self::AwaitingApproval { head, .. } | Self::Publishing { head, .. }, TaskEvent::Withdrawn)
            | (Self::AwaitingApproval { head, .. }, TaskEvent::Declined) => {
                Ok(Self::Cancelled { head: Some(head.clone()) })
            }
            (Self::Failed { failure, head: Some(head) }, TaskEvent::Retried)
                if failure.kind == FailureKind::PublishRefused =>
            {
                let outcome =
                    Outcome { status: OutcomeStatus::Completed, failure: None, head: Some(head.clone()) };
                Ok(Self::Publishing { head: head.clone(), outcome })
            }
            (Self::Publishing { outcome, .. }, TaskEvent::Rebased { head }) => {
                Ok(Self::Publishing { head, outcome: outcome.clone() })
            }
            (Self::Publishing { head, .. }, TaskEvent::Published) => {
                Ok(Self::Done { head: Some(head.clone()) })
            }
            (
                Self::Running { .. } | Self::Importing { .. } | Self::Publishing { .. },
                TaskEvent::Moved { failure, until, attempt },
            ) => Ok(Self::BackingOff { failure, head: None, until, attempt }),
            (Self::Queued | Self::Preparing, TaskEvent::Withdrawn) => Ok(Self::Cancelled { head: None }),
            (
                Self::Queued | Self::Preparing | Self::Running { .. } | Self::Importing { .. },
                TaskEvent::HostFailed { failure },
            ) => Ok(Self::Failed { failure, head: None }),
            (
                Self::AwaitingApproval { head, .. } | Self::Publishing { head, .. },
                TaskEvent::HostFailed { failure },
            ) => Ok(Self::Failed { failure, head: Some(head.clone()) }),
            _ => Err(illegal),
        }
    }
}

fn after_import(outcome: &Outcome, head: Option<String>, gate: Gate, next: Next) -> TaskState {
    let failure = || {
        let unsaid = "the agent reported a failure without saying why";
        let kind = cloud_code_task_schema::FailureKind::Internal;
        outcome.failure.clone().unwrap_or_else(|| Failure::new(kind, unsaid))
    };
    match outcome.status {
        OutcomeStatus::Completed => match head {
            Some(head) => match gate {
                Gate::Open => TaskState::Publishing { head, outcome: outcome.clone() },
                Gate::Approval => TaskState::AwaitingApproval { head, outcome: outcome.clone() },
            },
            None => TaskState::Done { head: None },
        },
        OutcomeStatus::Blocked => TaskState::NeedsInput { head },
        OutcomeStatus::Failed => match next {
            Next::Again { until, attempt } => {
                TaskState::BackingOff { failure: failure(), head, until, attempt }
            }
            Next::Grant { attempt } => TaskState::OverBudget { failure: failure(), head, attempt },
            Next::End => TaskState::Failed { failure: failure(), head },
        },
        OutcomeStatus::Cancelled => TaskState::Cancelled { head },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(status: OutcomeStatus) -> Outcome {
        Outcome { status, failure: None, head: None }
    }

    fn states() -> Vec<TaskState> {
        let failure = Failure::new(FailureKind::Crashed, "it crashed");
        vec![
            TaskState::Queued,
            TaskState::Preparing,
            TaskState::Running { container: "c".into(), started_at: Timestamp::UNIX_EPOCH },
            TaskState::Importing { outcome: outcome(OutcomeStatus::Completed) },
            TaskState::BackingOff {
                failure: Failure::new(FailureKind::Overloaded, "busy"),
                head: Some("h".into()),
                until: Timestamp::UNIX_EPOCH,
                attempt: 2,
            },
            TaskState::OverBudget {
                failure: Failure::new(FailureKind::Budget, "spent"),
                head: Some("h".into()),
                attempt: 2,
            },
            TaskState::AwaitingApproval { head: "h".into(), outcome: outcome(OutcomeStatus::Completed) },
            TaskState::Publishing { head: "h".into(), outcome: outcome(OutcomeStatus::Completed) },
            TaskState::Done { head: None },
            TaskState::NeedsInput { head: None },
            TaskState::Failed { failure, head: None },
            TaskState::Cancelled { head: None },
        ]
    }

    fn events() -> Vec<TaskEvent> {
        vec![
            TaskEvent::Taken,
            TaskEvent::Started { container: "c".into(), at: Timestamp::UNIX_EPOCH },
            TaskEvent::Ended { outcome: outcome(OutcomeStatus::Completed) },
            TaskEvent::Imported { head: Some("h".into()), gate: Gate::Open, next: Next::End },
            TaskEvent::Woken,
            TaskEvent::Granted,
            TaskEvent::Approved,
            TaskEvent::Declined,
            TaskEvent::Retried,
            TaskEvent::Rebased { head: "r".into() },
            TaskEvent::Published,
            TaskEvent::HostFailed { failure: Failure::new(FailureKind::DiskFull, "full") },
            TaskEvent::Withdrawn,
            TaskEvent::Moved {
                failure: Failure::new(FailureKind::Crashed, "its worker is dead"),
                until: Timestamp::UNIX_EPOCH,
                attempt: 2,
            },
        ]
    }

    #[test]
    fn every_pair_of_state_and_event_has_its_answer() {
        let mut table = String::new();
        for state in states() {
            for event in events() {
                let name = event.name();
                let next = match state.apply(event) {
                    Ok(next) => next.status().as_str(),
                    Err(_) => "-",
                };
                table.push_str(&format!("{:<18}{name:<13}{next}\n", state.status()));
            }
        }
        insta::assert_snapshot!(table, @r"
        queued            taken        preparing
        queued            started      -
        queued            ended        -
        queued            imported     -
        queued            woken        -
        queued            granted      -
        queued            approved     -
        queued            declined     -
        queued            retried      -
        queued            rebased      -
        queued            published    -
        queued            host_failed  failed
        queued            withdrawn    cancelled
        queued            moved        -
        preparing         taken        -
        preparing         started      running
        preparing         ended        -
        preparing         imported     -
        preparing         woken        -
        preparing         granted      -
        preparing         approved     -
        preparing         declined     -
        preparing         retried      -
        preparing         rebased      -
        preparing         published    -
        preparing         host_failed  failed
        preparing         withdrawn    cancelled
        preparing         moved        -
        running           taken        -
        running           started      -
        running           ended        importing
        running           imported     -
        running           woken        -
        running           granted      -
        running           approved     -
        running           declined     -
        running           retried      -
        running           rebased      -
        running           published    -
        running           host_failed  failed
        running           withdrawn    -
        running           moved        backing_off
        importing         taken        -
        importing         started      -
        importing         ended        -
        importing         imported     publishing
        importing         woken        -
        importing         granted      -
        importing         approved     -
        importing         declined     -
        importing         retried      -
        importing         rebased      -
        importing         published    -
        importing         host_failed  failed
        importing         withdrawn    -
        importing         moved        backing_off
        backing_off       taken        -
        backing_off       started      -
        backing_off       ended        -
        backing_off       imported     -
        backing_off       woken        preparing
        backing_off       granted      -
        backing_off       approved     -
        backing_off       declined     -
        backing_off       retried      -
        backing_off       rebased      -
        backing_off       published    -
        backing_off       host_failed  failed
        backing_off       withdrawn    cancelled
        backing_off       moved        -
        over_budget       taken        -
        over_budget       started      -
        over_budget       ended        -
        over_budget       imported     -
        over_budget       woken        -
        over_budget       granted      preparing
        over_budget       approved     -
        over_budget       declined     failed
        over_budget       retried      -
        over_budget       rebased      -
        over_budget       published    -
        over_budget       host_failed  failed
        over_budget       withdrawn    cancelled
        over_budget       moved        -
        awaiting_approval taken        -
        awaiting_approval started      -
        awaiting_approval ended        -
        awaiting_approval imported     -
        awaiting_approval woken        -
        awaiting_approval granted      -
        awaiting_approval approved     publishing
        awaiting_approval declined     cancelled
        awaiting_approval retried      -
        awaiting_approval rebased      -
        awaiting_approval published    -
        awaiting_approval host_failed  failed
        awaiting_approval withdrawn    cancelled
        awaiting_approval moved        -
        publishing        taken        -
        publishing        started      -
        publishing        ended        -
        publishing        imported     -
        publishing        woken        -
        publishing        granted      -
        publishing        approved     -
        publishing        declined     -
        publishing        retried      -
        publishing        rebased      publishing
        publishing        published    done
        publishing        host_failed  failed
        publishing        withdrawn    cancelled
        publishing        moved        backing_off
        done              taken        -
        done              started      -
        done              ended        -
        done              imported     -
        done              woken        -
        done              granted      -
        done              approved     -
        done              declined     -
        done              retried      -
        done              rebased      -
        done              published    -
        done              host_failed  -
        done              withdrawn    -
        done              moved        -
        needs_input       taken        -
        needs_input       started      -
        needs_input       ended        -
        needs_input       imported     -
        needs_input       woken        -
        needs_input       granted      -
        needs_input       approved     -
        needs_input       declined     -
        needs_input       retried      -
        needs_input       rebased      -
        needs_input       published    -
        needs_input       host_failed  -
        needs_input       withdrawn    -
        needs_input       moved        -
        failed            taken        -
        failed            started      -
        failed            ended        -
        failed            imported     -
        failed            woken        -
        failed            granted      -
        failed            approved     -
        failed            declined     -
        failed            retried      -
        failed            rebased      -
        failed            published    -
        failed            host_failed  -
        failed            withdrawn    -
        failed            moved        -
        cancelled         taken        -
        cancelled         started      -
        cancelled         ended        -
        cancelled         imported     -
        cancelled         woken        -
        cancelled         granted      -
        cancelled         approved     -
        cancelled         declined     -
        cancelled         retried      -
        cancelled         rebased      -
        cancelled         published    -
        cancelled         host_failed  -
        cancelled         withdrawn    -
        cancelled         moved        -
        ");
    }

    #[test]
    fn only_work_that_ended_well_is_published() {
        for (status, expected) in [
            (OutcomeStatus::Completed, TaskStatus::Publishing),
            (OutcomeStatus::Blocked, TaskStatus::NeedsInput),
            (OutcomeStatus::Failed, TaskStatus::Failed),
            (OutcomeStatus::Cancelled, TaskStatus::Cancelled),
        ] {
            let importing = TaskState::Importing { outcome: outcome(status) };
            let next = importing
                .apply(TaskEvent::Imported { head: Some("h".into()), gate: Gate::Open, next: Next::End })
                .unwrap();
            assert_eq!((next.status(), next.head()), (expected, Some("h")));
        }
    }

    #[test]
    fn only_a_publication_that_was_refused_is_tried_again_without_an_agent() {
        let failed = |kind, head: Option<&str>| TaskState::Failed {
            failure: Failure::new(kind, "no"),
            head: head.map(str::to_owned),
        };
        let refused = failed(FailureKind::PublishRefused, Some("h"));
        assert_eq!(refused.apply(TaskEvent::Retried).unwrap().status(), TaskStatus::Publishing);
        assert!(failed(FailureKind::PublishRefused, None).apply(TaskEvent::Retried).is_err());
        assert!(failed(FailureKind::Crashed, Some("h")).apply(TaskEvent::Retried).is_err());
    }

    #[test]
    fn statuses_and_states_agree() {
        let named: Vec<_> = states().iter().map(TaskState::status).collect();
        assert_eq!(named, TaskStatus::ALL);
        for state in states() {
            let stored = serde_json::to_value(&state).unwrap();
            assert_eq!(stored["status"], state.status().as_str());
            assert_eq!(serde_json::from_value::<TaskState>(stored).unwrap(), state);
        }
    }
}
