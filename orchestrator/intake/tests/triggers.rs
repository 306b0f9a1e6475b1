//! From what a forge tells to what starts.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use cloud_code_intake::{
    Conclusion, Happening, Head, Notice, RepositoryRef, Rules, Said, SaidAt, Sender, SenderKind, Thing,
    Trigger, Verdict, Why, is_part_of_review, other_keys, read, takes_its_lines, trigger,
};
use cloud_code_model::{Actor, Ask, Command, Intent, Place, Subject};
use jiff::Timestamp;
use serde_json::{Value, json};

const ALICE: u64 = 7;
const BOT: u64 = 100;
const OTHER_BOT: u64 = 101;
const LISTED_BOT: u64 = 102;
const APP: u64 = 5;
const REPOSITORY: u64 = 9;
const SHA: &str = "1111111111111111111111111111111111111111";

fn rules() -> Rules {
    Rules {
        prefix: "/cloud-code".to_owned(),
        aliases: vec!["/cc".to_owned()],
        bot: Some(Actor { id: BOT, login: "cloud-code[bot]".to_owned() }),
        account: None,
        app_id: Some(APP),
        listed_bots: BTreeSet::from([LISTED_BOT]),
        ready_labels: vec!["Ready for agent".to_owned()],
        on_assignment: true,
        on_mention: true,
        on_changes_requested: true,
        on_failing_checks: true,
        branch_prefix: "cloud-code/".to_owned(),
        clis: vec!["codex".parse().unwrap()],
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn sender(id: u64, kind: SenderKind) -> Sender {
    Sender { actor: Actor { id, login: format!("u{id}") }, kind }
}

fn alice() -> Sender {
    sender(ALICE, SenderKind::User)
}

fn repository() -> RepositoryRef {
    RepositoryRef {
        id: REPOSITORY,
        name: "acme/shop".parse().unwrap(),
        default_branch: Some("main".to_owned()),
        archived: false,
        private: false,
        fork: false,
    }
}

fn notice(happening: Happening) -> Notice {
    Notice {
        installation: None,
        repository: Some(repository()),
        sender: Some(alice()),
        via_app: None,
        happening,
    }
}

fn head(branch: &str, repository: Option<u64>) -> Head {
    Head { branch: branch.to_owned(), sha: SHA.to_owned(), repository }
}

fn said(at_: SaidAt, text: &str) -> Said {
    Said {
        at: at_,
        number: 42,
        subject: Subject::PullRequest,
        author: Some(alice()),
        opened_by: None,
        text: text.to_owned(),
        created_at: at(1000),
        changed_at: None,
        head: Some(head("cloud-code/issue-42", Some(REPOSITORY))),
    }
}

fn comment(text: &str) -> Said {
    said(SaidAt::Comment { id: 1 }, text)
}

fn review(verdict: Verdict, text: &str) -> Said {
    said(SaidAt::Review { id: 3, verdict }, text)
}

fn line(text: &str) -> Said {
    let place = SaidAt::Line {
        id: 4,
        thread: 2,
        review: Some(3),
        path: "src/cart.rs".to_owned(),
        line: Some(12),
        diff_hunk: "@@ -1 +1 @@".to_owned(),
    };
    said(place, text)
}

fn started(notice: &Notice) -> Intent {
    match trigger(notice, &rules()) {
        Trigger::Intent(intent) => *intent,
        other => panic!("{notice:?} led to {other:?}"),
    }
}

fn nothing(notice: &Notice) -> Why {
    match trigger(notice, &rules()) {
        Trigger::Nothing(why) => why,
        other => panic!("{notice:?} led to {other:?}"),
    }
}

fn run(text: &str) -> Ask {
    let command = Command::Run { cli: None, model: None, base: None, budget: None, text: text.to_owned() };
    Ask::Command { command }
}

#[test]
fn a_command_starts_where_it_is_written() {
    let intent = started(&notice(Happening::Said(comment("/cloud-code fix it"))));
    let expected = Intent {
        key: "comment-1".to_owned(),
        number: 42,
        subject: Subject::PullRequest,
        actor: Actor { id: ALICE, login: "u7".to_owned() },
        at: at(1000),
        place: Place::Comment { id: 1 },
        ask: run("fix it"),
        head_sha: None,
    };
    assert_eq!(intent, expected);
    for (said, key, place) in [
        (said(SaidAt::Opening, "/cloud-code fix it"), "opening-42", Place::Issue),
        (review(Verdict::Commented, "/cloud-code fix it"), "review-3", Place::Review { id: 3 }),
        (review(Verdict::Commented, "/cloud-code fix it"), "review-3", Place::Review { id: 3 }),
    ] {
        let intent = started(&notice(Happening::Said(said)));
        assert_eq!(intent, Intent { key: key.to_owned(), place, ..expected.clone() });
    }
}

#[test]
fn a_mistake_is_an_intent_that_is_answered() {
    let intent = started(&notice(Happening::Said(comment("/cloud-code cancle"))));
    assert_eq!(
        intent.ask,
        Ask::Mistake {
            message: "`cancle` is not a command, did you mean `cancel`?".to_owned(),
            hint: Some(
                "for the command, write `/cloud-code cancel`; for work, write `/cloud-code run <text>`"
                    .to_owned()
            ),
        }
    );
}

#[test]
fn talk_among_people_is_a_fact() {
    for said in
        [comment("looks good"), review(Verdict::Approved, ""), line("why?"), said(SaidAt::Opening, "")]
    {
        let notice = notice(Happening::Said(said));
        assert_eq!(trigger(&notice, &rules()), Trigger::Fact(Box::new(notice.happening.clone())));
    }
}

#[test]
fn a_mention_is_heard_where_it_is_said() {
    for text in [
        "@cloud-code fix it",
        "could @Cloud-Code fix it?",
        "- fix it, @cloud-code.",
        "**@cloud-code** fix it",
    ] {
        let intent = started(&notice(Happening::Said(comment(text))));
        assert!(matches!(intent.ask, Ask::Command { command: Command::Run { .. } }), "{text}");
    }
    for text in [
        "> @cloud-code fix it",
        "`@cloud-code` fix it",
        "```\n@cloud-code\n```",
        "a@cloud-code.example",
        "@cloud-code/team",
        "@cloud-coder",
        "<!-- @cloud-code -->",
        "[@cloud-code](b)",
        "# @cloud-code",
        "\\`@cloud-code`x`",
        "@cloud\u{200B}-code",
    ] {
        let notice = notice(Happening::Said(comment(text)));
        assert!(matches!(trigger(&notice, &rules()), Trigger::Fact(_)), "{text}");
    }
    let deaf = Rules { on_mention: false, ..rules() };
    for text in ["@cloud-code fix it", "could @cloud-code fix it?"] {
        let notice = notice(Happening::Said(comment(text)));
        assert!(matches!(trigger(&notice, &deaf), Trigger::Fact(_)), "{text}");
    }
}

#[test]
fn a_review_of_our_pull_request_is_a_task() {
    let review = review(Verdict::ChangesRequested, "Please split it <!-- unseen -->");
    let intent = started(&notice(Happening::Said(review.clone())));
    assert_eq!(
        (intent.key.as_str(), intent.ask),
        ("review-3", Ask::Changes { text: "Please split it".to_owned() })
    );
    for head in [
        None,
        Some(head("feature", Some(REPOSITORY))),
        Some(head("cloud-code/issue-42", Some(8))),
        Some(head("cloud-code/issue-42", None)),
    ] {
        let notice = notice(Happening::Said(Said { head: head.clone(), ..review.clone() }));
        assert!(matches!(trigger(&notice, &rules()), Trigger::Fact(_)), "{head:?}");
    }
    let deaf = Rules { on_changes_requested: false, ..rules() };
    assert!(matches!(trigger(&notice(Happening::Said(review)), &deaf), Trigger::Fact(_)));
}

#[test]
fn a_word_on_a_line_is_about_that_line() {
    for text in ["/cloud-code rename this", "@cloud-code rename this"] {
        let intent = started(&notice(Happening::Said(line(text))));
        assert_eq!(intent.place, Place::ReviewComment { id: 4, thread: 2 });
        let expected = Ask::Line {
            text: "rename this".to_owned(),
            path: "src/cart.rs".to_owned(),
            line: Some(12),
            diff_hunk: "@@ -1 +1 @@".to_owned(),
        };
        assert_eq!((intent.key.as_str(), intent.ask), ("line-4", expected));
    }
    let intent = started(&notice(Happening::Said(line("rename this, @cloud-code"))));
    assert!(matches!(intent.ask, Ask::Line { text, .. } if text == "rename this, @cloud-code"));
    let intent = started(&notice(Happening::Said(line("/cloud-code status"))));
    assert_eq!(intent.ask, Ask::Command { command: Command::Status });
    let elsewhere = Said { head: Some(head("feature", Some(REPOSITORY))), ..line("/cloud-code rename this") };
    assert_eq!(started(&notice(Happening::Said(elsewhere))).ask, run("rename this"));
}

#[test]
fn what_we_and_other_programs_do_starts_nothing() {
    let thing = Thing { number: 42, subject: Subject::Issue, opened_by: None, updated_at: at(1000) };
    let asking = [
        Happening::Said(comment("/cloud-code run")),
        Happening::Said(review(Verdict::ChangesRequested, "")),
        Happening::Labeled { thing: thing.clone(), label: "ready for agent".to_owned() },
        Happening::Assigned { thing, assignee: Actor { id: BOT, login: "renamed[bot]".to_owned() } },
    ];
    for happening in asking {
        let by = |id, kind| {
            let who = sender(id, kind);
            let happening = match happening.clone() {
                Happening::Said(said) => Happening::Said(Said { author: Some(who.clone()), ..said }),
                other => other,
            };
            Notice { sender: Some(who), ..notice(happening) }
        };
        assert_eq!(started(&by(ALICE, SenderKind::User)).actor.id, ALICE);
        assert_eq!(started(&by(LISTED_BOT, SenderKind::Bot)).actor.id, LISTED_BOT);
        assert_eq!(nothing(&by(OTHER_BOT, SenderKind::Bot)), Why::Bot);
        assert_eq!(nothing(&by(BOT, SenderKind::Bot)), Why::OurOwn);
        assert_eq!(nothing(&by(BOT, SenderKind::User)), Why::OurOwn);
        assert_eq!(nothing(&by(ALICE, SenderKind::Other)), Why::Nobody);
        let mut through = by(ALICE, SenderKind::User);
        through.via_app = Some(APP);
        assert_eq!(nothing(&through), Why::ThroughOurApp);
        through.via_app = Some(APP + 1);
        assert_eq!(started(&through).actor.id, ALICE);
        through.sender = None;
        assert_eq!(nothing(&through), Why::Nobody);
    }
}

#[test]
fn only_the_author_speaks_and_only_once() {
    let marked = comment("/cloud-code run\n<!-- cloud-code:status:a:b -->");
    assert_eq!(nothing(&notice(Happening::Said(marked))), Why::OurMarker);
    let ghost = Said { author: None, ..comment("/cloud-code run") };
    assert_eq!(nothing(&notice(Happening::Said(ghost))), Why::Nobody);
    let moved = Said { author: Some(sender(8, SenderKind::User)), ..comment("/cloud-code run") };
    assert_eq!(nothing(&notice(Happening::Said(moved))), Why::NotTheAuthor);
    let changed = Said { changed_at: Some(at(1001)), ..comment("/cloud-code run") };
    assert_eq!(nothing(&notice(Happening::Said(changed))), Why::Changed);
    for fact in [
        Happening::CommentEdited { id: 1, number: 42 },
        Happening::CommentDeleted { id: 1, number: 42 },
        Happening::LineEdited { id: 1, number: 42 },
        Happening::ReviewEdited { id: 1, number: 42 },
        Happening::RepositoryArchived,
        Happening::Ping,
    ] {
        assert_eq!(trigger(&notice(fact.clone()), &rules()), Trigger::Fact(Box::new(fact)));
    }
}

#[test]
fn labels_and_assignments_ask_for_a_run() {
    let thing = Thing { number: 42, subject: Subject::Issue, opened_by: None, updated_at: at(1000) };
    let labeled = |label: &str| notice(Happening::Labeled { thing: thing.clone(), label: label.to_owned() });
    let intent = started(&labeled("ready for Agent"));
    assert_eq!((intent.key.as_str(), intent.ask), ("label-42-ready-for-agent-1000", run("")));
    assert_eq!(nothing(&labeled("bug")), Why::AsksNothing);
    assert_eq!(nothing(&labeled("cloud-code: queued")), Why::AsksNothing);

    let assigned = |id| {
        notice(Happening::Assigned {
            thing: thing.clone(),
            assignee: Actor { id, login: "cloud-code[bot]".to_owned() },
        })
    };
    assert_eq!(started(&assigned(BOT)).key, "assigned-42-1000");
    assert_eq!(nothing(&assigned(ALICE)), Why::AsksNothing);
    let deaf = Rules { on_assignment: false, ..rules() };
    assert_eq!(trigger(&assigned(BOT), &deaf), Trigger::Nothing(Why::AsksNothing));

    // With a person's token: others assign that person, who takes an issue for themselves to do it themselves.
    let of_a_person = |id| {
        let account = Some(Actor { id, login: "person".to_owned() });
        Rules { bot: None, app_id: None, account, ..rules() }
    };
    assert!(matches!(trigger(&assigned(8), &of_a_person(8)), Trigger::Intent(_)));
    assert_eq!(trigger(&assigned(ALICE), &of_a_person(ALICE)), Trigger::Nothing(Why::AsksNothing));
}

#[test]
fn a_label_is_one_request_however_its_time_is_told() {
    let keys = other_keys("label-42-ready-for-agent-1000");
    assert_eq!((keys.len(), keys.first().unwrap().as_str()), (10, "label-42-ready-for-agent-995"));
    assert!(keys.contains(&"label-42-ready-for-agent-1005".to_owned()));
    assert!(other_keys("assigned-42-1000").contains(&"assigned-42-999".to_owned()));
    for unique in ["comment-1000", "review-3", "line-4", "opening-42", "checks-1000"] {
        assert_eq!(other_keys(unique), [] as [String; 0]);
    }
}

#[test]
fn a_review_takes_a_command_to_work_and_its_lines_along() {
    let asked = |text: &str| started(&notice(Happening::Said(review(Verdict::ChangesRequested, text)))).ask;
    let changes = |text: &str| Ask::Changes { text: text.to_owned() };
    assert_eq!(
        asked("This is slow.\n\n/cloud-code make it quick"),
        changes("This is slow.\n\nmake it quick")
    );
    assert_eq!(asked("/cloud-code run"), changes(""));
    // What says more than to work is obeyed as it stands.
    assert!(matches!(asked("/cloud-code run codex"), Ask::Command { .. }));
    assert!(matches!(asked("/cloud-code ask Why?"), Ask::Command { command: Command::Ask { .. } }));
    for (text, takes) in [
        ("", true),
        ("Slow.", true),
        ("/cloud-code run", true),
        ("/cloud-code run codex", false),
        ("/cloud-code ask Why?", false),
    ] {
        assert_eq!(takes_its_lines(text, &rules()), takes, "{text}");
    }
    for (text, part) in [
        ("@cloud-code quicker", Some(3)),
        ("/cloud-code quicker", Some(3)),
        ("/cloud-code run quicker", Some(3)),
        ("/cloud-code run codex", None),
        ("/cloud-code ask Why?", None),
    ] {
        let said = line(text);
        let ask = started(&notice(Happening::Said(said.clone()))).ask;
        assert_eq!(is_part_of_review(&said, &ask), part, "{text}");
    }
}

#[test]
fn a_failing_check_of_our_branch_is_repaired() {
    let checks = |app_id, branch: Option<&str>, conclusion, pulls: &[u64]| {
        let completed = Happening::ChecksCompleted {
            app_id,
            app: "Builder".to_owned(),
            head_sha: SHA.to_owned(),
            head_branch: branch.map(ToOwned::to_owned),
            conclusion,
            pulls: pulls.to_vec(),
            completed_at: at(1000),
        };
        // Whoever pushed is the sender, and that is us.
        Notice { sender: Some(sender(BOT, SenderKind::Bot)), ..notice(completed) }
    };
    let ours = Some("cloud-code/issue-42");
    for conclusion in [Conclusion::Failure, Conclusion::TimedOut, Conclusion::StartupFailure] {
        let intent = started(&checks(APP + 1, ours, conclusion, &[50]));
        assert_eq!((intent.key, intent.number), (format!("checks-{SHA}"), 50));
        assert_eq!(intent.ask, Ask::ChecksFailed { names: vec!["Builder".to_owned()] });
    }
    assert_eq!(nothing(&checks(APP, ours, Conclusion::Failure, &[50])), Why::OurOwn);
    for fact in [
        checks(APP + 1, ours, Conclusion::Success, &[50]),
        checks(APP + 1, ours, Conclusion::Other, &[50]),
        checks(APP + 1, ours, Conclusion::Failure, &[]),
        checks(APP + 1, Some("main"), Conclusion::Failure, &[50]),
        checks(APP + 1, None, Conclusion::Failure, &[50]),
    ] {
        assert!(matches!(trigger(&fact, &rules()), Trigger::Fact(_)), "{fact:?}");
    }
}

fn user(id: u64) -> Value {
    json!({"id": id, "login": format!("u{id}"), "type": "User"})
}

fn repository_body() -> Value {
    json!({"id": REPOSITORY, "full_name": "acme/shop", "default_branch": "main"})
}

fn from_webhook(event: &str, body: &Value) -> Notice {
    read(event, &serde_json::to_vec(body).unwrap()).unwrap()
}

#[test]
fn a_text_that_was_changed_before_it_was_found_starts_nothing() {
    let changed = Said { changed_at: Some(at(9)), ..comment("/cloud-code run") };
    assert_eq!(nothing(&notice(Happening::Said(changed))), Why::Changed);
}

#[test]
fn an_issue_that_was_moved_here_starts_nothing() {
    let issue = json!({
        "number": 42, "user": user(ALICE), "body": "/cloud-code run",
        "created_at": "2026-01-02T03:04:05Z", "updated_at": "2026-01-03T00:00:00Z",
    });
    let mut body =
        json!({"action": "opened", "issue": &issue, "repository": repository_body(), "sender": user(ALICE)});
    assert_eq!(started(&from_webhook("issues", &body)).key, "opening-42");
    body["changes"] = json!({"old_issue": issue, "old_repository": repository_body()});
    let moved = from_webhook("issues", &body);
    assert_eq!(nothing(&moved), Why::Ignored("the issue was moved here".to_owned()));
}

#[test]
fn a_strange_body_is_an_error_without_its_words() {
    for (event, body) in [
        ("issue_comment", r#"{"action":"created","comment":{"id":"secret-words"}}"#),
        ("issue_comment", r#"{"action":"created"}"#),
        ("issues", "not json"),
        ("push", "{}"),
        ("ping", ""),
    ] {
        let error = read(event, body.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(event) && !error.contains("secret"), "{error}");
    }
    let strange = read("star", br#"{"action":"created"}"#).unwrap();
    assert_eq!(nothing(&strange), Why::Ignored("the event `star` is of no use here".to_owned()));
}
