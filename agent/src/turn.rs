//! One turn of the conversation: a process of the CLI, from its prompt to the judgement of its end.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use cloud_code_task_schema::{
    AgentStatus, ControlDir, EventKind, ExitReport, Failure, FailureKind, PromptChannel, Task,
    TaskReportStatus, Usage,
};
use jiff::Timestamp;
use nix::sys::statvfs::statvfs;

use crate::clocks::WallClock;
use crate::command_line::{Allowance, Call, MAX_ARGUMENT_BYTES, Session};
use crate::drive::{Driven, Driver};
use crate::journal::Subject;
use crate::parse::Parser;
use crate::process::{Child, Input, Launch};
use crate::prompt::Prompt;
use crate::prompt_log::PromptLog;
use crate::raw_log::RawLog;
use crate::shared::Shared;
use crate::start::Start;
use crate::usage::UsageMeter;
use crate::verdict::{Disk, Evidence, RunEnd, StopCause, judge};

/// Less than this is no room: one block of the usual file systems, and what a log line needs.
const MIN_FREE_BYTES: u64 = 64 * 1024;

/// Runs the turns of one attempt.
pub(crate) struct Runner<'a> {
    shared: &'a Shared,
    task: &'a Task,
    start: &'a Start,
    pub(crate) subject: &'a Subject,
    pub(crate) wall: WallClock,
    pub(crate) log: Option<RawLog>,
    pub(crate) last_words: Option<String>,
    pub(crate) exit: Option<ExitReport>,
    base: Option<String>,
    meter: UsageMeter,
    prompts: PromptLog,
    told: Told,
    /// What was found before anything could be written.
    early_warnings: Vec<String>,
}

/// What was already written about the attempt.
#[derive(PartialEq, Eq)]
enum Told {
    Nothing,
    Start,
}

/// How a turn went.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) end: RunEnd,
    /// The session that it belonged to.
    pub(crate) session: Option<String>,
    /// Whether the CLI named its session or the model answered.
    pub(crate) has_begun: bool,
    pub(crate) was_stopped: bool,
}

impl<'a> Runner<'a> {
    /// Starts the wall clock.
    pub(crate) fn new(
        shared: &'a Shared,
        start: &'a Start,
        subject: &'a Subject,
        base: Option<String>,
    ) -> Self {
        let task = &start.task;
        Self {
            shared,
            task,
            start,
            subject,
            wall: WallClock::start(task.limits.timeout),
            log: None,
            last_words: None,
            exit: None,
            base,
            meter: UsageMeter::new(&start.known_usage),
            prompts: PromptLog::new(&ControlDir::new(&shared.options.control), subject),
            told: Told::Nothing,
            early_warnings: Vec::new(),
        }
    }

    /// What the task used so far.
    pub(crate) fn used(&self) -> Usage {
        self.meter.total()
    }

    /// Says something for people.
    pub(crate) fn warn(&self, message: String) {
        self.shared.journal().warn(Some(self.subject), message);
    }

    /// Says it once the start was told.
    pub(crate) fn warn_later(&mut self, message: String) {
        self.early_warnings.push(message);
    }

    /// One process of the CLI, from its exec to its judgement.
    pub(crate) async fn run(
        &mut self,
        prompt: &Prompt,
        session: Option<&str>,
        allowance: Allowance,
    ) -> Result<Ran, Failure> {
        let (shared, manifest) = (self.shared, &self.shared.manifest);
        let own_name = (session.is_none() && !manifest.session.is_empty()).then(crate::identity::new_id);
        let belongs_to = match (session, &own_name) {
            (Some(id), _) => Session::Resumed(id),
            (None, Some(id)) => Session::Named(id),
            (None, None) => Session::New,
        };
        let base_url = shared.options.base_url.as_deref();
        let call = Call { manifest, task: self.task, session: belongs_to, base_url, allowance };
        let mut argv = call.argv();
        let shown = call.shown(&argv);
        let prompt_file = self.add_prompt(&mut argv, &prompt.text)?;
        match session {
            Some(session) => {
                self.meter.resume(session, &self.task.id, shared.journal().reporting().tasks.iter())
            }
            None => self.meter.new_session(),
        }
        let env = shared.cli_env(&self.task.commit, call.model());
        let input = if manifest.prompt == PromptChannel::Stdin { Input::Pipe } else { Input::Nothing };
        let directory = &shared.options.workspace;
        let launch = Launch { argv: &argv, env: &env, directory, user: shared.user.switch_to, input };
        let started = Child::start(&launch, &shared.reaper);
        self.tell_start();
        if prompt.opens {
            self.tell_session(belongs_to);
        }
        let child = started.map_err(|error| cannot_start(&argv, &error))?;
        let pid = child.pid.as_raw();
        // The kernel should choose the CLI, not the agent that must report it. A refusal changes nothing else.
        let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), "500");
        let command = shown.iter().map(|argument| shared.masker.mask(argument)).collect();
        shared.journal().event(Some(self.subject), EventKind::CliStarted { command, pid });
        self.open_logs(prompt);
        let mut parser = Parser::new(manifest.output);
        let stdin_text = if input == Input::Pipe { prompt.text.as_bytes() } else { &[] };
        let limits = &self.task.limits;
        let driver =
            Driver::new(shared, self.subject, limits, &mut parser, &mut self.meter, &mut self.log, allowance);
        let driven = driver.run(child, stdin_text, self.wall).await;
        if let Some(path) = prompt_file {
            shared.home().remove(&path);
        }
        let end = self.conclude(&parser, &driven);
        // Where neither is told, anything printed may have been paid for.
        let has_begun = driven.session.is_some() || parser.turns().map_or(driven.printed, |turns| turns > 0);
        let was_stopped = driven.stopped.is_some();
        let session = driven.session.or(own_name).or_else(|| session.map(str::to_owned));
        Ok(Ran { end, session, has_begun, was_stopped })
    }

    fn conclude(&mut self, parser: &Parser, driven: &Driven) -> RunEnd {
        let exit = driven.exit;
        self.exit = Some(exit);
        self.last_words = parser.last_words().or(self.last_words.take());
        let usage = self.meter.total();
        let has_no_price = usage.cost_usd.is_none() && self.task.limits.max_cost_usd.is_some();
        let counts_no_turns = parser.turns().is_none() && self.task.limits.max_turns.is_some();
        let mut journal = self.shared.journal();
        journal.event(Some(self.subject), EventKind::CliExited { exit });
        journal.update_task(&self.task.id, |report| {
            report.exit = Some(exit);
            report.usage = usage;
        });
        let manifest = &self.shared.manifest;
        let mut warn = |message: String| journal.warn(Some(self.subject), message);
        if has_no_price && manifest.max_cost.is_empty() {
            warn(format!("{} named no cost, so limits.max_cost_usd could not be kept", manifest.name));
        }
        if counts_no_turns && manifest.max_turns.is_empty() {
            warn(format!(
                "the output of {} has no turns, so limits.max_turns could not be kept",
                manifest.name
            ));
        }
        let swept = driven.swept;
        if swept.killed > 0 {
            warn(format!("{} processes outlived the CLI and were killed", swept.killed));
        }
        if swept.left > 0 {
            warn(format!("{} processes could not be killed and are still there", swept.left));
        }
        if driven.stopped == Some(StopCause::Lingered) {
            warn("the CLI had answered but did not exit; it was ended".to_owned());
        }
        drop(journal);
        let (answer, trouble) = (parser.answer(), parser.trouble());
        let of_exit = exit.code.filter(|code| *code != 0).and_then(|code| parser.of_exit(code));
        judge(&Evidence {
            limits: &self.task.limits,
            stopped: driven.stopped.as_ref(),
            memory: driven.memory,
            exit,
            answer: answer.as_ref(),
            ends_with_an_answer: parser.ends_with_an_answer(),
            trouble: trouble.as_ref(),
            complaint: &driven.complaint,
            of_exit: of_exit.as_ref(),
            disk: self.disk(),
        })
    }

    fn disk(&self) -> Disk {
        let is_full = |folder: &PathBuf| {
            let room = statvfs(folder.as_path()).ok();
            room.is_some_and(|room| {
                room.blocks() > 0 && room.blocks_available() * room.fragment_size() < MIN_FREE_BYTES
            })
        };
        let folders = [&self.shared.options.workspace, &self.shared.options.home];
        if folders.into_iter().any(is_full) { Disk::Full } else { Disk::HasRoom }
    }

    /// The first words about this attempt; the CLI runs already.
    pub(crate) fn tell_start(&mut self) {
        if self.told == Told::Start {
            return;
        }
        self.told = Told::Start;
        let mut journal = self.shared.journal();
        journal.event(Some(self.subject), EventKind::TaskReceived { title: self.task.title.clone() });
        for warning in self.start.warnings.iter().chain(&self.early_warnings) {
            journal.warn(Some(self.subject), warning.clone());
        }
        let (attempt, usage, base) = (self.start.attempt, self.start.known_usage.clone(), self.base.clone());
        let cli = self.shared.manifest.name.clone();
        journal.update_now(|reporting| {
            if reporting.status == AgentStatus::Idle {
                reporting.status = AgentStatus::Working;
            }
            let id = self.task.id.clone();
            let earlier = reporting.tasks.remove(&id);
            let mut report = crate::recovery::bare_report(TaskReportStatus::InProgress, attempt);
            report.started_at = Some(Timestamp::now());
            report.usage = usage;
            report.cli = Some(cli);
            report.base = base;
            if let Some(earlier) = earlier {
                // Should the CLI not even start, this is still what is known.
                report.session_id = earlier.session_id;
                report.conversation = earlier.conversation;
                report.model = earlier.model;
                report.summary = earlier.summary;
                report.verify = earlier.verify;
                report.progress = earlier.progress;
            }
            reporting.tasks.insert(id, report);
        });
        journal.step(&self.task.id, "Starting the CLI");
    }

    fn tell_session(&self, session: Session<'_>) {
        let (id, resumed) = match session {
            Session::New => (None, false),
            Session::Named(id) => (Some(id), false),
            Session::Resumed(id) => (Some(id), true),
        };
        let conversation = self.start.conversation(resumed);
        self.shared.journal().update_task(&self.task.id, |report| {
            report.session_id = id.map(str::to_owned);
            report.conversation = conversation;
        });
    }

    fn open_logs(&mut self, prompt: &Prompt) {
        if self.log.is_none() {
            let control = ControlDir::new(&self.shared.options.control);
            let path = control.log(&self.subject.task, self.subject.attempt);
            let made = DirBuilder::new().recursive(true).mode(0o755).create(control.logs());
            match made.and_then(|()| RawLog::create(&path, self.shared.options.max_log_bytes)) {
                Ok(log) => self.log = Some(log),
                Err(error) => self.warn(format!("the raw log {} cannot be written: {error}", path.display())),
            }
        }
        let text = self.shared.masker.mask(&prompt.text);
        if let Err(error) = self.prompts.add(prompt.name, &text) {
            self.warn(format!("the prompt cannot be kept in {}: {error}", self.prompts.path().display()));
        }
    }

    /// Brings the prompt to the CLI where it does not go through stdin.
    fn add_prompt(&self, argv: &mut Vec<String>, text: &str) -> Result<Option<PathBuf>, Failure> {
        match self.shared.manifest.prompt {
            PromptChannel::Stdin => Ok(None),
            PromptChannel::Argument if text.len() > MAX_ARGUMENT_BYTES => {
                let message = format!(
                    "the prompt has {} bytes, and this CLI takes it as an argument, which Linux caps at {MAX_ARGUMENT_BYTES}: shorten the description",
                    text.len()
                );
                Err(Failure::new(FailureKind::InvalidTasking, message))
            }
            PromptChannel::Argument => {
                argv.push(text.to_owned());
                Ok(None)
            }
            PromptChannel::File => {
                let name = format!(".cloud-code-prompt.{}.{}", self.subject.task, self.subject.attempt);
                let path = self.shared.home().put(&name, text).map_err(|error| {
                    let path = self.shared.options.home.join(&name);
                    let message = format!("the prompt file {} cannot be written: {error}", path.display());
                    Failure::new(FailureKind::Internal, message)
                })?;
                argv.push(path.display().to_string());
                Ok(Some(path))
            }
        }
    }
}

fn cannot_start(argv: &[String], error: &io::Error) -> Failure {
    let program = argv.first().map(String::as_str).unwrap_or_default();
    let kind = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => FailureKind::CliMissing,
        _ if error.raw_os_error() == Some(nix::libc::ENOEXEC) => FailureKind::CliMissing,
        _ => FailureKind::Internal,
    };
    Failure::new(kind, format!("`{program}` cannot be started: {error}"))
}
