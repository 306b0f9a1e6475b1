use cloud_code_task_schema::{AgentStatus, ChangeKind, EventKind, TaskReportStatus};
use nix::sys::signal::Signal;

use crate::house::{House, task};

#[test]
fn a_task_is_run_committed_and_reported() {
    let house = House::new("cat > PROMPT.md; printf 'hi\\n' >> README.md; echo 'fix(readme): greet twice'");
    house.assign(1, &[task("one", "acceptance_criteria: [It greets]")]);
    house.run_once();
    let report = house.report("one");
    assert_eq!((report.status, report.attempt, report.failure), (TaskReportStatus::Completed, 1, None));
    assert_eq!(report.exit.and_then(|exit| exit.code), Some(0));
    assert_eq!(report.commit_message.as_deref(), Some("fix(readme): greet twice"));
    assert_eq!(report.head.as_deref(), Some(house.git(&["rev-parse", "HEAD"]).as_str()));
    assert_eq!(report.commits.len(), 1);
    let changed: Vec<_> =
        report.files_modified.iter().map(|file| (file.path.as_str(), file.change)).collect();
    assert_eq!(changed, [("PROMPT.md", ChangeKind::Added), ("README.md", ChangeKind::Modified)]);
    assert_eq!(
        house.git(&["log", "-1", "--format=%an <%ae>|%cn"]),
        "cloud-code <cloud-code@users.noreply.github.com>|cloud-code"
    );
    let prompt = house.read("tree/PROMPT.md");
    assert!(
        prompt.starts_with("# Title of one\n\nDo one\n\n## Acceptance criteria\n\n- It greets\n"),
        "{prompt}"
    );
    let names: Vec<String> = house
        .events()
        .iter()
        .map(|event| serde_json::to_value(&event.kind).unwrap()["type"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        names,
        ["agent_started", "task_received", "cli_started", "message", "cli_exited", "committed", "task_ended"]
    );
    assert_eq!(house.read("control/logs/one.1.log"), "fix(readme): greet twice\n");
}

#[test]
fn commits_of_the_cli_are_kept_and_the_rest_is_added() {
    let house = House::new("echo a > a; git add a; git commit -qm 'own work'; echo b > b");
    house.assign(1, &[task("one", "")]);
    house.run_once();
    let messages: Vec<String> =
        house.report("one").commits.into_iter().map(|commit| commit.message).collect();
    assert_eq!(messages, ["own work", "Title of one"]);
}

#[test]
fn tasks_run_in_order_and_one_at_a_time() {
    let house = House::new("read title; echo \"$title\" >> $NOTES/order; echo x >> file");
    house.assign(1, &[task("b", ""), task("a", "priority: critical"), task("c", "")]);
    house.run_once();
    assert_eq!(house.note("order").unwrap(), "# Title of b\n# Title of a\n# Title of c\n");
}

#[test]
fn ended_task_is_not_run_again_after_restart() {
    let house = House::new("echo run >> $NOTES/runs; echo x >> file");
    house.assign(1, &[task("one", "")]);
    house.run_once();
    house.assign(2, &[task("one", "")]);
    house.run_once();
    house.assign(3, &[task("one", ""), task("two", "")]);
    house.run_once();
    assert_eq!(house.note("runs").unwrap(), "run\nrun\n");
    assert_eq!(house.report("one").status, TaskReportStatus::Completed);
}

#[test]
fn ended_task_is_not_run_again_when_the_report_is_corrupt() {
    for garbage in ["{[ not yaml", "version: 7\n", ""] {
        let house = House::new("echo run >> $NOTES/runs; echo x >> file");
        house.assign(1, &[task("one", "")]);
        house.run_once();
        house.write("control/reporting.yaml", garbage);
        house.run_once();
        assert_eq!(house.note("runs").unwrap(), "run\n");
        assert_eq!(house.read("control/reporting.yaml.bad-1"), garbage);
        assert_eq!(house.report("one").status, TaskReportStatus::Completed);
        assert!(house.has_warning("reporting.yaml could not be read"), "{:?}", house.warnings());
    }
}

#[test]
fn a_report_that_missed_the_end_is_mended_from_the_event_log() {
    let house = House::new("echo run >> $NOTES/runs; echo x >> file");
    house.assign(1, &[task("one", "")]);
    house.run_once();
    let stale = house.read("control/reporting.yaml").replace("status: completed", "status: in_progress");
    house.write("control/reporting.yaml", &stale);
    house.run_once();
    assert_eq!(house.note("runs").unwrap(), "run\n");
    assert_eq!(house.report("one").status, TaskReportStatus::Completed);
}

const RESUMABLE: &str = "output: claude-stream-json\nresume: ['--resume={session_id}']\n";

#[test]
fn a_killed_agent_leaves_a_task_that_the_next_one_resumes() {
    let script = r#"
        echo "$@" >> $NOTES/calls
        echo '{"type":"system","subtype":"init","session_id":"s-1","model":"m"}'
        case "$*" in
          *resume*) echo x > file; echo '{"type":"result","subtype":"success","is_error":false,"result":"Done","session_id":"s-1"}';;
          *) touch $NOTES/started; sleep 600;;
        esac"#;
    let house = House::with_manifest(script, RESUMABLE);
    house.assign(1, &[task("one", "")]);
    let mut agent = house.start();
    house.wait_note("started");
    house.wait_report("the session id", |reporting| {
        reporting.tasks.values().any(|report| report.session_id.is_some())
    });
    agent.child.kill().unwrap();
    agent.child.wait().unwrap();
    house.run_once();
    let report = house.report("one");
    assert_eq!((report.status, report.attempt), (TaskReportStatus::Completed, 2));
    assert_eq!(house.note("calls").unwrap(), "\n--resume=s-1\n");
    assert!(house.has_warning("attempt 1 was not ended by the agent before"), "{:?}", house.warnings());
}

#[test]
fn a_session_that_is_gone_is_begun_anew() {
    let script = r#"
        echo "$@" >> $NOTES/calls
        case "$*" in *resume*) echo "No conversation found" >&2; exit 1;; esac
        echo '{"type":"system","subtype":"init","session_id":"s-1","model":"m"}'
        date +%N >> file
        echo '{"type":"result","subtype":"success","is_error":false,"result":"Done","session_id":"s-1"}'"#;
    let house = House::with_manifest(script, RESUMABLE);
    house.assign(1, &[task("one", ""), task("two", "continues: one")]);
    house.run_once();
    assert_eq!(house.report("two").status, TaskReportStatus::Completed);
    assert_eq!(house.note("calls").unwrap(), "\n--resume=s-1\n\n");
    assert!(house.has_warning("could not resume its session"), "{:?}", house.warnings());
}

#[test]
fn cancelled_while_waiting_is_never_run() {
    let house = House::new("read title; echo \"$title\" >> $NOTES/order; echo x >> file");
    house.assign(1, &[task("one", "status: cancelled"), task("two", "")]);
    house.run_once();
    assert_eq!(house.note("order").unwrap(), "# Title of two\n");
    assert_eq!(house.report("one").status, TaskReportStatus::Cancelled);
    let ends =
        house.events().iter().filter(|event| matches!(event.kind, EventKind::TaskEnded { .. })).count();
    assert_eq!(ends, 2);
}

#[test]
fn a_follow_up_continues_the_session_and_pays_only_its_own_share() {
    let good = crate::house::transcript("claude/good.jsonl");
    let resumed = crate::house::transcript("claude/resumed.jsonl");
    let house = House::with_manifest("", RESUMABLE);
    let script = "#!/bin/sh\ndate +%N >> file\ncase \"$*\" in *resume=1b11329e-2f30-4054-8616-d5e979f6841e) cat $HOME/resumed;; *) cat $HOME/good;; esac\n";
    house.write("bin/cli", script);
    std::fs::copy(good, house.path("home/good")).unwrap();
    std::fs::copy(resumed, house.path("home/resumed")).unwrap();
    for name in ["home/good", "home/resumed"] {
        std::fs::set_permissions(house.path(name), std::os::unix::fs::PermissionsExt::from_mode(0o644))
            .unwrap();
    }
    house.assign(1, &[task("one", ""), task("two", "continues: one")]);
    house.run_once();
    let cost = |id: &str| house.report(id).usage.cost_usd.unwrap().as_f64();
    assert!(
        (cost("one") - 0.0315).abs() < 1e-9 && (cost("two") - 0.021).abs() < 1e-9,
        "{} {}",
        cost("one"),
        cost("two")
    );
    assert_eq!(house.report("two").usage.input_tokens, Some(2400));
    assert_eq!(house.report("two").model.as_deref(), Some("claude-opus-5-5"));
    assert_eq!(house.reporting().unwrap().agent.cli_version.as_deref(), Some("2.1.329"));
}

#[test]
fn without_once_it_lingers_and_takes_later_tasks() {
    let house = House::new("echo x >> file");
    let mut agent = house.start();
    house.wait_report("the first report", |reporting| reporting.status == AgentStatus::Idle);
    house.assign(1, &[task("one", "")]);
    house.wait_ended("one");
    house.assign(2, &[task("one", ""), task("two", "")]);
    house.wait_ended("two");
    house.wait_report("idle", |reporting| {
        reporting.status == AgentStatus::Idle && reporting.observed_generation == 2
    });
    assert!(agent.is_running());
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exit_code(), 0);
}

#[test]
fn the_version_is_asked_for_while_idle() {
    let house = House::with_manifest("echo x >> file", "version: [sh, -c, 'echo tool v4.5.6']\n");
    let _agent = house.start();
    house.wait_report("the version", |reporting| reporting.agent.cli_version.as_deref() == Some("4.5.6"));
}
