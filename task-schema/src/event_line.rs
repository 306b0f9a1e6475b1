//! One line of `events.jsonl`, from text to type.
//!
//! Valid lines take the short way through the JSON library: a log has a hundred thousand of them. Only a refused line
//! is read again by [`crate::reader`], as JSON is YAML, to name the key and its column.

use std::cell::RefCell;

use serde::Deserialize;

use crate::Event;
use crate::key_path::{Step, render};
use crate::locate::{Document, Value, locate};
use crate::problem::{Diagnostics, Mark, Problem, diagnose};
use crate::reader::Reader;
use crate::refusal::{Refusal, RefusalKind};
use crate::strict::{Fill, Reading, UnknownKeys, missing, time_hint};

/// Longest line whose wrong key is searched for. An honest wrong line is short; the search costs a reading for each key.
const MAX_SEARCHED_BYTES: usize = 4096;
/// Most keys of one map that are tried, and most maps down.
const MAX_TRIED_KEYS: usize = 16;
const MAX_TRIED_DEPTH: usize = 3;
/// The key that decides which others there are.
const TYPE_KEY: &str = "type";

/// Reads one line of `events.jsonl`; unknown keys are left out. `line` is its number, for the message.
///
/// Whether `seq` counts on from the line before is the event reader's question.
pub fn parse_event(file: &str, line: usize, text: &str) -> Result<Event, Diagnostics> {
    let problem = match serde_json::from_str::<Event>(text) {
        Ok(event) => return Ok(event),
        Err(error) => {
            let from_json = || Problem {
                mark: Mark { line, column: error.column().max(1) },
                key: String::new(),
                message: without_place(&error.to_string()).to_owned(),
                hint: None,
            };
            let searched = error.is_data() && text.len() <= MAX_SEARCHED_BYTES;
            searched.then(|| search(line, text)).flatten().unwrap_or_else(from_json)
        }
    };
    Err(diagnose(file, vec![problem]))
}

/// The library repeats the place in its text, where the line is always 1.
fn without_place(message: &str) -> &str {
    message.rsplit_once(" at line ").map_or(message, |(message, _)| message)
}

fn search(line: usize, text: &str) -> Option<Problem> {
    let document = locate(text).ok()?;
    let refusal = attempt(&document, &[])?;
    let mut steps = refusal.place.as_ref().map(|place| place.steps.clone()).unwrap_or_default();
    let (message, hint) = match refusal.kind {
        RefusalKind::Missing { key } => {
            steps.push(Step::Key(key.to_owned()));
            (missing(key), None)
        }
        RefusalKind::Value { message, hint } => {
            // The event's own keys are read from a buffer that has lost their places; the key without which the
            // refusal is another one is the wrong key.
            while steps.len() < MAX_TRIED_DEPTH
                && let Some(key) = guilty(&document, &steps, &message)
            {
                steps.push(Step::Key(key));
            }
            let hint = hint.or_else(|| time_hint(&steps));
            (message, hint)
        }
        RefusalKind::UnknownKey { .. } | RefusalKind::Filler => return None,
    };
    let column = document.mark_of(&steps).column;
    Some(Problem { mark: Mark { line, column }, key: render(&steps), message, hint })
}

fn guilty(document: &Document<'_>, steps: &[Step], message: &str) -> Option<String> {
    let Value::Map(entries) = &document.find(steps)?.value else { return None };
    let mut keys: Vec<&str> = entries.iter().take(MAX_TRIED_KEYS).map(|entry| entry.key.as_ref()).collect();
    // With another type every other key is wrong too, so it is suspected last.
    keys.sort_by_key(|key| *key == TYPE_KEY);
    keys.into_iter().find(|key| is_guilty(document, steps, key, message)).map(str::to_owned)
}

/// Whether the refusal goes, or becomes another one, without the key. A key that must be there gets a stand-in.
fn is_guilty(document: &Document<'_>, steps: &[Step], key: &str, message: &str) -> bool {
    let mut tried = steps.to_vec();
    tried.push(Step::Key(key.to_owned()));
    let refusal = match attempt(document, &[Fill::left_out(tried.clone())]) {
        Some(Refusal { kind: RefusalKind::Missing { key: missing }, .. }) if missing == key => {
            attempt(document, &[Fill::first(tried)])
        }
        other => other,
    };
    match refusal {
        None => true,
        Some(Refusal { kind: RefusalKind::Filler, .. }) => false,
        Some(other) => other.to_string() != message,
    }
}

fn attempt(document: &Document<'_>, fills: &[Fill]) -> Option<Refusal> {
    let reading = Reading { fills, unknown_keys: UnknownKeys::Tolerate, unknown: RefCell::default() };
    let read = |reader: Reader<'_>| Event::deserialize(reader).map_err(|refusal| reader.at(refusal));
    Reader::of(document, &reading).and_then(read).err()
}
