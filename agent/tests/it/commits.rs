//! What is committed, by whom, and under which words.

use cloud_code_task_schema::{FailureKind, TaskReportStatus};

use crate::house::{House, task};

fn says(words: &str) -> String {
    format!("echo x > file; printf '{words}\\n'")
}

fn subject(script: &str, manifest: &str, keys: &str) -> (House, String) {
    let house = House::with_manifest(script, manifest);
    house.assign(1, &[task("one", keys)]);
    house.run_once();
    let message = house.git(&["log", "-1", "--format=%B"]);
    assert_eq!(house.report("one").status, TaskReportStatus::Completed, "{:?}", house.report("one").failure);
    (house, message)
}

#[test]
fn the_message_is_the_answers_first_line_or_the_title() {
    assert_eq!(
        subject(&says("Reject an empty password\\n\\nIt was taken before."), "", "").1,
        "Reject an empty password"
    );
    assert_eq!(subject(&says("I have done it!"), "", "").1, "Title of one\n\nI have done it!");
    let conventional = "commit: {style: conventional, co_authors: [Ann <ann@example.org>]}";
    let trailer = "\n\nCo-authored-by: Ann <ann@example.org>";
    assert_eq!(subject(&says("fix: reject it"), "", conventional).1, format!("fix: reject it{trailer}"));
    assert_eq!(
        subject(&says("I have done it!"), "", conventional).1,
        format!("chore: Title of one\n\nI have done it!{trailer}")
    );
}

#[test]
fn a_message_that_is_not_there_is_asked_for_in_a_short_turn() {
    let script = "echo \"$@\" >> $NOTES/calls; cat > $NOTES/prompt.$(wc -l < $NOTES/calls)\n\
        case \"$*\" in *resume*) echo y > late; echo 'fix: reject it'; echo; echo 'Because it was wrong.';; *) echo x > file; echo 'All is well now.';; esac";
    let manifest = "session: [--new, '{session_id}']\nresume: [--resume, '{session_id}']\n";
    let (house, message) = subject(script, manifest, "commit: {style: conventional}");
    assert_eq!(message, "fix: reject it\n\nBecause it was wrong.");
    assert!(house.note("prompt.2").unwrap().starts_with("Do not change anything now."));
    let report = house.report("one");
    assert_eq!(report.summary.as_deref(), Some("All is well now."), "the summary is of the work");
    let paths: Vec<&str> = report.files_modified.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["file"], "what a message's turn changes is not the work");
    // One that fails costs the message, not the work.
    let script = "case \"$*\" in *resume*) exit 1;; *) echo x > file; echo 'All is well now.';; esac";
    let (house, message) = subject(script, manifest, "commit: {style: conventional}");
    assert_eq!(message, "chore: Title of one\n\nAll is well now.");
    assert!(house.has_warning("no commit message could be had"));
    // With an answer and no style there is nothing to ask.
    let (house, _) = subject(script, manifest, "");
    assert_eq!(house.starts(), 1);
}

#[test]
fn droppings_and_caches_are_committed_by_nobody() {
    let script = "mkdir -p .aider.tags src/__pycache__ node_modules/x; echo x | tee .aider.chat .aider.tags/c src/__pycache__/a.pyc node_modules/x/i.js src/kept.py > /dev/null\n\
        git add -A; git commit -qm 'Own work'; echo x > rest; echo x > .aider.more";
    let (house, _) = subject(script, "never_commit: ['.aider*']\n", "");
    let paths: Vec<String> = house.report("one").files_modified.into_iter().map(|file| file.path).collect();
    assert_eq!(paths, ["rest", "src/kept.py"]);
}

#[test]
fn a_control_directory_in_the_tree_is_no_work_and_a_projects_own_folder_is() {
    let house =
        House::new("mkdir -p .cloud-code/prompts; echo x | tee .cloud-code/prompts/task.md file > /dev/null");
    std::fs::rename(house.path("control"), house.path("tree/control")).unwrap();
    std::os::unix::fs::symlink("tree/control", house.path("control")).unwrap();
    house.assign(1, &[task("one", "")]);
    let tree = house.path("tree").display().to_string();
    let mut command = house.command(&["timeout", "60"]);
    let output = command.args(["--control", &format!("{tree}/control"), "--once"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let paths: Vec<String> = house.report("one").files_modified.into_iter().map(|file| file.path).collect();
    assert_eq!(paths, [".cloud-code/prompts/task.md", "file"]);
}

#[test]
fn what_a_check_leaves_is_no_work_until_the_cli_writes_to_it() {
    let script =
        "case \"$*\" in *resume*) echo fixed > made; echo good > work;; *) echo bad > work;; esac; echo Done";
    let manifest = "session: [--new, '{session_id}']\nresume: [--resume, '{session_id}']\n";
    let (house, _) = subject(script, manifest, "verify: ['touch made left; grep good work']");
    let paths: Vec<String> = house.report("one").files_modified.into_iter().map(|file| file.path).collect();
    assert_eq!(paths, ["made", "work"]);
}

#[test]
fn work_of_a_killed_attempt_counts_from_the_tasks_start() {
    let script = "[ -e first ] || { echo x > first; git add -A; git commit -qm 'Own work'; touch $NOTES/ready; sleep 600; }; echo Done";
    let house = House::new(script);
    house.assign(1, &[task("one", "")]);
    let mut agent = house.start();
    house.wait_note("ready");
    house.wait_report("the start", |reporting| !reporting.tasks.is_empty());
    agent.child.kill().unwrap();
    agent.child.wait().unwrap();
    house.run_once();
    let report = house.report("one");
    assert_eq!((report.status, report.attempt), (TaskReportStatus::Completed, 2), "{:?}", report.failure);
    let messages: Vec<&str> = report.commits.iter().map(|commit| commit.message.as_str()).collect();
    assert_eq!(messages, ["Own work"]);
}

#[test]
fn cancelled_after_its_agent_was_killed_the_work_is_kept() {
    let house = House::new("echo x > file; touch $NOTES/ready; sleep 600");
    house.assign(1, &[task("one", "")]);
    let mut agent = house.start();
    house.wait_note("ready");
    house.wait_report("the start", |reporting| !reporting.tasks.is_empty());
    agent.child.kill().unwrap();
    agent.child.wait().unwrap();
    house.assign(2, &[task("one", "status: cancelled")]);
    house.run_once();
    let report = house.report("one");
    assert_eq!((report.status, report.commits.len()), (TaskReportStatus::Cancelled, 1));
    assert_eq!(house.starts(), 1);
}

#[test]
fn limits_that_the_cli_does_not_know_are_kept_by_the_agent() {
    let turns = r#"for i in 1 2 3 4 5 6; do echo "{\"type\":\"assistant\",\"message\":{\"id\":\"m$i\",\"content\":[{\"type\":\"text\",\"text\":\"t\"}]},\"session_id\":\"s\"}"; sleep 0.1; done; touch $NOTES/through; sleep 600"#;
    let house = House::with_manifest(&format!("echo x > file; {turns}"), "output: claude-stream-json\n");
    house.assign(1, &[task("one", "limits: {max_turns: 3}")]);
    house.run_once();
    let report = house.report("one");
    assert_eq!(report.failure.unwrap().kind, FailureKind::MaxTurns);
    assert_eq!((report.commits.len(), house.note("through")), (1, None));

    let house = House::new("echo x > file");
    house.assign(1, &[task("one", "limits: {max_turns: 3, max_cost_usd: 1.0}")]);
    house.run_once();
    assert!(house.has_warning("limits.max_turns could not be kept"));
    assert!(house.has_warning("limits.max_cost_usd could not be kept"));
}

#[test]
fn a_cli_finds_its_defaults_and_its_model() {
    let manifest = "home_defaults: {.x/settings.json: '{\"a\": 1}'}\ndefault_model: m-1\nmodel: [--model, '{model}']\n\
                    env: {MODEL: 'x/{model}', ADDRESS: '{base_url}/v1'}\n";
    let script = "echo \"$@\" $MODEL ${ADDRESS-unset} $(cat $HOME/.x/settings.json) > $NOTES/seen; echo y > $HOME/.x/settings.json; echo x > file";
    let mut house = House::with_manifest(script, manifest);
    house.assign(1, &[task("one", "")]);
    house.run_once();
    assert_eq!(house.note("seen").unwrap(), "--model m-1 x/m-1 unset {\"a\": 1}\n");
    house.extra = vec!["--base-url".to_owned(), "http://127.0.0.1:1/".to_owned()];
    house.assign(2, &[task("one", ""), task("two", "model: m-2")]);
    house.run_once();
    assert_eq!(house.note("seen").unwrap(), "--model m-2 x/m-2 http://127.0.0.1:1/v1 y\n");
}

#[test]
fn an_end_that_nobody_can_read_is_no_success() {
    assert!(crate::house::is_root(), "this test mounts a small tmpfs; run it as root");
    let house =
        House::new("echo x > file; touch $NOTES/started; while [ ! -e $NOTES/go ]; do sleep 0.02; done");
    let control = house.path("control");
    let cli = house.read("control/cli.yaml");
    let mount = ["-t", "tmpfs", "-o", "size=64k", "none"];
    assert!(std::process::Command::new("mount").args(mount).arg(&control).status().unwrap().success());
    let _unmount = crate::files::Unmount(control.clone());
    house.write("control/cli.yaml", &cli);
    house.assign(1, &[task("one", "")]);
    house.command(&[]).arg("--once");
    let mut agent = crate::house::Agent { child: house.command(&[]).arg("--once").spawn().unwrap() };
    house.wait_note("started");
    house.wait_report("the start", |reporting| !reporting.tasks.is_empty());
    let _ = std::fs::write(control.join("filler"), vec![0; 64 * 1024]);
    house.write("notes/go", "");
    assert_eq!(agent.exit_code(), 1);
    assert_eq!(house.git(&["show", "HEAD:file"]), "x");
}

#[test]
fn what_the_cli_makes_of_the_list_does_not_decide_what_is_committed() {
    let list = "$HOME/.cloud-code-never-commit";
    for plant in [
        format!("rm {list}; mkfifo {list}"),
        format!("echo '*' > {list}"),
        format!("rm {list}; ln -s /dev/zero {list}"),
        format!("rm {list}; mkdir -p {list}/x"),
    ] {
        let house = House::with_manifest(
            &format!("{plant}; date +%N > new; echo x > .junk"),
            "never_commit: [.junk]\n",
        );
        house.assign(1, &[task("one", ""), task("two", "")]);
        house.run_once();
        for id in ["one", "two"] {
            let report = house.report(id);
            assert_eq!(report.status, TaskReportStatus::Completed, "{plant}: {:?}", report.failure);
            let paths: Vec<&str> = report.files_modified.iter().map(|file| file.path.as_str()).collect();
            assert_eq!(paths, ["new"], "{plant}");
        }
    }
}

#[test]
fn a_stop_while_the_message_is_asked_for_does_not_repeat_the_work() {
    let script = "echo run >> $NOTES/runs\n\
        case \"$*\" in *resume*) touch $NOTES/asked; sleep 600;; *) echo x > file; echo 'All is well now.';; esac";
    let manifest = "session: [--new, '{session_id}']\nresume: [--resume, '{session_id}']\n";
    let house = House::with_manifest(script, manifest);
    house.assign(1, &[task("one", "commit: {style: conventional}")]);
    let mut agent = house.start();
    house.wait_note("asked");
    agent.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(agent.exit_code(), 0);
    let report = house.report("one");
    assert_eq!(
        (report.status, report.commits.len()),
        (TaskReportStatus::Completed, 1),
        "{:?}",
        report.failure
    );
    house.run_once();
    assert_eq!(house.note("runs").unwrap(), "run\nrun\n");
}

#[test]
fn red_checks_with_the_limit_used_up_are_red_checks() {
    let answer = r#"echo '{"type":"assistant","message":{"id":"m1","content":[{"type":"text","text":"t"}]},"session_id":"s"}'; echo '{"type":"result","subtype":"success","is_error":false,"result":"Done","session_id":"s","num_turns":1}'"#;
    let manifest = "output: claude-stream-json\nresume: ['--resume={session_id}']\n";
    let house = House::with_manifest(&format!("date +%N > work; {answer}"), manifest);
    house.assign(1, &[task("one", "verify: ['false'], limits: {max_turns: 1}")]);
    house.run_once();
    let failure = house.report("one").failure.unwrap();
    assert_eq!(failure.kind, FailureKind::VerifyFailed);
    assert_eq!(failure.message, "verify failed in round 1: false; limits.max_turns (1) are used up");
}
