//! `inspect`: what was asked and what was answered, side by side, and what does not fit.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cloud_code_task_schema::{
    Assignment, ControlDir, Finding, MAX_YAML_BYTES, ReadError, Reporting, Severity, Task, TaskReport,
    Tasking, findings, parse_reporting, parse_tasking, read_capped,
};
use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::EXIT_ERROR;
use crate::app::App;
use crate::args::InspectArgs;
use crate::progress::{snake, usage_line};
use crate::ui;

/// How often `--watch` shows the files anew when nothing changes: ages grow by the second, but nobody reads that fast.
const REFRESH: Duration = Duration::from_secs(5);
/// How long changes may gather before they are shown.
const SETTLE: Duration = Duration::from_millis(100);
/// Where the two columns get narrow.
const DEFAULT_WIDTH: u16 = 110;

/// `cloud-code inspect`.
pub(crate) async fn run(app: &App, args: InspectArgs) -> Result<ExitCode> {
    let control = ControlDir::new(find(app, args.target.as_deref()).await?);
    if !args.watch {
        return show(&control);
    }
    let (sender, mut changes) = mpsc::channel(1);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if !matches!(&event, Ok(event) if event.kind.is_access()) {
            // A full channel already holds a wake-up.
            let _ = sender.try_send(());
        }
    })
    .context("cannot watch files")?;
    watcher
        .watch(control.path(), RecursiveMode::NonRecursive)
        .with_context(|| format!("cannot watch {}", control.path().display()))?;
    loop {
        ui::out_raw("\u{1b}[2J\u{1b}[H");
        show(&control)?;
        tokio::select! {
            _ = changes.recv() => tokio::time::sleep(SETTLE).await,
            () = tokio::time::sleep(REFRESH) => {}
            stopped = tokio::signal::ctrl_c() => {
                stopped.context("cannot listen for Ctrl-C")?;
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
}

/// The control directory that is meant: of an issue, or at or below a path.
async fn find(app: &App, target: Option<&str>) -> Result<PathBuf> {
    if let Some(path) = target.map(Path::new).filter(|p| p.is_dir()) {
        let inner = path.join(".cloud-code");
        let found = if inner.is_dir() { inner } else { path.to_owned() };
        let control = ControlDir::new(&found);
        if !control.tasking().exists() && !control.reporting().exists() {
            bail!("{} holds neither tasking.yaml nor reporting.yaml", found.display());
        }
        return Ok(found);
    }
    let store = app.store().await?;
    let issue = app.find_issue(&store, target).await?;
    if issue.cleaned_at.is_some() {
        bail!("{}#{} was cleaned, its files are gone", issue.project, issue.key);
    }
    Ok(app.layout.issue(&issue.project, &issue.key).control)
}

/// A file as it could be read.
enum Side<T> {
    Absent,
    Bad(String),
    Whole(T),
}

impl<T> Side<T> {
    const fn whole(&self) -> Option<&T> {
        match self {
            Self::Whole(value) => Some(value),
            Self::Absent | Self::Bad(_) => None,
        }
    }
}

fn read<T, E: std::fmt::Display>(path: &Path, parse: impl Fn(&str, &str) -> Result<T, E>) -> Side<T> {
    match read_capped(path, MAX_YAML_BYTES) {
        Ok(text) => match parse(&path.display().to_string(), &text) {
            Ok(value) => Side::Whole(value),
            Err(problems) => Side::Bad(problems.to_string()),
        },
        Err(ReadError::Missing { .. }) => Side::Absent,
        Err(error) => Side::Bad(error.to_string()),
    }
}

fn show(control: &ControlDir) -> Result<ExitCode> {
    let tasking = read(&control.tasking(), parse_tasking);
    let reporting = read(&control.reporting(), parse_reporting);
    let now = Timestamp::now();
    ui::out(control.path().display().to_string());
    ui::out(page(&tasking, &reporting, now));
    let mut bad = false;
    for text in [bad_text(&tasking), bad_text(&reporting)].into_iter().flatten() {
        bad = true;
        ui::out(format!("ERROR    {}", ui::clean(&text)));
    }
    for finding in findings(tasking.whole(), reporting.whole(), now) {
        bad |= finding.severity == Severity::Error;
        ui::out(finding_line(&finding));
    }
    Ok(if bad { ExitCode::from(EXIT_ERROR) } else { ExitCode::SUCCESS })
}

fn bad_text<T>(side: &Side<T>) -> Option<String> {
    match side {
        Side::Bad(text) => Some(text.clone()),
        Side::Absent | Side::Whole(_) => None,
    }
}

fn finding_line(finding: &Finding) -> String {
    let mark = match finding.severity {
        Severity::Error => "ERROR  ",
        Severity::Warning => "WARNING",
    };
    format!("{mark}  {}: {}", ui::one_line(&finding.key), ui::clean(&finding.message))
}

fn page(tasking: &Side<Tasking>, reporting: &Side<Reporting>, now: Timestamp) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    if table.width().is_none() {
        table.set_width(DEFAULT_WIDTH);
    }
    table.set_header(["", "asked (tasking.yaml)", "answered (reporting.yaml)"]);
    table.add_row(["", &asked_head(tasking, now), &answered_head(reporting, now)]);
    let tasks = tasking.whole().map(|t| t.tasks.as_slice()).unwrap_or_default();
    for task in tasks {
        let report = reporting.whole().and_then(|r| r.tasks.get(&task.id));
        let answered = report.map_or("nothing yet".to_owned(), |r| answered_task(r, now));
        table.add_row([short(task.id.as_str()), &asked_task(task), &answered]);
    }
    if let Some(reporting) = reporting.whole() {
        for (id, report) in reporting.tasks.iter().filter(|(id, _)| !tasks.iter().any(|t| t.id == **id)) {
            table.add_row([short(id.as_str()), "not asked", &answered_task(report, now)]);
        }
    }
    table.trim_fmt()
}

/// The end of a ulid tells tasks of one minute apart; a name that a person wrote is shown whole.
fn short(id: &str) -> &str {
    match id.len() {
        26 => id.get(20..).unwrap_or(id),
        _ => id,
    }
}

fn age(at: Timestamp, now: Timestamp) -> String {
    format!("{} ago", ui::clock(now.duration_since(at).as_secs()))
}

fn asked_head(side: &Side<Tasking>, now: Timestamp) -> String {
    match side {
        Side::Absent => "no file yet".to_owned(),
        Side::Bad(_) => "cannot be read, see below".to_owned(),
        Side::Whole(t) => {
            let (workspace, written) = (ui::one_line(&t.workspace), age(t.updated_at, now));
            format!("{workspace} with {}\ngeneration {}, written {written}", t.cli, t.generation)
        }
    }
}

fn answered_head(side: &Side<Reporting>, now: Timestamp) -> String {
    match side {
        Side::Absent => "no file yet".to_owned(),
        Side::Bad(_) => "cannot be read, see below".to_owned(),
        Side::Whole(r) => {
            let version =
                r.agent.cli_version.as_deref().map(ui::one_line).unwrap_or_else(|| "unknown".to_owned());
            let (status, seen, heard) = (snake(&r.status), r.observed_generation, age(r.heartbeat_at, now));
            format!("{status}, {} {version}\nsaw generation {seen}, last sign of life {heard}", r.agent.cli)
        }
    }
}

fn asked_task(task: &Task) -> String {
    let mut lines = vec![ui::one_line(&task.title)];
    if task.status == Assignment::Cancelled {
        lines.push("CANCELLED".to_owned());
    }
    lines.push(format!("{} on {} from {}", snake(&task.mode), task.branch, task.base));
    if let Some(continued) = &task.continues {
        lines.push(format!("continues {}", short(continued.as_str())));
    }
    if let Some(from) = task.handoff.as_ref().and_then(|handoff| handoff.from.as_ref()) {
        lines.push(format!("takes over from {from}"));
    }
    lines.push(format!("at most {}", task.limits.timeout));
    lines.extend(task.verify.iter().map(|command| format!("verify: {}", ui::one_line(command))));
    lines.join("\n")
}

fn answered_task(report: &TaskReport, now: Timestamp) -> String {
    let mut lines = vec![format!("{}, attempt {}", snake(&report.status), report.attempt)];
    match (report.started_at, report.finished_at) {
        (Some(start), Some(end)) => {
            lines.push(format!("took {}", ui::clock(end.duration_since(start).as_secs())))
        }
        (Some(start), None) => {
            lines.push(format!("since {}", ui::clock(now.duration_since(start).as_secs())))
        }
        (None, _) => {}
    }
    if let Some(failure) = &report.failure {
        lines.push(format!("{}: {}", failure.kind, ui::one_line(&failure.message)));
    }
    if let Some(step) = report.current_step.as_deref().filter(|_| !report.status.is_ended()) {
        lines.push(ui::one_line(step));
    }
    lines.extend(report.commits.iter().map(|c| {
        let sha: String = c.sha.chars().take(8).collect();
        format!("{} {}", ui::one_line(&sha), ui::one_line(&c.message))
    }));
    lines.extend(report.questions.iter().map(|q| format!("question: {}", ui::one_line(q))));
    let usage = usage_line(&report.usage);
    if !usage.is_empty() {
        lines.push(usage);
    }
    lines.join("\n")
}
