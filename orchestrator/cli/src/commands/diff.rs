//! `diff`: an issue's work as a patch, read from the mirror, never from the worktree.

use std::process::ExitCode;

use anyhow::{Result, bail};
use cloud_code_engine::Repo;
use cloud_code_store::Store;

use crate::app::App;
use crate::args::DiffArgs;
use crate::ui;

/// `cloud-code diff`.
pub(crate) async fn run(app: &App, args: DiffArgs) -> Result<ExitCode> {
    let store = app.store().await?;
    let issue = app.find_issue(&store, args.issue.issue.as_deref()).await?;
    let tasks = store.tasks_of(&issue.project, &issue.key).await?;
    let Some((record, head)) = tasks.iter().rev().find_map(|t| t.state.head().map(|head| (t, head))) else {
        bail!(
            "{}#{} has no imported work yet\n  hint: `cloud-code status {}` says how far it is",
            issue.project,
            issue.key,
            issue.key
        );
    };
    let repo = Repo::new(&app.layout, &issue.project, &record.task.plan.repo)?;
    let text = match args.stat {
        true => repo.diff_stat(&issue.base_sha, head)?.into_bytes(),
        false => repo.diff_patch(&issue.base_sha, head)?,
    };
    ui::out_raw(text);
    Ok(ExitCode::SUCCESS)
}
