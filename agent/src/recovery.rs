//! What an earlier agent left: the report, and where that cannot be read, the event log.
//!
//! The one promise that outranks the rest: a task that ended is never run again, unless a later attempt is asked for. So the end in the event log counts
//! also when the report missed it, and a report that cannot be read is moved aside, never overwritten.

use std::io;
use std::path::PathBuf;

use cloud_code_task_schema::{
    ControlDir, Event, EventKind, MAX_YAML_BYTES, ReadError, Reporting, TaskReport, TaskReportStatus, Usage,
    parse_reporting, read_capped,
};

use crate::event_log::{Found, all_events};

/// Most reports moved aside; a writer of bad reports must not fill the disk.
const MAX_BAD_REPORTS: u32 = 20;

/// A report with nothing in it but how far the task is.
pub(crate) fn bare_report(status: TaskReportStatus, attempt: u32) -> TaskReport {
    TaskReport {
        status,
        attempt,
        cli: None,
        started_at: None,
        finished_at: None,
        current_step: None,
        session_id: None,
        conversation: cloud_code_task_schema::Conversation::default(),
        model: None,
        usage: Usage::default(),
        exit: None,
        failure: None,
        summary: None,
        commit_message: None,
        commits: Vec::new(),
        base: None,
        head: None,
        files_modified: Vec::new(),
        verify: Vec::new(),
        questions: Vec::new(),
        progress: Vec::new(),
    }
}

/// Fills a fresh report with what is known, and says what a person should know.
pub(crate) fn recover(control: &ControlDir, found: &Found, fresh: &mut Reporting) -> io::Result<Vec<String>> {
    let mut warnings = Vec::new();
    if found.torn_bytes > 0 {
        warnings.push(format!(
            "the last line of events.jsonl was torn; {} bytes were taken off",
            found.torn_bytes
        ));
    }
    let path = control.reporting();
    let problem = match read_capped(&path, MAX_YAML_BYTES) {
        Ok(text) => match parse_reporting(&path.display().to_string(), &text) {
            Ok(earlier) => {
                fresh.observed_generation = earlier.observed_generation;
                fresh.tasks = earlier.tasks;
                fresh.agent.cli_version =
                    earlier.agent.cli_version.filter(|_| earlier.agent.cli == fresh.agent.cli);
                None
            }
            Err(diagnostics) => Some(diagnostics.to_string()),
        },
        Err(ReadError::Missing { .. }) if found.recent.is_empty() => None,
        Err(ReadError::Missing { .. }) => {
            // An agent was here, and what it reported is gone: without this an ended task would be run again.
            for event in all_events(&control.events())? {
                apply(fresh, &event);
            }
            None
        }
        Err(error) => Some(error.to_string()),
    };
    if let Some(problem) = problem {
        let aside = move_aside(control)?;
        for event in all_events(&control.events())? {
            apply(fresh, &event);
        }
        let problem = crate::parse::one_line(&problem);
        warnings.push(format!(
            "reporting.yaml could not be read ({problem}); it is now {}, and the event log says what ended",
            aside.display()
        ));
    }
    // The agent may have died between the last event and the report.
    for event in found.recent.iter().filter(|event| matches!(event.kind, EventKind::TaskEnded { .. })) {
        apply(fresh, event);
    }
    Ok(warnings)
}

fn apply(reporting: &mut Reporting, event: &Event) {
    let Some(task) = &event.task else { return };
    let attempt = event.attempt.unwrap_or(1).max(1);
    let report = reporting
        .tasks
        .entry(task.clone())
        .or_insert_with(|| bare_report(TaskReportStatus::InProgress, attempt));
    if attempt < report.attempt || (report.status.is_ended() && attempt == report.attempt) {
        return;
    }
    if attempt > report.attempt {
        // A task that ended was asked for again.
        report.status = TaskReportStatus::InProgress;
        report.failure = None;
        report.finished_at = None;
    }
    report.attempt = attempt;
    if let EventKind::TaskEnded { status, failure } = &event.kind {
        report.status = *status;
        report.failure.clone_from(failure);
        report.finished_at = Some(event.at);
        report.current_step = None;
    }
}

fn move_aside(control: &ControlDir) -> io::Result<PathBuf> {
    let path = control.reporting();
    let name = |number: u32| control.path().join(format!("reporting.yaml.bad-{number}"));
    let number = (1..MAX_BAD_REPORTS)
        .find(|number| name(*number).symlink_metadata().is_err())
        .unwrap_or(MAX_BAD_REPORTS);
    std::fs::rename(path, name(number))?;
    Ok(name(number))
}
