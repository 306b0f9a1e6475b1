use std::fs;

use cloud_code_task_schema::{AgentStatus, FailureKind, TaskReportStatus};

use crate::house::{House, task, wait};

#[test]
fn bad_tasking_leaves_running_work_alone() {
    let house =
        House::new("touch $NOTES/started; while [ ! -e $NOTES/go ]; do sleep 0.02; done; echo x > file");
    house.assign(1, &[task("one", "")]);
    let _agent = house.start();
    house.wait_note("started");
    house.publish("version: 1\ngeneration: 2\nupdated_at: 2026-11-20T10:00:00Z\nworkspace: w\ncli: command\ntasks: []\nsurprise: 1\n");
    let reporting = house.wait_report("status error", |reporting| reporting.status == AgentStatus::Error);
    let failure = reporting.failure.unwrap();
    assert_eq!(failure.kind, FailureKind::InvalidTasking);
    assert!(
        failure.message.contains("tasking.yaml:7:1") && failure.message.contains("surprise"),
        "{}",
        failure.message
    );
    assert_eq!(reporting.observed_generation, 1);
    house.write("notes/go", "");
    assert_eq!(house.wait_ended("one").status, TaskReportStatus::Completed);
    house.assign(3, &[task("one", "")]);
    let reporting = house.wait_report("idle", |reporting| reporting.status == AgentStatus::Idle);
    assert_eq!((reporting.failure, reporting.observed_generation), (None, 3));
}

#[test]
fn every_kind_of_bad_tasking_is_refused_with_a_reason() {
    let house = House::new("echo x >> file");
    let _agent = house.start();
    house.wait_report("the first report", |_| true);
    let head = "version: 1\ngeneration: 1\nupdated_at: 2026-11-20T10:00:00Z\nworkspace: w\n";
    let cases = [
        ("tasks: [".to_owned(), "tasking.yaml:"),
        (head.replace("version: 1", "version: 9") + "cli: command\ntasks: []\n", "version"),
        (head.to_owned() + "cli: codex\ntasks: []\n", "cli: this container runs `command`, not `codex`"),
        ("x".repeat(1024 * 1024 + 1), "larger than"),
    ];
    for (text, part) in cases {
        house.publish(&text);
        house.wait_report(part, |reporting| {
            reporting.failure.as_ref().is_some_and(|failure| failure.message.contains(part))
        });
    }
    let target = house.path("elsewhere");
    fs::write(&target, head.to_owned() + "cli: command\ntasks: []\n").unwrap();
    fs::remove_file(house.path("control/tasking.yaml")).unwrap();
    std::os::unix::fs::symlink(&target, house.path("control/tasking.yaml")).unwrap();
    house.wait_report("a link", |reporting| {
        reporting.failure.as_ref().is_some_and(|failure| failure.message.contains("not a regular file"))
    });
    assert_eq!(house.starts(), 0);
}

#[test]
fn backwards_generation_is_ignored_and_reported() {
    let house = House::new("echo x >> file");
    house.assign(5, &[task("one", "")]);
    let agent = house.start();
    house.wait_ended("one");
    house.assign(4, &[task("one", ""), task("two", "")]);
    wait("the warning", || house.has_warning("generation 4, but 5 was seen already").then_some(()));
    drop(agent);
    let _agent = house.start();
    wait("the warning after a restart", || {
        (house.warnings().iter().filter(|w| w.contains("but 5 was seen")).count() == 2).then_some(())
    });
    assert_eq!(house.starts(), 1);
    assert_eq!(house.reporting().unwrap().observed_generation, 5);
}

/// The folder is replaced by another under the same name: the watch stays with the old one and announces nothing.
#[test]
fn poll_takes_over_when_watch_misses() {
    let mut house = House::new("echo x >> file");
    house.extra = vec!["--poll".into(), "300ms".into()];
    let _agent = house.start();
    house.wait_report("the first report", |_| true);
    fs::rename(house.path("control"), house.path("control.old")).unwrap();
    fs::create_dir(house.path("control")).unwrap();
    house.assign(1, &[task("one", "")]);
    assert_eq!(house.wait_ended("one").status, TaskReportStatus::Completed);
    house.assign(2, &[task("one", ""), task("two", "")]);
    assert_eq!(house.wait_ended("two").status, TaskReportStatus::Completed);
    let text = house.read("control/events.jsonl");
    assert_eq!(text.matches("the watch missed a change of tasking.yaml").count(), 1, "{text}");
}

#[test]
fn torn_event_log_is_repaired() {
    let house = House::new("echo x >> file");
    house.assign(1, &[task("one", "")]);
    house.run_once();
    let before = house.events().len();
    let mut text = house.read("control/events.jsonl");
    text.push_str("{\"seq\":99,\"at\":\"2026-");
    house.write("control/events.jsonl", &text);
    house.assign(2, &[task("one", ""), task("two", "")]);
    house.run_once();
    assert!(house.events().len() > before);
    assert!(
        house.has_warning("the last line of events.jsonl was torn; 21 bytes were taken off"),
        "{:?}",
        house.warnings()
    );
}

/// A control directory of 64 KiB, filled to the brim while the CLI works.
#[test]
fn a_full_disk_delays_what_is_told_and_never_the_work() {
    assert!(crate::house::is_root(), "this test mounts a small tmpfs; run it as root");
    let house = House::new(
        "touch $NOTES/started; while [ ! -e $NOTES/go ]; do sleep 0.02; done; echo x > file; seq 1 200",
    );
    let control = house.path("control");
    let cli = house.read("control/cli.yaml");
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "none"])
        .arg(&control)
        .status();
    assert!(mounted.unwrap().success());
    let _unmount = Unmount(control.clone());
    house.write("control/cli.yaml", &cli);
    house.assign(1, &[task("one", "")]);
    let _agent = house.start();
    house.wait_note("started");
    house.wait_report("the running task", |reporting| reporting.status == AgentStatus::Working);
    let _ = fs::write(control.join("filler"), vec![0; 64 * 1024]);
    house.write("notes/go", "");
    wait("the work to be committed", || {
        (house.git(&["log", "-1", "--format=%s"]) == "Title of one").then_some(())
    });
    assert!(!house.report("one").status.is_ended());
    fs::remove_file(control.join("filler")).unwrap();
    assert_eq!(house.wait_ended("one").status, TaskReportStatus::Completed);
    wait("the warning", || {
        house.has_warning("disk_full: the control files could not be written").then_some(())
    });
}

pub(crate) struct Unmount(pub(crate) std::path::PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
