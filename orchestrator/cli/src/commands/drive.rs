//! Drives a task while a person watches, listens to Ctrl-C meanwhile, and tells how it ended.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use cloud_code_engine::{Engine, EngineError, Observer, Repo};
use cloud_code_model::{TaskRecord, TaskState};
use cloud_code_task_schema::TaskId;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use super::{EXIT_CANCELLED, EXIT_ERROR, EXIT_FAILED, EXIT_NEEDS_INPUT, EXIT_OPEN};
use crate::app::App;
use crate::progress::{observer, usage_line};
use crate::ui;

/// Drives the task and tells how it ended.
pub(crate) async fn drive(app: &App, engine: &Engine, id: &TaskId, json: bool) -> Result<ExitCode> {
    let nudge = Arc::new(Notify::new());
    let mut interrupts = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let mut terminations = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut watching = observer(json);
    let driven = {
        let driving = to_its_end(engine, id, watching.as_mut(), &nudge, json);
        tokio::pin!(driving);
        let mut wish = Wish::None;
        let mut wishes = FuturesUnordered::new();
        loop {
            tokio::select! {
                driven = &mut driving => break Some(driven),
                () = interrupted(&mut interrupts, &mut terminations) => {
                    wish = wish.next();
                    if wish == Wish::Leave {
                        break None;
                    }
                    // Beside the driving: it may be in the middle of writing, and what is wished for waits for that.
                    wishes.push(fulfil(engine, id, wish));
                }
                Some(fulfilled) = wishes.next() => {
                    // What cannot be done now is said, and the driving goes on: it is what ends the task.
                    if let Err(error) = fulfilled {
                        ui::err(ui::clean(&format!("warning: {}", error.chain())));
                    }
                    nudge.notify_one();
                }
            }
        }
    };
    drop(watching);
    match driven {
        Some(Ok(record)) => {
            if !json {
                report(app, engine, &record).await?;
            }
            Ok(exit_code(&record))
        }
        Some(Err(error)) => stopped_short(app, engine, id, &error).await,
        None => {
            ui::err(format!(
                "left as it is; `cloud-code resume {}` goes on with it",
                name(app, engine, id).await
            ));
            Ok(ExitCode::from(EXIT_OPEN))
        }
    }
}

/// Drives a task through all its attempts.
async fn to_its_end(
    engine: &Engine,
    id: &TaskId,
    watching: &mut dyn Observer,
    nudge: &Notify,
    json: bool,
) -> Result<TaskRecord, EngineError> {
    loop {
        let record = engine.drive(id, watching, nudge).await?;
        let TaskState::BackingOff { failure, until, attempt, .. } = &record.state else { return Ok(record) };
        let wait = until.duration_since(Timestamp::now());
        if !json {
            ui::err(ui::clean(&format!(
                "{}: {}; attempt {attempt} of {} begins at {}",
                failure.kind,
                failure.message,
                record.task.plan.retries.attempts,
                until.strftime("%H:%M:%S UTC")
            )));
        }
        tokio::select! {
            () = tokio::time::sleep(wait.try_into().unwrap_or_default()) => {}
            // Somebody wants it stopped.
            () = nudge.notified() => {}
        }
    }
}

/// The driver could not go on. A task that has not ended is not lost, and a program that called us must know that.
pub(crate) async fn stopped_short(
    app: &App,
    engine: &Engine,
    id: &TaskId,
    error: &EngineError,
) -> Result<ExitCode> {
    let is_open = match engine.store().task(id).await {
        Ok(record) => record.is_some_and(|record| !record.state.status().is_terminal()),
        // Nobody can say: the cautious answer is that it has not ended.
        Err(_) => true,
    };
    if !is_open || matches!(error, EngineError::Driven { .. }) {
        return Err(anyhow!(error.chain()));
    }
    let name = name(app, engine, id).await;
    ui::err(ui::clean(&format!("error: {}", error.chain())));
    ui::err(format!("  hint: the task is not lost: `cloud-code resume {name}` goes on with it"));
    Ok(ExitCode::from(EXIT_OPEN))
}

/// How a person names the task's issue; the newest one's name may be left out.
async fn name(app: &App, engine: &Engine, id: &TaskId) -> String {
    let Ok(Some(record)) = engine.store().task(id).await else { return String::new() };
    match engine.store().issue(&record.task.project, &record.task.issue).await {
        Ok(Some(issue)) => app.shortest_name(engine.store(), &issue).await.unwrap_or_default(),
        Ok(None) | Err(_) => String::new(),
    }
}

async fn interrupted(interrupts: &mut Signal, terminations: &mut Signal) {
    tokio::select! {
        _ = interrupts.recv() => {}
        _ = terminations.recv() => {}
    }
}

/// What a person wants who presses Ctrl-C, by how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    None,
    /// Stop the task and keep its work.
    Stop,
    /// End its container at once.
    End,
    /// Leave everything as it is.
    Leave,
}

impl Wish {
    const fn next(self) -> Self {
        match self {
            Self::None => Self::Stop,
            Self::Stop => Self::End,
            Self::End | Self::Leave => Self::Leave,
        }
    }
}

async fn fulfil(engine: &Engine, id: &TaskId, wish: Wish) -> Result<(), EngineError> {
    match wish {
        Wish::Stop => {
            ui::err("stopping the task, its work is kept; press Ctrl-C again to end its container at once");
            Ok(engine.store().request_cancel(id, Timestamp::now()).await?)
        }
        Wish::End => {
            ui::err("ending the container; press Ctrl-C again to leave everything as it is");
            engine.end_now(id).await
        }
        Wish::None | Wish::Leave => Ok(()),
    }
}

/// The exit code that stands for how a task ended.
pub(crate) fn exit_code(record: &TaskRecord) -> ExitCode {
    match record.state {
        TaskState::Done { .. } => ExitCode::SUCCESS,
        TaskState::NeedsInput { .. } => ExitCode::from(EXIT_NEEDS_INPUT),
        TaskState::Cancelled { .. } => ExitCode::from(EXIT_CANCELLED),
        TaskState::Failed { .. } => ExitCode::from(EXIT_FAILED),
        TaskState::Queued | TaskState::Preparing | TaskState::Running { .. } => ExitCode::from(EXIT_ERROR),
        TaskState::AwaitingApproval { .. } | TaskState::OverBudget { .. } => ExitCode::from(EXIT_NEEDS_INPUT),
        TaskState::Importing { .. } | TaskState::Publishing { .. } => ExitCode::from(EXIT_ERROR),
        TaskState::BackingOff { .. } => ExitCode::from(EXIT_OPEN),
    }
}

/// The end of a run as a person wants to read it.
async fn report(app: &App, engine: &Engine, record: &TaskRecord) -> Result<()> {
    let task = &record.task;
    let issue = engine.store().issue(&task.project, &task.issue).await?;
    let issue = issue.ok_or_else(|| anyhow!("the issue {}#{} is gone", task.project, task.issue))?;
    ui::out("");
    match &record.state {
        TaskState::Failed { failure, .. } => {
            ui::out(format!("failed: {}: {}", failure.kind, ui::clean(&failure.message)));
            ui::out(format!("  hint: {}", failure.kind.advice()));
        }
        state => ui::out(format!("{}: {}", state.status(), ui::one_line(&task.title))),
    }
    if let Some(summary) = summary(record) {
        ui::out("");
        for line in ui::clean(summary).trim().lines() {
            ui::out(format!("  {line}"));
        }
    }
    let repo = Repo::new(&app.layout, &task.project, &task.plan.repo)?;
    if let Some(head) = record.state.head() {
        ui::out("");
        for line in ui::clean(&repo.diff_stat(&issue.base_sha, head)?).trim_end().lines() {
            ui::out(format!("  {line}"));
        }
        ui::out("");
        let delivered = matches!(record.state, TaskState::Done { .. });
        ui::out(format!("branch   {} ({})", issue.branch, head.get(..12).unwrap_or(head)));
        ui::out(format!("where    {}", repo.where_to_find(&issue.branch, delivered)));
    }
    let usage = usage_line(&record.usage);
    if !usage.is_empty() {
        ui::out(format!("used     {usage}"));
    }
    ui::out(format!("files    {}", app.layout.issue(&task.project, &task.issue).control.display()));
    let name = app.shortest_name(engine.store(), &issue).await?;
    if matches!(record.state, TaskState::NeedsInput { .. }) {
        for line in question_lines(record) {
            ui::out(line);
        }
        ui::out(format!("next     cloud-code continue {name} \"your answer\""));
        return Ok(());
    }
    let next = if record.state.head().is_some() { "diff" } else { "logs" };
    ui::out(format!("next     cloud-code {next} {name}"));
    Ok(())
}

/// What the agent said for people, unless it is nothing, or the question that is shown anyway.
pub(crate) fn summary(record: &TaskRecord) -> Option<&str> {
    let summary = record.summary.as_deref().map(str::trim).filter(|text| !text.is_empty())?;
    let is_question = record.questions.iter().any(|question| question.trim() == summary);
    (!is_question).then_some(summary)
}

/// What a person must answer.
pub(crate) fn question_lines(record: &TaskRecord) -> Vec<String> {
    let mut lines = Vec::new();
    for question in &record.questions {
        for (index, line) in ui::clean(question).trim().lines().enumerate() {
            lines.push(format!("{} {line}", if index == 0 { "question" } else { "        " }));
        }
    }
    lines
}
