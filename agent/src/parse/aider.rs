//! aider's text, as measured with 0.86.2 and `--no-pretty --no-stream --yes-always`.
//!
//! Lessons that the code rests on: it exits 0 on every error, and an error is a `litellm.…` line with no `Tokens:` line
//! after it; errors are wrapped at 80 columns; a refused key may be tried nine times; tokens are rounded (`12k sent`),
//! so they are an estimate, and `sent` has the cached ones inside; each `Tokens:` line is one answer of the model.
//! aider has no final event, so nothing settles before it exits.

use cloud_code_task_schema::{ChangeKind, CostSource, Failure, FailureKind, Usage, Usd};

use super::json::add;
use super::record::Record;
use super::{Answer, Reader, Settled, UsageReading, trouble};

/// Longest error that is put together from its lines.
const MAX_ERROR_BYTES: usize = 8 * 1024;
/// The last line of what aider says about itself before it asks the model.
const BANNER_END: &str = "Repo-map: ";
/// Lines that aider prints between its banner and the answer.
const AFTER_BANNER: [&str; 5] = [
    "Added ",
    "Restored previous conversation history.",
    "Multiline mode: ",
    "https://aider.chat/",
    "Warning: ",
];

/// An error, as far as it was told.
struct Telling {
    text: String,
    is_told: bool,
}

#[derive(Default)]
pub(super) struct AiderParser {
    record: Record,
    /// The banner is over: what follows is about the task.
    has_begun: bool,
    /// An error that is being told, line by line.
    error: Option<Telling>,
    /// The error that no answer followed.
    failed: Option<Failure>,
    used: Usage,
}

impl Reader for AiderParser {
    fn record(&self) -> &Record {
        &self.record
    }

    fn record_mut(&mut self) -> &mut Record {
        &mut self.record
    }

    fn read(&mut self, line: &str) {
        let line = line.trim_end();
        if is_error(line) {
            self.finish_error();
            self.record.drop_pieces();
            self.has_begun = true;
            self.error =
                Some(Telling { text: line.chars().take(MAX_ERROR_BYTES / 4).collect(), is_told: false });
        } else if self.error.is_some() && !ends_error(line) {
            self.read_error(line);
        } else if self.has_begun {
            self.finish_error();
            self.read_line(line);
        } else {
            self.read_banner(line);
        }
    }

    fn answer(&self) -> Option<Answer> {
        let untold = self.error.as_ref().map(|error| trouble::failure(None, &error.text));
        match (untold.or_else(|| self.failed.clone()), self.record.turns()) {
            (Some(failure), _) => Some(Answer::Failed(failure)),
            (None, 0) => None,
            (None, _) => Some(Answer::Done { text: self.record.words().unwrap_or_default().to_owned() }),
        }
    }

    /// What was printed after the last whole answer is not the model's.
    fn last_words(&self) -> Option<String> {
        match self.record.turns() {
            0 => self.record.last_words(),
            _ => self.record.words().map(str::to_owned),
        }
    }

    fn settled(&self) -> Settled {
        Settled::No
    }
}

impl AiderParser {
    fn read_banner(&mut self, line: &str) {
        if let Some(version) = line.strip_prefix("Aider v") {
            self.record.version(version);
        } else if let Some(model) = line.strip_prefix("Model: ").or_else(|| line.strip_prefix("Main model: "))
        {
            self.record.model(model.split(" with ").next().unwrap_or_default());
        } else if line.starts_with(BANNER_END) {
            self.has_begun = true;
        }
    }

    fn read_line(&mut self, line: &str) {
        if let Some(tokens) = line.strip_prefix("Tokens: ").filter(|tokens| tokens.contains(" received.")) {
            self.read_tokens(tokens);
        } else if let Some(cost) = line.strip_prefix("Cost: ") {
            self.read_cost(cost);
        } else if let Some(path) = line.strip_prefix("Applied edit to ") {
            self.record.drop_pieces();
            self.record.file_changed(path, ChangeKind::Modified);
            self.record.step(line);
        } else if is_commit(line) {
            // The edits are in; whatever went wrong was about the message.
            self.failed = None;
            self.record.drop_pieces();
            self.record.step(line);
        } else if line.starts_with("Failed to generate commit message") {
            self.failed = None;
            self.record.warn(line);
        } else if line.starts_with("Retrying in ") || line.starts_with("The API provider") {
            self.record.step(line);
        } else if line.starts_with("Model ") && line.ends_with(" has hit a token limit!") {
            self.fail(trouble::told_by(FailureKind::ContextTooLong, line));
        } else if line.starts_with("Empty response received from LLM") {
            self.fail(trouble::told_by(FailureKind::Crashed, line));
        } else if line.starts_with("The LLM did not conform to the edit format")
            || line.ends_with(" reflections allowed, stopping.")
        {
            self.record.warn(line);
        } else if self.record.is_speaking() || !is_between(line) {
            self.record.say_piece(line);
            self.record.say_piece("\n");
        }
    }

    /// One more line of an error. A blank one may be inside it, or nothing follows any more.
    fn read_error(&mut self, line: &str) {
        if line.is_empty() {
            self.tell_error();
        }
        if let Some(error) = &mut self.error
            && error.text.len() < MAX_ERROR_BYTES
        {
            error.text.push(' ');
            error.text.extend(line.trim_start().chars().take(MAX_ERROR_BYTES / 4));
        }
    }

    /// It may be tried again: a refusal for good needs no second try.
    fn tell_error(&mut self) {
        let Some(error) = self.error.as_mut().filter(|error| !error.is_told) else { return };
        error.is_told = true;
        let failure = trouble::failure(None, &error.text);
        self.record.warn(&failure.message);
        self.record.step(&failure.message);
        if matches!(failure.kind, FailureKind::Auth | FailureKind::LoginExpired | FailureKind::ModelUnknown) {
            self.record.refuse(failure.clone());
        }
        self.fail(failure);
    }

    fn finish_error(&mut self) {
        self.tell_error();
        if let Some(error) = self.error.take() {
            self.fail(trouble::failure(None, &error.text));
        }
    }

    fn fail(&mut self, failure: Failure) {
        self.record.trouble_is(failure.clone());
        self.failed = Some(failure);
    }

    /// `12k sent, 400 cache write, 10k cache hit, 85 received.`, with the cost on the same line or the next.
    fn read_tokens(&mut self, line: &str) {
        let (tokens, cost) = line.split_once(" Cost: ").unwrap_or((line, ""));
        let mut counts = [None; 4];
        for part in tokens.trim_end_matches('.').split(", ") {
            let kinds = [" sent", " cache write", " cache hit", " received"];
            for (kind, count) in kinds.into_iter().zip(&mut counts) {
                *count = count.or_else(|| rounded(part.strip_suffix(kind)?));
            }
        }
        let [sent, write, hit, received] = counts;
        let cached = write.unwrap_or(0).saturating_add(hit.unwrap_or(0));
        self.record.finish_pieces();
        // A call that failed over its length is reported too, with nothing received.
        if received != Some(0) {
            self.failed = None;
            self.record.answered();
        }
        add(&mut self.used.input_tokens, sent.map(|sent| sent.saturating_sub(cached)));
        add(&mut self.used.output_tokens, received);
        add(&mut self.used.cache_read_tokens, hit);
        add(&mut self.used.cache_write_tokens, write);
        self.used.turns = Some(self.record.turns());
        if cost.is_empty() {
            self.record.usage(UsageReading::ProcessTotal(self.used.clone()));
        } else {
            self.read_cost(cost);
        }
    }

    /// `$0.0094 message, $0.0312 session.`: the session is this process.
    fn read_cost(&mut self, line: &str) {
        let session = line.split(", ").find_map(|part| part.strip_suffix(" session."));
        let amount = session.and_then(|part| part.strip_prefix('$')?.replace(',', "").parse::<f64>().ok());
        if let Some(cost) = amount.filter(|amount| *amount > 0.0).and_then(|amount| Usd::new(amount).ok()) {
            self.used.cost_usd = Some(cost);
            self.used.cost_source = CostSource::Reported;
        }
        self.record.usage(UsageReading::ProcessTotal(self.used.clone()));
    }
}

/// `litellm.RateLimitError: …`, but not code that uses the library of that name.
fn is_error(line: &str) -> bool {
    let name = line.strip_prefix("litellm.").and_then(|rest| rest.split(':').next()).unwrap_or_default();
    line.contains(':') && (name.ends_with("Error") || name == "Timeout")
}

/// Whether a line is not a part of the error before it.
fn ends_error(line: &str) -> bool {
    let starts =
        ["Retrying in ", "The API provider", "Tokens: ", "Applied edit to ", "Failed to generate commit"];
    starts.iter().any(|start| line.starts_with(start)) || is_commit(line)
}

/// `Commit f8c6994 feat: …`
fn is_commit(line: &str) -> bool {
    let hash = line.strip_prefix("Commit ").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    hash.len() >= 7 && hash.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Whether a line stands before an answer and is none of the model's words.
fn is_between(line: &str) -> bool {
    line.is_empty() || AFTER_BANNER.iter().any(|start| line.starts_with(start))
}

/// `85`, `1.2k`, `12k`.
fn rounded(text: &str) -> Option<u64> {
    let text = text.trim().replace(',', "");
    let (number, factor) = match text.strip_suffix('k') {
        Some(number) => (number, 1_000.0),
        None => (text.as_str(), 1.0),
    };
    let count = number.parse::<f64>().ok()?.max(0.0) * factor;
    // A float beyond the range becomes the largest count there is.
    count.is_finite().then(|| count.round() as u64)
}
