//! The command line. Its help is the manual that people really read, so every command shows how it is used.

mod clis;
mod files;
mod look;
mod machine;
mod queue;
mod service;
mod work;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::clis::{BuildArgs, CheckArgs, CliCommand, ImagesCommand};
pub(crate) use self::files::{FileKind, SchemaArgs, ValidateArgs};
use self::look::SHOW_HELP;
pub(crate) use self::look::{
    DiffArgs, ExportArgs, InspectArgs, IssueArg, ListArgs, LogsArgs, ShowArgs, StatusArgs,
};
use self::machine::INIT_HELP;
pub(crate) use self::machine::{DoctorArgs, InitArgs, IntakeArg};
use self::queue::QUEUE_HELP;
pub(crate) use self::queue::{PauseArgs, PlaceArgs, QueueArgs, QueueCommand, ScopeArgs};
use self::service::{BACKUP_HELP, SERVE_HELP};
pub(crate) use self::service::{BackupArgs, RestoreArgs, ServeArgs};
use self::work::{CONTINUE_HELP, HANDOFF_HELP, RUN_HELP};
pub(crate) use self::work::{CleanArgs, ContinueArgs, HandoffArgs, ResumeArgs, RunArgs, TaskOptions};

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
