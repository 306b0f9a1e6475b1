//! `codex exec --json`, as measured with 0.169.0.
//!
//! Lessons that the code rests on: `error` is not final, `turn.failed` is; usage is cumulative over the thread and
//! counts cached tokens inside the input; an error has no kind, only a text; and no event says that the model
//! answered, so answers are counted by what comes between the tools' results.

use cloud_code_task_schema::{ChangeKind, Usage};
use serde_json::Value;

use super::json::{count_at, items, nonempty, object, text_at, text_in};
use super::record::Record;
use super::{Reader, UsageReading, trouble};

/// What was seen last of the exchange with the model.
#[derive(Default, PartialEq)]
enum Turn {
    /// The model is asked: the next item is of a new answer.
    #[default]
    Asked,
    /// It spoke or thought.
    Speaking,
    /// It called a tool; whatever it says next is a new answer.
    Calling,
}

#[derive(Default)]
pub(super) struct CodexParser {
    record: Record,
    turn: Turn,
    turns_told: u32,
}

impl Reader for CodexParser {
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
            "thread.started" => self.record.session(text_at(&value, "thread_id")),
            "turn.started" => {
                self.record.goes_on();
                self.turn = Turn::Asked;
            }
            "item.started" => self.read_started(&value),
            "item.completed" => self.read_completed(&value),
            "turn.completed" => {
                let usage = self.session_usage(&value);
                self.record.usage(UsageReading::SessionTotal(usage));
                self.record.done(None);
            }
            "turn.failed" => {
                let failure = trouble::failure(None, text_in(&value, "/error/message"));
                self.record.failed(failure);
            }
            "error" => self.read_error(text_at(&value, "message")),
            _ => {}
        }
    }

    /// Start-up failures, an unknown session among them, stand here only. The log lines beside them begin with a
    /// time and are chatter.
    fn read_stderr(&mut self, line: &str) {
        if let Some(message) = line.strip_prefix("Error: ") {
            self.record.trouble_is(trouble::failure(None, message));
        }
    }
}

impl CodexParser {
    fn read_error(&mut self, message: &str) {
        let failure = trouble::failure(None, message);
        self.record.step(message);
        self.record.warn(message);
        if message.starts_with("Reconnecting...") && trouble::is_for_good(failure.kind) {
            // Codex would try five times more; a refused key does not become valid.
            self.record.refuse(failure.clone());
        }
        self.record.trouble_is(failure);
    }

    fn read_started(&mut self, value: &Value) {
        let Some(item) = value.get("item") else { return };
        let tool = text_at(item, "type");
        if matches!(tool, "agent_message" | "reasoning" | "error" | "") {
            return;
        }
        // Of tools that one answer calls one after the other, each counts: nothing tells them from several answers.
        if self.turn == Turn::Asked {
            self.count_answer();
        }
        self.turn = Turn::Calling;
        let named = ["command", "query", "tool"].iter().find_map(|key| nonempty(item, key));
        let summary = Some(text_in(item, "/changes/0/path")).filter(|path| !path.is_empty()).or(named);
        self.record.use_tool(tool, nonempty(item, "id"), summary.unwrap_or_default());
    }

    fn read_completed(&mut self, value: &Value) {
        let Some(item) = value.get("item") else { return };
        let id = nonempty(item, "id");
        match text_at(item, "type") {
            "agent_message" => {
                self.speaks();
                self.record.say(text_at(item, "text"));
            }
            "reasoning" => {
                self.speaks();
                self.record.think(text_at(item, "text"));
            }
            "error" => self.record.warn(text_at(item, "message")),
            "command_execution" => {
                self.turn = Turn::Asked;
                let code = item.get("exit_code").and_then(Value::as_i64);
                let is_error = code != Some(0) || text_at(item, "status") == "failed";
                self.record.tool_result(id, is_error, text_at(item, "aggregated_output"));
            }
            "file_change" => {
                self.turn = Turn::Asked;
                let is_error = text_at(item, "status") == "failed";
                for change in items(item, "changes").filter(|_| !is_error) {
                    let kind = match text_at(change, "kind") {
                        "add" => ChangeKind::Added,
                        "delete" => ChangeKind::Deleted,
                        _ => ChangeKind::Modified,
                    };
                    self.record.file_changed(text_at(change, "path"), kind);
                }
                self.record.tool_result(id, is_error, text_at(item, "status"));
            }
            "" => {}
            _ => self.turn = Turn::Asked,
        }
    }

    fn speaks(&mut self) {
        if self.turn != Turn::Speaking {
            self.count_answer();
        }
        self.turn = Turn::Speaking;
    }

    fn count_answer(&mut self) {
        self.record.answered();
        let turns = Some(self.record.turns().saturating_sub(self.turns_told));
        self.record.usage(UsageReading::InFlight(Usage { turns, ..Usage::default() }));
    }

    /// Everything the thread has used; cached tokens are taken out of the input they are counted in.
    fn session_usage(&mut self, value: &Value) -> Usage {
        let used = value.get("usage").unwrap_or(&Value::Null);
        let cached = count_at(used, "cached_input_tokens");
        let turns = self.record.turns().saturating_sub(self.turns_told);
        self.turns_told = self.record.turns();
        Usage {
            input_tokens: count_at(used, "input_tokens")
                .map(|input| input.saturating_sub(cached.unwrap_or(0))),
            output_tokens: count_at(used, "output_tokens"),
            cache_read_tokens: cached,
            cache_write_tokens: count_at(used, "cache_write_input_tokens"),
            turns: Some(turns),
            ..Usage::default()
        }
    }
}
