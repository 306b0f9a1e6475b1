//! What a CLI starts, keeps, hides or leaves behind ends with its task, in time and under the right name.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cloud_code_task_schema::{FailureKind, TaskReport, TaskReportStatus};
use nix::sys::signal::Signal;

use crate::house::{Agent, House, is_root, process_is_alive, task, wait};

/// The CLI's final word, as Claude says it.
const RESULT: &str = r#"{"type":"result","subtype":"success","is_error":false,"result":"fix: done"}"#;
/// What an end may take beyond its clocks on a busy machine.
const SLACK: Duration = Duration::from_secs(10);

/// Processes with a word among their arguments. Every test uses words of its own.
fn processes_with(word: &str) -> Vec<String> {
    let has_word = |pid: &String| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|b| *b == 0).any(|argument| argument == word.as_bytes())
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    pids.filter(|name| name.bytes().all(|b| b.is_ascii_digit()))
        .filter(has_word)
        .filter(|pid| process_is_alive(pid))
        .collect()
}

/// A word that is a long time to `sleep`, and nobody else's.
fn long_time(test: u32) -> String {
    format!("{}.{test}", 1_000_000 + std::process::id())
}

fn children_of(parent: i32) -> Vec<String> {
    let stats = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path().join("stat"));
    let is_child = |stat: &String| {
        stat.rsplit(')').next().unwrap().split_whitespace().nth(1) == Some(parent.to_string().as_str())
    };
    stats.filter_map(|path| fs::read_to_string(path).ok()).filter(is_child).collect()
}

fn failure_kind(report: &TaskReport) -> Option<FailureKind> {
    report.failure.as_ref().map(|failure| failure.kind)
}

fn run(house: &House) -> (TaskReport, Duration) {
    let began = Instant::now();
    house.run_once();
    (house.report("one"), began.elapsed())
}

#[test]
fn a_thousand_children_leave_nothing_behind() {
    let time = long_time(1);
    let house = House::new(&format!(
        "i=0; while [ $i -lt 500 ]; do sleep {time} & setsid sleep {time} & i=$((i+1)); done; echo x > file"
    ));
    house.assign(1, &[task("one", "")]);
    let (report, _) = run(&house);
    assert_eq!((report.status, failure_kind(&report)), (TaskReportStatus::Completed, None));
    assert_eq!(processes_with(&time), [] as [String; 0]);
    assert!(house.has_warning("1000 processes outlived the CLI and were killed"), "{:?}", house.warnings());
}

/// A process that starts its successor and ends is gone before a list of all processes is read to its end.
#[test]
fn processes_that_only_hand_on_are_caught() {
    let word = long_time(2);
    let house = House::new(&format!(
        "printf '#!/bin/sh\\nsetsid \"$0\" {word} &\\n' > $HOME/hop; chmod +x $HOME/hop; for i in 1 2 3 4; do $HOME/hop {word}; done; echo x > file"
    ));
    house.assign(1, &[task("one", "")]);
    let (report, taken) = run(&house);
    assert_eq!((report.status, failure_kind(&report)), (TaskReportStatus::Completed, None));
    let until = Instant::now() + Duration::from_millis(300);
    wait("a while in which nothing comes back", || {
        assert_eq!(processes_with(&word), [] as [String; 0]);
        (Instant::now() > until).then_some(())
    });
    assert!(!house.has_warning("could not be killed"), "{:?} after {taken:?}", house.warnings());
}

/// Deaf to TERM, without pipes, and with helpers of the same kind: the clock and the grace end it all the same.
#[test]
fn a_deaf_cli_without_pipes_ends_within_its_grace() {
    let time = long_time(3);
    let mut house = House::new(&format!(
        "trap '' TERM HUP INT; echo kept > work; echo begun; exec <&- >&- 2>&-\nsetsid sh -c 'setsid sleep {time} &' & while :; do sleep {time}; done"
    ));
    house.extra = vec!["--grace".into(), "500ms".into()];
    for (limits, kind) in [("timeout: 1s", FailureKind::Timeout), ("idle_timeout: 1s", FailureKind::Idle)] {
        let id = format!("t-{kind}");
        house.assign(1, &[task(&id, &format!("limits: {{{limits}}}"))]);
        fs::remove_file(house.path("control/reporting.yaml")).unwrap_or_default();
        fs::remove_file(house.path("control/events.jsonl")).unwrap_or_default();
        let began = Instant::now();
        house.run_once();
        let report = house.report(&id);
        assert_eq!((report.status, failure_kind(&report)), (TaskReportStatus::TimedOut, Some(kind)));
        assert_eq!(report.exit.unwrap().signal, Some(9));
        assert!(began.elapsed() < Duration::from_millis(1500) + SLACK, "{:?}", began.elapsed());
        assert_eq!(processes_with(&time), [] as [String; 0]);
        assert_eq!(house.git(&["show", "HEAD:work"]), "kept");
    }
}

/// Closed pipes are not an end: the work goes on.
#[test]
fn a_cli_that_closes_its_pipes_is_waited_for() {
    let house = House::new("echo begun; exec <&- >&- 2>&-; sleep 0.5; echo late > work");
    house.assign(1, &[task("one", "")]);
    let (report, _) = run(&house);
    assert_eq!((report.status, failure_kind(&report)), (TaskReportStatus::Completed, None));
    assert_eq!(house.git(&["show", "HEAD:work"]), "late");
}

/// The classic daemon: fork, new session, fork, deaf, with the pipes still open and printing.
#[test]
fn a_daemon_that_prints_on_is_ended_with_its_task() {
    let time = long_time(4);
    let house = House::new(&format!(
        "(setsid sh -c 'trap \"\" TERM HUP; (while :; do echo still here; sleep 0.01 {time}; done) & exit 0' &)\nsleep 0.2; echo x > file; echo done"
    ));
    house.assign(1, &[task("one", "")]);
    let (report, taken) = run(&house);
    assert_eq!((report.status, failure_kind(&report)), (TaskReportStatus::Completed, None));
    assert_eq!(processes_with(&time), [] as [String; 0]);
    assert!(taken < SLACK, "{taken:?}");
    assert!(house.has_warning("outlived the CLI and were killed"), "{:?}", house.warnings());
}

#[test]
fn orphans_that_end_are_reaped_while_the_cli_works() {
    let house = House::new(
        "i=0; while [ $i -lt 100 ]; do (sh -c 'exit 0' &); i=$((i+1)); done; touch $NOTES/started; while [ ! -e $NOTES/go ]; do sleep 0.02; done; echo x > file",
    );
    house.assign(1, &[task("one", "")]);
    let agent = house.start();
    house.wait_note("started");
    wait("the agent to have one child, the CLI", || (children_of(agent.pid()).len() == 1).then_some(()));
    house.write("notes/go", "");
    assert_eq!(house.wait_ended("one").status, TaskReportStatus::Completed);
    wait("the agent to have no child at all", || children_of(agent.pid()).is_empty().then_some(()));
}

#[test]
fn a_real_time_signal_is_seen_as_the_end() {
    let house =
        House::new("read title; echo x > \"$title\"; [ \"$title\" = '# Title of two' ] || kill -40 $$");
    house.assign(1, &[task("one", ""), task("two", "")]);
    let (report, taken) = run(&house);
    assert_eq!(
        (report.status, failure_kind(&report)),
        (TaskReportStatus::Failed, Some(FailureKind::Crashed))
    );
    assert_eq!(report.exit.unwrap().signal, Some(40));
    assert_eq!(house.report("two").status, TaskReportStatus::Completed);
    assert!(taken < SLACK, "{taken:?}");
}

/// Without a container nobody else would end it, and the next agent would start a second one beside it.
#[test]
fn a_killed_agent_takes_its_cli_along() {
    let house = House::new(
        "echo $$ > $NOTES/pid.new; mv $NOTES/pid.new $NOTES/pid; trap '' TERM HUP; [ -e $NOTES/second ] && echo x > file && exit; while :; do sleep 1; done",
    );
    house.assign(1, &[task("one", "")]);
    let mut agent = house.start();
    let pid = house.wait_note("pid");
    assert!(process_is_alive(&pid));
    // The CLI does not wait for the word of its start to be on the disk, and the next agent counts by that word.
    house.wait_report("the start", |reporting| !reporting.tasks.is_empty());
    agent.child.kill().unwrap();
    agent.child.wait().unwrap();
    wait("the CLI to be gone", || (!process_is_alive(&pid)).then_some(()));
    house.write("notes/second", "");
    house.run_once();
    let report = house.report("one");
    assert_eq!((report.status, report.attempt), (TaskReportStatus::Completed, 2));
}

/// The final word counts; what does not exit after it is ended.
#[test]
fn a_cli_that_answered_and_stays_is_ended_and_counted_as_done() {
    let time = long_time(5);
    let script = format!(
        "echo x > file; echo '{RESULT}'; trap '' TERM; setsid sh -c 'while :; do sleep {time}; done' & while :; do sleep {time}; done"
    );
    let mut house = House::with_manifest(&script, "output: claude-stream-json");
    house.extra = vec!["--grace".into(), "500ms".into()];
    house.assign(1, &[task("one", "")]);
    let (report, taken) = run(&house);
    assert_eq!((report.status, failure_kind(&report)), (TaskReportStatus::Completed, None));
    assert_eq!(report.summary.as_deref(), Some("fix: done"));
    assert_eq!(processes_with(&time), [] as [String; 0]);
    assert!(house.has_warning("had answered but did not exit"), "{:?}", house.warnings());
    assert!(taken < Duration::from_secs(20) + SLACK, "{taken:?}");
}

/// It answered and exited, and what it started still holds the pipes and prints.
#[test]
fn pipes_held_by_children_of_a_cli_that_answered_do_not_hold_the_task() {
    let time = long_time(6);
    let script = format!(
        "echo x > file; echo '{RESULT}'; setsid sh -c 'while :; do echo noise; sleep 0.01 {time}; done' &"
    );
    let house = House::with_manifest(&script, "output: claude-stream-json");
    house.assign(1, &[task("one", "")]);
    let (report, taken) = run(&house);
    assert_eq!((report.status, failure_kind(&report)), (TaskReportStatus::Completed, None));
    assert_eq!(processes_with(&time), [] as [String; 0]);
    assert!(taken < SLACK, "{taken:?}");
}

/// A memory group of our own. Only root may make one; to everybody else the kernel's kill shows as signal 9 alone.
struct MemoryGroup(PathBuf);

impl MemoryGroup {
    fn with_limit(bytes: u64) -> Self {
        let first = Path::new("/sys/fs/cgroup/memory");
        let (root, limit) = if first.is_dir() {
            (first, "memory.limit_in_bytes")
        } else {
            (Path::new("/sys/fs/cgroup"), "memory.max")
        };
        let group = root.join(format!("cloud-code-test-{}", std::process::id()));
        fs::create_dir(&group).unwrap();
        let group = Self(group);
        fs::write(group.0.join(limit), bytes.to_string()).unwrap_or_else(|error| {
            panic!("{}: {error}; the memory controller is needed here", group.0.join(limit).display())
        });
        group
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_cli_out_of_memory_is_told_so_and_the_next_task_runs() {
    let eat = "awk 'BEGIN { s = \"x\"; while (1) s = s s }'";
    let script = format!("read title; echo x > \"$title\"; [ \"$title\" = '# Title of two' ] || exec {eat}");
    let house =
        House::new(&if is_root() { script } else { script.replace(&format!("exec {eat}"), "kill -9 $$") });
    house.assign(1, &[task("one", ""), task("two", "")]);
    let group = is_root().then(|| MemoryGroup::with_limit(64 * 1024 * 1024));
    let procs = group
        .as_ref()
        .map_or("/dev/null".to_owned(), |group| group.0.join("cgroup.procs").display().to_string());
    let enter = format!("echo $$ > {procs}; exec \"$@\"");
    let mut agent =
        Agent { child: house.command(&["sh", "-c", &enter, "sh"]).arg("--once").spawn().unwrap() };
    let report = house.wait_ended("one");
    assert_eq!((report.status, failure_kind(&report)), (TaskReportStatus::Failed, Some(FailureKind::Oom)));
    assert_eq!(house.wait_ended("two").status, TaskReportStatus::Completed);
    assert_eq!(agent.exit_code(), 0);
}

/// TERM to the agent, with a CLI that started hundreds and is as deaf as they are.
#[test]
fn the_end_of_the_agent_is_the_end_of_everything() {
    let time = long_time(7);
    let mut house = House::new(&format!(
        "trap '' TERM; i=0; while [ $i -lt 300 ]; do setsid sleep {time} & i=$((i+1)); done; echo half > half; touch $NOTES/started; while :; do sleep {time}; done"
    ));
    house.extra = vec!["--grace".into(), "500ms".into()];
    house.assign(1, &[task("one", "")]);
    let mut agent = house.start();
    house.wait_note("started");
    let began = Instant::now();
    agent.signal(Signal::SIGTERM);
    assert_eq!(agent.exit_code(), 0);
    assert!(began.elapsed() < Duration::from_millis(500) + SLACK, "{:?}", began.elapsed());
    assert_eq!(processes_with(&time), [] as [String; 0]);
    assert_eq!(house.report("one").status, TaskReportStatus::InProgress);
    assert_eq!(house.git(&["show", "HEAD:half"]), "half");
}
