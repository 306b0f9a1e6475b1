//! What a task costs the orchestrator: a thousand tasks from a comment on GitHub to the answer there, a hundred at once,
//! with a CLI that does nothing. Agents, the CLI and the fake GitHub are not counted, but they share the processors: tasks
//! per second are of all of it, processor time and memory of `serve` alone.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::MIB;
use crate::gate::Gate;
use crate::house::House;
use crate::measure::sample;
use crate::proc::{self, Memory};
use crate::result::{Measured, Promise, Row, Unit};
use crate::scene::Scene;
use crate::{interrupt, wait};

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
/// What is asked on each issue: work that needs no change of a file.
const QUESTION: &str = "/cloud-code ask What is this?";
/// Seconds to the milliseconds of a cell.
const MILLIS: f64 = 1_000.0;

/// What one run of the figure brought.
struct Run {
    idle: Memory,
    running: Memory,
    after: Memory,
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
    let note = "load: from the comment on a fake GitHub to the answer there, by an agent of its own each; agents, CLI and the \
                fake GitHub share this machine's processors and are not in processor time and memory of `serve`";
    Ok(Measured { rows, notes: vec![note.to_owned()] })
}

fn run(scene: &Scene, tasks: u32) -> Result<Run> {
    let gate = Gate::closed(scene.folder("load-gate")?)?;
    let mut house = House::set(scene, "load", AT_ONCE, &gate.cli())?;
    house.serve("error")?;
    wait::until(DEADLINE, "`serve` being ready", || Ok(house.serving()?.is_ready()?.then_some(())))?;
    let pid = house.serving()?.pid();
    let memory = || proc::memory(pid).context("serve ended");
    let store = house.store()?;
    std::thread::sleep(SETTLE);
    let idle = memory()?;

    let held = house.issues(AT_ONCE);
    held.iter().for_each(|issue| house.comment(*issue, QUESTION));
    wait::looking_every(ASK_EVERY, DEADLINE, "all tasks running", || {
        Ok((house.tasks(&store, "running")? == u64::from(AT_ONCE)).then_some(()))
    })?;
    std::thread::sleep(SETTLE);
    let running = memory()?;
    gate.open()?;
    done(&house, held, || gate.let_through())?;

    let issues = house.issues(tasks);
    wait::looking_every(ASK_EVERY, DEADLINE, "the issues being known", || {
        Ok((house.open_figures(&store)?.deliveries.count == 0).then_some(()))
    })?;
    let (used, started) = (proc::processor_seconds(pid)?, Instant::now());
    for issue in &issues {
        interrupt::check()?;
        house.comment(*issue, QUESTION);
    }
    done(&house, issues, || Ok(()))?;
    let took = started.elapsed();
    let processor_seconds = proc::processor_seconds(pid)? - used;
    std::thread::sleep(SETTLE);
    Ok(Run { idle, running, after: memory()?, processor_seconds, took })
}

/// Waits until GitHub shows of each issue that it is done. Nothing else would prove that the work was.
fn done(house: &House, mut issues: Vec<u64>, mut meanwhile: impl FnMut() -> Result<()>) -> Result<()> {
    wait::looking_every(ASK_EVERY, DEADLINE, "the end of all tasks", || {
        meanwhile()?;
        while let Some(issue) = issues.last() {
            if !house.is_done(*issue)? {
                return Ok(None);
            }
            issues.pop();
        }
        Ok(Some(()))
    })
}
