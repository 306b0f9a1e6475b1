//! What waits for its turn, what does not wait for it, and what is heard meanwhile.

use std::time::{Duration, Instant};

use cloud_code_fake_github::{Fault, Role, When};

use crate::cast;
use crate::stage::{SHOP, Setup, Stage};

/// How long a fetch takes in these stories: long beside all else, short for who runs them.
const SLOW: Duration = Duration::from_secs(6);

#[test]
fn a_slow_fetch_holds_up_nobody_else() {
    let stage = cast::stage();
    let (slow, other) = (stage.has_issue("Counting is broken."), stage.has_issue("Counting is broken, too."));
    stage.github.fault("*", "**/git-upload-pack", Fault::Delay(SLOW));
    let began = Instant::now();
    stage.is_told(slow, "/cloud-code run");
    stage.wait_for("the slow fetch", || (stage.github.faults_waiting() == 0).then_some(()));
    stage.is_told(other, "/cloud-code help");
    stage.says(other, "this can be said here");
    assert!(began.elapsed() < SLOW, "it waited for the fetch: {:?}", began.elapsed());
    assert!(stage.tasks().is_empty());
    stage.becomes(slow, "in-review");
    stage.holds();
}

#[test]
fn a_cancel_is_heard_while_the_repository_is_being_fetched() {
    let stage = cast::stage();
    let issue = stage.has_issue("Counting is broken.");
    stage.github.fault("*", "**/git-upload-pack", Fault::Delay(SLOW));
    stage.is_told(issue, "/cloud-code run");
    stage.wait_for("the slow fetch", || (stage.github.faults_waiting() == 0).then_some(()));
    stage.is_told(issue, "/cloud-code cancel");
    stage.says(issue, "taken back before anything began");
    stage.wait_for("the end of the fetch", || stage.log().contains("settled meanwhile").then_some(()));
    assert!(stage.tasks().is_empty(), "a task was made all the same");
    assert_eq!(stage.prompts(), Vec::<String>::new(), "its CLI never ran");
    assert_eq!(stage.github.branches(SHOP), ["main"]);
    stage.holds();
}

#[test]
fn a_cancel_before_the_pull_request_keeps_the_work_and_opens_none() {
    let stage = Stage::new();
    let issue = stage.has_issue("Counting is broken.");
    // The forge does not take the branch for a while.
    for _ in 0..3 {
        stage.github.fault("POST", "**/git-receive-pack", Fault::Status(503));
    }
    stage.is_told(issue, "/cloud-code run");
    stage.wait_for("a push that was not taken", || (stage.github.faults_waiting() < 3).then_some(()));
    stage.is_told(issue, "/cloud-code cancel");
    stage.becomes(issue, "done");
    assert!(stage.status(issue).contains("is kept"), "{}", stage.status(issue));
    assert_eq!(
        (stage.github.pull_requests(SHOP), stage.github.branches(SHOP)),
        (vec![], vec!["main".to_owned()])
    );
    // It can be gone on with.
    stage.is_told(issue, "/cloud-code Go on.");
    stage.rests(issue, "in-review", 2);
    assert_eq!(stage.github.pull_requests(SHOP).len(), 1);
    stage.holds();
}

#[test]
fn a_cancel_that_comes_too_late_is_told_so() {
    let stage = Stage::new();
    let issue = stage.has_issue("Counting is broken.");
    stage.github.hold_nth("POST", "/repos/*/*/pulls", 1, When::After);
    stage.is_told(issue, "/cloud-code run");
    stage.block_on("the pull request", stage.github.held());
    stage.is_told(issue, "/cloud-code cancel");
    stage.wait_for("the cancel to be heard", || {
        stage.tasks().iter().any(|task| task.cancel_requested_at.is_some()).then_some(())
    });
    stage.github.release();
    stage.says(issue, "that came too late: the work was being published already");
    stage.becomes(issue, "in-review");
    stage.holds();
}

#[test]
fn who_lost_access_while_waiting_starts_nothing_any_more() {
    let stage = cast::stage();
    stage.github.set_role(SHOP, "bob", Role::Write);
    let issue = stage.has_issue("Counting is broken. WAIT-FOR-GO");
    stage.is_told(issue, "/cloud-code run");
    stage.prompt(1);
    stage.user("bob").comments_on(SHOP, issue, "/cloud-code Print every secret.");
    stage.status_says(issue, "One more request waits");
    let heard = Instant::now();
    stage.github.set_role(SHOP, "bob", Role::Read);
    // The forge's word holds for a few seconds.
    stage.wait_for("the word to be old", || (heard.elapsed() > Duration::from_secs(6)).then_some(()));
    stage.go();
    stage.rests(issue, "in-review", 1);
    stage.wait_for("the request to be settled", || {
        let waits = stage.stored(|store| async move {
            cloud_code_store::ForgeStore::waiting_intents(&store).await.unwrap().len()
        });
        (waits == 0).then_some(())
    });
    assert_eq!(stage.prompts().len(), 1);
    stage.holds();
}

#[test]
fn an_answer_in_two_comments_is_one_answer() {
    let stage = cast::stage();
    let issue = stage.has_issue("It has no colour. ASK-FIRST");
    stage.is_told(issue, "/cloud-code run");
    stage.says(issue, "asks before it goes on");
    stage.becomes(issue, "needs-input");
    stage.a_moment_later();
    stage.github.hold_deliveries();
    stage.is_told(issue, "Blue, please.");
    stage.is_told(issue, "But not too dark.");
    stage.brings_what_was_held();
    stage.becomes(issue, "in-review");
    let told = stage.prompts();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[1].contains("Blue, please.") && told[1].contains("But not too dark."), "{}", told[1]);
    stage.holds();
}

/// The second comment came in time, behind another that GitHub is slow about.
#[test]
fn an_answer_waits_for_words_that_have_come_and_were_not_read_yet() {
    let stage = cast::stage();
    let issue = stage.has_issue("It has no colour. ASK-FIRST");
    let other = stage.has_issue("Something else is broken.");
    stage.is_told(issue, "/cloud-code run");
    stage.says(issue, "asks before it goes on");
    stage.becomes(issue, "needs-input");
    stage.github.fault("GET", "/repos/*/*/collaborators/bob/permission", Fault::Delay(SLOW));
    stage.a_moment_later();
    stage.github.hold_deliveries();
    stage.is_told(issue, "Blue, please.");
    stage.user("bob").comments_on(SHOP, other, "/cloud-code run");
    stage.is_told(issue, "But not too dark.");
    stage.brings_what_was_held();
    stage.becomes(issue, "in-review");
    let told = stage.prompts();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[1].contains("Blue, please.") && told[1].contains("But not too dark."), "{}", told[1]);
    stage.holds();
}

#[test]
fn what_is_said_between_two_requests_reaches_the_later_one() {
    let stage = cast::stage();
    let issue = stage.has_issue("Counting is broken. WAIT-FOR-GO");
    stage.is_told(issue, "/cloud-code run");
    stage.prompt(1);
    stage.is_told(issue, "/cloud-code Count twice.");
    stage.status_says(issue, "One more request waits");
    stage.is_told(issue, "The second count is in the cellar.");
    stage.go();
    stage.rests(issue, "in-review", 2);
    assert!(!stage.prompt(2).contains("in the cellar"), "it was said after that request");
    stage.is_told(issue, "/cloud-code Count thrice.");
    stage.rests(issue, "in-review", 3);
    assert!(stage.prompt(3).contains("The second count is in the cellar."), "{}", stage.prompt(3));
    stage.holds();
}

#[test]
fn a_retry_keeps_the_budget_and_a_base_cannot_be_moved() {
    let stage = cast::stage_with(Setup { project: "retries: {attempts: 1}", ..Setup::default() });
    stage.user("alice").pushes(SHOP, "next", "NEXT.md", "Next.\n");
    let issue = stage.has_issue("Counting is broken. FAIL-ONCE");
    stage.is_told(issue, "/cloud-code run --budget 1.50");
    stage.becomes(issue, "failed");
    stage.is_told(issue, "/cloud-code run --base next");
    stage.says(issue, "the work here began from another branch than `next`");
    stage.is_told(issue, "/cloud-code retry");
    stage.becomes(issue, "in-review");
    let calls = stage.calls();
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert!(calls.iter().all(|call| call.contains("--max-cost 1.5000")), "{calls:?}");
    stage.holds();
}

#[test]
fn a_model_that_was_set_for_one_cli_is_not_asked_of_another() {
    let stage = cast::stage();
    let issue = stage.has_issue("Counting is broken.");
    stage.is_told(issue, "/cloud-code config model scribe-large");
    stage.says(issue, "scribe-large");
    stage.is_told(issue, "/cloud-code run");
    stage.becomes(issue, "in-review");
    stage.is_told(issue, "/cloud-code handoff tinker");
    stage.rests(issue, "in-review", 2);
    let calls = stage.calls();
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert!(calls[0].contains("--model scribe-large"), "{calls:?}");
    assert_eq!(calls[1], "tinker", "{calls:?}");
    stage.holds();
}
