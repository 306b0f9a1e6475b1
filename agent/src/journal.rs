//! Everything the agent tells: the event log and the report, kept in step and within their caps.
//!
//! The report is written at once for a change of status, after a short delay while output flows, and as a heartbeat
//! when nothing happens. A write that fails (a full disk) never stops the work: events wait, bounded, the report is
//! written on the next tick, and once it works again one warning says what was missing.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use cloud_code_task_schema::{
    AgentStatus, ControlDir, Event, EventKind, FailureKind, MAX_YAML_BYTES, Progress, Reporting, TaskId,
    TaskReport, to_yaml, write_atomic,
};
use jiff::Timestamp;
use tokio::time::Instant;

use crate::event_log::EventLog;

/// How long small changes wait for each other. Lower costs an fsync each; higher makes a follower wait.
const DEBOUNCE: Duration = Duration::from_millis(250);
/// The contract wants a heartbeat every 10 s while a task runs; the rest is for a slow disk.
const HEARTBEAT_WORKING: Duration = Duration::from_secs(8);
/// The contract wants a heartbeat every 60 s when idle; the rest is for a slow disk.
const HEARTBEAT_IDLE: Duration = Duration::from_secs(50);
/// How soon a failed write is tried again.
const RETRY_WRITE: Duration = Duration::from_secs(1);
/// Most events that wait for a full disk; older ones are counted and dropped.
const MAX_WAITING_EVENTS: usize = 1_000;
/// How many lines of progress a report holds, by the contract.
const MAX_PROGRESS: usize = 50;
/// From this size on the reports of ended tasks are shortened.
const COMPACT_AT_BYTES: usize = MAX_YAML_BYTES as usize * 9 / 10;
/// What is kept of a summary when a report is shortened.
const COMPACT_SUMMARY_BYTES: usize = 400;

/// Whom an event is about.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) task: TaskId,
    pub(crate) attempt: u32,
}

/// The two files.
pub(crate) struct Journal {
    control: ControlDir,
    log: EventLog,
    reporting: Reporting,
    due: Option<Instant>,
    last_write: Instant,
    waiting: VecDeque<Event>,
    lost_events: u64,
    trouble: Option<(Instant, String)>,
}

impl Journal {
    /// Over files that were already read.
    pub(crate) fn new(control: ControlDir, log: EventLog, reporting: Reporting) -> Self {
        let last_write = Instant::now();
        Self {
            control,
            log,
            reporting,
            due: None,
            last_write,
            waiting: VecDeque::new(),
            lost_events: 0,
            trouble: None,
        }
    }

    /// The report as it will be written.
    pub(crate) const fn reporting(&self) -> &Reporting {
        &self.reporting
    }

    /// Changes the report; it is written soon.
    pub(crate) fn update(&mut self, change: impl FnOnce(&mut Reporting)) {
        change(&mut self.reporting);
        self.reporting.updated_at = Timestamp::now();
        self.write_within(DEBOUNCE);
    }

    /// Changes the report; it is written in the loop's next turn.
    pub(crate) fn update_now(&mut self, change: impl FnOnce(&mut Reporting)) {
        change(&mut self.reporting);
        self.reporting.updated_at = Timestamp::now();
        self.write_within(Duration::ZERO);
    }

    /// Changes one task's report; it is written soon.
    pub(crate) fn update_task(&mut self, id: &TaskId, change: impl FnOnce(&mut TaskReport)) {
        self.update(|reporting| {
            if let Some(report) = reporting.tasks.get_mut(id) {
                change(report);
            }
        });
    }

    /// Adds a line of progress and makes it the current step.
    pub(crate) fn step(&mut self, id: &TaskId, message: &str) {
        let at = Timestamp::now();
        self.update_task(id, |report| {
            if report.current_step.as_deref() == Some(message) {
                return;
            }
            report.current_step = Some(message.to_owned());
            report.progress.push(Progress { at, message: message.to_owned() });
            let surplus = report.progress.len().saturating_sub(MAX_PROGRESS);
            report.progress.drain(..surplus);
        });
    }

    /// Appends an event.
    pub(crate) fn event(&mut self, subject: Option<&Subject>, kind: EventKind) {
        self.event_with_raw(subject, kind, None);
    }

    /// Appends an event with the CLI's own line.
    pub(crate) fn event_with_raw(&mut self, subject: Option<&Subject>, kind: EventKind, raw: Option<String>) {
        let event = Event {
            seq: 0,
            at: Timestamp::now(),
            task: subject.map(|subject| subject.task.clone()),
            attempt: subject.map(|subject| subject.attempt),
            kind,
            raw,
        };
        self.waiting.push_back(event);
        if self.waiting.len() > MAX_WAITING_EVENTS {
            self.waiting.pop_front();
            self.lost_events += 1;
        }
        // While the disk is full, only the tick tries again.
        if self.trouble.is_none() {
            self.write_events();
        }
    }

    /// Appends a warning.
    pub(crate) fn warn(&mut self, subject: Option<&Subject>, message: impl Into<String>) {
        self.event(subject, EventKind::Warning { message: message.into() });
    }

    /// When [`Journal::tick`] has something to do.
    pub(crate) fn next_tick(&self) -> Instant {
        // While writing fails, the heartbeat is long due: only the next try counts, else the loop would spin.
        if let (Some(_), Some(due)) = (&self.trouble, self.due) {
            return due;
        }
        let heartbeat = self.last_write + self.heartbeat();
        self.due.map_or(heartbeat, |due| due.min(heartbeat))
    }

    /// Writes what is due.
    pub(crate) fn tick(&mut self) {
        if Instant::now() >= self.next_tick() {
            // A failure is remembered and tried again.
            let _ = self.write();
        }
    }

    /// Writes everything now, so that it survives a crash of the machine.
    pub(crate) fn write_through(&mut self) -> io::Result<()> {
        self.write()?;
        self.log.sync()
    }

    /// Notices that the control directory was replaced.
    pub(crate) fn follow_path(&mut self) {
        if let Err(error) = self.log.follow_path() {
            self.note_trouble(&error);
        }
    }

    fn heartbeat(&self) -> Duration {
        match self.reporting.status {
            AgentStatus::Working | AgentStatus::Stopping => HEARTBEAT_WORKING,
            AgentStatus::Idle => HEARTBEAT_IDLE,
            // A bad file may stand beside running work.
            AgentStatus::Error => HEARTBEAT_WORKING,
        }
    }

    fn write_within(&mut self, delay: Duration) {
        let due = Instant::now() + delay;
        if self.trouble.is_none() {
            self.due = Some(self.due.map_or(due, |earlier| earlier.min(due)));
        }
    }

    fn write(&mut self) -> io::Result<()> {
        if self.trouble.is_some() {
            self.write_events();
        }
        self.reporting.heartbeat_at = Timestamp::now();
        let result =
            self.serialise().and_then(|yaml| write_atomic(&self.control.reporting(), yaml.as_bytes()));
        match result {
            Ok(()) => {
                self.due = None;
                self.last_write = Instant::now();
                self.note_recovery();
                Ok(())
            }
            Err(error) => {
                self.note_trouble(&error);
                Err(error)
            }
        }
    }

    fn serialise(&mut self) -> io::Result<String> {
        let yaml = to_yaml(&self.reporting).map_err(io::Error::other)?;
        if yaml.len() <= COMPACT_AT_BYTES {
            return Ok(yaml);
        }
        compact(&mut self.reporting, Compaction::Short);
        let yaml = to_yaml(&self.reporting).map_err(io::Error::other)?;
        if yaml.len() <= COMPACT_AT_BYTES {
            return Ok(yaml);
        }
        compact(&mut self.reporting, Compaction::Bare);
        to_yaml(&self.reporting).map_err(io::Error::other)
    }

    fn write_events(&mut self) {
        while let Some(mut event) = self.waiting.pop_front() {
            if let Err(error) = self.log.append(&mut event) {
                self.waiting.push_front(event);
                self.note_trouble(&error);
                return;
            }
        }
    }

    fn note_trouble(&mut self, error: &io::Error) {
        self.due = Some(Instant::now() + RETRY_WRITE);
        if self.trouble.is_none() {
            self.trouble = Some((Instant::now(), error.to_string()));
            crate::say(&format!("cannot write below {}: {error}; trying on", self.control.path().display()));
        }
    }

    fn note_recovery(&mut self) {
        if !self.waiting.is_empty() {
            self.due = Some(Instant::now() + RETRY_WRITE);
            return;
        }
        let Some((since, error)) = self.trouble.take() else { return };
        let seconds = since.elapsed().as_secs();
        let lost = std::mem::take(&mut self.lost_events);
        let kind = FailureKind::DiskFull;
        self.warn(None, format!("{kind}: the control files could not be written for {seconds} s ({error}); {lost} events are missing"));
    }
}

/// How much of an ended task's report goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compaction {
    /// Lists and texts keep their beginning.
    Short,
    /// Only status, times, session, usage and failure stay: a thousand of them fit the cap.
    Bare,
}

/// Shortens the reports of ended tasks. The host has read them long ago, and the event log keeps what happened.
fn compact(reporting: &mut Reporting, compaction: Compaction) {
    let (lists, text_bytes) = match compaction {
        Compaction::Short => (3, COMPACT_SUMMARY_BYTES),
        Compaction::Bare => (0, 0),
    };
    let shorten = |text: &mut String| *text = crate::parse::clip_to(text, text_bytes);
    for report in reporting.tasks.values_mut().filter(|report| report.status.is_ended()) {
        report.progress.clear();
        report.current_step = None;
        report.verify.clear();
        report.questions.truncate(lists.min(1));
        report.questions.iter_mut().for_each(shorten);
        report.files_modified.truncate(lists);
        report.commits.drain(..report.commits.len().saturating_sub(lists));
        report.summary = report.summary.take().filter(|_| compaction == Compaction::Short);
        report.commit_message = report.commit_message.take().filter(|_| compaction == Compaction::Short);
        report.summary.as_mut().map(shorten);
        if let Some(failure) = &mut report.failure {
            shorten(&mut failure.message);
        }
    }
}

#[cfg(test)]
#[path = "journal_tests.rs"]
mod tests;
