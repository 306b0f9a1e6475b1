//! `opencode run --format json`, as measured with 1.18.33; the names of its errors are those of that program.
//!
//! Lessons that the code rests on: there is no first and no last event, a step that finishes with `stop` is the end;
//! tokens and money stand with each step and count that step alone; retries are silent; a model that the provider does
//! not know reads as `Unexpected server error`; a second small model is paid for and never shows.

use cloud_code_task_schema::{ChangeKind, CostSource, Failure, FailureKind, Usage, Usd};
use serde_json::Value;

use super::json::{
    add, cost_at, count_at, is_true, nonempty, object, output_text, status_at, summarise, text_at, text_in,
};
use super::record::Record;
use super::{Reader, UsageReading, trouble, waits};

#[derive(Default)]
pub(super) struct OpencodeParser {
    record: Record,
    used: Usage,
}

impl Reader for OpencodeParser {
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
        let session = text_at(&value, "sessionID");
        if !self.record.is_session(session) {
            // Another session's steps are a helper agent's.
            return;
        }
        self.record.session(session);
        let part = value.get("part").unwrap_or(&Value::Null);
        match text_at(&value, "type") {
            "step_start" => self.record.goes_on(),
            "text" => self.record.say(text_at(part, "text")),
            "reasoning" => self.record.think(text_at(part, "text")),
            "tool_use" => self.read_tool(part),
            "step_finish" => self.read_step(part),
            "error" => {
                let failure = failure_of(value.get("error").unwrap_or(&Value::Null));
                self.record.warn(&failure.message);
                self.record.trouble_is(failure.clone());
                self.record.failed(failure);
            }
            _ => {}
        }
    }

    /// Start-up failures, an unknown session among them, stand here only, in colours.
    fn read_stderr(&mut self, line: &str) {
        if let Some((_, message)) = line.split_once("Error: ") {
            let message = message.trim_start_matches("\u{1b}[0m");
            self.record.trouble_is(trouble::failure(None, message));
        }
    }
}

impl OpencodeParser {
    fn read_tool(&mut self, part: &Value) {
        let state = part.get("state").unwrap_or(&Value::Null);
        let (tool, id) = (text_at(part, "tool"), nonempty(part, "callID"));
        self.record.use_tool(tool, id, &summarise(state.get("input")));
        let metadata = state.get("metadata").unwrap_or(&Value::Null);
        let exit = metadata.get("exit").and_then(Value::as_i64).unwrap_or(0);
        let is_error = text_at(state, "status") == "error" || exit != 0;
        if matches!(tool, "write" | "edit" | "multiedit") && !is_error {
            let is_new = tool == "write" && metadata.get("exists") == Some(&Value::Bool(false));
            let change = if is_new { ChangeKind::Added } else { ChangeKind::Modified };
            self.record.file_changed(text_in(state, "/input/filePath"), change);
        }
        let output = output_text(state.get("output").or_else(|| state.get("error")));
        self.record.tool_result(id, is_error, &output);
    }

    fn read_step(&mut self, part: &Value) {
        self.record.answered();
        let tokens = part.get("tokens").unwrap_or(&Value::Null);
        let cache = tokens.get("cache").unwrap_or(&Value::Null);
        add(&mut self.used.input_tokens, count_at(tokens, "input"));
        add(&mut self.used.output_tokens, count_at(tokens, "output"));
        add(&mut self.used.output_tokens, count_at(tokens, "reasoning"));
        add(&mut self.used.cache_read_tokens, count_at(cache, "read"));
        add(&mut self.used.cache_write_tokens, count_at(cache, "write"));
        if let Some(cost) = cost_at(part, "cost") {
            let before = self.used.cost_usd.map_or(0.0, Usd::as_f64);
            self.used.cost_usd = Usd::new(before + cost.as_f64()).ok().or(self.used.cost_usd);
            self.used.cost_source = CostSource::Reported;
        }
        self.used.turns = Some(self.record.turns());
        self.record.usage(UsageReading::ProcessTotal(self.used.clone()));
        match text_at(part, "reason") {
            "stop" => self.record.done(None),
            "tool-calls" | "unknown" => {}
            "content-filter" => {
                let message = "the response was blocked by the provider's content filter";
                self.record.failed(Failure::new(FailureKind::Refused, message));
            }
            "length" => {
                let message = "the model's answer was cut at its output limit";
                self.record.failed(Failure::new(FailureKind::Crashed, message));
            }
            other => {
                let message = format!("the model's answer ended with `{other}`");
                self.record.failed(trouble::told_by(FailureKind::Crashed, message));
            }
        }
    }
}

/// By the error's name where it is a kind of its own, else by status and text.
fn failure_of(error: &Value) -> Failure {
    let data = error.get("data").unwrap_or(&Value::Null);
    let name = text_at(error, "name");
    let message = nonempty(data, "message").unwrap_or(name);
    let body = text_at(data, "responseBody");
    let status = status_at(data, "statusCode");
    let mut failure = trouble::failure(status, message);
    failure.kind = match name {
        // Its own server's word for whatever it did not foresee, a model it does not know among it.
        "UnknownError" if message.starts_with("Unexpected server error") => FailureKind::Crashed,
        "ProviderAuthError" if failure.kind != FailureKind::LoginExpired => FailureKind::Auth,
        "ContextOverflowError" => FailureKind::ContextTooLong,
        "ContentFilterError" => FailureKind::Refused,
        "APIError" if failure.kind == FailureKind::Crashed => match trouble::kind_of(status, body) {
            FailureKind::Crashed if status.is_none() && is_true(data, "isRetryable") => FailureKind::Network,
            kind => kind,
        },
        _ => failure.kind,
    };
    let asked = text_in(data, "/responseHeaders/retry-after");
    if matches!(failure.kind, FailureKind::RateLimited | FailureKind::UsageLimit) {
        failure.retry_after = waits::duration_at(asked).or(failure.retry_after);
    }
    failure
}
