//! What makes tasks, and what is said to them afterwards.

use clap::{Args, ValueEnum};
use cloud_code_model::{ProjectName, RuntimeKind};
use cloud_code_task_schema::{BranchName, HumanDuration, Mode, Usd};

use super::look::IssueArg;

pub(super) const RUN_HELP: &str = "Examples:
  cloud-code run --repo . \"Fix the login check\"
  cloud-code run --repo https://github.com/acme/shop --cli codex \"Add a health endpoint\"
  cloud-code run --project shop --verify 'cargo test' --max-cost 2 < task.md
  cloud-code run --repo . --cli command --command 'sh tools/update.sh' \"Update the licences\"

The work stands on a branch cloud-code/<slug>: in your repository when it is a folder and the task is done,
else in the mirror; `status` says where.
Ctrl-C stops the task and keeps its work; a second Ctrl-C ends a running container at once.

A task of mode plan, review or ask cannot write: in Docker its worktree is mounted read only.
Ctrl-C a third time leaves everything as it is; `resume` goes on.

Exit codes: 0 done, 1 could not be run, 2 wrong usage, 3 the task failed, 4 it needs an answer, 5 cancelled,
6 this command could not go on and the task has not ended.";

pub(super) const CONTINUE_HELP: &str = "Examples:
  cloud-code continue fix-the-login-check \"Add a test for it\"
  cloud-code continue fix-the-login-check \"Now do what you planned\"     after run --mode plan
  cloud-code answer fix-the-login-check \"Yes, both tables\"

The CLI goes on in its own session, also when the container is gone. Where a session cannot go on, it is told in
short what was said and done; `status` says which of the two it was. Options that are left out stay as they were
for the issue's last task. Exit codes are those of `run`.";

pub(super) const HANDOFF_HELP: &str = "Examples:
  cloud-code handoff fix-the-login-check --to codex
  cloud-code handoff fix-the-login-check --to claude-code \"Codex is stuck at the last test, find out why\"

The packet stands in the issue's tasking.yaml: the goal, the plan, what was done and what failed, red checks, open
questions, and which files changed. `status` shows it. Model and image of the old CLI do not go along: name them with
--model and --image. Exit codes are those of `run`.";

/// What to do, where, and with which CLI.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// What to do. The first line is the title. Without it the text is read from standard input.
    pub(crate) task: Option<String>,
    /// Path or URL of the repository [default: the project's].
    #[arg(long, value_name = "PATH_OR_URL", required_unless_present = "project")]
    pub(crate) repo: Option<String>,
    /// A project of `projects/<NAME>.yaml` [default: one named after the repository, with default settings].
    #[arg(long, value_name = "NAME")]
    pub(crate) project: Option<ProjectName>,
    /// The coding CLI.
    #[arg(long, value_name = "NAME")]
    pub(crate) cli: Option<String>,
    /// The branch to start from [default: the repository's current one].
    #[arg(long, value_name = "BRANCH")]
    pub(crate) base: Option<BranchName>,
    /// The branch to leave the work on; refused if it exists [default: cloud-code/ and the title as a slug].
    #[arg(long, value_name = "BRANCH")]
    pub(crate) branch: Option<BranchName>,
    /// How the agent is started. `local` has no sandbox: the CLI runs with the rights of its user.
    #[arg(long, value_enum)]
    pub(crate) runtime: Option<RuntimeArg>,
    /// Start although the repository has uncommitted changes; they are not part of the task.
    #[arg(long)]
    pub(crate) allow_dirty: bool,
    #[command(flatten)]
    pub(crate) options: TaskOptions,
}

/// Options of every command that makes a task.
#[derive(Debug, Args)]
pub(crate) struct TaskOptions {
    /// The program of `--cli command`, split at spaces; quotes group words.
    #[arg(long, value_name = "PROGRAM")]
    pub(crate) command: Option<String>,
    /// The model's name.
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// Let it change files, or only read.
    #[arg(long, value_enum, default_value_t = ModeArg::Edit)]
    pub(crate) mode: ModeArg,
    /// The image to run in [default: the CLI's own].
    #[arg(long)]
    pub(crate) image: Option<String>,
    /// `bridge`, `none`, `host`, a network's name, or `container:NAME`.
    #[arg(long)]
    pub(crate) network: Option<String>,
    /// The provider's address, for a gateway or a proxy.
    #[arg(long, value_name = "URL")]
    pub(crate) base_url: Option<String>,
    /// A shell command that must succeed after the CLI. Can be given several times.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) verify: Vec<String>,
    /// Longest time in all, such as `90s`, `15m`, `1h`.
    #[arg(long, value_name = "TIME")]
    pub(crate) timeout: Option<HumanDuration>,
    /// Most money, in US dollars, for CLIs that name their cost; checked between runs of the CLI.
    #[arg(long, value_name = "USD", value_parser = usd)]
    pub(crate) max_cost: Option<Usd>,
    /// Most turns of the model, for CLIs that can limit them.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) max_turns: Option<u32>,
    /// Take changes to CI workflow files, which run with the repository's secrets.
    #[arg(long)]
    pub(crate) allow_workflow_changes: bool,
    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ContinueArgs {
    /// The issue as `list` shows it: `fix-the-login-check`, or `project#key` where the key alone is not enough.
    pub(crate) issue: String,
    /// What to do next, or the answer to its question. Without it the text is read from standard input.
    pub(crate) task: Option<String>,
    #[command(flatten)]
    pub(crate) options: TaskOptions,
}

#[derive(Debug, Args)]
pub(crate) struct HandoffArgs {
    /// The issue as `list` shows it: `fix-the-login-check`, or `project#key` where the key alone is not enough.
    pub(crate) issue: String,
    /// The coding CLI that takes over.
    #[arg(long, value_name = "CLI")]
    pub(crate) to: String,
    /// What to do there [default: go on until the goal is reached].
    pub(crate) task: Option<String>,
    #[command(flatten)]
    pub(crate) options: TaskOptions,
}

fn usd(text: &str) -> Result<Usd, String> {
    let number: f64 = text.parse().map_err(|_| format!("`{text}` is not a number"))?;
    Usd::new(number).map_err(|e| e.to_string())
}

/// See [`Mode`].
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum ModeArg {
    /// Change files.
    Edit,
    /// Read only: say what would be done.
    Plan,
    /// Read only: judge what is there.
    Review,
    /// Answer a question.
    Ask,
}

impl From<ModeArg> for Mode {
    fn from(mode: ModeArg) -> Self {
        match mode {
            ModeArg::Edit => Self::Edit,
            ModeArg::Plan => Self::Plan,
            ModeArg::Review => Self::Review,
            ModeArg::Ask => Self::Ask,
        }
    }
}

/// See [`RuntimeKind`].
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum RuntimeArg {
    /// In a container of its own.
    Docker,
    /// As a child process of this user, without a sandbox.
    Local,
}

impl From<RuntimeArg> for RuntimeKind {
    fn from(runtime: RuntimeArg) -> Self {
        match runtime {
            RuntimeArg::Docker => Self::Docker,
            RuntimeArg::Local => Self::Local,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    pub(crate) issue: IssueArg,
    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CleanArgs {
    #[command(flatten)]
    pub(crate) issue: IssueArg,
    /// Every ended issue.
    #[arg(long, conflicts_with = "issue")]
    pub(crate) all: bool,
    /// Also where work was never imported; it is lost then.
    #[arg(long)]
    pub(crate) force: bool,
    /// Also what is kept of its attempts, of issues that were cleaned before as well.
    #[arg(long)]
    pub(crate) history: bool,
}
