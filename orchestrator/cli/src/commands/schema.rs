//! `schema`: the JSON Schema of a file.

use std::process::ExitCode;

use anyhow::{Context, Result};
use cloud_code_history::AttemptFile;
use cloud_code_model::{GlobalSettings, ProjectSettings};
use cloud_code_task_schema::{SchemaKind, schema, schema_of};

use crate::args::{FileKind, SchemaArgs};
use crate::ui;

/// `cloud-code schema`.
pub(crate) fn run(args: &SchemaArgs) -> Result<ExitCode> {
    let schema = match args.kind {
        FileKind::Tasking => schema(SchemaKind::Tasking),
        FileKind::Reporting => schema(SchemaKind::Reporting),
        FileKind::Event => schema(SchemaKind::Event),
        FileKind::Cli => schema(SchemaKind::Cli),
        FileKind::Attempt => schema_of::<AttemptFile>("attempt.yaml"),
        FileKind::Settings => schema_of::<GlobalSettings>("cloud-code.yaml"),
        FileKind::Project => schema_of::<ProjectSettings>("projects/<name>.yaml"),
    };
    ui::out(serde_json::to_string_pretty(&schema).context("cannot write the schema")?);
    Ok(ExitCode::SUCCESS)
}
