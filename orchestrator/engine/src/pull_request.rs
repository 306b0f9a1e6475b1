//! The text of a pull request, from what is known of its tasks. Pure.
//!
//! It stands between two markers, because the rest belongs to people: a template that they fill in, a note they add. A
//! later task replaces what is between the markers and touches nothing else.

use std::collections::BTreeMap;

use cloud_code_model::TaskRecord;
use cloud_code_task_schema::{TaskId, TaskReport};

use crate::words::{cost_line, end_of, foreign, verify_lines};

const BEGIN: &str = "<!-- cloud-code-begin -->";
const END: &str = "<!-- cloud-code-end -->";
/// Most characters of an agent's summary: enough for a review's worth, far from the forge's 65,536.
const MAX_SUMMARY: usize = 8_000;

/// Where the work came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// An issue that the merge closes.
    Fixes(u64),
    /// An issue or pull request that the merge does not close.
    PartOf(u64),
    /// A task of the command line.
    CommandLine,
}

/// What the text is made of.
pub(crate) struct PullText<'a> {
    /// Where the work came from.
    pub(crate) origin: Origin,
    /// The tasks, the one that is published last.
    pub(crate) records: &'a [TaskRecord],
    /// What the agents reported of them.
    pub(crate) reports: &'a BTreeMap<TaskId, TaskReport>,
}

/// The section, with its markers.
pub(crate) fn pull_text(text: &PullText<'_>) -> String {
    let mut out = vec![BEGIN.to_owned()];
    match text.origin {
        Origin::Fixes(number) => out.push(format!("Fixes #{number}")),
        Origin::PartOf(number) => out.push(format!("Part of #{number}")),
        Origin::CommandLine => {}
    }
    if let Some(last) = text.records.last() {
        let criteria = criteria(text.records);
        let summary = last.summary.as_deref().map(|summary| without_criteria(summary, &criteria));
        if let Some(summary) = summary.filter(|summary| !summary.trim().is_empty()) {
            out.push(foreign(&summary, MAX_SUMMARY));
        }
        if !criteria.is_empty() {
            out.push("### Acceptance criteria".to_owned());
            out.push(
                criteria
                    .iter()
                    .map(|(text, met)| format!("- [{}] {}", if *met { "x" } else { " " }, foreign(text, 500)))
                    .collect::<Vec<_>>()
                    .join("\n"),
            );
        }
        out.push("### How it was verified".to_owned());
        out.push(match text.reports.get(&last.task.id).map(verify_lines) {
            Some(lines) if !lines.is_empty() => lines.join("\n"),
            Some(_) | None => "No verify command is set for this project.".to_owned(),
        });
        out.push("### Cost".to_owned());
        out.push(costs(text.records));
    }
    out.push(END.to_owned());
    out.join("\n\n")
}

/// The body with our section replaced; `None` when it is not there, because somebody took it out.
pub(crate) fn replace_section(body: &str, section: &str) -> Option<String> {
    let begin = body.find(BEGIN)?;
    let end = begin + body.get(begin..)?.find(END)? + END.len();
    Some(format!("{}{section}{}", body.get(..begin)?, body.get(end..)?))
}

/// The criteria of the newest task that has any, and which of them an agent said are met: it is asked to end with them
/// as a task list.
pub(crate) fn criteria(records: &[TaskRecord]) -> Vec<(String, bool)> {
    let Some(asked) = records.iter().rev().find(|record| !record.task.brief.acceptance_criteria.is_empty())
    else {
        return Vec::new();
    };
    let met: Vec<String> = records
        .iter()
        .filter_map(|record| record.summary.as_deref())
        .flat_map(str::lines)
        .filter_map(ticked)
        .map(plain)
        .collect();
    asked
        .task
        .brief
        .acceptance_criteria
        .iter()
        .map(|criterion| (criterion.clone(), met.contains(&plain(criterion))))
        .collect()
}

/// A summary without the criteria at its end, which have a list of their own.
fn without_criteria(summary: &str, criteria: &[(String, bool)]) -> String {
    let is_criterion = |line: &str| {
        let said = ticked(line).or_else(|| item(line)?.strip_prefix("[ ]")).map(plain);
        said.is_some_and(|said| criteria.iter().any(|(criterion, _)| plain(criterion) == said))
    };
    summary.lines().filter(|line| !is_criterion(line)).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

fn item(line: &str) -> Option<&str> {
    Some(line.trim_start().strip_prefix(['-', '*', '+'])?.trim_start())
}

fn ticked(line: &str) -> Option<&str> {
    let item = item(line)?;
    item.strip_prefix("[x]").or_else(|| item.strip_prefix("[X]"))
}

/// Words alone: models change quotes, dots and spaces when they repeat a sentence.
fn plain(text: &str) -> String {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

fn costs(records: &[TaskRecord]) -> String {
    let mut lines =
        vec!["| task | CLI | how it ended | used |".to_owned(), "| --- | --- | --- | --- |".to_owned()];
    for (index, record) in records.iter().enumerate() {
        let how = end_of(&record.state);
        lines.push(format!("| {} | {} | {how} | {} |", index + 1, record.cli(), cost_line(&record.usage)));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::tests::record;

    #[test]
    fn only_our_section_is_replaced() {
        let first = format!("Template\n\n{BEGIN}\nold\n{END}\n\nA person's note");
        let second = replace_section(&first, &format!("{BEGIN}\nnew\n{END}")).unwrap();
        assert_eq!(second, format!("Template\n\n{BEGIN}\nnew\n{END}\n\nA person's note"));
        assert_eq!(replace_section("all rewritten by a person", "x"), None);
        assert_eq!(replace_section(&format!("{END} {BEGIN}"), "x"), None);
    }

    #[test]
    fn criteria_are_ticked_when_the_agent_says_so() {
        let mut record = record("T1", "codex");
        record.task.brief.acceptance_criteria =
            vec!["Empty passwords are refused.".into(), "`cargo test` passes".into()];
        record.summary = Some("Done.\n- [x] empty passwords are refused\n- [ ] `cargo test` passes".into());
        let met: Vec<bool> = criteria(&[record]).into_iter().map(|(_, met)| met).collect();
        assert_eq!(met, [true, false]);
    }

    #[test]
    fn the_text_says_what_a_reviewer_asks_first() {
        let mut record = record("T1", "codex");
        record.task.brief.acceptance_criteria = vec!["It is refused".into()];
        record.summary = Some("Refuses it. cc @everybody\n\n- [x] It is refused".into());
        let text =
            pull_text(&PullText { origin: Origin::Fixes(42), records: &[record], reports: &BTreeMap::new() });
        insta::assert_snapshot!(text);
    }
}
