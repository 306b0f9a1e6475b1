//! From the start of `serve` until `/readyz` answers 200: in a home folder where nothing ever ran, and on a store with a
//! hundred thousand tasks that have ended.

mod fill;

use std::time::Duration;

use anyhow::Result;

use crate::house::{House, words};
use crate::measure::{WARM_UPS, sample};
use crate::proc;
use crate::result::{Measured, Promise, Row, Unit};
use crate::scene::Scene;
use crate::stats::Sample;
use crate::{interrupt, wait};

/// Ended tasks in the store.
const TASKS: u32 = 100_000;
/// The same when somebody wants an answer soon.
const QUICK_TASKS: u32 = 10_000;
/// Promised of an empty home folder.
const EMPTY_MILLIS: f64 = 100.0;
/// Promised of a full store.
const FULL_MILLIS: f64 = 300.0;
/// Starts of each kind.
const RUNS: u32 = 10;
/// How long one start may take.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long `serve` on the full store is left alone before its memory is looked at: it has looked at every thread by then.
const SETTLE: Duration = Duration::from_secs(10);
/// What others take, from a table that was made once with their own servers.
const OTHERS: &str =
    "vibe-kanban 95 ms, Claude Code Agent 0.91 s, Cloud Code in Python 0.91 s, LazyAF 1.06 s";

pub(super) fn measure(scene: &Scene) -> Result<Measured> {
    let runs = scene.runs(RUNS);
    let mut empty = Vec::new();
    for _ in 0..WARM_UPS + runs {
        interrupt::check()?;
        let mut house = House::set(scene, "start-empty", 1, &words("true".as_ref(), &[]))?;
        empty.push(ready(&mut house)?);
    }
    let tasks = if scene.is_quick { QUICK_TASKS } else { TASKS };
    let mut house = fill::house(scene, tasks)?;
    let mut full = Vec::new();
    for _ in 0..WARM_UPS + runs {
        interrupt::check()?;
        house.stop();
        full.push(ready(&mut house)?);
    }
    std::thread::sleep(SETTLE);
    let memory = proc::memory(house.serving()?.pid());
    let memory = sample(memory.map(|memory| memory.peak).into_iter().collect())?;
    let row = |what: String, times, promise| -> Result<Row> {
        Ok(Row::alone(what, Unit::Milliseconds, &counted(times)?, promise, Vec::new()))
    };
    let on_full = if tasks == TASKS { Promise::AtMost(FULL_MILLIS) } else { Promise::Nothing };
    let what = format!("start: `serve` to ready with {tasks} ended tasks in the store");
    let rows = vec![
        row(
            "start: `serve` to ready in an empty home folder".to_owned(),
            empty,
            Promise::AtMost(EMPTY_MILLIS),
        )?
        .beside(OTHERS),
        row(what, full, on_full)?,
        Row::alone(
            format!("start: most resident memory of `serve` with {tasks} ended tasks"),
            Unit::Bytes,
            &memory,
            Promise::Nothing,
            Vec::new(),
        ),
    ];
    Ok(Measured { rows, notes: Vec::new() })
}

fn ready(house: &mut House) -> Result<f64> {
    let started = house.serve("warn")?;
    wait::closely(DEADLINE, "`serve` being ready", || Ok(house.serving()?.is_ready()?.then_some(())))?;
    Ok(started.elapsed().as_secs_f64() * 1_000.0)
}

/// Without the warm-ups, which fill the caches of the machine.
fn counted(times: Vec<f64>) -> Result<Sample> {
    sample(times.into_iter().skip(WARM_UPS as usize).collect())
}
