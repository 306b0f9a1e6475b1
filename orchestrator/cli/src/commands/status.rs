//! `status`: one issue, as it stands.

use std::process::ExitCode;

use anyhow::Result;
use cloud_code_engine::Repo;
use cloud_code_model::{Issue, TaskRecord, TaskState, reads_only};
use cloud_code_runtime::ContainerId;
use cloud_code_store::Store;
use cloud_code_task_schema::{
    ControlDir, Conversation, MAX_YAML_BYTES, TaskReport, parse_reporting, read_capped,
};
use jiff::Timestamp;
use serde_json::json;

use super::drive::{question_lines, summary};
use crate::app::App;
use crate::args::StatusArgs;
use crate::progress::{handoff_lines, snake, usage_line};
use crate::ui;

/// `cloud-code status`.
pub(crate) async fn run(app: &App, args: StatusArgs) -> Result<ExitCode> {
    let store = app.store().await?;
    let issue = app.find_issue(&store, args.issue.issue.as_deref()).await?;
    let tasks = store.tasks_of(&issue.project, &issue.key).await?;
    if args.json {
        let mut shown = Vec::new();
        for task in &tasks {
            let attempts = store.attempts(&task.task.id).await?;
            shown.push(json!({"task": task, "attempts": attempts}));
        }
        ui::out(json!({"issue": issue, "tasks": shown}).to_string());
        return Ok(ExitCode::SUCCESS);
    }
    ui::out(format!("{}#{}  {}", issue.project, issue.key, ui::one_line(&issue.title)));
    ui::out(format!("branch   {} from {} ({})", issue.branch, issue.base, short(&issue.base_sha)));
    for task in &tasks {
        show(app, &issue, task).await?;
    }
    Ok(ExitCode::SUCCESS)
}

fn short(sha: &str) -> &str {
    sha.get(..12).unwrap_or(sha)
}

async fn show(app: &App, issue: &Issue, record: &TaskRecord) -> Result<()> {
    let task = &record.task;
    ui::out("");
    ui::out(format!("task     {}  {}", task.id, ui::one_line(&task.title)));
    ui::out(format!("state    {}", state_line(app, record).await));
    if let TaskState::Failed { failure, .. } = &record.state {
        ui::out(format!("why      {}: {}", failure.kind, ui::one_line(&failure.message)));
        ui::out(format!("hint     {}", failure.kind.advice()));
    }
    let reading = if reads_only(task.mode) { ", reads only" } else { "" };
    ui::out(format!(
        "cli      {} in {}, mode {}{reading}",
        task.plan.cli,
        task.plan.runtime,
        snake(&task.mode)
    ));
    if let Some(head) = record.state.head() {
        let repo = Repo::new(&app.layout, &task.project, &task.plan.repo)?;
        let delivered = matches!(record.state, TaskState::Done { .. });
        ui::out(format!("work     {} {}", short(head), repo.where_to_find(&issue.branch, delivered)));
    }
    if matches!(record.state, TaskState::NeedsInput { .. }) {
        for line in question_lines(record) {
            ui::out(line);
        }
    }
    let report = reported(app, record);
    if let Some(line) = report.as_ref().and_then(|report| conversation_line(record, report.conversation)) {
        ui::out(format!("talk     {line}"));
    }
    if let Some(handoff) = &task.handoff {
        for (index, line) in handoff_lines(handoff).iter().enumerate() {
            ui::out(format!("{} {line}", if index == 0 { "packet  " } else { "        " }));
        }
    }
    let usage = usage_line(&record.usage);
    if !usage.is_empty() {
        ui::out(format!("used     {usage}"));
    }
    if let Some(summary) = summary(record) {
        ui::out("");
        for line in ui::clean(summary).trim().lines() {
            ui::out(format!("  {line}"));
        }
    }
    Ok(())
}

/// How the task is tied to what was said before; nothing for a first one.
fn conversation_line(record: &TaskRecord, conversation: Conversation) -> Option<&'static str> {
    match (conversation, &record.task.continues) {
        (Conversation::Resumed, _) => Some("the CLI's own session goes on"),
        (Conversation::Packet, _) => {
            Some("the session could not go on; the CLI was told in short what was said and done")
        }
        (Conversation::New, Some(_)) => Some("a new session, without what was said before"),
        (Conversation::New, None) => None,
    }
}

/// What the agent says of a task.
fn reported(app: &App, record: &TaskRecord) -> Option<TaskReport> {
    let control = ControlDir::new(app.layout.issue(&record.task.project, &record.task.issue).control);
    let text = read_capped(&control.reporting(), MAX_YAML_BYTES).ok()?;
    parse_reporting("reporting.yaml", &text).ok()?.tasks.remove(&record.task.id)
}

/// The state, and for a running task whether its agent still lives: a fact of this moment, stored nowhere.
async fn state_line(app: &App, record: &TaskRecord) -> String {
    let status = record.state.status();
    let TaskState::Running { container, started_at } = &record.state else { return status.to_string() };
    let running = ui::clock(Timestamp::now().duration_since(*started_at).as_secs());
    let alive = match app.runtime(record.task.plan.runtime) {
        Ok(runtime) => match runtime.facts(&ContainerId::new(container)).await {
            Ok(Some(facts)) if facts.state.is_running() => "its container runs".to_owned(),
            Ok(_) => "its container has ended; `cloud-code resume` takes up what it left".to_owned(),
            Err(error) => format!("its container cannot be seen: {}", ui::one_line(&error.to_string())),
        },
        Err(error) => format!("its container cannot be seen: {}", ui::one_line(&error.to_string())),
    };
    let step = reported(app, record)
        .and_then(|report| report.current_step)
        .map(|step| format!("; {}", ui::one_line(&step)));
    format!("{status} for {running}, {alive}{}", step.unwrap_or_default())
}
