//! The command line. Its help is the manual that people really read, so every command shows how it is used.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use cloud_code_model::{IssueKey, ProjectName, RepositoryName, RuntimeKind};
use cloud_code_task_schema::{BranchName, CliName, HumanDuration, Mode, Priority, TaskId, Usd};

/// Runs coding CLIs on your repositories, each task in a container and on a branch of its own.
///
/// A task is written to a file, an agent in a container runs the CLI on it, and the commits come back as a branch
/// that you review. Everything that was asked and answered stands in two YAML files: `cloud-code inspect` shows them.
#[derive(Debug, Parser)]
#[command(
    name = "cloud-code",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = "First steps:\n  cloud-code doctor                            what this machine lacks\n  \
        cloud-code images build claude-code          build the CLI's image, once\n  \
        cloud-code run --repo . \"Fix the login check\"   do a task\n  \
        cloud-code diff                              look at the last one's work"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct GlobalArgs {
    /// Where mirrors, workspaces, settings and the database live [default: ~/.cloud-code, as root /var/lib/cloud-code].
    #[arg(long, global = true, env = "CLOUD_CODE_HOME", value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// A folder with further CLIs, one folder each with a `cli.yaml`. Can be given several times.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) cli_dir: Vec<PathBuf>,
    /// Say more on standard error: once for steps, twice for details. `RUST_LOG` refines it.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// How standard error looks [default: `log.format` in cloud-code.yaml, else text].
    #[arg(long, global = true, env = "CLOUD_CODE_LOG_FORMAT", value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormatArg>,
}

/// How standard error looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormatArg {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Connect GitHub: an App or a token, the webhook, and the repositories to work in.
    #[command(after_help = INIT_HELP)]
    Init(Box<InitArgs>),
    /// Work on what is asked for on GitHub: webhooks in, tasks, pull requests and answers out.
    #[command(after_help = SERVE_HELP)]
    Serve(ServeArgs),
    /// Do a task: worktree, container, CLI, and its commits back on a branch.
    #[command(after_help = RUN_HELP)]
    Run(Box<RunArgs>),
    /// Say what comes next on an issue, or answer its question: same worktree, branch and conversation.
    #[command(visible_alias = "answer", after_help = CONTINUE_HELP)]
    Continue(Box<ContinueArgs>),
    /// Let another CLI take an issue over: same worktree and branch, with a packet of what was done.
    #[command(after_help = HANDOFF_HELP)]
    Handoff(Box<HandoffArgs>),
    /// Show one issue: state, branch, cost, and what the agent said.
    Status(StatusArgs),
    /// Show the whole story of an issue as a timeline, or one attempt in detail: what it was told, said and changed.
    #[command(after_help = SHOW_HELP)]
    Show(ShowArgs),
    /// Pack the whole story of an issue into one file.
    Export(ExportArgs),
    /// List issues, newest first.
    List(ListArgs),
    /// Show who waits in `serve` and why; stop and start parts of the queue; let somebody go first.
    #[command(after_help = QUEUE_HELP)]
    Queue(QueueArgs),
    /// Show what the agent did, event by event, or the CLI's raw output.
    Logs(LogsArgs),
    /// Show an issue's work as a patch.
    Diff(DiffArgs),
    /// Stop a running task. What it did so far is committed and kept.
    Cancel(IssueArg),
    /// Go on with a task whose `run` was interrupted.
    Resume(ResumeArgs),
    /// Say yes to finished work that waits for it: it is published.
    Approve(ResumeArgs),
    /// Say no to finished work that waits for a yes. The work is kept, and not published.
    Reject(ResumeArgs),
    /// Remove the workspaces of ended issues. Branches stay.
    Clean(CleanArgs),
    /// Copy everything of this installation into a folder, also while `serve` runs.
    #[command(after_help = BACKUP_HELP)]
    Backup(BackupArgs),
    /// Put a backup back, into a home folder where nothing is yet.
    Restore(RestoreArgs),
    /// Show both files of an issue side by side, and what is stale, late or contradictory in them.
    Inspect(InspectArgs),
    /// Check files of the contract and settings, with line and key of every problem.
    #[command(after_help = "Which kind a file is follows from its name; `--kind` overrides that:\n  \
        cloud-code validate .cloud-code/tasking.yaml .cloud-code/events.jsonl\n  \
        cloud-code validate --kind tasking my-file.yaml")]
    Validate(ValidateArgs),
    /// Print the JSON Schema of a file, for editors and other programs.
    Schema(SchemaArgs),
    /// Build and list the images that CLIs run in.
    #[command(subcommand)]
    Images(ImagesCommand),
    /// List the coding CLIs, show one, and check whether they would work.
    #[command(subcommand)]
    Cli(CliCommand),
    /// Check what this machine lacks, with the command that fixes it.
    Doctor(DoctorArgs),
    /// Print a completion script for a shell.
    #[command(after_help = "Install it for bash:\n  \
        cloud-code completions bash > ~/.local/share/bash-completion/completions/cloud-code")]
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

const QUEUE_HELP: &str = "Examples:
  cloud-code queue
  cloud-code queue pause --reason 'Upgrading the build server'
  cloud-code queue pause --cli codex
  cloud-code queue resume --cli codex
  cloud-code queue place 42 --priority high
  cloud-code queue place 43 --after 42

Higher priorities go first. Among equal ones projects take turns; within a project the oldest goes first, and who waits
long is lifted. A pause lets what runs go on to its end.";

const SHOW_HELP: &str = "Examples:
  cloud-code show fix-the-login                        its tasks, phases, attempts and costs
  cloud-code show fix-the-login --attempt 2            the second attempt at its newest task
  cloud-code show fix-the-login --attempt 2 --log      the CLI's output then
  cloud-code show fix-the-login --diff                 what the last attempt added";

const RUN_HELP: &str = "Examples:
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

const CONTINUE_HELP: &str = "Examples:
  cloud-code continue fix-the-login-check \"Add a test for it\"
  cloud-code continue fix-the-login-check \"Now do what you planned\"     after run --mode plan
  cloud-code answer fix-the-login-check \"Yes, both tables\"

The CLI goes on in its own session, also when the container is gone. Where a session cannot go on, it is told in
short what was said and done; `status` says which of the two it was. Options that are left out stay as they were
for the issue's last task. Exit codes are those of `run`.";

const HANDOFF_HELP: &str = "Examples:
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

/// Names an issue.
#[derive(Debug, Args)]
pub(crate) struct IssueArg {
    /// The issue as `list` shows it: `fix-the-login-check`, or `project#key` where the key alone is not enough
    /// [default: the newest].
    pub(crate) issue: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) issue: IssueArg,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only this project.
    #[arg(long)]
    pub(crate) project: Option<ProjectName>,
    /// At most so many.
    #[arg(long, default_value_t = 50, value_name = "N")]
    pub(crate) limit: u32,
    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct QueueArgs {
    #[command(subcommand)]
    pub(crate) command: Option<QueueCommand>,
    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// Let nothing more begin: of a project, of a coding CLI, or at all.
    Pause(PauseArgs),
    /// Let it begin again.
    Resume(ScopeArgs),
    /// Change where an issue's waiting task stands.
    Place(PlaceArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ScopeArgs {
    /// Only this project.
    #[arg(long, conflicts_with = "cli", value_name = "NAME")]
    pub(crate) project: Option<ProjectName>,
    /// Only this coding CLI, in all projects.
    #[arg(long, value_name = "NAME")]
    pub(crate) cli: Option<CliName>,
}

#[derive(Debug, Args)]
pub(crate) struct PauseArgs {
    #[command(flatten)]
    pub(crate) scope: ScopeArgs,
    /// Why, for everybody who waits.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PlaceArgs {
    /// The issue, as `list` shows it.
    pub(crate) issue: String,
    /// How urgent it is: critical, high, medium or low.
    #[arg(long, value_name = "PRIORITY")]
    pub(crate) priority: Option<Priority>,
    /// Wait until this issue's work is done, and merged where it has a pull request. Can be given several times.
    #[arg(long, value_name = "ISSUE")]
    pub(crate) after: Vec<IssueKey>,
    /// Wait for no other issue any more.
    #[arg(long, conflicts_with = "after")]
    pub(crate) now: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    pub(crate) issue: IssueArg,
    /// Go on until the task has ended.
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// The CLI's raw output instead of events.
    #[arg(long)]
    pub(crate) raw: bool,
    /// Events as they stand in the file, one JSON object a line.
    #[arg(long, conflicts_with = "raw")]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    #[command(flatten)]
    pub(crate) issue: IssueArg,
    /// Only file names and counts.
    #[arg(long)]
    pub(crate) stat: bool,
}

const SERVE_HELP: &str = "It serves every project whose file names a repository (`github: owner/name`), until Ctrl-C or SIGTERM.
Agents that work then go on in their containers; the next `serve` finds them (--drain waits for them, --stop-agents
ends them).

  POST /webhooks/github   what GitHub sends
  GET  /healthz, /readyz  whether it lives, whether it can work, and which part cannot
  GET  /metrics           for Prometheus, on a port of its own: 127.0.0.1:8643

Settings: `github` and `server` in cloud-code.yaml; `cloud-code init` writes them. docs/GITHUB.md says the rest, and
docs/OPERATIONS.md how to run it.";

const BACKUP_HELP: &str =
    "In it: the database, mirrors, workspaces with their logs, settings, and the secrets of GitHub.
Not in it: the keys of providers, which come from the environment; images; containers, and what runs in them.

  cloud-code backup /srv/backup/$(date +%F)
  cloud-code --home /var/lib/cloud-code restore /srv/backup/2026-01-31";

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// A folder that is not there yet, or is empty.
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Leave the folder `secrets` out: the App's key, the token, the webhook's secret.
    #[arg(long)]
    pub(crate) without_secrets: bool,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct RestoreArgs {
    /// What `backup` made.
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where to listen [default: `server.listen` in cloud-code.yaml, else 127.0.0.1:8642].
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<String>,
    /// What this process does of it, where several share a PostgreSQL store (`store.url`).
    #[arg(long, value_enum, default_value_t = RoleArg::All)]
    pub(crate) role: RoleArg,
    /// When told to stop, wait for agents that work, each to the end of its task. A second signal leaves them.
    #[arg(long, conflicts_with = "stop_agents")]
    pub(crate) drain: bool,
    /// When told to stop, end agents that work, with their work committed; the next start goes on with it.
    #[arg(long)]
    pub(crate) stop_agents: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RoleArg {
    /// Both.
    All,
    /// Take webhooks and requests in, and speak on the forge; one at a time.
    Front,
    /// Drive tasks; any number of them.
    Worker,
}

impl From<RoleArg> for cloud_code_engine::Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::All => Self::All,
            RoleArg::Front => Self::Front,
            RoleArg::Worker => Self::Worker,
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

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    pub(crate) issue: IssueArg,
    /// One attempt in detail [default with --log, --diff or --task: the last one].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) attempt: Option<u32>,
    /// Which task's attempt [default: the newest].
    #[arg(long, value_name = "ID")]
    pub(crate) task: Option<TaskId>,
    /// The attempt's log: the CLI's output as it came.
    #[arg(long, conflicts_with_all = ["diff", "json"])]
    pub(crate) log: bool,
    /// What the attempt added, as a patch.
    #[arg(long, conflicts_with = "json")]
    pub(crate) diff: bool,
    /// One JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) issue: IssueArg,
    /// The file to write, ending in `.tar.gz` [default: PROJECT-ISSUE.tar.gz here].
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Replace a file that is there.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// An issue, or the path of a workspace or control directory [default: the newest issue].
    pub(crate) target: Option<String>,
    /// Show it again on every change, until Ctrl-C.
    #[arg(short, long)]
    pub(crate) watch: bool,
}

/// The kinds of files that can be checked.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum FileKind {
    /// `tasking.yaml`
    Tasking,
    /// `reporting.yaml`
    Reporting,
    /// `events.jsonl`
    Event,
    /// `cli.yaml`
    Cli,
    /// `attempt.yaml` of the history
    Attempt,
    /// `cloud-code.yaml`
    Settings,
    /// `projects/<name>.yaml`
    Project,
}

#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// The files.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// What they are [default: by name].
    #[arg(long, value_enum)]
    pub(crate) kind: Option<FileKind>,
}

#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// Of which file.
    #[arg(value_enum)]
    pub(crate) kind: FileKind,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CliCommand {
    /// List every CLI: version, image, what it supports, and whether there are credentials.
    List {
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Show one CLI: its manifest as it is used, and where that comes from.
    Show {
        /// Which.
        name: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Ask each CLI in its image for its version, and its provider whether the credentials work.
    #[command(after_help = CHECK_HELP)]
    Check(CheckArgs),
}

const CHECK_HELP: &str = "Examples:
  cloud-code cli check claude-code
  cloud-code cli check codex --base-url https://api.openai.com
  cloud-code cli check claude-code --image acme/shop-claude:3

A key is tried with one request for the provider's list of models, which costs nothing, and only when the provider's
address is given (--base-url, or `base_url` in `defaults` of cloud-code.yaml). Whether a login works is not known.

Exit codes: 0 all is well, 1 something is wrong. Without names, a CLI that was never set up (no image, no
credentials) is told and not counted.";

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Which CLIs [default: all].
    pub(crate) names: Vec<String>,
    /// Ask in this image, such as a project's; needs exactly one name [default: the CLI's own].
    #[arg(long, value_name = "IMAGE", requires = "names")]
    pub(crate) image: Option<String>,
    /// The provider's address.
    #[arg(long, value_name = "URL")]
    pub(crate) base_url: Option<String>,
    /// Print one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImagesCommand {
    /// Build the images of CLIs.
    #[command(after_help = "Examples:\n  cloud-code images build\n  \
        cloud-code images build codex --extra-ca /etc/ssl/company.pem\n  \
        cloud-code images build claude-code --project-image acme/shop-dev:3 --tag acme/shop-claude:3")]
    Build(BuildArgs),
    /// List the images of CLIs on this machine.
    List {
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// Which CLIs [default: all with an image of their own].
    pub(crate) clis: Vec<CliName>,
    /// The image under them all [default: `docker.base_image`, else debian:bookworm-slim].
    #[arg(long, value_name = "IMAGE", conflicts_with = "project_image")]
    pub(crate) base_image: Option<String>,
    /// Build upon this image of a project, with its tools in it; needs exactly one CLI.
    #[arg(long, value_name = "IMAGE", requires = "clis")]
    pub(crate) project_image: Option<String>,
    /// The name of the result; needs exactly one CLI [default: cloud-code/CLI:VERSION].
    #[arg(long, value_name = "NAME", requires = "clis")]
    pub(crate) tag: Option<String>,
    /// A PEM file of CA certificates to trust besides the system's [default: `docker.extra_ca`].
    #[arg(long, value_name = "FILE")]
    pub(crate) extra_ca: Option<PathBuf>,
    /// A build argument, such as a package mirror. Can be given several times.
    #[arg(long = "build-arg", value_name = "NAME=VALUE")]
    pub(crate) build_args: Vec<String>,
    /// Print every line of the build.
    #[arg(long)]
    pub(crate) plain: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Mend what can be mended from here, such as missing labels.
    #[arg(long)]
    pub(crate) fix: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

const INIT_HELP: &str = "Examples:
  cloud-code init                                            asks what it needs
  cloud-code init --non-interactive --owner acme --public-url https://agents.example.com --repo acme/shop
  cloud-code init --non-interactive --token-file ~/token --repo acme/shop --intake polling

With a GitHub App (recommended) a browser makes it: `init` prints an address to open, GitHub shows what the App may,
and its key comes back to this machine. On a machine without a browser, forward the port as `init` says, or pass
--manual and paste the address that the browser ends at.

A second run changes nothing that is right already, and replaces nothing without a yes (--replace).";

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Ask nothing; take flags and defaults.
    #[arg(long)]
    pub(crate) non_interactive: bool,
    /// Where GitHub is: `https://github.com` or the address of your Enterprise Server.
    #[arg(long, value_name = "URL")]
    pub(crate) github_url: Option<String>,
    /// Name of the App; unique on GitHub [default: cloud-code-ID of this installation].
    #[arg(long, value_name = "NAME", conflicts_with = "token_file")]
    pub(crate) app_name: Option<String>,
    /// The organisation that the App belongs to [default: yourself].
    #[arg(long, value_name = "ORG", conflicts_with = "token_file")]
    pub(crate) owner: Option<String>,
    /// Take an App that is there already, by its number.
    #[arg(long, value_name = "NUMBER", requires = "app_key", conflicts_with_all = ["token_file", "app_name", "owner"])]
    pub(crate) app_id: Option<u64>,
    /// The private key of that App, a PEM file. It is copied.
    #[arg(long, value_name = "FILE", requires = "app_id")]
    pub(crate) app_key: Option<PathBuf>,
    /// The short name that the App must have, as in `https://github.com/apps/NAME` [default: what GitHub says].
    #[arg(long, value_name = "NAME", requires = "app_id")]
    pub(crate) app_slug: Option<String>,
    /// Work with a fine-grained token from this file instead of an App; `-` reads standard input.
    #[arg(long, value_name = "PATH")]
    pub(crate) token_file: Option<PathBuf>,
    /// How GitHub reaches `cloud-code serve`. Without it, deliveries are read from GitHub's log.
    #[arg(long, value_name = "URL")]
    pub(crate) public_url: Option<String>,
    /// A repository to work in. Can be given several times.
    #[arg(long = "repo", value_name = "OWNER/NAME")]
    pub(crate) repos: Vec<RepositoryName>,
    /// The coding CLI of new projects.
    #[arg(long, value_name = "NAME")]
    pub(crate) cli: Option<CliName>,
    /// How events reach this machine [default: webhook with --public-url, else deliveries (App) or polling (token)].
    #[arg(long, value_enum)]
    pub(crate) intake: Option<IntakeArg>,
    /// Name of the project; needs exactly one repository [default: the repository's name].
    #[arg(long, value_name = "NAME")]
    pub(crate) project: Option<ProjectName>,
    /// Replace what stands in the settings and make the App anew.
    #[arg(long)]
    pub(crate) replace: bool,
    /// No listener on loopback: paste the address that the browser ends at.
    #[arg(long, conflicts_with = "port")]
    pub(crate) manual: bool,
    /// Port of the page on loopback [default: any free one].
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub(crate) port: u16,
}

/// How events reach this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum IntakeArg {
    /// GitHub calls.
    Webhook,
    /// The App's log of deliveries is read.
    Deliveries,
    /// Issues and comments are listed.
    Polling,
}
