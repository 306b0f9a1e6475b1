//! A restart is no event: agents go on, are found again, waited for or ended, and what killed processes left is swept.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cloud_code_fault_points::Point;
use cloud_code_model::TaskState;
use cloud_code_store::Store as _;

use crate::cast;
use crate::fault_points::engine::Engine;
use crate::fault_points::scene::runs_in;
use crate::stage::{SHOP, Setup, Stage};

/// Agents at one time in the story of many.
const MANY: usize = 20;

impl Stage {
    /// A file below an issue's folder.
    fn of_issue(&self, issue: u64, path: &str) -> PathBuf {
        self.home().join(format!("workspaces/shop/{issue}/{path}"))
    }

    /// How often the CLI was started for an issue.
    fn runs_for(&self, issue: u64) -> usize {
        let runs = fs::read_to_string(self.of_issue(issue, "home/scribe.runs"));
        runs.unwrap_or_default().lines().count()
    }

    /// The agent's last sign of life.
    fn heartbeat(&self, issue: u64) -> String {
        let report =
            fs::read_to_string(self.of_issue(issue, ".cloud-code/reporting.yaml")).unwrap_or_default();
        report.lines().find(|line| line.starts_with("heartbeat_at:")).unwrap_or_default().to_owned()
    }

    #[track_caller]
    fn runs_on(&self, issue: u64) {
        self.wait_for("the CLI to run", || {
            let report = fs::read_to_string(self.of_issue(issue, ".cloud-code/reporting.yaml"));
            let told = report.is_ok_and(|report| report.contains("session_id: s-scribe"));
            (told && self.runs_for(issue) > 0).then_some(())
        });
    }
}

#[test]
fn an_upgrade_while_an_agent_runs_loses_nothing() {
    let mut stage = cast::stage();
    let issue = stage.is_asked("WAIT-FOR-GO, then count.");
    stage.runs_on(issue);
    stage.becomes(issue, "working");
    stage.stops();
    stage.is_upgraded();
    let before = stage.heartbeat(issue);
    stage.wait_for("a sign of life while nobody serves", || (stage.heartbeat(issue) != before).then_some(()));
    stage.serves();
    stage.go();
    stage.becomes(issue, "in-review");
    assert_eq!(stage.runs_for(issue), 1);
    let tasks = stage.tasks();
    assert_eq!((tasks.len(), tasks[0].attempt), (1, 1));
    stage.is_quiet();
    stage.holds();
}

#[test]
fn twenty_agents_are_found_again_and_none_works_twice() {
    let mut stage = cast::set(Setup::default());
    stage.replaces("cloud-code.yaml", "server: {", &format!("server: {{concurrency: {MANY}, "));
    stage.serves();
    let issues: Vec<u64> = (0..MANY).map(|_| stage.is_asked("WAIT-FOR-GO, then count.")).collect();
    for issue in &issues {
        stage.runs_on(*issue);
    }
    stage.is_killed();
    stage.serves();
    stage.go();
    for issue in &issues {
        stage.becomes(*issue, "in-review");
        assert_eq!(stage.runs_for(*issue), 1, "#{issue}");
    }
    let tasks = stage.tasks();
    assert_eq!(tasks.len(), MANY);
    assert!(tasks.iter().all(|task| task.attempt == 1), "{tasks:#?}");
    assert_eq!(stage.github.pull_requests(SHOP).len(), MANY);
    stage.is_quiet();
    stage.holds();
}

#[test]
fn drain_waits_for_who_works_and_begins_nothing() {
    let mut stage = cast::set(Setup::default());
    stage.replaces("cloud-code.yaml", "server: {", "server: {concurrency: 1, ");
    stage.serves_with(&["--drain"]);
    let first = stage.is_asked("WAIT-FOR-GO, then count.");
    stage.runs_on(first);
    let second = stage.is_asked("Counting is broken, too.");
    stage.status_says(second, "will work on");
    stage.is_told_to_stop();
    stage.wait_for("serve to say that it stops", || stage.log().contains("are waited for").then_some(()));
    stage.go();
    stage.ends();
    // It said how it ended before it went.
    assert!(stage.status(first).contains("### cloud-code: in-review"), "{}", stage.status(first));
    assert_eq!(stage.runs_for(second), 0);
    stage.is_quiet();
    stage.serves();
    stage.becomes(second, "in-review");
    assert_eq!((stage.runs_for(first), stage.runs_for(second)), (1, 1));
    stage.holds();
}

#[test]
fn a_second_signal_leaves_who_is_waited_for() {
    let mut stage = cast::set(Setup::default());
    stage.serves_with(&["--drain"]);
    let issue = stage.is_asked("WAIT-FOR-GO, then count.");
    stage.runs_on(issue);
    stage.is_told_to_stop();
    stage.wait_for("serve to say that it stops", || stage.log().contains("are waited for").then_some(()));
    stage.is_told_to_stop();
    let begun = Instant::now();
    stage.ends();
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    assert!(!stage.processes().is_empty(), "the agent goes on");
    stage.serves();
    stage.go();
    stage.becomes(issue, "in-review");
    assert_eq!(stage.runs_for(issue), 1);
    stage.holds();
}

#[test]
fn agents_that_end_with_the_service_keep_their_work_and_go_on_later() {
    let mut stage = cast::set(Setup { project: "retries: {attempts: 1}", ..Setup::default() });
    stage.serves_with(&["--stop-agents"]);
    let issue = stage.is_asked("Counting is broken. HALF-WAY");
    stage.runs_on(issue);
    stage.wait_for("half of it", || stage.of_issue(issue, "tree/half.txt").is_file().then_some(()));
    stage.stops();
    stage.is_quiet();
    let tasks = stage.tasks();
    let TaskState::BackingOff { head, attempt, .. } = &tasks[0].state else { panic!("{tasks:#?}") };
    assert!(head.is_some(), "what was done is committed and taken");
    assert_eq!(*attempt, 2);
    stage.serves();
    stage.go();
    stage.becomes(issue, "in-review");
    assert_eq!(stage.runs_for(issue), 2);
    assert_eq!(stage.calls(), ["scribe", "scribe --resume s-scribe"], "the conversation goes on");
    let branch = format!("cloud-code/issue-{issue}");
    assert_eq!(stage.github.file(SHOP, &branch, "half.txt").as_deref(), Some("half\n"));
    assert_eq!(stage.github.file(SHOP, &branch, "count.txt").as_deref(), Some("1\n"));
    stage.holds();
}

#[test]
fn two_installations_on_one_engine_leave_each_other_alone() {
    let engine = Engine::new();
    let mut stages = [cast::set(Setup::default()), cast::set(Setup::default())];
    let issues = stages.each_mut().map(|stage| {
        runs_in(stage, &engine);
        stage.serves();
        let issue = stage.is_asked("WAIT-FOR-GO, then count.");
        stage.runs_on(issue);
        issue
    });
    let [one, other] = &mut stages;
    let label = |name: &str, value: &str| format!("cloud-code.{name}={value}");
    let of = |instance: &str| engine.makes(&[label("instance", instance), label("task", "T-OF-NOBODY")]);
    let (left, others, third) = (of(&one.instance()), of(&other.instance()), of("elsewhere"));
    let nobodys = engine.makes(&[]);
    let works = engine.containers(&other.instance(), Some(issues[1]));
    assert_eq!(works.len(), 1);

    one.is_killed();
    one.serves();
    one.wait_for("what it left to be removed", || (!engine.has(&left)).then_some(()));
    for stays in [&others, &third, &nobodys, &works[0]] {
        assert!(engine.has(stays), "a container that is not ours was removed");
    }
    for (stage, issue) in stages.iter().zip(issues) {
        fs::write(stage.of_issue(issue, "home/go"), "").unwrap();
        stage.becomes(issue, "in-review");
        assert_eq!(stage.runs_for(issue), 1);
        assert_eq!(stage.tasks()[0].attempt, 1);
        stage.holds();
    }
}

#[test]
fn a_task_that_was_cancelled_while_it_was_made_is_cancelled_after_a_kill() {
    let mut stage = cast::set(Setup::default());
    stage.arms(Point::TaskMade);
    stage.serves();
    let issue = stage.is_asked("Counting is broken.");
    stage.is_held();
    stage.is_told(issue, "/cloud-code cancel");
    stage.wait_for("the request to be taken back", || {
        stage.log().contains("outcome=\"cancelled\"").then_some(())
    });
    stage.is_killed();
    stage.serves();
    stage.becomes(issue, "done");
    assert_eq!(stage.prompts(), Vec::<String>::new(), "its CLI ran");
    stage.holds();
}

#[test]
fn what_killed_processes_left_is_swept_at_the_next_start() {
    let mut stage = cast::stage();
    let (kept, cleaned) = (stage.is_asked("Counting is broken."), stage.is_asked("Counting is broken, too."));
    for issue in [kept, cleaned] {
        stage.becomes(issue, "in-review");
        // Else a power cut would take the worktree with it.
        stage.wait_for("the disk to have the workspace", || {
            let mark = fs::read_to_string(stage.of_issue(issue, "prepared")).unwrap();
            (!mark.contains("boot:")).then_some(())
        });
    }
    stage.is_quiet();
    stage.stops();
    // A `clean` that was killed after it had said so in the store.
    stage.stored(|store| async move {
        let (project, key) = ("shop".parse().unwrap(), cleaned.to_string().parse().unwrap());
        store.mark_cleaned(&project, &key, jiff::Timestamp::now()).await.unwrap();
    });
    let task = stage.tasks()[0].task.id.to_string();
    let left = [
        stage.of_issue(kept, "import-abc/copied/pack/pack-1.pack"),
        stage.of_issue(kept, ".writing-abc"),
        stage.of_issue(kept, ".cloud-code/.tasking.yaml.0123456789abcdef.tmp"),
        stage.of_issue(cleaned, "prepared"),
        stage.home().join("local/.new-4194999-abc/container.json"),
        stage.home().join(format!("locks/{task}.driver")),
        stage.home().join("cloud-code.yaml.4194999.tmp"),
    ];
    let stays = [stage.of_issue(kept, "tree/.writing-notes"), stage.of_issue(kept, "home/.session.tmp")];
    for file in left.iter().chain(&stays) {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "x").unwrap();
    }
    stage.serves();
    stage.wait_for("it to be swept", || (!left.iter().any(|file| file.exists())).then_some(()));
    assert!(stays.iter().all(|file| file.exists()), "an agent's own files stay");
    assert!(stage.of_issue(kept, "prepared").is_file());
    assert!(!stage.of_issue(cleaned, "").exists());
    stage.holds();
}
