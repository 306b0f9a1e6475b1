//! `show`: the whole story of an issue as a timeline, or one attempt in detail.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::{Result, bail};
use cloud_code_history::{AttemptFile, AttemptStory, FileName, Kept, Phase, Rows, Story, TaskStory};
use cloud_code_model::{Issue, MergeWord, Merging, TaskRecord, TaskStatus};
use cloud_code_store::{Database, ForgeStore, HistoryStore, Store};
use jiff::Timestamp;

use crate::app::{App, full_name};
use crate::args::ShowArgs;
use crate::progress::{snake, usage_line};
use crate::ui;

/// `cloud-code show`.
pub(crate) async fn run(app: &App, args: ShowArgs) -> Result<ExitCode> {
    let store = app.store().await?;
    let issue = app.find_issue(&store, args.issue.issue.as_deref()).await?;
    let rows = rows(&store, issue).await?;
    let (kept, story) = told(app, &rows)?;
    if args.attempt.is_some() || args.task.is_some() || args.log || args.diff {
        return one(app, &args, &rows, &kept, &story);
    }
    if args.json {
        ui::out(serde_json::to_string(&story)?);
        return Ok(ExitCode::SUCCESS);
    }
    timeline(app, &story)?;
    Ok(ExitCode::SUCCESS)
}

/// Everything that the store knows of an issue's story.
pub(crate) async fn rows(store: &Database, issue: Issue) -> Result<Rows> {
    let tasks = store.tasks_of(&issue.project, &issue.key).await?;
    let mut attempts = Vec::new();
    for task in &tasks {
        attempts.extend(store.attempts(&task.task.id).await?);
    }
    let moves = store.moves_of_issue(&issue.project, &issue.key).await?;
    let thread = store.thread_of_issue(&issue.project, &issue.key).await?;
    let published = thread.map(|thread| thread.published.of_issue(&issue.key));
    Ok(Rows { issue, tasks, attempts, moves, published })
}

/// The story, and what is kept of its attempts.
pub(crate) fn told(app: &App, rows: &Rows) -> Result<(Vec<Kept>, Story)> {
    let history = app.history();
    let (project, key) = (&rows.issue.project, &rows.issue.key);
    let kept = history.attempts(project, key)?;
    let story = Story::tell(rows, &kept, history.drops().of_issue(project, key)?);
    Ok((kept, story))
}

fn timeline(app: &App, story: &Story) -> Result<()> {
    let issue = &story.issue;
    ui::out(format!("{}  {}", full_name(issue), ui::one_line(&issue.title)));
    ui::out(format!("branch   {} from {} ({})", issue.branch, issue.base, short(&issue.base_sha)));
    if let Some(pull) = story.published.as_ref().and_then(|published| published.pull.as_ref()) {
        let (url, state) = (ui::one_line(&pull.url), snake(&pull.state));
        ui::out(format!("pull     {url} ({state}, at {})", short(&pull.head_sha)));
    }
    if let Some(merging) = story.published.as_ref().and_then(|published| published.merging.as_ref()) {
        merges(merging);
    }
    for remark in story.published.iter().flat_map(|published| &published.remarks) {
        ui::out(format!("remark   {}", ui::one_line(remark)));
    }
    if let Some(at) = issue.cleaned_at {
        ui::out(format!("cleaned  {}", time(at)));
    }
    for task in &story.tasks {
        ui::out("");
        show_task(task);
    }
    if !story.dropped.is_empty() {
        ui::out("");
        dropped(app, story)?;
    }
    Ok(())
}

/// What was said of merging, and when we did.
fn merges(merging: &Merging) {
    let head = short(&merging.head_sha);
    if let Some(verdict) = &merging.verdict {
        let word = match verdict.word {
            MergeWord::Yes => "yes",
            MergeWord::No => "no",
        };
        let by = ui::one_line(&verdict.by.to_string());
        ui::out(format!("merge    {} {word} of {by} to {head}", time(verdict.at)));
    }
    if let Some(at) = merging.merged_at {
        ui::out(format!("merge    {} merged by cloud-code at {head}", time(at)));
    }
}

fn dropped(app: &App, story: &Story) -> Result<()> {
    let bytes: u64 = story.dropped.iter().map(|one| one.bytes).sum();
    let count = counted(story.dropped.len(), "attempt");
    let (all, all_bytes) = app.history().drops().totals()?;
    ui::out(format!(
        "dropped  {count} of this issue ({}); in all {} ({})",
        size(bytes),
        counted(usize::try_from(all).unwrap_or(usize::MAX), "attempt"),
        size(all_bytes)
    ));
    Ok(())
}

fn show_task(task: &TaskStory) {
    ui::out(format!("task     {}  {}", task.id, ui::one_line(&task.title)));
    let who = task.requested_by.as_deref().map(ui::one_line);
    let who = who.map_or("at the command line".to_owned(), |who| format!("by {who}"));
    ui::out(format!("asked    {} {who}", time(task.asked_at)));
    ui::out(format!("cli      {}, mode {}", task.cli, snake(&task.mode)));
    let usage = usage_line(&task.usage);
    if !usage.is_empty() {
        ui::out(format!("used     {usage}"));
    }
    if let Some(at) = task.cancel_requested_at {
        ui::out(format!("cancel   asked for {}", time(at)));
    }
    ui::out("");
    for phase in &task.phases {
        let took = phase.took_ms.map(duration).unwrap_or_default();
        let line = format!("  {}  {:<17} {took:>7}  {}", time(phase.at), phase.status, remark(phase));
        ui::out(line.trim_end());
    }
    if task.moves_left_out > 0 {
        let count = counted(usize::try_from(task.moves_left_out).unwrap_or(usize::MAX), "move");
        ui::out(format!("  {count} between these are not noted"));
    }
    for attempt in &task.attempts {
        ui::out("");
        show_attempt(attempt);
    }
}

/// What brought a task into a state, in a few words.
fn remark(phase: &Phase) -> String {
    let attempt = phase.attempt.map(|number| format!("attempt {number}"));
    let mut parts = Vec::new();
    match phase.event.as_str() {
        "asked" | "published" => {}
        "taken" | "started" | "ended" | "imported" | "woken" => parts.extend(attempt),
        other => parts.push(other.replace('_', " ")),
    }
    if let Some(failure) = &phase.failure {
        parts.push(format!("{}: {}", failure.kind, ui::one_line(&failure.message)));
    }
    if let Some(until) = phase.until {
        parts.push(format!("again at {}", time(until)));
    }
    if let (Some(head), TaskStatus::Publishing | TaskStatus::Done | TaskStatus::AwaitingApproval) =
        (&phase.head, phase.status)
    {
        parts.push(format!("work {}", short(head)));
    }
    parts.join(", ")
}

fn show_attempt(attempt: &AttemptStory) {
    let mut parts = Vec::new();
    if let Some(kept) = &attempt.kept {
        parts.push(cli(kept));
    }
    if let Some(end) = attempt.finished_at {
        let took = end.duration_since(attempt.started_at).as_millis();
        parts.push(format!("took {}", duration(i64::try_from(took).unwrap_or(i64::MAX))));
    }
    if let Some(cost) = &attempt.cost {
        parts.push(format!("{} ({})", cost.usd, snake(&cost.source)));
    }
    let result = attempt.result.as_deref().map_or("not ended".to_owned(), ui::one_line);
    parts.push(result);
    ui::out(format!("  attempt {}  {}", attempt.number, parts.join(", ")));
    match (&attempt.kept, &attempt.dropped) {
        (Some(kept), _) => {
            for line in notes(kept) {
                ui::out(format!("             {line}"));
            }
        }
        (None, Some(dropped)) => {
            let (at, why) = (time(dropped.at), dropped.reason.message());
            ui::out(format!("             its files were dropped {at}: {why}"));
        }
        (None, None) if attempt.finished_at.is_some() => {
            ui::out("             its files are not in the history");
        }
        (None, None) => {}
    }
}

fn cli(kept: &AttemptFile) -> String {
    let version = kept.cli.version.as_deref().map(|version| format!(" {}", ui::one_line(version)));
    let model = kept.cli.model.as_deref().map(|model| format!(" with {}", ui::one_line(model)));
    format!("{}{}{}", kept.cli.name, version.unwrap_or_default(), model.unwrap_or_default())
}

/// What is to be said of an attempt besides.
fn notes(kept: &AttemptFile) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(failure) = &kept.ending.failure {
        lines.push(format!("{}: {}", failure.kind, ui::one_line(&failure.message)));
    }
    if let Some(stopped) = &kept.ending.stopped {
        lines.push(format!("ended by the host: {}", ui::one_line(stopped)));
    }
    if !kept.verify.is_empty() {
        let red = kept.verify.iter().filter(|run| run.exit_code != Some(0)).count();
        let rounds = counted(usize::try_from(kept.verify_rounds()).unwrap_or(usize::MAX), "verify round");
        lines.push(format!("{rounds}, {} of {} runs failed", red, kept.verify.len()));
    }
    for file in kept.files.iter().filter(|file| file.dropped_bytes > 0) {
        lines.push(format!(
            "{} is cut: {} of it are missing",
            ui::one_line(&file.name),
            size(file.dropped_bytes)
        ));
    }
    lines
}

/// One attempt: in detail, or one of its files.
fn one(app: &App, args: &ShowArgs, rows: &Rows, kept: &[Kept], story: &Story) -> Result<ExitCode> {
    let name = full_name(&rows.issue);
    let record = task(args, rows)?;
    let Some(told) = story.tasks.iter().find(|task| task.id == record.task.id) else {
        bail!("{name} has no task {}", record.task.id);
    };
    let number = match args.attempt.or_else(|| told.attempts.last().map(|attempt| attempt.number)) {
        Some(number) => number,
        None => {
            bail!("{name} has not been attempted yet\n  hint: `cloud-code show {name}` says how far it is")
        }
    };
    let Some(attempt) = told.attempts.iter().find(|attempt| attempt.number == number) else {
        let known: Vec<String> = told.attempts.iter().map(|attempt| attempt.number.to_string()).collect();
        bail!("task {} has no attempt {number}\n  hint: it has {}", told.id, list(&known));
    };
    let found = kept.iter().find(|kept| kept.file.task == told.id && kept.file.attempt == number);
    let Some(found) = found else {
        match (&attempt.dropped, attempt.finished_at) {
            (Some(dropped), _) => bail!(
                "the files of attempt {number} were dropped {}: {}\n  hint: the keys of `history` in {} say how much is kept",
                time(dropped.at),
                dropped.reason.message(),
                app.home.join("cloud-code.yaml").display()
            ),
            (None, None) => bail!(
                "attempt {number} has not ended\n  hint: `cloud-code logs --follow {name}` shows what it does"
            ),
            (None, Some(_)) => bail!("the files of attempt {number} are not in the history"),
        }
    };
    let file = match (args.log, args.diff) {
        (true, _) => FileName::Log,
        (false, true) => FileName::After,
        (false, false) => {
            match args.json {
                true => ui::out(serde_json::to_string(&found.file)?),
                false => detail(found),
            }
            return Ok(ExitCode::SUCCESS);
        }
    };
    let mut bytes = Vec::new();
    if !found.archive().copy(file.as_str(), &mut bytes)? {
        let why = found.file.missing.iter().find(|missing| missing.name == file.as_str());
        let why = why.map_or("there was none".to_owned(), |missing| ui::one_line(&missing.why));
        bail!("attempt {number} has no {}: {why}", file.as_str());
    }
    // A log may hold what drives a terminal; a patch in a pipe stays byte for byte what `git apply` takes.
    if args.diff && !std::io::stdout().is_terminal() {
        ui::out_raw(bytes);
    } else {
        ui::out_raw(ui::clean(&String::from_utf8_lossy(&bytes)));
    }
    Ok(ExitCode::SUCCESS)
}

fn task<'a>(args: &ShowArgs, rows: &'a Rows) -> Result<&'a TaskRecord> {
    let name = full_name(&rows.issue);
    let found = match &args.task {
        Some(id) => rows.tasks.iter().find(|record| record.task.id == *id),
        None => rows.tasks.last(),
    };
    match (found, &args.task) {
        (Some(found), _) => Ok(found),
        (None, Some(id)) => {
            let known: Vec<String> = rows.tasks.iter().map(|record| record.task.id.to_string()).collect();
            bail!("{name} has no task {id}\n  hint: it has {}", list(&known))
        }
        (None, None) => bail!("{name} has no task"),
    }
}

fn detail(kept: &Kept) {
    let file = &kept.file;
    let line = |name: &str, text: String| ui::out(format!("{name:<9}{text}"));
    line("task", format!("{}  {}", file.task, ui::one_line(&file.title)));
    line("attempt", file.attempt.to_string());
    if let Some(at) = file.started_at {
        line("began", time(at));
    }
    line("ended", format!("{}, {}", time(file.finished_at), ui::one_line(&file.ending.status)));
    for note in notes(file) {
        line("", note);
    }
    line("cli", format!("{} in {}, mode {}", cli(file), file.cli.runtime, snake(&file.mode)));
    if let Some(image) = &file.cli.image {
        let digest = file.cli.image_digest.as_deref().map(|digest| format!(" ({})", ui::one_line(digest)));
        line("image", format!("{}{}", ui::one_line(image), digest.unwrap_or_default()));
    }
    if let Some(session) = &file.cli.session {
        line("session", ui::one_line(session));
    }
    let exits = [
        file.exit.container.map(|code| format!("container {code}")),
        file.exit.cli.and_then(|exit| exit.code).map(|code| format!("CLI {code}")),
        file.exit.oom_killed.then(|| "killed for memory".to_owned()),
    ];
    let exits: Vec<String> = exits.into_iter().flatten().collect();
    if !exits.is_empty() {
        line("exit", exits.join(", "));
    }
    let usage = usage_line(&file.usage);
    if !usage.is_empty() {
        line("used", format!("{usage}, by the task up to here"));
    }
    let stood = file.commits.before.as_deref().unwrap_or(&file.commits.base);
    let after = file.commits.after.as_deref().map_or("no work".to_owned(), |after| short(after).to_owned());
    line("work", format!("{} to {after} on {}", short(stood), file.commits.branch));
    for run in &file.verify {
        let code = run.exit_code.map_or("ended by the agent".to_owned(), |code| format!("exit code {code}"));
        line(
            "verify",
            format!("round {}: {code} after {}: {}", run.round, run.duration, ui::one_line(&run.command)),
        );
    }
    if !file.env.is_empty() {
        line("env", file.env.join(", "));
    }
    if !file.secrets.is_empty() {
        line("secrets", file.secrets.join(", "));
    }
    line("files", kept.folder().display().to_string());
    for one in &file.files {
        line("", format!("{:<15} {}", ui::one_line(&one.name), size(one.bytes)));
    }
    for one in &file.missing {
        line("", format!("{:<15} missing: {}", ui::one_line(&one.name), ui::one_line(&one.why)));
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn short(sha: &str) -> &str {
    sha.get(..12).unwrap_or(sha)
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// Short spans to the millisecond: a queue that takes 40 ms and one that takes 900 are both zero seconds.
fn duration(milliseconds: i64) -> String {
    match milliseconds {
        0..1_000 => format!("{milliseconds}ms"),
        1_000..10_000 => format!("{}.{}s", milliseconds / 1_000, milliseconds % 1_000 / 100),
        _ => ui::clock(milliseconds / 1_000),
    }
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Bytes as people read them.
pub(crate) fn size(bytes: u64) -> String {
    match bytes {
        0..1_024 => format!("{bytes} bytes"),
        1_024..1_048_576 => format!("{}.{} KiB", bytes >> 10, ((bytes & 1023) * 10) >> 10),
        _ => format!("{}.{} MiB", bytes >> 20, (((bytes >> 10) & 1023) * 10) >> 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!([0, 999, 1_500, 67_000].map(duration), ["0ms", "999ms", "1.5s", "1m07s"]);
        assert_eq!([7, 1_536, 5 << 20].map(size), ["7 bytes", "1.5 KiB", "5.0 MiB"]);
        assert_eq!(counted(1, "attempt"), "1 attempt");
    }
}
