//! From a CLI's output to one vocabulary.
//!
//! A parser turns lines into [`Signal`]s and keeps what the verdict needs. It never fails: what it does not know it
//! leaves out, because new event types appear in every release of every CLI. It must not decide how a task ended;
//! that is `verdict.rs`, which also sees the exit code and the worktree.

mod aider;
mod claude;
mod cline;
mod codex;
mod copilot;
mod gemini;
mod goose;
mod json;
mod opencode;
mod qwen;
mod record;
mod text;
#[cfg(test)]
mod transcript_tests;
mod trouble;
#[cfg(test)]
mod unhappy_tests;
mod waits;

use cloud_code_task_schema::{EventKind, Failure, OutputFormat, Usage};

use record::Record;

use crate::lines::Wanted;

/// Longest text in an event. Six times this (the worst JSON escaping) still fits an event line with its frame.
const MAX_TEXT_BYTES: usize = 8 * 1024;
/// Longest line for people.
const MAX_SUMMARY_CHARS: usize = 160;

/// What a line means.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Signal {
    /// Goes into the event log.
    Event(EventKind),
    /// What the CLI does now, for people.
    Step(String),
    /// The CLI's own id of the session.
    Session(String),
    /// The model that answers.
    Model(String),
    /// The CLI's version.
    CliVersion(String),
    /// Tokens, turns and money.
    Usage(UsageReading),
    /// The provider refused for good, whatever the CLI still tries.
    Refused(Failure),
}

/// A usage figure, by what it counts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum UsageReading {
    /// What this process used since its last total; replaced by the next reading. A total will say it again.
    InFlight(Usage),
    /// The whole session so far, earlier processes included; only `turns` counts since the last total.
    SessionTotal(Usage),
    /// All that this process used so far; a later process of the same session begins at zero. Replaced by the next.
    ProcessTotal(Usage),
}

/// How the CLI itself says it ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// It claims success.
    Done {
        /// Its last words.
        text: String,
    },
    /// It reports an error.
    Failed(Failure),
}

/// Whether the CLI has said its last word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// No final answer yet.
    No,
    /// Answered, but it waits for commands it left in the background.
    WithBackgroundWork,
    /// Answered; it should exit.
    Yes,
}

/// A parser by output format. Closed set: a new format is new code.
pub(crate) struct Parser(Format);

enum Format {
    Claude(claude::ClaudeParser),
    Codex(codex::CodexParser),
    Gemini(gemini::GeminiParser),
    Opencode(opencode::OpencodeParser),
    Qwen(qwen::QwenParser),
    Copilot(copilot::CopilotParser),
    Cline(cline::ClineParser),
    Goose(goose::GooseParser),
    Aider(aider::AiderParser),
    Text(text::TextParser),
}

/// What one format knows. Whatever a line means is told to the [`Record`], which hands it on.
trait Reader {
    fn record(&self) -> &Record;

    fn record_mut(&mut self) -> &mut Record;

    /// Reads one line of standard output.
    fn read(&mut self, line: &str);

    /// Reads one line of standard error.
    fn read_stderr(&mut self, line: &str) {
        let _ = line;
    }

    /// Which lines of standard output could still mean something.
    fn wanted(&self) -> Wanted {
        Wanted::Every
    }

    /// How the CLI itself says it ended.
    fn answer(&self) -> Option<Answer> {
        self.record().answer().cloned()
    }

    /// The model's last words.
    fn last_words(&self) -> Option<String> {
        self.record().last_words()
    }

    /// Whether the CLI has said its last word.
    fn settled(&self) -> Settled {
        if self.record().answer().is_some() { Settled::Yes } else { Settled::No }
    }

    /// What an exit code means for this CLI, where it means more than well or badly.
    fn of_exit(&self, code: i32) -> Option<Failure> {
        let _ = code;
        None
    }
}

impl Parser {
    /// The parser of a format.
    pub(crate) fn new(format: OutputFormat) -> Self {
        Self(match format {
            OutputFormat::ClaudeStreamJson => Format::Claude(claude::ClaudeParser::default()),
            OutputFormat::CodexJsonl => Format::Codex(codex::CodexParser::default()),
            OutputFormat::GeminiStreamJson => Format::Gemini(gemini::GeminiParser::default()),
            OutputFormat::OpencodeJson => Format::Opencode(opencode::OpencodeParser::default()),
            OutputFormat::QwenStreamJson => Format::Qwen(qwen::QwenParser::default()),
            OutputFormat::CopilotJson => Format::Copilot(copilot::CopilotParser::default()),
            OutputFormat::ClineJson => Format::Cline(cline::ClineParser::default()),
            OutputFormat::GooseStreamJson => Format::Goose(goose::GooseParser::default()),
            OutputFormat::AiderText => Format::Aider(aider::AiderParser::default()),
            OutputFormat::Text => Format::Text(text::TextParser::default()),
        })
    }

    /// Reads one line of standard output.
    pub(crate) fn read(&mut self, line: &str) -> Vec<Signal> {
        let reader = self.reader_mut();
        reader.read(line);
        reader.record_mut().take_signals()
    }

    /// Reads one line of standard error. Most CLIs print chatter there, some the only word about what went wrong.
    pub(crate) fn read_stderr(&mut self, line: &str) -> Vec<Signal> {
        let reader = self.reader_mut();
        reader.read_stderr(line);
        reader.record_mut().take_signals()
    }

    /// Which lines of standard output could still mean something: most of a flood need not be read at all.
    pub(crate) fn wanted(&self) -> Wanted {
        self.reader().wanted()
    }

    /// How the CLI itself says it ended; `None` when it never said.
    pub(crate) fn answer(&self) -> Option<Answer> {
        self.reader().answer()
    }

    /// The model's last words, also when no final event came.
    pub(crate) fn last_words(&self) -> Option<String> {
        self.reader().last_words()
    }

    /// The trouble with the provider that the CLI told of and has not overcome, as far as is known.
    pub(crate) fn trouble(&self) -> Option<Failure> {
        self.reader().record().trouble().cloned()
    }

    /// Answers of the model in this process so far, those of its helper agents apart; `None` when the format does not
    /// tell.
    pub(crate) fn turns(&self) -> Option<u32> {
        match self.0 {
            Format::Text(_) => None,
            _ => Some(self.reader().record().turns()),
        }
    }

    /// What an exit without an answer means, by the CLI's own exit codes.
    pub(crate) fn of_exit(&self, code: i32) -> Option<Failure> {
        self.reader().of_exit(code)
    }

    /// Whether a good run of this format always says so: without such a word, exit code 0 proves nothing.
    pub(crate) const fn ends_with_an_answer(&self) -> bool {
        !matches!(self.0, Format::Text(_))
    }

    /// Whether the CLI has said its last word.
    pub(crate) fn settled(&self) -> Settled {
        self.reader().settled()
    }

    fn reader(&self) -> &dyn Reader {
        match &self.0 {
            Format::Claude(reader) => reader,
            Format::Codex(reader) => reader,
            Format::Gemini(reader) => reader,
            Format::Opencode(reader) => reader,
            Format::Qwen(reader) => reader,
            Format::Copilot(reader) => reader,
            Format::Cline(reader) => reader,
            Format::Goose(reader) => reader,
            Format::Aider(reader) => reader,
            Format::Text(reader) => reader,
        }
    }

    fn reader_mut(&mut self) -> &mut dyn Reader {
        match &mut self.0 {
            Format::Claude(reader) => reader,
            Format::Codex(reader) => reader,
            Format::Gemini(reader) => reader,
            Format::Opencode(reader) => reader,
            Format::Qwen(reader) => reader,
            Format::Copilot(reader) => reader,
            Format::Cline(reader) => reader,
            Format::Goose(reader) => reader,
            Format::Aider(reader) => reader,
            Format::Text(reader) => reader,
        }
    }
}

/// The beginning of a text, at a character boundary, with a note when something is missing.
pub(crate) fn clip(text: &str) -> String {
    clip_to(text, MAX_TEXT_BYTES)
}

/// Like [`clip`] with another limit.
pub(crate) fn clip_to(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(max);
    format!("{}… [{} bytes more]", text.get(..end).unwrap_or_default(), text.len() - end)
}

/// The first line, short enough for a status line.
pub(crate) fn one_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    if line.chars().count() <= MAX_SUMMARY_CHARS {
        return line.chars().map(clean).collect();
    }
    line.chars().take(MAX_SUMMARY_CHARS - 1).map(clean).chain(['…']).collect()
}
