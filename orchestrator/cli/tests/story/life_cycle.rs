//! The life of a task: looked at, cancelled, interrupted, killed, resumed, and left by a hostile tree.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::{House, done, git, wait_for};

/// The repository in a state to compare: all refs and their commits.
fn refs(repo: &Path) -> String {
    git(repo, ["for-each-ref", "--format=%(refname) %(objectname)"])
}

fn state(house: &House, issue: &str) -> String {
    let status = house.run(["status", issue, "--json"]).expect(0);
    status.json()[0]["tasks"][0]["task"]["state"]["status"].as_str().unwrap().to_owned()
}

#[test]
fn a_program_leaves_a_branch_a_summary_and_a_diff() {
    let house = House::new();
    let ended =
        house.run(house.shell_task("cat > prompt.txt; echo hi >> src/app.sh", "Say hi\n\nTwice.")).expect(0);
    assert!(ended.out.contains("branch   cloud-code/say-hi"), "{}", ended.out);
    assert!(ended.out.contains("2 files changed"), "{}", ended.out);
    let prompt = git(&house.repo(), ["show", "cloud-code/say-hi:prompt.txt"]);
    assert!(prompt.contains("Say hi") && prompt.contains("Twice."), "{prompt}");
    let author = git(&house.repo(), ["log", "-1", "--format=%an <%ae>", "cloud-code/say-hi"]);
    assert_eq!(author, "cloud-code <cloud-code@users.noreply.github.com>\n");

    let diff = house.run(["diff"]).expect(0).out;
    assert!(diff.contains("+hi\n") && diff.contains("+++ b/prompt.txt"), "{diff}");
    let stat = house.run(["diff", "--stat", "say-hi"]).expect(0).out;
    assert!(stat.contains("src/app.sh  +1 -0"), "{stat}");
    assert_eq!(state(&house, "say-hi"), "done");
    assert!(house.run(["list"]).expect(0).out.contains("say-hi"));
    let logs = house.run(["logs"]).expect(0).out;
    assert!(logs.contains("task received: Say hi") && logs.contains("task ended: completed"), "{logs}");
    let inspect = house.run(["inspect"]).expect(0).out;
    assert!(inspect.contains("Say hi") && inspect.contains("completed, attempt 1"), "{inspect}");
    assert_eq!(house.containers(), Vec::<String>::new());

    let workspace = house.issue("say-hi");
    house.run(["clean", "say-hi"]).expect(0);
    assert!(!workspace.exists(), "clean left the workspace");
    assert!(
        git(&house.repo(), ["show", "cloud-code/say-hi:prompt.txt"]).contains("Say hi"),
        "clean took the branch"
    );
    assert!(house.run(["diff", "say-hi"]).expect(0).out.contains("+hi\n"), "the mirror lost the work");
}

#[test]
fn json_lines_tell_the_whole_run() {
    let house = House::new();
    let mut args = house.shell_task("echo hi > hi.txt", "Say hi");
    args.push("--json".to_owned());
    let lines = house.run(&args).expect(0).json();
    let states: Vec<&str> = lines
        .iter()
        .filter(|l| l["kind"] == "state")
        .map(|l| l["state"]["status"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["preparing", "running", "importing", "publishing", "done"]);
    let steps: Vec<&str> =
        lines.iter().filter(|l| l["kind"] == "step").map(|l| l["step"].as_str().unwrap()).collect();
    assert_eq!(
        steps,
        [
            "take",
            "prepare_workspace",
            "write_tasking",
            "create_container",
            "start_container",
            "record_started",
            "record_ended",
            "import",
            "publish",
            "remove_container"
        ]
    );
    assert!(lines.iter().any(|l| l["event"]["type"] == "committed"));
    assert!(lines.iter().any(|l| l["kind"] == "delivered"));
}

#[test]
fn a_failing_program_fails_with_its_work_kept() {
    let house = House::new();
    let ended = house.run(house.shell_task("echo half > half.txt; exit 7", "Half way")).expect(3);
    assert!(ended.out.contains("failed: crashed"), "{}", ended.out);
    assert!(house.run(["diff", "half-way"]).expect(0).out.contains("+half"), "the work was not kept");
    let branches = git(&house.repo(), ["branch", "--list", "cloud-code/*"]);
    assert_eq!(branches, "", "failed work was handed over as if it were done");
}

#[test]
fn a_verify_command_that_stays_red_fails_with_the_work_kept() {
    let house = House::new();
    let mut args = house.shell_task("echo wrong > answer.txt", "Answer");
    args.extend(["--verify".to_owned(), "grep -q right answer.txt".to_owned()]);
    let ended = house.run(&args).expect(3);
    assert!(ended.out.contains("failed: verify_failed"), "{}", ended.out);
    assert!(house.run(["diff", "answer"]).expect(0).out.contains("+wrong"));
}

#[test]
fn ctrl_c_stops_the_task_and_keeps_its_work() {
    let house = House::new();
    let running = house.start(house.shell_task("echo half > half.txt; sleep 600", "Take long"));
    let half = house.issue("take-long").join("tree/half.txt");
    wait_for("the program's first file", || half.exists().then_some(()));
    running.signal("INT");
    let ended = running.end().expect(5);
    assert!(ended.out.contains("cancelled: Take long"), "{}", ended.out);
    assert!(house.run(["diff", "take-long"]).expect(0).out.contains("+half"));
    assert_eq!(house.containers(), Vec::<String>::new());
}

#[test]
fn a_second_ctrl_c_ends_the_container_at_once_and_the_task_as_cancelled() {
    let house = House::new();
    // A program that does not listen to TERM, so that the first Ctrl-C takes its grace time.
    let script = "trap \"\" TERM INT; echo half > half.txt; git add half.txt; git commit -qm half; echo ok > ok.txt; \
                  while :; do sleep 1; done";
    let running = house.start(house.shell_task(script, "Take long"));
    let ready = house.issue("take-long").join("tree/ok.txt");
    wait_for("the program's commit", || ready.exists().then_some(()));
    running.signal("INT");
    wait_for("the cancel request", || {
        let status = house.run(["status", "take-long", "--json"]).json();
        (!status[0]["tasks"][0]["task"]["cancel_requested_at"].is_null()).then_some(())
    });
    running.signal("INT");
    let ended = running.end().expect(5);
    assert!(ended.err.contains("ending the container"), "{}", ended.err);
    assert!(ended.out.contains("cancelled: Take long"), "{}", ended.out);
    assert!(house.run(["diff", "take-long"]).expect(0).out.contains("+half"), "the commit was lost");
    assert_eq!(house.containers(), Vec::<String>::new());

    // What the program left uncommitted stands nowhere else: it is not thrown away unasked.
    let ended = house.run(["clean", "take-long"]).expect(1);
    assert!(ended.err.contains("has work that stands nowhere else"), "{}", ended.err);
    let ended = house.run(["clean", "--all"]).expect(0);
    assert!(ended.err.contains("left alone"), "{}", ended.err);
    assert!(house.issue("take-long").join("tree/ok.txt").exists());
    house.run(["clean", "take-long", "--force"]).expect(0);
    assert!(!house.issue("take-long").exists());
}

#[test]
fn ctrl_c_works_before_the_container_runs_and_a_third_one_leaves() {
    let house = House::new();
    let projects = house.home().join("projects");
    fs::create_dir(&projects).unwrap();
    let settings = format!(
        "repo: {}\ncli: command\ncommand: [sh, -c, 'echo x > x.txt']\ncontainer: {{network: none}}\n",
        house.repo().display()
    );
    fs::write(projects.join("shop.yaml"), settings).unwrap();
    // Another process that does not come to an end with this issue's workspace.
    let lock = house.home().join("locks/shop/never-there");
    fs::create_dir_all(lock.parent().unwrap()).unwrap();
    let held = fs::File::create(&lock).unwrap();
    held.lock().unwrap();
    let heard = house.path().join("stderr.txt");
    let mut child = house
        .command(["run", "--project", "shop", "Never there"])
        .stdout(Stdio::null())
        .stderr(fs::File::create(&heard).unwrap())
        .spawn()
        .unwrap();
    for said in ["preparing the worktree", "stopping the task", "ending the container"] {
        wait_for(said, || fs::read_to_string(&heard).unwrap().contains(said).then_some(()));
        done(Command::new("kill").args(["-s", "INT", &child.id().to_string()]));
    }
    assert_eq!(child.wait().unwrap().code(), Some(6), "{}", fs::read_to_string(&heard).unwrap());
    let said = fs::read_to_string(&heard).unwrap();
    assert!(said.contains("left as it is; `cloud-code resume never-there` goes on"), "{said}");
    drop(held);
    house.run(["resume", "never-there"]).expect(5);
    assert_eq!(state(&house, "never-there"), "cancelled");
    assert_eq!(house.containers(), Vec::<String>::new());
}

#[test]
fn work_that_was_refused_is_not_cleaned_away_unasked() {
    let house = House::new();
    let script = "mkdir -p .github/workflows; echo \"on: push\" > .github/workflows/ci.yml";
    house.run(house.shell_task(script, "Add a workflow")).expect(3);
    let ended = house.run(["clean", "add-a-workflow"]).expect(1);
    assert!(ended.err.contains("was not imported") && ended.err.contains("--force"), "{}", ended.err);
    assert!(house.issue("add-a-workflow").join("tree/.github/workflows/ci.yml").exists());
    house.run(["clean", "add-a-workflow", "--force"]).expect(0);
    assert!(!house.issue("add-a-workflow").exists());
}

#[test]
fn a_command_that_cannot_go_on_says_that_the_task_has_not_ended() {
    let house = House::new();
    let projects = house.home().join("projects");
    fs::create_dir(&projects).unwrap();
    let settings = format!(
        "repo: {}\ncli: command\ncommand: [sh, -euc, 'echo hi > hi.txt; sleep 2']\nsecrets: [SHOP_TOKEN]\ncontainer: {{network: none}}\n",
        house.repo().display()
    );
    fs::write(projects.join("shop.yaml"), settings).unwrap();
    let mut command = house.command(["run", "--project", "shop", "Use the token"]);
    let mut child = command
        .env("SHOP_TOKEN", "story-secret-value-43")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let marker = house.issue("use-the-token");
    wait_for("the issue's folder", || marker.exists().then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    if house.containers().is_empty() {
        // Killed before the start: without the token it cannot be started here, and it waits for one that can.
        let ended = house.run(["resume", "use-the-token"]).expect(6);
        assert!(ended.err.contains("SHOP_TOKEN") && ended.err.contains("cloud-code resume"), "{}", ended.err);
    }
    let mut command = house.command(["resume", "use-the-token"]);
    let output = command.env("SHOP_TOKEN", "story-secret-value-43").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn cancel_from_another_terminal_stops_a_running_task() {
    let house = House::new();
    let running = house.start(house.shell_task("echo half > half.txt; sleep 600", "Take long"));
    let half = house.issue("take-long").join("tree/half.txt");
    wait_for("the program's first file", || half.exists().then_some(()));
    assert!(house.run(["status"]).expect(0).out.contains("its container runs"));
    house.run(["cancel", "take-long"]).expect(0);
    running.end().expect(5);
    assert_eq!(state(&house, "take-long"), "cancelled");
    let again = house.run(["cancel", "take-long"]).expect(0);
    assert!(again.out.contains("has ended already"), "{}", again.out);
}

#[test]
fn kill_nine_and_resume_end_with_one_run_and_one_branch() {
    let house = House::new();
    let script = "echo run >> runs.txt; sleep 3; echo done > done.txt";
    let running = house.start(house.shell_task(script, "Survive"));
    let runs = house.issue("survive").join("tree/runs.txt");
    wait_for("the program's first file", || runs.exists().then_some(()));
    running.signal("KILL");
    drop(running.end());
    assert_eq!(house.containers().len(), 1, "the container does not outlive the command");
    let twice = house.start(["resume", "survive"]);
    let ended = twice.end().expect(0);
    assert!(ended.out.contains("done: Survive"), "{}", ended.out);
    assert_eq!(git(&house.repo(), ["show", "cloud-code/survive:runs.txt"]), "run\n", "it ran twice");
    assert_eq!(git(&house.repo(), ["log", "--oneline", "main..cloud-code/survive"]).lines().count(), 1);
    assert_eq!(house.containers(), Vec::<String>::new());
    house.run(["resume", "survive"]).expect(0);
}

#[test]
fn kill_nine_before_the_start_and_resume_ends_well() {
    let house = House::new();
    let running = house.start(house.shell_task("echo made > made.txt", "Early"));
    let root = house.issue("early");
    wait_for("the issue's folder", || root.exists().then_some(()));
    running.signal("KILL");
    drop(running.end());
    house.run(["resume", "early"]).expect(0);
    assert_eq!(git(&house.repo(), ["show", "cloud-code/early:made.txt"]), "made\n");
    assert_eq!(house.containers(), Vec::<String>::new());
}

#[test]
fn a_container_that_is_taken_away_is_a_crash_with_the_commits_kept() {
    let house = House::new();
    let script =
        "echo kept > kept.txt; git add kept.txt; git commit -qm kept; echo ready > ready.txt; sleep 600";
    let running = house.start(house.shell_task(script, "Taken away"));
    let ready = house.issue("taken-away").join("tree/ready.txt");
    wait_for("the program's commit", || ready.exists().then_some(()));
    done(Command::new("docker").args(["rm", "--force", &house.containers()[0]]));
    let ended = running.end().expect(3);
    assert!(ended.out.contains("failed: crashed"), "{}", ended.out);
    assert!(house.run(["diff", "taken-away"]).expect(0).out.contains("+kept"), "the commit was lost");
}

#[test]
fn two_processes_never_drive_one_task() {
    let house = House::new();
    let running = house.start(house.shell_task("echo half > half.txt; sleep 600", "Take long"));
    let half = house.issue("take-long").join("tree/half.txt");
    wait_for("the program's first file", || half.exists().then_some(()));
    let second = house.run(["resume", "take-long"]).expect(1);
    assert!(second.err.contains("is already being driven by another cloud-code process"), "{}", second.err);
    running.signal("INT");
    running.end().expect(5);
}

#[test]
fn logs_follow_a_run_to_its_end() {
    let house = House::new();
    let running = house.start(house.shell_task("echo out-of-the-program; sleep 1; echo x > x.txt", "Talk"));
    wait_for("the issue", || house.run(["status", "talk"]).code.eq(&0).then_some(()));
    let followed = house.start(["logs", "--follow", "talk"]).end().expect(0);
    assert!(followed.out.contains("task ended: completed"), "{}", followed.out);
    running.end().expect(0);
    let raw = house.run(["logs", "--raw", "talk"]).expect(0);
    assert!(raw.out.contains("out-of-the-program"), "{}", raw.out);
}

#[test]
fn the_local_runtime_says_loudly_that_it_has_no_sandbox() {
    let house = House::new();
    let mut args = house.shell_task("id -u > who.txt", "Who am I");
    args.extend(["--runtime".to_owned(), "local".to_owned()]);
    let ended = house.run(&args).expect(0);
    assert!(ended.err.contains("WITHOUT A SANDBOX"), "{}", ended.err);
    let who = git(&house.repo(), ["show", "cloud-code/who-am-i:who.txt"]);
    assert_ne!(who, "0\n", "the CLI ran as root");
}

#[test]
fn a_hostile_tree_leaves_host_mirror_and_other_worktrees_as_they_were() {
    let house = House::new();
    house.more_settings("defaults: {retries: {attempts: 1}}\n");
    house.run(house.shell_task("echo other > other.txt", "Other issue")).expect(0);
    let canary = house.path().join("canary");
    let mirror = house.mirror();
    let snapshot = |path: &Path| {
        let script =
            r#"cd "$1" && find . -path ./objects -prune -o -type f -print0 | sort -z | xargs -0 sha256sum"#;
        done(Command::new("sh").args(["-c", script, "sh"]).arg(path))
    };
    let other = house.issue("other-issue");
    let (tree_before, refs_before) = (snapshot(&other.join("tree")), refs(&house.repo()));
    let mirror_before = refs(&mirror);
    let config_before = fs::read_to_string(mirror.join("config")).unwrap();

    let attack = format!(
        "echo work > work.txt; git add work.txt; git commit -qm work; \
         git worktree prune --expire=now || true; git branch evil || true; git update-ref refs/heads/main HEAD || true; \
         git config core.fsmonitor \"touch {0}\" || true; git config core.hooksPath /workspace/hooks || true; \
         mkdir -p hooks; printf \"#!/bin/sh\\ntouch {0}\\n\" > hooks/post-checkout; chmod +x hooks/*; \
         cp hooks/post-checkout hooks/pre-commit; rm -rf hooks/empty; \
         echo \"* filter=evil diff=evil\" > .gitattributes; \
         rm -f .git; mkdir .git; printf \"[core]\\nfsmonitor = touch {0}\\n\" > .git/config; echo ok",
        canary.display()
    );
    let ended = house.run(house.shell_task(&attack, "Attack"));
    assert!(ended.code == 0 || ended.code == 3, "{}\n{}", ended.out, ended.err);
    let raw = house.run(["logs", "--raw", "attack"]).expect(0).out;
    assert!(raw.lines().any(|line| line.trim_end() == "ok"), "the attack did not run to its end: {raw}");
    for command in [["status", "attack"], ["diff", "attack"], ["inspect", "attack"], ["logs", "attack"]] {
        drop(house.run(command));
    }
    assert!(!canary.exists(), "the tree ran a program on the host");
    assert_eq!(snapshot(&other.join("tree")), tree_before, "another worktree was changed");
    assert_eq!(fs::read_to_string(mirror.join("config")).unwrap(), config_before);
    let ours = |refs: String| -> Vec<String> {
        // What the next run fetched from the user's repository is the host's own doing.
        let foreign = |line: &&str| !line.contains("attack") && !line.starts_with("refs/remotes/");
        refs.lines().filter(foreign).map(str::to_owned).collect()
    };
    assert_eq!(ours(refs(&mirror)), ours(mirror_before));
    assert_eq!(ours(refs(&house.repo())), ours(refs_before));
    house.run(["clean", "attack", "--force"]).expect(0);
    assert!(!canary.exists(), "cleaning ran a program of the tree");
}

#[test]
fn work_that_breaks_the_policy_is_refused_by_commit_and_path() {
    let house = House::new();
    let script = "mkdir -p .github/workflows; echo \"on: push\" > .github/workflows/ci.yml";
    let ended = house.run(house.shell_task(script, "Add a workflow")).expect(3);
    assert!(
        ended.out.contains("failed: rejected") && ended.out.contains(".github/workflows/ci.yml"),
        "{}",
        ended.out
    );
    assert_eq!(git(&house.repo(), ["branch", "--list", "cloud-code/*"]), "");
    let mut args = house.shell_task(script, "Add a workflow");
    args.push("--allow-workflow-changes".to_owned());
    house.run(&args).expect(0);

    let ended = house.run(house.shell_task("ln -s ../../../etc/passwd way-out", "Point out")).expect(3);
    assert!(ended.out.contains("failed: rejected") && ended.out.contains("way-out"), "{}", ended.out);
}

#[test]
fn the_cli_cannot_reach_the_control_directory_or_gain_rights() {
    let house = House::new();
    let script = "{ id -u; ls /cloud-code 2>&1 || true; grep -E \"CapEff|CapPrm|NoNewPrivs\" /proc/self/status; \
                  cat /proc/1/environ 2>&1 || true; echo x > /srv/cloud-code/mirror.git/config || true; } > found.txt 2>&1";
    house.run(house.shell_task(script, "Look around")).expect(0);
    let found = git(&house.repo(), ["show", "cloud-code/look-around:found.txt"]);
    let lines: Vec<&str> = found.lines().collect();
    assert_eq!(lines[0], "1000", "{found}");
    assert!(found.contains("Permission denied"), "{found}");
    assert!(found.contains("CapEff:\t0000000000000000"), "{found}");
    assert!(found.contains("CapPrm:\t0000000000000000"), "{found}");
    assert!(found.contains("NoNewPrivs:\t1"), "{found}");
    assert!(
        found.contains("Read-only file system") || found.matches("Permission denied").count() >= 2,
        "{found}"
    );
}

#[test]
fn a_report_of_a_hostile_agent_is_a_failure_with_a_reason() {
    let house = House::new();
    // An agent that was taken over: it writes what it likes into the control directory and ends.
    let agent: PathBuf = house.path().join("evil-agent");
    fs::write(&agent, "#!/bin/sh\nln -sf /etc/passwd /cloud-code/control/reporting.yaml\nexit 0\n").unwrap();
    done(Command::new("chmod").arg("755").arg(&agent));
    house.settings(&format!("agent_binary: {}\n", agent.display()));
    let ended = house.run(house.shell_task("true", "Trust me")).expect(3);
    assert!(ended.out.contains("the agent's report cannot be read"), "{}", ended.out);
    assert!(ended.out.contains("is not a regular file"), "{}", ended.out);
    assert!(!ended.out.contains("root:x:"), "{}", ended.out);
}

#[test]
fn a_secret_reaches_the_cli_and_stands_nowhere_else() {
    let house = House::new();
    let secret = "story-secret-value-42";
    let projects = house.home().join("projects");
    fs::create_dir(&projects).unwrap();
    let script = "printf %s \"$SHOP_TOKEN\" | sha256sum > got.txt; echo \"$SHOP_TOKEN\"; sleep 2";
    let settings = format!(
        "repo: {}\ncli: command\ncommand: [sh, -euc, '{script}']\nsecrets: [SHOP_TOKEN]\ncontainer: {{network: none}}\n",
        house.repo().display()
    );
    fs::write(projects.join("shop.yaml"), settings).unwrap();
    let mut command = house.command(["run", "--project", "shop", "Use the token"]);
    let running =
        command.env("SHOP_TOKEN", secret).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let got = house.issue("use-the-token").join("tree/got.txt");
    wait_for("the program", || got.exists().then_some(()));
    let inspected = done(Command::new("docker").arg("inspect").arg(&house.containers()[0]));
    let printed = done(Command::new("docker").arg("logs").arg(&house.containers()[0]));
    assert!(!inspected.contains(secret), "docker inspect shows the secret");
    assert!(!printed.contains(secret), "docker logs shows the secret");
    let output = running.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let digest = done(Command::new("sh").args(["-c", "printf %s \"$0\" | sha256sum", secret]));
    assert_eq!(
        git(&house.repo(), ["show", "cloud-code/use-the-token:got.txt"]),
        digest,
        "the CLI got another value"
    );
    let control = house.control("use-the-token");
    let raw = house.run(["logs", "--raw", "use-the-token"]).expect(0).out;
    assert!(raw.contains("***"), "the log masks nothing: {raw}");
    let grep = Command::new("grep")
        .args(["-rl", secret])
        .arg(&control)
        .arg(house.home().join("cloud-code.db"))
        .output();
    assert_eq!(String::from_utf8_lossy(&grep.unwrap().stdout), "", "a file holds the secret");
}

#[test]
fn a_damaged_tasking_does_not_keep_a_task_from_being_cancelled() {
    let house = House::new();
    let running = house.start(house.shell_task("echo half > half.txt; sleep 600", "Take long"));
    let half = house.issue("take-long").join("tree/half.txt");
    wait_for("the program's first file", || half.exists().then_some(()));
    fs::write(house.control("take-long").join("tasking.yaml"), "tasks: [\n").unwrap();
    house.run(["cancel", "take-long"]).expect(0);
    running.end().expect(5);
    assert!(house.run(["diff", "take-long"]).expect(0).out.contains("+half"));
    assert_eq!(house.containers(), Vec::<String>::new());
}
