//! Follows `events.jsonl` from the host's side, while the agent appends to it.
//!
//! The file is untrusted: a coding CLI that took the agent over may replace it, truncate it, fill it with lines
//! without an end, or count backwards. Nothing of that is fatal and nothing of it is silent: each becomes an
//! [`EventItem`] that a person can read. Positions are kept in bytes and checked against the bytes last read, so a
//! file rewritten in place is noticed too; a watch on the file was rejected, as it tells neither.
//!
//! It must not be used to decide how a task ended: that is the report's and the commits' business.

use std::fs::File;
use std::io::{self, BufRead};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::files::open_regular;
use crate::{Event, EventKind, MAX_EVENT_BYTES, ReadError, parse_event};

/// Most bytes of one event log that are read, restarts included. Lower cuts off issues with a long history; higher
/// lets a hostile log keep the host busy.
pub const MAX_EVENT_LOG_BYTES: u64 = 256 * 1024 * 1024;
/// Bytes after which a call returns what it has. Lower costs calls; higher costs memory and blocks the caller longer.
const POLL_BYTES: u64 = 4 * 1024 * 1024;
/// Items after which a call returns. A megabyte of the shortest lines would be a hundred megabytes of items.
const POLL_ITEMS: usize = 1024;
/// Bytes asked of the system at once: one whole line of the longest kind.
const CHUNK_BYTES: usize = MAX_EVENT_BYTES;
/// Skipped lines that are told one by one. More of them say nothing new and would flood a terminal.
const MAX_SKIPS_TOLD: u64 = 200;
/// Replacements after which the log is given up. An agent never replaces it; hundreds are an attack on the reader.
const MAX_RESTARTS: u32 = 16;
/// Bytes before the position that are compared at each call: enough to hold a whole `seq` and time.
const ANCHOR_BYTES: usize = 64;
/// Characters of a reason that are kept; a parser's message quotes the input, which may be 64 KiB of one word.
const MAX_REASON_CHARS: usize = 240;

/// Every `type` of [`crate::EventKind`], to tell a newer agent's event from a broken one.
const EVENT_TYPES: [&str; 16] = [
    "agent_started",
    "task_received",
    "cli_started",
    "message",
    "thinking",
    "tool_use",
    "tool_result",
    "file_changed",
    "usage",
    "verify",
    "question",
    "warning",
    "cli_exited",
    "committed",
    "task_ended",
    "log_truncated",
];

/// What one step through the event log found.
#[derive(Debug, Clone, PartialEq)]
pub enum EventItem {
    /// A valid event.
    Event(Box<Event>),
    /// Something that is not there as it should be: an unreadable line, events missing before a line, or a file that
    /// cannot be opened. Reading goes on unless the reason says otherwise.
    Skipped {
        /// The line's number in the file, from 1; 0 when it concerns the file as a whole.
        line: u64,
        /// What is wrong, for people. At most 240 characters, control characters escaped, no trailing period.
        reason: String,
    },
    /// The file was replaced or truncated; what follows is read from its start, as line 1.
    Restarted,
}

/// Reads an event log as it grows. Keeps at most two lines of it in memory.
#[derive(Debug)]
pub struct EventReader {
    path: PathBuf,
    followed: Option<Followed>,
    bytes_taken: u64,
    restarts: u32,
    skips: u64,
    /// The last reason why the file could not be opened, so that it is told once and not at each call.
    complaint: Option<String>,
    /// Given up: the reason was told.
    given_up: bool,
}

/// One file that is being followed. It stays open, so its inode cannot come back as another file.
///
/// Only what was taken as whole lines counts as read. A half line is read again at each call, because an agent that
/// starts again may cut off what its killed predecessor left and write another line in its place.
#[derive(Debug)]
struct Followed {
    file: File,
    identity: (u64, u64),
    /// Where the next line begins; within a line only while `overlong`.
    position: u64,
    /// The last bytes before `position`.
    anchor: Vec<u8>,
    /// Lines seen whole.
    lines: u64,
    /// The rest of the current line is thrown away.
    overlong: bool,
    sequence: Sequence,
}

/// What `seq` must be next.
#[derive(Debug, Default)]
struct Sequence {
    last: u64,
    /// Where the file before this one ended: an agent whose folder was replaced goes on counting.
    carried: u64,
    /// Lines since `last` whose number could not be read; so many may be missing without another word.
    unreadable: u64,
}

impl EventReader {
    /// Names the file; nothing is opened before the first [`Self::poll`].
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            followed: None,
            bytes_taken: 0,
            restarts: 0,
            skips: 0,
            complaint: None,
            given_up: false,
        }
    }

    /// The file as it was named.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is new since the last call, oldest first; at most a thousand items or 4 MiB of the file, so call again
    /// until nothing comes. Nothing means: read to the end, or the file is not there yet, or it was given up (said
    /// in an earlier item). A last line without its line break is kept for later.
    pub fn poll(&mut self) -> Vec<EventItem> {
        let mut items = Vec::new();
        if self.given_up {
            return items;
        }
        self.look_at_path(&mut items);
        let Some(mut followed) = self.followed.take() else { return items };
        if !self.given_up {
            self.read_on(&mut followed, &mut items);
        }
        self.followed = Some(followed);
        items
    }

    fn read_on(&mut self, followed: &mut Followed, items: &mut Vec<EventItem>) {
        let mut budget = POLL_BYTES;
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut buffer = Vec::new();
        loop {
            let from = followed.position + buffer.len() as u64;
            let got = match followed.file.read_at(&mut chunk, from) {
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return self.complain(format!("cannot read the event log: {error}"), items),
            };
            // Not at the opening already: a file that opens and cannot be read would be told at each call.
            self.complaint = None;
            if got == 0 {
                return;
            }
            if self.bytes_taken >= MAX_EVENT_LOG_BYTES {
                let max = MAX_EVENT_LOG_BYTES;
                return self.give_up(format!("more than {max} bytes; the rest of it is not read"), items);
            }
            buffer.extend_from_slice(chunk.get(..got).unwrap_or_default());
            budget = budget.saturating_sub(got as u64);
            self.take_lines(followed, &mut buffer, items);
            // Without an item the reading goes on: an empty answer means that the end was reached.
            if items.len() >= POLL_ITEMS || (budget == 0 && !items.is_empty()) {
                return;
            }
        }
    }

    /// Opens the path anew and compares it with the file that is followed.
    fn look_at_path(&mut self, items: &mut Vec<EventItem>) {
        let (file, meta) = match open_regular(&self.path) {
            Ok(opened) => opened,
            Err(ReadError::Missing { .. }) => return,
            Err(ReadError::Io { source, .. }) => {
                return self.complain(format!("cannot open the event log: {source}"), items);
            }
            Err(error) => return self.complain(error.to_string(), items),
        };
        let identity = (meta.dev(), meta.ino());
        if let Some(followed) = &self.followed {
            if followed.identity == identity && followed.stands() {
                return;
            }
            self.restarts += 1;
            if self.restarts > MAX_RESTARTS {
                let reason =
                    format!("replaced or truncated more than {MAX_RESTARTS} times; it is no longer read");
                return self.give_up(reason, items);
            }
            items.push(EventItem::Restarted);
        }
        let carried =
            self.followed.as_ref().map_or(0, |before| before.sequence.last.max(before.sequence.carried));
        self.followed = Some(Followed::new(file, identity, carried));
    }

    /// Takes the whole lines off the front of the buffer, and what is thrown away of a line that is too long.
    fn take_lines(&mut self, followed: &mut Followed, buffer: &mut Vec<u8>, items: &mut Vec<EventItem>) {
        let mut rest = buffer.as_slice();
        while items.len() < POLL_ITEMS {
            let mut after = rest;
            // Cannot fail on a slice; it is the standard library's fast search for a line break.
            let length = after.skip_until(b'\n').unwrap_or(0);
            let Some((b'\n', line)) = rest.get(..length).and_then(|line| line.split_last()) else { break };
            rest = after;
            followed.lines += 1;
            if !std::mem::take(&mut followed.overlong) {
                self.take_line(followed.lines, line, &mut followed.sequence, items);
            }
        }
        if !followed.overlong && rest.len() > MAX_EVENT_BYTES && !rest.contains(&b'\n') {
            followed.overlong = true;
            followed.sequence.unreadable += 1;
            self.skip(followed.lines + 1, &too_long(), items);
        }
        let taken = if followed.overlong { buffer.len() } else { buffer.len() - rest.len() };
        followed.advance(buffer.get(..taken).unwrap_or_default());
        self.bytes_taken += taken as u64;
        buffer.drain(..taken);
    }

    fn take_line(&mut self, line: u64, bytes: &[u8], sequence: &mut Sequence, items: &mut Vec<EventItem>) {
        match read_line(line, bytes) {
            Ok(event) => match sequence.admit(event.seq) {
                Admission::Next => items.push(EventItem::Event(event)),
                // The line that says what is missing stands in its place.
                Admission::Gap(_) if matches!(event.kind, EventKind::LogTruncated { .. }) => {
                    items.push(EventItem::Event(event));
                }
                Admission::Gap(reason) => {
                    self.skip(line, &reason, items);
                    items.push(EventItem::Event(event));
                }
                Admission::Backward(reason) => self.skip(line, &reason, items),
            },
            Err(Unreadable { seq, reason }) => {
                match seq.map(|seq| sequence.admit(seq)) {
                    Some(Admission::Gap(gap) | Admission::Backward(gap)) => self.skip(line, &gap, items),
                    Some(Admission::Next) => {}
                    None => sequence.unreadable += 1,
                }
                self.skip(line, &reason, items);
            }
        }
    }

    fn skip(&mut self, line: u64, reason: &str, items: &mut Vec<EventItem>) {
        self.skips += 1;
        if self.skips < MAX_SKIPS_TOLD {
            items.push(EventItem::Skipped { line, reason: printable(reason) });
        } else if self.skips == MAX_SKIPS_TOLD {
            let reason = format!("{reason}; further lines like this are left out without a word");
            items.push(EventItem::Skipped { line, reason: printable(&reason) });
        }
    }

    fn complain(&mut self, reason: String, items: &mut Vec<EventItem>) {
        if self.complaint.as_ref() != Some(&reason) {
            self.skip(0, &reason, items);
            self.complaint = Some(reason);
        }
    }

    fn give_up(&mut self, reason: String, items: &mut Vec<EventItem>) {
        self.given_up = true;
        items.push(EventItem::Skipped { line: 0, reason });
    }
}

impl Followed {
    fn new(file: File, identity: (u64, u64), carried: u64) -> Self {
        Self {
            file,
            identity,
            position: 0,
            anchor: Vec::new(),
            lines: 0,
            overlong: false,
            sequence: Sequence { last: 0, carried, unreadable: 0 },
        }
    }

    /// Whether the bytes last taken still stand before the position.
    fn stands(&self) -> bool {
        let start = self.position.saturating_sub(self.anchor.len() as u64);
        let mut now = vec![0; self.anchor.len()];
        self.file.read_exact_at(&mut now, start).is_ok() && now == self.anchor
    }

    fn advance(&mut self, taken: &[u8]) {
        self.position += taken.len() as u64;
        let new = taken.get(taken.len().saturating_sub(ANCHOR_BYTES)..).unwrap_or_default();
        self.anchor.extend_from_slice(new);
        self.anchor.drain(..self.anchor.len().saturating_sub(ANCHOR_BYTES));
    }
}

/// What a number says about the events before it.
enum Admission {
    Next,
    Gap(String),
    Backward(String),
}

impl Sequence {
    fn admit(&mut self, seq: u64) -> Admission {
        let (last, unreadable) = (self.last, self.unreadable);
        if seq <= last {
            return Admission::Backward(format!("seq {seq} comes after seq {last}; it must grow by one"));
        }
        self.last = seq;
        self.unreadable = 0;
        if last == 0 && self.carried > 0 && seq == self.carried + 1 {
            return Admission::Next;
        }
        let missing = seq - last - 1;
        if missing <= unreadable {
            return Admission::Next;
        }
        Admission::Gap(format!(
            "seq jumps from {last} to {seq}: {missing} events are missing before this line"
        ))
    }
}

/// Why a line is no event; `seq` when at least that could be read.
struct Unreadable {
    seq: Option<u64>,
    reason: String,
}

/// The two keys that every version of the event log has.
#[derive(Deserialize)]
struct Head {
    seq: u64,
    r#type: String,
}

fn read_line(line: u64, bytes: &[u8]) -> Result<Box<Event>, Unreadable> {
    let unnumbered = |reason: String| Unreadable { seq: None, reason };
    if bytes.len() > MAX_EVENT_BYTES {
        return Err(unnumbered(too_long()));
    }
    let text = std::str::from_utf8(bytes)
        .map_err(|error| unnumbered(format!("not valid UTF-8 (byte {})", error.valid_up_to())))?;
    if text.trim().is_empty() {
        return Err(unnumbered("the line is empty".to_owned()));
    }
    let number = usize::try_from(line).unwrap_or(usize::MAX);
    parse_event("events.jsonl", number, text).map(Box::new).map_err(|problems| {
        let Ok(head) = serde_json::from_str::<Head>(text) else {
            return unnumbered(first_message(&problems));
        };
        let reason = if EVENT_TYPES.contains(&head.r#type.as_str()) {
            first_message(&problems)
        } else {
            format!("event type `{}` is not known to this version", head.r#type)
        };
        Unreadable { seq: Some(head.seq), reason }
    })
}

fn first_message(problems: &crate::Diagnostics) -> String {
    problems.0.first().map_or_else(|| "not an event".to_owned(), |problem| problem.message.clone())
}

fn too_long() -> String {
    format!("longer than {MAX_EVENT_BYTES} bytes")
}

/// The input's own words reach a terminal through a reason: no control characters, no flood.
fn printable(reason: &str) -> String {
    let mut text = String::new();
    for character in reason.chars() {
        if text.chars().count() >= MAX_REASON_CHARS {
            text.push('…');
            break;
        }
        if character.is_control() { text.extend(character.escape_debug()) } else { text.push(character) }
    }
    text
}

#[cfg(all(test, feature = "schema"))]
mod tests {
    use super::*;

    #[test]
    fn the_types_listed_here_are_those_of_the_schema() {
        let schema = schemars::schema_for!(crate::EventKind).to_value();
        let variants = schema["oneOf"].as_array().unwrap();
        let names: Vec<_> =
            variants.iter().map(|one| one["properties"]["type"]["const"].as_str().unwrap()).collect();
        assert_eq!(names, EVENT_TYPES);
    }
}
