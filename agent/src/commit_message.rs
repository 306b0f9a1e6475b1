//! The message of the agent's own commit: the first line of the CLI's answer where that is one, else what a short turn
//! brings, else the task's title.

use cloud_code_task_schema::{CommitSettings, CommitStyle};

use crate::parse::{clip_to, one_line};

/// Longest first line, by git's own custom.
const MAX_SUBJECT_CHARS: usize = 72;
/// Longest text below it.
const MAX_BODY_BYTES: usize = 4 * 1024;
/// The first line when nothing better is known.
const FALLBACK: &str = "Work of the coding CLI";
/// Words that begin a conventional commit message.
const COMMIT_TYPES: [&str; 11] =
    ["feat", "fix", "docs", "style", "refactor", "perf", "test", "build", "ci", "chore", "revert"];
/// How answers begin that talk to a person instead of naming the change.
const CHATTER: [&str; 16] = [
    "i ", "i'", "i’", "we ", "done", "ok", "sure", "great", "perfect", "all ", "here", "the ", "this ",
    "your ", "summary", "now ",
];

/// The first line of the CLI's answer, if it serves as the first line of a commit message.
pub(crate) fn subject_in(answer: &str, style: CommitStyle) -> Option<String> {
    let line = plain(answer.lines().map(str::trim).find(|line| !line.is_empty())?);
    let has_words = line.contains(char::is_whitespace) && line.contains(char::is_alphabetic);
    let is_short = line.chars().count() <= MAX_SUBJECT_CHARS;
    let fits = has_words && is_short && !line.ends_with([':', '?', '!', '…']);
    match style {
        CommitStyle::Conventional => (fits && is_conventional(&line)).then_some(line),
        CommitStyle::Plain if is_conventional(&line) => fits.then_some(line),
        CommitStyle::Plain => {
            let lower = line.to_lowercase();
            let talks = CHATTER.iter().any(|start| lower.starts_with(start));
            (fits && !talks && !line.contains(['`', '|'])).then(|| line.trim_end_matches('.').to_owned())
        }
    }
}

/// A whole message out of an answer that was to be nothing else.
pub(crate) fn message_in(answer: &str, style: CommitStyle) -> Option<String> {
    // Some models put it into a block of code, whatever they are told.
    let bare: Vec<&str> = answer.lines().filter(|line| !line.trim_start().starts_with("```")).collect();
    let bare = bare.join("\n");
    let subject = subject_in(&bare, style)?;
    let text = bare.trim_start().split_once('\n').map(|(_, text)| text.trim()).unwrap_or_default();
    Some(if text.is_empty() { subject } else { format!("{subject}\n\n{}", body(text)) })
}

/// The title, with the CLI's answer below it where there is one.
pub(crate) fn from_title_and_answer(title: &str, answer: Option<&str>, style: CommitStyle) -> String {
    let subject = from_title(title, style);
    match answer.map(str::trim).filter(|answer| !answer.is_empty()) {
        Some(answer) => format!("{subject}\n\n{}", body(answer)),
        None => subject,
    }
}

/// What the title makes, when the CLI gave nothing.
fn from_title(title: &str, style: CommitStyle) -> String {
    let title = plain(&one_line(title));
    let subject = match (title.is_empty(), style) {
        (true, CommitStyle::Plain) => FALLBACK.to_owned(),
        (true, CommitStyle::Conventional) => format!("chore: {}", FALLBACK.to_lowercase()),
        (false, CommitStyle::Conventional) if !is_conventional(&title) => format!("chore: {title}"),
        (false, _) => title,
    };
    if subject.chars().count() <= MAX_SUBJECT_CHARS {
        return subject;
    }
    subject.chars().take(MAX_SUBJECT_CHARS - 1).chain(['…']).collect()
}

/// Adds the trailers.
pub(crate) fn with_trailers(message: &str, settings: &CommitSettings) -> String {
    let trailers: Vec<String> =
        settings.co_authors.iter().map(|author| format!("Co-authored-by: {author}")).collect();
    match trailers.is_empty() {
        true => message.to_owned(),
        false => format!("{}\n\n{}", message.trim_end(), trailers.join("\n")),
    }
}

/// What git takes below the first line: it refuses NUL, and the rest would be shown on somebody's terminal.
fn body(text: &str) -> String {
    let is_sound = |c: &char| matches!(c, '\n' | '\t') || !c.is_control();
    clip_to(text, MAX_BODY_BYTES).chars().filter(is_sound).collect()
}

/// Without the marks of a heading or of bold text, and without control characters.
fn plain(line: &str) -> String {
    let line: String = line.chars().filter(|c| !c.is_control()).collect();
    let line = line.trim_start_matches('#').trim();
    let inner = line.strip_prefix("**").and_then(|line| line.strip_suffix("**"));
    inner.unwrap_or(line).trim().to_owned()
}

fn is_conventional(line: &str) -> bool {
    let Some((head, text)) = line.split_once(": ") else { return false };
    let head = head.strip_suffix('!').unwrap_or(head);
    let kind =
        head.split_once('(').map_or(head, |(kind, scope)| if scope.ends_with(')') { kind } else { "" });
    COMMIT_TYPES.contains(&kind) && !text.trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_line_is_taken_only_when_it_is_one() {
        let plain = |answer: &str| subject_in(answer, CommitStyle::Plain);
        let conventional = |answer: &str| subject_in(answer, CommitStyle::Conventional);
        let fix = Some("fix(login): reject an empty password".to_owned());
        assert_eq!(plain("fix(login): reject an empty password\n\nDetails"), fix);
        assert_eq!(conventional("fix(login): reject an empty password\n\nDetails"), fix);
        assert_eq!(
            plain("\n## Reject an empty password.\nMore").as_deref(),
            Some("Reject an empty password")
        );
        assert_eq!(plain("**Reject an empty password**").as_deref(), Some("Reject an empty password"));
        for talk in [
            "I have fixed it",
            "Done! All is well",
            "Summary",
            "200",
            "What I did:",
            "x".repeat(73).as_str(),
            "",
        ] {
            assert_eq!(plain(talk), None, "{talk}");
        }
        for other in ["Reject an empty password", "fixed(login): x", "Note: something"] {
            assert_eq!(conventional(other), None, "{other}");
        }
    }

    #[test]
    fn an_asked_for_message_may_stand_in_a_block_of_code() {
        let answer = "```\nfix: reject it\n\nBecause.\n```\n";
        assert_eq!(
            message_in(answer, CommitStyle::Conventional).as_deref(),
            Some("fix: reject it\n\nBecause.")
        );
    }

    #[test]
    fn nothing_that_git_refuses_is_in_a_message() {
        let answer = "I did\0 it\u{1b}[31m\n\twell";
        let message = from_title_and_answer("Title", Some(answer), CommitStyle::Plain);
        assert_eq!(message, "Title\n\nI did it[31m\n\twell");
        let message = message_in("fix: i\0t\n\nB\0ecause", CommitStyle::Plain);
        assert_eq!(message.as_deref(), Some("fix: it\n\nBecause"));
    }

    #[test]
    fn the_title_does_in_the_end() {
        assert_eq!(from_title("Reject it", CommitStyle::Plain), "Reject it");
        assert_eq!(from_title("Reject it", CommitStyle::Conventional), "chore: Reject it");
        assert_eq!(from_title("fix: it", CommitStyle::Conventional), "fix: it");
        assert_eq!(from_title(&"x".repeat(100), CommitStyle::Plain).chars().count(), MAX_SUBJECT_CHARS);
        assert_eq!(from_title(" \n", CommitStyle::Plain), FALLBACK);
    }

    #[test]
    fn co_authors_are_trailers() {
        let mut settings = CommitSettings::default();
        assert_eq!(with_trailers("S", &settings), "S");
        settings.co_authors = vec!["A <a@example.org>".to_owned(), "B <b@example.org>".to_owned()];
        let expected = "S\n\nCo-authored-by: A <a@example.org>\nCo-authored-by: B <b@example.org>";
        assert_eq!(with_trailers("S\n", &settings), expected);
    }
}
