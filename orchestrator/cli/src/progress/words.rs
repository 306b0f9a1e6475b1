//! Events and steps in a person's words.

use cloud_code_engine::Step;
use cloud_code_task_schema::{ChangeKind, Event, EventKind, ExitReport, Usage};

use crate::ui::{one_line, tokens};

/// One event as one line; `None` for those that only repeat another.
pub(crate) fn event_line(event: &Event) -> Option<String> {
    let line = match &event.kind {
        EventKind::AgentStarted { version, .. } => format!("agent {} is up", one_line(version)),
        EventKind::TaskReceived { title } => format!("task received: {}", one_line(title)),
        EventKind::CliStarted { command, .. } => {
            format!("started {}", one_line(command.first().map_or("the CLI", String::as_str)))
        }
        EventKind::Message { text } => one_line(text),
        EventKind::Thinking { text } => format!("thinking: {}", one_line(text)),
        EventKind::ToolUse { tool, summary, .. } => format!("{}: {}", one_line(tool), one_line(summary)),
        EventKind::ToolResult { is_error: true, output, .. } => format!("tool failed: {}", one_line(output)),
        EventKind::ToolResult { is_error: false, .. } | EventKind::Usage { .. } => return None,
        EventKind::FileChanged { path, change } => format!("{} {}", change_word(*change), one_line(path)),
        EventKind::Verify { command, exit_code: Some(0), .. } => format!("verified: {}", one_line(command)),
        EventKind::Verify { command, exit_code, round } => {
            let code = exit_code.map_or("no exit code".to_owned(), |c| format!("exit code {c}"));
            format!("verify failed in round {round} ({code}): {}", one_line(command))
        }
        EventKind::Question { text } => format!("question: {}", one_line(text)),
        EventKind::Warning { message } => format!("warning: {}", one_line(message)),
        EventKind::CliExited { exit } => format!("the CLI ended ({})", exit_words(*exit)),
        EventKind::Committed { sha, message } => {
            format!("committed {} {}", one_line(sha.get(..8).unwrap_or(sha)), one_line(message))
        }
        EventKind::TaskEnded { status, failure: None } => format!("task ended: {}", snake(status)),
        EventKind::TaskEnded { status, failure: Some(failure) } => {
            format!("task ended: {} ({}: {})", snake(status), failure.kind, one_line(&failure.message))
        }
        EventKind::LogTruncated { dropped_bytes, what } => {
            format!("warning: {dropped_bytes} bytes are missing from {}", one_line(what))
        }
    };
    Some(line)
}

fn change_word(change: ChangeKind) -> &'static str {
    match change {
        ChangeKind::Added => "added",
        ChangeKind::Modified => "changed",
        ChangeKind::Deleted => "deleted",
        ChangeKind::Renamed => "renamed",
    }
}

fn exit_words(exit: ExitReport) -> String {
    match (exit.code, exit.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".to_owned(),
    }
}

/// A status of the contract as it stands in the files.
pub(crate) fn snake<T: serde::Serialize>(status: &T) -> String {
    serde_json::to_value(status).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

/// A step of the host; `None` for those that say nothing to a person.
pub(crate) fn step_line(step: &Step) -> Option<String> {
    let line = match step {
        Step::PrepareWorkspace => "preparing the worktree",
        Step::CreateContainer => "preparing the agent",
        Step::StartContainer { .. } => "starting the agent",
        Step::Import => "taking the commits through the quarantine",
        Step::AwaitApproval => "waiting for a yes",
        Step::Publish => "handing the branch over",
        Step::StopContainer { reason, .. } => {
            return Some(format!("warning: stopping the container: {}", reason.message()));
        }
        Step::Wake => "trying again",
        Step::Take | Step::Withdraw | Step::WriteTasking | Step::RecordStarted { .. } => return None,
        Step::Rest | Step::CutBudget | Step::AwaitBudget => return None,
        Step::RecordEnded { .. } | Step::RemoveContainer { .. } | Step::Wait | Step::Finished => return None,
    };
    Some(line.to_owned())
}

/// Tokens and money in a few words; empty when nothing is known.
pub(crate) fn usage_line(usage: &Usage) -> String {
    let mut parts = Vec::new();
    if let Some(turns) = usage.turns {
        parts.push(format!("{turns} turns"));
    }
    if let Some(input) = usage.input_tokens {
        let cached = usage.cache_read_tokens.unwrap_or(0) + usage.cache_write_tokens.unwrap_or(0);
        parts.push(format!("{} tokens in", tokens(input + cached)));
    }
    if let Some(output) = usage.output_tokens {
        parts.push(format!("{} out", tokens(output)));
    }
    if let Some(cost) = usage.cost_usd {
        parts.push(format!("{cost} ({})", snake(&usage.cost_source)));
    }
    parts.join(", ")
}
