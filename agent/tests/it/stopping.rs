use std::time::Instant;

use cloud_code_task_schema::{AgentStatus, FailureKind, TaskReportStatus};
use nix::sys::signal::Signal;

use crate::house::{House, process_is_alive, task, wait};

#[test]
fn cancel_commits_what_is_there() {
    let house = House::new("echo half > work; touch $NOTES/started; sleep 600");
    house.assign(1, &[task("one", "")]);
    let _agent = house.start();
    house.wait_note("started");
    house.assign(2, &[task("one", "status: cancelled")]);
    let report = house.wait_ended("one");
    assert_eq!((report.status, report.failure), (TaskReportStatus::Cancelled, None));
    assert_eq!(report.commits.len(), 1);
    assert_eq!(house.git(&["show", "HEAD:work"]), "half");
}

#[test]
fn term_then_kill_of_whole_group() {
    let script = "trap 'echo term >> $NOTES/signals' TERM\n(trap '' TERM; echo $(exec sh -c 'echo $PPID') > $NOTES/child; while :; do sleep 1; done) &\n\
                  touch $NOTES/started; while :; do sleep 1; done";
    let mut house = House::new(script);
    house.extra = vec!["--grace".into(), "5s".into()];
    house.assign(1, &[task("one", "")]);
    let _agent = house.start();
    house.wait_note("started");
    let child = wait("the child's pid", || house.note("child").filter(|pid| !pid.trim().is_empty()));
    house.assign(2, &[task("one", "status: cancelled")]);
    let report = house.wait_ended("one");
    assert_eq!(report.exit.unwrap().signal, Some(9));
    assert_eq!(house.note("signals").unwrap(), "term\n");
    assert!(!process_is_alive(&child), "{child}");
}

#[test]
fn daemonised_child_is_swept() {
    let script = "setsid sh -c 'echo $$ > $NOTES/daemon; exec sleep 600' >/dev/null 2>&1 &\nwhile [ ! -s $NOTES/daemon ]; do sleep 0.01; done; echo x > file";
    let house = House::new(&format!("export NOTES\n{script}"));
    house.assign(1, &[task("one", "")]);
    house.run_once();
    assert_eq!(house.report("one").status, TaskReportStatus::Completed);
    assert!(!process_is_alive(&house.note("daemon").unwrap()));
    assert!(house.has_warning("1 processes outlived the CLI and were killed"), "{:?}", house.warnings());
}

#[test]
fn a_daemon_that_holds_the_output_open_does_not_hold_the_task() {
    let house = House::new("setsid sleep 600 &\necho x > file");
    house.assign(1, &[task("one", "")]);
    let started_at = Instant::now();
    house.run_once();
    assert_eq!(house.report("one").status, TaskReportStatus::Completed);
    assert!(started_at.elapsed().as_secs() < 30);
}

/// In a PID namespace of its own the agent is PID 1, as in a container.
#[test]
fn as_pid_1_it_reaps_and_sweeps_everything() {
    let script = "export NOTES\nfor i in 1 2 3; do (setsid sh -c 'sleep 600 & sleep 0.05' &) ; done\n\
                  (setsid sh -c 'exec sleep 601' &)\nsleep 0.2; ps -e -o pid= 2>/dev/null | wc -l > $NOTES/count; echo x > file";
    let house = House::new(script);
    house.assign(1, &[task("one", "")]);
    let mut wrapper = vec!["timeout", "60", "unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    if !crate::house::is_root() {
        wrapper.extend(["--user", "--map-root-user"]);
    }
    let output = house.command(&wrapper).arg("--once").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(house.report("one").status, TaskReportStatus::Completed);
    let swept = house.warnings().into_iter().find(|warning| warning.contains("outlived")).unwrap_or_default();
    assert_eq!(swept, "4 processes outlived the CLI and were killed");
}

#[test]
fn sigterm_commits_and_leaves_the_task_to_the_next_agent() {
    let script = "echo run >> $NOTES/runs; if [ $(wc -l < $NOTES/runs) = 1 ]; then echo half > half; touch $NOTES/started; sleep 600; fi; echo rest > rest";
    let house = House::new(script);
    house.assign(1, &[task("one", "")]);
    let mut agent = house.start();
    house.wait_note("started");
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exit_code(), 0);
    let reporting = house.reporting().unwrap();
    assert_eq!(reporting.status, AgentStatus::Stopping);
    let report = house.report("one");
    assert_eq!(
        (report.status, report.commits.len(), report.finished_at),
        (TaskReportStatus::InProgress, 1, None)
    );
    assert_eq!(house.git(&["show", "HEAD:half"]), "half");
    house.run_once();
    let report = house.report("one");
    assert_eq!((report.status, report.attempt, report.commits.len()), (TaskReportStatus::Completed, 2, 2));
    let paths: Vec<&str> = report.files_modified.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["half", "rest"]);
}

#[test]
fn a_second_sigterm_does_not_wait_for_the_grace() {
    let mut house = House::new("trap '' TERM; touch $NOTES/started; while :; do sleep 1; done");
    house.extra = vec!["--grace".into(), "1h".into()];
    house.assign(1, &[task("one", "")]);
    let mut agent = house.start();
    house.wait_note("started");
    agent.signal(Signal::SIGTERM);
    house.wait_report("stopping", |reporting| reporting.status == AgentStatus::Stopping);
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exit_code(), 0);
}

fn clock(script: &str, limits: &str) -> cloud_code_task_schema::TaskReport {
    let house = House::new(script);
    house.assign(1, &[task("one", &format!("limits: {{{limits}}}"))]);
    house.run_once();
    assert_eq!(house.git(&["show", "HEAD:work"]), "kept");
    house.report("one")
}

#[test]
fn work_before_the_first_word_is_a_beginning() {
    let house =
        House::new("end=$(($(date +%s) + 3)); while [ $(date +%s) -lt $end ]; do :; done; echo kept > work");
    house.assign(1, &[task("one", "limits: {start_timeout: 1s}")]);
    house.run_once();
    assert_eq!(house.report("one").status, TaskReportStatus::Completed, "{:?}", house.report("one").failure);
}

#[test]
fn silent_work_is_not_idle() {
    let file = "for i in 1 2 3 4 5 6 7 8; do sleep 0.3; echo $i > build; done";
    let processor = "end=$(($(date +%s) + 3)); while [ $(date +%s) -lt $end ]; do :; done";
    for work in [file, processor] {
        let house = House::new(&format!("echo kept > work; echo tick; {work}"));
        house.assign(1, &[task("one", "limits: {idle_timeout: 1s}")]);
        house.run_once();
        let report = house.report("one");
        assert_eq!(report.status, TaskReportStatus::Completed, "{work}: {:?}", report.failure);
    }
}

#[test]
fn every_clock_stops_the_cli_and_keeps_the_work() {
    let cases = [
        ("echo kept > work; while :; do echo tick; sleep 0.1; done", "timeout: 700ms", FailureKind::Timeout),
        ("echo kept > work; sleep 600", "start_timeout: 700ms", FailureKind::StartTimeout),
        ("echo kept > work; echo tick; sleep 600", "idle_timeout: 700ms", FailureKind::Idle),
    ];
    for (script, limits, kind) in cases {
        let report = clock(script, limits);
        assert_eq!((report.status, report.failure.unwrap().kind), (TaskReportStatus::TimedOut, kind));
        assert_eq!(report.commits.len(), 1);
    }
}
