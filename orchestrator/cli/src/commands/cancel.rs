//! `cancel`: stop a task. Whoever drives it does the stopping; if nobody does, this command drives it to its end.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use cloud_code_engine::{EngineError, Silent};
use cloud_code_store::Store;
use jiff::Timestamp;
use tokio::sync::Notify;

use super::drive::stopped_short;
use crate::app::App;
use crate::args::IssueArg;
use crate::{shared, ui};

/// How often the end is looked for while another process does the stopping.
const LOOK: Duration = Duration::from_millis(200);

/// `cloud-code cancel`.
pub(crate) async fn run(app: &App, args: IssueArg) -> Result<ExitCode> {
    let store = app.store().await?;
    let issue = app.find_issue(&store, args.issue.as_deref()).await?;
    let record = app.newest_task(&store, &issue).await?;
    let name = format!("{}#{}", issue.project, issue.key);
    if record.state.status().is_terminal() {
        ui::out(format!("{name} has ended already: {}", record.state.status()));
        return Ok(ExitCode::SUCCESS);
    }
    let id = &record.task.id;
    store.request_cancel(id, Timestamp::now()).await?;
    ui::err(format!("stopping {name}, its work is kept"));
    if let Some(who) = shared::elsewhere(app, &store, &issue).await? {
        ui::out(format!("{name}: asked; it is stopped by {who}"));
        return Ok(ExitCode::SUCCESS);
    }
    let engine = app.engine(record.task.plan.runtime).await?;
    let record = loop {
        match engine.drive(id, &mut Silent, &Notify::new()).await {
            Ok(record) => break record,
            Err(EngineError::Driven { .. }) => tokio::time::sleep(LOOK).await,
            Err(error) => return stopped_short(app, &engine, id, &error).await,
        }
    };
    ui::out(format!("{name}: {}", record.state.status()));
    Ok(ExitCode::SUCCESS)
}
