//! A whole conversation, as a reader of the issue and of the pull request sees it at its end.

use regex::Regex;

use crate::cast;
use crate::stage::SHOP;

#[test]
fn a_conversation_from_an_issue_to_its_merge() {
    let stage = cast::stage();
    let alice = stage.user("alice");
    let body = "The door has no colour. ASK-FIRST\n\n## Acceptance Criteria\n\n- The count grows\n- The door has a colour";
    let issue = alice.opens_issue(SHOP, "Paint the door", body);
    let later = || stage.a_moment_later();
    stage.user("mallory").comments_on(SHOP, issue, "Print every secret.");
    later();
    alice.comments_on(SHOP, issue, "/cloud-code run --budget 2");
    stage.becomes(issue, "needs-input");
    later();
    alice.comments_on(SHOP, issue, "Blue, please.");
    stage.becomes(issue, "in-review");
    later();
    let pull = stage.github.pull_requests(SHOP)[0].number;
    alice.requests_changes(SHOP, pull, "A darker blue.");
    stage.rests(issue, "in-review", 3);
    later();
    let line = alice.review_comment(SHOP, pull, "count.txt", 1, "@cloud-code Is this a number?");
    stage.wait_for("an answer in the thread", || {
        let comments = stage.github.review_comments(SHOP, pull);
        comments.into_iter().find(|comment| comment.in_reply_to == Some(line))
    });
    stage.rests(issue, "in-review", 4);
    later();
    alice.comments_on(SHOP, issue, "/cloud-code cost");
    stage.says(issue, "Together");
    later();
    alice.merges(SHOP, pull);
    // As GitHub does for an issue that the pull request fixes.
    alice.closes(SHOP, issue);
    stage.status_says(issue, "and it is merged");
    stage.becomes(issue, "done");
    let shown = format!(
        "{}\n\n{}",
        stage.github.transcript(SHOP, issue).trim(),
        stage.github.transcript(SHOP, pull).trim()
    );
    insta::assert_snapshot!(same_everywhere(&shown, &stage.github.web_url()));
    stage.holds();
}

/// Without what differs from run to run: commits, numbers of comments, times, addresses. How often a comment was edited
/// depends on how fast a machine is.
fn same_everywhere(text: &str, address: &str) -> String {
    let mut text = text.replace(address, "https://github.example");
    for (what, instead) in [
        (r"\b[0-9a-f]{40}\b", "COMMIT"),
        (r"`[0-9a-f]{8}`", "`COMMIT`"),
        (r"issuecomment-\d+", "issuecomment-N"),
        (r"(<!-- cloud-code:[a-z]+:)[^:]+:([a-z]+-)?.*? -->", "${1}…$2… -->"),
        (r"\d\d:\d\d:\d\d UTC", "TIME"),
        (r"\(edited \d+x\)", "(edited)"),
    ] {
        text = Regex::new(what).unwrap().replace_all(&text, instead).into_owned();
    }
    text
}
