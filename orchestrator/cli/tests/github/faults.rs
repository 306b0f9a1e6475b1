//! What goes wrong between us and GitHub. Each ends in one pull request and one status comment.

use std::time::{Duration, Instant};

use cloud_code_fake_github::{Fault, RepoSeed};

use crate::crashes::{asks, has_ended, in_parallel};
use crate::stage::{SHOP, Stage};

/// Every kind of write of one run.
const WRITES: [(&str, &str); 9] = [
    ("POST", "**/reactions"),
    ("POST", "/repos/*/*/issues/*/comments"),
    ("PATCH", "/repos/*/*/issues/comments/*"),
    ("POST", "/repos/*/*/labels"),
    ("POST", "/repos/*/*/issues/*/labels"),
    ("DELETE", "/repos/*/*/issues/*/labels/*"),
    ("POST", "**/git-receive-pack"),
    ("POST", "/repos/*/*/pulls"),
    ("POST", "**/check-runs"),
];

/// Breaks the first write of each kind in the same way, and lets the run end.
#[track_caller]
fn each_write_meets(fault: &Fault) -> Duration {
    let stage = Stage::new();
    for (method, path) in WRITES {
        stage.github.fault(method, path, fault.clone());
    }
    let begun = Instant::now();
    let (issue, comment) = asks(&stage, "WAIT-FOR-GO, then count.");
    // Both phases are told, so that each kind of write has its turn.
    stage.becomes(issue, "working");
    stage.go();
    stage.wait_for("the end", || has_ended(&stage, issue).then_some(()));
    assert_eq!(stage.github.faults_waiting(), 0, "{fault:?}");
    stage.is_done_once(issue, comment);
    stage.holds();
    begun.elapsed()
}

#[test]
fn no_lost_or_refused_write_is_done_twice_or_not_at_all() {
    let faults = [
        Fault::EffectThenStatus(502),
        Fault::EffectThenCut,
        Fault::Truncated,
        Fault::Status(500),
        Fault::Cut,
        Fault::TokenExpired,
    ];
    let took = in_parallel(faults.len(), |job| each_write_meets(&faults[job]));
    for (fault, took) in faults.iter().zip(took) {
        println!("| {fault:?} at each kind of write | ends after {took:?} |");
    }
}

#[test]
fn limits_are_waited_out_at_each_kind_of_write() {
    let faults = [
        Fault::SecondaryLimit { status: 403, retry_after: Some(1) },
        Fault::SecondaryLimit { status: 429, retry_after: Some(1) },
        Fault::PrimaryLimit { reset_in: Duration::from_secs(1) },
    ];
    let took = in_parallel(faults.len(), |job| each_write_meets(&faults[job]));
    for (fault, took) in faults.iter().zip(took) {
        println!("| {fault:?} at each kind of write | ends after {took:?} |");
    }
}

/// git shows no header, so a push that is told of a limit waits the minute that GitHub asks for where it names no time.
#[test]
fn a_limited_push_waits_and_does_not_fail_the_task() {
    let stage = Stage::new();
    let (issue, comment) = asks(&stage, "WAIT-FOR-GO, then count.");
    stage.wait_for("the CLI to run", || (!stage.prompts().is_empty()).then_some(()));
    let limit = Fault::SecondaryLimit { status: 403, retry_after: Some(1) };
    stage.github.fault("GET", "**/info/refs", limit);
    stage.go();
    stage.wait_within(Duration::from_secs(120), "the end", || has_ended(&stage, issue).then_some(()));
    let asked: Vec<_> =
        stage.github.requests().into_iter().filter(|request| request.path.ends_with("/info/refs")).collect();
    let at = asked.iter().position(|request| request.status == 403).expect("the limit was met");
    let waited = asked[at + 1].at.duration_since(asked[at].at);
    assert!(waited.as_secs() >= 60, "git asked again after {waited}");
    stage.is_done_once(issue, comment);
    stage.holds();
}

/// Nothing is asked while GitHub said to wait.
#[test]
fn nothing_is_asked_before_a_limit_is_over() {
    let stage = Stage::new();
    let limit = Fault::SecondaryLimit { status: 403, retry_after: Some(3) };
    stage.github.fault("POST", "/repos/*/*/issues/*/comments", limit);
    let (issue, comment) = asks(&stage, "Counting is broken.");
    stage.wait_for("the end", || has_ended(&stage, issue).then_some(()));
    let requests = stage.github.requests();
    let at = requests.iter().position(|request| request.status == 403).expect("the limit was met");
    let bot = &requests[at].caller;
    let next = requests[at + 1..].iter().find(|request| request.caller == *bot).unwrap();
    let waited = next.at.duration_since(requests[at].at);
    assert!(waited.as_secs_f64() > 2.9, "asked again after {waited}: {next:?}");
    stage.is_done_once(issue, comment);
    stage.holds();
}

#[test]
fn a_push_whose_upload_is_cut_is_pushed_again() {
    let stage = Stage::new();
    stage.github.fault("POST", "**/git-receive-pack", Fault::CutMidUpload);
    let (issue, comment) = asks(&stage, "Counting is broken.");
    stage.becomes(issue, "in-review");
    assert_eq!(stage.github.faults_waiting(), 0);
    stage.is_done_once(issue, comment);
    stage.holds();
}

#[test]
fn tokens_that_expire_in_the_middle_are_made_anew() {
    let stage = Stage::new();
    let (issue, comment) = asks(&stage, "WAIT-FOR-GO, then count.");
    stage.becomes(issue, "working");
    stage.github.expire_tokens();
    // And the one for git between the refs and the push.
    stage.github.fault("POST", "**/git-receive-pack", Fault::TokenExpired);
    stage.go();
    stage.becomes(issue, "in-review");
    assert_eq!(stage.github.faults_waiting(), 0);
    stage.is_done_once(issue, comment);
    stage.holds();
}

#[test]
fn an_app_that_is_taken_away_during_a_run_and_installed_again_goes_on() {
    let stage = Stage::new();
    let (issue, comment) = asks(&stage, "WAIT-FOR-GO, then count.");
    stage.becomes(issue, "working");
    stage.wait_for("the CLI to run", || (!stage.prompts().is_empty()).then_some(()));
    stage.github.uninstall(stage.installation());
    let refused = stage.github.requests().len();
    stage.go();
    stage.wait_for("the push to be refused", || stage.log().contains("no access to").then_some(()));
    assert!(stage.github.requests().len() > refused);
    assert_eq!(stage.github.pull_requests(SHOP), []);
    stage.github.install(stage.app(), "acme", None);
    stage.becomes(issue, "in-review");
    stage.is_done_once(issue, comment);
    stage.holds();
}

#[test]
fn a_command_that_comes_while_the_app_is_away_is_obeyed_when_it_is_back() {
    let stage = Stage::new();
    let alice = stage.user("alice");
    let issue = alice.opens_issue(SHOP, "Count once more", "Counting is broken.");
    alice.comments_on(SHOP, issue, "/cloud-code cost");
    stage.says(issue, "nothing was spent here");
    stage.github.hold_deliveries();
    let comment = alice.comments_on(SHOP, issue, "/cloud-code run");
    let said = stage.github.held_deliveries().pop().unwrap();
    stage.github.send_deliveries();
    stage.github.uninstall(stage.installation());
    stage.block_on("its answer", stage.github.send(&said));
    stage.wait_for("the request to wait", || stage.log().contains("no access to").then_some(()));
    stage.github.install(stage.app(), "acme", None);
    stage.becomes(issue, "in-review");
    assert_eq!(stage.github.comment_reactions(SHOP, comment).len(), 1);
    assert_eq!(stage.github.pull_requests(SHOP).len(), 1);
    stage.status(issue);
    stage.holds();
}

#[test]
fn a_github_that_fails_for_a_while_is_waited_for() {
    let stage = Stage::new();
    let (issue, comment) = asks(&stage, "WAIT-FOR-GO, then count.");
    stage.becomes(issue, "working");
    for _ in 0..25 {
        stage.github.fault("*", "**", Fault::Status(503));
    }
    stage.go();
    // A driver tries again after 2, 4, 8 … seconds.
    let long = Duration::from_secs(180);
    stage.wait_within(long, "GitHub to be back", || (stage.github.faults_waiting() == 0).then_some(()));
    stage.wait_within(long, "the end", || has_ended(&stage, issue).then_some(()));
    stage.is_done_once(issue, comment);
    stage.holds();
}

#[test]
fn a_github_that_is_down_when_serve_starts_is_waited_for() {
    let mut stage = Stage::new();
    stage.stops();
    stage.github.lose_deliveries();
    let (issue, comment) = asks(&stage, "Counting is broken.");
    stage.github.send_deliveries();
    for _ in 0..8 {
        stage.github.fault("*", "**", Fault::Cut);
    }
    stage.serves();
    stage.becomes(issue, "in-review");
    assert_eq!(stage.github.faults_waiting(), 0);
    stage.is_done_once(issue, comment);
    stage.holds();
}

/// Many tasks have progress to tell and each write is slow; the one that ends is told first.
#[test]
fn an_end_overtakes_progress() {
    let mut stage = Stage::set(crate::stage::Setup::default());
    stage.replaces("cloud-code.yaml", "server: {", "server: {concurrency: 9, ");
    stage.serves();
    for method in ["POST", "PATCH", "DELETE"] {
        for _ in 0..100 {
            stage.github.fault(method, "/repos/**", Fault::Delay(Duration::from_millis(250)));
        }
    }
    let alice = stage.user("alice");
    let quick = alice.opens_issue(SHOP, "Count once more", "Counting is broken.");
    let waiting: Vec<u64> =
        (0..5).map(|_| alice.opens_issue(SHOP, "Wait", "WAIT-FOR-GO, then count.")).collect();
    for issue in [&[quick][..], &waiting].concat() {
        alice.comments_on(SHOP, issue, "/cloud-code run");
    }
    stage.becomes(quick, "in-review");
    for issue in &waiting {
        stage.becomes(*issue, "working");
    }
    let requests = stage.github.mutations();
    let at = |number: u64| format!("/repos/{SHOP}/issues/{number}/");
    let is_progress = |request: &&cloud_code_fake_github::Request| {
        waiting.iter().any(|number| request.path.starts_with(&at(*number)))
    };
    let opened = requests.iter().position(|request| request.path.ends_with("/pulls")).unwrap();
    let told = requests
        .iter()
        .position(|request| {
            request.path.starts_with(&at(quick)) && request.body.to_string().contains("in-review")
        })
        .unwrap();
    let (between, after) = requests.split_at(told);
    let (before, after) =
        (between[opened..].iter().filter(is_progress).count(), after.iter().filter(is_progress).count());
    println!("after the pull request: {before} writes of progress before the end is told, {after} behind it");
    // What was on its way when the task ended is not torn off: one write in each of four threads.
    assert!(before <= 4, "{requests:#?}");
    assert!(after > 4, "there was no progress to overtake: {requests:#?}");
    stage.go();
    for issue in waiting {
        stage.wait_within(Duration::from_secs(150), "the others", || {
            (stage.github.labels(SHOP, issue) == ["cloud-code: in-review"]).then_some(())
        });
    }
    stage.holds();
}

/// A busy thread is edited once in fifteen seconds, whatever there is to tell.
#[test]
fn progress_is_told_rarely() {
    let stage = Stage::new();
    let (issue, _) = asks(&stage, "WAIT-FOR-GO, then count.");
    stage.becomes(issue, "working");
    let alice = stage.user("alice");
    let edits = |stage: &Stage| {
        let comments = stage.github.comments(SHOP, issue);
        comments.iter().find(|said| said.body.contains("### cloud-code: ")).map_or(0, |said| said.edits)
    };
    let before = edits(&stage);
    let begun = Instant::now();
    for more in 1..=6 {
        // Each changes what the status would say: one more request waits.
        let comment = alice.comments_on(SHOP, issue, &format!("/cloud-code and count {more} times more"));
        stage.wait_for("the reaction", || {
            (!stage.github.comment_reactions(SHOP, comment).is_empty()).then_some(())
        });
        alice.comments_on(SHOP, issue, "/cloud-code cost");
        stage.wait_for("an answer", || {
            let said = stage.github.comments(SHOP, issue);
            (said.iter().filter(|said| said.body.contains("this was used here")).count() == more)
                .then_some(())
        });
    }
    let (edits, took) = (edits(&stage) - before, begun.elapsed());
    let allowed = 1 + u32::try_from(took.as_secs() / 15).unwrap();
    assert!(edits <= allowed, "{edits} edits in {took:?}");
    stage.go();
    stage.wait_for("the requests to be done", || (stage.prompts().len() == 7).then_some(()));
    stage.becomes(issue, "in-review");
    stage.holds();
}

#[test]
fn a_renamed_repository_is_followed_and_who_takes_its_name_is_not_obeyed() {
    let mut stage = Stage::new();
    let (issue, _) = asks(&stage, "WAIT-FOR-GO, then count.");
    stage.becomes(issue, "working");
    stage.github.rename(SHOP, "store");
    stage.github.repo(
        RepoSeed::new(SHOP).first_number(42).collaborator("mallory", cloud_code_fake_github::Role::Admin),
    );
    let mallory = stage.user("mallory");
    let theirs = mallory.opens_issue(SHOP, "Mine now", "Count for me.");
    mallory.comments_on(SHOP, theirs, "/cloud-code run");
    mallory.comments_on(SHOP, theirs, "/cloud-code cost");
    stage.go();
    stage.wait_for("the pull request in the renamed repository", || {
        (stage.github.pull_requests("acme/store").len() == 1).then_some(())
    });
    stage.wait_for("its label", || {
        (stage.github.labels("acme/store", issue) == ["cloud-code: in-review"]).then_some(())
    });
    let nothing_theirs = |stage: &Stage| {
        assert_eq!(stage.github.branches(SHOP), ["main"]);
        assert_eq!(stage.github.pull_requests(SHOP), []);
        assert_eq!(stage.github.labels(SHOP, theirs), Vec::<String>::new());
        assert!(stage.github.comments(SHOP, theirs).iter().all(|said| said.author == "mallory"));
    };
    nothing_theirs(&stage);

    // Nor by the next `serve`, which knows the name only from its settings.
    stage.stops();
    stage.serves();
    mallory.comments_on(SHOP, theirs, "/cloud-code run and be quick");
    stage.wait_for("the log to say why", || stage.log().contains("is another one now").then_some(()));
    nothing_theirs(&stage);
    assert_eq!(stage.prompts().len(), 1);

    // A person names it anew.
    stage.stops();
    stage.replaces("projects/shop.yaml", "github: acme/shop", "github: acme/store");
    stage.serves();
    stage.user("alice").comments_on("acme/store", issue, "/cloud-code cost");
    stage.wait_for("an answer", || {
        let said = stage.github.comments("acme/store", issue);
        said.iter().any(|said| said.body.contains("this was used here")).then_some(())
    });
    nothing_theirs(&stage);
    stage.holds();
}
