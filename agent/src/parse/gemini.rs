//! `gemini -o stream-json`, as measured with 0.61.0; the texts of its stops are those of that program.
//!
//! Lessons that the code rests on: `result` may say `success` after an `error` event; the kind of an API error often
//! stands on standard error only, or in the exit code, which is the HTTP status modulo 256; the answer comes in
//! pieces; `stats` counts this process alone, cached tokens inside the input, thoughts only in the total.

use cloud_code_task_schema::{ChangeKind, Failure, FailureKind, Usage};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::json::{count_at, nonempty, object, summarise, text_at, text_in};
use super::record::Record;
use super::{Answer, Reader, UsageReading, clip, trouble};

/// How a model is named that gemini chooses by itself; the real name comes with the result.
const ROUTED_MODEL: &str = "auto";
/// How the small models are named, one of which does the choosing and may be asked more often than the chosen one.
const SMALL_MODEL: &str = "-lite";
/// From here on an announced wait is no retry: a container that only waits costs more than a new start.
const LONGEST_RETRY_MILLIS: i64 = 10 * 60 * 1000;

#[derive(Default)]
pub(super) struct GeminiParser {
    record: Record,
    /// Gemini chooses the model.
    is_routed: bool,
    /// The model was asked: what it says or calls next begins a new answer.
    has_answered: bool,
    /// The run was cut short, whatever the result says.
    stopped: Option<Failure>,
    /// The provider's last complaint on standard error.
    complaint: Option<Failure>,
}

impl Reader for GeminiParser {
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
            "init" => {
                self.record.session(text_at(&value, "session_id"));
                let model = text_at(&value, "model");
                self.is_routed = model.starts_with(ROUTED_MODEL);
                if !self.is_routed {
                    self.record.model(model);
                }
            }
            "message" if text_at(&value, "role") == "assistant" => {
                self.note_answer();
                self.record.say_piece(text_at(&value, "content"));
            }
            "tool_use" => self.read_tool_use(&value),
            "tool_result" => self.read_tool_result(&value),
            "error" => self.read_error(&value),
            "result" => self.read_result(&value),
            // The prompt is echoed as a message of the user.
            _ => {}
        }
    }

    fn read_stderr(&mut self, line: &str) {
        let is_retry = line.starts_with("Attempt ") && line.contains("Retrying with backoff");
        let is_end = line.starts_with("Error when talking to Gemini API");
        if is_retry || is_end {
            // The name of the report file and of the class stand before the provider's words.
            let told = line.split_once("Error: ").map_or(line, |(_, told)| told);
            let mut failure = trouble::failure(trouble::status_in(line), told);
            if let Some(kind) = kind_by_name(line) {
                failure.kind = kind;
            }
            if is_retry {
                self.record.step(&format!("the CLI retries: {}", failure.message));
            }
            self.complaint = Some(failure.clone());
            self.record.trouble_is(failure);
            return;
        }
        if let Some((told, wait)) = long_wait(line) {
            // It would sit there for hours. Who comes back then needs no container meanwhile.
            let failure = trouble::failure(trouble::status_in(line), told);
            let kind = kind_by_name(line).unwrap_or(FailureKind::UsageLimit);
            // The provider's own figure where there is one; gemini adds some to it.
            let wait = failure
                .retry_after
                .map_or(wait, |told| SignedDuration::try_from(told.as_duration()).unwrap_or(wait));
            let resets_at = Timestamp::now().checked_add(wait).ok();
            self.record.refuse(Failure { kind, resets_at: failure.resets_at.or(resets_at), ..failure });
            return;
        }
        let is_telling = line.starts_with("Error resuming session")
            || line.starts_with("Manual authorization is required")
            || line.contains("must specify the GEMINI_API_KEY")
            || line.contains("Invalid auth method selected")
            || line.contains("is not running in a trusted directory");
        if is_telling {
            self.record.trouble_is(trouble::failure(None, line));
        }
    }

    fn answer(&self) -> Option<Answer> {
        let answer = self.record.answer().cloned();
        match (answer, &self.complaint) {
            (Some(Answer::Failed(failure)), Some(complaint)) if failure.kind == FailureKind::Crashed => {
                let told = Failure { message: failure.message, ..complaint.clone() };
                Some(Answer::Failed(told))
            }
            (answer, _) => answer,
        }
    }

    fn of_exit(&self, code: i32) -> Option<Failure> {
        let told = |kind, message: &str| {
            let known = self.record.trouble().filter(|trouble| trouble.kind == kind);
            Some(known.cloned().unwrap_or_else(|| Failure::new(kind, message)))
        };
        let told_of = |message: &str| match self.record.trouble() {
            Some(trouble) => Some(trouble.clone()),
            None => Some(Failure::new(FailureKind::Crashed, message)),
        };
        match code {
            41 => match self.record.trouble() {
                Some(trouble) if trouble.kind == FailureKind::LoginExpired => Some(trouble.clone()),
                _ => told(FailureKind::Auth, "gemini has no usable credentials (exit code 41)"),
            },
            42 => told_of("gemini refused its input, or does not know the session (exit code 42)"),
            52 => told_of("gemini refused its settings (exit code 52)"),
            53 => told(FailureKind::MaxTurns, "gemini used up its turns (exit code 53)"),
            55 => told_of("gemini does not trust the worktree: set GEMINI_CLI_TRUST_WORKSPACE=true"),
            // The HTTP status modulo 256.
            145 | 147 => told(FailureKind::Auth, "the provider refused the credentials"),
            173 => told(FailureKind::RateLimited, "the provider asked to slow down"),
            244 | 246 | 247 | 248 | 17 => {
                told(FailureKind::Overloaded, "the provider answered with a server error")
            }
            _ => None,
        }
    }
}

impl GeminiParser {
    fn note_answer(&mut self) {
        if self.has_answered {
            return;
        }
        self.has_answered = true;
        self.complaint = None;
        self.record.answered();
        let turns = Some(self.record.turns());
        self.record.usage(UsageReading::ProcessTotal(Usage { turns, ..Usage::default() }));
    }

    fn read_tool_use(&mut self, value: &Value) {
        self.note_answer();
        self.record.finish_pieces();
        let (tool, id) = (text_at(value, "tool_name"), nonempty(value, "tool_id"));
        if matches!(tool, "write_file" | "replace") {
            let path = text_in(value, "/parameters/file_path");
            self.record.expect_edit(id.unwrap_or_default(), path, ChangeKind::Modified);
        }
        self.record.use_tool(tool, id, &summarise(value.get("parameters")));
    }

    fn read_tool_result(&mut self, value: &Value) {
        self.has_answered = false;
        let (id, is_error) = (nonempty(value, "tool_id"), text_at(value, "status") == "error");
        let output = nonempty(value, "output").unwrap_or_else(|| text_in(value, "/error/message"));
        self.record.settle_edits(id.unwrap_or_default(), is_error, false);
        self.record.tool_result(id, is_error, output);
    }

    fn read_error(&mut self, value: &Value) {
        let message = text_at(value, "message");
        self.record.warn(message);
        let mut failure = trouble::failure(None, message);
        match message {
            "Maximum session turns exceeded" => failure.kind = FailureKind::MaxTurns,
            text if text.starts_with("Loop detected") => {}
            // A warning otherwise is a hook's word to the model.
            _ if text_at(value, "severity") == "warning" => return,
            _ => {}
        }
        self.stopped = Some(failure.clone());
        self.record.trouble_is(failure);
    }

    fn read_result(&mut self, value: &Value) {
        self.record.finish_pieces();
        self.read_stats(value.get("stats").unwrap_or(&Value::Null));
        let failure = match (text_at(value, "status"), self.stopped.take()) {
            ("success", None) => return self.record.done(None),
            (_, Some(stopped)) => stopped,
            _ => failure_of(text_in(value, "/error/type"), text_in(value, "/error/message")),
        };
        self.record.failed(failure);
    }

    fn read_stats(&mut self, stats: &Value) {
        if self.is_routed
            && let Some(model) = busiest_model(stats)
        {
            self.record.model(model);
        }
        let turns = self.record.turns();
        let (total, input) = (count_at(stats, "total_tokens"), count_at(stats, "input_tokens"));
        if total.unwrap_or(0) == 0 {
            return;
        }
        let with_thoughts = total.zip(input).map(|(total, input)| total.saturating_sub(input));
        let cached = count_at(stats, "cached");
        self.record.usage(UsageReading::ProcessTotal(Usage {
            input_tokens: input.map(|input| input.saturating_sub(cached.unwrap_or(0))),
            output_tokens: count_at(stats, "output_tokens").max(with_thoughts),
            cache_read_tokens: cached,
            turns: Some(turns),
            ..Usage::default()
        }));
    }
}

/// The model that did most of the work.
fn busiest_model(stats: &Value) -> Option<&str> {
    let models = stats.get("models")?.as_object()?;
    let used = models.iter().filter_map(|(name, used)| {
        let tokens = count_at(used, "total_tokens").filter(|tokens| *tokens > 0)?;
        Some((!name.ends_with(SMALL_MODEL), tokens, name.as_str()))
    });
    used.max().map(|(_, _, name)| name)
}

/// The provider's words and the wait, when gemini announces one that is no retry any more.
fn long_wait(line: &str) -> Option<(&str, SignedDuration)> {
    let (told, rest) = line.strip_prefix("Attempt ")?.split_once("Retrying after ")?;
    let told = told.split_once(": ").map_or(told, |(_, told)| told).trim_end_matches([' ', '.']);
    let millis: i64 = rest.split_once("ms")?.0.trim().parse().ok()?;
    (millis >= LONGEST_RETRY_MILLIS).then(|| (told, SignedDuration::from_millis(millis)))
}

/// The kinds that have an error class of their own.
fn kind_by_name(text: &str) -> Option<FailureKind> {
    let names = [
        ("FatalTurnLimitedError", FailureKind::MaxTurns),
        ("FatalAuthenticationError", FailureKind::Auth),
        ("TerminalQuotaError", FailureKind::UsageLimit),
        ("RetryableQuotaError", FailureKind::RateLimited),
        ("ModelNotFoundError", FailureKind::ModelUnknown),
    ];
    names.iter().find(|(name, _)| text.contains(name)).map(|(_, kind)| *kind)
}

/// By the name of the error where it has one, else by its text.
fn failure_of(name: &str, message: &str) -> Failure {
    let mut failure = trouble::failure(None, message);
    match kind_by_name(name) {
        Some(FailureKind::Auth) if failure.kind == FailureKind::LoginExpired => {}
        Some(kind) => failure.kind = kind,
        None => {}
    }
    if failure.message.is_empty() {
        failure.message = clip("gemini ended with an error and did not say which");
    }
    failure
}
