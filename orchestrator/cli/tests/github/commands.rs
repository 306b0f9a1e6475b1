//! Every verb, from what a person writes to what comes back.

use crate::cast;
use crate::stage::{SHOP, Setup};

/// An issue that says enough.
#[test]
fn a_run_has_the_cli_the_model_the_base_and_the_budget_it_was_given() {
    let stage = cast::stage();
    stage.user("alice").pushes(SHOP, "next", "NEXT.md", "Next.\n");
    let issue = stage.has_issue("Counting is broken.");
    stage.is_told(issue, "/cloud-code run tinker --model big-1 --base next --budget 1.50 Keep it small.");
    stage.becomes(issue, "in-review");

    assert_eq!(stage.calls(), ["tinker --model big-1 --max-cost 1.5000"]);
    let tasking = stage.tasking(issue);
    let task = &tasking["tasks"][0];
    assert_eq!(tasking["cli"], "tinker");
    assert_eq!(
        (&task["base"], &task["branch"]),
        (&"next".into(), &format!("cloud-code/issue-{issue}").into())
    );
    let prompt = stage.prompt(1);
    assert!(prompt.contains("Keep it small.\n\nCounting is broken."), "{prompt}");
    let pull = &stage.github.pull_requests(SHOP)[0];
    assert_eq!(pull.base, "next");
    assert!(
        pull.body.contains(&format!("Part of #{issue}")),
        "only a merge into main closes it: {}",
        pull.body
    );
    stage.holds();
}

#[test]
fn a_plan_changes_nothing_until_it_is_approved() {
    let stage = cast::stage();
    let issue = stage.has_issue("Counting is broken.");
    stage.is_told(issue, "/cloud-code plan Look at the counter first.");
    stage.becomes(issue, "done");
    assert_eq!(stage.calls(), ["scribe --plan"]);
    assert!(stage.prompt(1).contains("Look at the counter first."));
    let status = stage.status(issue);
    assert!(status.contains("First the counter, then its test."), "{status}");
    assert!(status.contains("`/cloud-code approve`"), "{status}");
    assert_eq!(stage.github.pull_requests(SHOP), []);

    stage.is_told(issue, "/cloud-code approve");
    stage.becomes(issue, "in-review");
    assert_eq!(stage.calls()[1], "scribe --resume s-scribe");
    assert!(stage.prompt(2).contains("The plan is approved. Carry it out."));
    assert_eq!(stage.github.pull_requests(SHOP).len(), 1);
    stage.holds();
}

#[test]
fn with_a_plan_gate_work_begins_with_a_plan() {
    let stage = cast::stage_with(Setup { project: "gates: {plan: true}", ..Setup::default() });
    let issue = stage.has_issue("Counting is broken.");
    stage.is_told(issue, "/cloud-code run");
    stage.becomes(issue, "needs-input");
    let status = stage.status(issue);
    assert!(status.contains("Nothing is changed before somebody with write access says yes."), "{status}");

    stage.is_told(issue, "/cloud-code reject The test comes first.");
    assert!(stage.prompt(2).contains("This was not accepted: The test comes first."));
    stage.rests(issue, "needs-input", 2);
    assert_eq!(stage.github.branches(SHOP), ["main"]);

    stage.is_told(issue, "/cloud-code approve");
    stage.becomes(issue, "in-review");
    assert_eq!(
        stage.calls(),
        ["scribe --plan", "scribe --plan --resume s-scribe", "scribe --resume s-scribe"]
    );
    // A second `approve` has nothing left to say yes to.
    stage.is_told(issue, "/cloud-code approve");
    stage.says(issue, "@alice nothing here waits for a yes");
    stage.holds();
}

#[test]
fn a_plan_that_is_rejected_without_a_reason_is_over() {
    let stage = cast::stage_with(Setup { project: "gates: {plan: true}", ..Setup::default() });
    let issue = stage.has_issue("Counting is broken.");
    stage.is_told(issue, "/cloud-code run");
    stage.becomes(issue, "needs-input");
    stage.is_told(issue, "/cloud-code reject");
    stage.becomes(issue, "done");
    assert_eq!(stage.calls().len(), 1);
    assert_eq!(stage.github.pull_requests(SHOP), []);
    stage.holds();
}

#[test]
fn with_a_publish_gate_nothing_is_pushed_before_a_yes() {
    let stage = cast::stage_with(Setup { project: "gates: {publish: true}", ..Setup::default() });
    let issue = stage.has_issue("Counting is broken.");
    stage.is_told(issue, "/cloud-code run");
    stage.becomes(issue, "needs-input");
    assert_eq!(stage.github.branches(SHOP), ["main"]);
    let status = stage.status(issue);
    assert!(status.contains("It is not pushed before somebody with write access says yes."), "{status}");

    // Sent back: the same branch goes on, and waits again.
    stage.is_told(issue, "/cloud-code reject Count twice.");
    assert!(stage.prompt(2).contains("This was not accepted: Count twice."));
    stage.rests(issue, "needs-input", 2);
    assert_eq!(stage.github.branches(SHOP), ["main"]);

    stage.is_told(issue, "/cloud-code approve");
    stage.becomes(issue, "in-review");
    let branch = format!("cloud-code/issue-{issue}");
    assert_eq!(stage.github.file(SHOP, &branch, "count.txt").as_deref(), Some("2\n"));
    assert_eq!(stage.github.pull_requests(SHOP).len(), 1);
    stage.holds();
}

#[test]
fn finished_work_that_is_rejected_without_a_reason_is_not_pushed() {
    let stage = cast::stage_with(Setup { project: "gates: {publish: true}", ..Setup::default() });
    let issue = stage.has_issue("Counting is broken.");
    stage.is_told(issue, "/cloud-code run");
    stage.becomes(issue, "needs-input");
    stage.is_told(issue, "/cloud-code reject");
    stage.becomes(issue, "done");
    stage.status_says(issue, "was stopped");
    assert_eq!(stage.github.branches(SHOP), ["main"]);
    assert_eq!(stage.calls().len(), 1);
    stage.holds();
}

#[test]
fn a_second_request_waits_and_goes_on_where_the_first_one_ended() {
    let stage = cast::stage();
    let issue = stage.has_issue("Counting is broken.");
    stage.is_told(issue, "/cloud-code run WAIT-FOR-GO");
    stage.prompt(1);
    stage.is_told(issue, "/cloud-code Count once again.");
    let status = stage.status_says(issue, "One more request waits");
    assert!(status.contains("### cloud-code: working"), "{status}");
    assert_eq!(stage.prompts().len(), 1);
    stage.go();
    assert!(stage.prompt(2).contains("Count once again."));
    stage.rests(issue, "in-review", 2);

    let branch = format!("cloud-code/issue-{issue}");
    assert_eq!(stage.github.file(SHOP, &branch, "count.txt").as_deref(), Some("2\n"));
    assert_eq!(stage.github.pull_requests(SHOP).len(), 1);
    assert_eq!(stage.github.commits(SHOP, &branch).len(), 2);
    assert_eq!(stage.answers(issue), [] as [String; 0]);
    stage.holds();
}

#[test]
fn cancel_keeps_what_is_done_and_drops_what_waits() {
    let stage = cast::stage();
    let issue = stage.has_issue("Counting is broken.");
    stage.is_told(issue, "/cloud-code run HALF-WAY");
    stage.becomes(issue, "working");
    stage.prompt(1);
    stage.is_told(issue, "/cloud-code Then count twice.");
    stage.status_says(issue, "One more request waits");
    stage.is_told(issue, "/cloud-code cancel");
    stage.becomes(issue, "done");

    let status = stage.status(issue);
    assert!(status.contains("is kept"), "{status}");
    assert!(!status.contains("waits"), "{status}");
    assert_eq!(stage.prompts().len(), 1);
    assert_eq!(stage.github.branches(SHOP), ["main"]);
    // What was kept is there for the next one.
    stage.go();
    stage.is_told(issue, "/cloud-code Go on.");
    stage.rests(issue, "in-review", 2);
    let branch = format!("cloud-code/issue-{issue}");
    assert_eq!(stage.github.file(SHOP, &branch, "half.txt").as_deref(), Some("half\n"));
    stage.is_told(issue, "/cloud-code cancel");
    stage.says(issue, "@alice nothing runs here");
    stage.holds();
}

#[test]
fn retry_does_again_what_failed() {
    // By itself nothing is tried again here.
    let stage = cast::stage_with(Setup { project: "retries: {attempts: 1}", ..Setup::default() });
    let issue = stage.has_issue("Counting is broken.");
    stage.is_told(issue, "/cloud-code retry");
    stage.says(issue, "@alice nothing was tried here yet");
    stage.is_told(issue, "/cloud-code run FAIL-ONCE");
    stage.becomes(issue, "failed");
    let status = stage.status(issue);
    assert!(status.contains("> The parser cannot be found"), "{status}");
    assert!(status.contains("`/cloud-code retry` tries again"), "{status}");

    stage.is_told(issue, "/cloud-code retry");
    stage.becomes(issue, "in-review");
    let prompt = stage.prompt(2);
    assert!(prompt.contains("Try this again. It failed: The parser cannot be found."), "{prompt}");
    assert!(prompt.contains("Counting is broken."), "{prompt}");
    stage.is_told(issue, "/cloud-code retry");
    stage.says(issue, "the last task is done, so there is nothing to retry");
    assert_eq!(stage.calls().len(), 2);
    stage.holds();
}

#[test]
fn handoff_gives_the_work_to_another_cli_with_what_is_known() {
    let stage = cast::stage();
    let issue = stage.has_issue("Counting is broken.");
    stage.is_told(issue, "/cloud-code handoff tinker");
    stage.says(issue, "nothing was done here yet, so there is nothing to hand over");
    stage.is_told(issue, "/cloud-code run");
    stage.becomes(issue, "in-review");
    stage.is_told(issue, "/cloud-code handoff scribe");
    stage.says(issue, "`scribe` works on this already");
    stage.is_told(issue, "/cloud-code handoff tinker Finish the tests.");
    let prompt = stage.prompt(2);
    for part in ["Finish the tests.", "scribe", "Count once more"] {
        assert!(prompt.contains(part), "{part:?} is missing in:\n{prompt}");
    }
    let status = stage.rests(issue, "in-review", 2);
    assert!(status.contains("**tinker** has done"), "{status}");
    assert_eq!(stage.calls(), ["scribe", "tinker"]);
    assert_eq!(stage.github.pull_requests(SHOP).len(), 1);
    stage.holds();
}

#[test]
fn a_question_is_answered_in_a_comment_and_nothing_changes() {
    let stage = cast::stage();
    let issue = stage.has_issue("Counting is broken.");
    stage.is_told(issue, "/cloud-code ask What is the answer?");
    let answer = stage.says(issue, "@alice\n\nThe answer is forty-two");
    assert!(answer.contains("@alice"), "{answer}");
    assert!(!answer.contains("@everybody"), "an agent's words notify nobody: {answer}");
    stage.becomes(issue, "done");
    assert_eq!(stage.answers(issue).len(), 1);
    assert_eq!(stage.calls(), ["scribe --plan"]);
    assert_eq!(stage.github.pull_requests(SHOP), []);
    stage.holds();
}

#[test]
fn status_cost_logs_and_help_are_answered_and_start_nothing() {
    let stage = cast::stage();
    let issue = stage.has_issue("Counting is broken.");
    stage.is_told(issue, "/cloud-code status");
    stage.says(issue, "@alice nothing was asked for here yet. `/cloud-code run` begins.");
    stage.is_told(issue, "/cloud-code cost");
    stage.says(issue, "@alice nothing was spent here");
    stage.is_told(issue, "/cloud-code logs");
    stage.says(issue, "@alice nothing has run here yet");
    stage.is_told(issue, "/cloud-code help");
    let help = stage.says(issue, "@alice this can be said here");
    for verb in ["run", "plan", "approve", "reject", "cancel", "retry", "status", "handoff", "ask", "config"]
    {
        assert!(help.contains(&format!("| `/cloud-code {verb}")), "{verb} is missing in:\n{help}");
    }
    assert_eq!(stage.calls(), [] as [String; 0]);

    stage.is_told(issue, "/cloud-code run");
    stage.becomes(issue, "in-review");
    stage.is_told(issue, "/cloud-code status");
    let status = stage.says(issue, "@alice the last task is done: ");
    let url = format!("{}/{SHOP}/issues/{issue}#issuecomment-", stage.github.web_url());
    assert!(status.contains(&url), "{status} must link {url}");
    stage.is_told(issue, "/cloud-code cost");
    let cost = stage.says(issue, "this was used here");
    assert!(cost.contains("$0.25") && cost.contains("1,200 tokens in"), "{cost}");
    assert!(cost.contains("Together $0.25."), "{cost}");
    stage.is_told(issue, "/cloud-code logs");
    let logs = stage.says(issue, "the last of what the agent did");
    assert!(logs.contains("Count once more"), "{logs}");
    assert_eq!(stage.calls().len(), 1);
    assert_eq!(stage.answers(issue).len(), 7);
    stage.holds();
}

#[test]
fn settings_hold_for_the_issues_later_tasks() {
    let stage = cast::stage();
    stage.user("alice").pushes(SHOP, "next", "NEXT.md", "Next.\n");
    let issue = stage.has_issue("Counting is broken.");
    let settings = ["cli tinker", "model big-1", "base next", "budget $2.50", "timeout 45m", "draft true"];
    for (index, setting) in settings.into_iter().enumerate() {
        stage.is_told(issue, &format!("/cloud-code config {setting}"));
        stage.wait_for("the answer", || (stage.answers(issue).len() > index).then_some(()));
    }
    assert_eq!(
        stage.answers(issue)[5],
        "@alice later tasks of this issue run with:\n\n- cli: `tinker`\n- model: `big-1`\n- base: `next`\n\
         - budget: `$2.50`\n- timeout: `45m`\n- draft: `true`"
    );
    stage.is_told(issue, "/cloud-code run");
    stage.becomes(issue, "in-review");
    assert_eq!(stage.calls(), ["tinker --model big-1 --max-cost 2.5000"]);
    let tasking = stage.tasking(issue);
    assert_eq!(tasking["tasks"][0]["limits"]["timeout"], "45m");
    let pull = &stage.github.pull_requests(SHOP)[0];
    assert_eq!((pull.base.as_str(), pull.draft), ("next", true));

    stage.is_told(issue, "/cloud-code config base main");
    stage.says(issue, "the base cannot be changed any more");
    stage.is_told(issue, "/cloud-code config model default");
    stage.is_told(issue, "/cloud-code config budget default");
    stage.wait_for("the answers", || (stage.answers(issue).len() == 9).then_some(()));
    assert!(!stage.answers(issue)[8].contains("budget"), "{:?}", stage.answers(issue));
    stage.is_told(issue, "/cloud-code Once more.");
    stage.rests(issue, "in-review", 2);
    assert_eq!(stage.calls()[1], "tinker --resume s-tinker");
    stage.holds();
}

#[test]
fn a_setting_that_does_not_fit_is_answered_with_what_fits() {
    let stage = cast::stage();
    let issue = stage.has_issue("Counting is broken.");
    let wrong = [
        ("cli cluade-code", "`cluade-code`"),
        ("budget much", "US dollars"),
        ("timeout soon", "`30m`"),
        ("draft maybe", "`true` or `false`"),
        ("base -x", "branch"),
        ("colour red", "there is no setting `colour`"),
    ];
    for (index, (setting, wanted)) in wrong.into_iter().enumerate() {
        stage.is_told(issue, &format!("/cloud-code config {setting}"));
        stage.wait_for("an answer", || (stage.answers(issue).len() > index).then_some(()));
        let answer = stage.answers(issue)[index].clone();
        assert!(answer.contains(wanted), "{setting} is answered with: {answer}");
    }
    stage.is_told(issue, "/cloud-code run");
    stage.becomes(issue, "in-review");
    assert_eq!(stage.calls(), ["scribe"]);
    stage.holds();
}

#[test]
fn work_is_asked_for_in_many_ways() {
    let stage = cast::stage_with(Setup { project: "triggers: {aliases: ['@agent']}", ..Setup::default() });
    let alice = stage.user("alice");
    let asked = |words: &str| {
        let number = stage.has_issue("Counting is broken.");
        stage.is_told(number, words);
        number
    };
    let bare = asked("/cloud-code Fix the counter.");
    let alias = asked("@agent Fix the counter.");
    let mention = asked("Could you have a look, @cloud-code?");
    let labelled = stage.has_issue("Counting is broken.");
    alice.labels(SHOP, labelled, "ready-for-agent");
    let assigned = stage.has_issue("Counting is broken.");
    alice.assigns(SHOP, assigned, "cloud-code[bot]");
    let opened =
        alice.opens_issue(SHOP, "Count backwards", "It only counts up.\n\n/cloud-code run Mind the sign.");

    for number in [bare, alias, mention, labelled, assigned, opened] {
        stage.becomes(number, "in-review");
    }
    let heard = |number| stage.github.reactions(SHOP, number);
    for number in [labelled, assigned, opened] {
        assert_eq!(heard(number), [("cloud-code[bot]".to_owned(), "eyes".to_owned())]);
    }
    let prompts = stage.prompts();
    assert_eq!(prompts.len(), 6);
    for part in ["Fix the counter.", "Could you have a look", "Mind the sign."] {
        assert!(prompts.iter().any(|prompt| prompt.contains(part)), "{part:?} was told to nobody");
    }
    let of_opened = prompts.iter().find(|prompt| prompt.contains("Count backwards")).unwrap();
    assert_eq!(of_opened.matches("Mind the sign.").count(), 1, "{of_opened}");
    assert!(!of_opened.contains("/cloud-code"), "{of_opened}");
    assert_eq!(stage.github.pull_requests(SHOP).len(), 6);
    stage.holds();
}

#[test]
fn mistakes_are_answered_once_with_what_to_write() {
    let stage = cast::stage();
    let issue = stage.has_issue("Counting is broken.");
    let mistakes = [
        ("/cloud-code run scrbe", "unknown CLI `scrbe`, did you mean `scribe`?"),
        ("/cloud-code aprove", "`aprove` is not a command, did you mean `approve`?"),
        ("/cloud-code run\n\n/cloud-code cancel", "there are 2 commands in one text"),
        ("/cloud-code run --budget", "the option `--budget` has no value"),
        ("/cloud-code ask", "`ask` needs a text"),
    ];
    for (index, (words, wanted)) in mistakes.into_iter().enumerate() {
        stage.is_told(issue, words);
        stage.wait_for("an answer", || (stage.answers(issue).len() > index).then_some(()));
        let answer = stage.answers(issue)[index].clone();
        assert!(answer.starts_with("@alice ") && answer.contains(wanted), "{words}: {answer}");
        assert!(answer.to_lowercase().contains("write "), "it must say what to write: {answer}");
    }
    // Told again, nothing is said again.
    stage.brings_all_again();
    stage.is_told(issue, "/cloud-code status");
    stage.says(issue, "nothing was asked for here yet");
    assert_eq!(stage.answers(issue).len(), mistakes.len() + 1);
    assert_eq!(stage.calls(), [] as [String; 0]);
    stage.holds();
}

#[test]
fn what_is_quoted_shown_changed_or_taken_back_starts_nothing() {
    let stage = cast::stage();
    let issue = stage.has_issue("Counting is broken.");
    let alice = stage.user("alice");
    for words in [
        "> /cloud-code run",
        "`/cloud-code run`",
        "```\n/cloud-code run\n```",
        "    /cloud-code run",
        "<!-- /cloud-code run -->",
        "<div>\n/cloud-code run\n</div>",
        "- /cloud-code run",
        "# /cloud-code run",
        "[/cloud-code run](https://example.com)",
        "Say `/cloud-code run` when it is ready.",
        "\u{200b}/cloud-code run",
        "<!-- cloud-code:status:abc:shop-42 -->\n/cloud-code run",
    ] {
        alice.comments_on(SHOP, issue, words);
    }
    let edited = alice.comments_on(SHOP, issue, "Nothing yet.");
    alice.edits_comment(SHOP, edited, "/cloud-code run");
    let deleted = alice.comments_on(SHOP, issue, "Nothing yet either.");
    alice.deletes_comment(SHOP, deleted);
    stage.user("dependabot[bot]").comments_on(SHOP, issue, "/cloud-code run");

    // What comes after all of them is the first thing that is heard.
    stage.is_told(issue, "/cloud-code status");
    stage.says(issue, "nothing was asked for here yet");
    assert_eq!(stage.answers(issue).len(), 1);
    assert_eq!(stage.github.labels(SHOP, issue), [] as [String; 0]);
    assert_eq!(stage.calls(), [] as [String; 0]);
    stage.holds();
}

#[test]
fn one_comment_and_one_label_follow_the_work() {
    let stage = cast::stage();
    let issue = stage.has_issue("Counting is broken.");
    stage.is_told(issue, "/cloud-code run WAIT-FOR-GO");
    stage.becomes(issue, "working");
    stage.go();
    stage.becomes(issue, "in-review");

    let mutations = stage.github.mutations();
    let labels =
        mutations.iter().filter(|request| request.path.ends_with(&format!("/issues/{issue}/labels")));
    let mut put: Vec<String> = labels.filter_map(|request| label_in(&request.body)).collect();
    put.dedup();
    // A fast start leaves no time to be queued.
    put.retain(|label| label != "cloud-code: queued");
    assert_eq!(put, ["cloud-code: working", "cloud-code: in-review"]);
    let made = mutations.iter().filter(|r| r.method == "POST" && r.path.ends_with("/comments")).count();
    let edited =
        mutations.iter().filter(|r| r.method == "PATCH" && r.path.contains("/issues/comments/")).count();
    assert_eq!((made, edited > 0), (1, true), "{mutations:#?}");
    stage.holds();
}

/// The label of ours that a request puts on.
fn label_in(body: &serde_json::Value) -> Option<String> {
    let labels = body.get("labels")?.as_array()?;
    labels
        .iter()
        .filter_map(|label| label.as_str())
        .find(|label| label.starts_with("cloud-code:"))
        .map(str::to_owned)
}
