//! `clean`: remove the workspaces of ended issues. Branches stay, in the mirror and in the user's repository, and what is
//! kept of the attempts stays in the history, unless that is to go as well.

use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use cloud_code_engine::Repo;
use cloud_code_model::Issue;
use cloud_code_store::{Database, Store};
use jiff::Timestamp;

use crate::app::{App, full_name};
use crate::args::CleanArgs;
use crate::ui;

/// How many issues one `--all` goes through.
const MAX_ISSUES: u32 = 10_000;

/// `cloud-code clean`.
pub(crate) async fn run(app: &App, args: CleanArgs) -> Result<ExitCode> {
    let store = app.store().await?;
    let issues = match (&args.issue.issue, args.all) {
        (_, true) => store.issues(None, MAX_ISSUES).await?,
        (Some(named), false) => vec![app.find_issue(&store, Some(named)).await?],
        (None, false) => bail!("name an issue, or pass --all\n  hint: `cloud-code list` shows them all"),
    };
    let mut cleaned = 0_u32;
    for issue in &issues {
        let name = full_name(issue);
        if issue.cleaned_at.is_some() {
            if args.history && forget(app, issue)? {
                cleaned += 1;
            }
            continue;
        }
        if let Some(open) = open_task(&store, issue).await? {
            if !args.all {
                bail!(
                    "{name} is still {open}\n  hint: `cloud-code cancel {name}` stops it, `cloud-code resume {name}` finishes it"
                );
            }
            ui::err(format!("left alone: {name} is still {open}"));
            continue;
        }
        let record = app.newest_task(&store, issue).await?;
        let engine = app.engine(record.task.plan.runtime).await?;
        if !args.force
            && let Some(lost) = engine.unimported(issue).await.map_err(|e| anyhow!(e.chain()))?
        {
            let tree = app.layout.issue(&issue.project, &issue.key).tree;
            let why = format!("{name} has work that stands nowhere else: {}", ui::one_line(&lost));
            if !args.all {
                bail!(
                    "{why}\n  hint: it is in {}; `cloud-code continue {name} \"…\"` can go on with it, --force removes it",
                    tree.display()
                );
            }
            ui::err(format!("left alone: {why} (--force removes it)"));
            continue;
        }
        // Marked first: from then on no task can be added, and a removal that breaks off leaves nothing that a later
        // task would take for its worktree.
        store.mark_cleaned(&issue.project, &issue.key, Timestamp::now()).await?;
        engine.remove_leftovers(&record).await.map_err(|e| anyhow!(e.chain()))?;
        Repo::new(&app.layout, &issue.project, &record.task.plan.repo)?.remove(&issue.key)?;
        ui::out(format!("cleaned {name}, its branch {} stays", issue.branch));
        if args.history {
            forget(app, issue)?;
        }
        cleaned += 1;
    }
    if cleaned == 0 {
        ui::out("nothing to clean");
    }
    Ok(ExitCode::SUCCESS)
}

/// Drops what is kept of an issue's attempts; whether there was something.
fn forget(app: &App, issue: &Issue) -> Result<bool> {
    let count = app.history().forget_issue(&issue.project, &issue.key, Timestamp::now())?;
    if count > 0 {
        let attempts = if count == 1 { "1 attempt".to_owned() } else { format!("{count} attempts") };
        ui::out(format!("dropped {attempts} of {} from the history", full_name(issue)));
    }
    Ok(count > 0)
}

async fn open_task(store: &Database, issue: &Issue) -> Result<Option<String>> {
    let tasks = store.tasks_of(&issue.project, &issue.key).await?;
    Ok(tasks.iter().find(|t| !t.state.status().is_terminal()).map(|t| t.state.status().to_string()))
}
