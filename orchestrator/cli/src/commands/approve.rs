//! `approve` and `reject`: a person's yes or no to finished work that waits for it.

use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use cloud_code_engine::spent;
use cloud_code_model::{Issue, TaskEvent, TaskRecord, TaskState};
use cloud_code_store::{Database, Store};
use cloud_code_task_schema::FailureKind;
use jiff::Timestamp;

use super::drive::drive;
use crate::app::App;
use crate::args::ResumeArgs;
use crate::{shared, ui};

/// `cloud-code approve`.
pub(crate) async fn approve(app: &App, args: ResumeArgs) -> Result<ExitCode> {
    let record = decided(app, &args, TaskEvent::Approved).await?;
    // What was asked for on a forge is driven by `serve`, which looks at its rows all the time.
    if record.task.intent.is_some() {
        ui::err("approved; `cloud-code serve` goes on with it");
        return Ok(ExitCode::SUCCESS);
    }
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
    // A yes is a row; what follows from it without `serve` is done here.
    if record.task.intent.is_none() {
        shared::is_here(app, &store, &issue).await?;
    }
    let event = match (&record.state, event) {
        (TaskState::AwaitingApproval { .. }, event) => event,
        (TaskState::OverBudget { .. }, TaskEvent::Approved) => allow(app, &record).await?,
        (TaskState::BackingOff { failure, .. }, TaskEvent::Approved)
            if failure.kind == FailureKind::Budget =>
        {
            allow(app, &record).await?
        }
        (TaskState::Queued, TaskEvent::Approved) if is_spent(&store, &record).await? => {
            allow(app, &record).await?;
            return Ok(record);
        }
        (TaskState::OverBudget { .. }, event) => event,
        (state, _) => bail!(
            "{}#{} does not wait for a yes: it is {}\n  hint: `cloud-code status {1}` shows it",
            issue.project,
            issue.key,
            state.status()
        ),
    };
    Ok(store.transition(&record, event, Timestamp::now()).await?)
}

/// Allows as much again of each budget that is used up.
async fn allow(app: &App, record: &TaskRecord) -> Result<TaskEvent> {
    let engine = app.engine(record.task.plan.runtime).await?;
    // Each yes is one of its own.
    let key = format!("command-line-{}", Timestamp::now());
    let by = std::env::var("USER").ok().filter(|user| !user.is_empty());
    let scopes = engine.grant(record, &key, by.as_deref()).await.map_err(|e| anyhow!(e.chain()))?;
    let scopes = scopes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match scopes.is_empty() {
        true => ui::err("the budget had come back already"),
        false => ui::err(format!("as much again is allowed of the budget: {scopes}")),
    }
    Ok(TaskEvent::Granted)
}

/// Whether a budget keeps it from beginning.
async fn is_spent(store: &Database, record: &TaskRecord) -> Result<bool> {
    let spent = spent(store, record, Timestamp::now()).await;
    Ok(spent.map_err(|e| anyhow!(e.chain()))?.is_some())
}
