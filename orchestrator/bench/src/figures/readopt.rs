//! A restart while agents work: from the start of `serve` until each of five hundred live agents has its driver again. Killed
//! rather than stopped: nothing was put in order before.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::gate::Gate;
use crate::house::House;
use crate::measure::sample;
use crate::result::{Measured, Promise, Row, Unit};
use crate::scene::Scene;
use crate::{interrupt, wait};

/// Agents that live.
const AGENTS: u32 = 500;
/// The same when somebody wants an answer soon.
const QUICK_AGENTS: u32 = 100;
/// Promised.
const MOST_MILLIS: f64 = 2_000.0;
/// Restarts of the same agents.
const RUNS: u32 = 3;
/// How long the agents may take to start, and to be found again.
const DEADLINE: Duration = Duration::from_secs(900);
/// Between two questions to the database.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// How a driver says that it waits for its agent.
const WAITS: &str = "step=\"wait\"";
/// Before a task's id in the log.
const TASK: &str = "task.id=";
/// Only the driver's own words, which say what each look at a task came to.
const LOG: &str = "error,cloud_code_engine::drive=debug";

pub(super) fn measure(scene: &Scene) -> Result<Measured> {
    let agents = if scene.is_quick { QUICK_AGENTS } else { AGENTS };
    let gate = Gate::closed(scene.folder("readopt-gate")?)?;
    let mut house = House::set(scene, "readopt", agents, &gate.cli())?;
    house.serve("warn")?;
    let store = house.store()?;
    gate.open()?;
    let pattern = house.pattern(&store)?;
    gate.close()?;
    house.queue(&store, &pattern, 0..agents)?;
    wait::looking_every(ASK_EVERY, DEADLINE, "all agents working", || {
        Ok((house.tasks(&store, "running")? == u64::from(agents)).then_some(()))
    })?;
    let mut times = Vec::new();
    for _ in 0..scene.runs(RUNS) {
        interrupt::check()?;
        house.kill()?;
        let started = house.serve(LOG)?;
        let took =
            wait::looking_every(Duration::from_millis(10), DEADLINE, "all agents having drivers", || {
                let waiting = waiting(&house.said()).len();
                Ok((waiting == agents as usize).then(|| started.elapsed()))
            })?;
        times.push(took.as_secs_f64() * 1_000.0);
        let running = house.tasks(&store, "running")?;
        ensure!(running == u64::from(agents), "{running} of {agents} tasks run after the restart");
    }
    let promise = if agents == AGENTS { Promise::AtMost(MOST_MILLIS) } else { Promise::Nothing };
    let row = Row::alone(
        format!("readopt: start of `serve` until {agents} live agents have their drivers"),
        Unit::Milliseconds,
        &sample(times)?,
        promise,
        Vec::new(),
    );
    Ok(Measured { rows: vec![row], notes: Vec::new() })
}

/// The tasks whose driver has seen that nothing is to be done but to wait for the agent.
fn waiting(log: &str) -> HashSet<&str> {
    let steps = log.lines().filter(|line| line.contains(WAITS));
    steps.filter_map(|line| line.split_once(TASK)?.1.split_whitespace().next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_counts_when_its_driver_waits_and_once() {
        let log = "serving shop\n\
            2026-01-01T00:00:00Z DEBUG next step task.id=01A step=\"wait\"\n\
            2026-01-01T00:00:00Z DEBUG next step task.id=01B step=\"import\"\n\
            2026-01-01T00:00:01Z DEBUG next step task.id=01A step=\"wait\"\n";
        assert_eq!(waiting(log), HashSet::from(["01A"]));
    }
}
