use std::time::Instant;

use cloud_code_task_schema::{FailureKind, TaskReport, TaskReportStatus};

use crate::house::{House, task};

fn run(script: &str, manifest: &str, keys: &str) -> (House, TaskReport) {
    let house = House::with_manifest(script, manifest);
    house.assign(1, &[task("one", keys)]);
    house.run_once();
    let report = house.report("one");
    (house, report)
}

fn kind(report: &TaskReport) -> (TaskReportStatus, Option<FailureKind>) {
    (report.status, report.failure.as_ref().map(|failure| failure.kind))
}

const CLAUDE: &str = "output: claude-stream-json\n";

#[test]
fn success_without_a_change_is_a_failure() {
    let (_, report) = run("echo All done.", "", "");
    assert_eq!(kind(&report), (TaskReportStatus::Failed, Some(FailureKind::NoChanges)));
}

#[test]
fn a_question_without_a_change_waits_for_a_person() {
    let (_, report) = run("echo 'Which name should the file have?'", "", "");
    assert_eq!(kind(&report), (TaskReportStatus::Blocked, None));
    assert_eq!(report.questions, ["Which name should the file have?"]);
}

#[test]
fn an_exit_code_fails_the_task_and_keeps_the_work() {
    let (house, report) = run("echo half > work; echo 'cannot go on' >&2; exit 3", "", "");
    assert_eq!(kind(&report), (TaskReportStatus::Failed, Some(FailureKind::Crashed)));
    assert_eq!(report.failure.unwrap().message, "the CLI exited with code 3: cannot go on");
    assert_eq!(house.git(&["show", "HEAD:work"]), "half");
}

#[test]
fn exit_0_without_a_final_event_is_no_success() {
    let (_, report) = run(
        "echo x > file; echo '{\"type\":\"system\",\"subtype\":\"init\",\"session_id\":\"s\"}'",
        CLAUDE,
        "",
    );
    assert_eq!(kind(&report), (TaskReportStatus::Failed, Some(FailureKind::Crashed)));
}

#[test]
fn a_refused_key_ends_the_cli_at_its_first_retry() {
    let script = "echo '{\"type\":\"system\",\"subtype\":\"api_retry\",\"attempt\":1,\"max_retries\":10,\"retry_delay_ms\":616,\"error_status\":401,\"error\":\"authentication_failed\"}'; sleep 600";
    let started_at = Instant::now();
    let (_, report) = run(script, CLAUDE, "");
    assert_eq!(kind(&report), (TaskReportStatus::Failed, Some(FailureKind::Auth)));
    assert!(started_at.elapsed().as_secs() < 30);
}

#[test]
fn the_budget_cuts_in_flight() {
    let script = "result() { echo \"{\\\"type\\\":\\\"result\\\",\\\"subtype\\\":\\\"success\\\",\\\"is_error\\\":false,\\\"result\\\":\\\"x\\\",\\\"session_id\\\":\\\"s\\\",\\\"num_turns\\\":1,\\\"total_cost_usd\\\":$1,\\\"modelUsage\\\":{\\\"m\\\":{\\\"inputTokens\\\":5}}}\"; }\n\
                  echo '{\"type\":\"system\",\"subtype\":\"background_tasks_changed\",\"tasks\":[{\"task_id\":\"b\"}]}'; echo x > file; result 2.5; sleep 600";
    let (_, report) = run(script, CLAUDE, "limits: {max_cost_usd: 1.0}");
    assert_eq!(kind(&report), (TaskReportStatus::Failed, Some(FailureKind::Budget)));
    assert_eq!(report.usage.cost_usd.unwrap().as_f64(), 2.5);
}

#[test]
fn a_missing_cli_and_a_missing_git_are_named() {
    let house = House::new("echo x > file");
    house.write("control/cli.yaml", "name: command\ncommand: [no-such-cli-anywhere]\n");
    house.assign(1, &[task("one", "")]);
    house.run_once();
    let report = house.report("one");
    assert_eq!(kind(&report), (TaskReportStatus::Failed, Some(FailureKind::CliMissing)));
    assert!(report.failure.unwrap().message.starts_with("`no-such-cli-anywhere` cannot be started"));

    let mut house = House::new("echo x > file");
    let sh = house.path("bin/sh");
    std::os::unix::fs::symlink("/bin/sh", sh).unwrap();
    house.env = vec![("PATH".into(), house.path("bin").display().to_string())];
    house.assign(1, &[task("one", "")]);
    let output = house.command(&["/usr/bin/timeout", "60"]).arg("--once").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = house.report("one");
    assert_eq!(kind(&report), (TaskReportStatus::Failed, Some(FailureKind::CliMissing)));
    let message = report.failure.unwrap().message;
    assert_eq!(message, "git is not in the image, and nothing could be committed: add it to the image");
    assert_eq!(house.starts(), 0);
}

#[test]
fn a_kill_from_elsewhere_is_told_as_memory() {
    let (_, report) = run("kill -9 $$", "", "");
    assert_eq!(kind(&report), (TaskReportStatus::Failed, Some(FailureKind::Oom)));
    assert_eq!(report.exit.unwrap().signal, Some(9));
}

#[test]
fn what_cannot_end_well_does_not_begin() {
    assert!(crate::house::is_root(), "this test gives folders to root; run it as root");
    for folder in ["home", "tree"] {
        let house = House::new("echo x > file");
        std::os::unix::fs::chown(house.path(folder), Some(0), Some(0)).unwrap();
        house.assign(1, &[task("one", "")]);
        house.run_once();
        let failure = house.report("one").failure.unwrap();
        let said = format!("uid 1000 cannot write to {}: ", house.path(folder).display());
        assert!(failure.kind == FailureKind::Internal && failure.message.starts_with(&said), "{failure:?}");
        assert_eq!(house.starts(), 0);
    }
}

#[test]
fn a_plan_changes_nothing_and_a_cli_without_plan_refuses() {
    let (house, report) = run(
        "echo \"$@\" > $NOTES/arguments; echo 'First this, then that.'",
        "plan: [--plan]\nedit: [--edit]\n",
        "mode: plan",
    );
    assert_eq!(kind(&report), (TaskReportStatus::Completed, None));
    assert_eq!(report.summary.as_deref(), Some("First this, then that."));
    assert_eq!(house.note("arguments").unwrap(), "--plan\n");

    let (house, report) = run("echo x > file; echo planned", "plan: [--plan]\n", "mode: review");
    let ended = (TaskReportStatus::Failed, Some(FailureKind::NotReadOnly));
    assert_eq!((kind(&report), report.commits.len()), (ended, 0));
    assert_eq!(house.read("tree/file"), "x\n");
    assert!(report.failure.unwrap().message.contains("the worktree changed: file;"));
    let (_, report) = run("git commit --allow-empty -qm sly; echo planned", "plan: [--plan]\n", "mode: plan");
    assert_eq!(kind(&report), (TaskReportStatus::Failed, Some(FailureKind::NotReadOnly)));

    let (_, report) = run("git branch sly; echo planned", "plan: [--plan]\n", "mode: plan");
    assert_eq!(kind(&report), (TaskReportStatus::Failed, Some(FailureKind::NotReadOnly)));

    let (house, report) = run("echo x > file", "", "mode: plan");
    assert_eq!(kind(&report), (TaskReportStatus::Failed, Some(FailureKind::InvalidTasking)));
    assert_eq!(house.starts(), 0);
}

#[test]
fn a_branch_that_somebody_else_moves_is_not_the_work_of_a_cli_that_may_only_read() {
    let branches = "git update-ref refs/heads/of-another-issue HEAD; echo planned";
    let house = House::with_manifest(branches, "plan: [--plan]\n");
    house.becomes_linked();
    house.assign(1, &[task("one", "mode: plan")]);
    house.run_once();
    assert_eq!(kind(&house.report("one")), (TaskReportStatus::Completed, None));
    assert!(!house.git(&["rev-parse", "of-another-issue"]).is_empty());
}

#[test]
fn a_stale_index_lock_and_a_hostile_configuration_do_not_stop_the_commit() {
    let script = "git config core.hooksPath .hooks; git config commit.gpgSign true; git config core.fsmonitor 'touch $HOME/monitored'\n\
                  mkdir .hooks; printf '#!/bin/sh\\ntouch $HOME/hooked; exit 1\\n' > .hooks/pre-commit; chmod +x .hooks/pre-commit; touch .git/index.lock";
    let (house, report) = run(script, "", "");
    assert_eq!(kind(&report), (TaskReportStatus::Completed, None), "{:?}", report.failure);
    assert_eq!(house.home_files(), Vec::<String>::new());
}
