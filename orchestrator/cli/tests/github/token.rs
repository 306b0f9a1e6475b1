//! A token of a person instead of an App: what we write is written by the very human who commands.

use cloud_code_fake_github::Role;

use crate::stage::{SHOP, Setup, Stage, WEBHOOK_SECRET};

fn with_token() -> Stage {
    let github = "  intake: polling\n  poll_interval: 1s";
    Stage::with(Setup { github, token: true, ..Setup::default() })
}

#[test]
fn a_persons_token_does_all_of_it_and_answers_nothing_of_its_own() {
    let stage = with_token();
    let alice = stage.user("alice");
    let issue = alice.opens_issue(SHOP, "Count once more", "Counting is broken.");
    let comment = alice.comments_on(SHOP, issue, "/cloud-code run");
    stage.becomes(issue, "in-review");
    stage.is_done_once(issue, comment);
    let pull = stage.github.pull_requests(SHOP)[0].clone();
    assert_eq!(pull.author, "alice");
    // Check runs are for Apps: the same is told as a commit status.
    stage.wait_for("the status of the commit", || {
        let last = stage.github.statuses(&pull.head_sha).pop()?;
        ((last.context.as_str(), last.state.as_str()) == ("cloud-code", "success")).then_some(())
    });
    assert_eq!(stage.github.checks(&pull.head_sha), []);

    // Answers quote the command, by the same account that commands, and start nothing.
    alice.comments_on(SHOP, issue, "/cloud-code help");
    stage.says(issue, "this can be said here");
    alice.comments_on(SHOP, issue, "/cloud-code cost");
    stage.says(issue, "this was used here");
    alice.comments_on(SHOP, issue, "/cloud-code and once more");
    stage.wait_for("the second round", || (stage.prompts().len() == 2).then_some(()));
    stage.becomes(issue, "in-review");
    let branch = format!("cloud-code/issue-{issue}");
    assert_eq!(stage.github.file(SHOP, &branch, "count.txt").as_deref(), Some("2\n"));
    // All that was written has been read again by now; none of it was a request.
    alice.comments_on(SHOP, issue, "/cloud-code config draft true");
    stage.says(issue, "later tasks of this issue run with");
    assert_eq!(stage.prompts().len(), 2);
    assert_eq!(stage.tasks().len(), 2);
    stage.status(issue);
    stage.holds();
}

#[test]
fn a_person_without_write_access_gets_nothing_from_their_own_token() {
    let stage = with_token();
    stage.github.set_role(SHOP, "alice", Role::Read);
    let rita = stage.user("rita");
    let issue = rita.opens_issue(SHOP, "Count once more", "Counting is broken.");
    stage.user("mallory").comments_on(SHOP, issue, "/cloud-code run");
    stage.user("alice").comments_on(SHOP, issue, "/cloud-code run");
    stage.wait_for("two refusals", || {
        (stage.log().matches("a request was refused").count() >= 2).then_some(())
    });
    assert_eq!(stage.tasks(), []);
    stage.holds();
}

#[test]
fn assigning_the_tokens_account_asks_for_work_and_taking_an_issue_does_not() {
    let stage = with_token();
    stage.github.set_role(SHOP, "bob", Role::Write);
    let (alice, bob) = (stage.user("alice"), stage.user("bob"));
    let taken = alice.opens_issue(SHOP, "Count twice", "Counting is broken.");
    alice.assigns(SHOP, taken, "alice");
    let issue = alice.opens_issue(SHOP, "Count once more", "Counting is broken.");
    bob.assigns(SHOP, issue, "alice");
    stage.becomes(issue, "in-review");
    alice.comments_on(SHOP, taken, "/cloud-code status");
    stage.says(taken, "nothing was asked for here yet");
    assert_eq!(stage.prompts().len(), 1);
    stage.holds();
}

const PUBLIC: &str = "https://agents.example.com";

/// With a token that may read the log of the repository's webhook, what got lost is read there, as an App does it.
#[test]
fn the_log_of_the_repositorys_webhook_heals_what_was_lost() {
    let github = "  poll_interval: 1s";
    let mut stage = Stage::set(Setup { github, token: true, ..Setup::default() });
    stage.replaces("cloud-code.yaml", "server: {", &format!("server: {{public_url: '{PUBLIC}', "));
    stage.github.set_role(SHOP, "alice", Role::Admin);
    let events = ["issues", "issue_comment", "pull_request"];
    let hook = stage.github.hook(SHOP, &format!("{PUBLIC}/webhooks/github"), WEBHOOK_SECRET, &events);
    stage.github.lose_deliveries();
    stage.serves();
    let alice = stage.user("alice");
    let issue = alice.opens_issue(SHOP, "Count once more", "Counting is broken.");
    let comment = alice.comments_on(SHOP, issue, "/cloud-code run");
    stage.becomes(issue, "in-review");
    stage.is_done_once(issue, comment);
    let paths: Vec<String> = stage.github.requests().into_iter().map(|request| request.path).collect();
    assert!(paths.contains(&format!("/repos/{SHOP}/hooks/{hook}/deliveries")), "{paths:#?}");
    assert!(!paths.contains(&format!("/repos/{SHOP}/issues")), "nothing is listed where there is a log");
    stage.holds();
}

/// A token that may not is told so, and lists heal what was lost.
#[test]
fn what_a_token_cannot_do_is_said_when_serve_starts() {
    let github = "  poll_interval: 1s";
    let mut stage = Stage::set(Setup { github, token: true, ..Setup::default() });
    stage.replaces("cloud-code.yaml", "server: {", &format!("server: {{public_url: '{PUBLIC}', "));
    stage.github.lose_deliveries();
    stage.serves();
    for words in [
        "acme/shop: the log of its webhook cannot be read",
        "a token with `repository_hooks: read`",
        "shop: mentioning @alice starts nothing, because there is no App to mention",
        "write `/cloud-code …`, or add a name as `@agent` to `triggers.aliases` in projects/shop.yaml",
        "shop: who assigns an issue to alice starts work; alice alone does not",
    ] {
        stage.wait_for(words, || stage.log().contains(words).then_some(()));
    }
    let issue = stage.user("alice").opens_issue(SHOP, "Count once more", "Counting is broken.");
    stage.user("alice").comments_on(SHOP, issue, "/cloud-code cost");
    stage.says(issue, "nothing was spent here");
    stage.holds();
}
