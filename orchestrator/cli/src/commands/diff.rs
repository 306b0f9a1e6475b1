//! `diff`: an issue's work as a patch, read from the mirror, never from the worktree.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Result, bail};
use cloud_code_engine::Repo;
use cloud_code_store::Store;

use crate::app::{App, full_name};
use crate::args::DiffArgs;
use crate::ui;

/// `cloud-code diff`.
pub(crate) async fn run(app: &App, args: DiffArgs) -> Result<ExitCode> {
    let store = app.store().await?;
    let issue = app.find_issue(&store, args.issue.issue.as_deref()).await?;
    let tasks = store.tasks_of(&issue.project, &issue.key).await?;
    let Some((record, head)) = tasks.iter().rev().find_map(|t| t.state.head().map(|head| (t, head))) else {
        bail!(
            "{0} has no imported work yet\n  hint: `cloud-code status {0}` says how far it is",
            full_name(&issue)
        );
    };
    let repo = Repo::new(&app.layout, &issue.project, &record.task.plan.repo)?;
    if args.stat {
        ui::out_raw(ui::clean(&repo.diff_stat(&issue.base_sha, head)?));
        return Ok(ExitCode::SUCCESS);
    }
    let patch = repo.diff_patch(&issue.base_sha, head)?;
    // A file may hold what drives a terminal; a pipe gets the patch byte for byte, so that `git apply` takes it.
    if std::io::stdout().is_terminal() {
        ui::out_raw(ui::clean(&String::from_utf8_lossy(&patch)));
    } else {
        ui::out_raw(patch);
    }
    Ok(ExitCode::SUCCESS)
}
