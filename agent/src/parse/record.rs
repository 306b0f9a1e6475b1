//! What every parser keeps for the verdict, and the one way from a reading to a [`Signal`]. All of it is bounded: a
//! CLI may print for days.

use std::collections::VecDeque;

use cloud_code_task_schema::{ChangeKind, EventKind, Failure};

use super::{Answer, Signal, UsageReading, clip, clip_to, one_line};

/// Longest id, model or version that is believed: real ones have some 40 bytes.
const MAX_NAME_BYTES: usize = 256;
/// What is kept of the model's last words. The report keeps half of it.
const MAX_WORDS_BYTES: usize = 64 * 1024;
/// What one process may tell in events before lines that are nothing else are passed over: as much as the driver lets
/// into the event log.
const MAX_TOLD_BYTES: usize = 16 * 1024 * 1024;
/// Edits that wait for their tool's answer. More are in flight in no CLI; the oldest is forgotten.
const MAX_PENDING_EDITS: usize = 64;

/// A file change that was asked for and not yet answered.
struct PendingEdit {
    call: String,
    path: String,
    change: ChangeKind,
}

/// The common part of a parser.
#[derive(Default)]
pub(super) struct Record {
    signals: Vec<Signal>,
    answer: Option<Answer>,
    words: Option<String>,
    pieces: String,
    trouble: Option<Failure>,
    turns: u32,
    session: Option<String>,
    model: Option<String>,
    version: Option<String>,
    edits: VecDeque<PendingEdit>,
    told_bytes: usize,
    passed_over_bytes: u64,
}

impl Record {
    pub(super) fn take_signals(&mut self) -> Vec<Signal> {
        std::mem::take(&mut self.signals)
    }

    pub(super) const fn answer(&self) -> Option<&Answer> {
        self.answer.as_ref()
    }

    pub(super) fn last_words(&self) -> Option<String> {
        match &self.answer {
            Some(Answer::Done { text }) if !text.is_empty() => Some(text.clone()),
            _ if !self.pieces.trim().is_empty() => Some(self.pieces.clone()),
            _ => self.words.clone(),
        }
    }

    /// What the model said last, as a whole message.
    pub(super) fn words(&self) -> Option<&str> {
        self.words.as_deref()
    }

    pub(super) const fn trouble(&self) -> Option<&Failure> {
        self.trouble.as_ref()
    }

    pub(super) const fn turns(&self) -> u32 {
        self.turns
    }

    pub(super) fn session(&mut self, session: &str) {
        if note(&mut self.session, session) {
            self.signals.push(Signal::Session(session.to_owned()));
        }
    }

    pub(super) fn is_session(&self, session: &str) -> bool {
        self.session.as_deref().is_none_or(|own| own == session)
    }

    pub(super) fn model(&mut self, model: &str) {
        if note(&mut self.model, model) {
            self.signals.push(Signal::Model(model.to_owned()));
        }
    }

    pub(super) fn version(&mut self, version: &str) {
        if note(&mut self.version, version) {
            self.signals.push(Signal::CliVersion(version.to_owned()));
        }
    }

    pub(super) fn event(&mut self, kind: EventKind) {
        self.told_bytes = self.told_bytes.saturating_add(told_bytes(&kind));
        self.signals.push(Signal::Event(kind));
    }

    pub(super) fn step(&mut self, text: &str) {
        self.signals.push(Signal::Step(one_line(text)));
    }

    /// Whether further events would not be kept anyway.
    pub(super) const fn is_full(&self) -> bool {
        self.told_bytes >= MAX_TOLD_BYTES
    }

    /// A line is not read, because only events would come of it.
    pub(super) const fn pass_over(&mut self, line: &str) {
        self.passed_over_bytes += line.len() as u64;
    }

    /// Bytes of lines that were not read.
    pub(super) const fn passed_over_bytes(&self) -> u64 {
        self.passed_over_bytes
    }

    /// The model said something to people.
    pub(super) fn say(&mut self, text: &str) {
        self.words = Some(clip_to(text, MAX_WORDS_BYTES));
        self.mutter(text);
    }

    /// Something was said that is not the model's word about the task.
    pub(super) fn mutter(&mut self, text: &str) {
        self.step(text);
        self.event(EventKind::Message { text: clip(text) });
    }

    /// The model says something piece by piece; [`Self::finish_pieces`] makes one message of it.
    pub(super) fn say_piece(&mut self, piece: &str) {
        let room = MAX_WORDS_BYTES.saturating_sub(self.pieces.len()).min(piece.len());
        self.pieces.push_str(piece.get(..piece.floor_char_boundary(room)).unwrap_or_default());
    }

    /// Pieces were said that are no message yet.
    pub(super) const fn is_speaking(&self) -> bool {
        !self.pieces.is_empty()
    }

    pub(super) fn finish_pieces(&mut self) {
        let pieces = std::mem::take(&mut self.pieces);
        if !pieces.trim().is_empty() {
            self.say(pieces.trim());
        }
    }

    pub(super) fn drop_pieces(&mut self) {
        self.pieces.clear();
    }

    pub(super) fn think(&mut self, text: &str) {
        if !text.trim().is_empty() {
            self.event(EventKind::Thinking { text: clip(text) });
        }
    }

    pub(super) fn use_tool(&mut self, tool: &str, id: Option<&str>, summary: &str) {
        let (tool, summary) = (clip_to(tool, MAX_NAME_BYTES), one_line(summary));
        self.step(&format!("{tool}: {summary}"));
        self.event(EventKind::ToolUse { tool, id: id.map(|id| clip_to(id, MAX_NAME_BYTES)), summary });
    }

    pub(super) fn tool_result(&mut self, id: Option<&str>, is_error: bool, output: &str) {
        let id = id.map(|id| clip_to(id, MAX_NAME_BYTES));
        self.event(EventKind::ToolResult { id, is_error, output: clip(output) });
    }

    pub(super) fn file_changed(&mut self, path: &str, change: ChangeKind) {
        if !path.is_empty() {
            self.event(EventKind::FileChanged { path: clip(path), change });
        }
    }

    /// A tool was asked to change a file; whether it did follows.
    pub(super) fn expect_edit(&mut self, call: &str, path: &str, change: ChangeKind) {
        if call.is_empty() || path.is_empty() || call.len() > MAX_NAME_BYTES {
            return;
        }
        if self.edits.len() >= MAX_PENDING_EDITS {
            self.edits.pop_front();
        }
        self.edits.push_back(PendingEdit { call: call.to_owned(), path: clip(path), change });
    }

    /// The tool answered: its edits happened, or are forgotten. `made_anew` when its answer says that the file is new.
    pub(super) fn settle_edits(&mut self, call: &str, is_error: bool, made_anew: bool) {
        let (mine, others): (VecDeque<PendingEdit>, VecDeque<PendingEdit>) =
            std::mem::take(&mut self.edits).into_iter().partition(|edit| edit.call == call);
        self.edits = others;
        for edit in mine.into_iter().filter(|_| !is_error) {
            let change = if made_anew { ChangeKind::Added } else { edit.change };
            self.event(EventKind::FileChanged { path: edit.path, change });
        }
    }

    pub(super) fn warn(&mut self, message: &str) {
        self.event(EventKind::Warning { message: clip(message) });
    }

    pub(super) fn usage(&mut self, reading: UsageReading) {
        self.signals.push(Signal::Usage(reading));
    }

    /// The model answered: whatever was wrong with the provider before is overcome.
    pub(super) fn answered(&mut self) {
        self.turns = self.turns.saturating_add(1);
        self.trouble = None;
    }

    /// Something is wrong with the provider, and the CLI may still get over it.
    pub(super) fn trouble_is(&mut self, failure: Failure) {
        self.trouble = Some(failure);
    }

    pub(super) fn trouble_mut(&mut self) -> Option<&mut Failure> {
        self.trouble.as_mut()
    }

    /// The provider refused for good: the process can be ended.
    pub(super) fn refuse(&mut self, failure: Failure) {
        self.signals.push(Signal::Refused(failure));
    }

    /// The CLI says that it is done.
    pub(super) fn done(&mut self, text: Option<&str>) {
        let own = || self.words.clone().unwrap_or_default();
        let text = text.map_or_else(own, |text| clip_to(text, MAX_WORDS_BYTES));
        self.answer = Some(Answer::Done { text });
    }

    /// The CLI says that it failed.
    pub(super) fn failed(&mut self, failure: Failure) {
        self.answer = Some(Answer::Failed(failure));
    }

    /// It goes on after what looked like the end.
    pub(super) fn goes_on(&mut self) {
        self.answer = None;
    }
}

/// The bulk of an event.
const fn told_bytes(kind: &EventKind) -> usize {
    /// Number, time, task and type.
    const FRAME: usize = 160;
    FRAME
        + match kind {
            EventKind::Message { text } | EventKind::Thinking { text } => text.len(),
            EventKind::ToolUse { summary, .. } => summary.len(),
            EventKind::ToolResult { output, .. } => output.len(),
            EventKind::FileChanged { path, .. } => path.len(),
            EventKind::Warning { message } => message.len(),
            _ => 0,
        }
}

/// Remembers a name; whether it is one and was another before.
fn note(name: &mut Option<String>, now: &str) -> bool {
    let is_new = !now.is_empty() && now.len() <= MAX_NAME_BYTES && name.as_deref() != Some(now);
    if is_new {
        *name = Some(now.to_owned());
    }
    is_new
}
