//! `serve` is killed, at any write and at any moment; whatever it had begun ends once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cloud_code_fake_github::{Held, Request, When};

use crate::stage::{SHOP, Setup, Stage};

/// What one run writes to GitHub, in words that are the same in every run: 42 is the issue, 43 its pull request.
const WRITES: [&str; 15] = [
    "DELETE label cloud-code: queued",
    "DELETE label cloud-code: working",
    "PATCH comment",
    "PATCH comment",
    "POST check run",
    "POST comment",
    "POST label to issue",
    "POST label to issue",
    "POST label to issue",
    "POST label to repository",
    "POST label to repository",
    "POST label to repository",
    "POST pull request",
    "POST push",
    "POST reaction",
];

fn name(method: &str, path: &str) -> String {
    let path = path.strip_prefix("/repos/acme/shop").unwrap_or(path);
    let thing = match path {
        "/labels" => "label to repository",
        "/pulls" => "pull request",
        "/check-runs" => "check run",
        "/issues/42/comments" => "comment",
        "/issues/42/labels" => "label to issue",
        path if path.ends_with("/git-receive-pack") => "push",
        path if path.ends_with("/reactions") => "reaction",
        path if path.starts_with("/issues/comments/") => "comment",
        path if path.starts_with("/check-runs/") => "check run",
        path => match path.strip_prefix("/issues/42/labels/") {
            Some(label) => {
                return format!("{method} label {}", label.replace("%20", " ").replace("%3A", ":"));
            }
            None => path,
        },
    };
    format!("{method} {thing}")
}

fn written(request: &Request) -> String {
    name(&request.method, &request.path)
}

/// An issue with its request; their numbers.
fn asks(stage: &Stage, body: &str) -> (u64, u64) {
    let alice = stage.user("alice");
    let issue = alice.opens_issue(SHOP, "Count once more", body);
    (issue, alice.comments_on(SHOP, issue, "/cloud-code run"))
}

/// Runs the jobs on a few threads: each spends its time waiting.
fn in_parallel<T: Send>(jobs: usize, job: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= jobs {
                        return;
                    }
                    let result = job(number);
                    done.lock().unwrap().push((number, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

#[test]
fn a_kill_between_any_two_writes_changes_nothing() {
    let stage = Stage::new();
    let (issue, comment) = asks(&stage, "Counting is broken.");
    stage.becomes(issue, "in-review");
    stage.is_done_once(issue, comment);
    stage.wait_for("the check", || {
        let head = stage.github.pull_requests(SHOP)[0].head_sha.clone();
        (stage.github.checks(&head).len() == 1).then_some(())
    });
    let mut writes: Vec<String> = stage.github.mutations().iter().map(written).collect();
    writes.sort();
    assert_eq!(
        writes, WRITES,
        "what a run writes has changed: change the list, and look at what the kill finds"
    );
    stage.holds();
    drop(stage);

    let told = in_parallel(2 * WRITES.len(), |job| {
        let (n, when) = (job / 2 + 1, if job % 2 == 0 { When::Before } else { When::After });
        let mut stage = Stage::new();
        stage.github.hold_write(n, when);
        let (issue, comment) = asks(&stage, "Counting is broken.");
        let Held { method, path, .. } = stage.block_on("the held write", stage.github.held());
        stage.is_killed();
        stage.github.cut_held();
        stage.serves();
        stage.becomes(issue, "in-review");
        stage.wait_for("the check", || {
            let head = stage.github.pull_requests(SHOP)[0].head_sha.clone();
            let checks = stage.github.checks(&head);
            (checks.len() == 1 && checks[0].conclusion.as_deref() == Some("success")).then_some(())
        });
        stage.is_done_once(issue, comment);
        stage.holds();
        let repeated = stage.github.mutations().len() - WRITES.len();
        format!("| {n:2} | {:6} | {:32} | {repeated:2} |", format!("{when:?}"), name(&method, &path))
    });
    println!("| n  | killed | at the write                     | more writes than without |");
    for line in &told {
        println!("{line}");
    }
    assert_eq!(told.len(), 2 * WRITES.len());
}

#[test]
fn a_kill_at_any_moment_changes_nothing() {
    let stage = Stage::new();
    let begun = Instant::now();
    let (issue, _) = asks(&stage, "Counting is broken.");
    stage.becomes(issue, "in-review");
    let whole = begun.elapsed();
    drop(stage);
    let moments = 12;
    let told = in_parallel(moments, |moment| {
        let mut stage = Stage::new();
        let (issue, comment) = asks(&stage, "Counting is broken.");
        let after = whole * u32::try_from(moment).unwrap() / u32::try_from(moments).unwrap();
        // The moment is the subject here, not a wait for something.
        std::thread::sleep(after);
        stage.is_killed();
        let tasks = stage.tasks();
        let state = tasks.last().map_or("no task".to_owned(), |task| task.state.status().to_string());
        stage.serves();
        stage.becomes(issue, "in-review");
        stage.is_done_once(issue, comment);
        stage.holds();
        format!("| {after:>12?} | {state} |")
    });
    println!("| killed after | task |\n{}", told.join("\n"));
}

#[test]
fn an_agent_outlives_a_killed_serve_and_is_found_again() {
    for go_first in [true, false] {
        let mut stage = Stage::new();
        let (issue, comment) = asks(&stage, "WAIT-FOR-GO, then count.");
        stage.wait_for("the CLI to run", || (!stage.prompts().is_empty()).then_some(()));
        stage.is_killed();
        assert!(!stage.processes().is_empty(), "the agent goes on");
        if go_first {
            // It ends while nobody looks.
            stage.go();
            stage.is_quiet();
            stage.serves();
        } else {
            stage.serves();
            stage.becomes(issue, "working");
            stage.go();
        }
        stage.becomes(issue, "in-review");
        stage.is_done_once(issue, comment);
        stage.holds();
    }
}

#[test]
fn a_stop_in_good_order_finishes_the_write_and_leaves_the_agent() {
    let mut stage = Stage::new();
    let (issue, comment) = asks(&stage, "WAIT-FOR-GO, then count.");
    stage.wait_for("the CLI to run", || (!stage.prompts().is_empty()).then_some(()));
    stage.becomes(issue, "working");
    let begun = Instant::now();
    stage.stops();
    assert!(begun.elapsed() < Duration::from_secs(8), "nothing was being written: {:?}", begun.elapsed());
    assert!(!stage.processes().is_empty(), "the agent goes on");
    stage.serves();
    stage.go();
    stage.becomes(issue, "in-review");
    stage.is_done_once(issue, comment);
    stage.holds();
}

/// SIGTERM while a write is held: it gets its answer, and is noted, before `serve` ends.
#[test]
fn a_stop_waits_for_the_answer_to_a_write() {
    for write in ["POST comment", "POST push", "POST pull request"] {
        let mut stage = Stage::with(Setup::default());
        let (mut n, mut at) = (1, String::new());
        stage.github.hold_write(n, When::After);
        let (issue, comment) = asks(&stage, "Counting is broken.");
        while at != write {
            let held = stage.block_on("the held write", stage.github.held());
            at = name(&held.method, &held.path);
            if at != write {
                n += 1;
                assert!(n < 30, "there is no {write}");
                stage.github.hold_write(1, When::After);
            }
        }
        stage.is_told_to_stop();
        stage.wait_for("serve to say that it stops", || stage.log().contains("stopping;").then_some(()));
        stage.github.release();
        stage.ends();
        let times = |stage: &Stage| stage.github.mutations().iter().filter(|r| written(r) == write).count();
        assert_eq!(times(&stage), 1);
        stage.serves();
        stage.becomes(issue, "in-review");
        stage.is_done_once(issue, comment);
        assert_eq!(times(&stage), 1, "{write} was sent again");
        stage.holds();
    }
}
