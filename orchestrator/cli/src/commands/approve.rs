//! `approve` and `reject`: a person's yes or no to finished work that waits for it.

use std::process::ExitCode;

use anyhow::{Result, bail};
use cloud_code_model::{Issue, TaskEvent, TaskRecord, TaskState};
use cloud_code_store::Store;
use jiff::Timestamp;

use super::drive::drive;
use crate::app::App;
use crate::args::ResumeArgs;
use crate::ui;

/// `cloud-code approve`.
pub(crate) async fn approve(app: &App, args: ResumeArgs) -> Result<ExitCode> {
    let record = decided(app, &args, TaskEvent::Approved).await?;
    let engine = app.engine(record.task.plan.runtime).await?;
    drive(app, &engine, &record.task.id, args.json).await
}

/// `cloud-code reject`.
pub(crate) async fn reject(app: &App, args: ResumeArgs) -> Result<ExitCode> {
    let record = decided(app, &args, TaskEvent::Declined).await?;
    ui::out(format!(
        "{}#{}: {}, its work is kept",
        record.task.project,
        record.task.issue,
        record.state.status()
    ));
    Ok(ExitCode::SUCCESS)
}

async fn decided(app: &App, args: &ResumeArgs, event: TaskEvent) -> Result<TaskRecord> {
    let store = app.store().await?;
    let issue: Issue = app.find_issue(&store, args.issue.issue.as_deref()).await?;
    let record = app.newest_task(&store, &issue).await?;
    if !matches!(record.state, TaskState::AwaitingApproval { .. }) {
        bail!(
            "{}#{} does not wait for a yes: it is {}\n  hint: `cloud-code status {1}` shows it",
            issue.project,
            issue.key,
            record.state.status()
        );
    }
    Ok(store.transition(&record, event, Timestamp::now()).await?)
}
