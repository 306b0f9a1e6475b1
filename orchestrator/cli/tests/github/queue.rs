//! Whose turn it is, and why not yet.

use crate::cast;
use crate::stage::{SHOP, Setup, Stage};

fn stage() -> Stage {
    let mut stage = cast::set(Setup::default());
    stage.replaces("cloud-code.yaml", "server: {", "server: {concurrency: 1, ");
    stage.serves();
    stage
}

fn queue(stage: &Stage, arguments: &[&str]) -> String {
    let output = stage.command(&[&["queue"], arguments].concat()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_pause_lets_what_runs_go_on_and_nothing_begin() {
    let stage = stage();
    let first = stage.is_asked("Counting is broken. WAIT-FOR-GO");
    stage.becomes(first, "working");
    queue(&stage, &["pause", "--project", "shop", "--reason", "An audit"]);
    let second = stage.is_asked("Counting is broken.");
    stage.becomes(second, "queued");
    stage.go();
    stage.becomes(first, "in-review");
    let told = queue(&stage, &[]);
    assert!(told.contains("project shop is paused") && told.contains("An audit"), "{told}");
    assert_eq!(stage.calls().len(), 1);
    queue(&stage, &["resume", "--project", "shop"]);
    stage.becomes(second, "in-review");
    stage.holds();
}

#[test]
fn the_urgent_goes_first_and_the_others_know_why_they_wait() {
    let stage = stage();
    let first = stage.is_asked("Counting is broken. WAIT-FOR-GO");
    stage.becomes(first, "working");
    let second = stage.is_asked("The second comes later.");
    let third = stage.is_asked("The third is on fire.");
    for waiting in [second, third] {
        stage.becomes(waiting, "queued");
    }
    stage.is_told(third, "/cloud-code config priority high");
    stage.wait_for("the third to go first", || {
        let told = queue(&stage, &["--json"]);
        let lines: Vec<serde_json::Value> =
            told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let issues: Vec<&str> = lines.iter().filter_map(|line| line["issue"].as_str()).collect();
        assert!(lines.iter().skip(1).all(|line| line["waits"]["reason"] == "full"), "{told}");
        (issues == [first, third, second].map(|number| number.to_string())).then_some(())
    });
    stage.go();
    stage.becomes(second, "in-review");
    let prompts = stage.prompts();
    let place = |words: &str| prompts.iter().position(|prompt| prompt.contains(words)).unwrap();
    assert!(place("The third is on fire") < place("The second comes later"));
    stage.holds();
}

#[test]
fn what_depends_on_other_work_waits_until_that_is_merged() {
    let stage = stage();
    let first = stage.is_asked("Counting is broken.");
    stage.becomes(first, "in-review");
    let alice = stage.user("alice");
    let second = alice.opens_issue(SHOP, "Second", "Count on what the first has done.");
    stage.a_moment_later();
    alice.comments_on(SHOP, second, &format!("/cloud-code config after #{first}"));
    stage.wait_for("the answer", || (!stage.answers(second).is_empty()).then_some(()));
    stage.is_told(second, "/cloud-code run");
    stage.becomes(second, "queued");
    let told = queue(&stage, &[]);
    assert!(told.contains(&format!("waits for {first}, which is not merged")), "{told}");
    let pull = stage.github.pull_requests(SHOP)[0].number;
    alice.merges(SHOP, pull);
    stage.becomes(second, "in-review");
    stage.holds();
}

#[test]
fn nobody_comes_to_wait_for_itself() {
    let stage = stage();
    let [first, second, third] = ["First.", "Second.", "Third."].map(|text| stage.has_issue(text));
    stage.is_told(first, &format!("/cloud-code config after #{second}"));
    stage.says(first, &format!("{second}"));
    stage.is_told(second, &format!("/cloud-code config after #{third}"));
    stage.says(second, &format!("{third}"));
    stage.is_told(third, &format!("/cloud-code config after #{first}"));
    stage.says(third, &format!("would wait for itself, by way of #{second}"));
    // What was refused was not set.
    stage.is_told(third, "/cloud-code run");
    stage.becomes(third, "in-review");
    stage.holds();
}
