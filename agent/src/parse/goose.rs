//! goose's `--output-format stream-json`, as measured with 1.34.0; the words of its errors are those of the program.
//!
//! Lessons that the code rests on: it exits 0 on every error, and an error is a text of the assistant, without an id,
//! that begins with `Ran into this error`; what it says comes in pieces; tokens are told once, at the end, for the
//! whole session, cached ones inside the input, and are null after an error; neither session nor model is named.

use cloud_code_task_schema::{ChangeKind, Failure, FailureKind, Usage};
use serde_json::Value;

use super::json::{
    count_at, is_absent, is_true, items, nonempty, object, output_text, summarise, text_at, text_in,
};
use super::record::Record;
use super::{Reader, UsageReading, trouble};

/// How goose tells of an error.
const ERROR_MARK: &str = "Ran into this error";
/// How its word begins when the provider cannot be reached.
const NETWORK_MARK: &str = "Network error:";
/// What goose adds to it.
const ERROR_TAIL: &str = "\n\nPlease retry if you think this is a transient or recoverable error.";
/// How goose tells that the turns are used up.
const TURNS_MARK: &str = "I've reached the maximum number of actions I can do without user input";

#[derive(Default)]
pub(super) struct GooseParser {
    record: Record,
    /// The message of the model that is being told, by its id.
    message: String,
    turns_told: u32,
    failed: Option<Failure>,
}

impl Reader for GooseParser {
    fn record(&self) -> &Record {
        &self.record
    }

    fn record_mut(&mut self) -> &mut Record {
        &mut self.record
    }

    fn read(&mut self, line: &str) {
        let Some(value) = object(line) else {
            self.record.mutter(line);
            self.read_prose(line);
            return;
        };
        match text_at(&value, "type") {
            "message" => self.read_message(value.get("message").unwrap_or(&Value::Null)),
            "model_change" => self.record.model(text_at(&value, "model")),
            "error" => self.note_failure(trouble::failure(None, text_at(&value, "error"))),
            "complete" => self.read_complete(&value),
            _ => {}
        }
    }

    fn read_stderr(&mut self, line: &str) {
        self.read_prose(line);
    }
}

impl GooseParser {
    /// What goose prints before it can speak JSON: a missing key, an unknown provider.
    fn read_prose(&mut self, line: &str) {
        let line = line.trim();
        if let Some(message) = line.strip_prefix("error: ") {
            self.record.warn(message);
            self.record.trouble_is(trouble::failure(None, message));
        }
    }

    fn read_message(&mut self, message: &Value) {
        let is_assistant = text_at(message, "role") == "assistant";
        let is_model = is_assistant && !is_absent(message, "id");
        if is_model && self.message != clip_id(text_at(message, "id")) {
            self.record.finish_pieces();
            clip_id(text_at(message, "id")).clone_into(&mut self.message);
            self.failed = None;
            self.record.answered();
            let turns = Some(self.record.turns().saturating_sub(self.turns_told));
            self.record.usage(UsageReading::InFlight(Usage { turns, ..Usage::default() }));
        }
        for part in items(message, "content") {
            match text_at(part, "type") {
                // Goose's own word in the place of an answer that did not come.
                "text" if is_assistant && !is_model && text_at(part, "text").starts_with(NETWORK_MARK) => {
                    let told = text_at(part, "text").lines().next().unwrap_or_default();
                    self.note_failure(trouble::told_by(FailureKind::Network, told));
                }
                "text" => self.read_text(text_at(part, "text"), is_model),
                "thinking" => self.record.think(text_at(part, "thinking")),
                "toolRequest" => self.read_tool_use(part),
                "toolResponse" => self.read_tool_result(part),
                "systemNotification" => self.read_notice(text_at(part, "msg")),
                _ => {}
            }
        }
    }

    fn read_text(&mut self, text: &str, is_model: bool) {
        if text.starts_with(ERROR_MARK) && !is_model {
            let told = text.split_once(": ").map_or(text, |(_, told)| told);
            let told = told.trim_end_matches(ERROR_TAIL);
            self.note_failure(trouble::failure(None, told.strip_suffix('.').unwrap_or(told)));
        } else if text.starts_with(TURNS_MARK) {
            self.note_failure(trouble::told_by(FailureKind::MaxTurns, text));
        } else if is_model {
            self.record.say_piece(text);
        } else {
            self.record.mutter(text);
        }
    }

    fn read_notice(&mut self, text: &str) {
        if text.starts_with("Unable to continue") {
            self.note_failure(trouble::failure(None, text));
        } else {
            self.record.warn(text);
        }
    }

    fn read_tool_use(&mut self, part: &Value) {
        self.record.finish_pieces();
        let call = part.pointer("/toolCall/value").unwrap_or(&Value::Null);
        let (tool, id) = (text_at(call, "name"), nonempty(part, "id"));
        if tool.ends_with("write") || tool.ends_with("edit") || tool.ends_with("text_editor") {
            let path = text_in(call, "/arguments/path");
            self.record.expect_edit(id.unwrap_or_default(), path, ChangeKind::Modified);
        }
        self.record.use_tool(tool, id, &summarise(call.get("arguments")));
    }

    fn read_tool_result(&mut self, part: &Value) {
        let result = part.pointer("/toolResult/value").unwrap_or(&Value::Null);
        let is_error = text_in(part, "/toolResult/status") == "error" || is_true(result, "isError");
        let output = output_text(result.get("content"));
        let told = if output.is_empty() { text_in(part, "/toolResult/error") } else { &output };
        let id = nonempty(part, "id");
        self.record.settle_edits(id.unwrap_or_default(), is_error, output.starts_with("Created "));
        self.record.tool_result(id, is_error, told);
    }

    fn note_failure(&mut self, failure: Failure) {
        self.record.finish_pieces();
        self.record.warn(&failure.message);
        self.record.trouble_is(failure.clone());
        self.failed = Some(failure);
    }

    fn read_complete(&mut self, value: &Value) {
        self.record.finish_pieces();
        if let Some(input) = count_at(value, "input_tokens") {
            let turns = self.record.turns().saturating_sub(self.turns_told);
            self.turns_told = self.record.turns();
            self.record.usage(UsageReading::SessionTotal(Usage {
                // With what came from a cache: goose does not tell it apart.
                input_tokens: Some(input),
                output_tokens: count_at(value, "output_tokens"),
                turns: Some(turns),
                ..Usage::default()
            }));
        }
        match self.failed.take() {
            Some(failure) => self.record.failed(failure),
            None => self.record.done(None),
        }
    }
}

/// Real ids have 40 bytes; a longer one still tells messages apart by its beginning.
fn clip_id(id: &str) -> &str {
    id.get(..id.floor_char_boundary(256)).unwrap_or_default()
}
