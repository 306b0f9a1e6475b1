//! The worktree of a large repository through the workspace room, beside `git worktree add` of the same commit from
//! the same mirror. Ours includes what every task does: opening the mirror, fetching (nothing new), and the ownership,
//! quarantine and link files that a container needs.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use cloud_code_model::{IssueKey, ProjectName};
use cloud_code_task_schema::BranchName;
use cloud_code_workspace::{GitView, Layout, Mirror, PrepareRequest, Source, Worktree, prepare};

use crate::measure::{WARM_UPS, in_turns, sample};
use crate::proc;
use crate::repository::{self, BRANCH};
use crate::result::{Measured, Promise, Row, Unit};
use crate::scene::{self, Scene};
use crate::table::quantity;

/// Promised: at most so many times `git worktree add`.
const FACTOR: f64 = 1.1;
/// Files of the repository.
const FILES: u32 = 50_000;
/// Runs of each side. Each leaves a tree of 200 MiB on the disk until all are done.
const RUNS: u32 = 7;

pub(super) fn measure(scene: &Scene) -> Result<Measured> {
    let folder = scene.folder("worktree")?;
    let origin = folder.join("origin.git");
    scene.say(&format!("  making a repository of {FILES} files"));
    repository::large(&origin, FILES)?;

    let layout = Layout::new(scene.folder("worktree/home")?);
    let project: ProjectName = "bench".parse()?;
    let branch: BranchName = BRANCH.parse()?;
    let source = Source::Path(origin);
    // The clone happens once in a project's life and is no part of the figure.
    Mirror::ensure(&layout, &project)?.fetch(&source, &branch, None)?;

    let mut prepare_only = Vec::new();
    let ours = |run: u32| {
        let issue: IssueKey = format!("run-{run}").parse()?;
        let paths = layout.issue(&project, &issue);
        nix::unistd::sync();
        let started = Instant::now();
        let mirror = Mirror::ensure(&layout, &project)?;
        mirror.fetch(&source, &branch, None)?;
        let base = mirror.base(&branch)?.context("the mirror has no base")?;
        let preparing = Instant::now();
        let request = PrepareRequest {
            mirror: &mirror,
            paths: &paths,
            base: &base,
            settings_from: None,
            view: GitView::Container,
            owner: scene.owner(),
        };
        let prepared = prepare(&request)?;
        let took = millis(started);
        if run >= WARM_UPS {
            prepare_only.push(millis(preparing));
        }
        ensure!(prepared.worktree == Worktree::Made, "the worktree was there before");
        whole(&paths.tree)?;
        Ok(took)
    };
    let mirror = layout.mirror(&project);
    let alternative = |run: u32| {
        let tree = folder.join(format!("alternative-{run}"));
        let mut git = repository::git(&mirror);
        git.args(["worktree", "add", "--quiet", "--detach"]).arg(&tree).arg(BRANCH);
        nix::unistd::sync();
        let started = Instant::now();
        proc::run(&mut git)?;
        let took = millis(started);
        whole(&tree)?;
        Ok(took)
    };
    // No tree is removed before the last was made: a file system that deletes, and discards blocks on the disk below,
    // made the next checkout ten to twenty times slower, for half a minute and past any sync.
    let (ours, alternative) = in_turns(scene.runs(RUNS), ours, alternative)?;
    scene::remove(&folder)?;
    let row = Row::compared(
        format!("worktree of {FILES} files: mirror, fetch, prepare"),
        Unit::Milliseconds,
        &ours,
        ("git worktree add, same mirror", &alternative),
        Promise::Ratio { factor: FACTOR, plus: 0.0 },
    );
    let alone = quantity(Unit::Milliseconds, sample(prepare_only)?.statistics().median);
    Ok(Measured { rows: vec![row], notes: vec![format!("worktree: `prepare` alone takes {alone}")] })
}

/// An error unless the last file is there, with content.
fn whole(tree: &Path) -> Result<()> {
    let last = tree.join(repository::path_of(FILES - 1));
    let meta = std::fs::metadata(&last).with_context(|| format!("{} was not checked out", last.display()))?;
    ensure!(meta.len() > 0, "{} is empty", last.display());
    Ok(())
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}
