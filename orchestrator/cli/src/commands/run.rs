//! `run` and `resume`: drive a task to its end while somebody watches.

use std::io::{IsTerminal, Read};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use cloud_code_engine::{Engine, Repo, RunRequest, Uncommitted};
use cloud_code_model::{
    DEFAULT_CLI, ImportSettings, LimitSettings, Network, ProjectName, ProjectPlan, ProjectSettings,
    RuntimeKind, TaskRecord, TaskState, slug,
};
use cloud_code_runtime::ContainerId;
use cloud_code_store::Store;
use cloud_code_task_schema::{CliName, TaskId};
use jiff::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use super::{EXIT_CANCELLED, EXIT_FAILED, EXIT_NEEDS_INPUT};
use crate::app::App;
use crate::args::{ResumeArgs, RunArgs};
use crate::progress::{observer, usage_line};
use crate::{settings, ui};

/// Longest task text. Larger than any issue; a whole file piped in by mistake is noticed.
const MAX_TEXT_BYTES: u64 = 512 * 1024;
/// Digits of the path's digest in the name of a project that has no file.
const DIGEST_DIGITS: usize = 6;

/// `cloud-code run`.
pub(crate) async fn run(app: &App, args: RunArgs) -> Result<ExitCode> {
    let text = match &args.task {
        Some(text) => text.clone(),
        None => read_text()?,
    };
    let (project, plan) = resolve(app, &args)?;
    warn_unsandboxed(plan.runtime);
    let engine = app.engine(plan.runtime).await?;
    let request = RunRequest {
        project,
        plan,
        text,
        mode: args.mode.into(),
        branch: args.branch.clone(),
        uncommitted: if args.allow_dirty { Uncommitted::LeaveOut } else { Uncommitted::Refuse },
        requested_by: std::env::var("USER").ok().filter(|user| !user.is_empty()),
    };
    let record = engine.open(request).await.map_err(|e| anyhow!(e.chain()))?;
    if !args.json {
        let task = &record.task;
        ui::err(format!("{}#{}: {}", task.project, task.issue, ui::one_line(&task.title)));
    }
    drive(app, &engine, &record.task.id, args.json).await
}

/// `cloud-code resume`.
pub(crate) async fn resume(app: &App, args: ResumeArgs) -> Result<ExitCode> {
    let store = app.store().await?;
    let issue = app.find_issue(&store, args.issue.issue.as_deref()).await?;
    let record = app.newest_task(&store, &issue).await?;
    if !record.state.status().is_terminal() {
        warn_unsandboxed(record.task.plan.runtime);
    }
    let engine = app.engine(record.task.plan.runtime).await?;
    drive(app, &engine, &record.task.id, args.json).await
}

fn warn_unsandboxed(runtime: RuntimeKind) {
    if runtime == RuntimeKind::Local {
        ui::err(
            "warning: runtime `local`: the CLI runs on this machine WITHOUT A SANDBOX, with its user's rights",
        );
    }
}

/// Drives the task and tells how it ended.
pub(crate) async fn drive(app: &App, engine: &Engine, id: &TaskId, json: bool) -> Result<ExitCode> {
    let nudge = Arc::new(Notify::new());
    let mut interrupts = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
    let mut terminations = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut watching = observer(json);
    let record = {
        let driving = engine.drive(id, watching.as_mut(), &nudge);
        tokio::pin!(driving);
        let mut asked = 0_u32;
        loop {
            tokio::select! {
                record = &mut driving => break record.map_err(|e| {
                    anyhow!("{}\n  hint: the task is not lost: `cloud-code resume` goes on with it", e.chain())
                })?,
                () = interrupted(&mut interrupts, &mut terminations) => {
                    asked += 1;
                    on_interrupt(app, engine, id, asked).await?;
                    nudge.notify_one();
                }
            }
        }
    };
    drop(watching);
    if !json {
        report(app, engine, &record).await?;
    }
    Ok(exit_code(&record))
}

async fn interrupted(interrupts: &mut Signal, terminations: &mut Signal) {
    tokio::select! {
        _ = interrupts.recv() => {}
        _ = terminations.recv() => {}
    }
}

/// The first time the task is cancelled with its work kept; after that its container is ended at once.
async fn on_interrupt(app: &App, engine: &Engine, id: &TaskId, asked: u32) -> Result<()> {
    if asked == 1 {
        ui::err("stopping the task, its work is kept; press Ctrl-C again to end its container at once");
        engine.store().request_cancel(id, Timestamp::now()).await?;
        return Ok(());
    }
    let record = engine.store().task(id).await?;
    if let Some(TaskRecord { state: TaskState::Running { container, .. }, task, .. }) = record {
        ui::err("ending the container");
        app.runtime(task.plan.runtime)?.kill(&ContainerId::new(container)).await?;
    }
    Ok(())
}

/// The exit code that stands for how a task ended.
pub(crate) fn exit_code(record: &TaskRecord) -> ExitCode {
    match record.state {
        TaskState::Done { .. } => ExitCode::SUCCESS,
        TaskState::NeedsInput { .. } => ExitCode::from(EXIT_NEEDS_INPUT),
        TaskState::Cancelled { .. } => ExitCode::from(EXIT_CANCELLED),
        TaskState::Failed { .. } => ExitCode::from(EXIT_FAILED),
        TaskState::Queued | TaskState::Preparing | TaskState::Running { .. } => {
            ExitCode::from(super::EXIT_ERROR)
        }
        TaskState::Importing { .. } | TaskState::Publishing { .. } => ExitCode::from(super::EXIT_ERROR),
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
    if let Some(summary) = record.summary.as_deref().filter(|s| !s.trim().is_empty()) {
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
    let next = if record.state.head().is_some() { "diff" } else { "logs" };
    ui::out(format!("next     cloud-code {next} {}", task.issue));
    Ok(())
}

/// The project and the plan that the arguments stand for.
fn resolve(app: &App, args: &RunArgs) -> Result<(ProjectName, ProjectPlan)> {
    let named = match &args.project {
        Some(name) => {
            let file = settings::project_file(&app.home, name);
            let found = settings::project(&app.home, name)?;
            if found.is_none() && args.repo.is_none() {
                bail!(
                    "there is no project `{name}`\n  hint: write {} with a key `repo`, or pass --repo",
                    file.display()
                );
            }
            found.unwrap_or_default()
        }
        None => ProjectSettings::default(),
    };
    let settings = from_args(app, args)?.over(named).over(app.settings.defaults.clone());
    let repo = match settings.repo.clone() {
        Some(repo) => repo,
        None => bail!("the project's file has no key `repo`\n  hint: add it, or pass --repo PATH_OR_URL"),
    };
    let repo = if Path::new(&repo).exists() {
        let path = std::fs::canonicalize(&repo).with_context(|| format!("cannot read {repo}"))?;
        path.to_str().map(str::to_owned).ok_or_else(|| anyhow!("the path {} is not UTF-8", path.display()))?
    } else {
        repo
    };
    let name = match &args.project {
        Some(name) => name.clone(),
        None => project_name(&repo)?,
    };
    let default_cli: CliName = DEFAULT_CLI.parse()?;
    Ok((name, settings.plan(repo, default_cli)))
}

fn from_args(app: &App, args: &RunArgs) -> Result<ProjectSettings> {
    let cli = args
        .cli
        .as_ref()
        .map(|name| name.parse::<CliName>().map_err(|_| app.catalog.unknown(name)))
        .transpose()?;
    let network = args.network.clone().map(Network::try_from).transpose()?;
    Ok(ProjectSettings {
        repo: args.repo.clone(),
        cli,
        command: args.command.as_deref().map(split_words).transpose()?,
        model: args.model.clone(),
        base_url: args.base_url.clone(),
        base: args.base.clone(),
        runtime: args.runtime.map(Into::into),
        image: args.image.clone(),
        container: cloud_code_model::ContainerSettings { network, ..Default::default() },
        limits: LimitSettings {
            timeout: args.timeout,
            max_cost_usd: args.max_cost,
            max_turns: args.max_turns,
            ..Default::default()
        },
        verify: (!args.verify.is_empty()).then(|| args.verify.clone()),
        import: ImportSettings {
            allow_workflow_changes: args.allow_workflow_changes.then_some(true),
            ..Default::default()
        },
        ..Default::default()
    })
}

/// The name of a project that has no file: the repository's, with a digest of where it is, because two folders `app`
/// must not share a mirror.
fn project_name(repo: &str) -> Result<ProjectName> {
    let last = repo.trim_end_matches('/').rsplit(['/', ':']).next().unwrap_or_default();
    let digest = format!("{:016x}", fnv1a(repo.as_bytes()));
    let digest = digest.get(..DIGEST_DIGITS).unwrap_or(&digest);
    Ok(format!("{}-{digest}", slug(last.trim_end_matches(".git"))).parse()?)
}

/// FNV-1a: a digest that stays the same in every version of this program, as the project's folder is named by it.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Words split at spaces; single or double quotes group. No expansion of any kind: nothing here is a shell.
fn split_words(text: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        bail!("--command has a quote that is not closed");
    }
    words.extend(word);
    Ok(words)
}

fn read_text() -> Result<String> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        bail!(
            "the task is empty\n  hint: say what to do, as in `cloud-code run --repo . \"Fix the login check\"`"
        );
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_without_a_shell() {
        let words = |text: &str| split_words(text).unwrap();
        assert_eq!(words("sh -c 'echo \"$HOME\"; ls'"), ["sh", "-c", "echo \"$HOME\"; ls"]);
        assert_eq!(words("  a  b\tc "), ["a", "b", "c"]);
        assert_eq!(words("a ''"), ["a", ""]);
        assert!(split_words("sh -c 'oops").is_err());
    }

    #[test]
    fn a_repository_without_a_file_gets_a_lasting_name() {
        assert_eq!(project_name("/srv/shop.git").unwrap().as_str(), "shop-df25a0");
        assert_eq!(project_name("git@github.com:acme/shop.git").unwrap().as_str(), "shop-008866");
        assert_ne!(project_name("/a/app").unwrap(), project_name("/b/app").unwrap());
    }
}
