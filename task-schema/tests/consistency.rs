//! What does not fit between the two files, as a person reads it.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking, helpers included")]

use std::fmt::Write as _;

use cloud_code_task_schema::{Reporting, Tasking, findings, parse_reporting, parse_tasking};
use insta::assert_snapshot;
use jiff::Timestamp;

/// Two tasks, the second going on from the first; the first has ended and the second runs. Everything fits at [`NOW`].
const TASKING: &str = r"
version: 1
generation: 3
updated_at: 2026-11-20T10:00:00Z
workspace: acme/shop#42
cli: claude-code
tasks:
  - {id: plan, status: assigned, title: Plan, description: Plan it, branch: cloud-code/issue-42, base: main}
  - {id: fix, status: assigned, title: Fix, description: Fix it, branch: cloud-code/issue-42, base: main,
     continues: plan, limits: {timeout: 30m}}
";
const REPORTING: &str = r"
version: 1
observed_generation: 3
updated_at: 2026-11-20T10:19:00Z
heartbeat_at: 2026-11-20T10:20:00Z
agent: {version: 0.1.0, instance: 5f0c, cli: claude-code, started_at: 2026-11-20T10:00:01Z}
status: working
failure: null
tasks:
  fix: {status: in_progress, attempt: 1, started_at: 2026-11-20T10:10:00Z, finished_at: null, failure: null}
  plan: {status: completed, attempt: 1, started_at: 2026-11-20T10:00:02Z, finished_at: 2026-11-20T10:05:00Z,
         questions: [], failure: null}
";
const NOW: &str = "2026-11-20T10:20:05Z";

const FIX: &str =
    "{status: in_progress, attempt: 1, started_at: 2026-11-20T10:10:00Z, finished_at: null, failure: null}";
const PLAN_ENDED: &str =
    "status: completed, attempt: 1, started_at: 2026-11-20T10:00:02Z, finished_at: 2026-11-20T10:05:00Z";

/// Replaces text that must be there, so that a case never passes because it changed nothing.
fn change(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from:?} is not in {text}");
        text.replace(from, to)
    })
}

fn tasking(changes: &[(&str, &str)]) -> Tasking {
    parse_tasking("tasking.yaml", &change(TASKING, changes)).unwrap()
}

fn reporting(changes: &[(&str, &str)]) -> Reporting {
    parse_reporting("reporting.yaml", &change(REPORTING, changes)).unwrap()
}

fn said(tasking: Option<&Tasking>, reporting: Option<&Reporting>, now: &str) -> String {
    let now: Timestamp = now.parse().unwrap();
    findings(tasking, reporting, now).iter().fold(String::new(), |mut text, found| {
        writeln!(text, "{:?} {:?} {}: {}", found.severity, found.kind, found.key, found.message).unwrap();
        text
    })
}

/// What is said of the pair with these changes to the report.
fn of_report(changes: &[(&str, &str)]) -> String {
    said(Some(&tasking(&[])), Some(&reporting(changes)), NOW)
}

fn at(now: &str) -> String {
    said(Some(&tasking(&[])), Some(&reporting(&[])), now)
}

#[test]
fn a_pair_that_fits_has_no_findings() {
    assert_eq!(at(NOW), "");
    assert_eq!(said(None, None, NOW), "");
}

#[test]
fn a_working_agent_is_stale_after_three_missed_heartbeats() {
    assert_eq!(at("2026-11-20T10:20:30Z"), "");
    assert_snapshot!(at("2026-11-20T10:20:31Z"), @"Error Stale reporting.heartbeat_at: the last heartbeat is 31s old, a working agent writes one every 10s; it may have ended");
    // An agent that cannot read a new tasking.yaml still works on what it has.
    assert_snapshot!(said(
        Some(&tasking(&[])),
        Some(&reporting(&[
            ("status: working\nfailure: null", "status: error\nfailure: {kind: invalid_tasking, message: x}"),
        ])),
        "2026-11-20T10:22:00Z",
    ), @"Error Stale reporting.heartbeat_at: the last heartbeat is 2m old, a working agent writes one every 10s; it may have ended");
}

#[test]
fn an_idle_agent_is_stale_after_three_minutes() {
    let idle = reporting(&[("status: working", "status: idle"), (FIX, &format!("{{{PLAN_ENDED}}}"))]);
    assert_eq!(said(Some(&tasking(&[])), Some(&idle), "2026-11-20T10:23:00Z"), "");
    assert_snapshot!(said(Some(&tasking(&[])), Some(&idle), "2026-11-20T10:23:01Z"), @"Warning Stale reporting.heartbeat_at: the last heartbeat is 3m1s old, an idle agent writes one every 1m; it may have ended");
    assert_snapshot!(said(Some(&tasking(&[])), Some(&idle), "2026-11-24T10:23:01Z"), @"Warning Stale reporting.heartbeat_at: the last heartbeat is 4d3m old, an idle agent writes one every 1m; it may have ended");
}

#[test]
fn a_heartbeat_in_the_future_is_a_contradiction_but_for_a_step_of_the_clock() {
    assert_eq!(at("2026-11-20T10:19:55Z"), "");
    assert_snapshot!(at("2026-11-20T10:17:00Z"), @"Error Contradictory reporting.heartbeat_at: the last heartbeat lies 3m in the future; compare the clocks");
}

#[test]
fn a_generation_not_observed_in_time_is_late() {
    let newer = |at| tasking(&[("generation: 3", "generation: 5"), ("2026-11-20T10:00:00Z", at)]);
    assert_eq!(said(Some(&newer("2026-11-20T10:19:50Z")), Some(&reporting(&[])), NOW), "");
    assert_snapshot!(said(Some(&newer("2026-11-20T10:19:49Z")), Some(&reporting(&[])), NOW), @"Warning Late reporting.observed_generation: generation 5 was written 16s ago, the agent is still at 3");
}

#[test]
fn a_generation_nobody_wrote_is_a_contradiction() {
    assert_snapshot!(of_report(&[("observed_generation: 3", "observed_generation: 4")]), @"Error Contradictory reporting.observed_generation: the agent has seen generation 4, but tasking.yaml is at 3");
}

#[test]
fn an_agent_that_never_reported_is_late() {
    assert_eq!(said(Some(&tasking(&[])), None, "2026-11-20T10:01:00Z"), "");
    assert_snapshot!(said(Some(&tasking(&[])), None, "2026-11-20T10:01:01Z"), @"Warning Late reporting: tasking.yaml is 1m1s old and no agent has reported yet");
}

#[test]
fn a_report_without_a_tasking_answers_nothing() {
    assert_snapshot!(said(None, Some(&reporting(&[])), NOW), @"Error Contradictory reporting.observed_generation: the report answers generation 3, but there is no tasking.yaml");
}

#[test]
fn a_task_past_its_timeout_is_late() {
    let report = |beat| reporting(&[("2026-11-20T10:20:00Z", beat)]);
    let fits = said(Some(&tasking(&[])), Some(&report("2026-11-20T10:40:30Z")), "2026-11-20T10:40:30Z");
    assert_eq!(fits, "");
    let late = said(Some(&tasking(&[])), Some(&report("2026-11-20T10:40:31Z")), "2026-11-20T10:40:31Z");
    assert_snapshot!(late, @"Error Late reporting.tasks.fix.started_at: the task has run for 30m31s, its limit is 30m");
}

#[test]
fn a_task_that_tasking_does_not_have_is_a_contradiction() {
    assert_snapshot!(of_report(&[("  plan:", "  plot:")]), @"
    Error Contradictory reporting.tasks.plot: the report names a task that tasking.yaml does not have; its list only ever grows
    Error Contradictory tasking.tasks[1].continues: task fix was begun, but plan, which it continues, never ended
    ");
}

#[test]
fn an_end_without_a_time_and_a_time_without_an_end_are_contradictions() {
    assert_snapshot!(of_report(&[("finished_at: 2026-11-20T10:05:00Z", "finished_at: null")]), @"Error Contradictory reporting.tasks.plan.finished_at: the status is completed, but has no time of its end");
    assert_snapshot!(of_report(&[("finished_at: null", "finished_at: 2026-11-20T10:15:00Z")]), @"Error Contradictory reporting.tasks.fix.finished_at: the status is in progress, but has a time of its end");
    assert_snapshot!(of_report(&[("finished_at: 2026-11-20T10:05:00Z", "finished_at: 2026-11-20T09:05:00Z")]), @"Error Contradictory reporting.tasks.plan.finished_at: the task ended before it started");
    assert_snapshot!(of_report(&[("finished_at: 2026-11-20T10:05:00Z", "finished_at: 2026-11-20T12:05:00Z")]), @"Error Contradictory reporting.tasks.plan.finished_at: the task ended in the future; compare the clocks");
}

#[test]
fn another_cli_is_a_contradiction_unless_a_hand_over_is_under_way() {
    let codex = [("cli: claude-code", "cli: codex")];
    assert_snapshot!(of_report(&codex), @"Error Contradictory reporting.agent.cli: tasking.yaml asks for claude-code, the agent drives codex");
    let newer =
        tasking(&[("generation: 3", "generation: 4"), ("2026-11-20T10:00:00Z", "2026-11-20T10:20:00Z")]);
    assert_snapshot!(said(Some(&newer), Some(&reporting(&codex)), NOW), @"Warning Contradictory reporting.agent.cli: tasking.yaml asks for claude-code, the agent drives codex");
}

#[test]
fn a_failure_stands_exactly_where_something_failed() {
    let failure = "failure: {kind: crashed, message: x}";
    let plan = |status: &str, failure: &str| {
        let tail = format!("questions: [], {failure}");
        of_report(&[
            ("status: completed", &format!("status: {status}")),
            ("questions: [], failure: null", &tail),
        ])
    };
    assert_snapshot!(plan("completed", failure), @"Error Contradictory reporting.tasks.plan.failure: the status is completed, but has a failure (crashed)");
    assert_snapshot!(plan("cancelled", failure), @"Error Contradictory reporting.tasks.plan.failure: the status is cancelled, but has a failure (crashed)");
    assert_snapshot!(plan("failed", "failure: null"), @"Error Contradictory reporting.tasks.plan.failure: the status is failed, but no failure says why");
    assert_snapshot!(plan("timed_out", "failure: null"), @"Error Contradictory reporting.tasks.plan.failure: the status is timed out, but no failure says why");
    assert_snapshot!(plan("blocked", "failure: null"), @"Error Contradictory reporting.tasks.plan.questions: the status is blocked, but asks nothing and no failure says why");
    for fits in ["failed", "timed_out", "blocked"] {
        assert_eq!(plan(fits, failure), "");
    }
    assert_snapshot!(of_report(&[(FIX, &FIX.replace("failure: null", failure))]), @"Error Contradictory reporting.tasks.fix.failure: the status is in progress, but has a failure (crashed)");
}

#[test]
fn a_failure_of_the_agent_goes_with_status_error() {
    assert_snapshot!(of_report(&[("status: working", "status: error")]), @"Error Contradictory reporting.failure: the status is error, but no failure says why");
    assert_snapshot!(of_report(&[("\nfailure: null", "\nfailure: {kind: invalid_tasking, message: x}")]), @"Error Contradictory reporting.failure: a failure (invalid_tasking) is set, but the status is not error");
}

#[test]
fn the_agents_status_goes_with_its_tasks() {
    assert_snapshot!(of_report(&[(FIX, "{status: received, attempt: 1}")]), @"Warning Contradictory reporting.status: the agent says it works, but no task is in progress");
    assert_snapshot!(of_report(&[("status: working", "status: idle")]), @"Warning Contradictory reporting.status: the agent says it is idle, but task fix is in progress");
    let both = "status: verifying, attempt: 1, started_at: 2026-11-20T10:00:02Z";
    assert_snapshot!(of_report(&[(PLAN_ENDED, both)]), @"
    Error Contradictory reporting.tasks: tasks fix and plan are in progress at once; an agent runs one at a time
    Error Contradictory tasking.tasks[1].continues: task fix was begun, but plan, which it continues, never ended
    ");
}

#[test]
fn a_continuation_may_wait_for_what_it_continues_but_not_begin() {
    let waits = [(FIX, "{status: received, attempt: 1}"), (PLAN_ENDED, FIX.trim_matches(['{', '}']))];
    // Two `failure` keys would not parse: the plan's own goes.
    let waits = change(&change(REPORTING, &[(",\n         questions: [], failure: null", "")]), &waits);
    let waits = parse_reporting("reporting.yaml", &waits).unwrap();
    assert_eq!(said(Some(&tasking(&[])), Some(&waits), NOW), "");

    let absent = change(REPORTING, &[("  plan:", "  fox:")]);
    let absent = parse_reporting("reporting.yaml", &absent).unwrap();
    assert_snapshot!(said(Some(&tasking(&[])), Some(&absent), NOW), @"
    Error Contradictory reporting.tasks.fox: the report names a task that tasking.yaml does not have; its list only ever grows
    Error Contradictory tasking.tasks[1].continues: task fix was begun, but plan, which it continues, never ended
    ");
}

#[test]
fn no_sentence_ends_with_a_period() {
    let broken = reporting(&[
        ("observed_generation: 3", "observed_generation: 9"),
        ("cli: claude-code", "cli: codex"),
        ("status: completed", "status: failed"),
        ("2026-11-20T10:05:00Z", "2026-11-20T09:05:00Z"),
        ("status: working", "status: idle"),
    ]);
    let now: Timestamp = "2026-11-20T13:00:00Z".parse().unwrap();
    let found = findings(Some(&tasking(&[])), Some(&broken), now);
    assert_eq!(found.len(), 7, "{found:#?}");
    assert!(found.iter().all(|one| !one.message.ends_with('.')));
}
