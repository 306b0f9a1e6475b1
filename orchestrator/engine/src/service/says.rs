//! The words of single answers: settings, costs, logs.

use std::collections::BTreeMap;

use cloud_code_model::{ConfigKey, TaskRecord, TaskState};
use cloud_code_task_schema::{
    BranchName, CliName, ControlDir, EventItem, EventKind, EventReader, HumanDuration, Priority, Usd,
};

use crate::public;
use crate::words::{code, cost_line, how_it_ended};
use crate::{Engine, EngineError, blocking};

/// How many of the last events are shown.
const LOG_LINES: usize = 40;
/// Most characters of a hint.
const MAX_HINT: usize = 1_000;
/// Most characters of one line.
const LOG_WIDTH: usize = 200;

/// What takes a setting back.
pub(super) const DEFAULT: &str = "default";

/// Whether a later task keeps this of the last one, so that taking a setting back has to be remembered.
pub(super) const fn is_kept_by_tasks(key: ConfigKey) -> bool {
    match key {
        ConfigKey::Cli | ConfigKey::Model => true,
        ConfigKey::Base | ConfigKey::Budget | ConfigKey::Timeout | ConfigKey::Draft => false,
        ConfigKey::Priority | ConfigKey::After => false,
    }
}

/// The value of a setting, checked; `None` takes it back.
pub(super) fn checked_config(key: ConfigKey, value: &str, has_begun: bool) -> Result<Option<String>, String> {
    let value = value.trim();
    if value == DEFAULT {
        return Ok(None);
    }
    let shown = code(value, 80);
    let fits = match key {
        ConfigKey::Cli => value.parse::<CliName>().map(drop).map_err(|_| "the name of a coding CLI"),
        ConfigKey::Model => {
            match value.chars().any(|c| c.is_whitespace() || c.is_control()) || value.starts_with('-') {
                true => Err("a model's name"),
                false => Ok(()),
            }
        }
        ConfigKey::Base if has_begun => {
            return Err("the base cannot be changed any more, because work has begun from it.".to_owned());
        }
        ConfigKey::Base => value.parse::<BranchName>().map(drop).map_err(|_| "the name of a branch"),
        ConfigKey::Budget => {
            amount(value).map(drop).ok_or(()).map_err(|_| "an amount in US dollars, as `2.50`")
        }
        ConfigKey::Timeout => value.parse::<HumanDuration>().map(drop).map_err(|_| "a duration, as `30m`"),
        ConfigKey::Draft => match value {
            "true" | "false" => Ok(()),
            _ => Err("`true` or `false`"),
        },
        ConfigKey::Priority => {
            value.parse::<Priority>().map(drop).map_err(|_| "`critical`, `high`, `medium` or `low`")
        }
        ConfigKey::After => match value.split(',').all(|number| number.parse::<u64>().is_ok()) {
            true => Ok(()),
            false => Err("numbers of issues, as `12, 34`"),
        },
    };
    match fits {
        Ok(()) => Ok(Some(value.trim_start_matches('$').to_owned())),
        Err(wanted) => Err(format!("{shown} does not fit {}: it takes {wanted}.", code(key.as_str(), 20))),
    }
}

/// An amount in US dollars, with or without the sign.
pub(super) fn amount(text: &str) -> Option<Usd> {
    Usd::new(text.trim_start_matches('$').parse().ok()?).ok()
}

/// Why nothing came of a request, and what helps.
pub(super) fn not_begun(error: &EngineError, prefix: &str) -> String {
    if let EngineError::NothingSaid { .. } = error {
        return format!(
            "nobody with write access has said what to do here: this issue's text is empty, or somebody else's. Say it in \
             the command, as in `{prefix} run Refuse empty passwords`."
        );
    }
    let told = public::not_begun(error);
    let helps = told.helps.iter().map(|hint| crate::words::foreign(&format!("{}.", capital(hint)), MAX_HINT));
    let helps = helps.collect::<Vec<_>>().join("\n");
    format!("this could not be begun:\n\n{}\n\n{helps}", quoted(&told.why)).trim_end().to_owned()
}

/// Where a task stands, in a few words.
pub(super) fn stands(task: &TaskRecord) -> String {
    let cli = task.cli();
    match &task.state {
        TaskState::Queued => format!("**{cli}** waits for a free place"),
        TaskState::Preparing | TaskState::Running { .. } => format!("**{cli}** works"),
        TaskState::Importing { .. } | TaskState::Publishing { .. } => {
            format!("**{cli}** has ended, and its work is being published")
        }
        TaskState::AwaitingApproval { .. } => format!("**{cli}** has ended, and its work waits for a yes"),
        TaskState::OverBudget { failure, .. } => {
            format!("**{cli}** was stopped, because {}", failure.message)
        }
        TaskState::BackingOff { failure, until, .. } => {
            format!("**{cli}** goes on at {}, after `{}`", until.strftime("%H:%M UTC"), failure.kind)
        }
        state => format!("the last task {}", how_it_ended(state)),
    }
}

/// What was wrong with a command, and what to write.
pub(super) fn mistake(message: &str, hint: Option<&str>) -> String {
    let end = if message.ends_with(['?', '.', '!']) { "" } else { "." };
    match hint {
        Some(hint) => format!("{message}{end}\n\n{}.", capital(hint.trim_end_matches('.'))),
        None => format!("{message}{end}"),
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// What this later tasks run with.
pub(super) fn config(config: &BTreeMap<ConfigKey, String>) -> String {
    if config.is_empty() {
        return "this issue runs with the project's settings.".to_owned();
    }
    let lines = config.iter().map(|(key, value)| {
        let shown = match (key, amount(value)) {
            (ConfigKey::Budget, Some(amount)) => amount.to_string(),
            _ => value.clone(),
        };
        match value == DEFAULT {
            true => format!("- {}: the project's own", key.as_str()),
            false => format!("- {}: {}", key.as_str(), code(&shown, 80)),
        }
    });
    format!("later tasks of this issue run with:\n\n{}", lines.collect::<Vec<_>>().join("\n"))
}

/// What each task cost.
pub(super) fn costs(tasks: &[TaskRecord]) -> String {
    if tasks.is_empty() {
        return "nothing was spent here yet.".to_owned();
    }
    let mut lines = vec![
        "this was used here:\n".to_owned(),
        "| task | CLI | used |".to_owned(),
        "| --- | --- | --- |".to_owned(),
    ];
    for task in tasks {
        let title = code(&task.task.title, 80).replace('|', "\\|");
        lines.push(format!("| {title} | {} | {} |", task.cli(), cost_line(&task.usage)));
    }
    let known: Vec<Usd> = tasks.iter().filter_map(|task| task.usage.cost_usd).collect();
    let unknown = tasks.len() - known.len();
    // The sum of nothing is -0.0.
    let sum = known.into_iter().map(f64::from).fold(0.0, |sum, cost| sum + cost);
    lines.push(match unknown {
        0 => format!("\nTogether ${sum:.2}."),
        n => format!("\nTogether ${sum:.2}, without {} that said nothing of money.", rounds_of(n, "task")),
    });
    lines.join("\n")
}

/// The last events of a task.
pub(super) async fn logs(engine: &Engine, task: &TaskRecord) -> Result<String, EngineError> {
    let control = ControlDir::new(engine.paths(task).control);
    let id = task.task.id.clone();
    let lines = blocking(move || {
        let mut reader = EventReader::new(control.events());
        let mut lines = std::collections::VecDeque::new();
        loop {
            let items = reader.poll();
            if items.is_empty() {
                return Ok(lines);
            }
            for item in items {
                let EventItem::Event(event) = item else { continue };
                if event.task.as_ref() != Some(&id) {
                    continue;
                }
                if let Some(line) = event_line(&event.kind) {
                    lines.push_back(format!("{} {line}", event.at.strftime("%H:%M:%S")));
                    if lines.len() > LOG_LINES {
                        lines.pop_front();
                    }
                }
            }
        }
    })
    .await?;
    if lines.is_empty() {
        return Ok("the agent has not said anything yet.".to_owned());
    }
    let body: Vec<String> = lines.into_iter().collect();
    let text = body.join("\n");
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    Ok(format!("the last of what the agent did (times in UTC):\n\n{fence}text\n{text}\n{fence}"))
}

fn event_line(kind: &EventKind) -> Option<String> {
    let line = match kind {
        EventKind::Message { text } => text.clone(),
        EventKind::ToolUse { tool, summary, .. } => format!("{tool}: {summary}"),
        EventKind::ToolResult { is_error: true, output, .. } => format!("tool failed: {output}"),
        EventKind::FileChanged { path, .. } => format!("changed {path}"),
        EventKind::Verify { command, exit_code, .. } => match exit_code {
            Some(0) => format!("verified: {command}"),
            Some(code) => format!("verify failed with exit code {code}: {command}"),
            None => format!("verify was stopped: {command}"),
        },
        EventKind::Question { text } => format!("question: {text}"),
        EventKind::Warning { message } => format!("warning: {message}"),
        EventKind::Committed { sha, message } => {
            format!("committed {} {message}", sha.get(..8).unwrap_or(sha))
        }
        EventKind::TaskEnded { .. } => "the task ended".to_owned(),
        EventKind::AgentStarted { .. }
        | EventKind::TaskReceived { .. }
        | EventKind::CliStarted { .. }
        | EventKind::Thinking { .. }
        | EventKind::ToolResult { .. }
        | EventKind::Usage { .. }
        | EventKind::CliExited { .. }
        | EventKind::LogTruncated { .. } => return None,
    };
    let line = cloud_code_intake::visible(&line).text;
    Some(line.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(LOG_WIDTH).collect())
}

/// `3 rounds`, `1 round`.
pub(super) fn rounds(count: u32) -> String {
    rounds_of(count as usize, "round")
}

fn rounds_of(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// As a quotation, so that nothing in it reads as ours.
pub(super) fn quoted(text: &str) -> String {
    let text = crate::words::foreign(text, 4_000);
    text.lines().map(|line| format!("> {line}")).collect::<Vec<_>>().join("\n")
}
