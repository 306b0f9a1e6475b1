//! Qwen Code's `-o stream-json`, as measured with 0.24.4. It looks like Claude's and differs where it matters.
//!
//! Lessons that the code rests on: `usage` of a result goes on from earlier runs of the session and counts cached
//! tokens inside the input; of one answer, only the event with the last block carries its tokens; an API error is told
//! as an answer of the model too; why it retries, and that a limit ended the run, stands on standard error only; it
//! retries for ever.

use cloud_code_task_schema::{ChangeKind, Failure, FailureKind, Usage};
use serde_json::Value;

use super::json::{
    add, count_at, is_absent, is_true, items, nonempty, object, output_text, summarise, text_at, text_in,
};
use super::record::Record;
use super::{Reader, UsageReading, trouble};

/// How an API error begins where an answer should stand.
const ERROR_MARK: &str = "[API Error: ";

#[derive(Default)]
pub(super) struct QwenParser {
    record: Record,
    in_flight: Usage,
    turns_told: u32,
    /// The model spoke since it was asked last.
    has_answered: bool,
    /// The limit that ended the run.
    limit: Option<Failure>,
}

impl Reader for QwenParser {
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
            "system" => self.read_system(&value),
            "assistant" => self.read_assistant(&value),
            "user" => self.read_user(&value),
            "result" => self.read_result(&value),
            _ => {}
        }
    }

    fn read_stderr(&mut self, line: &str) {
        if let Some((when, _)) =
            line.split_once(ERROR_MARK).filter(|(when, _)| when.starts_with("Retrying in"))
        {
            let failure = trouble::failure(None, line);
            self.record.warn(&format!("{} ({})", failure.message, when.trim_end_matches([' ', ':'])));
            self.record.trouble_is(failure);
        } else if line.starts_with("Reached max session turns") || line.contains("(--max-tool-calls)") {
            self.limit = Some(trouble::told_by(FailureKind::MaxTurns, line));
        } else if line.contains("(--max-wall-time)") {
            self.limit = Some(trouble::told_by(FailureKind::Timeout, line));
        } else if line.starts_with("No saved session found") {
            self.record.trouble_is(trouble::told_by(FailureKind::Crashed, line));
        }
    }

    fn of_exit(&self, code: i32) -> Option<Failure> {
        let (kind, message) = match code {
            53 => (FailureKind::MaxTurns, "qwen used up its turns (exit code 53)"),
            55 => (FailureKind::Timeout, "qwen reached a limit of its own (exit code 55)"),
            _ => return None,
        };
        Some(self.limit.clone().unwrap_or_else(|| Failure::new(kind, message)))
    }
}

impl QwenParser {
    fn read_system(&mut self, value: &Value) {
        match text_at(value, "subtype") {
            "init" => {
                self.record.goes_on();
                self.record.session(text_at(value, "session_id"));
                self.record.version(text_at(value, "qwen_code_version"));
                self.record.model(text_at(value, "model"));
                self.has_answered = false;
            }
            "retry" => {
                let data = value.get("data").unwrap_or(&Value::Null);
                let step = match (count_at(data, "attempt"), count_at(data, "delayMs")) {
                    (Some(attempt), Some(delay)) => {
                        format!(
                            "the provider refused; attempt {attempt} failed, the CLI waits {} s",
                            delay / 1000
                        )
                    }
                    _ => "the CLI asks the provider again".to_owned(),
                };
                self.record.step(&step);
            }
            _ => {}
        }
    }

    fn read_assistant(&mut self, value: &Value) {
        let Some(message) = value.get("message") else { return };
        let is_main = is_absent(value, "parent_tool_use_id");
        let used = message.get("usage").unwrap_or(&Value::Null);
        let counts_nothing = count_at(used, "input_tokens").unwrap_or(0) == 0;
        let is_error = |block: &Value| counts_nothing && text_at(block, "text").contains(ERROR_MARK);
        if items(message, "content").any(is_error) {
            // The result says it again.
            return;
        }
        if is_main && !self.has_answered {
            self.has_answered = true;
            self.record.answered();
        }
        self.record.model(text_at(message, "model"));
        for block in items(message, "content") {
            match text_at(block, "type") {
                "text" if is_main => self.record.say(text_at(block, "text")),
                "text" => self.record.mutter(text_at(block, "text")),
                "thinking" => self.record.think(text_at(block, "thinking")),
                "tool_use" => self.read_tool_use(block),
                _ => {}
            }
        }
        let cached = count_at(used, "cache_read_input_tokens");
        let input = count_at(used, "input_tokens").map(|input| input.saturating_sub(cached.unwrap_or(0)));
        if !counts_nothing {
            add(&mut self.in_flight.input_tokens, input);
            add(&mut self.in_flight.output_tokens, count_at(used, "output_tokens"));
            add(&mut self.in_flight.cache_read_tokens, cached);
        }
        self.in_flight.turns = Some(self.record.turns().saturating_sub(self.turns_told));
        self.record.usage(UsageReading::InFlight(self.in_flight.clone()));
    }

    fn read_tool_use(&mut self, block: &Value) {
        let (tool, id) = (text_at(block, "name"), nonempty(block, "id"));
        if matches!(tool, "write_file" | "edit" | "replace") {
            let path = text_in(block, "/input/file_path");
            self.record.expect_edit(id.unwrap_or_default(), path, ChangeKind::Modified);
        }
        self.record.use_tool(tool, id, &summarise(block.get("input")));
    }

    fn read_user(&mut self, value: &Value) {
        for block in value.pointer("/message/content").and_then(Value::as_array).into_iter().flatten() {
            if text_at(block, "type") == "tool_result" {
                if is_absent(value, "parent_tool_use_id") {
                    self.has_answered = false;
                }
                let (id, is_error) = (nonempty(block, "tool_use_id"), is_true(block, "is_error"));
                let output = output_text(block.get("content"));
                let is_new = output.starts_with("Successfully created");
                self.record.settle_edits(id.unwrap_or_default(), is_error, is_new);
                self.record.tool_result(id, is_error, &output);
            }
        }
    }

    fn read_result(&mut self, value: &Value) {
        self.record.session(text_at(value, "session_id"));
        let used = value.get("usage").unwrap_or(&Value::Null);
        if count_at(used, "input_tokens").unwrap_or(0) > 0 {
            let cached = count_at(used, "cache_read_input_tokens");
            let turns = self.record.turns().saturating_sub(self.turns_told);
            self.turns_told = self.record.turns();
            self.in_flight = Usage::default();
            self.record.usage(UsageReading::SessionTotal(Usage {
                input_tokens: count_at(used, "input_tokens")
                    .map(|input| input.saturating_sub(cached.unwrap_or(0))),
                output_tokens: count_at(used, "output_tokens"),
                cache_read_tokens: cached,
                turns: Some(turns),
                ..Usage::default()
            }));
        }
        if is_true(value, "is_error") || text_at(value, "subtype") != "success" {
            let told = text_in(value, "/error/message");
            let told = if told.is_empty() { text_at(value, "subtype") } else { told };
            let failure = trouble::failure(None, told);
            self.record.failed(failure);
        } else {
            self.record.done(Some(text_at(value, "result")));
        }
    }
}
