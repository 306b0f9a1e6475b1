//! `run`, `continue`, `handoff` and `resume`: a task is made or taken up, and driven to its end while somebody watches.

use std::io::{IsTerminal, Read};
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use cloud_code_engine::{FollowUpRequest, RunRequest, Uncommitted};
use cloud_code_model::{Brief, Issue, ProjectPlan, QueuePlace, RuntimeKind, TaskRecord};

use super::drive::drive;
use crate::app::App;
use crate::args::{ContinueArgs, HandoffArgs, ResumeArgs, RunArgs, TaskOptions};
use crate::progress::handoff_lines;
use crate::{plan, shared, ui};

/// Longest task text. Larger than any issue; a whole file piped in by mistake is noticed.
const MAX_TEXT_BYTES: u64 = 512 * 1024;

/// `cloud-code run`.
pub(crate) async fn run(app: &App, args: RunArgs) -> Result<ExitCode> {
    let text = match &args.task {
        Some(text) => text.clone(),
        None => read_text("say what to do, as in `cloud-code run --repo . \"Fix the login check\"`")?,
    };
    let (project, plan) = plan::resolve(app, &args)?;
    warn_unsandboxed(plan.runtime);
    let engine = app.engine(plan.runtime).await?;
    let request = RunRequest {
        project,
        plan,
        text,
        mode: args.options.mode.into(),
        branch: args.branch.clone(),
        origin: None,
        uncommitted: if args.allow_dirty { Uncommitted::LeaveOut } else { Uncommitted::Refuse },
        requested_by: requested_by(),
        queue: QueuePlace::default(),
    };
    let record = engine.open(request).await.map_err(|e| anyhow!(e.chain()))?;
    say_name(&record, args.options.json);
    drive(app, &engine, &record.task.id, args.options.json).await
}

/// `cloud-code continue`.
pub(crate) async fn follow_up(app: &App, args: ContinueArgs) -> Result<ExitCode> {
    let store = app.store().await?;
    let issue = app.find_issue(&store, Some(&args.issue)).await?;
    shared::is_here(app, &store, &issue).await?;
    let last = app.newest_task(&store, &issue).await?;
    let text = match args.task {
        Some(text) => text,
        None => {
            let name = app.shortest_name(&store, &issue).await?;
            read_text(&format!("say what to do next, as in `cloud-code continue {name} \"Add a test\"`"))?
        }
    };
    let plan = plan::changed(last.task.plan, &args.options)?;
    next(app, issue, plan, text, &args.options).await
}

/// `cloud-code handoff`.
pub(crate) async fn hand_off(app: &App, args: HandoffArgs) -> Result<ExitCode> {
    let store = app.store().await?;
    let issue = app.find_issue(&store, Some(&args.issue)).await?;
    shared::is_here(app, &store, &issue).await?;
    let last = app.newest_task(&store, &issue).await?;
    let to = plan::cli_name(app, &args.to)?;
    if to == *last.cli() {
        let name = app.shortest_name(&store, &issue).await?;
        bail!(
            "{to} works on {}#{} already\n  hint: `cloud-code continue {name} \"…\"` tells it what to do next",
            issue.project,
            issue.key
        );
    }
    let text = match args.task {
        Some(text) => text,
        None => format!("Take over: {}\n\n{TAKE_OVER}", issue.title),
    };
    let plan = plan::handed_to(app, last.task.plan, to, &args.options)?;
    next(app, issue, plan, text, &args.options).await
}

/// What a CLI is told that takes over without a word of its own.
const TAKE_OVER: &str = "Another coding CLI worked on this before you; what it left is described below. Look at what is there, then \
     go on until the goal is reached.";

async fn next(
    app: &App,
    issue: Issue,
    plan: ProjectPlan,
    text: String,
    options: &TaskOptions,
) -> Result<ExitCode> {
    warn_unsandboxed(plan.runtime);
    let engine = app.engine(plan.runtime).await?;
    let mode = options.mode.into();
    let request = FollowUpRequest {
        issue,
        plan,
        text,
        mode,
        requested_by: requested_by(),
        intent: None,
        brief: Brief::default(),
        queue: QueuePlace::default(),
    };
    let record = engine.follow_up(request).await.map_err(|e| anyhow!(e.chain()))?;
    say_name(&record, options.json);
    if let (Some(handoff), false) = (&record.task.handoff, options.json) {
        for line in handoff_lines(handoff) {
            ui::err(format!("  {line}"));
        }
    }
    drive(app, &engine, &record.task.id, options.json).await
}

/// `cloud-code resume`.
pub(crate) async fn resume(app: &App, args: ResumeArgs) -> Result<ExitCode> {
    let store = app.store().await?;
    let issue = app.find_issue(&store, args.issue.issue.as_deref()).await?;
    shared::is_here(app, &store, &issue).await?;
    let record = app.newest_task(&store, &issue).await?;
    if !record.state.status().is_terminal() {
        warn_unsandboxed(record.task.plan.runtime);
    }
    let engine = app.engine(record.task.plan.runtime).await?;
    drive(app, &engine, &record.task.id, args.json).await
}

fn requested_by() -> Option<String> {
    std::env::var("USER").ok().filter(|user| !user.is_empty())
}

fn say_name(record: &TaskRecord, json: bool) {
    if !json {
        let task = &record.task;
        ui::err(format!("{}#{}: {}", task.project, task.issue, ui::one_line(&task.title)));
    }
}

fn warn_unsandboxed(runtime: RuntimeKind) {
    if runtime == RuntimeKind::Local {
        ui::err(
            "warning: runtime `local`: the CLI runs on this machine WITHOUT A SANDBOX, with its user's rights",
        );
    }
}

fn read_text(hint: &str) -> Result<String> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        bail!("the task is empty\n  hint: {hint}");
    }
    let mut text = String::new();
    stdin
        .lock()
        .take(MAX_TEXT_BYTES + 1)
        .read_to_string(&mut text)
        .context("cannot read the task from stdin")?;
    if text.len() as u64 > MAX_TEXT_BYTES {
        bail!("the task on standard input is larger than {} KiB", MAX_TEXT_BYTES / 1024);
    }
    Ok(text)
}
