//! `queue`: who waits in `serve`, and why; and who is to wait or to go first.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use cloud_code_engine::{Entry, Picture, Room, Turns, plan, spent, unmet, waits_for_itself};
use cloud_code_model::{Pause, PauseScope, TaskRecord};
use cloud_code_store::{QueueStore, Store};
use cloud_code_task_schema::TaskId;
use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use serde_json::json;

use crate::app::App;
use crate::args::{PauseArgs, PlaceArgs, QueueArgs, QueueCommand, ScopeArgs};
use crate::ui;

/// `cloud-code queue`.
pub(crate) async fn run(app: &App, args: QueueArgs) -> Result<ExitCode> {
    match args.command {
        None => show(app, args.json).await,
        Some(QueueCommand::Pause(args)) => pause(app, args).await,
        Some(QueueCommand::Resume(args)) => resume(app, args).await,
        Some(QueueCommand::Place(args)) => place(app, args).await,
    }
}

async fn show(app: &App, json: bool) -> Result<ExitCode> {
    let store = app.store().await?;
    let (open, pauses, now) = (store.open_tasks().await?, store.pauses().await?, Timestamp::now());
    let unmet = unmet(&store, &open).await.map_err(|e| anyhow!(e.chain()))?;
    let mut used_up = BTreeMap::new();
    for record in open.iter().filter(|record| record.state.waits_for_turn()) {
        if let Some(why) = spent(&store, record, now).await.map_err(|e| anyhow!(e.chain()))? {
            used_up.insert(record.task.id.clone(), why);
        }
    }
    let limits = app.queue_limits()?;
    let entries = plan(&Picture {
        open: &open,
        driven: &BTreeSet::new(),
        limits: &limits,
        pauses: &pauses,
        room: Room::look(&app.home),
        unmet: &unmet,
        spent: &used_up,
        turns: &Turns::default(),
        now,
    });
    let waiting: BTreeSet<&TaskId> = entries.iter().map(|entry| &entry.record.task.id).collect();
    let others: Vec<&TaskRecord> = open.iter().filter(|record| !waiting.contains(&record.task.id)).collect();
    if json {
        print_json(&pauses, &others, &entries);
        return Ok(ExitCode::SUCCESS);
    }
    for pause in &pauses {
        let waits = cloud_code_engine::Waits::Paused(pause.clone());
        ui::out(ui::clean(&format!("{waits}, since {}", pause.at.strftime("%Y-%m-%d %H:%M UTC"))));
    }
    if open.is_empty() {
        ui::err("nothing runs and nothing waits");
        return Ok(ExitCode::SUCCESS);
    }
    ui::out(table(&others, &entries, now).trim_fmt());
    Ok(ExitCode::SUCCESS)
}

fn table(others: &[&TaskRecord], entries: &[Entry<'_>], now: Timestamp) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["#", "PROJECT", "ISSUE", "CLI", "PRIORITY", "SINCE", "STATE"]);
    let row = |place: String, record: &TaskRecord, state: String| {
        [
            place,
            record.task.project.to_string(),
            record.task.issue.to_string(),
            record.cli().to_string(),
            record.task.queue.priority.to_string(),
            ui::clock(now.duration_since(record.updated_at).as_secs()),
            ui::one_line(&state),
        ]
    };
    for record in others {
        table.add_row(row(String::new(), record, record.state.status().to_string()));
    }
    for (place, entry) in entries.iter().enumerate() {
        let state = match &entry.waits {
            Some(waits) => format!("waits: {waits}"),
            None => "next".to_owned(),
        };
        table.add_row(row((place + 1).to_string(), entry.record, state));
    }
    table
}

fn print_json(pauses: &[Pause], others: &[&TaskRecord], entries: &[Entry<'_>]) {
    let of = |record: &TaskRecord| {
        json!({
            "task": record.task.id, "project": record.task.project, "issue": record.task.issue,
            "cli": record.cli(), "priority": record.task.queue.priority,
            "depends_on": record.task.queue.depends_on, "status": record.state.status().as_str(),
            "since": record.updated_at,
        })
    };
    for pause in pauses {
        ui::out(json!({"pause": pause}).to_string());
    }
    for record in others {
        ui::out(of(record).to_string());
    }
    for (place, entry) in entries.iter().enumerate() {
        let mut line = of(entry.record);
        line["place"] = (place + 1).into();
        line["waits"] = entry
            .waits
            .as_ref()
            .map(|waits| json!({"reason": waits.name(), "message": waits.to_string()}))
            .into();
        ui::out(line.to_string());
    }
}

fn scope(args: &ScopeArgs) -> PauseScope {
    match (&args.project, &args.cli) {
        (Some(project), _) => PauseScope::Project(project.clone()),
        (None, Some(cli)) => PauseScope::Cli(cli.clone()),
        (None, None) => PauseScope::All,
    }
}

async fn pause(app: &App, args: PauseArgs) -> Result<ExitCode> {
    let by = std::env::var("USER").ok().filter(|user| !user.is_empty());
    let pause = Pause { scope: scope(&args.scope), by, reason: args.reason, at: Timestamp::now() };
    app.store().await?.pause(&pause).await?;
    ui::err(format!("paused: {}; what runs goes on to its end", pause.scope));
    Ok(ExitCode::SUCCESS)
}

async fn resume(app: &App, args: ScopeArgs) -> Result<ExitCode> {
    let (store, scope) = (app.store().await?, scope(&args));
    if !store.unpause(&scope).await? {
        bail!("{scope} is not paused\n  hint: `cloud-code queue` shows what is");
    }
    let left = store.pauses().await?;
    let left: Vec<String> = left.iter().map(|pause| pause.scope.to_string()).collect();
    match left.is_empty() {
        true => ui::err(format!("goes on: {scope}")),
        false => ui::err(format!("goes on: {scope}; still paused: {}", left.join(", "))),
    }
    Ok(ExitCode::SUCCESS)
}

async fn place(app: &App, args: PlaceArgs) -> Result<ExitCode> {
    let store = app.store().await?;
    let issue = app.find_issue(&store, Some(&args.issue)).await?;
    let record = app.newest_task(&store, &issue).await?;
    let mut place = record.task.queue.clone();
    if let Some(priority) = args.priority {
        place.priority = priority;
    }
    if args.now {
        place.depends_on.clear();
    }
    for key in args.after {
        if key == issue.key {
            bail!("{}#{} cannot wait for itself", issue.project, issue.key);
        }
        if store.issue(&issue.project, &key).await?.is_none() {
            bail!("there is no issue {key} in {}\n  hint: `cloud-code list` shows all", issue.project);
        }
        if !place.depends_on.contains(&key) {
            place.depends_on.push(key);
        }
    }
    let circle = waits_for_itself(&store, &issue.project, &issue.key, &place.depends_on).await;
    if let Some(circle) = circle.map_err(|e| anyhow!(e.chain()))? {
        bail!("{}#{} would wait for itself, by way of {circle}", issue.project, issue.key);
    }
    if !store.put_place(&record.task.id, &place).await? {
        bail!("{}#{} does not wait any more: it is {}", issue.project, issue.key, record.state.status());
    }
    show(app, false).await
}
