//! The last gate: what a project has us merge, and who says yes to it.

use cloud_code_fake_github::{Fault, MergeRules, PullView, Request, Role};
use cloud_code_fault_points::Point;

use crate::stage::{SHOP, Setup, Stage};

const BRANCH: &str = "cloud-code/issue-42";
const WAITS: &str = "waits for a yes to be merged";

/// A stage where work is done, its pull request is open, and no check has begun.
fn done(project: &'static str) -> (Stage, u64) {
    let mut stage = Stage::set(Setup { project, ..Setup::default() });
    stage.serves();
    let issue = work(&stage);
    (stage, issue)
}

fn work(stage: &Stage) -> u64 {
    let alice = stage.user("alice");
    let issue = alice.opens_issue(SHOP, "Count once more", "Counting is broken.");
    alice.comments_on(SHOP, issue, "/cloud-code run");
    stage.becomes(issue, "in-review");
    issue
}

fn pull(stage: &Stage) -> PullView {
    let pulls = stage.github.pull_requests(SHOP);
    assert_eq!(pulls.len(), 1, "{pulls:#?}");
    pulls.into_iter().next().unwrap()
}

/// The checks of the newest commit end so; `pending` begins them.
fn checks(stage: &Stage, conclusion: &str) {
    stage.user("alice").sees_check_suite(SHOP, &pull(stage).head_sha, conclusion);
}

fn says(stage: &Stage, login: &str, number: u64, words: &str) {
    stage.a_moment_later();
    stage.user(login).comments_on(SHOP, number, words);
}

/// What the forge was asked to merge.
fn asked(stage: &Stage) -> Vec<Request> {
    let all = stage.github.mutations().into_iter();
    all.filter(|request| request.method == "PUT" && request.path.ends_with("/merge")).collect()
}

/// The issue has ended as after a merge by hand, and the status says that we merged.
#[track_caller]
fn is_merged(stage: &Stage, issue: u64) {
    stage.becomes(issue, "done");
    stage.status_says(issue, "cloud-code merged it");
    assert!(pull(stage).merged);
    assert!(!stage.github.is_open(SHOP, issue), "its pull request says that it fixes the issue");
    let tree = stage.home().join(format!("workspaces/shop/{issue}/tree"));
    stage.wait_for("the workspace to go", || (!tree.exists()).then_some(()));
    stage.is_quiet();
    stage.holds();
}

#[test]
fn a_pull_request_waits_for_a_yes_and_then_exactly_its_commit_is_merged() {
    let (stage, issue) = done("publish: {merge: squash}");
    stage.status_says(issue, "It has no checks yet");
    checks(&stage, "success");
    let status = stage.status_says(issue, WAITS);
    let head = pull(&stage).head_sha;
    assert!(status.contains(&format!("The yes is for `{}` alone", &head[..12])), "{status}");
    assert!(stage.processes().is_empty(), "waiting costs nothing");

    // Whoever may not push says nothing that counts, and is not answered.
    says(&stage, "mallory", issue, "/cloud-code approve");
    says(&stage, "rita", pull(&stage).number, "/cloud-code approve");
    says(&stage, "alice", issue, "/cloud-code status");
    stage.wait_for("the answer", || (stage.answers(issue).len() == 1).then_some(()));
    assert_eq!((pull(&stage).merged, asked(&stage).len()), (false, 0));

    says(&stage, "alice", pull(&stage).number, "/cloud-code approve");
    is_merged(&stage, issue);
    let asked = asked(&stage);
    assert_eq!(asked.len(), 1, "{asked:#?}");
    assert_eq!(
        (&asked[0].body["sha"], &asked[0].body["merge_method"]),
        (&head.as_str().into(), &"squash".into())
    );
    assert_eq!(stage.github.file(SHOP, "main", "count.txt").as_deref(), Some("1\n"));
    assert_eq!(stage.github.history(SHOP, "main").len(), 2, "one commit holds the work");
    assert_eq!(stage.github.branch(SHOP, BRANCH), Some(head.clone()), "nothing is deleted");
    let status = stage.status(issue);
    assert!(status.contains(&format!("alice said yes to `{}`", &head[..12])), "{status}");
    assert_eq!(stage.answers(issue).len(), 1, "nothing more is said");

    let told = stage.command(&["show", "42"]).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains(" yes of alice to ") && told.contains(" merged by cloud-code at "), "{told}");
}

#[test]
fn a_new_commit_needs_a_new_yes() {
    let (stage, issue) = done("publish: {merge: merge}");
    checks(&stage, "pending");
    stage.status_says(issue, "`test` has not ended yet");
    says(&stage, "alice", issue, "/cloud-code approve");
    let first = pull(&stage).head_sha;
    stage.status_says(issue, &format!("alice said yes to merging `{}`", &first[..12]));

    stage.a_moment_later();
    let second = stage.user("alice").pushes(SHOP, BRANCH, "more.txt", "more\n");
    checks(&stage, "success");
    let status = stage.status_says(issue, WAITS);
    assert!(status.contains("The yes of alice was for an earlier commit"), "{status}");
    assert_eq!(asked(&stage).len(), 0);

    says(&stage, "alice", issue, "/cloud-code approve");
    is_merged(&stage, issue);
    assert_eq!(asked(&stage).len(), 1);
    assert!(stage.is_part_of(&second, "main"));
}

#[test]
fn a_yes_that_was_said_before_a_commit_came_does_not_count() {
    let (mut stage, issue) = done("publish: {merge: merge}");
    checks(&stage, "success");
    stage.status_says(issue, WAITS);
    // All of it happens while nobody listens: the word comes after the commit, and was said before it.
    stage.stops();
    says(&stage, "alice", issue, "/cloud-code approve");
    stage.a_moment_later();
    let second = stage.user("alice").pushes(SHOP, BRANCH, "more.txt", "more\n");
    stage.user("alice").sees_check_suite(SHOP, &second, "success");
    stage.serves();
    stage.brings_all_again();
    let answer = stage.says(issue, "Look at it, then say it again");
    assert!(answer.contains(&second[..12]), "{answer}");
    stage.status_says(issue, WAITS);
    assert_eq!((pull(&stage).merged, asked(&stage).len()), (false, 0));
    stage.holds();
}

#[test]
fn a_yes_is_kept_through_a_kill_until_the_checks_are_green() {
    let (mut stage, issue) = done("publish: {merge: rebase}\ntriggers: {failing_check_rounds: 0}");
    checks(&stage, "pending");
    stage.status_says(issue, "`test` has not ended yet");
    says(&stage, "alice", issue, "/cloud-code approve");
    stage.status_says(issue, "alice said yes to merging");
    stage.is_killed();
    stage.serves();
    checks(&stage, "failure");
    stage.status_says(issue, "as long as checks fail: `test`");
    assert_eq!(asked(&stage).len(), 0);
    checks(&stage, "success");
    is_merged(&stage, issue);
    assert_eq!(asked(&stage).len(), 1);
    assert_eq!(stage.github.file(SHOP, "main", "count.txt").as_deref(), Some("1\n"));
}

#[test]
fn a_no_leaves_it_open_and_a_reason_goes_back_to_the_cli() {
    let (stage, issue) = done("publish: {merge: merge}");
    checks(&stage, "success");
    stage.status_says(issue, WAITS);
    says(&stage, "alice", issue, "/cloud-code reject");
    stage.status_says(issue, "Somebody said no to merging it as it is, so it stays open");
    stage.becomes(issue, "in-review");
    assert!(pull(&stage).open);

    says(&stage, "alice", issue, "/cloud-code reject Count twice.");
    let prompt = stage.prompt(2);
    assert!(prompt.contains("This was not accepted: Count twice."), "{prompt}");
    stage.rests(issue, "in-review", 2);
    checks(&stage, "success");
    stage.status_says(issue, WAITS);
    assert_eq!(asked(&stage).len(), 0);
    says(&stage, "alice", issue, "/cloud-code approve");
    is_merged(&stage, issue);
    assert_eq!(stage.github.file(SHOP, "main", "count.txt").as_deref(), Some("2\n"));
}

#[test]
fn a_yes_that_comes_after_a_later_no_counts_for_nothing() {
    let (stage, issue) = done("publish: {merge: merge}");
    checks(&stage, "success");
    stage.status_says(issue, WAITS);
    stage.github.hold_deliveries();
    says(&stage, "alice", issue, "/cloud-code approve");
    stage.github.send_deliveries();
    says(&stage, "alice", issue, "/cloud-code reject");
    stage.status_says(issue, "Somebody said no to merging it as it is, so it stays open");
    stage.brings_what_was_held();
    stage.says(issue, "something else was said later, and that counts");
    stage.is_quiet();
    assert!(pull(&stage).open);
    assert_eq!(asked(&stage).len(), 0);
    says(&stage, "alice", issue, "/cloud-code approve");
    is_merged(&stage, issue);
}

#[test]
fn a_no_that_was_said_while_nobody_listened_is_heard_before_the_merge() {
    let (mut stage, issue) = done("publish: {merge: merge}");
    checks(&stage, "pending");
    says(&stage, "alice", issue, "/cloud-code approve");
    stage.status_says(issue, "alice said yes to merging");
    stage.is_quiet();
    stage.stops();
    checks(&stage, "success");
    says(&stage, "alice", issue, "/cloud-code reject");
    stage.serves();
    stage.status_says(issue, "Somebody said no to merging it as it is, so it stays open");
    assert!(pull(&stage).open);
    assert_eq!(asked(&stage).len(), 0);
    stage.holds();
}

#[test]
fn without_the_gate_it_merges_by_itself_when_nothing_is_in_its_way() {
    let (stage, issue) = done(
        "publish: {merge: merge, draft: true}\ngates: {merge: false}\ntriggers: {changes_requested: false}",
    );
    let alice = stage.user("alice");
    let number = pull(&stage).number;
    stage.status_says(issue, "as long as it is a draft");
    alice.requests_changes(SHOP, number, "Name it better.");
    checks(&stage, "success");
    alice.readies(SHOP, number);
    stage.status_says(issue, "as long as `alice` asks for changes");
    says(&stage, "alice", issue, "/cloud-code approve");
    stage.says(issue, "nothing here waits for a yes: #43 is merged by itself");
    assert_eq!(asked(&stage).len(), 0);
    alice.approves(SHOP, number);
    is_merged(&stage, issue);
    assert!(stage.status(issue).contains("everything was as the project wants it"));
}

#[test]
fn work_without_any_check_is_merged_when_none_has_come() {
    let (stage, issue) = done("publish: {merge: merge}\ngates: {merge: false}");
    stage.status_says(issue, "It has no checks yet");
    is_merged(&stage, issue);
}

#[test]
fn a_rule_of_the_base_is_told_and_tried_again_only_when_something_changed() {
    let (stage, issue) = done("publish: {merge: merge}");
    stage.github.set_role(SHOP, "bob", Role::Write);
    stage.github.rule_merges(SHOP, MergeRules { approvals: 1, ..MergeRules::default() });
    let number = pull(&stage).number;
    checks(&stage, "success");
    stage.status_says(issue, WAITS);
    says(&stage, "alice", issue, "/cloud-code approve");
    let told = stage.says(number, "is not merged. GitHub does not merge it.");
    assert!(
        told.starts_with("@alice ") && told.contains("At least 1 approving review is required"),
        "{told}"
    );
    stage.status_says(issue, "At least 1 approving review is required");
    // A remark changes nothing about it.
    stage.user("bob").reviews(SHOP, number, "I will look at it.");
    says(&stage, "alice", issue, "/cloud-code status");
    stage.wait_for("the answer", || (stage.answers(issue).len() == 1).then_some(()));
    assert!(pull(&stage).open);

    stage.user("bob").approves(SHOP, number);
    is_merged(&stage, issue);
    assert_eq!(stage.answers(number).len(), 1, "the refusal is told once");
}

#[test]
fn a_way_of_merging_that_is_not_allowed_waits_for_a_person() {
    let (stage, issue) = done("publish: {merge: merge}");
    stage.github.rule_merges(
        SHOP,
        MergeRules { methods: vec!["squash".to_owned(), "rebase".to_owned()], ..MergeRules::default() },
    );
    checks(&stage, "success");
    stage.status_says(issue, WAITS);
    says(&stage, "alice", issue, "/cloud-code approve");
    let status = stage.status_says(issue, "`publish.merge`");
    assert!(status.contains("Merge commits are not allowed on this repository"), "{status}");
    assert_eq!(asked(&stage).len(), 1);
    stage.github.rule_merges(SHOP, MergeRules::default());
    says(&stage, "alice", issue, "/cloud-code approve");
    is_merged(&stage, issue);
    assert_eq!(asked(&stage).len(), 2);
}

#[test]
fn a_base_with_a_merge_queue_is_left_to_people() {
    let (stage, issue) = done("publish: {merge: merge}");
    stage.github.rule_merges(SHOP, MergeRules { queue: true, ..MergeRules::default() });
    checks(&stage, "success");
    stage.status_says(issue, WAITS);
    says(&stage, "alice", issue, "/cloud-code approve");
    stage.status_says(issue, "Its base has a merge queue");
    assert!(pull(&stage).open);
    // By hand it ends as ever, and is not claimed.
    stage.github.rule_merges(SHOP, MergeRules::default());
    stage.user("alice").merges(SHOP, pull(&stage).number);
    stage.becomes(issue, "done");
    let status = stage.status_says(issue, "and it is merged.");
    assert!(!status.contains("cloud-code merged it"), "{status}");
    stage.holds();
}

#[test]
fn an_answer_that_was_lost_after_the_merge_is_seen_as_merged() {
    let (stage, issue) = done("publish: {merge: merge}");
    checks(&stage, "success");
    stage.status_says(issue, WAITS);
    stage.github.fault("PUT", "/repos/**", Fault::EffectThenCut);
    says(&stage, "alice", issue, "/cloud-code approve");
    is_merged(&stage, issue);
    assert_eq!((asked(&stage).len(), stage.github.faults_waiting()), (1, 0));
    assert_eq!(stage.answers(pull(&stage).number), Vec::<String>::new());
}

#[test]
fn a_forge_that_fails_before_the_merge_is_asked_again() {
    let (stage, issue) = done("publish: {merge: merge}");
    checks(&stage, "success");
    stage.status_says(issue, WAITS);
    stage.github.fault("PUT", "/repos/**", Fault::Status(502));
    says(&stage, "alice", issue, "/cloud-code approve");
    is_merged(&stage, issue);
    assert_eq!((asked(&stage).len(), stage.github.faults_waiting()), (2, 0));
    assert_eq!(stage.answers(pull(&stage).number), Vec::<String>::new());
}

/// Everybody said yes, and the process is held just before it merges.
fn held_before_the_merge() -> (Stage, u64) {
    let mut stage = Stage::set(Setup { project: "publish: {merge: merge}", ..Setup::default() });
    stage.arms(Point::MergeDecided);
    stage.serves();
    let issue = work(&stage);
    checks(&stage, "success");
    stage.status_says(issue, WAITS);
    says(&stage, "alice", issue, "/cloud-code approve");
    stage.is_held();
    (stage, issue)
}

#[test]
fn a_commit_that_comes_at_the_last_moment_is_not_merged() {
    let (stage, issue) = held_before_the_merge();
    stage.a_moment_later();
    let late = stage.user("alice").pushes(SHOP, BRANCH, "late.txt", "late\n");
    stage.goes_on();
    let status = stage.status_says(issue, "The yes of alice was for an earlier commit");
    assert!(status.contains(&late[..12]), "{status}");
    assert!(pull(&stage).open);
    assert_eq!(stage.github.file(SHOP, "main", "late.txt"), None);
    stage.holds();
}

#[test]
fn a_no_that_comes_at_the_last_moment_is_heard() {
    let (stage, issue) = held_before_the_merge();
    says(&stage, "alice", issue, "/cloud-code reject");
    stage.wait_for("the no", || stage.log().contains("said no to merging").then_some(()));
    stage.goes_on();
    stage.status_says(issue, "Somebody said no to merging it as it is, so it stays open");
    assert!(pull(&stage).open);
    assert_eq!(asked(&stage).len(), 0);
    stage.holds();
}

#[test]
fn a_kill_between_the_yes_and_the_merge_merges_once() {
    let (mut stage, issue) = held_before_the_merge();
    stage.is_killed();
    stage.serves();
    is_merged(&stage, issue);
    assert_eq!(asked(&stage).len(), 1);
}

#[test]
fn the_command_line_says_yes_too() {
    let (stage, issue) = done("publish: {merge: merge}");
    checks(&stage, "success");
    stage.status_says(issue, WAITS);
    let told = stage.command(&["approve", "42"]).output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("yes to merging commit") && told.contains("`cloud-code serve` merges"), "{told}");
    is_merged(&stage, issue);
    assert!(stage.status(issue).contains("the command line said yes to"), "{}", stage.status(issue));
}

#[test]
fn only_what_goes_into_the_projects_base_is_merged() {
    let mut stage = Stage::set(Setup { project: "publish: {merge: merge}", ..Setup::default() });
    let alice = stage.user("alice");
    alice.pushes(SHOP, "release", "release.txt", "1\n");
    stage.serves();
    let issue = alice.opens_issue(SHOP, "Count once more", "Counting is broken.");
    alice.comments_on(SHOP, issue, "/cloud-code run --base release");
    stage.becomes(issue, "in-review");
    checks(&stage, "success");
    stage.status_says(issue, "goes to `release` and not to the project's base");
    says(&stage, "alice", issue, "/cloud-code approve");
    stage.says(issue, "merge it by hand");
    assert_eq!((pull(&stage).merged, asked(&stage).len()), (false, 0));
    stage.holds();
}

#[test]
fn a_project_that_says_nothing_merges_nothing() {
    let (stage, issue) = done("");
    checks(&stage, "success");
    says(&stage, "alice", issue, "/cloud-code approve");
    stage.says(issue, "nothing here waits for a yes.");
    assert!(!stage.status(issue).contains("merged"), "{}", stage.status(issue));
    assert_eq!((pull(&stage).merged, asked(&stage).len()), (false, 0));
    stage.holds();
}
