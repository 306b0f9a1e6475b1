//! `validate`: every problem of a file, with its line and key.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use cloud_code_history::AttemptFile;
use cloud_code_model::{GlobalSettings, ProjectSettings};
use cloud_code_task_schema::{
    EVENTS_FILE, MAX_YAML_BYTES, REPORTING_FILE, TASKING_FILE, parse_event, parse_manifest, parse_reporting,
    parse_strict, parse_tasking, read_capped,
};

use super::EXIT_ERROR;
use crate::args::{FileKind, ValidateArgs};
use crate::ui;

/// Largest event log that is checked. An agent rotates long before.
const MAX_EVENTS_BYTES: u64 = 256 * 1024 * 1024;

/// `cloud-code validate`.
pub(crate) fn run(args: &ValidateArgs) -> Result<ExitCode> {
    let mut bad = 0_u32;
    for file in &args.files {
        let kind = match args.kind {
            Some(kind) => kind,
            None => kind_of(file)?,
        };
        match problems(kind, file) {
            Ok(()) => ui::out(format!("{}: valid", file.display())),
            Err(text) => {
                bad += 1;
                ui::err(ui::clean(&text));
            }
        }
    }
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::from(EXIT_ERROR) })
}

/// The kind that a file's name stands for.
pub(crate) fn kind_of(file: &Path) -> Result<FileKind> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let folder = file.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    if name == TASKING_FILE {
        Ok(FileKind::Tasking)
    } else if name == REPORTING_FILE || name.starts_with("reporting-") {
        Ok(FileKind::Reporting)
    } else if name == EVENTS_FILE {
        Ok(FileKind::Event)
    } else if name == "cli.yaml" {
        Ok(FileKind::Cli)
    } else if name == "attempt.yaml" {
        Ok(FileKind::Attempt)
    } else if name == "cloud-code.yaml" {
        Ok(FileKind::Settings)
    } else if folder == "projects" {
        Ok(FileKind::Project)
    } else {
        bail!(
            "what {} is cannot be told from its name\n  \
             hint: pass --kind tasking|reporting|event|cli|attempt|settings|project",
            file.display()
        )
    }
}

/// Everything wrong with a file, one line each.
pub(crate) fn problems(kind: FileKind, file: &Path) -> Result<(), String> {
    let name = file.display().to_string();
    let cap = match kind {
        FileKind::Event => MAX_EVENTS_BYTES,
        FileKind::Tasking | FileKind::Reporting | FileKind::Cli => MAX_YAML_BYTES,
        FileKind::Attempt | FileKind::Settings | FileKind::Project => MAX_YAML_BYTES,
    };
    let text = read_capped(file, cap).map_err(|e| e.to_string())?;
    let result = match kind {
        FileKind::Tasking => parse_tasking(&name, &text).map(drop),
        FileKind::Reporting => parse_reporting(&name, &text).map(drop),
        FileKind::Cli => parse_manifest(&name, &text).map(drop),
        FileKind::Attempt => parse_strict::<AttemptFile>(&name, &text).map(drop),
        FileKind::Settings => parse_strict::<GlobalSettings>(&name, &text).map(drop),
        FileKind::Project => parse_strict::<ProjectSettings>(&name, &text).map(drop),
        FileKind::Event => {
            let found: Vec<String> = text
                .lines()
                .enumerate()
                .filter_map(|(index, line)| parse_event(&name, index + 1, line).err())
                .map(|problem| problem.to_string())
                .collect();
            return if found.is_empty() { Ok(()) } else { Err(found.join("\n")) };
        }
    };
    result.map_err(|found| found.to_string())
}
