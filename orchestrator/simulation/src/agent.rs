//! An agent that works by chance. What it promises the engine is what the agent's program promises: it reads
//! `tasking.yaml`, runs no task that ended, counts an attempt on where another agent broke off, keeps the figures of
//! earlier attempts, and says how a task ended before it exits. How it works, fails, hangs or dies is drawn.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cloud_code_task_schema::{
    AgentInfo, AgentStatus, Assignment, CliName, ControlDir, Conversation, CostSource, Failure, FailureKind,
    MAX_YAML_BYTES, Mode, PROTOCOL_VERSION, Reporting, Task, TaskId, TaskReport, TaskReportStatus, Tasking,
    Usage, Usd, parse_reporting, parse_tasking, read_capped,
};
use jiff::SignedDuration;

use crate::world::{Event, State, World};

/// How an attempt goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    /// Work, and a commit.
    Done,
    /// An end in good order without a commit.
    NothingDone,
    /// A question.
    Asks,
    /// A failure of a kind, said in good order.
    Fails(FailureKind),
    /// The agent dies with an exit code, before it committed.
    Crashes,
    /// The agent commits, and dies before it says so.
    DiesAfterWork,
    /// The kernel ends it for memory.
    OutOfMemory,
    /// No sign of life any more.
    Hangs,
    /// Signs of life for ever, and no end.
    NeverEnds,
    /// Its report cannot be read.
    WritesNonsense,
}

impl Course {
    /// Its name among what was drawn, if it is a trouble.
    const fn trouble(self) -> Option<&'static str> {
        match self {
            Self::Done | Self::NothingDone | Self::Asks => None,
            Self::Fails(_) => Some("agents that fail"),
            Self::Crashes | Self::DiesAfterWork | Self::OutOfMemory => Some("agents that die"),
            Self::Hangs | Self::NeverEnds => Some("agents that hang"),
            Self::WritesNonsense => Some("reports of nonsense"),
        }
    }
}

/// What the agent of a container does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Boot,
    Work(u32),
    Exit(i32),
    Hung,
}

/// An agent.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    control: PathBuf,
    root: PathBuf,
    cli: CliName,
    phase: Phase,
    course: Course,
    task: Option<Task>,
    reporting: Option<Reporting>,
    /// It was told to end.
    is_ending: bool,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) oom: bool,
}

/// What is known of the work on one task, whatever its reports say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    /// The attempts whose CLI ran.
    pub(crate) runs: Vec<u32>,
    /// The attempts that ended by the agent's word, as its event log keeps them.
    pub(crate) ended: Vec<(u32, TaskReportStatus)>,
    /// It ran once more after it had been taken back, as is right for what only a budget had cut.
    pub(crate) is_resumed: bool,
    /// Turns paid for.
    pub(crate) turns: u32,
    /// Those of them that stood in no report but one that cannot be read, at most.
    pub(crate) lost_turns: u32,
}

/// Every so often a working agent says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(10);

impl Agent {
    pub(crate) fn new(control: &Path, root: &Path, cli: CliName) -> Self {
        Self {
            control: control.to_owned(),
            root: root.to_owned(),
            cli,
            phase: Phase::Boot,
            course: Course::Done,
            task: None,
            reporting: None,
            is_ending: false,
        }
    }

    /// Whether TERM reaches it.
    pub(crate) fn hears(&self) -> bool {
        self.phase != Phase::Hung
    }

    /// TERM.
    pub(crate) const fn end(&mut self) {
        self.is_ending = true;
    }

    /// Does the next thing; an end of its container, when this was the last.
    pub(crate) fn step(
        &mut self,
        state: &mut State,
        container: &str,
        labelled: Option<&TaskId>,
    ) -> Option<Ended> {
        match self.phase {
            Phase::Boot => self.boot(state, container, labelled),
            Phase::Work(left) => self.work(state, container, left),
            Phase::Exit(code) => return Some(Ended { code, oom: false }),
            Phase::Hung => Ok(()),
        }
        .err()
    }

    fn again(
        &mut self,
        state: &mut State,
        container: &str,
        wait: Duration,
        phase: Phase,
    ) -> Result<(), Ended> {
        self.phase = phase;
        state.later(wait, Event::Agent { container: container.to_owned() });
        Ok(())
    }

    fn boot(&mut self, state: &mut State, container: &str, labelled: Option<&TaskId>) -> Result<(), Ended> {
        let mut reporting = self.earlier(state);
        let Some(tasking) = self.tasking(state) else {
            state.breaks(format!("the agent of {container} found no tasking.yaml it can use"));
            return Err(Ended { code: 70, oom: false });
        };
        reporting.observed_generation = tasking.generation;
        for task in &tasking.tasks {
            let known = reporting.tasks.get(&task.id);
            let has_ended =
                known.is_some_and(|known| known.status.is_ended() && known.attempt >= task.attempt);
            if has_ended {
                continue;
            }
            if task.status == Assignment::Cancelled {
                let attempt = known.map_or(task.attempt, |known| known.attempt.max(task.attempt));
                self.end_task(state, &mut reporting, &task.id, attempt, TaskReportStatus::Cancelled, None);
                continue;
            }
            if labelled != Some(&task.id) {
                state.breaks(format!("the container {container} for {labelled:?} took up {}", task.id));
            }
            let was_begun = known.is_some_and(|known| !known.status.is_ended());
            let attempt = known.map_or(task.attempt, |known| match was_begun {
                true => (known.attempt + 1).max(task.attempt),
                false => task.attempt,
            });
            return self.begin(state, container, reporting, task.clone(), attempt);
        }
        self.say(state, &reporting);
        self.again(state, container, Duration::from_millis(5), Phase::Exit(0))
    }

    /// What earlier agents left. One that cannot be read is moved aside, and the event log says what ended.
    fn earlier(&self, state: &State) -> Reporting {
        let path = ControlDir::new(self.control.clone()).reporting();
        let read = read_capped(&path, MAX_YAML_BYTES).ok();
        let now = state.time();
        let fresh = Reporting {
            version: PROTOCOL_VERSION,
            observed_generation: 0,
            updated_at: now,
            heartbeat_at: now,
            agent: AgentInfo {
                version: "1".to_owned(),
                instance: "simulated".to_owned(),
                cli: self.cli.clone(),
                cli_version: None,
                started_at: now,
            },
            status: AgentStatus::Working,
            failure: None,
            tasks: Default::default(),
        };
        match read.map(|text| parse_reporting("reporting.yaml", &text)) {
            Some(Ok(earlier)) => Reporting { agent: fresh.agent, ..earlier },
            Some(Err(_)) => {
                let mut fresh = fresh;
                for (id, ledger) in &state.containers.ledger {
                    if let Some((attempt, status)) = ledger.ended.last() {
                        fresh.tasks.insert(id.clone(), bare(*status, *attempt, now));
                    } else if let Some(attempt) = ledger.runs.last() {
                        fresh.tasks.insert(id.clone(), bare(TaskReportStatus::InProgress, *attempt, now));
                    }
                }
                fresh
            }
            None => fresh,
        }
    }

    fn tasking(&self, _: &State) -> Option<Tasking> {
        let path = ControlDir::new(self.control.clone()).tasking();
        let text = read_capped(&path, MAX_YAML_BYTES).ok()?;
        parse_tasking("tasking.yaml", &text).ok()
    }

    fn begin(
        &mut self,
        state: &mut State,
        container: &str,
        mut reporting: Reporting,
        task: Task,
        attempt: u32,
    ) -> Result<(), Ended> {
        let id = task.id.clone();
        let ledger = state.containers.ledger.entry(id.clone()).or_default();
        let finished = [TaskReportStatus::Completed, TaskReportStatus::Blocked];
        let is_again = ledger.ended.iter().any(|(_, status)| finished.contains(status));
        ledger.is_resumed |= ledger.ended.iter().any(|(_, status)| *status == TaskReportStatus::Cancelled);
        ledger.runs.push(attempt);
        if is_again {
            state.breaks(format!("the finished task {id} ran a second time, as attempt {attempt}"));
        }
        self.course = course(state, task.mode);
        let course = self.course;
        if let Some(trouble) = course.trouble() {
            state.count(trouble);
        }
        state.note(|| format!("{id} attempt {attempt} runs in {container}: {course:?}"));
        let now = state.time();
        let usage = reporting.tasks.get(&id).map(|known| known.usage.clone()).unwrap_or_default();
        let session_id = Some(format!("session-{id}"));
        let report = TaskReport {
            started_at: Some(now),
            session_id,
            usage,
            ..bare(TaskReportStatus::InProgress, attempt, now)
        };
        reporting.tasks.insert(id, TaskReport { finished_at: None, ..report });
        reporting.status = AgentStatus::Working;
        self.task = Some(task);
        self.spend(state, &mut reporting);
        self.say(state, &reporting);
        self.reporting = Some(reporting);
        let wait = Duration::from_millis(state.chance.between(100, 4_000));
        let left = u32::try_from(state.chance.below(3)).unwrap_or_default();
        self.again(state, container, wait, Phase::Work(left))
    }

    fn spend(&self, state: &mut State, reporting: &mut Reporting) {
        let Some(task) = &self.task else { return };
        state.containers.ledger.entry(task.id.clone()).or_default().turns += 1;
        if let Some(report) = reporting.tasks.get_mut(&task.id) {
            let turns = report.usage.turns.unwrap_or_default() + 1;
            report.usage = Usage {
                turns: Some(turns),
                cost_usd: Usd::new(f64::from(turns) * 0.25).ok(),
                cost_source: CostSource::Reported,
                ..Usage::default()
            };
        }
    }

    fn work(&mut self, state: &mut State, container: &str, left: u32) -> Result<(), Ended> {
        let (Some(task), Some(mut reporting)) = (self.task.clone(), self.reporting.take()) else {
            return Err(Ended { code: 70, oom: false });
        };
        reporting.heartbeat_at = state.time();
        let attempt = reporting.tasks.get(&task.id).map_or(1, |report| report.attempt);
        let is_cancelled = self.tasking(state).is_some_and(|tasking| {
            tasking.tasks.iter().any(|known| known.id == task.id && known.status == Assignment::Cancelled)
        });
        if is_cancelled || self.is_ending {
            let head = self.commit(state, &task);
            self.end_task(state, &mut reporting, &task.id, attempt, TaskReportStatus::Cancelled, None);
            set_head(&mut reporting, &task.id, head);
            self.say(state, &reporting);
            return self.again(state, container, Duration::from_millis(20), Phase::Exit(0));
        }
        if left > 0 || self.course == Course::NeverEnds {
            self.spend(state, &mut reporting);
            self.say(state, &reporting);
            self.reporting = Some(reporting);
            return self.again(state, container, HEARTBEAT, Phase::Work(left.saturating_sub(1)));
        }
        let (status, failure, head) = match self.course {
            Course::Done => (TaskReportStatus::Completed, None, self.commit(state, &task)),
            Course::NothingDone | Course::NeverEnds => {
                (TaskReportStatus::Completed, None, state.repositories.head(&self.root))
            }
            Course::Asks => (TaskReportStatus::Blocked, None, self.commit(state, &task)),
            Course::Fails(kind) => {
                let mut failure = Failure::new(kind, "the CLI said so");
                if matches!(kind, FailureKind::RateLimited | FailureKind::UsageLimit) {
                    let wait = i64::try_from(state.chance.between(5, 900)).unwrap_or(60);
                    failure.resets_at = state.time().checked_add(SignedDuration::from_secs(wait)).ok();
                }
                let status = match kind {
                    FailureKind::Timeout | FailureKind::Idle => TaskReportStatus::TimedOut,
                    _ => TaskReportStatus::Failed,
                };
                // It names where it stands, if it came as far as to look.
                let head = match state.chance.below(4) {
                    0 | 1 => self.commit(state, &task),
                    2 => state.repositories.head(&self.root),
                    _ => None,
                };
                (status, Some(failure), head)
            }
            Course::Crashes => return Err(Ended { code: 101, oom: false }),
            Course::DiesAfterWork => {
                self.commit(state, &task);
                return Err(Ended { code: 137, oom: false });
            }
            Course::OutOfMemory => return Err(Ended { code: 137, oom: true }),
            Course::Hangs => {
                self.phase = Phase::Hung;
                return Ok(());
            }
            Course::WritesNonsense => {
                self.put(state, "version: 1\ntasks: [");
                // What was not read before stood only there.
                let ledger = state.containers.ledger.entry(task.id.clone()).or_default();
                ledger.lost_turns = ledger.turns;
                return Err(Ended { code: 1, oom: false });
            }
        };
        self.end_task(state, &mut reporting, &task.id, attempt, status, failure);
        set_head(&mut reporting, &task.id, head);
        self.say(state, &reporting);
        let wait = Duration::from_millis(state.chance.between(1, 2_000));
        self.again(state, container, wait, Phase::Exit(0))
    }

    fn commit(&self, state: &mut State, task: &Task) -> Option<String> {
        if task.mode != Mode::Edit {
            return None;
        }
        let (file, salt) = (format!("f{}", state.chance.below(6)), state.fresh());
        Some(state.repositories.work(&self.root, &file, salt)?.to_string())
    }

    fn end_task(
        &self,
        state: &mut State,
        reporting: &mut Reporting,
        id: &TaskId,
        attempt: u32,
        status: TaskReportStatus,
        failure: Option<Failure>,
    ) {
        state.containers.ledger.entry(id.clone()).or_default().ended.push((attempt, status));
        let now = state.time();
        let report = reporting.tasks.entry(id.clone()).or_insert_with(|| bare(status, attempt, now));
        report.status = status;
        report.attempt = attempt;
        report.finished_at = Some(now);
        report.failure = failure;
        report.summary = Some(format!("worked on {id}"));
        report.questions = match status {
            TaskReportStatus::Blocked => vec!["Which of the two?".to_owned()],
            _ => Vec::new(),
        };
        reporting.status = AgentStatus::Idle;
        state.note(|| format!("{id} attempt {attempt} ends: {}", status.as_str()));
    }

    fn say(&self, state: &mut State, reporting: &Reporting) {
        let mut reporting = reporting.clone();
        reporting.updated_at = state.time();
        reporting.heartbeat_at = reporting.updated_at;
        // JSON is YAML as well, and quicker to write.
        match serde_json::to_string(&reporting) {
            Ok(text) => self.put(state, &text),
            Err(error) => state.breaks(format!("a report cannot be written: {error}")),
        }
    }

    fn put(&self, state: &mut State, text: &str) {
        let path = ControlDir::new(self.control.clone()).reporting();
        let aside = path.with_extension("new");
        let written = std::fs::write(&aside, text).and_then(|()| std::fs::rename(&aside, &path));
        if let Err(error) = written {
            state.note(|| format!("no report: {error}"));
        }
        World::changed(state, &self.control);
    }
}

fn set_head(reporting: &mut Reporting, id: &TaskId, head: Option<String>) {
    if let Some(report) = reporting.tasks.get_mut(id) {
        report.head = head;
    }
}

fn course(state: &mut State, mode: Mode) -> Course {
    let dice = state.chance.below(100);
    let course = match dice {
        0..55 => Course::Done,
        55..60 => Course::NothingDone,
        60..67 => Course::Asks,
        67..82 => {
            let kinds: Vec<FailureKind> = FailureKind::ALL
                .into_iter()
                .filter(|kind| !matches!(kind, FailureKind::Rejected | FailureKind::PublishRefused))
                .collect();
            Course::Fails(state.chance.pick(&kinds).unwrap_or(FailureKind::Internal))
        }
        82..88 => Course::Crashes,
        88..92 => Course::DiesAfterWork,
        92..95 => Course::OutOfMemory,
        95..97 => Course::WritesNonsense,
        97..99 => Course::Hangs,
        _ => Course::NeverEnds,
    };
    match mode {
        Mode::Edit => course,
        Mode::Plan | Mode::Review | Mode::Ask if course == Course::DiesAfterWork => Course::Crashes,
        Mode::Plan | Mode::Review | Mode::Ask => course,
    }
}

fn bare(status: TaskReportStatus, attempt: u32, at: jiff::Timestamp) -> TaskReport {
    TaskReport {
        status,
        attempt,
        cli: None,
        started_at: None,
        finished_at: status.is_ended().then_some(at),
        current_step: None,
        session_id: None,
        conversation: Conversation::default(),
        model: None,
        usage: Usage::default(),
        exit: None,
        failure: None,
        summary: None,
        commit_message: None,
        commits: Vec::new(),
        base: None,
        head: None,
        files_modified: Vec::new(),
        verify: Vec::new(),
        questions: Vec::new(),
        progress: Vec::new(),
    }
}
