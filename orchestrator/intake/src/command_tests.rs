//! The grammar, case by case. What a text means is told by [`render`], so each case reads as a conversation.

use std::collections::BTreeSet;

use super::*;
use crate::grammar::TABLE;

fn rules() -> Rules {
    Rules {
        prefix: "/cloud-code".to_owned(),
        aliases: vec!["/cc".to_owned(), "@agent".to_owned(), "@claude".to_owned()],
        bot: None,
        account: None,
        app_id: None,
        listed_bots: BTreeSet::new(),
        ready_labels: Vec::new(),
        on_assignment: false,
        on_mention: false,
        on_changes_requested: false,
        on_failing_checks: false,
        branch_prefix: "cloud-code/".to_owned(),
        clis: ["claude-code", "codex", "gemini", "aider"].map(|name| name.parse().unwrap()).to_vec(),
    }
}

/// What a text means: the command as it would be written in full, the mistake, or `-`.
fn meaning(text: &str) -> String {
    match parse(text, &rules()) {
        Ok(None) => "-".to_owned(),
        Ok(Some(found)) => {
            render(&found.command, "").trim_start().replace("\n\n", " | ").replace('\n', "\\n")
        }
        Err(error) => format!("✗ {error}"),
    }
}

fn table(texts: &[&str]) -> String {
    texts.iter().map(|text| format!("{text:?} → {}\n", meaning(text))).collect()
}

#[test]
fn every_verb_is_read() {
    insta::assert_snapshot!(table(&[
        "/cloud-code",
        "/cloud-code run",
        "/cloud-code run codex",
        "/cloud-code run codex --model gpt-5 --base develop --budget 2.50 Keep it small",
        "/cloud-code run --budget=$3 --model `opus` claude-code",
        "/cloud-code codex fix it",
        "/cloud-code --budget 1usd fix it",
        "/cloud-code fix the parser please",
        "/cloud-code plan",
        "/cloud-code plan look at the parser first",
        "/cloud-code approve",
        "/cloud-code reject",
        "/cloud-code reject not here",
        "/cloud-code cancel",
        "/cloud-code retry",
        "/cloud-code status",
        "/cloud-code handoff codex",
        "/cloud-code handoff Codex finish the tests",
        "/cloud-code ask why is this here?",
        "/cloud-code config cli codex",
        "/cloud-code config model gpt-5",
        "/cloud-code config base main",
        "/cloud-code config budget $2.50",
        "/cloud-code config timeout 90m",
        "/cloud-code config draft off",
        "/cloud-code config model default",
        "/cloud-code cost",
        "/cloud-code logs",
        "/cloud-code help",
    ]), @r#"
    "/cloud-code" → run
    "/cloud-code run" → run
    "/cloud-code run codex" → run codex
    "/cloud-code run codex --model gpt-5 --base develop --budget 2.50 Keep it small" → run codex --model gpt-5 --base develop --budget 2.5 | Keep it small
    "/cloud-code run --budget=$3 --model `opus` claude-code" → run claude-code --model opus --budget 3
    "/cloud-code codex fix it" → run codex | fix it
    "/cloud-code --budget 1usd fix it" → run --budget 1 | fix it
    "/cloud-code fix the parser please" → run | fix the parser please
    "/cloud-code plan" → plan
    "/cloud-code plan look at the parser first" → plan | look at the parser first
    "/cloud-code approve" → approve
    "/cloud-code reject" → reject
    "/cloud-code reject not here" → reject | not here
    "/cloud-code cancel" → cancel
    "/cloud-code retry" → retry
    "/cloud-code status" → status
    "/cloud-code handoff codex" → handoff codex
    "/cloud-code handoff Codex finish the tests" → handoff codex | finish the tests
    "/cloud-code ask why is this here?" → ask | why is this here?
    "/cloud-code config cli codex" → config cli codex
    "/cloud-code config model gpt-5" → config model gpt-5
    "/cloud-code config base main" → config base main
    "/cloud-code config budget $2.50" → config budget 2.5
    "/cloud-code config timeout 90m" → config timeout 90m
    "/cloud-code config draft off" → config draft false
    "/cloud-code config model default" → config model default
    "/cloud-code cost" → cost
    "/cloud-code logs" → logs
    "/cloud-code help" → help
    "#);
}

#[test]
fn people_write_as_they_like() {
    insta::assert_snapshot!(table(&[
        "/Cloud-Code Status",
        "/cloud-code status.",
        "/cloud-code cancel!",
        "/cloud-code status?",
        "@claude, fix this",
        "@agent: fix this",
        "/cc status",
        "  /cloud-code status",
        "\t/cloud-code status",
        "Hello!\n/cloud-code status\nThanks, Alice",
        "Hello!\r\n\r\n/cloud-code status\r\n\r\nThanks",
        "Hello!\r/cloud-code status\rThanks",
        "/cloud-code run —model opus fix it",
        "/cloud-code run --\u{200B}model opus fix it",
        "/cloud-code r\u{200B}un codex",
        "/cloud-code fix this:\n\n```rust\n/cloud-code run\n```\n\n> /cloud-code cancel\n\nand that",
        "/cloud-code ask\n\nWhy?",
        "/cloud-code run -- codex is a CLI, add --model to it",
        "/cloud-code add a `--model` option",
        "/cloud-code fix <!-- unseen --> this ![alt](a.png \"title\")",
    ]), @r#"
    "/Cloud-Code Status" → status
    "/cloud-code status." → status
    "/cloud-code cancel!" → cancel
    "/cloud-code status?" → status
    "@claude, fix this" → run | fix this
    "@agent: fix this" → run | fix this
    "/cc status" → status
    "  /cloud-code status" → status
    "\t/cloud-code status" → -
    "Hello!\n/cloud-code status\nThanks, Alice" → status
    "Hello!\r\n\r\n/cloud-code status\r\n\r\nThanks" → status
    "Hello!\r/cloud-code status\rThanks" → status
    "/cloud-code run —model opus fix it" → run --model opus | fix it
    "/cloud-code run --\u{200b}model opus fix it" → run --model opus | fix it
    "/cloud-code r\u{200b}un codex" → run codex
    "/cloud-code fix this:\n\n```rust\n/cloud-code run\n```\n\n> /cloud-code cancel\n\nand that" → run | fix this: | ```rust\n/cloud-code run\n``` | > /cloud-code cancel | and that
    "/cloud-code ask\n\nWhy?" → ask | Why?
    "/cloud-code run -- codex is a CLI, add --model to it" → run | codex is a CLI, add --model to it
    "/cloud-code add a `--model` option" → run | add a `--model` option
    "/cloud-code fix <!-- unseen --> this ![alt](a.png \"title\")" → run | fix  this ![](a.png)
    "#);
}

#[test]
fn what_is_not_said_is_not_obeyed() {
    let texts = [
        "please /cloud-code run",
        "/cloud-coder run",
        "/cloud-code-run",
        "/cloud-code/run",
        "/cloud-code\u{200B} run",
        "\u{200B}/cloud-code run",
        "/cloud\u{200D}-code run",
        "\u{FEFF}/cloud-code run",
        "\u{A0}/cloud-code run",
        "> /cloud-code run",
        "> quoted\n/cloud-code run",
        "> > /cloud-code run",
        "> [!NOTE]\n> /cloud-code run",
        ">\n> - a\n>\n>   /cloud-code run",
        "`/cloud-code run`",
        "`a\n/cloud-code run`",
        "```\n/cloud-code run\n```",
        "```\n/cloud-code run",
        "~~~~\n```\n/cloud-code run\n~~~~",
        "    /cloud-code run",
        "\t\t/cloud-code run",
        "- /cloud-code run",
        "1. /cloud-code run",
        "- a\n\n  /cloud-code run",
        "- a\n/cloud-code run",
        "- [ ] /cloud-code run",
        "# /cloud-code run",
        "/cloud-code run\n===",
        "/cloud-code run\n---",
        "| a |\n| - |\n| /cloud-code run |",
        "| /cloud-code run |\n| - |",
        "a[^1]\n\n[^1]: /cloud-code run",
        "a[^1]\n\n[^1]: b\n\n    /cloud-code run",
        "<!-- /cloud-code run -->",
        "<!--\n/cloud-code run\n-->",
        "<!--\n\n/cloud-code run\n\n-->",
        "a <!-- b\n/cloud-code run\n-->",
        "<div>\n/cloud-code run\n</div>",
        "<div>\n\n/cloud-code run\n\n</div>",
        "<details>\n<summary>x</summary>\n\n/cloud-code run\n\n</details>",
        "<details\n  class=\"a>b\">\n\n/cloud-code run\n\n</details>",
        "<details>\n<!--\n</details>\n-->\n\n/cloud-code run\n\n</details>",
        "<blockquote>\n\n/cloud-code run\n\n</blockquote>",
        "<pre>\n\n/cloud-code run\n\n</pre>",
        "<sub>\n/cloud-code run\n</sub>",
        "a <sub>\n/cloud-code run\n</sub>",
        "<b>/cloud-code run</b>",
        "<script>\n\n/cloud-code run\n\n</script>",
        "<?php\n\n/cloud-code run\n\n?>",
        "<![CDATA[\n\n/cloud-code run\n\n]]>",
        "[/cloud-code run](https://example.com)",
        "[a\n/cloud-code run](https://example.com)",
        "![a\n/cloud-code run](a.png)",
        "[a]:\n/cloud-code 'run'",
        "[a]: /b '\n/cloud-code run\n'",
        "**/cloud-code run**",
        "*a\n/cloud-code run*",
        "~~a\n/cloud-code run~~",
        "\\/cloud-code run",
        "&#47;cloud-code run",
        "/cloud&#45;code run",
        "$$\n/cloud-code run\n$$",
        "/cloud\\-code run",
        "",
        "/",
        "/cloud",
    ];
    for text in texts {
        assert_eq!(meaning(text), "-", "{text:?}");
    }
}

#[test]
fn html_that_is_closed_hides_nothing_after_it() {
    for text in [
        "<details>\n\na\n\n</details>\n\n/cloud-code status",
        "<!-- a -->\n\n/cloud-code status",
        "<br>\n\n/cloud-code status",
        "<p align=\"center\">a</p>\n\n/cloud-code status",
        "<img src=\"a.png\">\n\n/cloud-code status",
        "a <kbd>b</kbd>\n/cloud-code status",
    ] {
        assert_eq!(meaning(text), "status", "{text:?}");
    }
}

#[test]
fn mistakes_are_named() {
    insta::assert_snapshot!(table(&[
        "/cloud-code run cluade-code fix it",
        "/cloud-code cluade-code fix it",
        "/cloud-code run claude fix it",
        "/cloud-code claude fix it",
        "/cloud-code run code cleanup",
        "/cloud-code code cleanup of everything",
        "/cloud-code handoff",
        "/cloud-code handoff nobody",
        "/cloud-code handoff codx",
        "/cloud-code run --model",
        "/cloud-code run --model --budget 3",
        "/cloud-code run --modell opus",
        "/cloud-code run --verbose",
        "/cloud-code plan --model opus",
        "/cloud-code run --model a --model b",
        "/cloud-code fix it --budget 3",
        "/cloud-code run fix it --model=opus",
        "/cloud-code run --model a;b",
        "/cloud-code run --base ../x",
        "/cloud-code run --base -f",
        "/cloud-code run --budget much",
        "/cloud-code run --budget 0",
        "/cloud-code run --budget 1e3",
        "/cloud-code run --budget inf",
        "/cloud-code run --budget -1",
        "/cloud-code ask",
        "/cloud-code approve the plan",
        "/cloud-code help me with this",
        "/cloud-code status\n/cloud-code cancel",
        "/cloud-code status\n\n/cc cancel\n\n@claude go",
        "/cloud-code cancle",
        "/cloud-code Cancle!",
        "/cloud-code aprove",
        "/cloud-code stat",
        "/cloud-code statsu please",
        "/cloud-code stop",
        "/cloud-code yes",
        "/cloud-code lgtm!",
        "/cloud-code handof codex please go on with the tests",
        "/cloud-code config",
        "/cloud-code config modle x",
        "/cloud-code config model",
        "/cloud-code config timeout soon",
        "/cloud-code config draft perhaps",
        "/cloud-code config cli cluade-code",
        "/cloud-code config base a b",
        "/cloud-code `rm -rf` approve",
        "/cloud-code run --`@octocat` x",
    ]), @r#"
    "/cloud-code run cluade-code fix it" → ✗ unknown CLI `cluade-code`, did you mean `claude-code`?
    "/cloud-code cluade-code fix it" → ✗ unknown CLI `cluade-code`, did you mean `claude-code`?
    "/cloud-code run claude fix it" → ✗ unknown CLI `claude`, did you mean `claude-code`?
    "/cloud-code claude fix it" → ✗ unknown CLI `claude`, did you mean `claude-code`?
    "/cloud-code run code cleanup" → ✗ unknown CLI `code`, did you mean `codex`?
    "/cloud-code code cleanup of everything" → run | code cleanup of everything
    "/cloud-code handoff" → ✗ `handoff` needs the CLI that takes over
    "/cloud-code handoff nobody" → ✗ unknown CLI `nobody`
    "/cloud-code handoff codx" → ✗ unknown CLI `codx`, did you mean `codex`?
    "/cloud-code run --model" → ✗ the option `--model` has no value
    "/cloud-code run --model --budget 3" → ✗ the option `--model` has no value
    "/cloud-code run --modell opus" → ✗ `run` has no option `--modell`, did you mean `--model`?
    "/cloud-code run --verbose" → ✗ `run` has no option `--verbose`
    "/cloud-code plan --model opus" → ✗ `plan` has no option `--model`
    "/cloud-code run --model a --model b" → ✗ the option `--model` is there twice
    "/cloud-code fix it --budget 3" → ✗ the option `--budget` stands within the text
    "/cloud-code run fix it --model=opus" → ✗ the option `--model` stands within the text
    "/cloud-code run --model a;b" → ✗ `a;b` is not the name of a model
    "/cloud-code run --base ../x" → ✗ `../x` is not the name of a git branch
    "/cloud-code run --base -f" → ✗ `-f` is not the name of a git branch
    "/cloud-code run --budget much" → ✗ `much` is not an amount of US dollars
    "/cloud-code run --budget 0" → ✗ `0` is not an amount of US dollars
    "/cloud-code run --budget 1e3" → ✗ `1e3` is not an amount of US dollars
    "/cloud-code run --budget inf" → ✗ `inf` is not an amount of US dollars
    "/cloud-code run --budget -1" → ✗ `-1` is not an amount of US dollars
    "/cloud-code ask" → ✗ `ask` needs a text
    "/cloud-code approve the plan" → ✗ `approve` takes no more words, and `the plan` follows
    "/cloud-code help me with this" → ✗ `help` takes no more words, and `me with this` follows
    "/cloud-code status\n/cloud-code cancel" → ✗ there are 2 commands in one text
    "/cloud-code status\n\n/cc cancel\n\n@claude go" → ✗ there are 3 commands in one text
    "/cloud-code cancle" → ✗ `cancle` is not a command, did you mean `cancel`?
    "/cloud-code Cancle!" → ✗ `Cancle!` is not a command, did you mean `cancel`?
    "/cloud-code aprove" → ✗ `aprove` is not a command, did you mean `approve`?
    "/cloud-code stat" → ✗ `stat` is not a command, did you mean `status`?
    "/cloud-code statsu please" → ✗ `statsu` is not a command, did you mean `status`?
    "/cloud-code stop" → ✗ `stop` is not a command, did you mean `cancel`?
    "/cloud-code yes" → ✗ `yes` is not a command, did you mean `approve`?
    "/cloud-code lgtm!" → ✗ `lgtm!` is not a command, did you mean `approve`?
    "/cloud-code handof codex please go on with the tests" → ✗ `handof` is not a command, did you mean `handoff`?
    "/cloud-code config" → ✗ `config` needs a setting and its value
    "/cloud-code config modle x" → ✗ there is no setting `modle`, did you mean `model`?
    "/cloud-code config model" → ✗ the setting `model` needs a value
    "/cloud-code config timeout soon" → ✗ the setting `timeout` cannot be `soon`
    "/cloud-code config draft perhaps" → ✗ the setting `draft` cannot be `perhaps`
    "/cloud-code config cli cluade-code" → ✗ unknown CLI `cluade-code`, did you mean `claude-code`?
    "/cloud-code config base a b" → ✗ the setting `base` cannot be `a b`
    "/cloud-code `rm -rf` approve" → run | `rm -rf` approve
    "/cloud-code run --`@octocat` x" → run | --`@octocat` x
    "#);
}

#[test]
fn work_is_not_taken_for_a_mistake() {
    for text in [
        "fix",
        "go",
        "add tests",
        "refactor the parser",
        "post the figures of last week here",
        "code cleanup now and then",
        "rename cart to basket everywhere",
        "stop the flicker when the page loads",
        "update dependencies",
        "make it green",
    ] {
        assert_eq!(meaning(&format!("/cloud-code {text}")), format!("run | {text}"));
    }
}

#[test]
fn each_mistake_says_what_to_write() {
    for text in ["run cluade-code", "run --modell x", "cancle", "config x y", "ask", "fix --model a"] {
        let error = parse(&format!("/cloud-code {text}"), &rules()).unwrap_err();
        let hint = error.hint("/cloud-code").unwrap();
        assert!(!hint.is_empty() && !hint.ends_with('.'), "{hint}");
        let answer = format!("{error}\n{hint}");
        assert_eq!(meaning(&answer), "-", "our own answer is a command: {answer}");
    }
    let error = parse("/cloud-code run cluade-code", &rules()).unwrap_err();
    assert_eq!(error.to_string(), "unknown CLI `cluade-code`, did you mean `claude-code`?");
}

#[test]
fn a_strangers_words_stay_in_their_code_span() {
    let text = format!("/cloud-code config `@octocat`{} x", "y".repeat(100));
    let error = parse(&text, &rules()).unwrap_err().to_string();
    assert_eq!(error.matches('`').count(), 2, "{error}");
    assert!(error.chars().count() < 80, "{error}");
}

#[test]
fn every_example_of_the_reference_is_a_command() {
    for row in &TABLE {
        let command = parse(&format!("/cloud-code {}", row.example), &rules()).unwrap().unwrap().command;
        assert_eq!(verb_of(&command), row.verb);
        assert!(crate::help_text("/cloud-code").contains(&row.usage()));
        assert!(crate::command_reference("/cloud-code").contains(&row.usage()));
    }
    assert_eq!(meaning(&crate::help_text("/cloud-code")), "-");
    assert_eq!(meaning(&crate::command_reference("/cloud-code")), "-");
}

#[test]
fn a_text_without_its_command_keeps_the_rest() {
    let without = |text: &str| without_command(text, &rules()).unwrap_or_else(|| "-".to_owned());
    assert_eq!(
        without("Broken.\r\n\r\n/cloud-code run codex Mind the sign.\r\nAnd:\r\n\r\n- this"),
        "Broken.\n\nMind the sign.\nAnd:\n\n- this"
    );
    assert_eq!(without("Hello\n/cloud-code status"), "Hello");
    assert_eq!(without("/cloud-code"), "");
    assert_eq!(without("No command."), "-");
    assert_eq!(without("/cloud-code run\n\n/cloud-code cancel"), "-", "nobody knows which");
}
