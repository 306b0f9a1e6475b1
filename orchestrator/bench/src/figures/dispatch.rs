//! What cloud-code adds to a container: `cloud-code run` of a CLI that does nothing, beside `docker run --rm` of the
//! same image, mounts and confinement. A second row does real work, a commit that comes back as a branch.

use std::process::{Command, Output};

use anyhow::{Result, bail};

use crate::docker::{ContainerUser, Stage, timed};
use crate::measure::in_turns;
use crate::proc::last_words;
use crate::result::{Measured, Promise, Row, Unit};
use crate::scene::Scene;

/// Promised: at most so many times `docker run`…
const FACTOR: f64 = 1.15;
/// …plus so many milliseconds: mirror, worktree, database and import are work that `docker run` does not do.
const PLUS_MILLIS: f64 = 150.0;
/// Runs of each side that does nothing.
const RUNS: u32 = 10;
/// Runs of each side that commits: shown, not judged.
const COMMIT_RUNS: u32 = 5;
/// The exit code of a run whose task failed. A CLI that changes nothing fails by contract.
const EXIT_TASK_FAILED: i32 = 3;
/// The failure of a CLI that changed nothing.
const NO_CHANGES: &str = "no_changes";
/// What both sides run to make a change.
const CHANGE: &str = "sh -c 'echo changed >> src/main.txt'";
/// What the alternative does of the agent's work.
const CHANGE_AND_COMMIT: &str =
    "echo changed >> src/main.txt && git add --all && git commit --quiet --message Change";

pub(super) fn measure(scene: &Scene) -> Result<Measured> {
    let stage = Stage::set(scene, "dispatch")?;
    let ours = |run| {
        let (took, output) = timed(&mut stage.cloud_code(run, "true"), |_| ())?;
        let told = String::from_utf8_lossy(&output.stdout);
        if output.status.code() != Some(EXIT_TASK_FAILED) || !told.contains(NO_CHANGES) {
            bail!(
                "cloud-code run did not end with {NO_CHANGES} ({}): {}",
                output.status,
                last_words(&output)
            );
        }
        Ok(took)
    };
    let docker = |_| succeeded(&mut stage.docker_run(0, ContainerUser::Root, &["true"])?);
    let (ours, alternative) = in_turns(scene.runs(RUNS), ours, docker)?;
    let nothing = Row::compared(
        "dispatch: cloud-code run of a CLI that does nothing",
        Unit::Milliseconds,
        &ours,
        ("docker run --rm, same image and mounts", &alternative),
        Promise::Ratio { factor: FACTOR, plus: PLUS_MILLIS },
    );

    let stage = Stage::set(scene, "commit")?;
    let ours = |run| succeeded(&mut stage.cloud_code(run, CHANGE));
    let docker =
        |_| succeeded(&mut stage.docker_run(0, ContainerUser::Cli, &["sh", "-c", CHANGE_AND_COMMIT])?);
    let (ours, alternative) = in_turns(scene.runs(COMMIT_RUNS), ours, docker)?;
    let commit = Row::compared(
        "dispatch: cloud-code run of a CLI that changes a file, to the delivered branch",
        Unit::Milliseconds,
        &ours,
        ("docker run --rm that changes and commits", &alternative),
        Promise::Nothing,
    );
    Ok(Measured { rows: vec![nothing, commit], notes: Vec::new() })
}

fn succeeded(command: &mut Command) -> Result<f64> {
    let (took, output): (f64, Output) = timed(command, |_| ())?;
    if !output.status.success() {
        bail!("{} failed ({}): {}", command.get_program().display(), output.status, last_words(&output));
    }
    Ok(took)
}
