//! The agent in images as projects bring them: with no C library, no shell, no users, no git, or all of it wrong.
//!
//! The images are made from Debian's packages, because a registry may be out of reach. `small` stands for Alpine: its
//! C library and its busybox, without its package manager. Nothing is skipped: an image that cannot be built, and a
//! base or a codex that `make images` has not made, fail the test that needs them.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod place;
#[path = "../story/support.rs"]
#[expect(dead_code, reason = "shared with the stories, which use all of it")]
mod support;

use std::os::unix::fs::PermissionsExt as _;

use cloud_code_task_schema::{FailureKind, TaskReportStatus};

use crate::place::{Ended, HOME, Place, image};
use crate::support::{MODEL_URL, Model, top};

/// A CLI that edits a file, adds a program and says what it sees.
const EDIT: &str = "cat >/dev/null; echo more >>README.md; echo 'echo hi' >hi.sh; chmod 755 hi.sh; pwd; env; echo \"user $(id -un)\"; rm \"$(mktemp)\"";

fn shell(script: &str) -> Place {
    Place::new(&["sh", "-euc", script])
}

#[track_caller]
fn completed_with_the_work(place: &Place, ended: &Ended) {
    let task = ended.task();
    assert_eq!(task.status, TaskReportStatus::Completed, "{}", ended.told());
    assert_eq!(place.git(["rev-parse", "HEAD"]).trim(), task.head.as_deref().unwrap(), "{}", ended.told());
    assert_eq!(
        place.git(["show", "--no-color", "--summary", "--numstat", "--format=%an <%ae>%n%cn <%ce>%n%s"]),
        "cloud-code <cloud-code@users.noreply.github.com>\n\
         cloud-code <cloud-code@users.noreply.github.com>\n\
         Edit the heading\n\n\
         1\t0\tREADME.md\n\
         1\t0\thi.sh\n \
         create mode 100755 hi.sh\n"
    );
    assert_eq!(place.git(["status", "--porcelain"]), "");
}

#[track_caller]
fn failed(ended: &Ended, kind: FailureKind) -> String {
    assert_eq!(ended.task().status, TaskReportStatus::Failed, "{}", ended.told());
    let failure = ended.task().failure.clone().unwrap();
    assert_eq!(failure.kind, kind, "{}", ended.told());
    failure.message
}

#[test]
fn an_image_as_small_as_alpine_gets_its_commit() {
    let place = shell(EDIT).with("verify: ['test -x hi.sh']");
    let ended = place.run(&image("small"), &[], &[]);
    completed_with_the_work(&place, &ended);
}

#[test]
fn nothing_is_written_outside_the_mounts() {
    let place = shell(EDIT);
    let ended = place.run(&image("small"), &["--read-only"], &[]);
    completed_with_the_work(&place, &ended);
}

#[test]
fn a_cli_with_its_own_c_library_works_where_there_is_none() {
    let manifest = std::fs::read_to_string(top().join("docker/agents/codex/cli.yaml")).unwrap();
    let place = Place::with_manifest(&manifest);
    let model = Model::start("edit-and-commit.yaml");
    let network = model.network();
    let docker = ["--network", &network, "--env", "CODEX_API_KEY=sk-of-a-test"];
    let ended = place.run(&image("small-codex"), &docker, &["--base-url", MODEL_URL]);
    assert_eq!(ended.task().status, TaskReportStatus::Completed, "{}", ended.told());
    assert_eq!(
        place.git(["show", "--no-color", "--numstat", "--format=%s", "HEAD"]),
        "docs: edit the heading\n\n1\t1\tREADME.md\n1\t0\tnotes/changes.txt\n"
    );
}

#[test]
fn without_git_the_report_says_so() {
    for name in [image("bare"), "debian:bookworm-slim".to_owned()] {
        let ended = shell(EDIT).run(&name, &[], &[]);
        let message = failed(&ended, FailureKind::CliMissing);
        assert!(message.starts_with("git is not in the image"), "{name}: {message}");
        assert_eq!(ended.task().commits, []);
        assert_eq!(ended.starts(), 0, "the CLI ran, and cost money");
    }
}

#[test]
fn without_a_shell_a_program_still_works() {
    let place = Place::new(&["/opt/busybox", "touch", "new"]);
    let ended = place.run(&image("shellless"), &[], &[]);
    assert_eq!(ended.task().status, TaskReportStatus::Completed, "{}", ended.told());
    assert_eq!(place.git(["show", "--format=%s", "--name-status"]), "Edit the heading\n\nA\tnew\n");
}

#[test]
fn without_a_shell_a_script_is_reported_as_missing() {
    let ended = shell(EDIT).run(&image("shellless"), &[], &[]);
    let message = failed(&ended, FailureKind::CliMissing);
    assert!(message.starts_with("`sh` cannot be started"), "{message}");
}

#[test]
fn without_a_shell_a_check_is_never_green() {
    let place = Place::new(&["/opt/busybox", "touch", "new"]).with("verify: ['true'], verify_rounds: 0");
    let ended = place.run(&image("shellless"), &[], &[]);
    assert_eq!(ended.task().status, TaskReportStatus::Failed, "{}", ended.told());
    let message = failed(&ended, FailureKind::CliMissing);
    assert!(message.starts_with("sh is not in the image, and the verify commands need it"), "{message}");
    assert_eq!(ended.starts(), 0, "the CLI ran, and cost money");
}

#[test]
fn what_an_image_says_of_user_locale_home_and_git_is_put_aside() {
    for docker in [&[][..], &["--read-only"]] {
        let place = shell(EDIT);
        let ended = place.run(&image("odd"), docker, &[]);
        completed_with_the_work(&place, &ended);
        let home = format!("HOME={HOME}");
        for line in ["/workspace", &home, "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "SHELL=/bin/bash"] {
            assert!(ended.log.lines().any(|seen| seen == line), "no line {line} in\n{}", ended.log);
        }
        for name in ["GIT_DIR=", "BASH_ENV=", "ENV=", "TMPDIR=/nonexistent", "USER=somebody"] {
            assert!(
                !ended.log.lines().any(|seen| seen.starts_with(name)),
                "{name} came through:\n{}",
                ended.log
            );
        }
    }
}

#[test]
fn the_agent_needs_neither_root_nor_a_name() {
    for name in ["odd", "small"] {
        let place = shell(EDIT).everything_belongs_to(12345);
        let ended = place.run_alone(&image(name), &["--user", "12345:54321"], &[]);
        completed_with_the_work(&place, &ended);
    }
}

#[test]
fn an_image_for_root_alone_is_reported_as_such() {
    let ended = shell(EDIT).run(&image("closed"), &[], &[]);
    let message = failed(&ended, FailureKind::CliMissing);
    assert!(message.contains("Permission denied"), "{message}");
}

#[test]
fn a_path_that_leads_nowhere_is_reported_as_a_missing_program() {
    let ended = shell(EDIT).run(&image("small"), &["--env", "PATH=/nowhere"], &[]);
    let message = failed(&ended, FailureKind::CliMissing);
    assert!(
        message.contains("cannot be started") || message.contains("git is not in the image"),
        "{message}"
    );
}

#[test]
fn an_empty_path_means_the_usual_one() {
    let place = shell(EDIT);
    let ended = place.run(&image("small"), &["--env", "PATH="], &[]);
    completed_with_the_work(&place, &ended);
}

#[test]
fn a_home_that_cannot_be_written_is_named() {
    let ended = shell(EDIT).run(&image("small"), &["--read-only"], &["--home", "/nowhere"]);
    let message = failed(&ended, FailureKind::Internal);
    assert!(message.starts_with("uid 10001 cannot write to /nowhere: "), "{message}");
    assert_eq!(ended.starts(), 0, "the CLI ran, and cost money");
}

#[test]
fn a_worktree_that_cannot_be_written_is_named() {
    let place = shell(EDIT).everything_belongs_to(12345);
    std::fs::set_permissions(place.path("home"), std::fs::Permissions::from_mode(0o777)).unwrap();
    let ended = place.run(&image("small"), &[], &["--user", "10001:10001"]);
    let message = failed(&ended, FailureKind::Internal);
    assert!(message.starts_with("uid 10001 cannot write to /workspace: "), "{message}");
}

/// The page's own lines, with an image that `make images` made; `agent/tests` holds them to be those for a machine.
#[test]
fn the_five_lines_of_the_agents_page_work_in_a_container() {
    let page = std::fs::read_to_string(top().join("docs/AGENT.md")).unwrap();
    let lines = page.split("```sh\n").nth(2).unwrap().split("```").next().unwrap();
    assert!(lines.contains("docker run"), "{lines}");
    let dir = tempfile::tempdir().unwrap();
    let bin = top().join("target/release");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut shell = std::process::Command::new("sh");
    shell
        .args(["-euc", lines])
        .current_dir(dir.path())
        .env("PATH", path)
        .env("IMAGE", "cloud-code/base:latest");
    let told = crate::support::done(&mut shell);
    for expected in ["status: completed", "    wrote it down", "PROMPT.md |"] {
        assert!(told.contains(expected), "{expected} is not in:\n{told}");
    }
}
