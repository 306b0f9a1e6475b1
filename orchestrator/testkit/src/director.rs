//! Decides what a request gets: which scenario, which position of it, and whether a fault comes first.
//!
//! The position is read from the request, which carries the whole conversation: a CLI that is killed, restarted or
//! resumed goes on where its own history says it is, and a retried request is at the position it failed at. Only
//! the faults are counted here, for the server's life, because a fault leaves no trace in a conversation.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::conversation::{Api, Entry, ModelRequest};
use crate::mapping;
use crate::reply::UNFINISHED;
use crate::script::{Answer, Fault, FaultKind, Script, Step, Times, WithoutTool};

/// Every tool call's id starts so; the number of the position follows. See [`call_id`].
const ID_MARK: &str = "p";

/// What one request gets.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Decision {
    /// The script's answer for this position. `then`: what follows up to the end of the run, at [`Pace::Run`].
    Answer { scenario: String, position: usize, answer: Answer, then: Vec<Answer> },
    /// A fault of the script.
    Fault { scenario: String, fault: Fault },
    /// The script has no more turns.
    Exhausted { scenario: String, position: usize },
    /// No scenario's marker is in the prompt, and the script has no top-level `turns`.
    NoScenario,
}

/// How much of a script one answer of the model holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// One turn: the CLI comes back with what its tools brought.
    Turn,
    /// All turns up to one without a tool, which is where the run of a CLI ends. Some never come back.
    Run,
}

/// Counts the faults; everything else follows from the request.
#[derive(Debug)]
pub(crate) struct Director {
    script: Script,
    served: BTreeMap<(String, usize, Api), Vec<u32>>,
}

impl Director {
    pub(crate) fn new(script: Script) -> Self {
        Self { script, served: BTreeMap::new() }
    }

    /// Decides, and counts the fault if it is one.
    pub(crate) fn decide(&mut self, request: &ModelRequest, pace: Pace) -> Decision {
        let Some((scenario, start)) = self.choose(&request.history) else { return Decision::NoScenario };
        let steps = &self.script.scenarios[&scenario].steps;
        let history = &request.history[start..];
        let positions = match pace {
            Pace::Turn => {
                let left_out =
                    steps.iter().skip(position(history)).take_while(|step| is_left_out(step, request));
                let position = position(history).saturating_add(left_out.count());
                position..position.saturating_add(1).min(steps.len())
            }
            Pace::Run => run(steps, answers_in(history)),
        };
        let mut answers = Vec::new();
        for position in positions.clone() {
            let step = &steps[position];
            let served = self
                .served
                .entry((scenario.clone(), position, request.api))
                .or_insert_with(|| vec![0; step.faults.len()]);
            for (fault, served) in step.faults.iter().zip(served) {
                let due = match fault.times {
                    Times::Forever => true,
                    Times::Count(times) => *served < times,
                };
                if due {
                    *served = served.saturating_add(1);
                    return Decision::Fault { scenario, fault: fault.clone() };
                }
            }
            answers.extend(step.answer.clone().map(|answer| remembering(answer, &request.history)));
        }
        let position = positions.start;
        let mut answers = answers.into_iter();
        match answers.next() {
            Some(answer) => Decision::Answer { scenario, position, answer, then: answers.collect() },
            None => Decision::Exhausted { scenario, position },
        }
    }

    /// The scenario, and where its conversation starts. The newest prompt that holds a marker chooses; the first
    /// prompt with that marker is the start, so a prompt that is repeated in one session goes on with the script.
    fn choose(&self, history: &[Entry]) -> Option<(String, usize)> {
        let in_prompt = |entry: &Entry| match entry {
            Entry::User { text } => self.by_marker(text),
            Entry::Assistant { .. } | Entry::ToolResult => None,
        };
        // Where a CLI has put a summary in the place of its conversation, only the summary knows; it counts as an answer.
        // To begin anew would make opencode summarise for ever when a prompt is too long.
        let in_summary = |entry: &Entry| match entry {
            Entry::Assistant { text, .. } => self.by_marker(text),
            Entry::User { .. } | Entry::ToolResult => None,
        };
        let newest = || history.iter().rev();
        let Some((name, marker)) = newest().find_map(in_prompt).or_else(|| newest().find_map(in_summary))
        else {
            let default = self.script.scenarios.iter().find(|(_, scenario)| scenario.marker.is_none())?;
            return Some((default.0.clone(), 0));
        };
        let start =
            history.iter().position(|entry| in_prompt(entry).is_some_and(|(_, found)| found == marker));
        Some((name.to_owned(), start.unwrap_or(0)))
    }

    /// The marker that a CLI's request for itself is about, to be kept in its summary.
    pub(crate) fn marker(&self, request: &ModelRequest) -> Option<String> {
        let said = request.history.iter().rev().filter_map(|entry| match entry {
            Entry::User { text } | Entry::Assistant { text, .. } => Some(text),
            Entry::ToolResult => None,
        });
        let found = said.chain(&request.surroundings).find_map(|text| self.by_marker(text));
        found.map(|(_, marker)| marker.to_owned())
    }

    /// The longest marker in a text: `login-429` is meant where `login` would match too.
    fn by_marker(&self, text: &str) -> Option<(&str, &str)> {
        self.script
            .scenarios
            .iter()
            .filter_map(|(name, scenario)| Some((name.as_str(), scenario.marker.as_deref()?)))
            .filter(|(_, marker)| text.contains(marker))
            .max_by_key(|(_, marker)| marker.len())
    }
}

/// How many of the scenario's answers the conversation holds. Ids of our tool calls say it outright, which survives a
/// CLI that writes the calls and results of one answer alternately; an answer without calls counts one.
fn position(history: &[Entry]) -> usize {
    let mut position = 0;
    for entry in history.iter().filter(|entry| is_answer(entry)) {
        if let Entry::Assistant { text: _, call_ids } = entry {
            position = call_ids.iter().find_map(|id| position_in(id)).unwrap_or(position).saturating_add(1);
        }
    }
    position
}

/// Whether the request offers no tool for a step that may do without.
fn is_left_out(step: &Step, request: &ModelRequest) -> bool {
    step.answer.as_ref().is_some_and(|answer| {
        let offered = |action| mapping::calls(action, &request.tools, request.working_directory.as_deref());
        answer.without_tool == WithoutTool::LeftOut
            && answer.action.as_ref().is_some_and(|action| offered(action).is_err())
    })
}

/// The answer as one who remembers the conversation gives it.
fn remembering(mut answer: Answer, history: &[Entry]) -> Answer {
    let Some(recall) = answer.recall.take() else { return answer };
    let prompts = history.iter().rev().filter_map(|entry| match entry {
        Entry::User { text } => Some(text),
        Entry::Assistant { .. } | Entry::ToolResult => None,
    });
    if prompts.skip(1).any(|text| text.contains(&recall.prompt)) {
        answer.say = Some(recall.say);
    }
    answer
}

/// Whether the model has answered there. qwen-code keeps what came before a stream broke, and asks for the rest.
fn is_answer(entry: &Entry) -> bool {
    match entry {
        Entry::Assistant { text, call_ids } => !call_ids.is_empty() || !text.starts_with(UNFINISHED),
        Entry::User { .. } | Entry::ToolResult => false,
    }
}

/// How many answers the conversation holds, each of which was a whole run.
fn answers_in(history: &[Entry]) -> usize {
    history.iter().filter(|entry| is_answer(entry)).count()
}

/// The positions of the run that comes after so many: each ends with an answer that calls no tool.
fn run(steps: &[Step], runs_before: usize) -> Range<usize> {
    let ends = steps
        .iter()
        .enumerate()
        .filter(|(_, step)| step.answer.as_ref().is_none_or(|answer| answer.action.is_none()));
    let mut ends = ends.map(|(position, _)| position + 1);
    let start = match runs_before {
        0 => 0,
        runs => ends.nth(runs - 1).unwrap_or(steps.len()),
    };
    start..ends.next().unwrap_or(steps.len())
}

/// A tool call's id which says at which position it was made. `serial` makes it unique in this server's life.
pub(crate) fn call_id(prefix: &str, position: usize, serial: u64) -> String {
    format!("{prefix}{ID_MARK}{position}_{serial:06}")
}

fn position_in(id: &str) -> Option<usize> {
    let mut parts = id.rsplitn(3, '_');
    let _serial: u64 = parts.next()?.parse().ok()?;
    parts.next()?.strip_prefix(ID_MARK)?.parse().ok()
}

impl FaultKind {
    /// Its key in a script.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Status(_) => "status",
            Self::BadKey => "bad_key",
            Self::OutOfCredit => "out_of_credit",
            Self::HangHeaders => "hang_headers",
            Self::HangStream => "hang_stream",
            Self::Cut => "cut",
            Self::StreamError => "stream_error",
            Self::ContextTooLong => "context_too_long",
            Self::LoginExpired => "login_expired",
            Self::UsageLimit { .. } => "usage_limit",
            Self::ModelUnknown => "model_unknown",
            Self::Refuse => "refuse",
        }
    }
}

#[cfg(test)]
mod tests;
