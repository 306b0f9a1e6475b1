//! The story of an issue: what its rows, its moves and its kept attempts say together, in the order it happened.
//!
//! A pure function of what is given, so that `show` and `export` tell the same.

use std::collections::BTreeMap;

use cloud_code_model::{Attempt, Issue, Move, Published, TaskRecord, TaskState, TaskStatus};
use cloud_code_task_schema::{CliName, CostSource, Failure, Mode, TaskId, Usage, Usd};
use jiff::Timestamp;
use serde::Serialize;

use crate::{AttemptFile, Dropped, Kept};

/// What a story is told from.
#[derive(Debug, Clone, Serialize)]
pub struct Rows {
    /// The issue.
    pub issue: Issue,
    /// Its tasks, oldest first.
    pub tasks: Vec<TaskRecord>,
    /// Their attempts.
    pub attempts: Vec<Attempt>,
    /// Their moves.
    pub moves: Vec<Move>,
    /// What came of it on the forge, if it has one.
    pub published: Option<Published>,
}

/// The story of an issue.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Story {
    /// The issue.
    pub issue: Issue,
    /// What came of it on the forge, if it has one.
    pub published: Option<Published>,
    /// Its tasks, oldest first.
    pub tasks: Vec<TaskStory>,
    /// Attempts of it that were dropped from the history.
    pub dropped: Vec<Dropped>,
}

/// The story of a task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TaskStory {
    /// Its id.
    pub id: TaskId,
    /// One line.
    pub title: String,
    /// May it edit, or only read?
    pub mode: Mode,
    /// Its CLI.
    pub cli: CliName,
    /// Who asked.
    pub requested_by: Option<String>,
    /// When.
    pub asked_at: Timestamp,
    /// Where it is.
    pub status: TaskStatus,
    /// Why it failed, when it did.
    pub failure: Option<Failure>,
    /// When a person asked to stop it.
    pub cancel_requested_at: Option<Timestamp>,
    /// What it used, all attempts together.
    pub usage: Usage,
    /// Where it was, from its beginning.
    pub phases: Vec<Phase>,
    /// Moves that are not told one by one: of very many the middle is left out, and before moves were noted there are none.
    pub moves_left_out: u64,
    /// Its attempts.
    pub attempts: Vec<AttemptStory>,
}

/// A time that a task spent in one state.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Phase {
    /// Since when.
    pub at: Timestamp,
    /// Where it was.
    pub status: TaskStatus,
    /// What brought it there; `asked` for the first.
    pub event: String,
    /// How long it stayed, in milliseconds; none for where it is now.
    pub took_ms: Option<i64>,
    /// The attempt that was going on.
    pub attempt: Option<u32>,
    /// Why it failed, if that brought it there.
    pub failure: Option<Failure>,
    /// Until when it rests.
    pub until: Option<Timestamp>,
    /// The branch's commit.
    pub head: Option<String>,
}

/// The story of an attempt.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AttemptStory {
    /// From 1.
    pub number: u32,
    /// When its container was made.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How, in a word.
    pub result: Option<String>,
    /// What it cost by itself, where that is known: figures count up over a task's attempts.
    pub cost: Option<Cost>,
    /// What is kept of it.
    pub kept: Option<AttemptFile>,
    /// That it was dropped.
    pub dropped: Option<Dropped>,
}

/// An amount, and how it is known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Cost {
    /// US dollars.
    pub usd: Usd,
    /// How it is known.
    pub source: CostSource,
}

impl Story {
    /// Tells it.
    pub fn tell(rows: &Rows, kept: &[Kept], dropped: Vec<Dropped>) -> Self {
        let tasks = rows.tasks.iter().map(|record| task_story(rows, record, kept, &dropped)).collect();
        Self { issue: rows.issue.clone(), published: rows.published.clone(), tasks, dropped }
    }
}

fn task_story(rows: &Rows, record: &TaskRecord, kept: &[Kept], dropped: &[Dropped]) -> TaskStory {
    let task = &record.task;
    let moves: Vec<&Move> = rows.moves.iter().filter(|one| one.task == task.id).collect();
    TaskStory {
        id: task.id.clone(),
        title: task.title.clone(),
        mode: task.mode,
        cli: task.plan.cli.clone(),
        requested_by: task.requested_by.clone(),
        asked_at: task.created_at,
        status: record.state.status(),
        failure: match &record.state {
            TaskState::Failed { failure, .. } => Some(failure.clone()),
            _ => None,
        },
        cancel_requested_at: record.cancel_requested_at,
        usage: record.usage.clone(),
        phases: phases(record, &moves),
        // The row was written once when it was made, and counts each move since.
        moves_left_out: u64::try_from(record.version - 1).unwrap_or(0).saturating_sub(moves.len() as u64),
        attempts: attempts(rows, record, kept, dropped),
    }
}

fn phases(record: &TaskRecord, moves: &[&Move]) -> Vec<Phase> {
    let first = Phase {
        at: record.task.created_at,
        status: TaskStatus::Queued,
        event: "asked".to_owned(),
        took_ms: None,
        attempt: None,
        failure: None,
        until: None,
        head: None,
    };
    let later = moves.iter().map(|one| Phase {
        at: one.at,
        status: one.status,
        event: one.event.clone(),
        took_ms: None,
        attempt: one.detail.attempt,
        failure: one.detail.failure.clone(),
        until: one.detail.until,
        head: one.detail.head.clone(),
    });
    let mut phases: Vec<Phase> = std::iter::once(first).chain(later).collect();
    if phases.last().is_some_and(|last| last.status != record.state.status()) {
        // Of a task from before moves were noted, only where it came to is known.
        phases.push(Phase {
            at: record.updated_at,
            status: record.state.status(),
            event: "came here".to_owned(),
            took_ms: None,
            attempt: None,
            failure: record.state.failure().cloned(),
            until: None,
            head: record.state.head().map(str::to_owned),
        });
    }
    let ends: Vec<Timestamp> = phases.iter().skip(1).map(|phase| phase.at).collect();
    for (phase, end) in phases.iter_mut().zip(ends) {
        phase.took_ms = i64::try_from(end.duration_since(phase.at).as_millis()).ok().map(|ms| ms.max(0));
    }
    phases
}

fn attempts(rows: &Rows, record: &TaskRecord, kept: &[Kept], dropped: &[Dropped]) -> Vec<AttemptStory> {
    let id = &record.task.id;
    let kept: BTreeMap<u32, &AttemptFile> =
        kept.iter().filter(|one| one.file.task == *id).map(|one| (one.file.attempt, &one.file)).collect();
    let own = rows.attempts.iter().filter(|attempt| attempt.task == *id);
    let ended = |number: u32| kept.get(&number).copied();
    // Where the host could not go on, only what is kept says how it ended.
    let story = |attempt: &Attempt| AttemptStory {
        number: attempt.number,
        started_at: attempt.started_at,
        finished_at: attempt.finished_at.or_else(|| Some(ended(attempt.number)?.finished_at)),
        result: attempt.result.clone().or_else(|| Some(ended(attempt.number)?.ending.status.clone())),
        cost: own_cost(&kept, attempt.number),
        kept: kept.get(&attempt.number).map(|file| (*file).clone()),
        dropped: dropped
            .iter()
            .rev()
            .find(|one| one.key.task == *id && one.key.attempt == attempt.number)
            .filter(|_| !kept.contains_key(&attempt.number))
            .cloned(),
    };
    own.map(story).collect()
}

/// The difference to the attempt before; unknown where that is not kept or did not say.
fn own_cost(kept: &BTreeMap<u32, &AttemptFile>, number: u32) -> Option<Cost> {
    let usage = &kept.get(&number)?.usage;
    let until = usage.cost_usd?.as_f64();
    let since = match number {
        1 => 0.0,
        // The host counts on after an agent counted by itself, so numbers may have gaps.
        _ => kept.range(..number).next_back().and_then(|(_, file)| file.usage.cost_usd)?.as_f64(),
    };
    Some(Cost { usd: Usd::new((until - since).max(0.0)).ok()?, source: usage.cost_source })
}
