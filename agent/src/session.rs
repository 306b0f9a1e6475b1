//! One attempt of one task: the CLI's runs, the verify rounds, the commit, the verdict, the report.
//!
//! The order at the start is for latency: the CLI is executed before anything is written. The order at the end is for
//! durability: the report with the end stands on disk before the event that tells of it.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::rc::Rc;

use cloud_code_task_schema::{
    AgentStatus, ControlDir, EventKind, ExitReport, Failure, FailureKind, Mode, PromptChannel, Task,
    TaskReportStatus, Usage,
};
use jiff::Timestamp;

use crate::clocks::{Clock, WallClock};
use crate::command_line::{Call, MAX_ARGUMENT_BYTES};
use crate::drive::{Driven, Driver, over_budget};
use crate::finish::{Finish, Staging, finish};
use crate::git::{Git, GitError};
use crate::journal::Subject;
use crate::parse::Parser;
use crate::process::{Child, Input, Launch};
use crate::prompt::{self, Occasion};
use crate::raw_log::RawLog;
use crate::shared::{Shared, StopRequest};
use crate::usage::UsageMeter;
use crate::verdict::{Evidence, RunEnd, StopCause, judge};
use crate::verify::{VerifyEnd, verify};

/// What an attempt starts from.
pub(crate) struct Start {
    pub(crate) task: Task,
    pub(crate) attempt: u32,
    pub(crate) occasion: Occasion,
    /// The CLI session that goes on.
    pub(crate) resume: Option<String>,
    /// What the report already says was used.
    pub(crate) known_usage: Usage,
    /// The first commit of an earlier attempt: the task began before it.
    pub(crate) first_commit: Option<String>,
    /// For people: why this is not a plain first attempt.
    pub(crate) warnings: Vec<String>,
}

/// Runs an attempt to its end.
pub(crate) async fn run(shared: Rc<Shared>, start: Start) {
    let shared = shared.as_ref();
    let subject = Subject { task: start.task.id.clone(), attempt: start.attempt };
    let mut attempt = Attempt {
        shared,
        task: &start.task,
        subject: &subject,
        start: &start,
        wall: WallClock::start(start.task.limits.timeout),
        meter: UsageMeter::new(&start.known_usage),
        log: None,
        told: Told::Nothing,
        last_words: None,
        exit: None,
        staging: Staging::ToDo,
        leftovers: Vec::new(),
    };
    // Read before the CLI can move it; costs two small files.
    let head = crate::head::read(&shared.options.workspace);
    let end = attempt.work().await;
    // Whatever kept the CLI from starting: an end without a beginning in the report would be run again for ever.
    attempt.tell_start(None);
    let env = shared.plain_env(&start.task.commit);
    let base = match &start.first_commit {
        Some(commit) => git_in(shared, &env).resolve(&format!("{commit}^")).await.or(head),
        None => head,
    };
    let missing_log_bytes = attempt.log.as_ref().map_or(0, RawLog::missing_bytes);
    if missing_log_bytes > 0 {
        let what = "the raw log, between its beginning and its end".to_owned();
        let kind = EventKind::LogTruncated { dropped_bytes: missing_log_bytes, what };
        shared.journal().event(Some(&subject), kind);
    }
    let git = git_in(shared, &env);
    let Attempt { last_words, exit, staging, leftovers, .. } = attempt;
    finish(
        shared,
        Finish { subject: &subject, task: &start.task, git, base, end, last_words, exit, staging, leftovers },
    )
    .await;
}

fn git_in<'a>(shared: &'a Shared, env: &'a BTreeMap<String, String>) -> Git<'a> {
    let user = shared.user.switch_to;
    Git { workspace: &shared.options.workspace, env, user, reaper: &shared.reaper, masker: &shared.masker }
}

/// What was already written about the attempt.
#[derive(PartialEq, Eq)]
enum Told {
    Nothing,
    Start,
}

struct Attempt<'a> {
    shared: &'a Shared,
    task: &'a Task,
    subject: &'a Subject,
    start: &'a Start,
    wall: WallClock,
    meter: UsageMeter,
    log: Option<RawLog>,
    told: Told,
    last_words: Option<String>,
    exit: Option<ExitReport>,
    staging: Staging,
    /// What verify commands left in the tree; never the CLI's work.
    leftovers: Vec<String>,
}

impl Attempt<'_> {
    /// Everything up to the end of the last process of the CLI.
    async fn work(&mut self) -> RunEnd {
        if let Some(failure) = self.refusal() {
            return RunEnd::Badly(TaskReportStatus::Failed, failure);
        }
        let mut session = self.start.resume.clone();
        let mut text = prompt::of_task(self.task, self.start.occasion);
        let mut round = 1;
        loop {
            let (run_end, driven) = match self.run_cli(&text, session.as_deref()).await {
                Ok(run) => run,
                Err(failure) => return RunEnd::Badly(TaskReportStatus::Failed, failure),
            };
            if session.is_some()
                && driven.session.is_none()
                && driven.stopped.is_none()
                && run_end != RunEnd::Well
            {
                // It ended before its session began, so the session is what it did not accept.
                let why = match &run_end {
                    RunEnd::Badly(_, failure) => failure.message.as_str(),
                    RunEnd::Well | RunEnd::Cancelled | RunEnd::Interrupted => "",
                };
                self.warn(format!("the CLI could not resume its session ({why}); a new one begins"));
                session = None;
                text = prompt::of_task(self.task, self.start.occasion);
                continue;
            }
            let failed_commands = match self.check(round, &run_end).await {
                Checked::Final(end) => return end.unwrap_or(run_end),
                Checked::Red(failed) => failed,
            };
            session = driven.session.or(session);
            let failed = prompt::of_failed_verify(&failed_commands);
            match (&session, &self.shared.manifest.resume) {
                (Some(_), Some(_)) if round <= self.task.verify_rounds => text = failed,
                _ => {
                    let names: Vec<&str> =
                        failed_commands.iter().map(|report| report.command.as_str()).collect();
                    let message = format!("verify failed in round {round}: {}", names.join("; "));
                    let failure = Failure::new(FailureKind::VerifyFailed, message);
                    return RunEnd::Badly(TaskReportStatus::Failed, failure);
                }
            }
            let spent = self.meter.total().cost_usd;
            if let Some(failure) = over_budget(spent, &self.task.limits) {
                return RunEnd::Badly(TaskReportStatus::Failed, failure);
            }
            round += 1;
            self.shared
                .journal()
                .update_task(&self.task.id, |report| report.status = TaskReportStatus::InProgress);
        }
    }

    /// Stages and verifies what a good run left.
    async fn check(&mut self, round: u32, run_end: &RunEnd) -> Checked {
        if *run_end != RunEnd::Well || self.task.mode != Mode::Edit || self.task.verify.is_empty() {
            return Checked::Final(None);
        }
        // Staged before the commands run: what they leave behind is not the CLI's work.
        let env = self.shared.plain_env(&self.task.commit);
        let git = git_in(self.shared, &env);
        if let Err(error) = git.stage(&self.leftovers).await {
            return Checked::Final(Some(RunEnd::Badly(TaskReportStatus::Failed, git_failure(&error))));
        }
        self.staging = Staging::Done;
        match verify(self.shared, self.subject, self.task, round, self.wall).await {
            VerifyEnd::Green => Checked::Final(None),
            VerifyEnd::Red(failed) => {
                // What cannot be listed is at worst committed with the work.
                self.leftovers = git.untracked().await.unwrap_or_default();
                Checked::Red(failed)
            }
            VerifyEnd::OutOfTime => {
                let failure = Clock::Wall.failure(&self.task.limits);
                Checked::Final(Some(RunEnd::Badly(TaskReportStatus::TimedOut, failure)))
            }
            VerifyEnd::Stopped(StopRequest::Cancel) => Checked::Final(Some(RunEnd::Cancelled)),
            VerifyEnd::Stopped(StopRequest::AgentStops) => Checked::Final(Some(RunEnd::Interrupted)),
        }
    }

    /// Reasons not to start the CLI at all.
    fn refusal(&self) -> Option<Failure> {
        let manifest = &self.shared.manifest;
        if self.task.mode != Mode::Edit && manifest.plan.is_none() {
            let message = format!(
                "{} has no read-only mode (cli.yaml has no `plan`): use mode edit or another CLI",
                manifest.name
            );
            return Some(Failure::new(FailureKind::InvalidTasking, message));
        }
        if !self.shared.options.workspace.is_dir() {
            let message = format!("the workspace {} is not there", self.shared.options.workspace.display());
            return Some(Failure::new(FailureKind::Internal, message));
        }
        None
    }

    /// One process of the CLI, from its exec to its judgement.
    async fn run_cli(&mut self, text: &str, session: Option<&str>) -> Result<(RunEnd, Driven), Failure> {
        let shared = self.shared;
        self.staging = Staging::ToDo;
        let call = Call {
            manifest: &shared.manifest,
            task: self.task,
            session,
            base_url: shared.options.base_url.as_deref(),
        };
        let mut argv = call.argv();
        let shown = call.shown(&argv);
        let prompt_file = self.add_prompt(&mut argv, text)?;
        match session {
            Some(session) => {
                self.meter.resume(session, &self.task.id, shared.journal().reporting().tasks.iter())
            }
            None => self.meter.new_session(),
        }
        let env = shared.cli_env(&self.task.commit);
        let input = if shared.manifest.prompt == PromptChannel::Stdin { Input::Pipe } else { Input::Nothing };
        let directory = &shared.options.workspace;
        let launch = Launch { argv: &argv, env: &env, directory, user: shared.user.switch_to, input };
        let started = Child::start(&launch, &shared.reaper);
        self.tell_start(session);
        let child = started.map_err(|error| cannot_start(&argv, &error))?;
        let pid = child.pid.as_raw();
        // The kernel should choose the CLI, not the agent that must report it. A refusal changes nothing else.
        let _ = std::fs::write(format!("/proc/{pid}/oom_score_adj"), "500");
        let command = shown.iter().map(|argument| shared.masker.mask(argument)).collect();
        shared.journal().event(Some(self.subject), EventKind::CliStarted { command, pid });
        self.open_log();
        let mut parser = Parser::new(shared.manifest.output);
        let stdin_text = if input == Input::Pipe { text.as_bytes() } else { &[] };
        let driver =
            Driver::new(shared, self.subject, &self.task.limits, &mut parser, &mut self.meter, &mut self.log);
        let driven = driver.run(child, stdin_text, self.wall).await;
        if let Some(path) = prompt_file {
            // Left behind it would only be an untidy HOME.
            let _ = std::fs::remove_file(path);
        }
        Ok((self.conclude(&parser, &driven), driven))
    }

    fn conclude(&mut self, parser: &Parser, driven: &Driven) -> RunEnd {
        let exit = driven.exit;
        self.exit = Some(exit);
        self.last_words = parser.last_words().or(self.last_words.take());
        let usage = self.meter.total();
        let mut journal = self.shared.journal();
        journal.event(Some(self.subject), EventKind::CliExited { exit });
        journal.update_task(&self.task.id, |report| {
            report.exit = Some(exit);
            report.usage = usage;
        });
        let swept = driven.swept;
        if swept.killed > 0 {
            let message = format!("{} processes outlived the CLI and were killed", swept.killed);
            journal.warn(Some(self.subject), message);
        }
        if swept.left > 0 {
            let message = format!("{} processes could not be killed and are still there", swept.left);
            journal.warn(Some(self.subject), message);
        }
        drop(journal);
        if driven.stopped == Some(StopCause::Lingered) {
            self.warn("the CLI had answered but did not exit; it was ended".to_owned());
        }
        let (answer, trouble) = (parser.answer(), parser.trouble());
        judge(&Evidence {
            limits: &self.task.limits,
            stopped: driven.stopped.as_ref(),
            memory: driven.memory,
            exit,
            answer: answer.as_ref(),
            ends_with_an_answer: parser.ends_with_an_answer(),
            trouble: trouble.as_ref(),
            complaint: &driven.complaint,
        })
    }

    /// The first words about this attempt; the CLI runs already.
    fn tell_start(&mut self, session: Option<&str>) {
        if self.told == Told::Start {
            return;
        }
        self.told = Told::Start;
        let mut journal = self.shared.journal();
        journal.event(Some(self.subject), EventKind::TaskReceived { title: self.task.title.clone() });
        for warning in &self.start.warnings {
            journal.warn(Some(self.subject), warning.clone());
        }
        let (attempt, usage) = (self.start.attempt, self.start.known_usage.clone());
        journal.update_now(|reporting| {
            if reporting.status == AgentStatus::Idle {
                reporting.status = AgentStatus::Working;
            }
            let id = self.task.id.clone();
            let earlier = reporting.tasks.remove(&id);
            let mut report = crate::recovery::bare_report(TaskReportStatus::InProgress, attempt);
            report.started_at = Some(Timestamp::now());
            report.usage = usage;
            report.session_id = session.map(str::to_owned);
            report.progress = earlier.map(|earlier| earlier.progress).unwrap_or_default();
            reporting.tasks.insert(id, report);
        });
        journal.step(&self.task.id, "Starting the CLI");
    }

    fn open_log(&mut self) {
        if self.log.is_some() {
            return;
        }
        let control = ControlDir::new(&self.shared.options.control);
        let path = control.log(&self.subject.task, self.subject.attempt);
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o755).create(control.logs());
        match made.and_then(|()| RawLog::create(&path, self.shared.options.max_log_bytes)) {
            Ok(log) => self.log = Some(log),
            Err(error) => self.warn(format!("the raw log {} cannot be written: {error}", path.display())),
        }
    }

    fn warn(&self, message: String) {
        self.shared.journal().warn(Some(self.subject), message);
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
                let path = self.shared.options.home.join(name);
                Self::write_prompt(&path, text).map_err(|error| {
                    Failure::new(
                        FailureKind::Internal,
                        format!("the prompt file {} cannot be written: {error}", path.display()),
                    )
                })?;
                argv.push(path.display().to_string());
                Ok(Some(path))
            }
        }
    }

    /// A new file only: the CLI owns HOME and could have put a link in its place. Readable for all, because the agent
    /// has no right to give files away; who may look into HOME is settled by HOME itself.
    fn write_prompt(path: &std::path::Path, text: &str) -> io::Result<()> {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(path)?;
        file.write_all(text.as_bytes())
    }
}

/// What follows a run.
enum Checked {
    /// The attempt is over; with its own end if that differs from the run's.
    Final(Option<RunEnd>),
    /// These commands failed.
    Red(Vec<cloud_code_task_schema::VerifyReport>),
}

/// A failure of git, in the contract's words.
pub(crate) fn git_failure(error: &GitError) -> Failure {
    let kind = match error {
        GitError::Missing => FailureKind::CliMissing,
        GitError::Refused { complaint, .. } if complaint.contains("No space left") => FailureKind::DiskFull,
        GitError::Start(_) | GitError::TimedOut { .. } | GitError::Refused { .. } => FailureKind::Internal,
    };
    Failure::new(kind, error.to_string())
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
