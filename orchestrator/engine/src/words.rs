//! Figures and foreign text in the words of a comment. Pure.

use cloud_code_model::TaskState;
use cloud_code_task_schema::{CostSource, TaskReport, Usage};

/// What was used, in one line.
pub(crate) fn cost_line(usage: &Usage) -> String {
    let mut parts = Vec::new();
    if let Some(cost) = &usage.cost_usd {
        let estimated = match usage.cost_source {
            CostSource::Estimated => ", estimated",
            CostSource::Reported | CostSource::Unknown => "",
        };
        parts.push(format!("{cost}{estimated}"));
    }
    if let Some(tokens) = usage.input_tokens {
        parts.push(format!("{} tokens in", thousands(tokens)));
    }
    if let Some(tokens) = usage.output_tokens {
        parts.push(format!("{} tokens out", thousands(tokens)));
    }
    if let Some(turns) = usage.turns {
        parts.push(if turns == 1 { "1 turn".to_owned() } else { format!("{turns} turns") });
    }
    match parts.is_empty() {
        true => "not reported by the CLI".to_owned(),
        false => parts.join(", "),
    }
}

/// How a task ended, to follow its name. Those that have not are on their way.
pub(crate) fn how_it_ended(state: &TaskState) -> &'static str {
    match state {
        TaskState::Done { .. } | TaskState::Publishing { .. } => "is done",
        TaskState::NeedsInput { .. } => "ended with a question",
        TaskState::Failed { .. } => "failed",
        TaskState::Cancelled { .. } => "was stopped",
        TaskState::AwaitingApproval { .. } => "waits for a yes",
        TaskState::BackingOff { .. } => "will be tried again",
        TaskState::OverBudget { .. } => "waits for a larger budget",
        TaskState::Queued | TaskState::Preparing => "has not begun",
        TaskState::Running { .. } | TaskState::Importing { .. } => "is not over",
    }
}

/// The same as one word of a list.
pub(crate) fn end_of(state: &TaskState) -> &'static str {
    let told = how_it_ended(state);
    told.strip_prefix("is ").or_else(|| told.strip_prefix("was ")).unwrap_or(told)
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The last round of the verify commands, one list item each.
pub(crate) fn verify_lines(report: &TaskReport) -> Vec<String> {
    let last = report.verify.iter().map(|verify| verify.round).max().unwrap_or(0);
    let in_last = report.verify.iter().filter(|verify| verify.round == last);
    in_last
        .map(|verify| {
            let how = match verify.exit_code {
                Some(0) => "passed".to_owned(),
                Some(code) => format!("failed with exit code {code}"),
                None => "was stopped".to_owned(),
            };
            format!("- {} {how} in {}", code(&verify.command, MAX_COMMAND), verify.duration)
        })
        .collect()
}

/// Longest command that is shown.
const MAX_COMMAND: usize = 200;

/// Text on one line, as code: no Markdown in it has an effect.
pub(crate) fn code(text: &str, most: usize) -> String {
    let line: String = cut(text, most).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    // A fence longer than any run of backquotes inside.
    let longest = line.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    match longest {
        0 => format!("{fence}{line}{fence}"),
        _ => format!("{fence} {line} {fence}"),
    }
}

/// Text of an agent or a stranger, to stand in a comment of ours: no hidden characters, no comments that could pass for
/// our markers, nobody is notified, and nothing in it reads as a command.
pub(crate) fn foreign(text: &str, most: usize) -> String {
    cloud_code_intake::disarm(&cut(text.trim(), most))
}

/// Cut at a character, with a sign that something is missing.
fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use cloud_code_model::{Brief, NewTask, ProjectSettings, TaskRecord};
    use cloud_code_task_schema::{Mode, Usd};
    use jiff::Timestamp;

    pub(crate) fn record(id: &str, cli: &str) -> TaskRecord {
        let task = NewTask {
            id: id.parse().unwrap(),
            project: "shop".parse().unwrap(),
            issue: "42".parse().unwrap(),
            title: "Refuse an empty password".into(),
            description: "Fix".into(),
            brief: Brief::default(),
            mode: Mode::Edit,
            continues: None,
            handoff: None,
            plan: ProjectSettings::default().plan("/srv/shop".into(), cli.parse().unwrap()),
            requested_by: Some("alice".into()),
            intent: None,
            queue: Default::default(),
            created_at: Timestamp::UNIX_EPOCH,
        };
        TaskRecord { state: TaskState::Done { head: None }, ..TaskRecord::queued(task) }
    }

    #[test]
    fn figures_read_well() {
        let usage = Usage {
            cost_usd: Usd::new(0.42).ok(),
            cost_source: CostSource::Estimated,
            input_tokens: Some(1_234_567),
            output_tokens: Some(999),
            ..Usage::default()
        };
        assert_eq!(cost_line(&usage), "$0.42, estimated, 1,234,567 tokens in, 999 tokens out");
        assert_eq!(cost_line(&Usage::default()), "not reported by the CLI");
    }

    #[test]
    fn code_stays_code() {
        assert_eq!(code("cargo test", 99), "`cargo test`");
        assert_eq!(code("a `b` ``c``", 99), "``` a `b` ``c`` ```");
        assert_eq!(code("two\nlines", 99), "`two lines`");
        assert_eq!(code("abcdef", 3), "`abc…`");
    }
}
