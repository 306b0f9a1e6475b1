//! What must hold for every text that anybody can write. Used by the generated inputs, the property tests and the fuzz
//! target, so that all three mean the same.

use std::collections::BTreeSet;

use cloud_code_intake::{Rules, carries_marker, neutralize, parse, read, render, sections, visible};
use cloud_code_model::{Actor, Command};

/// A project's rules with every kind of prefix.
pub(crate) fn rules() -> Rules {
    Rules {
        prefix: "/cloud-code".to_owned(),
        aliases: vec!["/cc".to_owned(), "@agent".to_owned()],
        bot: Some(Actor { id: 1, login: "cloud-code[bot]".to_owned() }),
        account: None,
        app_id: Some(1),
        listed_bots: BTreeSet::new(),
        ready_labels: vec!["ready-for-agent".to_owned()],
        on_assignment: true,
        on_mention: true,
        on_changes_requested: true,
        on_failing_checks: true,
        branch_prefix: "cloud-code/".to_owned(),
        clis: ["claude-code", "codex"].map(|name| name.parse().expect("a name")).to_vec(),
    }
}

/// Checks one text. Panics when something does not hold.
pub(crate) fn check(text: &str, rules: &Rules) {
    let parsed = parse(text, rules);
    if let Ok(Some(found)) = &parsed
        && parse(text_of(&found.command), rules) == Ok(None)
    {
        let rendered = render(&found.command, &rules.prefix);
        let again = parse(&rendered, rules).map(|again| again.map(|again| again.command));
        assert_eq!(again, Ok(Some(found.command.clone())), "{text:?} was rendered as {rendered:?}");
    }
    if let Err(error) = &parsed {
        let answer = format!("{error}\n\n{}", error.hint(&rules.prefix).unwrap_or_default());
        assert_eq!(parse(&answer, rules), Ok(None), "our own answer is a command: {answer:?}");
    }

    let lines = text.replace("\r\n", "\n").replace('\r', "\n");
    let quoted: String = lines.split('\n').map(|line| format!("> {line}\n")).collect();
    assert_eq!(parse(&quoted, rules), Ok(None), "a quote is obeyed: {quoted:?}");
    let fence = "`".repeat(3 + text.matches('`').count());
    let fenced = format!("{fence}\n{lines}\n{fence}\n");
    assert_eq!(parse(&fenced, rules), Ok(None), "code is obeyed: {fenced:?}");
    let indented: String = lines.split('\n').map(|line| format!("    {line}\n")).collect();
    let indented = format!("# code\n\n{indented}");
    assert_eq!(parse(&indented, rules), Ok(None), "indented code is obeyed: {indented:?}");
    let commented = format!("<!--\n{}\n-->\n", lines.replace("--", "=="));
    assert_eq!(parse(&commented, rules), Ok(None), "a comment is obeyed: {commented:?}");
    let folded = format!("<details>\n\n{}\n\n</details>\n", lines.replace("</", "< "));
    assert_eq!(parse(&folded, rules), Ok(None), "what is folded away is obeyed: {folded:?}");

    let ours = neutralize(text);
    assert_eq!(parse(&ours, rules), Ok(None), "our quote is a command: {ours:?}");
    assert!(!carries_marker(&ours), "our quote has a marker: {ours:?}");

    let seen = visible(text);
    let again = visible(&seen.text);
    assert_eq!(again.text, seen.text, "{text:?} shows more the second time");
    let apart = sections(&seen.text);
    assert!(
        apart
            .related_files
            .iter()
            .all(|path| !path.starts_with('/') && !path.split('/').any(|part| part == ".."))
    );

    for event in ["issue_comment", "push"] {
        let _ = read(event, text.as_bytes());
    }
}

/// The text that a command carries. `/cloud-code /cloud-code` carries another command, and is rendered as two.
fn text_of(command: &Command) -> &str {
    match command {
        Command::Run { text, .. }
        | Command::Plan { text }
        | Command::Ask { text }
        | Command::Handoff { text, .. }
        | Command::Reject { reason: text } => text,
        _ => "",
    }
}
