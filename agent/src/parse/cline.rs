//! `cline --json`, as measured with 3.0.65.
//!
//! Lessons that the code rests on: the last event is `run_result`, and its finish reason says how it went; errors are
//! a provider's bare prose, without status or kind; tokens are summed up over this process, cached ones inside the
//! input; money is 0 where the price is not known; the session's id is never told.

use cloud_code_task_schema::{ChangeKind, CostSource, Failure, FailureKind, Usage};
use serde_json::Value;

use super::json::{cost_at, count_at, is_absent, nonempty, object, output_text, summarise, text_at, text_in};
use super::record::Record;
use super::{Reader, UsageReading, trouble};

#[derive(Default)]
pub(super) struct ClineParser {
    record: Record,
    /// The model spoke in this iteration.
    has_answered: bool,
    used: Usage,
}

impl Reader for ClineParser {
    fn record(&self) -> &Record {
        &self.record
    }

    fn record_mut(&mut self) -> &mut Record {
        &mut self.record
    }

    fn read(&mut self, line: &str) {
        let Some(value) = object(line) else {
            self.record.mutter(line);
            return;
        };
        match text_at(&value, "type") {
            "agent_event" => {
                let event = value.get("event").unwrap_or(&Value::Null);
                self.read_event(event, is_absent(event, "parentAgentId"));
            }
            "error" => self.read_error(text_at(&value, "message")),
            "run_result" => self.read_result(&value),
            _ => {}
        }
    }

    /// The end's reason, once more as JSON, among chatter of its own.
    fn read_stderr(&mut self, line: &str) {
        let Some(value) = object(line) else { return };
        if text_at(&value, "type") == "error" {
            self.read_error(text_at(&value, "message"));
        }
    }
}

impl ClineParser {
    fn read_event(&mut self, event: &Value, is_main: bool) {
        match text_at(event, "type") {
            "iteration_start" if is_main => self.has_answered = false,
            "content_start" => {
                if is_main {
                    self.note_answer();
                }
                if text_at(event, "contentType") == "tool" {
                    self.read_tool_use(event);
                }
            }
            "content_end" => self.read_content(event, is_main),
            "usage" if is_main => self.read_usage(event),
            "notice" => self.record.warn(text_at(event, "message")),
            "error" => {
                let nested = text_in(event, "/error/message");
                let told = if nested.is_empty() { text_at(event, "error") } else { nested };
                self.read_error(told);
            }
            _ => {}
        }
    }

    fn note_answer(&mut self) {
        if self.has_answered {
            return;
        }
        self.has_answered = true;
        self.record.answered();
        self.used.turns = Some(self.record.turns());
        self.record.usage(UsageReading::ProcessTotal(self.used.clone()));
    }

    fn read_tool_use(&mut self, event: &Value) {
        let (tool, id) = (text_at(event, "toolName"), nonempty(event, "toolCallId"));
        let call = id.unwrap_or_default();
        let patch = text_in(event, "/input/input");
        let mut summary = summarise(event.get("input"));
        if tool == "apply_patch" {
            summary = String::new();
            for (path, change) in patched_files(patch) {
                if summary.is_empty() {
                    path.clone_into(&mut summary);
                }
                self.record.expect_edit(call, path, change);
            }
        } else if tool == "editor" {
            self.record.expect_edit(call, text_in(event, "/input/path"), ChangeKind::Modified);
        }
        self.record.use_tool(tool, id, &summary);
    }

    fn read_content(&mut self, event: &Value, is_main: bool) {
        let text = text_at(event, "text");
        match text_at(event, "contentType") {
            "text" if is_main && !text.trim().is_empty() => self.record.say(text),
            "text" if !text.trim().is_empty() => self.record.mutter(text),
            "reasoning" => self.record.think(text_at(event, "reasoning")),
            "tool" => {
                let output = event.get("output").unwrap_or(&Value::Null);
                let failed = |part: &Value| part.get("success") == Some(&Value::Bool(false));
                let parts = output.as_array().map_or_else(|| std::slice::from_ref(output), Vec::as_slice);
                let is_error = parts.iter().any(failed) || nonempty(event, "error").is_some();
                let told = output_text(Some(output));
                let told = if told.is_empty() { text_at(event, "error") } else { &told };
                let id = nonempty(event, "toolCallId");
                self.record.settle_edits(id.unwrap_or_default(), is_error, false);
                self.record.tool_result(id, is_error, told);
            }
            _ => {}
        }
    }

    fn read_usage(&mut self, event: &Value) {
        let totals =
            ["totalInputTokens", "totalOutputTokens", "totalCacheReadTokens", "totalCacheWriteTokens"];
        self.note_usage(event, totals, "totalCost");
    }

    fn note_usage(&mut self, from: &Value, keys: [&str; 4], cost: &str) {
        let [input, output, read, write] = keys.map(|key| count_at(from, key));
        if input.unwrap_or(0) == 0 && output.unwrap_or(0) == 0 {
            return;
        }
        let cached = read.unwrap_or(0).saturating_add(write.unwrap_or(0));
        self.used = Usage {
            input_tokens: input.map(|input| input.saturating_sub(cached)),
            output_tokens: output,
            cache_read_tokens: read,
            cache_write_tokens: write,
            turns: Some(self.record.turns()),
            ..Usage::default()
        };
        if let Some(cost) = cost_at(from, cost) {
            self.used.cost_usd = Some(cost);
            self.used.cost_source = CostSource::Reported;
        }
        self.record.usage(UsageReading::ProcessTotal(self.used.clone()));
    }

    fn read_error(&mut self, message: &str) {
        // The hub is cline's own helper, and its hooks are nobody's.
        if message.is_empty() || message.starts_with("hook dispatch failed") {
            return;
        }
        self.record.warn(message);
        self.record.trouble_is(trouble::failure(None, message));
    }

    fn read_result(&mut self, value: &Value) {
        self.record.model(text_in(value, "/model/id"));
        let keys = ["inputTokens", "outputTokens", "cacheReadTokens", "cacheWriteTokens"];
        let all = ["aggregateUsage", "usage"].iter().find_map(|key| value.get(*key));
        self.note_usage(all.unwrap_or(&Value::Null), keys, "totalCost");
        let text = text_at(value, "text");
        let failure = match text_at(value, "finishReason") {
            "completed" => return self.record.done(Some(text)),
            "max_iterations" => trouble::told_by(FailureKind::MaxTurns, or_reason(text, "max_iterations")),
            "error" => trouble::failure(None, or_reason(text, "error")),
            reason => trouble::told_by(FailureKind::Crashed, format!("cline ended with `{reason}`: {text}")),
        };
        self.record.failed(Failure { kind: self.refined(failure.kind), ..failure });
    }

    /// The end's prose may say less than what was told on the way.
    fn refined(&self, kind: FailureKind) -> FailureKind {
        match (kind, self.record.trouble()) {
            (FailureKind::Crashed, Some(trouble)) => trouble.kind,
            _ => kind,
        }
    }
}

fn or_reason<'a>(text: &'a str, reason: &'a str) -> &'a str {
    if text.trim().is_empty() { reason } else { text }
}

/// The files that a patch names, and what it does to them.
fn patched_files(patch: &str) -> impl Iterator<Item = (&str, ChangeKind)> {
    let heads = [
        ("*** Add File: ", ChangeKind::Added),
        ("*** Update File: ", ChangeKind::Modified),
        ("*** Delete File: ", ChangeKind::Deleted),
    ];
    patch.lines().filter_map(move |line| {
        heads.iter().find_map(|(head, change)| Some((line.strip_prefix(head)?.trim(), *change)))
    })
}
