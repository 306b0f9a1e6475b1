//! What a task costs the orchestrator: a thousand queued tasks to their end, a hundred at once, through the local runtime and
//! with a CLI that does nothing. Agents and the CLI are not counted, but they share the processors: tasks per second are of
//! all of it, processor time and memory of `serve` alone.
//!
//! One task goes from a comment on GitHub to the answer there, and the others are queued like it, with nothing to be said on
//! GitHub: its limits, which `serve` keeps, would make hours of a thousand.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use cloud_code_store::Database;

use super::MIB;
use crate::gate::Gate;
use crate::house::House;
use crate::measure::sample;
use crate::proc::{self, Memory};
use crate::result::{Measured, Promise, Row, Unit};
use crate::scene::Scene;
use crate::wait;

/// Tasks of the measured stretch.
const TASKS: u32 = 1_000;
/// The same when somebody wants an answer soon.
const QUICK_TASKS: u32 = 200;
/// Tasks at one time.
const AT_ONCE: u32 = 100;
/// Promised: resident memory of a `serve` that has nothing to do.
const IDLE_BYTES: f64 = 25.0 * MIB;
/// Promised: more of it for each running task.
const RUNNING_BYTES: f64 = 256.0 * 1024.0;
/// How long `serve` is left alone before its memory is looked at: its first looks at GitHub and at its disk are over.
const SETTLE: Duration = Duration::from_secs(5);
/// How long the whole stretch may take.
const DEADLINE: Duration = Duration::from_secs(900);
/// Between two questions to the database beside what is measured.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// Seconds to the milliseconds of a cell.
const MILLIS: f64 = 1_000.0;

/// What one run of the figure brought.
struct Run {
    idle: Memory,
    running: Memory,
    after: Memory,
    /// Processor seconds of a second while all agents run and none has news.
    watching: f64,
    processor_seconds: f64,
    took: Duration,
}

pub(super) fn measure(scene: &Scene) -> Result<Measured> {
    let tasks = if scene.is_quick { QUICK_TASKS } else { TASKS };
    let runs = (0..scene.runs(1)).map(|_| run(scene, tasks)).collect::<Result<Vec<Run>>>()?;
    let of = |of: &dyn Fn(&Run) -> f64| sample(runs.iter().map(of).collect());
    let count = f64::from(tasks);
    let row = |what: String, unit, of_run: &dyn Fn(&Run) -> f64, promise| -> Result<Row> {
        Ok(Row::alone(what, unit, &of(of_run)?, promise, Vec::new()))
    };
    let rows = vec![
        row(
            "load: resident memory of an idle `serve`".to_owned(),
            Unit::Bytes,
            &|run| run.idle.resident,
            Promise::AtMost(IDLE_BYTES),
        )?
        .beside("LazyAF 94 MB, Claude Code Agent 88 MB, Cloud Code in Python 97 MB, vibe-kanban 27 MB"),
        row(
            format!("load: more of it for each of {AT_ONCE} running tasks"),
            Unit::Bytes,
            &|run| (run.running.resident - run.idle.resident) / f64::from(AT_ONCE),
            Promise::AtMost(RUNNING_BYTES),
        )?,
        row(
            "load: processor time of `serve` per second and running task without news".to_owned(),
            Unit::Milliseconds,
            &|run| run.watching / f64::from(AT_ONCE) * MILLIS,
            Promise::Nothing,
        )?,
        row(
            format!("load: processor time of `serve` per task, of {tasks}, {AT_ONCE} at once"),
            Unit::Milliseconds,
            &|run| run.processor_seconds / count * MILLIS,
            Promise::Nothing,
        )?,
        row(
            format!("load: tasks a second, of {tasks}, {AT_ONCE} at once"),
            Unit::PerSecond,
            &|run| count / run.took.as_secs_f64(),
            Promise::Nothing,
        )?,
        row(
            format!("load: resident memory of `serve` after {} tasks", tasks + AT_ONCE),
            Unit::Bytes,
            &|run| run.after.resident,
            Promise::Nothing,
        )?,
    ];
    let note = "load: queued tasks to their end, each by an agent of its own, with nothing to be said on GitHub, whose limits \
                would be measured instead; agents and CLI share this machine's processors and are not in the processor \
                time and memory of `serve`";
    Ok(Measured { rows, notes: vec![note.to_owned()] })
}

fn run(scene: &Scene, tasks: u32) -> Result<Run> {
    let gate = Gate::closed(scene.folder("load-gate")?)?;
    let mut house = House::set(scene, "load", AT_ONCE, &gate.cli())?;
    house.serve("warn")?;
    wait::until(DEADLINE, "`serve` being ready", || Ok(house.serving()?.is_ready()?.then_some(())))?;
    let pid = house.serving()?.pid();
    let memory = || proc::memory(pid).context("serve ended");
    std::thread::sleep(SETTLE);
    let idle = memory()?;
    let store = house.store()?;
    gate.open()?;
    let pattern = house.pattern(&store)?;

    gate.close()?;
    house.queue(&store, &pattern, 0..AT_ONCE)?;
    wait::looking_every(ASK_EVERY, DEADLINE, "all tasks running", || {
        Ok((house.tasks(&store, "running")? == u64::from(AT_ONCE)).then_some(()))
    })?;
    std::thread::sleep(SETTLE);
    let (running, used) = (memory()?, proc::processor_seconds(pid)?);
    std::thread::sleep(SETTLE);
    let watching = (proc::processor_seconds(pid)? - used) / SETTLE.as_secs_f64();
    gate.open()?;
    ended(&house, &store, || gate.let_through())?;

    let used = proc::processor_seconds(pid)?;
    let numbers = AT_ONCE..AT_ONCE + tasks;
    house.queue(&store, &pattern, numbers.clone())?;
    // `serve` looks at its queue every few seconds when nobody wakes it; that wait is no part of the rate.
    wait::until(DEADLINE, "the first task being begun", || {
        Ok((house.tasks(&store, "queued")? < u64::from(tasks)).then_some(()))
    })?;
    let started = Instant::now();
    ended(&house, &store, || Ok(()))?;
    let took = started.elapsed();
    let processor_seconds = proc::processor_seconds(pid)? - used;
    house.must_be_done(&store, &pattern, 0..numbers.end)?;
    std::thread::sleep(SETTLE);
    Ok(Run { idle, running, after: memory()?, watching, processor_seconds, took })
}

/// Waits until no task is open.
fn ended(house: &House, store: &Database, mut meanwhile: impl FnMut() -> Result<()>) -> Result<()> {
    wait::looking_every(ASK_EVERY, DEADLINE, "the end of all tasks", || {
        meanwhile()?;
        Ok((house.open_tasks(store)? == 0).then_some(()))
    })
}
