//! GitHub Copilot's `--output-format json`, as measured with 1.0.102; the closed sets of its error words are those of
//! the schema it brings.
//!
//! Lessons that the code rests on: the last event has the exit code and the session's id, and no tokens; an error is
//! told as a failed call and then as the session's; a refused key is tried three times.

use cloud_code_task_schema::{ChangeKind, Failure, FailureKind, Usage};
use serde_json::Value;

use super::json::{
    count_at, is_absent, is_true, items, nonempty, object, status_at, summarise, text_at, text_in,
};
use super::record::Record;
use super::{Reader, UsageReading, trouble};

#[derive(Default)]
pub(super) struct CopilotParser {
    record: Record,
    /// What the session itself gave up with.
    gave_up: Option<Failure>,
}

impl Reader for CopilotParser {
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
        let data = value.get("data").unwrap_or(&Value::Null);
        let is_main = is_absent(data, "parentToolCallId");
        match text_at(&value, "type") {
            "session.start" => {
                self.record.session(text_at(data, "sessionId"));
                self.record.version(text_at(data, "copilotVersion"));
            }
            "session.tools_updated" => self.record.model(text_at(data, "model")),
            "user.message" => self.gave_up = None,
            "assistant.message" => self.read_message(data, is_main),
            "assistant.reasoning" => self.record.think(text_at(data, "content")),
            "tool.execution_start" => {
                let summary = summarise(data.get("arguments"));
                self.record.use_tool(text_at(data, "toolName"), nonempty(data, "toolCallId"), &summary);
            }
            "tool.execution_complete" => self.read_tool_result(data),
            "model.call_failure" if is_main => self.read_call_failure(data),
            "session.warning" => self.record.warn(text_at(data, "message")),
            "session.info" if text_at(data, "infoType") == "model_retry" => {
                self.record.step(text_at(data, "message"));
            }
            "session.error" => self.read_session_error(data),
            "result" => self.read_result(&value),
            _ => {}
        }
    }

    /// Start-up failures stand here only: no credentials, an unknown session.
    fn read_stderr(&mut self, line: &str) {
        if let Some(message) = line.strip_prefix("Error: ") {
            self.record.trouble_is(trouble::failure(None, message));
        }
    }
}

impl CopilotParser {
    fn read_message(&mut self, data: &Value, is_main: bool) {
        let text = text_at(data, "content");
        if !is_main {
            if !text.is_empty() {
                self.record.mutter(text);
            }
            return;
        }
        self.record.model(text_at(data, "model"));
        // One call's answer may come in chunks.
        if count_at(data, "chunkIndex").unwrap_or(0) == 0 {
            self.record.answered();
            let turns = Some(self.record.turns());
            self.record.usage(UsageReading::ProcessTotal(Usage { turns, ..Usage::default() }));
        }
        if !text.trim().is_empty() {
            self.record.say(text);
        }
    }

    fn read_tool_result(&mut self, data: &Value) {
        for edit in items(data, "fileEdits") {
            let change = match text_at(edit, "kind") {
                "create" => ChangeKind::Added,
                "delete" => ChangeKind::Deleted,
                _ => ChangeKind::Modified,
            };
            self.record.file_changed(text_at(edit, "path"), change);
        }
        let exit = data.pointer("/shellExecution/exitCode").and_then(Value::as_i64).unwrap_or(0);
        let is_error = !is_true(data, "success") || exit != 0;
        let told = [text_in(data, "/result/content"), text_in(data, "/error/message")];
        let output = told.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
        self.record.tool_result(nonempty(data, "toolCallId"), is_error, output);
    }

    fn read_call_failure(&mut self, data: &Value) {
        let message = text_at(data, "errorMessage");
        // JSON in any case: the provider's error, or copilot's own words as a string.
        let own = serde_json::from_str::<String>(message);
        let message = own.as_deref().unwrap_or(message);
        let code = text_at(data, "errorCode");
        let mut failure = trouble::failure(status_at(data, "statusCode"), message);
        if failure.kind == FailureKind::Crashed && text_at(data, "failureKind") == "transport" {
            failure.kind = FailureKind::Network;
        }
        if code == "model_max_prompt_tokens_exceeded" {
            failure.kind = FailureKind::ContextTooLong;
        }
        self.record.warn(&format!("a call of the model failed: {}", failure.message));
        // A token of GitHub's own is renewed between the tries; a key of the user's provider never is.
        if failure.kind == FailureKind::Auth && is_true(data, "isByok") {
            self.record.refuse(failure.clone());
        }
        self.record.trouble_is(failure);
    }

    fn read_session_error(&mut self, data: &Value) {
        let message = text_at(data, "message");
        let mut failure = trouble::failure(status_at(data, "statusCode"), message);
        failure.kind = match (text_at(data, "errorType"), text_at(data, "errorCode")) {
            ("authentication" | "authorization", _) => match failure.kind {
                FailureKind::LoginExpired => failure.kind,
                _ => FailureKind::Auth,
            },
            ("quota", _) => FailureKind::UsageLimit,
            ("rate_limit", "user_weekly_rate_limited" | "user_global_rate_limited") => {
                FailureKind::UsageLimit
            }
            ("rate_limit", _) => FailureKind::RateLimited,
            ("context_limit", _) => FailureKind::ContextTooLong,
            _ if failure.kind == FailureKind::Crashed => {
                self.record.trouble().map_or(FailureKind::Crashed, |trouble| trouble.kind)
            }
            _ => failure.kind,
        };
        self.record.warn(message);
        self.record.trouble_is(failure.clone());
        self.gave_up = Some(failure);
    }

    fn read_result(&mut self, value: &Value) {
        self.record.session(text_at(value, "sessionId"));
        match value.get("exitCode").and_then(Value::as_i64) {
            Some(0) => self.record.done(None),
            code => {
                let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
                let message = format!("copilot ended with exit code {code} and did not say why");
                let gave_up = self.gave_up.take();
                let failure = gave_up.unwrap_or_else(|| trouble::told_by(FailureKind::Crashed, message));
                self.record.failed(failure);
            }
        }
    }
}
