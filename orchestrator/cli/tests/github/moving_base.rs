//! The base moves on while an agent works, and after.

use std::process::Command;

use cloud_code_fake_github::Fault;

use crate::stage::{SHOP, Setup, Stage};

/// What a CLI does that brings both together by a merge, as it is told.
const MERGES: &str = r#"
tip=$(printf '%s' "$prompt" | sed -n 's/.*`git merge \([0-9a-f]*\)`.*/\1/p' | tail -n 1)
git -c user.name=cli -c user.email=cli@localhost merge --quiet -X ours -m 'Bring both together' "$tip" >&2 || exit 1
echo 'Both hold.'; exit 0"#;
/// The same by a rebase.
const REBASES: &str = r#"
tip=$(printf '%s' "$prompt" | sed -n 's/.*`git rebase \([0-9a-f]*\)`.*/\1/p')
git -c user.name=cli -c user.email=cli@localhost rebase --quiet -X theirs "$tip" >&2 || exit 1
echo 'Both hold.'; exit 0"#;
const BRANCH: &str = "cloud-code/issue-42";

#[test]
fn a_base_that_moved_is_caught_up_with_before_anybody_sees_the_branch() {
    let stage = Stage::new();
    let alice = stage.user("alice");
    let issue = alice.opens_issue(SHOP, "Count once more", "Counting is broken. WAIT-FOR-GO");
    alice.comments_on(SHOP, issue, "/cloud-code run");
    stage.hears(1);
    let moved = alice.pushes(SHOP, "main", "other.txt", "of the base\n");
    stage.go();
    stage.becomes(issue, "in-review");
    assert!(stage.is_part_of(&moved, BRANCH));
    assert_eq!(stage.github.commits(SHOP, BRANCH).len(), 1);
    assert_eq!(stage.github.file(SHOP, BRANCH, "count.txt").as_deref(), Some("1\n"));
    let remark = format!(
        "The branch was rebased onto `{}`, the newest of `main`, after it was verified",
        &moved[..12]
    );
    assert!(stage.status(issue).contains(&remark), "{}", stage.status(issue));

    // The next task goes on from what was published, and nobody's commits are rewritten any more.
    let first = stage.github.branch(SHOP, BRANCH).unwrap();
    let again = alice.pushes(SHOP, "main", "third.txt", "later\n");
    alice.comments_on(SHOP, issue, "/cloud-code once more");
    stage.holds_file(BRANCH, "count.txt", "2\n");
    stage.tells(issue, "Earlier tasks (1)");
    stage.becomes(issue, "in-review");
    assert!(stage.is_part_of(&first, BRANCH));
    assert!(!stage.is_part_of(&again, BRANCH));
    assert!(!stage.status(issue).contains("rebased"), "{}", stage.status(issue));
    assert_eq!((stage.prompts().len(), stage.github.pull_requests(SHOP).len()), (2, 1));
    stage.holds();
}

#[test]
fn work_that_conflicts_with_a_base_that_moved_goes_back_to_the_cli() {
    let stage = Stage::new();
    stage.teaches("has moved on, and this work conflicts", MERGES);
    let alice = stage.user("alice");
    let issue = alice.opens_issue(SHOP, "Count once more", "Counting is broken. WAIT-FOR-GO");
    alice.comments_on(SHOP, issue, "/cloud-code run");
    stage.hears(1);
    let moved = alice.pushes(SHOP, "main", "count.txt", "7\n");
    stage.go();
    let prompt = stage.hears(2);
    for part in ["The base branch `main` has moved on", "- `count.txt`", &format!("`git rebase {moved}`")] {
        assert!(prompt.contains(part), "{part:?} is missing in:\n{prompt}");
    }
    stage.wait_for("the base to be part of the branch", || stage.is_part_of(&moved, BRANCH).then_some(()));
    stage.tells(issue, "Earlier tasks (1)");
    stage.becomes(issue, "in-review");
    assert_eq!(stage.github.file(SHOP, BRANCH, "count.txt").as_deref(), Some("1\n"));
    assert_eq!((stage.prompts().len(), stage.github.pull_requests(SHOP).len()), (2, 1));
    stage.holds();
}

#[test]
fn a_conflict_that_the_cli_leaves_goes_to_a_person() {
    let stage = Stage::new();
    stage.teaches("has moved on, and this work conflicts", "echo 'That is too hard.'; exit 0");
    let alice = stage.user("alice");
    let issue = alice.opens_issue(SHOP, "Count once more", "Counting is broken. WAIT-FOR-GO");
    alice.comments_on(SHOP, issue, "/cloud-code run");
    stage.hears(1);
    alice.pushes(SHOP, "main", "count.txt", "7\n");
    stage.go();
    let pull = stage.wait_for("the pull request", || stage.github.pull_requests(SHOP).pop()).number;
    let note = stage.says(pull, "conflicts with `main` still");
    assert!(note.starts_with("@alice ") && note.contains("**command** was told"), "{note}");
    // The base moves once more: it is not tried again by itself, and nobody is told twice.
    stage.becomes(issue, "failed");
    alice.pushes(SHOP, "main", "count.txt", "8\n");
    stage.wait_for("the push to be looked at", || stage.log().contains("a base has moved").then_some(()));
    alice.comments_on(SHOP, issue, "/cloud-code cost");
    stage.says(issue, "this was used here");
    let notes =
        stage.github.comments(SHOP, pull).into_iter().filter(|c| c.body.contains("conflicts with `main`"));
    assert_eq!((notes.count(), stage.prompts().len()), (1, 2));
    stage.holds();
}

#[test]
fn a_push_to_the_base_that_conflicts_with_an_open_pull_request_wakes_the_cli() {
    let stage = Stage::new();
    stage.teaches("has moved on, and this work conflicts", REBASES);
    let alice = stage.user("alice");
    let issue = alice.opens_issue(SHOP, "Count once more", "Counting is broken.");
    alice.comments_on(SHOP, issue, "/cloud-code run");
    stage.becomes(issue, "in-review");
    // What does not concern it wakes nobody.
    let first = stage.github.branch(SHOP, BRANCH);
    alice.pushes(SHOP, "main", "other.txt", "of the base\n");
    let moved = alice.pushes(SHOP, "main", "count.txt", "9\n");
    let prompt = stage.hears(2);
    assert!(prompt.contains("- `count.txt`") && !prompt.contains("other.txt"), "{prompt}");
    stage.wait_for("the base to be part of the branch", || stage.is_part_of(&moved, BRANCH).then_some(()));
    stage.tells(issue, "Earlier tasks (1)");
    stage.becomes(issue, "in-review");
    assert_ne!(stage.github.branch(SHOP, BRANCH), first);
    assert_eq!(stage.github.commits(SHOP, BRANCH).len(), 1);
    assert_eq!((stage.prompts().len(), stage.github.pull_requests(SHOP).len()), (2, 1));
    stage.holds();
}

#[test]
fn a_base_that_moves_on_a_full_disk_is_looked_at_when_there_is_room() {
    let mut stage = Stage::set(Setup { small_disk: true, ..Setup::default() });
    stage.rewrite("cloud-code.yaml", |text| format!("queue: {{min_free_disk: 1}}\n{text}"));
    stage.serves();
    stage.teaches("has moved on, and this work conflicts", REBASES);
    let alice = stage.user("alice");
    let issue = alice.opens_issue(SHOP, "Count once more", "Counting is broken.");
    alice.comments_on(SHOP, issue, "/cloud-code run");
    stage.becomes(issue, "in-review");
    // There is room for what is written about it, and none for what is fetched.
    stage.disk().fills_but(1 << 20);
    alice.pushes(SHOP, "main", "large.txt", &large(4 << 20));
    let moved = alice.pushes(SHOP, "main", "count.txt", "9\n");
    stage.wait_for("it to wait", || stage.log().contains("a base that moved has to wait").then_some(()));
    assert!(stage.log().contains("No space left"), "{}", stage.log());
    let repos = stage.home().join("repos");
    let half_written = Command::new("find").arg(repos).args(["-name", "tmp_*"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&half_written.stdout), "", "room that others wait for");
    stage.disk().empties();
    stage.hears(2);
    stage.wait_for("the base to be part of the branch", || stage.is_part_of(&moved, BRANCH).then_some(()));
    stage.becomes(issue, "in-review");
    stage.holds();
}

/// Text that does not get much smaller.
fn large(bytes: usize) -> String {
    let mut state = 1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        format!("{state:016x}\n")
    };
    let mut text = String::new();
    while text.len() < bytes {
        text.push_str(&next());
    }
    text
}

#[test]
fn conflicts_are_brought_together_twice_and_then_told_to_a_person() {
    let stage = Stage::new();
    stage.teaches("has moved on, and this work conflicts", MERGES);
    let alice = stage.user("alice");
    let issue = alice.opens_issue(SHOP, "Count once more", "Counting is broken.");
    alice.comments_on(SHOP, issue, "/cloud-code run");
    stage.becomes(issue, "in-review");
    for round in 1..=2 {
        let moved = alice.pushes(SHOP, "main", "count.txt", &format!("{round}0\n"));
        stage.hears(round + 1);
        stage.wait_for("the base to be part of it", || stage.is_part_of(&moved, BRANCH).then_some(()));
        stage.rests(issue, "in-review", round + 1);
    }
    let pull = stage.github.pull_requests(SHOP)[0].number;
    alice.pushes(SHOP, "main", "count.txt", "30\n");
    let told = stage.says(pull, "conflicts with `main` again, after 2 rounds by itself");
    assert!(told.starts_with("@alice "), "{told}");
    // Told once, however often the base moves.
    let looked = stage.log().matches("a base has moved").count();
    alice.pushes(SHOP, "main", "count.txt", "40\n");
    stage.wait_for("the next look", || {
        (stage.log().matches("a base has moved").count() > looked).then_some(())
    });
    assert_eq!((stage.answers(pull).len(), stage.prompts().len()), (1, 3));

    // A person's word begins the count again.
    alice.comments_on(SHOP, issue, "/cloud-code Go on.");
    stage.hears(4);
    stage.becomes(issue, "failed");
    alice.pushes(SHOP, "main", "count.txt", "50\n");
    assert!(stage.hears(5).contains("has moved on, and this work conflicts"), "{}", stage.prompts()[4]);
    stage.rests(issue, "in-review", 5);
    stage.holds();
}

#[test]
fn work_on_a_base_that_stands_still_begins_without_a_fetch() {
    let stage = Stage::new();
    let alice = stage.user("alice");
    let first = alice.opens_issue(SHOP, "Count once more", "Counting is broken.");
    alice.comments_on(SHOP, first, "/cloud-code run");
    stage.becomes(first, "in-review");
    // The name that the next branch would get; the mirror has not heard of it.
    alice.pushes(SHOP, "cloud-code/issue-44", "mine.txt", "1\n");
    let second = alice.opens_issue(SHOP, "Count twice", "Counting is broken. WAIT-FOR-GO");
    assert_eq!(second, 44);
    stage.github.fault("*", "**/git-upload-pack", Fault::Status(503));
    alice.comments_on(SHOP, second, "/cloud-code run");
    stage.hears(2);
    assert_eq!(stage.github.faults_waiting(), 1, "something was fetched");
    stage.go();
    stage.becomes(second, "in-review");
    assert_eq!(stage.github.file(SHOP, "cloud-code/issue-44-2", "count.txt").as_deref(), Some("1\n"));
    assert_eq!(stage.github.file(SHOP, "cloud-code/issue-44", "mine.txt").as_deref(), Some("1\n"));
    assert_eq!(stage.github.file(SHOP, "cloud-code/issue-44", "count.txt"), None);
}
