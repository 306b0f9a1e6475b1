//! A backup that is made while agents work, and what is left of it on another day.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use cloud_code_model::{TaskRecord, TaskStatus};

use crate::stage::{SHOP, Setup, Stage};

const SOON: &str = "retries: {attempts: 3, first_wait: 1s, longest_wait: 2s}";

fn place(stage: &Stage) -> PathBuf {
    stage.home().with_file_name("backup")
}

fn run(stage: &Stage, args: &[&str]) -> Output {
    let output = stage.command(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn refused(stage: &Stage, args: &[&str]) -> String {
    let output = stage.command(args).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{args:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn ended(tasks: Vec<TaskRecord>) -> Vec<TaskRecord> {
    tasks.into_iter().filter(|task| task.state.status().is_terminal()).collect()
}

#[test]
fn a_home_that_is_wiped_comes_back_with_ended_and_open_work() {
    let mut stage = Stage::with(Setup { project: SOON, ..Setup::default() });
    let done = stage.is_asked("Counting is broken.");
    stage.becomes(done, "in-review");
    let open = stage.is_asked("Counting is broken. WAIT-FOR-GO");
    stage.prompt(2);
    stage.becomes(open, "working");
    let before = ended(stage.tasks());
    assert_eq!(before.len(), 1);

    // While it serves, and an agent writes.
    let backup = place(&stage);
    let dir = backup.to_str().unwrap();
    run(&stage, &["backup", dir]);

    // The machine is lost.
    stage.is_killed();
    stage.kills_the_agent();
    fs::remove_dir_all(stage.home()).unwrap();
    run(&stage, &["restore", dir]);
    assert_eq!(ended(stage.tasks()), before, "what had ended stands as it stood");
    stage.serves();

    // What was open is done, once; its agent died with the machine, so this is another attempt.
    stage.go();
    stage.becomes(open, "in-review");
    let tasks = stage.tasks();
    let of_open: Vec<&TaskRecord> =
        tasks.iter().filter(|task| task.task.issue.as_str() == open.to_string()).collect();
    assert_eq!(of_open.len(), 1, "{tasks:#?}");
    assert_eq!((of_open[0].state.status(), of_open[0].attempt), (TaskStatus::Done, 2));
    // What had ended goes on: its worktree, its branch and the keys of the forge are there.
    stage.a_moment_later();
    stage.user("alice").comments_on(SHOP, done, "/cloud-code run Count again");
    stage.rests(done, "in-review", 2);
    let branch = format!("cloud-code/issue-{done}");
    assert_eq!(stage.github.file(SHOP, &branch, "count.txt").as_deref(), Some("2\n"));
    assert_eq!(stage.github.pull_requests(SHOP).len(), 2, "one for each issue");
    stage.status(done);
    stage.status(open);
    stage.holds();
}

#[test]
fn what_is_no_whole_backup_is_not_put_back_and_nothing_is_written_over() {
    let stage = Stage::new();
    let issue = stage.is_asked("Counting is broken.");
    stage.becomes(issue, "in-review");
    let backup = place(&stage);
    let dir = backup.to_str().unwrap();
    let inside = stage.home().join("backup");
    let said = refused(&stage, &["backup", inside.to_str().unwrap()]);
    assert!(said.contains("would be a part of itself"), "{said}");
    run(&stage, &["backup", dir, "--without-secrets"]);
    assert!(!backup.join("home/secrets").exists() && backup.join("home/cloud-code.yaml").exists());
    assert!(refused(&stage, &["backup", dir]).contains("is not empty"));

    assert!(refused(&stage, &["restore", dir]).contains("is not empty"));
    let other = stage.home().with_file_name("other");
    let home = other.to_str().unwrap();
    let list = fs::read_to_string(backup.join("backup.json")).unwrap();
    fs::remove_file(backup.join("backup.json")).unwrap();
    let said = refused(&stage, &["--home", home, "restore", dir]);
    assert!(said.contains("is no whole backup"), "{said}");
    assert!(!other.exists(), "nothing was begun");
    let newer = list.replace("\"format\": 1", "\"format\": 2");
    fs::write(backup.join("backup.json"), newer).unwrap();
    assert!(refused(&stage, &["--home", home, "restore", dir]).contains("writes it otherwise"));
    fs::write(backup.join("backup.json"), list).unwrap();
    let output = run(&stage, &["--home", home, "restore", dir]);
    assert!(String::from_utf8(output.stderr).unwrap().contains("without secrets"));
    let list = String::from_utf8(run(&stage, &["--home", home, "list", "--json"]).stdout).unwrap();
    assert_eq!(list, String::from_utf8(run(&stage, &["list", "--json"]).stdout).unwrap());
}
