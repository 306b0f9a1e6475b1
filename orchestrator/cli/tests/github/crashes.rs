//! `serve` is killed, at any write and at any moment; whatever it had begun ends once.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cloud_code_fake_github::{Request, When};

use crate::stage::{SHOP, Stage};

/// What one run writes to GitHub: what it is, and how often at least. More often where a look of the service falls between
/// two states of the task.
const WRITES: [(&str, &str, &str, usize); 9] = [
    ("the reaction", "POST", "**/reactions", 1),
    ("the status comment", "POST", "/repos/*/*/issues/*/comments", 1),
    ("the comment's next text", "PATCH", "/repos/*/*/issues/comments/*", 1),
    ("a label of the repository", "POST", "/repos/*/*/labels", 2),
    ("a label of the issue", "POST", "/repos/*/*/issues/*/labels", 2),
    ("the old label's removal", "DELETE", "/repos/*/*/issues/*/labels/*", 1),
    ("the push", "POST", "**/git-receive-pack", 1),
    ("the pull request", "POST", "/repos/*/*/pulls", 1),
    ("the check", "POST", "/repos/*/*/check-runs", 1),
];

/// What a request writes, in the words of the list above.
fn kind(request: &Request) -> &'static str {
    let known =
        WRITES.iter().find(|(_, method, path, _)| request.method == *method && fits(path, &request.path));
    known.unwrap_or_else(|| panic!("no run has written this before: {request:?}")).0
}

/// The few patterns above: `*` is one segment, `**` what comes before.
fn fits(pattern: &str, path: &str) -> bool {
    match pattern.strip_prefix("**") {
        Some(end) => path.ends_with(end),
        None => {
            let (pattern, path): (Vec<&str>, Vec<&str>) =
                (pattern.split('/').collect(), path.split('/').collect());
            pattern.len() == path.len()
                && pattern.iter().zip(path).all(|(one, other)| *one == "*" || *one == other)
        }
    }
}

/// An issue with its request; their numbers.
pub(crate) fn asks(stage: &Stage, body: &str) -> (u64, u64) {
    let alice = stage.user("alice");
    let issue = alice.opens_issue(SHOP, "Count once more", body);
    (issue, alice.comments_on(SHOP, issue, "/cloud-code run"))
}

/// Runs the jobs on a few threads: each spends its time waiting.
pub(crate) fn in_parallel<T: Send>(jobs: usize, job: impl Fn(usize) -> T + Sync) -> Vec<T> {
    in_parallel_on(3, jobs, job)
}

/// Runs the jobs on this many threads.
pub(crate) fn in_parallel_on<T: Send>(
    threads: usize,
    jobs: usize,
    job: impl Fn(usize) -> T + Sync,
) -> Vec<T> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
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
    let mut writes: BTreeMap<&str, usize> = BTreeMap::new();
    for request in stage.github.mutations() {
        *writes.entry(kind(&request)).or_default() += 1;
    }
    for (what, _, _, least) in WRITES {
        let times = writes.get(what).copied().unwrap_or_default();
        assert!((least..=least + 1).contains(&times), "{what} was written {times} times: {writes:#?}");
    }
    stage.holds();
    drop(stage);

    let each = WRITES.iter().flat_map(|write| (1..=write.3).map(move |nth| (write, nth)));
    let jobs: Vec<_> =
        each.flat_map(|(write, nth)| [(write, nth, When::Before), (write, nth, When::After)]).collect();
    let told = in_parallel(jobs.len(), |job| {
        let ((what, method, path, _), nth, when) = jobs[job];
        let mut stage = Stage::new();
        stage.github.hold_nth(method, path, nth, when);
        let (issue, comment) = asks(&stage, "Counting is broken.");
        stage.block_on(what, stage.github.held());
        stage.is_killed();
        stage.github.cut_held();
        stage.serves();
        stage.wait_for("the end", || has_ended(&stage, issue).then_some(()));
        stage.is_done_once(issue, comment);
        stage.holds();
        format!("| {:6} | {what:26} | {nth} | {:2} |", format!("{when:?}"), stage.github.mutations().len())
    });
    println!("| killed | write                      | nth | writes in all |");
    for line in &told {
        println!("{line}");
    }
    assert_eq!(told.len(), 2 * WRITES.iter().map(|write| write.3).sum::<usize>());
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
    for what in ["the status comment", "the push", "the pull request"] {
        let (_, method, path, _) = WRITES.iter().find(|write| write.0 == what).unwrap();
        let mut stage = Stage::new();
        stage.github.hold_nth(method, path, 1, When::After);
        let (issue, comment) = asks(&stage, "Counting is broken.");
        stage.block_on(what, stage.github.held());
        stage.is_told_to_stop();
        stage.wait_for("serve to say that it stops", || stage.log().contains("stopping;").then_some(()));
        stage.github.release();
        stage.ends();
        let times = |stage: &Stage| stage.github.mutations().iter().filter(|r| kind(r) == what).count();
        assert_eq!(times(&stage), 1);
        stage.serves();
        stage.becomes(issue, "in-review");
        stage.is_done_once(issue, comment);
        assert_eq!(times(&stage), 1, "{what} was written again");
        stage.holds();
    }
}
