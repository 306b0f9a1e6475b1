//! The packet of a hand-off, from rows and reports.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use cloud_code_engine::packet;
use cloud_code_model::{DEFAULT_CLI, NewTask, ProjectSettings, TaskRecord, TaskState};
use cloud_code_task_schema::{
    Failure, FailureKind, Handoff, Mode, TaskId, TaskReport, Tasking, parse_reporting, parse_tasking, to_yaml,
};
use jiff::Timestamp;

const HEAD: &str = "4e18bcb7aa0b1c2d3e4f5061728394a5b6c7d8e9";

fn record(id: &str, text: &str, state: TaskState) -> TaskRecord {
    let task = NewTask {
        id: id.parse().unwrap(),
        project: "shop".parse().unwrap(),
        issue: "login".parse().unwrap(),
        title: text.lines().next().unwrap_or_default().into(),
        description: text.into(),
        mode: Mode::Edit,
        continues: None,
        handoff: None,
        plan: ProjectSettings::default().plan("/srv/shop".into(), DEFAULT_CLI.parse().unwrap()),
        requested_by: None,
        intent: None,
        brief: cloud_code_model::Brief::default(),
        queue: Default::default(),
        created_at: Timestamp::UNIX_EPOCH,
    };
    TaskRecord { state, ..TaskRecord::queued(task) }
}

/// Reports as an agent writes them.
fn reports(tasks: &str) -> BTreeMap<TaskId, TaskReport> {
    let text = format!(
        "version: 1\nobserved_generation: 1\nupdated_at: 2026-11-20T10:00:00Z\nheartbeat_at: 2026-11-20T10:00:00Z\n\
         agent: {{version: '1', instance: i, cli: claude-code, started_at: 2026-11-20T10:00:00Z}}\nstatus: idle\ntasks:\n{tasks}"
    );
    parse_reporting("reporting.yaml", &text).unwrap().tasks
}

#[test]
fn a_packet_says_what_was_wanted_done_failed_and_left() {
    let failure = Failure::new(FailureKind::VerifyFailed, "cargo test stayed red");
    let mut plan =
        record("T1", "Fix the login\n\nAn empty password must be refused.", TaskState::Done { head: None });
    plan.task.mode = Mode::Plan;
    plan.summary = Some("1. Check the length.\n2. Test it.\n".into());
    let mut done = record("T2", "Do it", TaskState::Done { head: Some(HEAD.into()) });
    done.summary = Some("I check the length now.".into());
    let stopped = record("T3", "Rename everything", TaskState::Cancelled { head: None });
    let red =
        record("T4", "Add a test\nfor spaces too", TaskState::Failed { failure, head: Some(HEAD.into()) });
    let reports = reports(
        "  T2: {status: completed, attempt: 1, finished_at: 2026-11-20T10:00:00Z, commits: [{sha: 4e18bcb7aa0b1c2d3e4f, message: 'fix: check the length'}]}\n  \
           T4: {status: failed, attempt: 1, finished_at: 2026-11-20T10:00:00Z, failure: {kind: verify_failed, message: red}, \
           verify: [{command: cargo test, exit_code: 101, duration: 1s, round: 1, output_tail: old}, \
           {command: cargo fmt, exit_code: 0, duration: 1s, round: 2, output_tail: ''}, \
           {command: cargo test, exit_code: 101, duration: 1s, round: 2, output_tail: \"1 failed\\n\"}]}\n",
    );
    let expected = Handoff {
        from: "claude-code".parse().ok(),
        goal: Some("Fix the login\n\nAn empty password must be refused.".into()),
        plan: Some("1. Check the length.\n2. Test it.".into()),
        done: vec![
            "Do it: I check the length now.".into(),
            "commit 4e18bcb7aa0b fix: check the length".into(),
        ],
        failed: vec![
            "Rename everything: a person stopped it".into(),
            "Add a test: verify_failed: cargo test stayed red".into(),
        ],
        open: vec!["Rename everything".into(), "Add a test\nfor spaces too".into()],
        failed_checks: vec!["cargo test (exit code 101)\n1 failed".into()],
        questions: vec![],
        diff_stat: Some("login.rs  +1 -0\n1 file changed, +1 -0".into()),
    };
    let stat = "login.rs  +1 -0\n1 file changed, +1 -0\n";
    assert_eq!(packet(&[plan, done, stopped, red], &reports, Some(stat)), expected);
}

#[test]
fn a_question_that_nobody_answered_goes_along_and_an_answered_one_does_not() {
    let mut asked = record("T1", "Migrate", TaskState::NeedsInput { head: None });
    asked.questions = vec!["Both tables?".into()];
    let nothing = BTreeMap::new();
    let open = packet(std::slice::from_ref(&asked), &nothing, None);
    assert_eq!((open.questions, open.open), (vec!["Both tables?".to_owned()], vec!["Migrate".to_owned()]));

    let answer = record("T2", "Yes, both", TaskState::Done { head: None });
    let answered = packet(&[asked, answer], &nothing, None);
    assert_eq!((answered.questions, answered.open), (vec![], vec![]));
    assert_eq!(answered.done, ["Yes, both"]);
}

#[test]
fn a_packet_stays_small_however_long_the_issue_grew() {
    let long = "ü".repeat(200_000);
    let mut records: Vec<TaskRecord> = (0..200)
        .map(|n| record(&format!("T{n}"), &format!("Task {n}\n{long}"), TaskState::Done { head: None }))
        .collect();
    for record in &mut records {
        record.summary = Some(long.clone());
    }
    let failure = Failure::new(FailureKind::Crashed, long.clone());
    records.push(record("T200", &long, TaskState::Failed { failure, head: None }));
    let handoff = packet(&records, &BTreeMap::new(), Some(&long));
    assert!(handoff.goal.as_ref().unwrap().ends_with("bytes are left out)"), "{:?}", handoff.goal);
    assert_eq!(handoff.done.first().map(String::as_str), Some("(170 earlier ones are left out)"));

    // What it must not outgrow: a prompt that is one argument, and the file it stands in.
    let text = to_yaml(&handoff).unwrap();
    assert!(text.len() < 120 * 1024, "{} bytes", text.len());
    let tasking: Tasking = parse_tasking(
        "tasking.yaml",
        &format!(
            "version: 1\ngeneration: 1\nupdated_at: 2026-11-20T10:00:00Z\nworkspace: shop#1\ncli: codex\ntasks:\n\
             - {{id: T9, status: assigned, title: x, description: y, branch: b, base: main, handoff: {}}}\n",
            serde_json::to_string(&handoff).unwrap()
        ),
    )
    .unwrap();
    assert_eq!(tasking.tasks[0].handoff.as_ref(), Some(&handoff));
}
