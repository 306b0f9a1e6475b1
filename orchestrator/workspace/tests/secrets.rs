//! No import publishes a secret: not in a file, a name, a link, a message or an author, and not in a commit in between.

#[cfg(test)]
mod common;

use std::os::unix::fs::symlink;

use cloud_code_workspace::{ImportError, ImportOutcome, ImportPolicy, RefusalReason, SecretKind};
use common::{Agent, House, branch, git, source, write};
use secrecy::SecretString;

#[cfg(test)]
const KNOWN: &str = "velvet-otter-9731";

#[cfg(test)]
fn token() -> String {
    format!("ghs_{}.{}", "123456_eyJhbGci".repeat(9), "tea-AND_biscuits".repeat(9))
}

#[cfg(test)]
fn known() -> [SecretString; 1] {
    [SecretString::from(KNOWN.to_owned())]
}

#[cfg(test)]
fn refused(house: &House, head: &str, secret_patterns: bool) -> (String, String, RefusalReason) {
    let known = known();
    let policy = ImportPolicy { forbidden: &known, secret_patterns, ..ImportPolicy::default() };
    let before = common::digest(house.mirror.path());
    let Err(ImportError::Refused(refusal)) = house.import_with("1", head, None, &policy) else {
        panic!("not refused")
    };
    let said = format!("{refusal} {refusal:?}");
    assert!(!said.contains(KNOWN) && !said.contains("biscuits"), "{said}");
    assert_eq!(common::digest(house.mirror.path()), before);
    (refusal.commit.to_string(), refusal.path, refusal.reason)
}

#[cfg(test)]
fn accepted(house: &House, head: &str, secret_patterns: bool) {
    let known = known();
    let policy = ImportPolicy { forbidden: &known, secret_patterns, ..ImportPolicy::default() };
    let outcome = house.import_with("1", head, None, &policy).unwrap();
    assert!(matches!(outcome, ImportOutcome::Imported(_)));
}

#[cfg(test)]
fn scene() -> (House, Agent) {
    let house = House::new();
    let agent = house.agent("1");
    (house, agent)
}

#[test]
fn a_secret_in_a_file_is_refused_by_kind_and_place() {
    let (house, agent) = scene();
    let head = agent.commit(&[("a/b.txt", &format!("x\ntoken = {}\n", token()))], "Work");
    let found = refused(&house, &head, true);
    assert_eq!(found, (head.clone(), "a/b.txt".to_owned(), RefusalReason::Secret(SecretKind::GitHub)));
    accepted(&house, &head, false);

    // A known value is refused whatever the patterns are, also in a binary file.
    let (house, agent) = scene();
    let head = agent.commit(&[("a.bin", &format!("\0\u{1}{KNOWN}\0"))], "Work");
    let found = refused(&house, &head, false);
    assert_eq!(found, (head, "a.bin".to_owned(), RefusalReason::Secret(SecretKind::Known)));
}

#[test]
fn a_secret_that_a_later_commit_removes_is_refused_too() {
    let (house, agent) = scene();
    let bad = agent.commit(&[("a.txt", KNOWN)], "Oops");
    let head = agent.commit(&[("a.txt", "clean\n")], "Remove it");
    assert_eq!(
        refused(&house, &head, true),
        (bad, "a.txt".to_owned(), RefusalReason::Secret(SecretKind::Known))
    );
}

#[test]
fn names_links_messages_and_authors_are_looked_at() {
    let (house, agent) = scene();
    let head = agent.commit(&[(&format!("docs/{KNOWN}.txt"), "x\n")], "Work");
    let reason = RefusalReason::SecretInName(SecretKind::Known);
    assert_eq!(refused(&house, &head, true), (head, "docs".to_owned(), reason));

    let (house, agent) = scene();
    let head = agent.commit(&[(&format!("{KNOWN}/x.txt"), "x\n")], "Work");
    assert_eq!(refused(&house, &head, true), (head, String::new(), reason));

    let (house, agent) = scene();
    symlink(format!("to-{KNOWN}"), agent.paths.tree.join("link")).unwrap();
    let head = agent.commit(&[], "Work");
    let found = refused(&house, &head, true);
    assert_eq!(found, (head, "link".to_owned(), RefusalReason::Secret(SecretKind::Known)));

    let (house, agent) = scene();
    let head = agent.commit(&[("a.txt", "x\n")], &format!("Work\n\nwith {}", token()));
    let found = refused(&house, &head, true);
    assert_eq!(found, (head, String::new(), RefusalReason::SecretInMessage(SecretKind::GitHub)));

    let (house, agent) = scene();
    write(&agent.paths.tree.join("a.txt"), "x\n");
    agent.git(&["add", "-A"]);
    agent.git(&["commit", "-qm", "Work", &format!("--author={KNOWN} <a@example.org>")]);
    let head = agent.git(&["rev-parse", "HEAD"]);
    let found = refused(&house, &head, true);
    assert_eq!(found, (head, String::new(), RefusalReason::SecretInMessage(SecretKind::Known)));
}

#[test]
fn what_the_source_holds_already_is_not_new() {
    let fixture = format!("line 1\nkey: {}\nline 3\n", token());
    let house = House::with(|dir| {
        let path = source(dir);
        write(&path.join("tests/fixture.txt"), &fixture);
        write(&path.join("tests/other.txt"), format!("{KNOWN}\n"));
        git(&path, &["add", "-A"]);
        git(&path, &["commit", "-qm", "Fixtures"]);
        path
    });
    let agent = house.agent("1");
    agent.git(&["mv", "tests/fixture.txt", "moved.txt"]);
    agent.commit(&[("tests/other.txt", &format!("before\n{KNOWN}\nafter\n"))], "Move and edit");
    let clean = agent.commit(&[("copy/fixture.txt", &fixture)], "Copy");
    let more = agent.commit(&[("moved.txt", &format!("{fixture}{KNOWN}\n"))], "One more");
    let found = refused(&house, &more, true);
    assert_eq!(found, (more, "moved.txt".to_owned(), RefusalReason::Secret(SecretKind::Known)));
    accepted(&house, &clean, true);
    assert!(house.mirror.branch(&branch("cloud-code/1")).unwrap().is_some());
}

#[test]
fn one_large_file_at_many_places_is_looked_at_once() {
    let (house, agent) = scene();
    let zeros = vec![0; 40 << 20];
    let blob = agent.object("blob", &zeros);
    let names: Vec<String> = (0..400).map(|number| format!("f{number:03}")).collect();
    let entries: Vec<(&str, &[u8], &str)> =
        names.iter().map(|name| ("100644", name.as_bytes(), blob.as_str())).collect();
    let folder = agent.tree(&entries);
    // The second commit is looked at first. Looked at each time, its files would be sixteen GB, above the cap.
    let link = agent.commit_with_entry(house.base.as_str(), "160000", b"zz", house.base.as_str());
    let head = agent.commit_with_entry(&link, "40000", b"zeros", &folder);
    assert_eq!(refused(&house, &head, true), (link, "zz".to_owned(), RefusalReason::Gitlink));
}
