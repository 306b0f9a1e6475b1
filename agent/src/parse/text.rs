//! Plain text: nothing is known but what was printed. The raw log has all of it; the event log gets a bounded part.

use cloud_code_task_schema::EventKind;

use super::{Signal, clip, one_line};

/// What one process may add to the event log. The raw log has everything; a build that prints a gigabyte would
/// otherwise fill the disk twice.
const MAX_EVENT_TEXT_BYTES: usize = 256 * 1024;
/// Lines that count as the last words.
const LAST_LINES: usize = 20;
/// Cap of the last words.
const LAST_BYTES: usize = 4 * 1024;

#[derive(Default)]
pub(crate) struct TextParser {
    sent: usize,
    last: std::collections::VecDeque<String>,
}

impl TextParser {
    pub(super) fn read(&mut self, line: &str) -> Vec<Signal> {
        if line.trim().is_empty() {
            return Vec::new();
        }
        self.last.push_back(super::clip_to(line, LAST_BYTES));
        while self.last.len() > LAST_LINES
            || self.last.iter().map(String::len).sum::<usize>() > LAST_BYTES * 2
        {
            self.last.pop_front();
        }
        if self.sent >= MAX_EVENT_TEXT_BYTES {
            return Vec::new();
        }
        let text = clip(line);
        self.sent += text.len();
        let mut signals = vec![Signal::Step(one_line(line)), Signal::Event(EventKind::Message { text })];
        if self.sent >= MAX_EVENT_TEXT_BYTES {
            let message = format!(
                "only the first {MAX_EVENT_TEXT_BYTES} bytes of output are events; the raw log has the rest"
            );
            signals.push(Signal::Event(EventKind::Warning { message }));
        }
        signals
    }

    pub(super) fn last_words(&self) -> Option<String> {
        (!self.last.is_empty()).then(|| self.last.iter().map(String::as_str).collect::<Vec<_>>().join("\n"))
    }
}
