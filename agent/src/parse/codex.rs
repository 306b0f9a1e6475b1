//! `codex exec --json`, as measured with 0.169.0.
//!
//! Lessons that the code rests on: `error` is not final, `turn.failed` is; usage is cumulative over the thread and
//! counts cached tokens inside the input; and an error has no kind, only a text, so this is the one place where a
//! text is matched.

use cloud_code_task_schema::{ChangeKind, EventKind, Failure, FailureKind, Usage};
use serde_json::Value;

use super::{Answer, Settled, Signal, UsageReading, clip, one_line};

#[derive(Default)]
pub(crate) struct CodexParser {
    answer: Option<Answer>,
    last_text: Option<String>,
    trouble: Option<Failure>,
}

impl CodexParser {
    pub(super) fn read(&mut self, line: &str) -> Vec<Signal> {
        let mut signals = Vec::new();
        let Ok(value) = serde_json::from_str::<Value>(line) else {
            signals.push(Signal::Event(EventKind::Message { text: clip(line) }));
            return signals;
        };
        match text_at(&value, "type") {
            "thread.started" => {
                let thread = text_at(&value, "thread_id");
                if !thread.is_empty() {
                    signals.push(Signal::Session(thread.to_owned()));
                }
            }
            "turn.started" => self.answer = None,
            "item.started" => read_started(&value, &mut signals),
            "item.completed" => self.read_completed(&value, &mut signals),
            "turn.completed" => {
                signals.push(Signal::Usage(UsageReading::SessionTotal(session_usage(&value))));
                let text = self.last_text.clone().unwrap_or_default();
                self.answer = Some(Answer::Done { text });
            }
            "turn.failed" => {
                let message = value.pointer("/error/message").and_then(Value::as_str).unwrap_or_default();
                self.answer = Some(Answer::Failed(failure_of(message)));
            }
            "error" => {
                let message = text_at(&value, "message");
                self.trouble = Some(failure_of(message));
                signals.push(Signal::Step(one_line(message)));
                signals.push(Signal::Event(EventKind::Warning { message: clip(message) }));
            }
            _ => {}
        }
        signals
    }

    pub(super) fn answer(&self) -> Option<Answer> {
        self.answer.clone()
    }

    pub(super) fn last_words(&self) -> Option<String> {
        self.last_text.clone()
    }

    pub(super) fn trouble(&self) -> Option<Failure> {
        self.trouble.clone()
    }

    pub(super) const fn settled(&self) -> Settled {
        if self.answer.is_some() { Settled::Yes } else { Settled::No }
    }

    fn read_completed(&mut self, value: &Value, signals: &mut Vec<Signal>) {
        let Some(item) = value.get("item") else { return };
        match text_at(item, "type") {
            "agent_message" => {
                let text = text_at(item, "text");
                self.last_text = Some(text.to_owned());
                signals.push(Signal::Step(one_line(text)));
                signals.push(Signal::Event(EventKind::Message { text: clip(text) }));
            }
            "reasoning" => {
                signals.push(Signal::Event(EventKind::Thinking { text: clip(text_at(item, "text")) }));
            }
            "command_execution" => {
                let code = item.get("exit_code").and_then(Value::as_i64);
                let is_error = code != Some(0) || text_at(item, "status") == "failed";
                let output = clip(text_at(item, "aggregated_output"));
                signals.push(Signal::Event(EventKind::ToolResult { id: id_of(item), is_error, output }));
            }
            "file_change" => {
                let is_error = text_at(item, "status") == "failed";
                let changes = item.get("changes").and_then(Value::as_array).into_iter().flatten();
                for change in changes.filter(|_| !is_error) {
                    let path = text_at(change, "path").to_owned();
                    let change = match text_at(change, "kind") {
                        "add" => ChangeKind::Added,
                        "delete" => ChangeKind::Deleted,
                        _ => ChangeKind::Modified,
                    };
                    signals.push(Signal::Event(EventKind::FileChanged { path, change }));
                }
                let output = text_at(item, "status").to_owned();
                signals.push(Signal::Event(EventKind::ToolResult { id: id_of(item), is_error, output }));
            }
            "error" => {
                let message = clip(text_at(item, "message"));
                signals.push(Signal::Event(EventKind::Warning { message }));
            }
            _ => {}
        }
    }
}

fn read_started(value: &Value, signals: &mut Vec<Signal>) {
    let Some(item) = value.get("item") else { return };
    let tool = text_at(item, "type").to_owned();
    if matches!(tool.as_str(), "agent_message" | "reasoning" | "error" | "") {
        return;
    }
    let first_path = item.pointer("/changes/0/path").and_then(Value::as_str);
    let named = ["command", "query", "tool"].iter().find_map(|key| item.get(*key).and_then(Value::as_str));
    let summary = one_line(first_path.or(named).unwrap_or_default());
    signals.push(Signal::Step(one_line(&format!("{tool}: {summary}"))));
    signals.push(Signal::Event(EventKind::ToolUse { tool, id: id_of(item), summary }));
}

/// Everything the thread has used; cached tokens are taken out of the input they are counted in.
fn session_usage(value: &Value) -> Usage {
    let count = |key: &str| value.get("usage").and_then(|usage| usage.get(key)).and_then(Value::as_u64);
    let cached = count("cached_input_tokens");
    Usage {
        input_tokens: count("input_tokens").map(|input| input.saturating_sub(cached.unwrap_or(0))),
        output_tokens: count("output_tokens"),
        cache_read_tokens: cached,
        cache_write_tokens: count("cache_write_input_tokens"),
        ..Usage::default()
    }
}

/// Codex tells kinds apart only in prose; the phrases are those of the recorded runs.
fn failure_of(message: &str) -> Failure {
    let has = |needle: &str| message.contains(needle);
    let kind = match status_in(message) {
        Some(401 | 403) => FailureKind::Auth,
        Some(429) => FailureKind::RateLimited,
        Some(500..=599) => FailureKind::Overloaded,
        Some(_) | None if has("Quota exceeded") || has("usage limit") => FailureKind::UsageLimit,
        Some(_) | None if has("at capacity") || has("high demand") => FailureKind::Overloaded,
        Some(_) | None if has("stream disconnected") || has("Connection") || has("waiting for network") => {
            FailureKind::Network
        }
        Some(_) | None => FailureKind::Crashed,
    };
    Failure::new(kind, clip(message))
}

/// The HTTP status in `unexpected status 401 …` or `last status: 429 …`.
fn status_in(message: &str) -> Option<u16> {
    ["unexpected status ", "last status: "].iter().find_map(|before| {
        let (_, after) = message.split_once(before)?;
        after.get(..3)?.parse().ok()
    })
}

fn id_of(item: &Value) -> Option<String> {
    Some(text_at(item, "id")).filter(|id| !id.is_empty()).map(str::to_owned)
}

fn text_at<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}
