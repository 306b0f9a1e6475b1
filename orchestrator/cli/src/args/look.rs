//! What shows issues and their work.

use std::path::PathBuf;

use clap::Args;
use cloud_code_model::ProjectName;
use cloud_code_task_schema::TaskId;

pub(super) const SHOW_HELP: &str = "Examples:
  cloud-code show fix-the-login                        its tasks, phases, attempts and costs
  cloud-code show fix-the-login --attempt 2            the second attempt at its newest task
  cloud-code show fix-the-login --attempt 2 --log      the CLI's output then
  cloud-code show fix-the-login --diff                 what the last attempt added";

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
