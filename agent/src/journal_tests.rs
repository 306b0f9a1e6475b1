use std::os::unix::fs::PermissionsExt as _;

use cloud_code_task_schema::{
    AgentInfo, AgentStatus, CommitReport, FileChange, TaskReportStatus, parse_reporting,
};

use super::*;
use crate::recovery::bare_report;

fn journal(dir: &std::path::Path) -> Journal {
    let control = ControlDir::new(dir);
    let (log, _) = EventLog::open(&control.events()).unwrap();
    let now = Timestamp::UNIX_EPOCH;
    let cli = "command".parse().unwrap();
    let agent =
        AgentInfo { version: "0".into(), instance: "i".into(), cli, cli_version: None, started_at: now };
    let reporting = Reporting {
        version: 1,
        observed_generation: 1,
        updated_at: now,
        heartbeat_at: now,
        agent,
        status: AgentStatus::Idle,
        failure: None,
        tasks: std::collections::BTreeMap::new(),
    };
    Journal::new(control, log, reporting)
}

#[test]
fn a_thousand_ended_tasks_fit_one_report() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = journal(dir.path());
    journal.update(|reporting| {
        for number in 0..1000 {
            let mut report = bare_report(TaskReportStatus::Completed, 1);
            report.summary = Some("word ".repeat(6_000));
            report.commits = vec![CommitReport { sha: "a".repeat(40), message: "m".repeat(100) }; 50];
            let change = cloud_code_task_schema::ChangeKind::Modified;
            report.files_modified =
                vec![
                    FileChange { path: "p".repeat(60), change, lines_added: Some(1), lines_removed: None };
                    90
                ];
            report.progress = vec![Progress { at: Timestamp::UNIX_EPOCH, message: "x".repeat(150) }; 50];
            reporting.tasks.insert(format!("01JD4Y6M3V0P8R2N5X7K9{number:05}").parse().unwrap(), report);
        }
    });
    journal.write().unwrap();
    let text = std::fs::read_to_string(dir.path().join("reporting.yaml")).unwrap();
    assert!(text.len() as u64 <= MAX_YAML_BYTES, "{}", text.len());
    assert_eq!(parse_reporting("reporting.yaml", &text).unwrap().tasks.len(), 1000);
}

#[test]
fn a_report_that_cannot_be_written_is_written_later_and_said() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = journal(dir.path());
    // A folder in the file's place fails for root too, as a full disk would.
    let blocked = dir.path().join("reporting.yaml");
    std::fs::create_dir(&blocked).unwrap();
    std::fs::write(blocked.join("x"), "").unwrap();
    assert!(journal.write().is_err());
    journal.warn(None, "waits");
    assert_eq!(std::fs::read_to_string(dir.path().join("events.jsonl")).unwrap(), "");
    std::fs::remove_dir_all(&blocked).unwrap();
    journal.write().unwrap();
    let log = std::fs::read_to_string(dir.path().join("events.jsonl")).unwrap();
    assert!(
        log.contains("waits") && log.contains("disk_full: the control files could not be written"),
        "{log}"
    );
    assert_eq!(std::fs::metadata(&blocked).unwrap().permissions().mode() & 0o777, 0o644);
}
