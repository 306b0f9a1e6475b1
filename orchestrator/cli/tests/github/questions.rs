//! What an agent asks, and who answers.

use crate::cast;
use crate::stage::SHOP;

#[test]
fn a_question_is_asked_in_a_comment_and_answered_by_who_asked_for_the_work() {
    let stage = cast::stage();
    let (alice, bob) = (stage.user("alice"), stage.user("bob"));
    stage.github.set_role(SHOP, "bob", cloud_code_fake_github::Role::Write);
    let issue = alice.opens_issue(SHOP, "Paint the door", "It has no colour. ASK-FIRST");
    stage.a_moment_later();
    alice.comments_on(SHOP, issue, "/cloud-code run");
    let question = stage.says(issue, "asks before it goes on:\n\n> Which colour should it be, red or blue?");
    assert!(question.contains("@alice **scribe** asks"), "{question}");
    stage.becomes(issue, "needs-input");
    assert_eq!(stage.answers(issue).len(), 1);

    // Others may talk about it; it is not their answer, even when they may command.
    stage.a_moment_later();
    bob.comments_on(SHOP, issue, "I would take green.");
    stage.user("mallory").comments_on(SHOP, issue, "Black!");
    stage.a_moment_later();
    alice.comments_on(SHOP, issue, "Blue, please.");
    stage.becomes(issue, "in-review");
    let prompt = stage.prompt(2);
    assert!(prompt.contains("Blue, please."), "{prompt}");
    assert!(
        prompt.contains("bob wrote:\n\nI would take green."),
        "what people with access said is told: {prompt}"
    );
    assert!(!prompt.contains("Black!"), "{prompt}");
    assert_eq!(stage.calls(), ["scribe", "scribe --resume s-scribe"]);

    // The question is answered; what is said now is talk.
    alice.comments_on(SHOP, issue, "Thank you.");
    stage.a_moment_later();
    alice.comments_on(SHOP, issue, "/cloud-code status");
    stage.says(issue, "the last task is done");
    assert_eq!(stage.calls().len(), 2);
    assert_eq!(stage.github.pull_requests(SHOP).len(), 1);
    stage.holds();
}

#[test]
fn somebody_else_answers_with_a_command() {
    let stage = cast::stage();
    stage.github.set_role(SHOP, "bob", cloud_code_fake_github::Role::Write);
    let issue = stage.user("alice").opens_issue(SHOP, "Paint the door", "It has no colour. ASK-FIRST");
    stage.a_moment_later();
    stage.user("alice").comments_on(SHOP, issue, "/cloud-code run");
    stage.becomes(issue, "needs-input");
    stage.a_moment_later();
    stage.user("bob").comments_on(SHOP, issue, "/cloud-code Red.");
    stage.becomes(issue, "in-review");
    assert!(stage.prompt(2).contains("Red."));
    stage.holds();
}

#[test]
fn what_is_asked_of_a_failing_check_goes_to_whoever_asked_for_the_work() {
    let stage = cast::stage();
    let alice = stage.user("alice");
    let issue = alice.opens_issue(SHOP, "Count once more", "Counting is broken.");
    stage.a_moment_later();
    alice.comments_on(SHOP, issue, "/cloud-code run");
    stage.becomes(issue, "in-review");
    let pull = stage.github.pull_requests(SHOP).remove(0);
    stage.rewrite("scribe.sh", |text| {
        text.replace("*ASK-FIRST*)", "*ASK-FIRST*|*'Mend the failing checks'*)")
    });
    stage.user("octocat").sees_check_suite(SHOP, &pull.head_sha, "failure");
    let question = stage.says(pull.number, "asks before it goes on");
    assert!(question.starts_with("@alice **scribe** asks") && !question.contains("octocat"), "{question}");

    stage.becomes(issue, "needs-input");
    stage.a_moment_later();
    alice.comments_on(SHOP, pull.number, "Blue, please.");
    stage.rests(issue, "in-review", 3);
    assert!(stage.prompt(3).contains("Blue, please."), "{}", stage.prompt(3));
    stage.holds();
}
