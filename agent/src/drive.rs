//! One process of the CLI, from its start to its end: output in, prompt out, clocks, stop, sweep.

use std::time::Duration;

use cloud_code_task_schema::{EventKind, ExitReport, Failure, FailureKind, Limits, Usd};
use nix::sys::signal::Signal as Kill;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until};

use crate::activity::Activity;
use crate::clocks::{Clock, Clocks, WallClock};
use crate::command_line::Allowance;
use crate::journal::Subject;
use crate::lines::{Line, LineSplitter};
use crate::parse::{Parser, Settled, Signal, UsageReading};
use crate::process::{Child, signal_group};
use crate::raw_log::RawLog;
use crate::secrets::StreamMasker;
use crate::shared::{Shared, StopRequest};
use crate::sweep::{Swept, sweep};
use crate::usage::UsageMeter;
use crate::verdict::{MemoryKill, StopCause};

/// Longest session id, model or version taken from a CLI: real ones have some 40 bytes, and the report has a cap that
/// a larger one could break.
const MAX_NAME_BYTES: usize = 256;

/// Piece in which output is read: the size of a Linux pipe.
const READ_BYTES: usize = 64 * 1024;
/// How long a CLI may take to exit after its final answer.
const LINGER_LIMIT: Duration = Duration::from_secs(15);
/// How long a CLI may wait, after its answer, for commands it left in the background. Claude itself waits ten minutes.
const BACKGROUND_LIMIT: Duration = Duration::from_secs(300);
/// How long to wait for the exit after KILL. Only a process stuck in the kernel takes longer.
const KILL_LIMIT: Duration = Duration::from_secs(5);
/// How long to read on after everything was swept.
const DRAIN_LIMIT: Duration = Duration::from_secs(2);
/// What one process may add to the event log; the raw log has the rest. Ten times the longest run seen.
const MAX_EVENT_BYTES_PER_RUN: usize = 16 * 1024 * 1024;
/// Longest line that is kept beside its event.
const MAX_RAW_BYTES: usize = 16 * 1024;
/// What is remembered of standard error.
const COMPLAINT_BYTES: usize = 2 * 1024;

/// What a process left.
pub(crate) struct Driven {
    pub(crate) exit: ExitReport,
    pub(crate) stopped: Option<StopCause>,
    pub(crate) memory: MemoryKill,
    pub(crate) complaint: String,
    pub(crate) session: Option<String>,
    pub(crate) swept: Swept,
    /// Whether anything came on standard output.
    pub(crate) printed: bool,
}

/// Drives one process.
pub(crate) struct Driver<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) subject: &'a Subject,
    pub(crate) limits: &'a Limits,
    pub(crate) parser: &'a mut Parser,
    pub(crate) meter: &'a mut UsageMeter,
    pub(crate) log: &'a mut Option<RawLog>,
    allowance: Allowance,
    out: Stream,
    err: Stream,
    complaint: String,
    session: Option<String>,
    printed: bool,
    event_bytes: usize,
    dropped_event_bytes: u64,
}

struct Stream {
    masker: StreamMasker,
    lines: LineSplitter,
}

enum Phase {
    /// It works.
    Running,
    /// It was told to end; KILL follows.
    Stopping { kill_at: Instant },
    /// It was killed; its exit must follow.
    Killed { give_up_at: Instant },
    /// It is gone, and everything else with it; the rest of the output follows.
    Draining { until: Instant },
}

#[derive(Clone, Copy)]
enum Source {
    Out,
    Err,
}

impl<'a> Driver<'a> {
    /// Takes over the shared parts of an attempt for one process.
    pub(crate) fn new(
        shared: &'a Shared,
        subject: &'a Subject,
        limits: &'a Limits,
        parser: &'a mut Parser,
        meter: &'a mut UsageMeter,
        log: &'a mut Option<RawLog>,
        allowance: Allowance,
    ) -> Self {
        let stream = || Stream { masker: shared.masker.stream(), lines: LineSplitter::default() };
        Self {
            shared,
            subject,
            limits,
            parser,
            meter,
            log,
            allowance,
            out: stream(),
            err: stream(),
            complaint: String::new(),
            session: None,
            printed: false,
            event_bytes: 0,
            dropped_event_bytes: 0,
        }
    }

    /// Until the process and everything it started is gone.
    pub(crate) async fn run(mut self, mut child: Child, prompt: &[u8], wall: WallClock) -> Driven {
        let kills_before = self.shared.oom.read();
        let mut clocks = Clocks::start(wall, self.limits);
        let idle_timeout = self.limits.idle_timeout.as_duration();
        let shortest = idle_timeout.min(self.limits.start_timeout.as_duration());
        let own = self.shared.own_folders_inside();
        let mut activity = Activity::watch(&self.shared.options.workspace, &own, shortest);
        let (mut out, mut err) = (vec![0; READ_BYTES], vec![0; READ_BYTES]);
        let (mut out_open, mut err_open) = (true, true);
        let mut unwritten = prompt;
        let mut stdin = child.stdin.take();
        let mut exit = None;
        let mut swept = Swept::default();
        let mut stopped: Option<StopCause> = None;
        let mut phase = Phase::Running;
        let mut settled_at: Option<(Settled, Instant)> = None;
        loop {
            if matches!(phase, Phase::Draining { .. }) && !out_open && !err_open {
                break;
            }
            let deadline = match &phase {
                Phase::Running => {
                    let next = clocks.next().0.min(activity.next_look());
                    linger_deadline(settled_at).map_or(next, |linger| linger.min(next))
                }
                Phase::Stopping { kill_at } => *kill_at,
                Phase::Killed { give_up_at } => *give_up_at,
                Phase::Draining { until } => *until,
            };
            let mut cause = None;
            tokio::select! {
                read = child.stdout.read(&mut out), if out_open => {
                    let bytes = out.get(..read.unwrap_or(0)).unwrap_or_default();
                    out_open = !bytes.is_empty();
                    if out_open {
                        clocks.note_output();
                        activity.note_output();
                        self.printed = true;
                        cause = self.take(bytes, Source::Out);
                    }
                }
                read = child.stderr.read(&mut err), if err_open => {
                    let bytes = err.get(..read.unwrap_or(0)).unwrap_or_default();
                    err_open = !bytes.is_empty();
                    if err_open {
                        clocks.note_output();
                        activity.note_output();
                        cause = self.take(bytes, Source::Err);
                    }
                }
                written = write_some(stdin.as_mut(), unwritten), if stdin.is_some() => {
                    unwritten = unwritten.get(written..).unwrap_or_default();
                    if written == 0 || unwritten.is_empty() {
                        // Closed: the CLI reads to the end. A CLI that closed first (EPIPE) needs no more.
                        stdin = None;
                    }
                }
                status = &mut child.exit, if exit.is_none() => {
                    exit = Some(status.unwrap_or(ExitReport { code: None, signal: None }));
                    stdin = None;
                    swept = sweep(&self.shared.reaper).await;
                    phase = Phase::Draining { until: Instant::now() + DRAIN_LIMIT };
                }
                request = self.shared.stop.requested(), if matches!(phase, Phase::Running) => {
                    cause = Some(match request {
                        StopRequest::Cancel => StopCause::Cancelled,
                        StopRequest::AgentStops => StopCause::AgentStops,
                    });
                }
                () = self.shared.stop.hurried(), if matches!(phase, Phase::Stopping { .. }) => {
                    signal_group(child.pid, Kill::SIGKILL);
                    phase = Phase::Killed { give_up_at: Instant::now() + KILL_LIMIT };
                }
                () = sleep_until(deadline) => match phase {
                    Phase::Running if linger_deadline(settled_at).is_some_and(|at| at <= Instant::now()) => {
                        cause = Some(StopCause::Lingered);
                    }
                    Phase::Running if clocks.next().0 <= Instant::now() => {
                        let clock = clocks.next().1;
                        let change = (clock == Clock::Idle).then(|| activity.last_change(idle_timeout)).flatten();
                        if !change.is_some_and(|at| clocks.note_work(at)) {
                            cause = Some(StopCause::Clock(clock));
                        }
                    }
                    Phase::Running => {
                        if activity.used_the_processor() {
                            clocks.note_work(Instant::now());
                        }
                    }
                    Phase::Stopping { .. } => {
                        signal_group(child.pid, Kill::SIGKILL);
                        phase = Phase::Killed { give_up_at: Instant::now() + KILL_LIMIT };
                    }
                    Phase::Killed { .. } => {
                        swept = sweep(&self.shared.reaper).await;
                        phase = Phase::Draining { until: Instant::now() + DRAIN_LIMIT };
                    }
                    Phase::Draining { .. } => break,
                },
            }
            let settled = self.parser.settled();
            if settled_at.is_none_or(|(before, _)| before != settled) {
                settled_at = Some((settled, Instant::now()));
            }
            if let (Some(cause), Phase::Running) = (cause, &phase) {
                signal_group(child.pid, Kill::SIGTERM);
                self.shared.journal().step(&self.subject.task, stop_step(&cause));
                stopped = Some(cause);
                phase = Phase::Stopping { kill_at: Instant::now() + self.shared.options.grace };
            }
        }
        self.finish(exit, stopped, swept, kills_before)
    }

    fn finish(
        mut self,
        exit: Option<ExitReport>,
        stopped: Option<StopCause>,
        swept: Swept,
        kills_before: u64,
    ) -> Driven {
        let mut rest = Vec::new();
        self.out.masker.finish(&mut rest);
        self.log_bytes(&rest);
        let mut lines = Vec::new();
        self.out.lines.push(&rest, |line| lines.push(line));
        lines.extend(self.out.lines.finish());
        for line in lines {
            // The process is gone: nothing is left to stop.
            let _ = self.read_line(line);
        }
        rest.clear();
        self.err.masker.finish(&mut rest);
        self.log_bytes(&rest);
        lines = Vec::new();
        self.err.lines.push(&rest, |line| lines.push(line));
        lines.extend(self.err.lines.finish());
        for line in lines {
            let _ = self.read_complaint(line);
        }
        self.meter.process_ended();
        self.dropped_event_bytes += self.parser.passed_over_bytes();
        if self.dropped_event_bytes > 0 {
            let what = "events of this run; the raw log has them".to_owned();
            let kind = EventKind::LogTruncated { dropped_bytes: self.dropped_event_bytes, what };
            self.shared.journal().event(Some(self.subject), kind);
        }
        let memory =
            if self.shared.oom.read() > kills_before { MemoryKill::Counted } else { MemoryKill::None };
        let exit = exit.unwrap_or(ExitReport { code: None, signal: None });
        Driven {
            exit,
            stopped,
            memory,
            complaint: self.complaint,
            session: self.session,
            swept,
            printed: self.printed,
        }
    }

    fn take(&mut self, bytes: &[u8], source: Source) -> Option<StopCause> {
        let stream = match source {
            Source::Out => &mut self.out,
            Source::Err => &mut self.err,
        };
        let mut masked = Vec::with_capacity(bytes.len());
        stream.masker.push(bytes, &mut masked);
        let mut lines = Vec::new();
        stream.lines.push_wanted(&masked, self.parser.wanted(), |line| lines.push(line));
        self.log_bytes(&masked);
        let mut cause = None;
        for line in lines {
            match source {
                Source::Out => cause = cause.or(self.read_line(line)),
                Source::Err => cause = cause.or(self.read_complaint(line)),
            }
        }
        cause
    }

    fn log_bytes(&mut self, bytes: &[u8]) {
        if let Some(log) = self.log {
            log.write(bytes);
        }
    }

    fn read_complaint(&mut self, line: Line) -> Option<StopCause> {
        let (Line::Whole(line) | Line::Cut { head: line, .. }) = line;
        if !line.trim().is_empty() {
            self.complaint = crate::parse::clip_to(&line, COMPLAINT_BYTES);
        }
        let mut cause = None;
        for signal in self.parser.read_stderr(&line) {
            cause = cause.or(self.follow(signal, &line));
        }
        cause
    }

    fn read_line(&mut self, line: Line) -> Option<StopCause> {
        let (text, dropped) = match line {
            Line::Whole(text) => (text, 0),
            Line::Cut { head, dropped } => (head, dropped),
        };
        let mut cause = None;
        for signal in self.parser.read(&text) {
            cause = cause.or(self.follow(signal, &text));
        }
        if dropped > 0 {
            let what = "a line of output".to_owned();
            self.emit(EventKind::LogTruncated { dropped_bytes: dropped, what }, None);
        }
        cause.or_else(|| self.too_many_turns())
    }

    fn follow(&mut self, signal: Signal, line: &str) -> Option<StopCause> {
        let task = &self.subject.task;
        match signal {
            Signal::Event(kind) => self.emit(kind, None),
            Signal::Step(step) => self.shared.journal().step(task, &step),
            Signal::Session(session) if session.len() > MAX_NAME_BYTES => {}
            Signal::Session(session) => {
                self.meter.note_session(&session);
                self.session = Some(session.clone());
                self.shared.journal().update_task(task, |report| report.session_id = Some(session));
            }
            Signal::Model(model) if model.len() > MAX_NAME_BYTES => {}
            Signal::Model(model) => {
                self.shared.journal().update_task(task, |report| report.model = Some(model));
            }
            Signal::CliVersion(version) if version.len() > MAX_NAME_BYTES => {}
            Signal::CliVersion(version) => {
                self.shared.journal().update(|reporting| reporting.agent.cli_version = Some(version));
            }
            Signal::Usage(reading) => return self.meter_usage(reading, line),
            Signal::Refused(failure) => return Some(StopCause::Refused(failure)),
        }
        None
    }

    fn meter_usage(&mut self, reading: UsageReading, line: &str) -> Option<StopCause> {
        let is_total = matches!(reading, UsageReading::SessionTotal(_));
        self.meter.read(reading);
        let usage = self.meter.total();
        if is_total {
            let raw = (line.len() <= MAX_RAW_BYTES).then(|| line.to_owned());
            self.emit(EventKind::Usage { usage: usage.clone() }, raw);
        }
        let spent = usage.cost_usd;
        self.shared.journal().update_task(&self.subject.task, |report| report.usage = usage);
        let over = over_budget(spent, self.limits)?;
        // With the answer in hand a cut would only lose it.
        (self.parser.settled() != Settled::Yes).then_some(StopCause::LimitReached(over))
    }

    /// The CLI's own limit comes first where it has one; this one holds for the others.
    fn too_many_turns(&self) -> Option<StopCause> {
        let (allowed, limit) = (self.allowance.turns?, self.limits.max_turns?);
        let is_over = self.parser.turns()? > allowed && self.parser.settled() == Settled::No;
        let message = || format!("the model answered more often than limits.max_turns allows ({limit})");
        is_over.then(|| StopCause::LimitReached(Failure::new(FailureKind::MaxTurns, message())))
    }

    fn emit(&mut self, kind: EventKind, raw: Option<String>) {
        let bytes = size_of_text(&kind) + raw.as_ref().map_or(0, String::len);
        if self.event_bytes + bytes > MAX_EVENT_BYTES_PER_RUN {
            self.dropped_event_bytes += bytes as u64;
            return;
        }
        self.event_bytes += bytes;
        self.shared.journal().event_with_raw(Some(self.subject), kind, raw);
    }
}

/// Whether a task has spent more than it may.
pub(crate) fn over_budget(spent: Option<Usd>, limits: &Limits) -> Option<Failure> {
    let (spent, limit) = (spent?, limits.max_cost_usd?);
    let message = || format!("the task has cost {spent}, and limits.max_cost_usd is {limit}");
    (spent >= limit).then(|| Failure::new(FailureKind::Budget, message()))
}

fn linger_deadline(settled: Option<(Settled, Instant)>) -> Option<Instant> {
    match settled? {
        (Settled::No, _) => None,
        (Settled::Yes, since) => Some(since + LINGER_LIMIT),
        (Settled::WithBackgroundWork, since) => Some(since + BACKGROUND_LIMIT),
    }
}

const fn stop_step(cause: &StopCause) -> &'static str {
    match cause {
        StopCause::Cancelled => "Stopping: cancelled",
        StopCause::AgentStops => "Stopping: the agent ends",
        StopCause::Clock(_) => "Stopping: a clock ran out",
        StopCause::LimitReached(_) => "Stopping: a limit is reached",
        StopCause::Refused(_) => "Stopping: the provider refused the credentials",
        StopCause::Lingered => "Stopping: it answered and did not exit",
    }
}

async fn write_some(stdin: Option<&mut tokio::net::unix::pipe::Sender>, bytes: &[u8]) -> usize {
    match stdin {
        Some(stdin) => stdin.write(bytes).await.unwrap_or(0),
        None => 0,
    }
}

fn size_of_text(kind: &EventKind) -> usize {
    /// The frame of an event: seq, time, task, type.
    const FRAME: usize = 160;
    FRAME
        + match kind {
            EventKind::Message { text } | EventKind::Thinking { text } | EventKind::Question { text } => {
                text.len()
            }
            EventKind::ToolUse { tool, summary, .. } => tool.len() + summary.len(),
            EventKind::ToolResult { output, .. } => output.len(),
            EventKind::FileChanged { path, .. } => path.len(),
            EventKind::Warning { message } => message.len(),
            _ => 0,
        }
}
