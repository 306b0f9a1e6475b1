//! The most memory that `cloud-code run` ever held while its task ran, beside the `docker` client that waits for the
//! same container. Only the process itself: the git programs it starts for moments are not counted.

use std::process::Command;

use anyhow::{Context as _, Result};

use super::MIB;
use crate::docker::{ContainerUser, Stage, timed};
use crate::measure::in_turns;
use crate::proc;
use crate::result::{Measured, Promise, Row, Unit};
use crate::scene::Scene;

/// Most resident bytes.
const MAX_BYTES: f64 = 25.0 * MIB;
/// Runs of each side. Each takes three seconds of sleep, and memory hardly varies.
const RUNS: u32 = 3;
/// What the task does: long enough that the run is in its waiting state.
const TASK: &str = "sleep 3";
/// How long that takes at least; whoever ends earlier did not do it.
const TASK_MILLIS: f64 = 3_000.0;

pub(super) fn measure(scene: &Scene) -> Result<Measured> {
    let stage = Stage::set(scene, "memory")?;
    let ours = |run| peak(&mut stage.cloud_code(run, TASK));
    let docker = |_| {
        let command: Vec<&str> = TASK.split(' ').collect();
        peak(&mut stage.docker_run(0, ContainerUser::Root, &command)?)
    };
    let (ours, alternative) = in_turns(scene.runs(RUNS), ours, docker)?;
    let row = Row::compared(
        "orchestrator: most resident memory during one task",
        Unit::Bytes,
        &ours,
        ("client of docker run", &alternative),
        Promise::AtMost(MAX_BYTES),
    );
    Ok(Measured { rows: vec![row], notes: Vec::new() })
}

/// VmHWM as last seen: the kernel keeps the maximum, so no peak between two looks is missed.
fn peak(command: &mut Command) -> Result<f64> {
    let mut most = None;
    let (took, output) = timed(command, |pid| {
        if let Some(memory) = proc::memory(pid) {
            most = Some(memory.peak);
        }
    })?;
    anyhow::ensure!(
        took >= TASK_MILLIS,
        "{} ended before its task could have ({}): {}",
        command.get_program().display(),
        output.status,
        proc::last_words(&output)
    );
    most.context("the program ended before it could be looked at")
}
