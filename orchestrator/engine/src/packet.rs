//! The packet that one CLI leaves for the next, from what is stored and reported of an issue. Derived when a hand-off
//! is asked for, never kept up to date: the sources are the rows, the report and the branch.
//!
//! A summary by a model was rejected: it costs a turn of the CLI that is being left, often because it fails.

use std::collections::BTreeMap;

use cloud_code_model::{TaskRecord, TaskState};
use cloud_code_task_schema::{Handoff, Mode, TaskId, TaskReport, VerifyReport};

/// Bytes of the goal and of the plan, each. They are read whole by the next CLI and paid for by the token; an issue's
/// text is rarely a tenth of this.
const MAX_TEXT: usize = 16 * 1024;
/// Bytes of one thing done, failed, open or asked.
const MAX_ITEM: usize = 2 * 1024;
/// Items of one list; the newest are kept.
const MAX_ITEMS: usize = 30;
/// Bytes of the end of a failing check's output.
const MAX_OUTPUT: usize = 1024;
/// Bytes of the diff stat; a change of a hundred files fits.
const MAX_STAT: usize = 8 * 1024;

/// Builds the packet. `records` are the tasks, oldest first; `reports` is what the agent said of them.
pub fn packet(
    records: &[TaskRecord],
    reports: &BTreeMap<TaskId, TaskReport>,
    diff_stat: Option<&str>,
) -> Handoff {
    let last = records.last();
    let done_well = |record: &&TaskRecord| matches!(record.state, TaskState::Done { .. });
    let plan = records.iter().rev().filter(done_well).find(|r| r.task.mode == Mode::Plan);
    let questions = last.filter(|r| matches!(r.state, TaskState::NeedsInput { .. }));
    Handoff {
        from: last.map(|record| record.cli().clone()),
        goal: records.first().map(|record| head_of(&instruction(record), MAX_TEXT)),
        plan: plan.and_then(|r| r.summary.as_deref()).map(|text| head_of(text, MAX_TEXT)),
        done: newest(records.iter().flat_map(|record| done(record, reports.get(&record.task.id)))),
        failed: newest(records.iter().filter_map(failed)),
        open: newest(open(records)),
        failed_checks: newest(red_checks(records, reports).into_iter().map(check)),
        questions: newest(
            questions.iter().flat_map(|r| &r.questions).map(|question| head_of(question, MAX_ITEM)),
        ),
        diff_stat: diff_stat.map(|text| head_of(text, MAX_STAT)).filter(|text| !text.is_empty()),
    }
}

/// What was asked: the title, and the text where it says more.
fn instruction(record: &TaskRecord) -> String {
    let (title, text) = (record.task.title.trim(), record.task.description.trim());
    let first = text.lines().next().unwrap_or_default().trim();
    match (text.is_empty(), first == title) {
        (true, _) => title.to_owned(),
        (false, true) => text.to_owned(),
        (false, false) => format!("{title}\n\n{text}"),
    }
}

/// What a task reached: its own words when it ended well, and the commits that were taken.
fn done(record: &TaskRecord, report: Option<&TaskReport>) -> Vec<String> {
    let mut items = Vec::new();
    let said = record.summary.as_deref().map(str::trim).filter(|text| !text.is_empty());
    let (is_done, is_plan) = (matches!(record.state, TaskState::Done { .. }), record.task.mode == Mode::Plan);
    match (is_done, said) {
        // The plan has a place of its own in the packet.
        (true, Some(said)) if !is_plan => {
            items.push(head_of(&format!("{}: {said}", record.task.title.trim()), MAX_ITEM));
        }
        (true, None) if !is_plan => items.push(head_of(record.task.title.trim(), MAX_ITEM)),
        (true | false, _) => {}
    }
    if record.state.head().is_some() {
        let commits = report.map(|r| r.commits.as_slice()).unwrap_or_default();
        items.extend(commits.iter().map(|commit| {
            let sha: String = commit.sha.chars().take(SHORT_SHA).collect();
            head_of(&format!("commit {sha} {}", commit.message.trim()), MAX_ITEM)
        }));
    }
    items
}

/// Digits of a commit's id that people and models can carry.
const SHORT_SHA: usize = 12;

fn failed(record: &TaskRecord) -> Option<String> {
    let title = record.task.title.trim();
    let text = match &record.state {
        TaskState::Failed { failure, .. } => format!("{title}: {}: {}", failure.kind, failure.message.trim()),
        TaskState::Cancelled { .. } => format!("{title}: a person stopped it"),
        _ => return None,
    };
    Some(head_of(&text, MAX_ITEM))
}

/// What was asked since the last task that ended well, and is not reached.
fn open(records: &[TaskRecord]) -> Vec<String> {
    let ended_well = |record: &TaskRecord| matches!(record.state, TaskState::Done { .. });
    let since = records.iter().rposition(ended_well).map_or(0, |index| index + 1);
    let mut items = Vec::new();
    for (index, record) in records.iter().enumerate().skip(since) {
        // The first task's whole text is the goal.
        let text = if index == 0 { record.task.title.trim().to_owned() } else { instruction(record) };
        items.push(head_of(&text, MAX_ITEM));
    }
    items
}

/// The checks that were red when they were run last.
fn red_checks<'a>(
    records: &[TaskRecord],
    reports: &'a BTreeMap<TaskId, TaskReport>,
) -> Vec<&'a VerifyReport> {
    let of = |record: &TaskRecord| reports.get(&record.task.id).map(|report| report.verify.as_slice());
    let Some(runs) = records.iter().rev().filter_map(of).find(|runs| !runs.is_empty()) else {
        return Vec::new();
    };
    let last_round = runs.iter().map(|run| run.round).max().unwrap_or(0);
    runs.iter().filter(|run| run.round == last_round && run.exit_code != Some(0)).collect()
}

fn check(run: &VerifyReport) -> String {
    let how = match run.exit_code {
        Some(code) => format!("exit code {code}"),
        None => "did not end".to_owned(),
    };
    let tail = tail_of(run.output_tail.trim(), MAX_OUTPUT);
    let text = if tail.is_empty() { String::new() } else { format!("\n{tail}") };
    format!("{} ({how}){text}", head_of(run.command.trim(), MAX_OUTPUT))
}

/// The newest items, and a word on the others.
fn newest(items: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut items: Vec<String> = items.into_iter().collect();
    if items.len() > MAX_ITEMS {
        let left_out = items.len() - MAX_ITEMS;
        items.drain(..left_out);
        items.insert(0, format!("({left_out} earlier ones are left out)"));
    }
    items
}

/// The beginning of a text, cut between characters, with a word on what is missing.
fn head_of(text: &str, max: usize) -> String {
    let text = text.trim();
    if text.len() <= max {
        return text.to_owned();
    }
    let end = (0..=max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let (kept, rest) = text.split_at(end);
    format!("{} … ({} bytes are left out)", kept.trim_end(), rest.len())
}

fn tail_of(text: &str, max: usize) -> &str {
    let start = text.len().saturating_sub(max);
    let start = (start..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    text.get(start..).unwrap_or_default()
}
