//! What the engine tells those who watch from outside, counted where it happens and after it is stored. Nothing here may
//! fail or wait.

use std::time::{Duration, Instant};

use cloud_code_metrics::{Ended, Spent, Tokens, instruments};
use cloud_code_model::{TaskRecord, TaskState};
use cloud_code_runtime::RuntimeError;
use cloud_code_task_schema::Usage;
use jiff::Timestamp;

use crate::facts::Facts;
use crate::words;

/// A task's move is stored.
pub(crate) fn moved(before: &TaskRecord, after: &TaskRecord) {
    let (from, to) = (before.state.status(), after.state.status());
    if from == to {
        return;
    }
    let counted = instruments();
    counted.left(from.as_str(), between(before.updated_at, after.updated_at));
    if let Some(result) = result(before, after) {
        counted.attempt_ended(before.task.plan.cli.as_str(), &result);
    }
    if to.is_terminal() {
        let took = between(after.task.created_at, after.updated_at);
        counted.task_ended(Ended { project: after.task.project.as_str(), status: to.as_str(), took });
    }
}

/// How an attempt ended, when this move is its end.
fn result(before: &TaskRecord, after: &TaskRecord) -> Option<String> {
    match (&before.state, &after.state) {
        (TaskState::Importing { outcome }, _) => Some(match &outcome.failure {
            Some(failure) => failure.kind.to_string(),
            None => words(&outcome.status),
        }),
        // The host could not go on with it.
        (TaskState::Preparing | TaskState::Running { .. }, TaskState::Failed { failure, .. }) => {
            Some(failure.kind.to_string())
        }
        _ => None,
    }
}

/// The figures of a task's last report are stored. `before` has those that were stored until then, so what is told twice
/// is counted once.
pub(crate) fn used(before: &TaskRecord, now: &Usage) {
    let was = &before.usage;
    let more =
        |now: Option<u64>, was: Option<u64>| now.unwrap_or_default().saturating_sub(was.unwrap_or_default());
    let usd = |usage: &Usage| usage.cost_usd.map_or(0.0, |cost| cost.as_f64());
    let plan = &before.task.plan;
    instruments().spent(Spent {
        cli: plan.cli.as_str(),
        model: plan.model.as_deref(),
        cost_source: &words(&now.cost_source),
        usd: usd(now) - usd(was),
        tokens: Tokens {
            input: more(now.input_tokens, was.input_tokens),
            output: more(now.output_tokens, was.output_tokens),
            cache_read: more(now.cache_read_tokens, was.cache_read_tokens),
            cache_write: more(now.cache_write_tokens, was.cache_write_tokens),
        },
    });
}

/// Measures the start of a container.
pub(crate) async fn start<T>(
    facts: &Facts,
    starting: impl Future<Output = Result<T, RuntimeError>>,
) -> Result<T, RuntimeError> {
    let begun = Instant::now();
    let started = starting.await;
    let runtime = facts.record.task.plan.runtime.to_string();
    instruments().container_start(&runtime, begun.elapsed(), started.is_ok());
    started
}

/// A clock that was set back counts as no time.
fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}
