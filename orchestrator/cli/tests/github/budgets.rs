//! What may be used, and what comes when it is used up.

use cloud_code_model::TaskStatus;

use crate::cast;
use crate::stage::{SHOP, Setup};

#[test]
fn a_task_that_has_used_up_its_tokens_is_cut_and_goes_on_after_a_yes() {
    // A round takes 1,500 tokens, and the verify command sends it back until there is a second line.
    let stage = cast::stage_with(Setup {
        project: "budget: {task: {tokens: 1000}}\nverify: ['sleep 4; test -e enough']\nverify_rounds: 5",
        ..Setup::default()
    });
    let issue = stage.is_asked("Counting is broken.");
    let status = stage.status_says(issue, "has used 1500 of 1000 (budget.task.tokens)");
    assert!(status.contains("needs-input") && status.contains("/cloud-code approve"), "{status}");
    let tasks = stage.tasks();
    assert_eq!((tasks.len(), tasks[0].state.status()), (1, TaskStatus::OverBudget));
    assert!(tasks[0].state.head().is_some(), "what was done is committed and kept");
    assert_eq!(stage.github.branches(SHOP), ["main"], "and not pushed");
    assert_eq!(stage.calls().len(), 1);
    assert!(stage.processes().is_empty(), "waiting costs nothing");

    stage.is_told(issue, "/cloud-code approve");
    stage.wait_for("the second attempt", || (stage.calls().len() > 1).then_some(()));
    assert_eq!(stage.calls()[1], "scribe --resume s-scribe", "the conversation goes on");
    // As much again, and no more.
    stage.status_says(issue, "of 2000 (budget.task.tokens)");
    stage.is_told(issue, "/cloud-code reject");
    stage.becomes(issue, "failed");
    assert_eq!(stage.tasks()[0].attempt, 2);
    stage.holds();
}

#[test]
fn an_issue_that_has_used_up_its_money_begins_nothing_before_a_yes() {
    let stage = cast::stage_with(Setup { project: "budget: {issue: {usd: 0.2}}", ..Setup::default() });
    let issue = stage.is_asked("Counting is broken.");
    // With the answer in hand a cut would only lose it.
    stage.becomes(issue, "in-review");
    assert!(stage.status(issue).contains("the issue has used $0.25 of $0.20"), "{}", stage.status(issue));
    stage.is_told(issue, "/cloud-code And its test.");
    stage.becomes(issue, "queued");
    let told = String::from_utf8(stage.command(&["queue"]).output().unwrap().stdout).unwrap();
    assert!(told.contains("waits: the issue has used $0.25 of $0.20 (budget.issue.usd)"), "{told}");
    assert_eq!(stage.calls().len(), 1);

    stage.is_told(issue, "/cloud-code approve");
    stage.becomes(issue, "in-review");
    assert_eq!(stage.calls().len(), 2);
    // Each task pays once, although the session's total holds both.
    let status = stage.status(issue);
    assert!(status.contains("the issue has used $0.50 of $0.40"), "{status}");
    stage.holds();
}

#[test]
fn a_yes_on_the_command_line_allows_what_is_used_up_and_nothing_else() {
    let mut stage = cast::set(Setup { project: "budget: {issue: {usd: 0.2}}", ..Setup::default() });
    stage.replaces("cloud-code.yaml", "server: {", "server: {concurrency: 1, ");
    stage.serves();
    let issue = stage.is_asked("Counting is broken.");
    stage.becomes(issue, "in-review");
    stage.is_told(issue, "/cloud-code And its test. WAIT-FOR-GO");
    stage.becomes(issue, "queued");
    let yes = |issue: u64| stage.command(&["approve", &issue.to_string()]).output().unwrap();
    let output = yes(issue);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success() && told.contains("as much again is allowed of the budget: issue"),
        "{told}"
    );
    // It is `serve` that drives it, and it alone.
    stage.becomes(issue, "working");
    let other = stage.is_asked("Counting is broken, too.");
    stage.becomes(other, "queued");
    let output = yes(other);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && told.contains("does not wait for a yes: it is queued"), "{told}");
    stage.go();
    stage.becomes(other, "in-review");
    stage.holds();
}

#[test]
fn what_is_said_for_one_task_goes_before_the_budget_of_a_task() {
    let stage = cast::stage_with(Setup { project: "budget: {task: {usd: 0.2}}", ..Setup::default() });
    let issue = stage.has_issue("Counting is broken.");
    stage.is_told(issue, "/cloud-code run --budget 1");
    stage.becomes(issue, "in-review");
    let status = stage.status(issue);
    assert!(status.contains("$0.25") && !status.contains("budget.task.usd"), "{status}");
    assert_eq!(stage.tasks()[0].attempt, 1);
    stage.holds();
}

#[test]
fn attempts_that_fail_are_paid_for_as_well() {
    let stage = cast::stage_with(Setup {
        project: "budget: {issue: {attempts: 2}}\nretries: {attempts: 5, first_wait: 1s, longest_wait: 1s}",
        ..Setup::default()
    });
    let issue = stage.is_asked("Counting is broken. BUSY-ALWAYS");
    stage.wait_for("the queue to hold it", || {
        let told = String::from_utf8(stage.command(&["queue"]).output().unwrap().stdout).unwrap();
        told.contains("the issue has used 2 of 2 (budget.issue.attempts)").then_some(())
    });
    assert_eq!(stage.calls().len(), 2);
    assert_eq!(stage.tasks()[0].state.status(), TaskStatus::BackingOff);
    stage.is_told(issue, "/cloud-code cancel");
    stage.becomes(issue, "done");
    stage.holds();
}

#[test]
fn tokens_without_a_price_are_estimated_and_said_to_be() {
    let stage = cast::stage_with(Setup::default());
    let issue = stage.is_asked("Counting is broken. TELL-NO-PRICE");
    stage.becomes(issue, "in-review");
    let status = stage.status(issue);
    // 1,200 tokens in and 300 out, at 3 and 15 dollars for a million.
    assert!(status.contains("$0.008100, estimated, 1,200 tokens in, 300 tokens out"), "{status}");
    stage.holds();
}

#[test]
fn another_cli_takes_over_when_the_provider_must_be_waited_for_too_long() {
    let stage = cast::stage_with(Setup {
        project: "fallback_cli: tinker\nretries: {attempts: 3, first_wait: 1s, longest_wait: 1s}",
        ..Setup::default()
    });
    let issue = stage.is_asked("Counting is broken. LIMIT-LONG");
    stage.becomes(issue, "in-review");
    assert_eq!(stage.calls().len(), 2, "{:?}", stage.calls());
    assert!(stage.calls()[1].starts_with("tinker"), "{:?}", stage.calls());
    let tasks = stage.tasks();
    assert_eq!(tasks.len(), 2);
    assert!(tasks[1].task.handoff.is_some());
    assert_eq!(tasks[1].task.plan.fallback_cli, None, "and there is no way back");
    assert_eq!(stage.github.pull_requests(SHOP).len(), 1);
    stage.holds();
}
