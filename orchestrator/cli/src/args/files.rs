//! The files of the contract and of settings.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

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
