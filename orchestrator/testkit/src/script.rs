//! What the model is going to say: the YAML script, read and checked whole before a server starts.
//!
//! A script speaks of what a person sees a coding CLI do (say, run, write, edit), never of one CLI's tools, so one
//! script drives them all. [`crate::mapping`] finds the tool.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::reply::HttpError;

mod check;
mod raw;

/// The largest script file that is read. A script is written by hand; something larger is another file.
pub const MAX_SCRIPT_BYTES: u64 = 1024 * 1024;

/// The name of the scenario made from `turns` at the top of a script.
pub const DEFAULT_SCENARIO: &str = "default";

/// A checked script.
#[derive(Debug, Clone, PartialEq)]
pub struct Script {
    /// By name. The one called [`DEFAULT_SCENARIO`] without a marker answers what no marker matches.
    pub(crate) scenarios: BTreeMap<String, Scenario>,
}

/// One story of a script.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scenario {
    /// The text that a prompt holds when this scenario is meant; absent for the default one.
    pub(crate) marker: Option<String>,
    /// What happens at each position of the conversation.
    pub(crate) steps: Vec<Step>,
}

/// Everything that can happen at one position of a conversation: first the faults, one a request, then the answer.
/// A fault adds nothing to the conversation, so the retry that follows it is at the same position.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Step {
    /// In order.
    pub(crate) faults: Vec<Fault>,
    /// Absent where the script ends with a fault.
    pub(crate) answer: Option<Answer>,
}

/// A fault, and how many requests meet it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Fault {
    /// Its turn in the script, counted from 1.
    pub(crate) turn: usize,
    pub(crate) kind: FaultKind,
    pub(crate) times: Times,
    pub(crate) delay: Option<Duration>,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum FaultKind {
    /// An HTTP error with a body in the API's own shape.
    Status(HttpError),
    /// The key is not one, as each API says it.
    BadKey,
    /// The account has no money left, as each API says it.
    OutOfCredit,
    /// The prompt exceeds the model's window, as each API says it.
    ContextTooLong,
    /// The login's token has run out, as each API says it.
    LoginExpired,
    /// A plan's hours are used up, as each API says it. The time counts from the request.
    UsageLimit { resets_in: Duration },
    /// The provider does not know the model that the request names.
    ModelUnknown,
    /// The model refuses what it was asked, with status 200.
    Refuse,
    /// No answer at all, not even headers.
    HangHeaders,
    /// Headers and the first events, then silence.
    HangStream,
    /// Headers and the first events, then the connection is closed.
    Cut,
    /// Headers and the first events, then an error event in the stream.
    StreamError,
}

/// What an error body says; the API's usual words where absent.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErrorText {
    #[serde(default, rename = "type")]
    pub(crate) kind: Option<String>,
    #[serde(default)]
    pub(crate) code: Option<String>,
    #[serde(default)]
    pub(crate) message: Option<String>,
}

/// How many requests meet a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Times {
    Count(u32),
    Forever,
}

/// One answer of the model.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    /// Its turn in the script, counted from 1.
    pub(crate) turn: usize,
    pub(crate) think: Option<String>,
    pub(crate) say: Option<String>,
    pub(crate) action: Option<Action>,
    pub(crate) usage: UsageFigures,
    pub(crate) delay: Option<Duration>,
    pub(crate) recall: Option<Recall>,
    pub(crate) without_tool: WithoutTool,
}

/// What is said instead when the conversation holds an earlier prompt: proof of a memory.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recall {
    /// A text of that prompt. The newest prompt does not count, whatever it quotes.
    pub(crate) prompt: String,
    pub(crate) say: String,
}

/// What becomes of an answer when the request offers no tool for what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WithoutTool {
    /// The request is refused with words that say so: the script does not fit the CLI.
    Refused,
    /// The next turn is taken: a CLI that may only read offers less.
    LeftOut,
}

/// What the model wants done, in no CLI's words.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// A shell command, run in the CLI's working directory.
    Run { command: String },
    /// Shows a file to the model.
    Read { path: String },
    /// A whole file; `path` is relative to the working directory or absolute.
    Write { path: String, content: String },
    /// `old`, whole lines that occur once, becomes `new`.
    Edit { path: String, old: String, new: String },
    /// A tool of one CLI, by its own name. A string is sent as it is to a tool that takes free text.
    Tool { name: String, input: serde_json::Value },
}

/// Token counts of one answer. Neutral: `input` counts neither cache figure, whatever the API does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct UsageFigures {
    pub(crate) input: u64,
    pub(crate) output: u64,
    pub(crate) cache_read: u64,
    pub(crate) cache_write: u64,
}

impl UsageFigures {
    /// Before anything was asked.
    pub(crate) const NONE: Self = Self { input: 0, output: 0, cache_read: 0, cache_write: 0 };

    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
            cache_read: self.cache_read.saturating_add(other.cache_read),
            cache_write: self.cache_write.saturating_add(other.cache_write),
        }
    }
}

impl Default for UsageFigures {
    /// Small round figures: large enough that a sum shows when one is missing, small enough for any budget.
    fn default() -> Self {
        Self { input: 1000, output: 50, cache_read: 0, cache_write: 0 }
    }
}

/// Why a script is refused. Each says where and what to do.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// The file cannot be read.
    #[error("cannot read the script {path}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The file is larger than a script can be.
    #[error("{path} has {bytes} bytes, a script has at most {MAX_SCRIPT_BYTES}: is it the right file?")]
    TooLarge {
        /// The file.
        path: String,
        /// Its size.
        bytes: u64,
    },
    /// Not YAML, or a key or a type that a script does not have; the cause names line and column.
    #[error("this is not a script: see the format in the testkit's README")]
    Malformed(#[source] serde_yaml::Error),
    /// Nothing to say.
    #[error("the script has neither `turns` nor `scenarios`: give it one of them")]
    Empty,
    /// A scenario that says nothing.
    #[error("scenario `{scenario}` has no turns: give it one, or leave it out")]
    NoTurns {
        /// Its name.
        scenario: String,
    },
    /// An empty marker would match every prompt.
    #[error("scenario `{scenario}` has an empty `match`: write the text that its prompt holds")]
    EmptyMarker {
        /// Its name.
        scenario: String,
    },
    /// Two scenarios would answer the same prompt.
    #[error("scenarios `{first}` and `{second}` have the same `match`: a prompt must choose one of them")]
    SameMarker {
        /// One.
        first: String,
        /// The other.
        second: String,
    },
    /// `default` is what the top-level `turns` are called.
    #[error("a scenario may not be called `{DEFAULT_SCENARIO}`: that is the name of the top-level `turns`")]
    ReservedName,
    /// One turn cannot be made sense of.
    #[error("scenario `{scenario}`, turn {turn}: {problem}")]
    Turn {
        /// The scenario's name.
        scenario: String,
        /// Counted from 1.
        turn: usize,
        /// What is wrong with it.
        problem: TurnProblem,
    },
}

/// What is wrong with one turn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TurnProblem {
    /// No key that answers and none that fails.
    #[error("it does nothing: give it `say`, `run`, `read`, `write`, `edit`, `tool`, or a fault")]
    Nothing,
    /// A turn does one thing.
    #[error("it has both `{first}` and `{second}`: make two turns of it")]
    TwoActions {
        /// One.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// A turn fails in one way.
    #[error("it has both `{first}` and `{second}`: make two turns of it")]
    TwoFaults {
        /// One.
        first: &'static str,
        /// The other.
        second: &'static str,
    },
    /// The key only means something beside another.
    #[error("`{key}` belongs to {of}, which this turn does not have")]
    Stray {
        /// The key.
        key: &'static str,
        /// What it belongs to.
        of: &'static str,
    },
    /// Not an error status.
    #[error("`status: {0}` is no error: use 400 to 599")]
    Status(u16),
    /// `false` would say nothing.
    #[error("`{0}: false` means nothing: leave the key out")]
    False(&'static str),
    /// A fault for no request is none.
    #[error("`times: 0` means never: leave the fault out")]
    TimesZero,
    /// Nothing comes after for ever.
    #[error("no request reaches it: the turn before fails `forever`")]
    Unreachable,
    /// A fault that never ends has no answer of its own.
    #[error("its answer is never reached: it fails `forever`")]
    AnswerUnreachable,
    /// An edit that changes nothing, or has nothing to look for.
    #[error("`edit` needs an `old` that is not empty and a `new` that differs")]
    EmptyEdit,
}

impl Script {
    /// Reads and checks a script.
    pub fn parse(text: &str) -> Result<Self, ScriptError> {
        let raw: raw::RawScript = serde_yaml::from_str(text).map_err(ScriptError::Malformed)?;
        check::script(raw)
    }

    /// Reads and checks a script file.
    pub fn load(path: &Path) -> Result<Self, ScriptError> {
        let shown = path.display().to_string();
        let unreadable = |source| ScriptError::Unreadable { path: shown.clone(), source };
        let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
        if bytes > MAX_SCRIPT_BYTES {
            return Err(ScriptError::TooLarge { path: shown, bytes });
        }
        Self::parse(&std::fs::read_to_string(path).map_err(unreadable)?)
    }
}

#[cfg(test)]
mod tests;
