//! Claude Code's `--output-format stream-json --verbose`, as measured with 2.1.329; the closed sets of its error words
//! are those of that program.
//!
//! Lessons that the code rests on: `subtype: success` stands beside `is_error: true` for every API error; a run can
//! have several `result` events; `total_cost_usd` and `modelUsage` go on from an earlier run of the session while
//! `usage` does not; `output_tokens` of an `assistant` event is a placeholder.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use cloud_code_task_schema::{ChangeKind, CostSource, Failure, FailureKind, HumanDuration, Usage};
use serde_json::Value;

use super::json::{
    add, cost_at, count_at, is_absent, is_true, items, nonempty, object, output_text, status_at, summarise,
    text_at, text_in,
};
use super::record::Record;
use super::{Answer, Reader, Settled, UsageReading, clip, one_line, trouble, waits};

/// Message ids that are remembered, as hashes: the blocks of one message come as several events, with those of helper
/// agents between them, but never this many messages apart.
const MAX_MESSAGE_IDS: usize = 1_024;
/// After the first refusal Claude renews a login's token by itself; the second refusal stays. A key is never renewed.
const REFUSALS_OF_A_LOGIN: u64 = 2;

#[derive(Default)]
pub(super) struct ClaudeParser {
    record: Record,
    background_tasks: usize,
    seen_messages: VecDeque<u64>,
    in_flight: Usage,
    turns_told: u32,
    /// It sends the token of a login, not an API key.
    has_login: bool,
    /// The content was refused, by the model or by a filter.
    refusal: Option<Failure>,
}

impl Reader for ClaudeParser {
    fn record(&self) -> &Record {
        &self.record
    }

    fn record_mut(&mut self) -> &mut Record {
        &mut self.record
    }

    fn read(&mut self, line: &str) {
        // Answers of tools are the bulk of a long run, and nothing but events come of them.
        if self.record.is_full() && line.starts_with(r#"{"type":"user","#) {
            self.record.pass_over(line);
            return;
        }
        let Some(value) = object(line) else {
            self.record.mutter(line);
            return;
        };
        match text_at(&value, "type") {
            "system" => self.read_system(&value),
            "assistant" => self.read_assistant(&value),
            "user" => self.read_user(&value),
            "result" => self.read_result(&value),
            "rate_limit_event" => {
                self.read_rate_limit(value.get("rate_limit_info").unwrap_or(&Value::Null));
            }
            // `stream_event` and whatever comes next repeat or decorate what the events above say.
            _ => {}
        }
    }

    fn settled(&self) -> Settled {
        match (self.record.answer(), self.background_tasks) {
            (None, _) => Settled::No,
            (Some(_), 0) => Settled::Yes,
            (Some(_), _) => Settled::WithBackgroundWork,
        }
    }

    fn answer(&self) -> Option<Answer> {
        let answer = self.record.answer().cloned();
        match (answer, &self.refusal) {
            (Some(Answer::Failed(failure)), Some(refusal)) if failure.kind == FailureKind::Crashed => {
                Some(Answer::Failed(refusal.clone()))
            }
            (answer, _) => answer,
        }
    }
}

impl ClaudeParser {
    fn read_system(&mut self, value: &Value) {
        match text_at(value, "subtype") {
            "init" => {
                // After a result, a new `init` opens another turn (a background command ended): not settled any more.
                self.record.goes_on();
                self.refusal = None;
                self.has_login = text_at(value, "apiKeySource") == "none";
                self.record.session(text_at(value, "session_id"));
                self.record.version(text_at(value, "claude_code_version"));
                self.record.model(text_at(value, "model"));
            }
            "api_retry" => self.read_retry(value),
            "permission_denied" => {
                let message = format!("permission denied: {}", one_line(text_at(value, "message")));
                self.record.warn(&message);
            }
            "model_fallback" => {
                let message = format!("the CLI fell back to another model: {}", clip(&value.to_string()));
                self.record.warn(&message);
            }
            "model_refusal_no_fallback" => {
                let told = [text_at(value, "api_refusal_explanation"), text_at(value, "content")];
                let told = told.into_iter().find(|text| !text.is_empty()).unwrap_or_default();
                self.refusal = Some(refused(told));
            }
            "background_tasks_changed" => {
                self.background_tasks = value.get("tasks").and_then(Value::as_array).map_or(0, Vec::len);
            }
            _ => {}
        }
    }

    fn read_retry(&mut self, value: &Value) {
        let (word, status) = (text_at(value, "error"), status_at(value, "error_status"));
        let kind = match self.key_or_login(kind_of(word, status, "", ""), status) {
            FailureKind::Crashed if status.is_none() => FailureKind::Network,
            kind => kind,
        };
        let message = match status {
            Some(status) => format!("the provider answered with status {status} ({word})"),
            None => format!("the provider did not answer ({word})"),
        };
        let (attempt, max) = (count_at(value, "attempt"), count_at(value, "max_retries"));
        let (attempt, max) = (attempt.unwrap_or(0), max.unwrap_or(0));
        let mut failure = Failure::new(kind, &message);
        if kind == FailureKind::RateLimited {
            // With a `Retry-After` from the provider it is that time; without one, Claude's own patience.
            failure.retry_after =
                count_at(value, "retry_delay_ms").map(|ms| HumanDuration::from_secs(ms.div_ceil(1000)));
        }
        let is_refusal = matches!(kind, FailureKind::Auth | FailureKind::LoginExpired);
        if is_refusal && (!self.has_login || attempt >= REFUSALS_OF_A_LOGIN) {
            // Claude would try eleven times over three minutes; a refused key does not become valid.
            self.record.refuse(failure.clone());
        }
        let warning = format!("{message}; the CLI retries, {attempt} of {max}");
        self.record.step(&warning);
        self.record.warn(&warning);
        self.note_trouble(failure);
    }

    fn read_assistant(&mut self, value: &Value) {
        let Some(message) = value.get("message") else { return };
        let is_main = is_absent(value, "parent_tool_use_id");
        let error = nonempty(value, "error");
        if error.is_none() {
            self.count_message(message, is_main);
        }
        for block in items(message, "content") {
            match text_at(block, "type") {
                "text" if error.is_some() || !is_main => self.record.mutter(text_at(block, "text")),
                "text" => self.record.say(text_at(block, "text")),
                "thinking" => self.record.think(text_at(block, "thinking")),
                "tool_use" => {
                    let summary = summarise(block.get("input"));
                    self.record.use_tool(text_at(block, "name"), nonempty(block, "id"), &summary);
                }
                _ => {}
            }
        }
        if let Some(error) = error {
            let text = items(message, "content").map(|block| text_at(block, "text")).next().unwrap_or("");
            if let Some(info) = value.pointer("/api_error_params/rate_limit_info") {
                self.read_rate_limit(info);
            }
            let status = status_at(value, "api_error_status");
            let mut failure = failure_of(error, status, text_at(value, "api_error"), text);
            failure.kind = self.key_or_login(failure.kind, status);
            self.note_trouble(failure);
        }
        if text_at(message, "stop_reason") == "refusal" {
            let text = items(message, "content").map(|block| text_at(block, "text")).next().unwrap_or("");
            self.refusal = Some(refused(text));
        }
    }

    /// A token that is not accepted was once: nobody types one in.
    fn key_or_login(&self, kind: FailureKind, status: Option<u16>) -> FailureKind {
        match (kind, status) {
            (FailureKind::Auth, Some(401)) if self.has_login => FailureKind::LoginExpired,
            _ => kind,
        }
    }

    fn count_message(&mut self, message: &Value, is_main: bool) {
        let model = text_at(message, "model");
        if model == "<synthetic>" {
            return;
        }
        self.record.model(model);
        let Some(id) = nonempty(message, "id") else { return };
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        let id = hasher.finish();
        // A message with several blocks comes as several events with the same usage.
        if self.seen_messages.contains(&id) {
            return;
        }
        if self.seen_messages.len() >= MAX_MESSAGE_IDS {
            self.seen_messages.pop_front();
        }
        self.seen_messages.push_back(id);
        if is_main {
            self.record.answered();
        }
        let used = message.get("usage").unwrap_or(&Value::Null);
        add(&mut self.in_flight.input_tokens, count_at(used, "input_tokens"));
        add(&mut self.in_flight.cache_read_tokens, count_at(used, "cache_read_input_tokens"));
        add(&mut self.in_flight.cache_write_tokens, count_at(used, "cache_creation_input_tokens"));
        self.in_flight.turns = Some(self.record.turns().saturating_sub(self.turns_told));
        self.record.usage(UsageReading::InFlight(self.in_flight.clone()));
    }

    fn read_user(&mut self, value: &Value) {
        for block in value.pointer("/message/content").and_then(Value::as_array).into_iter().flatten() {
            if text_at(block, "type") == "tool_result" {
                let output = output_text(block.get("content"));
                let id = nonempty(block, "tool_use_id");
                self.record.tool_result(id, is_true(block, "is_error"), &output);
            }
        }
        let Some(result) = value.get("tool_use_result") else { return };
        // Reading a file has a `filePath` too, one level deeper; only a change carries a patch beside it.
        if let (Some(path), true) = (nonempty(result, "filePath"), result.get("structuredPatch").is_some()) {
            let change =
                if text_at(result, "type") == "create" { ChangeKind::Added } else { ChangeKind::Modified };
            self.record.file_changed(path, change);
        }
    }

    fn read_result(&mut self, value: &Value) {
        let subtype = text_at(value, "subtype");
        if subtype == "success" {
            self.record.session(text_at(value, "session_id"));
        }
        if let Some(usage) = self.session_usage(value) {
            self.record.usage(UsageReading::SessionTotal(usage));
        }
        let text = text_at(value, "result");
        if text_at(value, "stop_reason") == "refusal" {
            let refusal = self.refusal.take().unwrap_or_else(|| refused(text));
            self.record.failed(refusal);
        } else if is_true(value, "is_error") || subtype != "success" {
            let failure = self.failure_at_end(value, text);
            self.record.failed(failure);
        } else {
            self.record.done(Some(text));
        }
    }

    fn failure_at_end(&self, value: &Value, text: &str) -> Failure {
        let message = match (text, text_in(value, "/errors/0")) {
            ("", "") => format!("the CLI ended with {}", text_at(value, "subtype")),
            ("", error) => clip(error),
            (text, _) => clip(text),
        };
        let trouble = self.record.trouble();
        let kind = match (text_at(value, "subtype"), text_at(value, "terminal_reason")) {
            ("error_max_turns", _) | (_, "max_turns") => FailureKind::MaxTurns,
            ("error_max_budget_usd", _) | (_, "budget_exhausted") => FailureKind::Budget,
            (_, "prompt_too_long" | "blocking_limit" | "rapid_refill_breaker") => FailureKind::ContextTooLong,
            (_, "api_error") => match trouble.map(|trouble| trouble.kind) {
                Some(kind) if kind != FailureKind::Crashed => kind,
                _ => {
                    let status = status_at(value, "api_error_status");
                    kind_of("", status, text_at(value, "api_error"), text)
                }
            },
            _ => FailureKind::Crashed,
        };
        let in_text = trouble::failure(None, text);
        let told = trouble.filter(|trouble| trouble.kind == kind).unwrap_or(&in_text);
        Failure { kind, message, retry_after: told.retry_after, resets_at: told.resets_at }
    }

    /// Told with a login: when the account's usage window opens again.
    fn read_rate_limit(&mut self, info: &Value) {
        if text_at(info, "status") != "rejected" || is_true(info, "isUsingOverage") {
            return;
        }
        let mut failure = Failure::new(FailureKind::UsageLimit, "the account's usage window is used up");
        failure.resets_at = info.get("resetsAt").and_then(Value::as_i64).and_then(waits::epoch);
        self.record.trouble_is(failure);
    }

    /// A used-up window is told once; the rate limits that follow from it do not replace it.
    fn note_trouble(&mut self, failure: Failure) {
        match self.record.trouble_mut() {
            Some(known)
                if known.kind == FailureKind::UsageLimit
                    && matches!(failure.kind, FailureKind::RateLimited | FailureKind::UsageLimit) =>
            {
                known.message = failure.message;
                known.resets_at = known.resets_at.or(failure.resets_at);
            }
            Some(known)
                if known.kind == failure.kind
                    && known.retry_after.is_some()
                    && failure.retry_after.is_none() =>
            {
                known.message = failure.message;
            }
            _ => self.record.trouble_is(failure),
        }
    }

    /// Tokens and money of the whole session, over all models; turns since the last result.
    fn session_usage(&mut self, value: &Value) -> Option<Usage> {
        let mut usage = Usage::default();
        let models = value.get("modelUsage").and_then(Value::as_object);
        for model in models.into_iter().flat_map(|models| models.values()) {
            add(&mut usage.input_tokens, count_at(model, "inputTokens"));
            add(&mut usage.output_tokens, count_at(model, "outputTokens"));
            add(&mut usage.cache_read_tokens, count_at(model, "cacheReadInputTokens"));
            add(&mut usage.cache_write_tokens, count_at(model, "cacheCreationInputTokens"));
        }
        if usage == Usage::default() {
            return None;
        }
        let counted = self.record.turns().saturating_sub(self.turns_told);
        let told = count_at(value, "num_turns").and_then(|turns| u32::try_from(turns).ok());
        usage.turns = if counted > 0 { Some(counted) } else { told };
        if let Some(cost) = cost_at(value, "total_cost_usd") {
            usage.cost_usd = Some(cost);
            usage.cost_source = CostSource::Reported;
        }
        self.turns_told = self.record.turns();
        self.in_flight = Usage::default();
        Some(usage)
    }
}

fn refused(text: &str) -> Failure {
    let text = if text.trim().is_empty() { "the model refused the content" } else { text };
    trouble::told_by(FailureKind::Refused, text)
}

fn failure_of(word: &str, status: Option<u16>, api_error: &str, text: &str) -> Failure {
    let mut failure = trouble::failure(status, text);
    failure.kind = kind_of(word, status, api_error, text);
    failure.message = clip(text);
    failure
}

/// By Claude's own words for it: the typed cause, then the coarse one, refined by status and text.
fn kind_of(word: &str, status: Option<u16>, api_error: &str, text: &str) -> FailureKind {
    let by_text = trouble::kind_of(status, text);
    match api_error {
        "usage_limit_reached" | "model_requires_usage_credits" | "long_context_credits_required" => {
            return FailureKind::UsageLimit;
        }
        "message_over_context_limit" | "autocompact_thrashing" => return FailureKind::ContextTooLong,
        "dlp_request_denied" | "safety_monitor_blocked" => return FailureKind::Refused,
        "stored_login_refused" | "gateway_session_expired" => return FailureKind::LoginExpired,
        "provider_credentials"
        | "api_key_auth_disabled"
        | "org_disabled_credential"
        | "invalid_credential_header"
        | "gateway_signin_required"
        | "oauth_refresh_store_refused" => return FailureKind::Auth,
        "connection_failed"
        | "stream_idle_timeout"
        | "no_response"
        | "network_edge_blocked"
        | "tls_untrusted_ca"
        | "tls_cert_signature_failure" => return FailureKind::Network,
        _ => {}
    }
    match word {
        "authentication_failed" if by_text == FailureKind::LoginExpired => by_text,
        "authentication_failed"
        | "oauth_org_not_allowed"
        | "account_on_hold"
        | "verification_required"
        | "cloud_credential_error" => FailureKind::Auth,
        "billing_error" => FailureKind::UsageLimit,
        "rate_limit" if by_text == FailureKind::UsageLimit => by_text,
        "rate_limit" => FailureKind::RateLimited,
        "overloaded" | "server_error" => FailureKind::Overloaded,
        "model_not_found" => FailureKind::ModelUnknown,
        _ => by_text,
    }
}
