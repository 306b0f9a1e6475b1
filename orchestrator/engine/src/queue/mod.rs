//! Whose turn it is. Pure: the open tasks and what limits them in, a turn or a reason to wait for each out; so `serve` and
//! `cloud-code queue` cannot disagree.
//!
//! Higher priorities go first. Among equal ones projects take turns, however many tasks one of them has; within a project
//! the oldest goes first. Who waits long is lifted, so that nobody waits for ever.

mod account;
mod circle;
mod gather;
mod room;
mod waits;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use cloud_code_model::{Pause, PauseScope, ProjectName, QueueLimits, TaskRecord, TaskState};
use cloud_code_task_schema::{CliName, Priority, TaskId};
use jiff::Timestamp;

use self::account::{Account, limited};
pub use self::circle::waits_for_itself;
pub(crate) use self::circle::{awaited, numbered};
pub use self::gather::{spent, unmet};
pub use self::room::Room;
pub use self::waits::{Unmet, Waits};

/// Everything that decides about turns.
pub struct Picture<'a, 'b> {
    /// Every task that has not ended, in the order they were asked for.
    pub open: &'a [TaskRecord],
    /// Tasks that have a driver already.
    pub driven: &'b BTreeSet<TaskId>,
    /// How many may run.
    pub limits: &'b QueueLimits,
    /// What people stopped.
    pub pauses: &'b [Pause],
    /// What this machine has left.
    pub room: Room,
    /// Why tasks with dependencies cannot begin; those without an entry can.
    pub unmet: &'b BTreeMap<TaskId, Unmet>,
    /// Tasks whose budget is used up, with what to say.
    pub spent: &'b BTreeMap<TaskId, String>,
    /// How many turns each project had.
    pub turns: &'b Turns,
    /// Now.
    pub now: Timestamp,
}

/// A task that waits, or whose turn it is.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry<'a> {
    /// The task.
    pub record: &'a TaskRecord,
    /// Why it waits; its turn has come when there is no reason.
    pub waits: Option<Waits>,
}

/// How many turns each project had, so that one with many tasks does not keep the others waiting.
#[derive(Debug, Clone, Default)]
pub struct Turns(BTreeMap<ProjectName, u64>);

impl Turns {
    fn of(&self, project: &ProjectName) -> u64 {
        self.0.get(project).copied().unwrap_or_default()
    }

    /// Counts a turn.
    pub fn taken(&mut self, project: &ProjectName) {
        let count = self.of(project).saturating_add(1);
        self.0.insert(project.clone(), count);
    }

    /// A project that had nothing to do begins where the others are: what it did not use is not saved up.
    pub fn join<'a>(&mut self, waiting: impl Iterator<Item = &'a ProjectName>) {
        let waiting: BTreeSet<&ProjectName> = waiting.collect();
        let least = waiting.iter().filter_map(|name| self.0.get(*name)).min().copied().unwrap_or_default();
        self.0.retain(|name, _| waiting.contains(name));
        for name in waiting {
            let count = self.0.entry(name.clone()).or_insert(least);
            *count = (*count).max(least);
        }
    }
}

/// What runs, counted.
#[derive(Default)]
struct Load {
    all: u32,
    of_project: BTreeMap<ProjectName, u32>,
    of_cli: BTreeMap<CliName, u32>,
}

impl Load {
    fn add(&mut self, record: &TaskRecord) {
        self.all += 1;
        *self.of_project.entry(record.task.project.clone()).or_default() += 1;
        *self.of_cli.entry(record.cli().clone()).or_default() += 1;
    }
}

/// A turn or a reason to wait for each task that has not begun, or that comes again: those whose turn it is first, then the
/// others in the order in which they would go.
pub fn plan<'a>(picture: &Picture<'a, '_>) -> Vec<Entry<'a>> {
    let mut load = Load::default();
    for record in picture.open.iter().filter(|record| is_served(record)) {
        if runs(&record.state) || picture.driven.contains(&record.task.id) {
            load.add(record);
        }
    }
    let limited = limited(picture.open);
    let (mut now, mut later) = (Vec::new(), Vec::new());
    for record in ordered(picture) {
        let waits = reason(picture, &load, &limited, record);
        match waits {
            None => {
                load.add(record);
                now.push(Entry { record, waits });
            }
            Some(_) => later.push(Entry { record, waits }),
        }
    }
    now.extend(later);
    now
}

/// Tasks of the command line have a driver of their own, which holds no place here.
fn is_served(record: &TaskRecord) -> bool {
    record.task.intent.is_some()
}

const fn runs(state: &TaskState) -> bool {
    matches!(
        state,
        TaskState::Preparing
            | TaskState::Running { .. }
            | TaskState::Importing { .. }
            | TaskState::Publishing { .. }
    )
}

/// Those that wait, in the order in which they would go if there were places for all.
fn ordered<'a>(picture: &Picture<'a, '_>) -> Vec<&'a TaskRecord> {
    let waiting = picture.open.iter().filter(|record| {
        is_served(record) && record.state.waits_for_turn() && !picture.driven.contains(&record.task.id)
    });
    let mut ranks: BTreeMap<Reverse<u64>, BTreeMap<&ProjectName, Vec<&TaskRecord>>> = BTreeMap::new();
    for record in waiting {
        let rank = ranks.entry(Reverse(lifted(record, picture))).or_default();
        rank.entry(&record.task.project).or_default().push(record);
    }
    let mut turns = picture.turns.clone();
    let mut order = Vec::new();
    for mut projects in ranks.into_values() {
        for tasks in projects.values_mut() {
            // The next one stands at the end, where it is taken from.
            tasks.sort_by_key(|record| Reverse((record.task.created_at, &record.task.id)));
        }
        let next = |projects: &BTreeMap<&'a ProjectName, Vec<&TaskRecord>>, turns: &Turns| {
            let heads =
                projects.iter().filter_map(|(name, tasks)| Some((*name, tasks.last()?.task.created_at)));
            heads.min_by_key(|(name, created_at)| (turns.of(name), *created_at)).map(|(name, _)| name)
        };
        while let Some(name) = next(&projects, &turns) {
            order.extend(projects.get_mut(name).and_then(Vec::pop));
            turns.taken(name);
        }
    }
    order
}

/// Its priority as a number, higher first: one more for each while that it has waited, up to that of `high`.
fn lifted(record: &TaskRecord, picture: &Picture<'_, '_>) -> u64 {
    let rank = |priority: Priority| match priority {
        Priority::Low => 0_u64,
        Priority::Medium => 1,
        Priority::High => 2,
        Priority::Critical => 3,
    };
    let own = rank(record.task.queue.priority);
    let waited = picture.now.duration_since(record.updated_at);
    let waited = u64::try_from(waited.as_millis()).unwrap_or_default();
    let every = u64::try_from(picture.limits.lift_after.as_duration().as_millis()).unwrap_or(u64::MAX);
    let lifts = waited / every.max(1);
    own.max(own.saturating_add(lifts).min(rank(Priority::High)))
}

fn reason(
    picture: &Picture<'_, '_>,
    load: &Load,
    limited: &BTreeMap<Account<'_>, Timestamp>,
    record: &TaskRecord,
) -> Option<Waits> {
    let (task, cli) = (&record.task, record.cli());
    if record.cancel_requested_at.is_some() {
        // Taking it back needs no place, and waits for nothing.
        return None;
    }
    let is_of = |pause: &&Pause| match &pause.scope {
        PauseScope::All => true,
        PauseScope::Project(name) => *name == task.project,
        PauseScope::Cli(name) => name == cli,
    };
    if let Some(pause) = picture.pauses.iter().find(is_of) {
        return Some(Waits::Paused(pause.clone()));
    }
    if let TaskState::BackingOff { until, failure, .. } = &record.state
        && *until > picture.now
    {
        return Some(Waits::ComesAgain { until: *until, kind: failure.kind });
    }
    if let Some(until) = limited.get(&Account::of(&task.plan)).filter(|until| **until > picture.now) {
        return Some(Waits::AccountHeld { until: *until, cli: cli.clone() });
    }
    if let Some(unmet) = picture.unmet.get(&task.id) {
        return Some(Waits::Dependency(unmet.clone()));
    }
    if let Some(why) = picture.spent.get(&task.id) {
        return Some(Waits::Budget { why: why.clone() });
    }
    let limits = picture.limits;
    let of_project = load.of_project.get(&task.project).copied().unwrap_or_default();
    if let Some(most) = limits.per_project.get(&task.project).filter(|most| of_project >= **most) {
        return Some(Waits::ProjectFull { most: *most });
    }
    let of_cli = load.of_cli.get(cli).copied().unwrap_or_default();
    if let Some(most) = limits.per_cli.get(cli).filter(|most| of_cli >= **most) {
        return Some(Waits::CliFull { cli: cli.clone(), most: *most });
    }
    if load.all >= limits.concurrency {
        return Some(Waits::Full { most: limits.concurrency });
    }
    picture.room.lacks(limits, load.all)
}

#[cfg(test)]
mod tests;
