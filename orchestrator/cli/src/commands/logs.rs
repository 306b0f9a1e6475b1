//! `logs`: what the agent did, event by event, or the CLI's raw output.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cloud_code_model::{Issue, TaskRecord};
use cloud_code_store::{Database, Store};
use cloud_code_task_schema::{ControlDir, Event, EventItem, EventReader};
use nix::fcntl::OFlag;

use crate::app::App;
use crate::args::LogsArgs;
use crate::progress::event_line;
use crate::ui;

/// How often new lines are looked for: short enough to feel live, long enough to cost nothing.
const LOOK: Duration = Duration::from_millis(150);
/// How much of a raw log is read at once.
const CHUNK: usize = 64 * 1024;

/// `cloud-code logs`.
pub(crate) async fn run(app: &App, args: LogsArgs) -> Result<ExitCode> {
    let store = app.store().await?;
    let issue = app.find_issue(&store, args.issue.issue.as_deref()).await?;
    if issue.cleaned_at.is_some() {
        bail!(
            "{0}#{1} was cleaned, its logs left with its workspace\n  hint: `cloud-code show {0}#{1} --log` shows what is kept of them",
            issue.project,
            issue.key
        );
    }
    let control = ControlDir::new(app.layout.issue(&issue.project, &issue.key).control);
    if args.raw {
        raw(app, &store, &issue, &control, args.follow).await
    } else {
        events(app, &store, &issue, &control, &args).await
    }
}

async fn has_ended(app: &App, store: &Database, issue: &Issue) -> Result<bool> {
    Ok(app.newest_task(store, issue).await?.state.status().is_terminal())
}

async fn events(
    app: &App,
    store: &Database,
    issue: &Issue,
    control: &ControlDir,
    args: &LogsArgs,
) -> Result<ExitCode> {
    let mut reader = EventReader::new(control.events());
    loop {
        // Asked before reading: what was written before the end is then certainly seen.
        let ended = has_ended(app, store, issue).await?;
        loop {
            let items = reader.poll();
            if items.is_empty() {
                break;
            }
            for item in items {
                show(item, args.json);
            }
        }
        if ended || !args.follow {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn show(item: EventItem, json: bool) {
    match item {
        EventItem::Event(event) if json => {
            if let Ok(line) = serde_json::to_string(event.as_ref()) {
                ui::out(line);
            }
        }
        EventItem::Event(event) => {
            if let Some(line) = event_line(&event) {
                ui::out(format!("{}  {line}", time_of(&event)));
            }
        }
        EventItem::Skipped { line, reason } => ui::err(format!("warning: line {line} is left out: {reason}")),
        EventItem::Restarted => ui::err("warning: the event log was replaced, reading from its start"),
    }
}

fn time_of(event: &Event) -> String {
    event.at.strftime("%H:%M:%S").to_string()
}

async fn raw(
    app: &App,
    store: &Database,
    issue: &Issue,
    control: &ControlDir,
    follow: bool,
) -> Result<ExitCode> {
    let record: TaskRecord = app.newest_task(store, issue).await?;
    let attempt = store.attempts(&record.task.id).await?.last().map_or(1, |a| a.number);
    let path = control.log(&record.task.id, attempt);
    let mut offset = 0;
    loop {
        let ended = has_ended(app, store, issue).await?;
        offset = print_from(&path, offset)?;
        if ended || !follow {
            return Ok(ExitCode::SUCCESS);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Prints what stands after `offset`, with everything that could drive a terminal taken out.
fn print_from(path: &Path, mut offset: u64) -> Result<u64> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let mut file = match File::options().read(true).custom_flags(flags.bits()).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(offset),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    file.seek(SeekFrom::Start(offset)).with_context(|| format!("cannot read {}", path.display()))?;
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = file.read(&mut chunk).with_context(|| format!("cannot read {}", path.display()))?;
        if count == 0 {
            return Ok(offset);
        }
        offset += count as u64;
        ui::out_raw(ui::clean(&String::from_utf8_lossy(chunk.get(..count).unwrap_or_default())));
    }
}
