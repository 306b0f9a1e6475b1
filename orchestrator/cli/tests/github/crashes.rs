//! `serve` is killed, at any write and at any moment; whatever it had begun ends once.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cloud_code_fake_github::{Request, When};

use crate::stage::{SHOP, Stage};

/// What one run writes to GitHub, each once or more. Issue and pull request are 42 and 43.
const WRITES: [&str; 9] = [
    "DELETE label cloud-code: working",
    "PATCH comment",
    "POST check run",
    "POST comment",
    "POST label to issue",
    "POST label to repository",
    "POST pull request",
    "POST push",
    "POST reaction",
];
/// Written only where a look fell between a task's being queued and its beginning.
const PASSING: &str = "DELETE label cloud-code: queued";

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
pub(crate) fn asks(stage: &Stage, body: &str) -> (u64, u64) {
    let alice = stage.user("alice");
    let issue = alice.opens_issue(SHOP, "Count once more", body);
    (issue, alice.comments_on(SHOP, issue, "/cloud-code run"))
}

/// Runs the jobs on a few threads: each spends its time waiting.
pub(crate) fn in_parallel<T: Send>(jobs: usize, job: impl Fn(usize) -> T + Sync) -> Vec<T> {
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
    stage.wait_for("the check", || has_ended(&stage, issue).then_some(()));
    stage.is_done_once(issue, comment);
    let writes: Vec<String> = stage.github.mutations().iter().map(written).collect();
    let mut kinds: BTreeSet<&str> = writes.iter().map(String::as_str).collect();
    kinds.remove(PASSING);
    assert_eq!(
        Vec::from_iter(kinds),
        WRITES,
        "what a run writes has changed: change the list, and look at what the kill finds"
    );
    stage.holds();
    let count = writes.len();
    drop(stage);

    let told = in_parallel(2 * count, |job| {
        let (n, when) = (job / 2 + 1, if job % 2 == 0 { When::Before } else { When::After });
        let mut stage = Stage::new();
        stage.github.hold_write(n, when);
        let (issue, comment) = asks(&stage, "Counting is broken.");
        // A run that passes over the queue has some writes fewer, and may end before its n-th.
        let ended = async {
            while !has_ended(&stage, issue) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let held = stage.block_on("the held write", async {
            tokio::select! {
                held = stage.github.held() => Some(name(&held.method, &held.path)),
                () = ended => None,
            }
        });
        if held.is_some() {
            stage.is_killed();
            stage.github.cut_held();
            stage.serves();
        }
        stage.wait_for("the end", || has_ended(&stage, issue).then_some(()));
        stage.is_done_once(issue, comment);
        stage.holds();
        (n, when, held, stage.github.mutations().len())
    });
    println!("| n  | killed | at the write                     | writes in all (without: {count}) |");
    for (n, when, held, all) in &told {
        let held = held.as_deref().unwrap_or("none: the run had ended");
        println!("| {n:2} | {:6} | {held:32} | {all:2} |", format!("{when:?}"));
    }
    for side in [When::Before, When::After] {
        let killed: BTreeSet<&str> = told
            .iter()
            .filter(|(_, when, ..)| *when == side)
            .filter_map(|(_, _, held, _)| held.as_deref().filter(|held| *held != PASSING))
            .collect();
        assert_eq!(Vec::from_iter(killed), WRITES, "{side:?}");
    }
}

/// The label, the status and the check say that the work stands in a pull request.
pub(crate) fn has_ended(stage: &Stage, issue: u64) -> bool {
    let labels = stage.github.labels(SHOP, issue);
    let pulls = stage.github.pull_requests(SHOP);
    let is_checked = |head: &str| {
        let checks = stage.github.checks(head);
        checks.len() == 1 && checks[0].conclusion.as_deref() == Some("success")
    };
    labels == ["cloud-code: in-review"] && pulls.first().is_some_and(|pull| is_checked(&pull.head_sha))
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
        let mut stage = Stage::new();
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
