//! From a CLI's output to one vocabulary.
//!
//! A parser turns lines into [`Signal`]s and keeps what the verdict needs. It never fails: what it does not know it
//! leaves out, because new event types appear in every release of every CLI. It must not decide how a task ended;
//! that is `verdict.rs`, which also sees the exit code and the worktree.

mod claude;
mod codex;
mod text;
#[cfg(test)]
mod transcript_tests;

use cloud_code_task_schema::{EventKind, Failure, OutputFormat, Usage};

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
    /// What this process used since its last total; replaced by the next reading.
    InFlight(Usage),
    /// The whole session so far, earlier processes included; only `turns` counts since the last total.
    SessionTotal(Usage),
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
pub(crate) enum Parser {
    /// Claude Code's stream-json.
    Claude(claude::ClaudeParser),
    /// Codex's --json.
    Codex(codex::CodexParser),
    /// Anything.
    Text(text::TextParser),
}

impl Parser {
    /// The parser of a format, and whether that format is understood.
    pub(crate) fn new(format: OutputFormat) -> (Self, FormatSupport) {
        match format {
            OutputFormat::ClaudeStreamJson => {
                (Self::Claude(claude::ClaudeParser::default()), FormatSupport::Full)
            }
            OutputFormat::CodexJsonl => (Self::Codex(codex::CodexParser::default()), FormatSupport::Full),
            OutputFormat::Text => (Self::Text(text::TextParser::default()), FormatSupport::Full),
            OutputFormat::GeminiStreamJson | OutputFormat::OpencodeJson => {
                (Self::Text(text::TextParser::default()), FormatSupport::ReadAsText)
            }
        }
    }

    /// Reads one line of standard output.
    pub(crate) fn read(&mut self, line: &str) -> Vec<Signal> {
        match self {
            Self::Claude(parser) => parser.read(line),
            Self::Codex(parser) => parser.read(line),
            Self::Text(parser) => parser.read(line),
        }
    }

    /// How the CLI itself says it ended; `None` when it never said.
    pub(crate) fn answer(&self) -> Option<Answer> {
        match self {
            Self::Claude(parser) => parser.answer(),
            Self::Codex(parser) => parser.answer(),
            Self::Text(_) => None,
        }
    }

    /// The model's last words, also when no final event came.
    pub(crate) fn last_words(&self) -> Option<String> {
        match self {
            Self::Claude(parser) => parser.last_words(),
            Self::Codex(parser) => parser.last_words(),
            Self::Text(parser) => parser.last_words(),
        }
    }

    /// The last trouble with the provider that the CLI told of and may have overcome.
    pub(crate) fn trouble(&self) -> Option<Failure> {
        match self {
            Self::Claude(parser) => parser.trouble(),
            Self::Codex(parser) => parser.trouble(),
            Self::Text(_) => None,
        }
    }

    /// Whether a run of this format ends with an event that says how it went.
    pub(crate) const fn ends_with_an_answer(&self) -> bool {
        match self {
            Self::Claude(_) | Self::Codex(_) => true,
            Self::Text(_) => false,
        }
    }

    /// Whether the CLI has said its last word.
    pub(crate) fn settled(&self) -> Settled {
        match self {
            Self::Claude(parser) => parser.settled(),
            Self::Codex(parser) => parser.settled(),
            Self::Text(_) => Settled::No,
        }
    }
}

/// Whether a format is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FormatSupport {
    /// Events are parsed.
    Full,
    /// There is no parser yet: only exit code and diff count.
    ReadAsText,
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
