//! What fails and can be mended by another attempt is tried again by itself; what cannot is told.

use std::time::{Duration, Instant};

use crate::cast;
use crate::stage::{SHOP, Setup, Stage};

/// Short waits, for who runs the stories.
const SOON: &str = "retries: {attempts: 3, first_wait: 1s, longest_wait: 2s}";

fn stage() -> Stage {
    cast::stage_with(Setup { project: SOON, ..Setup::default() })
}

#[test]
fn a_provider_that_is_busy_is_asked_again_by_itself() {
    let stage = stage();
    let issue = stage.is_asked("Counting is broken. BUSY-ONCE");
    stage.status_says(
        issue,
        "was held up at `Count once more`: `overloaded`. Attempt 2 of 3 begins by itself",
    );
    stage.becomes(issue, "in-review");
    assert_eq!(stage.calls(), ["scribe", "scribe --resume s-scribe"], "the conversation goes on");
    let tasks = stage.tasks();
    assert_eq!((tasks.len(), tasks[0].attempt), (1, 2));
    assert_eq!(stage.github.pull_requests(SHOP).len(), 1);
    assert_eq!(
        stage.github.file(SHOP, &format!("cloud-code/issue-{issue}"), "count.txt").as_deref(),
        Some("1\n")
    );
    stage.holds();
}

#[test]
fn it_gives_up_after_the_last_attempt() {
    let stage = stage();
    let issue = stage.is_asked("Counting is broken. BUSY-ALWAYS");
    stage.becomes(issue, "failed");
    assert_eq!(stage.calls().len(), 3, "{:?}", stage.calls());
    assert!(stage.status(issue).contains("`overloaded`"), "{}", stage.status(issue));
    assert_eq!(stage.github.branches(SHOP), ["main"]);
    stage.holds();
}

#[test]
fn what_another_attempt_cannot_mend_is_not_tried_again() {
    let stage = stage();
    let issue = stage.is_asked("Counting is broken. REFUSE-THE-KEY");
    stage.becomes(issue, "failed");
    assert!(stage.status(issue).contains("`auth`"), "{}", stage.status(issue));
    assert_eq!(stage.calls().len(), 1);
    stage.holds();
}

#[test]
fn an_agent_that_dies_is_followed_by_another_once() {
    let stage = stage();
    let issue = stage.is_asked("Counting is broken. HALF-WAY");
    stage.prompt(1);
    stage.kills_the_agent();
    stage.prompt(2);
    stage.kills_the_agent();
    stage.becomes(issue, "failed");
    let status = stage.status(issue);
    assert!(status.contains("`crashed`"), "{status}");
    assert_eq!(stage.calls().len(), 2, "an agent that dies with it twice dies of it");

    // What it had begun is kept, and a person may go on.
    stage.go();
    stage.a_moment_later();
    stage.user("alice").comments_on(SHOP, issue, "/cloud-code retry");
    stage.becomes(issue, "in-review");
    let branch = format!("cloud-code/issue-{issue}");
    assert_eq!(stage.github.file(SHOP, &branch, "half.txt").as_deref(), Some("half\n"));
    stage.holds();
}

#[test]
fn what_one_task_is_told_of_an_accounts_limit_holds_for_the_others() {
    let stage = stage();
    let first = stage.is_asked("Counting is broken. LIMIT-ONCE");
    stage.status_says(first, "`rate_limited`");
    let told = Instant::now();
    let second = stage.is_asked("Counting is broken, too.");
    stage.status_says(second, "will work on");
    stage.becomes(second, "in-review");
    assert!(told.elapsed() > Duration::from_secs(3), "it was begun before the limit ended");
    stage.becomes(first, "in-review");
    let calls = stage.calls();
    assert_eq!(calls.len(), 3, "nobody burnt an attempt to hear it again: {calls:?}");
    stage.holds();
}

#[test]
fn what_waits_for_its_next_attempt_can_be_cancelled_and_outlives_a_restart() {
    let setup = Setup { project: "retries: {attempts: 3, first_wait: 1h}", ..Setup::default() };
    let mut stage = cast::stage_with(setup);
    let issue = stage.is_asked("Counting is broken. BUSY-ONCE");
    stage.status_says(issue, "begins by itself");
    stage.is_killed();
    stage.serves();
    stage.a_moment_later();
    stage.user("alice").comments_on(SHOP, issue, "/cloud-code cancel");
    stage.becomes(issue, "done");
    assert_eq!(stage.calls().len(), 1);
    stage.holds();
}
