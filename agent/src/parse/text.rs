//! Plain text: nothing is known but what was printed. The raw log has all of it; the event log gets a bounded part.

use std::collections::VecDeque;

use super::Reader;
use super::record::Record;
use crate::lines::Wanted;

/// What one process may add to the event log. The raw log has everything; a build that prints a gigabyte would
/// otherwise fill the disk twice.
const MAX_EVENT_TEXT_BYTES: usize = 256 * 1024;
/// Lines that count as the last words.
const LAST_LINES: usize = 20;
/// Cap of the last words.
const LAST_BYTES: usize = 4 * 1024;

#[derive(Default)]
pub(super) struct TextParser {
    record: Record,
    sent: usize,
    last: VecDeque<String>,
}

impl Reader for TextParser {
    fn record(&self) -> &Record {
        &self.record
    }

    fn record_mut(&mut self) -> &mut Record {
        &mut self.record
    }

    fn read(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        self.last.push_back(super::clip_to(line, LAST_BYTES));
        while self.last.len() > LAST_LINES
            || self.last.iter().map(String::len).sum::<usize>() > LAST_BYTES * 2
        {
            self.last.pop_front();
        }
        if self.sent >= MAX_EVENT_TEXT_BYTES {
            return;
        }
        self.sent += super::clip(line).len();
        self.record.mutter(line);
        if self.sent >= MAX_EVENT_TEXT_BYTES {
            self.record.warn(&format!(
                "only the first {MAX_EVENT_TEXT_BYTES} bytes of output are events; the raw log has the rest"
            ));
        }
    }

    /// Once the events are full only the last words are still to come.
    fn wanted(&self) -> Wanted {
        if self.sent >= MAX_EVENT_TEXT_BYTES { Wanted::Last(LAST_LINES) } else { Wanted::Every }
    }

    fn last_words(&self) -> Option<String> {
        (!self.last.is_empty()).then(|| self.last.iter().map(String::as_str).collect::<Vec<_>>().join("\n"))
    }
}
