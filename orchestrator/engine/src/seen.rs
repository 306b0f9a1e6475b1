//! What the engine tells those who watch from outside, counted where it happens and after it is stored. Nothing here may
//! fail or wait.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cloud_code_metrics::{Ended, Over, Span, Spent, Tokens, instruments, tracer};
use cloud_code_model::{TaskRecord, TaskState, TaskStatus};
use cloud_code_runtime::RuntimeError;
use cloud_code_task_schema::{TaskId, Usage};
use jiff::Timestamp;

use crate::facts::Facts;
use crate::{EngineError, words};

/// A task's move is stored.
pub(crate) fn moved(before: &TaskRecord, after: &TaskRecord) {
    let (from, to) = (before.state.status(), after.state.status());
    if from == to {
        return;
    }
    let counted = instruments();
    counted.left(from.as_str(), between(before.updated_at, after.updated_at));
    let result = result(before, after);
    if let Some(result) = &result {
        counted.attempt_ended(before.task.plan.cli.as_str(), result);
    }
    trace_move(before, after, result.as_deref());
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

/// When the attempts that this process drives began, by task. The first one began with its task; of a later one nobody
/// knows it after a restart.
static BEGAN: Mutex<BTreeMap<TaskId, Timestamp>> = Mutex::new(BTreeMap::new());

/// The spans that end with a move: the phase, and with the last one the attempt.
fn trace_move(before: &TaskRecord, after: &TaskRecord, result: Option<&str>) {
    let Some(tracer) = tracer() else { return };
    let status = before.state.status();
    let id = &before.task.id;
    let mut began = BEGAN.lock().unwrap_or_else(PoisonError::into_inner);
    let failure = match &after.state {
        TaskState::Failed { failure, .. } | TaskState::BackingOff { failure, .. } => {
            Some(failure.message.as_str())
        }
        _ => None,
    };
    let span = Over {
        result,
        error: failure,
        ..over(before, Span::Phase(status.as_str()), before.updated_at, after.updated_at)
    };
    // A wait between two attempts is a part of neither.
    if status == TaskStatus::BackingOff {
        began.insert(id.clone(), after.updated_at);
        return;
    }
    tracer.over(&span);
    let to = after.state.status();
    if !to.is_terminal() && to != TaskStatus::BackingOff {
        return;
    }
    let from = match before.attempt {
        1 => before.task.created_at,
        _ => began.get(id).copied().unwrap_or(before.updated_at),
    };
    began.remove(id);
    let root = over(before, Span::Attempt, from, after.updated_at);
    tracer.over(&Over { result: Some(to.as_str()), error: failure, ..root });
}

/// The host did a step of a task, or could not.
pub(crate) fn step(
    facts: &Facts,
    name: &'static str,
    began: Timestamp,
    ended: Timestamp,
    error: Option<&EngineError>,
) {
    let Some(tracer) = tracer() else { return };
    let record = &facts.record;
    let error = error.map(EngineError::chain);
    let status = record.state.status();
    let is_over = status.is_terminal() || status == TaskStatus::BackingOff;
    let span = Span::Step { phase: (!is_over).then_some(status.as_str()), name };
    tracer.over(&Over { error: error.as_deref(), ..over(record, span, began, ended) });
}

fn over<'a>(record: &'a TaskRecord, span: Span<'a>, from: Timestamp, to: Timestamp) -> Over<'a> {
    Over {
        span,
        task: record.task.id.as_str(),
        project: record.task.project.as_str(),
        cli: record.task.plan.cli.as_str(),
        attempt: record.attempt,
        from: from.into(),
        to: to.into(),
        result: None,
        error: None,
    }
}

/// A clock that was set back counts as no time.
fn between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or_default()
}
