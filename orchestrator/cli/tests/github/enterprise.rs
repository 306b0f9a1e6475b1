//! An Enterprise Server: its API below `/api/v3`, and a certificate that only the company's own authority vouches for.

use crate::stage::{SHOP, Setup, Stage};

fn stage() -> Stage {
    Stage::set(Setup { enterprise: true, ..Setup::default() })
}

#[test]
fn a_comment_becomes_a_pull_request_there_too() {
    let mut stage = stage();
    stage.serves();
    assert!(stage.github.web_url().starts_with("https://"));
    let alice = stage.user("alice");
    let issue = alice.opens_issue(SHOP, "Count once more", "Counting is broken.");
    let comment = alice.comments_on(SHOP, issue, "/cloud-code run");
    stage.becomes(issue, "in-review");
    stage.is_done_once(issue, comment);
    stage.holds();
}

#[test]
fn an_authority_that_the_machine_does_not_know_is_named_by_doctor() {
    let stage = stage();
    let output = stage.command(&["doctor"]).env_remove("SSL_CERT_FILE").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("its certificate is of an authority that this machine does not know"), "{said}");
    assert!(said.contains("SSL_CERT_FILE"), "the fix is named: {said}");
    let known = stage.command(&["doctor"]).output().unwrap();
    let said = String::from_utf8_lossy(&known.stdout).into_owned();
    assert!(!said.contains("certificate"), "{said}");
}
