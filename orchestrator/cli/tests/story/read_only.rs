//! Tasks that may only read: whatever a CLI tries, the kernel says no, and its answer is shown.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{House, MODEL_URL, Model, done, git};

/// The objects that were made in an issue's quarantine.
fn new_objects(issue: &Path) -> String {
    done(Command::new("find").arg(issue.join("objects")).args(["-type", "f", "!", "-name", "alternates"]))
}

/// What a write to the tree, to its git folders and to the mirror looks like to whoever tries.
const ATTACK: &str = "\
    for place in README.md new.txt .git .git/x src/app.sh; do echo evil > $place || echo refused $place; done; \
    rm -f README.md || echo refused rm; mkdir made || echo refused mkdir; \
    git commit -q --allow-empty -m evil || echo refused commit; \
    git update-ref HEAD HEAD~0 --create-reflog || echo refused ref; \
    echo x | git hash-object -w --stdin || echo refused object; \
    echo evil > /srv/cloud-code/mirror.git/worktrees/workspace/HEAD || echo refused admin; \
    git log --format=%s; cat README.md; echo; echo I would change the heading.";

#[test]
fn a_program_that_tries_to_write_in_plan_mode_fails_and_its_answer_is_shown() {
    for mode in ["plan", "review"] {
        let house = House::new();
        let mut args = house.shell_task(ATTACK, "Look only");
        args.extend(["--mode".to_owned(), mode.to_owned()]);
        let ended = house.run(&args).expect(0);
        let raw = house.run(["logs", "--raw"]).expect(0).out;
        for refused in
            ["README.md", "new.txt", "src/app.sh", "rm", "mkdir", "commit", "object", "admin", ".git"]
        {
            assert!(raw.contains(&format!("refused {refused}")), "{refused} was written:\n{raw}");
        }
        assert!(raw.contains("Start\n") && raw.contains("# Sample"), "reading does not work: {raw}");
        assert!(ended.out.contains("I would change the heading."), "the answer is not shown: {}", ended.out);

        let issue = house.issue("look-only");
        let tree = fs::read_dir(issue.join("tree")).unwrap().count();
        assert_eq!(tree, 3, "README.md, src and .git were there");
        assert_eq!(fs::read_to_string(issue.join("tree/README.md")).unwrap(), "# Sample\n\nA sample.\n");
        assert_eq!(new_objects(&issue), "", "an object was written");
        assert_eq!(git(&house.repo(), ["branch", "--list", "cloud-code/*"]), "", "something was imported");
    }
}

#[test]
fn the_local_runtime_refuses_a_cli_that_it_cannot_keep_from_writing() {
    let house = House::new();
    let mut args = house.shell_task("echo evil > evil.txt", "Look only");
    args.extend(["--mode", "plan", "--runtime", "local"].map(str::to_owned));
    let ended = house.run(&args).expect(1);
    assert!(ended.err.contains("has no read-only mode"), "{}", ended.err);
    assert!(ended.err.contains("--runtime docker"), "{}", ended.err);
}

/// A real CLI whose model wants to edit, write and commit, although it was only asked for a plan.
fn real_cli(cli: &str, key: (&str, &str)) {
    let house = House::new();
    let model = Model::start("edit-and-commit.yaml");
    let repo = house.repo().display().to_string();
    let network = model.network();
    let args = [
        "run",
        "--repo",
        &repo,
        "--cli",
        cli,
        "--mode",
        "plan",
        "--network",
        &network,
        "--base-url",
        MODEL_URL,
        "Plan the heading",
    ];
    let output = house.command(args).env(key.0, key.1).output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &out;
    assert!(output.status.success(), "{said}\nmodel saw:\n{:#?}", model.requests());
    assert!(out.contains("I changed the heading"), "the answer is not shown: {said}");
    assert!(model.requests().len() >= 4, "the model got no chance to write: {:#?}", model.requests());

    let issue = house.issue("plan-the-heading");
    assert_eq!(fs::read_to_string(issue.join("tree/README.md")).unwrap(), "# Sample\n\nA sample.\n");
    assert!(!issue.join("tree/notes").exists(), "a file was written");
    assert_eq!(new_objects(&issue), "", "an object was written");
    assert_eq!(git(&house.repo(), ["branch", "--list", "cloud-code/*"]), "", "something was imported");
}

#[test]
fn the_real_claude_code_cannot_write_in_plan_mode() {
    real_cli("claude-code", ("ANTHROPIC_API_KEY", "sk-ant-story-secret-4"));
}

#[test]
fn the_real_codex_has_no_plan_mode_of_its_own_and_cannot_write_either() {
    real_cli("codex", ("CODEX_API_KEY", "sk-codex-story-secret-4"));
}
