//! From the rename of `tasking.yaml` to the CLI's first instruction, beside a loop that waits for the same rename and
//! starts the same program. The end is taken by the program itself, so loading it counts on both sides.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use cloud_code_task_schema::TASKING_FILE;

use super::agent_idle::loop_name;
use crate::agent::{self, Ground};
use crate::helpers::{READY, STAMP, WATCH};
use crate::measure::in_turns;
use crate::proc::Guarded;
use crate::repository;
use crate::result::{Measured, Promise, Row, Unit};
use crate::scene::Scene;
use crate::wait;

/// Most milliseconds at the median.
const MAX_MILLIS: f64 = 10.0;
/// Runs of each side: the middle half of forty is stable on a busy machine.
const RUNS: u32 = 40;
/// How long one task may take in all.
const DEADLINE: Duration = Duration::from_secs(60);
/// Between two tasks: the agent writes its last report of one before it is idle again, as it would be in life.
const SETTLE: Duration = Duration::from_millis(100);
/// Nanoseconds of a millisecond.
const NANOS_PER_MILLI: f64 = 1e6;

pub(super) fn measure(scene: &Scene) -> Result<Measured> {
    let helper = scene.helper()?;
    let folder = scene.folder("latency")?;
    let stamps = Stamps::new(scene, folder.join("agent-stamps"))?;
    let command = [text(&helper)?, STAMP.to_owned(), text(&stamps.file())?];
    let mut ground = Ground::prepare(scene.folder("latency/agent")?, scene.owner(), &command)?;
    let mut agent = ground.start(scene)?;

    let loop_stamps = Stamps::new(scene, folder.join("loop-stamps"))?;
    let watched = scene.folder("latency/loop")?;
    let mut bare = Command::new(&helper);
    bare.arg(WATCH).arg(&watched).arg(TASKING_FILE).arg(&helper).arg(STAMP).arg(loop_stamps.file());
    let mut bare = Guarded::start(bare.stdin(Stdio::null()).stdout(Stdio::piped()))?;
    if bare.first_line()? != READY {
        bail!("the bare inotify loop did not start");
    }

    let ours = |run: u32| {
        let assigned = ground.assign()?;
        // The whole task, so that nothing of it runs while the loop has its turn.
        let report = wait::until(DEADLINE, "the end of a task", || {
            ground.must_live(&mut agent)?;
            ground.ended()
        })?;
        let Some(started) = stamps.of(run)? else {
            let failure = report.failure.map(|failure| failure.message).unwrap_or_default();
            bail!("the agent did not start the CLI: {failure}");
        };
        thread::sleep(SETTLE);
        millis(assigned, started)
    };
    let alternative = |run: u32| {
        let assigned = agent::publish(&watched, "version: 1\n")?;
        let started = wait::until(DEADLINE, "the loop's program", || loop_stamps.of(run))?;
        thread::sleep(SETTLE);
        millis(assigned, started)
    };
    let (ours, alternative) = in_turns(scene.runs(RUNS), ours, alternative)?;
    let row = Row::compared(
        "agent: rename of tasking.yaml to the CLI's start",
        Unit::Milliseconds,
        &ours,
        (&format!("{} and spawn", loop_name()?), &alternative),
        Promise::AtMost(MAX_MILLIS),
    );
    Ok(Measured { rows: vec![row], notes: Vec::new() })
}

/// The file to which a started program appends the time.
struct Stamps {
    folder: PathBuf,
}

impl Stamps {
    fn new(scene: &Scene, folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder)?;
        repository::give(&folder, scene.owner())?;
        Ok(Self { folder })
    }

    fn file(&self) -> PathBuf {
        self.folder.join("starts")
    }

    /// When the program was started for the run of this number, in nanoseconds.
    fn of(&self, run: u32) -> Result<Option<i64>> {
        let text = fs::read_to_string(self.file()).unwrap_or_default();
        let whole = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
        let starts: Vec<&str> = whole.lines().collect();
        if starts.len() > run as usize + 1 {
            bail!("the program was started {} times for {} tasks", starts.len(), run + 1);
        }
        starts.get(run as usize).map(|at| at.parse().context("a start is not a number")).transpose()
    }
}

#[expect(clippy::cast_precision_loss, reason = "a difference of at most a minute")]
fn millis(from: i64, to: i64) -> Result<f64> {
    if to < from {
        bail!("the program started before its task was written");
    }
    Ok((to - from) as f64 / NANOS_PER_MILLI)
}

fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).with_context(|| format!("the path {} is not UTF-8", path.display()))
}
