//! How long somebody waits for the CLI: from a comment on GitHub to the CLI's own first moment, through the local runtime;
//! and the same from the start of `cloud-code run`. Between the two moments lie the webhook, the question whether its author
//! may, the texts of the issue, a fetch, a worktree, an agent and its CLI.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::helpers::STAMP;
use crate::house::{House, words};
use crate::measure::{WARM_UPS, sample};
use crate::proc::{self, Guarded};
use crate::result::{Measured, Promise, Row, Unit};
use crate::scene::Scene;
use crate::{clock, interrupt, repository, wait};

/// Promised of the median.
const MOST_MILLIS: f64 = 100.0;
/// Runs of each way in.
const RUNS: u32 = 20;
/// How long one may take to its end.
const DEADLINE: Duration = Duration::from_secs(60);
/// The same where GitHub is written to: a fast machine uses up what may be written in a minute, and waits for the next.
const WRITTEN_WITHIN: Duration = Duration::from_secs(180);
/// Nanoseconds of a millisecond.
const NANOS_A_MILLI: f64 = 1e6;
/// The file that the CLI changes.
const CHANGED: &str = "README.md";
/// From a table that was made once with their own servers: the median, and the longest.
const OTHERS: &str = "Claude Code Agent 56 ms (longest 0.85 s), vibe-kanban 175 ms, LazyAF 3.3 s (6.1 s), \
     Cloud Code in Python 6.3 s (9.8 s)";

pub(super) fn measure(scene: &Scene) -> Result<Measured> {
    let row = |what: &str, times| -> Result<Row> {
        let row =
            Row::alone(what, Unit::Milliseconds, &sample(times)?, Promise::AtMost(MOST_MILLIS), Vec::new());
        Ok(row.beside(OTHERS))
    };
    let rows = vec![
        row("exec: comment on GitHub to the start of the CLI, local runtime", from_comment(scene)?)?,
        row("exec: start of `cloud-code run` to the start of the CLI, local runtime", from_run(scene)?)?,
    ];
    Ok(Measured { rows, notes: Vec::new() })
}

fn from_comment(scene: &Scene) -> Result<Vec<f64>> {
    // The house makes the folder, and is told of a file in it before.
    let stamps = scene.folder("exec")?.join("shared/stamps");
    let cli = words(&scene.helper()?, &[STAMP, &stamps.to_string_lossy(), CHANGED]);
    let mut house = House::set(scene, "exec", 1, &cli)?;
    house.shared_folder()?;
    house.serve("warn")?;
    let runs = WARM_UPS + scene.runs(RUNS);
    let mut times = Vec::new();
    for (before, issue) in house.issues(runs).into_iter().enumerate() {
        interrupt::check()?;
        let asked = clock::now_nanos()?;
        house.comment(issue, "/cloud-code run Say more");
        let begun = stamp(&stamps, before)?;
        times.push(millis(begun - asked));
        // The next one must find nothing to wait for.
        wait::until(WRITTEN_WITHIN, "the pull request", || Ok(house.is_done(issue)?.then_some(())))?;
    }
    Ok(times.split_off(WARM_UPS as usize))
}

fn from_run(scene: &Scene) -> Result<Vec<f64>> {
    let root = scene.folder("exec-run")?;
    let stamps = root.join("stamps");
    // The CLI's user may append, whoever makes it.
    fs::write(&stamps, "")?;
    repository::give(&stamps, scene.owner())?;
    let repository = root.join("repository");
    repository::small(&repository)?;
    let cli = format!("{} {STAMP} {} {CHANGED}", scene.helper()?.display(), stamps.display());
    let mut times = Vec::new();
    for run in 0..WARM_UPS + scene.runs(RUNS) {
        interrupt::check()?;
        let mut command = Command::new(scene.cloud_code()?);
        command.arg("--home").arg(root.join("home")).arg("run").arg("--repo").arg(&repository);
        command.args(["--project", "bench", "--cli", "command", "--command", &cli, "--runtime", "local"]);
        command.args(["--branch", &format!("exec-{run}"), "--json", "Say more"]);
        command.env_remove("RUST_LOG").env_remove("CLOUD_CODE_HOME");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let asked = clock::now_nanos()?;
        let output = Guarded::start(&mut command)?.watch(DEADLINE, |_| ())?;
        ensure!(output.status.success(), "cloud-code run failed: {}", proc::last_words(&output));
        times.push(millis(stamp(&stamps, run as usize)? - asked));
    }
    Ok(times.split_off(WARM_UPS as usize))
}

/// The moment at which the CLI started for the so-many-eth time, from 0.
fn stamp(stamps: &Path, number: usize) -> Result<i64> {
    wait::until(DEADLINE, "the start of the CLI", || {
        let text = fs::read_to_string(stamps).unwrap_or_default();
        let line = text.lines().nth(number).filter(|_| text.ends_with('\n'));
        line.map(|line| line.parse().context("the CLI noted no time")).transpose()
    })
}

#[expect(clippy::cast_precision_loss, reason = "seconds at most")]
fn millis(nanos: i64) -> f64 {
    nanos as f64 / NANOS_A_MILLI
}
