//! Claude Code's `--output-format stream-json --verbose`, as measured with 2.1.329.
//!
//! Lessons that the code rests on: `subtype: success` stands beside `is_error: true` for every API error; a run can
//! have several `result` events; `total_cost_usd` and `modelUsage` go on from an earlier run of the session while
//! `usage` does not; `output_tokens` of an `assistant` event is a placeholder.

use std::collections::BTreeSet;

use cloud_code_task_schema::{
    ChangeKind, CostSource, EventKind, Failure, FailureKind, HumanDuration, Usage, Usd,
};
use serde_json::Value;

use super::{Answer, Settled, Signal, UsageReading, clip, one_line};

/// Most message ids remembered to count turns; beyond it the count in flight stops, the result's own figure does not.
const MAX_MESSAGE_IDS: usize = 10_000;

#[derive(Default)]
pub(crate) struct ClaudeParser {
    answer: Option<Answer>,
    last_text: Option<String>,
    trouble: Option<Failure>,
    background_tasks: usize,
    seen_messages: BTreeSet<String>,
    in_flight: Usage,
    model: Option<String>,
}

impl ClaudeParser {
    pub(super) fn read(&mut self, line: &str) -> Vec<Signal> {
        let mut signals = Vec::new();
        match serde_json::from_str::<Value>(line) {
            Ok(value) if value.is_object() => self.read_object(&value, &mut signals),
            Ok(_) | Err(_) => signals.push(Signal::Event(EventKind::Message { text: clip(line) })),
        }
        signals
    }

    pub(super) fn answer(&self) -> Option<Answer> {
        self.answer.clone()
    }

    pub(super) fn last_words(&self) -> Option<String> {
        match &self.answer {
            Some(Answer::Done { text }) if !text.is_empty() => Some(text.clone()),
            Some(Answer::Done { .. } | Answer::Failed(_)) | None => self.last_text.clone(),
        }
    }

    pub(super) fn trouble(&self) -> Option<Failure> {
        self.trouble.clone()
    }

    pub(super) const fn settled(&self) -> Settled {
        match (&self.answer, self.background_tasks) {
            (None, _) => Settled::No,
            (Some(_), 0) => Settled::Yes,
            (Some(_), _) => Settled::WithBackgroundWork,
        }
    }

    fn read_object(&mut self, value: &Value, signals: &mut Vec<Signal>) {
        match text_at(value, "type") {
            "system" => self.read_system(value, signals),
            "assistant" => self.read_assistant(value, signals),
            "user" => read_user(value, signals),
            "result" => self.read_result(value, signals),
            "rate_limit_event" => self.read_rate_limit(value),
            // `stream_event` and whatever comes next repeat or decorate what the events above say.
            _ => {}
        }
    }

    fn read_system(&mut self, value: &Value, signals: &mut Vec<Signal>) {
        match text_at(value, "subtype") {
            "init" => {
                // After a result, a new `init` opens another turn (a background command ended): not settled any more.
                self.answer = None;
                if let Some(session) = nonempty(value, "session_id") {
                    signals.push(Signal::Session(session));
                }
                if let Some(version) = nonempty(value, "claude_code_version") {
                    signals.push(Signal::CliVersion(version));
                }
                if let Some(model) = nonempty(value, "model") {
                    self.note_model(model, signals);
                }
            }
            "api_retry" => self.read_retry(value, signals),
            "permission_denied" => {
                let message = format!("permission denied: {}", one_line(text_at(value, "message")));
                signals.push(Signal::Event(EventKind::Warning { message }));
            }
            "model_fallback" => {
                let message = format!("the CLI fell back to another model: {}", clip(&value.to_string()));
                signals.push(Signal::Event(EventKind::Warning { message }));
            }
            "background_tasks_changed" => {
                self.background_tasks = value.get("tasks").and_then(Value::as_array).map_or(0, Vec::len);
            }
            _ => {}
        }
    }

    fn read_retry(&mut self, value: &Value, signals: &mut Vec<Signal>) {
        let status = value.get("error_status").and_then(Value::as_u64);
        let kind = kind_of(text_at(value, "error"), status);
        let told = status.map_or_else(|| "no answer".to_owned(), |status| format!("status {status}"));
        let message = format!("the provider answered with {told} ({})", text_at(value, "error"));
        if kind == FailureKind::Auth {
            // Claude would try eleven times over three minutes; a refused key does not become valid.
            signals.push(Signal::Refused(Failure::new(kind, message.clone())));
        }
        let (attempt, max) = (number_at(value, "attempt"), number_at(value, "max_retries"));
        let warning = format!("{message}; the CLI retries, {attempt} of {max}");
        signals.push(Signal::Step(one_line(&warning)));
        signals.push(Signal::Event(EventKind::Warning { message: warning }));
        self.trouble = Some(Failure::new(kind, message));
    }

    fn read_assistant(&mut self, value: &Value, signals: &mut Vec<Signal>) {
        let Some(message) = value.get("message") else { return };
        let error = nonempty(value, "error");
        if let Some(error) = &error {
            let status = value.get("api_error_status").and_then(Value::as_u64);
            self.trouble = Some(Failure::new(kind_of(error, status), ""));
        } else {
            self.count_message(message, signals);
        }
        for block in message.get("content").and_then(Value::as_array).into_iter().flatten() {
            match text_at(block, "type") {
                "text" => {
                    let text = text_at(block, "text");
                    if let (Some(trouble), Some(_)) = (&mut self.trouble, &error) {
                        trouble.message = clip(text);
                    } else if value.get("parent_tool_use_id").is_none_or(Value::is_null) {
                        self.last_text = Some(text.to_owned());
                    }
                    signals.push(Signal::Step(one_line(text)));
                    signals.push(Signal::Event(EventKind::Message { text: clip(text) }));
                }
                "thinking" => {
                    signals
                        .push(Signal::Event(EventKind::Thinking { text: clip(text_at(block, "thinking")) }));
                }
                "tool_use" => {
                    let tool = text_at(block, "name").to_owned();
                    let summary = summarise(block.get("input"));
                    signals.push(Signal::Step(one_line(&format!("{tool}: {summary}"))));
                    signals.push(Signal::Event(EventKind::ToolUse {
                        tool,
                        id: nonempty(block, "id"),
                        summary,
                    }));
                }
                _ => {}
            }
        }
    }

    fn count_message(&mut self, message: &Value, signals: &mut Vec<Signal>) {
        if let Some(model) = nonempty(message, "model").filter(|model| model != "<synthetic>") {
            self.note_model(model, signals);
        }
        let Some(id) = nonempty(message, "id") else { return };
        // A message with several blocks comes as several events with the same usage.
        if self.seen_messages.len() >= MAX_MESSAGE_IDS || !self.seen_messages.insert(id) {
            return;
        }
        let used = message.get("usage");
        let add = |sum: &mut Option<u64>, key: &str| {
            if let Some(count) = used.and_then(|used| used.get(key)).and_then(Value::as_u64) {
                *sum = Some(sum.unwrap_or(0).saturating_add(count));
            }
        };
        add(&mut self.in_flight.input_tokens, "input_tokens");
        add(&mut self.in_flight.cache_read_tokens, "cache_read_input_tokens");
        add(&mut self.in_flight.cache_write_tokens, "cache_creation_input_tokens");
        self.in_flight.turns = Some(self.in_flight.turns.unwrap_or(0).saturating_add(1));
        signals.push(Signal::Usage(UsageReading::InFlight(self.in_flight.clone())));
    }

    fn note_model(&mut self, model: String, signals: &mut Vec<Signal>) {
        if self.model.as_ref() != Some(&model) {
            self.model = Some(model.clone());
            signals.push(Signal::Model(model));
        }
    }

    fn read_result(&mut self, value: &Value, signals: &mut Vec<Signal>) {
        if let Some(session) =
            nonempty(value, "session_id").filter(|_| text_at(value, "subtype") == "success")
        {
            signals.push(Signal::Session(session));
        }
        let usage = session_usage(value);
        if usage != Usage::default() {
            self.in_flight = Usage::default();
            signals.push(Signal::Usage(UsageReading::SessionTotal(usage)));
        }
        let text = text_at(value, "result");
        let is_error = value.get("is_error").and_then(Value::as_bool).unwrap_or(false);
        self.answer = Some(if is_error || text_at(value, "subtype") != "success" {
            Answer::Failed(self.failure_of(value, text))
        } else {
            Answer::Done { text: text.to_owned() }
        });
    }

    fn failure_of(&self, value: &Value, text: &str) -> Failure {
        let first_error = value.get("errors").and_then(|errors| errors.get(0)).and_then(Value::as_str);
        let message = match (text, first_error) {
            ("", Some(error)) => clip(error),
            ("", None) => format!("the CLI ended with {}", text_at(value, "subtype")),
            (text, _) => clip(text),
        };
        let kind = match (text_at(value, "subtype"), text_at(value, "terminal_reason")) {
            ("error_max_turns", _) | (_, "max_turns") => FailureKind::MaxTurns,
            ("error_max_budget_usd", _) | (_, "budget_exhausted") => FailureKind::Budget,
            (_, "api_error") => {
                let status = value.get("api_error_status").and_then(Value::as_u64);
                match (&self.trouble, status.and_then(kind_of_status)) {
                    (Some(trouble), None) => trouble.kind,
                    (Some(trouble), Some(_)) if trouble.kind == FailureKind::UsageLimit => trouble.kind,
                    (_, Some(kind)) => kind,
                    (None, None) => FailureKind::Crashed,
                }
            }
            _ => FailureKind::Crashed,
        };
        let retry_after =
            self.trouble.as_ref().filter(|trouble| trouble.kind == kind).and_then(|t| t.retry_after);
        Failure { kind, message, retry_after }
    }

    /// Sent with a subscription's login: says when the usage window opens again.
    fn read_rate_limit(&mut self, value: &Value) {
        let Some(info) = value.get("rate_limit_info") else { return };
        if text_at(info, "status") != "rejected" {
            return;
        }
        let mut failure = Failure::new(FailureKind::UsageLimit, "the account's usage window is used up");
        let now = jiff::Timestamp::now().as_second();
        failure.retry_after = info
            .get("resetsAt")
            .and_then(Value::as_i64)
            .and_then(|at| u64::try_from(at.checked_sub(now)?).ok())
            .map(HumanDuration::from_secs);
        self.trouble = Some(failure);
    }
}

fn read_user(value: &Value, signals: &mut Vec<Signal>) {
    for block in value.pointer("/message/content").and_then(Value::as_array).into_iter().flatten() {
        if text_at(block, "type") == "tool_result" {
            let output = match block.get("content") {
                Some(Value::String(text)) => clip(text),
                Some(Value::Array(parts)) => {
                    let texts: Vec<&str> = parts.iter().map(|part| text_at(part, "text")).collect();
                    clip(&texts.join("\n"))
                }
                _ => String::new(),
            };
            let is_error = block.get("is_error").and_then(Value::as_bool).unwrap_or(false);
            let id = nonempty(block, "tool_use_id");
            signals.push(Signal::Event(EventKind::ToolResult { id, is_error, output }));
        }
    }
    let Some(result) = value.get("tool_use_result") else { return };
    // Reading a file has a `filePath` too, one level deeper; only a change carries a patch beside it.
    if let (Some(path), true) = (nonempty(result, "filePath"), result.get("structuredPatch").is_some()) {
        let change =
            if text_at(result, "type") == "create" { ChangeKind::Added } else { ChangeKind::Modified };
        signals.push(Signal::Event(EventKind::FileChanged { path, change }));
    }
}

/// Tokens and money of the whole session, over all models; turns of this result alone.
fn session_usage(value: &Value) -> Usage {
    let mut usage = Usage::default();
    let models = value.get("modelUsage").and_then(Value::as_object).filter(|models| !models.is_empty());
    let add = |sum: &mut Option<u64>, from: &Value, key: &str| {
        if let Some(count) = from.get(key).and_then(Value::as_u64) {
            *sum = Some(sum.unwrap_or(0).saturating_add(count));
        }
    };
    for model in models.into_iter().flat_map(|models| models.values()) {
        add(&mut usage.input_tokens, model, "inputTokens");
        add(&mut usage.output_tokens, model, "outputTokens");
        add(&mut usage.cache_read_tokens, model, "cacheReadInputTokens");
        add(&mut usage.cache_write_tokens, model, "cacheCreationInputTokens");
    }
    if usage == Usage::default() {
        return usage;
    }
    usage.turns = value.get("num_turns").and_then(Value::as_u64).and_then(|turns| u32::try_from(turns).ok());
    if let Some(cost) =
        value.get("total_cost_usd").and_then(Value::as_f64).and_then(|cost| Usd::new(cost).ok())
    {
        usage.cost_usd = Some(cost);
        usage.cost_source = CostSource::Reported;
    }
    usage
}

/// By Claude's own error word, refined by the HTTP status where there was one.
fn kind_of(error: &str, status: Option<u64>) -> FailureKind {
    match error {
        "authentication_failed" => FailureKind::Auth,
        "billing_error" => FailureKind::UsageLimit,
        "rate_limit" => FailureKind::RateLimited,
        "overloaded" => FailureKind::Overloaded,
        "model_not_found" => FailureKind::InvalidTasking,
        // Without a status no answer came, or it broke off.
        "server_error" | "unknown" if status.is_none() => FailureKind::Network,
        _ => status.and_then(kind_of_status).unwrap_or(FailureKind::Crashed),
    }
}

const fn kind_of_status(status: u64) -> Option<FailureKind> {
    match status {
        401 | 403 => Some(FailureKind::Auth),
        402 => Some(FailureKind::UsageLimit),
        404 => Some(FailureKind::InvalidTasking),
        429 => Some(FailureKind::RateLimited),
        500..=599 => Some(FailureKind::Overloaded),
        400..=499 => Some(FailureKind::Crashed),
        _ => None,
    }
}

/// A few words about a tool's input: the command or the path if there is one, else its first text.
fn summarise(input: Option<&Value>) -> String {
    let Some(Value::Object(input)) = input else { return String::new() };
    let known = ["command", "file_path", "path", "pattern", "url", "query", "description", "prompt"];
    let named = known.iter().find_map(|key| input.get(*key).and_then(Value::as_str));
    one_line(named.or_else(|| input.values().find_map(Value::as_str)).unwrap_or_default())
}

fn text_at<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn nonempty(value: &Value, key: &str) -> Option<String> {
    Some(text_at(value, key)).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn number_at(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or(0)
}
