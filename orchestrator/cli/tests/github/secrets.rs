//! Secrets stay where they are.

use crate::stage::{CLI_KEY, SHOP, Setup, Stage, WEBHOOK_SECRET};

#[test]
fn a_key_that_the_cli_prints_goes_nowhere() {
    let stage = Stage::new();
    let alice = stage.user("alice");
    let issue = alice.opens_issue(SHOP, "Count once more", "SAY-THE-KEY");
    alice.comments_on(SHOP, issue, "/cloud-code run");
    stage.becomes(issue, "in-review");
    alice.comments_on(SHOP, issue, "/cloud-code logs");
    stage.says(issue, "@alice");
    stage.is_clean(&[]);
    stage.holds();
}

#[test]
fn a_key_in_a_file_is_not_imported() {
    let stage = Stage::new();
    stage.teaches("Keep it", "printf 'key = %s\\n' \"$SHOP_KEY\" > config.ini");
    let alice = stage.user("alice");
    let issue = alice.opens_issue(SHOP, "Keep it", "Keep it in a file.");
    alice.comments_on(SHOP, issue, "/cloud-code run");
    let status = stage.tells(issue, "a secret of this installation");
    assert!(status.contains("config.ini") && status.contains("`rejected`"), "{status}");
    stage.becomes(issue, "failed");
    assert_eq!(stage.github.branches(SHOP), ["main"]);
    stage.holds();
}

#[test]
fn a_key_in_a_commit_message_is_not_imported() {
    let stage = Stage::new();
    stage.teaches(
        "Note it",
        "echo x > x.txt; git add x.txt\n\
         git -c user.name=cli -c user.email=cli@localhost commit --quiet -m \"The key is $SHOP_KEY\"",
    );
    let alice = stage.user("alice");
    let issue = alice.opens_issue(SHOP, "Note it", "Note it in the history.");
    alice.comments_on(SHOP, issue, "/cloud-code run");
    let status = stage.tells(issue, "a secret of this installation");
    assert!(status.contains("message") && !status.contains(CLI_KEY), "{status}");
    assert_eq!(stage.github.branches(SHOP), ["main"]);
    stage.holds();
}

#[test]
fn a_secret_of_the_installation_is_not_imported_wherever_it_came_from() {
    let stage = Stage::new();
    stage.teaches("Keep it", &format!("printf 'hook: %s\\n' {WEBHOOK_SECRET} > hook.yaml"));
    let alice = stage.user("alice");
    let issue = alice.opens_issue(SHOP, "Keep it", "Keep it in a file.");
    alice.comments_on(SHOP, issue, "/cloud-code run");
    let status = stage.tells(issue, "a secret of this installation");
    assert!(status.contains("hook.yaml") && status.contains("`rejected`"), "{status}");
    assert_eq!(stage.github.branches(SHOP), ["main"]);
    stage.holds();
}

#[test]
fn what_looks_like_a_token_is_imported_only_where_the_project_says_so() {
    let stage = Stage::new();
    let token = format!("ghp_{}", "a1B2".repeat(9));
    let writes = format!("echo {token} > sample.txt");
    stage.teaches("Add samples", &writes);
    let alice = stage.user("alice");
    let issue = alice.opens_issue(SHOP, "Add samples", "Add samples.");
    alice.comments_on(SHOP, issue, "/cloud-code run");
    let status = stage.tells(issue, "a GitHub token");
    assert!(status.contains("sample.txt") && !status.contains(&token), "{status}");
    stage.becomes(issue, "failed");

    let settings = "import: {allow_secret_patterns: true}";
    let stage = Stage::with(Setup { project: settings, ..Setup::default() });
    stage.teaches("Add samples", &writes);
    let alice = stage.user("alice");
    let issue = alice.opens_issue(SHOP, "Add samples", "Add samples.");
    alice.comments_on(SHOP, issue, "/cloud-code run");
    stage.becomes(issue, "in-review");
    let branch = format!("cloud-code/issue-{issue}");
    assert_eq!(stage.github.file(SHOP, &branch, "sample.txt"), Some(format!("{token}\n")));
    stage.holds();
}

/// Every form of token that the guides of their makers show, made up.
fn tokens() -> Vec<String> {
    let part = "a1B2".repeat(9);
    let jwt = format!("eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOjF9{part}.{part}");
    let forms = ["ghp_", "gho_", "ghu_", "ghr_", "github_pat_", "sk-ant-api03-", "xoxb-1234567890-"];
    let mut tokens: Vec<String> = forms.iter().map(|form| format!("{form}{part}")).collect();
    tokens.push(format!("ghs_123456_{jwt}"));
    tokens.extend(["AKIAQWERTYUIOPASDFGH".to_owned(), "ASIAQWERTYUIOPASDFGH".to_owned(), jwt]);
    tokens
}

#[test]
fn tokens_of_others_are_taken_out_of_what_is_said() {
    let stage = Stage::new();
    let told: Vec<String> = tokens().iter().map(|token| format!("echo 'Found {token} in a file.'")).collect();
    // It commits by itself: of its last words the agent would make the commit's message, which is refused with tokens.
    let commits = "echo 1 > count.txt; git add count.txt\n\
                   git -c user.name=cli -c user.email=cli@localhost commit --quiet -m 'Count'";
    stage.teaches("Count once more", &format!("{commits}\n{}\nexit 0", told.join("\n")));
    let alice = stage.user("alice");
    let issue = alice.opens_issue(SHOP, "Count once more", "Counting is broken.");
    alice.comments_on(SHOP, issue, "/cloud-code run");
    stage.becomes(issue, "in-review");
    let pull = &stage.github.pull_requests(SHOP)[0];
    let status = stage.status(issue);
    for text in [&pull.body, &status] {
        assert_eq!(text.matches("[secret removed]").count(), tokens().len(), "{text}");
    }
    for request in stage.github.mutations() {
        let body = format!("{:?}", request.body);
        for token in tokens() {
            assert!(!body.contains(&token), "{token} stands in {} {}: {body}", request.method, request.path);
        }
    }
    stage.holds();
}

#[test]
fn no_token_of_the_forge_reaches_the_agent_or_its_cli() {
    let stage = Stage::new();
    stage.teaches(
        "Count once more",
        "env > \"$PROMPTS.env\"; ps -eo args > \"$PROMPTS.ps\"\n\
         for p in /proc/[0-9]*; do tr '\\0' '\\n' < $p/environ; done > \"$PROMPTS.environ\" 2>/dev/null\n\
         cat \"$(git rev-parse --git-dir)/config\" > \"$PROMPTS.config\" 2>/dev/null; git config --list >> \"$PROMPTS.config\"",
    );
    let alice = stage.user("alice");
    let issue = alice.opens_issue(SHOP, "Count once more", "Counting is broken.");
    alice.comments_on(SHOP, issue, "/cloud-code run");
    stage.becomes(issue, "in-review");
    let env = stage.left("prompts.env");
    assert!(env.contains(&format!("SHOP_KEY={CLI_KEY}")), "{env}");
    let pem = stage.github.app_key().lines().nth(1).unwrap().to_owned();
    for name in ["prompts.env", "prompts.ps", "prompts.environ", "prompts.config"] {
        let text = stage.left(name);
        for secret in ["ghs_", WEBHOOK_SECRET, &pem, "x-access-token"] {
            assert!(!text.contains(secret), "{secret:?} stands in {name}");
        }
    }
    assert!(stage.left("prompts.ps").contains("cloud-code"));
    assert!(!stage.left("prompts.ps").contains(CLI_KEY));
    // A follow-up, a question and a failed task later nothing lies about either.
    alice.comments_on(SHOP, issue, "/cloud-code FAIL-NOW");
    stage.becomes(issue, "failed");
    stage.is_clean(&[]);
    stage.holds();
}

#[test]
fn where_this_machine_keeps_things_is_not_told_to_everybody() {
    let stage = Stage::new();
    let home = stage.home().to_str().unwrap().to_owned();
    // What a CLI says of where it works keeps the name that the repository knows.
    stage.teaches(
        "Say where",
        &format!("echo 'Say where'; echo; echo \"Look at $PWD/count.txt:1 and {home}/secrets/app.pem\"; echo x > count.txt; exit 0"),
    );
    let alice = stage.user("alice");
    let issue = alice.opens_issue(SHOP, "Say where", "Say where it is.");
    alice.comments_on(SHOP, issue, "/cloud-code run");
    stage.becomes(issue, "in-review");
    let status = stage.status(issue);
    assert!(
        status.contains("Look at count.txt:1 and") && status.contains("(a place on the host)"),
        "{status}"
    );
    assert!(stage.github.pull_requests(SHOP)[0].body.contains("Look at count.txt:1 and"));

    // A failure of the machine itself is told as such; the log and the command line say what it is.
    let other = alice.opens_issue(SHOP, "Another", "Count.");
    let in_the_way = stage.home().join(format!("workspaces/shop/{other}"));
    std::fs::write(&in_the_way, "a file where a folder is to be").unwrap();
    alice.comments_on(SHOP, other, "/cloud-code run");
    stage.becomes(other, "failed");
    let status = stage.status(other);
    assert!(status.contains("something is wrong on the machine that runs cloud-code"), "{status}");
    assert!(status.contains("`internal`") && !status.contains(&home), "{status}");
    assert!(stage.log().contains(in_the_way.to_str().unwrap()), "{}", stage.log());
    let shown = stage.command(&["status", &format!("shop#{other}")]).output().unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains(in_the_way.to_str().unwrap()), "{shown}");
    stage.holds();
}

#[test]
fn a_token_in_what_a_cli_says_does_not_lose_the_work() {
    let stage = Stage::new();
    let token = format!("ghp_{}", "a1B2".repeat(9));
    stage.teaches("Say it", &format!("echo x > x.txt; echo 'I took out the old {token} for good.'; exit 0"));
    let alice = stage.user("alice");
    let issue = alice.opens_issue(SHOP, "Say it", "Say it all.");
    alice.comments_on(SHOP, issue, "/cloud-code run");
    stage.becomes(issue, "in-review");
    let message = stage.git(&["log", "-1", "--format=%B", &format!("cloud-code/issue-{issue}")]);
    assert_eq!(message, "Say it\n\nI took out the old *** for good.");
    for request in stage.github.mutations() {
        assert!(!format!("{:?}", request.body).contains(&token), "{request:?}");
    }
    stage.holds();
}
