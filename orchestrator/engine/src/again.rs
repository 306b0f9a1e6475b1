//! Whether a failed attempt is followed by another, and when. By the kind of the failure alone: what a repetition cannot
//! mend is not repeated, and what may have cost money is repeated once.

use std::time::Duration;

use cloud_code_model::{Next, StopReason, TaskRecord, fnv1a};
use cloud_code_task_schema::{Failure, FailureKind};
use jiff::{SignedDuration, Timestamp};

use crate::budget::cut;
use crate::facts::{Facts, ReportFact};
use crate::fall_back::fall_back;

/// How much longer each wait is than the one before.
const GROWTH: u32 = 3;
/// Most tries of what happens in the middle of the work: an agent that dies with it twice dies of it.
const MOST_OF_WORK: u32 = 2;
/// How long work rests whose agent was ended with the service. It must not begin again in what is being stopped.
const AFTER_A_STOP: SignedDuration = SignedDuration::from_secs(5);
/// The longest that somebody who names a time is waited for. The longest usage windows are a week.
const LONGEST: SignedDuration = SignedDuration::from_hours(8 * 24);

/// What follows a failed attempt.
pub(crate) fn next(facts: &Facts, failure: &Failure, now: Timestamp) -> Next {
    let record = &facts.record;
    // The agent may have counted further: it died before it could report an attempt.
    let tried = match &facts.report {
        ReportFact::Task { report, .. } => report.attempt.max(record.attempt),
        ReportFact::NotYet { .. } | ReportFact::Unreadable { .. } => record.attempt,
    };
    let attempt = tried.saturating_add(1);
    if record.cancel_requested_at.is_some() {
        return Next::End;
    }
    if failure.kind == FailureKind::Budget {
        return match cut(&facts.budget, now).until {
            Some(until) => Next::Again { until, attempt },
            None => Next::Grant { attempt },
        };
    }
    let wait = wait(record, failure, now);
    // Another CLI need not wait for a provider that this one must wait for.
    let patience = SignedDuration::try_from(record.task.plan.retries.longest_wait.as_duration());
    let is_long = told(failure, now).zip(patience.ok()).is_some_and(|(told, patience)| told > patience);
    match wait.filter(|_| !is_long || fall_back(record, failure).is_none()) {
        Some(until) => Next::Again { until, attempt },
        None => Next::End,
    }
}

/// When another attempt may begin that needs nobody's yes.
fn wait(record: &TaskRecord, failure: &Failure, now: Timestamp) -> Option<Timestamp> {
    let retries = &record.task.plan.retries;
    if record.stop_reason == Some(StopReason::ServiceStopped) {
        return now.checked_add(AFTER_A_STOP).ok();
    }
    if record.attempt >= most(failure.kind, retries.attempts) {
        return None;
    }
    let told = told(failure, now);
    if told.is_some_and(|told| told > LONGEST) {
        return None;
    }
    let seed = format!("{} {}", record.task.id, record.attempt);
    let own = backoff(retries.first_wait.as_duration(), retries.longest_wait.as_duration(), record.attempt);
    let own = SignedDuration::try_from(jittered(own, fnv1a(seed.as_bytes()))).unwrap_or(LONGEST);
    now.checked_add(told.map_or(own, |told| told.max(own))).ok()
}

/// How many attempts a task has in all whose attempt failed so.
fn most(kind: FailureKind, attempts: u32) -> u32 {
    match kind {
        kind if !kind.retry_can_help() => 1,
        FailureKind::RateLimited
        | FailureKind::UsageLimit
        | FailureKind::Overloaded
        | FailureKind::Network
        | FailureKind::DiskFull => attempts,
        _ => attempts.min(MOST_OF_WORK),
    }
}

/// How long the provider wants us to wait.
fn told(failure: &Failure, now: Timestamp) -> Option<SignedDuration> {
    let after = failure.retry_after.and_then(|wait| SignedDuration::try_from(wait.as_duration()).ok());
    let reset = failure.resets_at.map(|at| at.duration_since(now));
    after.max(reset)
}

fn backoff(first: Duration, longest: Duration, attempt: u32) -> Duration {
    first.saturating_mul(GROWTH.saturating_pow(attempt.saturating_sub(1))).min(longest)
}

/// Up to a quarter longer, by chance: many tasks that failed together do not come back together.
fn jittered(wait: Duration, chance: u64) -> Duration {
    let share = u32::try_from(chance % 1000).unwrap_or_default();
    wait.saturating_add(wait / 4 * share / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_longest() {
        let seconds = Duration::from_secs;
        let waits = [1, 2, 3, 4, 5, 60].map(|attempt| backoff(seconds(10), seconds(600), attempt).as_secs());
        assert_eq!(waits, [10, 30, 90, 270, 600, 600]);
    }

    #[test]
    fn chance_makes_a_wait_longer_by_a_quarter_at_most() {
        let wait = Duration::from_secs(100);
        let waits: Vec<Duration> = (0..5000).map(|chance| jittered(wait, chance)).collect();
        assert_eq!(waits.iter().min(), Some(&wait));
        assert!(waits.iter().all(|found| *found < wait * 5 / 4));
        assert!(waits.iter().max().is_some_and(|longest| *longest > wait * 6 / 5));
    }

    #[test]
    fn only_what_a_repetition_can_mend_is_repeated() {
        for kind in FailureKind::ALL {
            let expected = match kind {
                FailureKind::RateLimited
                | FailureKind::UsageLimit
                | FailureKind::Overloaded
                | FailureKind::Network
                | FailureKind::DiskFull => 5,
                FailureKind::Crashed
                | FailureKind::Internal
                | FailureKind::Idle
                | FailureKind::StartTimeout => 2,
                _ => 1,
            };
            assert_eq!(most(kind, 5), expected, "{kind}");
            assert_eq!(most(kind, 1), 1, "{kind}");
        }
    }
}
