//! Who waits, who goes first, and who may not begin.

use clap::{Args, Subcommand};
use cloud_code_model::{IssueKey, ProjectName};
use cloud_code_task_schema::{CliName, Priority};

pub(super) const QUEUE_HELP: &str = "Examples:
  cloud-code queue
  cloud-code queue pause --reason 'Upgrading the build server'
  cloud-code queue pause --cli codex
  cloud-code queue resume --cli codex
  cloud-code queue place 42 --priority high
  cloud-code queue place 43 --after 42

Higher priorities go first. Among equal ones projects take turns; within a project the oldest goes first, and who waits
long is lifted. A pause lets what runs go on to its end.";

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
