//! One attempt of one task: the CLI's turns, the verify rounds, the commit, the verdict, the report.
//!
//! The order at the start is for latency: the CLI is executed before anything is written. The order at the end is for
//! durability: the report with the end stands on disk before the event that tells of it.

use std::rc::Rc;
use std::time::Duration;

use cloud_code_task_schema::{
    CommitStyle, ControlDir, EventKind, Failure, FailureKind, Mode, Task, TaskReportStatus, Usd, VerifyReport,
};

use crate::clocks::Clock;
use crate::command_line::Allowance;
use crate::commit_message::{from_title_and_answer, message_in, subject_in};
use crate::drive::over_budget;
use crate::finish::{Finish, Staging, finish};
use crate::git::{Git, GitError, Leftover};
use crate::journal::Subject;
use crate::preflight;
use crate::prompt::{Prompt, PromptError, Prompts, Turn};
use crate::raw_log::RawLog;
use crate::read_only::{Guard, Snapshot, guard};
use crate::shared::{Shared, StopRequest};
use crate::start::{Aim, Start};
use crate::turn::{Ran, Runner};
use crate::verdict::RunEnd;
use crate::verify::{VerifyEnd, verify};

/// What the turn for a commit's message may take.
const MESSAGE_TURNS: u32 = 3;
/// And how long.
const MESSAGE_TIME: Duration = Duration::from_secs(120);
/// The least money that a command line can name, with its four decimals.
const LEAST_COST: f64 = 0.0001;

/// Runs an attempt to its end.
pub(crate) async fn run(shared: Rc<Shared>, start: Start) {
    let shared = shared.as_ref();
    let subject = Subject { task: start.task.id.clone(), attempt: start.attempt };
    let env = shared.plain_env(&start.task.commit);
    let git = Git::of(shared, &env);
    let base = match start.base.clone().or_else(|| crate::head::read(&shared.options.workspace)) {
        Some(base) => Some(base),
        // Read before the CLI can move it. Two small files tell it nearly always; git itself takes some milliseconds.
        None => git.resolve("HEAD").await,
    };
    let runner = Runner::new(shared, &start, &subject, base.clone());
    let mut attempt = Attempt {
        shared,
        task: &start.task,
        start: &start,
        git: &git,
        runner,
        staging: Staging::ToDo,
        leftovers: Vec::new(),
        session: start.resume.clone(),
        message: None,
    };
    let end = attempt.work().await;
    let Attempt { mut runner, staging, leftovers, message, .. } = attempt;
    // Whatever kept the CLI from starting: an end without a beginning in the report would be run again for ever.
    runner.tell_start();
    let missing_log_bytes = runner.log.as_ref().map_or(0, RawLog::missing_bytes);
    if missing_log_bytes > 0 {
        let what = "the raw log, between its beginning and its end".to_owned();
        let kind = EventKind::LogTruncated { dropped_bytes: missing_log_bytes, what };
        shared.journal().event(Some(&subject), kind);
    }
    let style = start.task.commit.style;
    let words = runner.last_words.as_deref();
    let message = message
        .or_else(|| subject_in(words?, style))
        .unwrap_or_else(|| from_title_and_answer(&start.task.title, words, style));
    let (last_words, exit) = (runner.last_words, runner.exit);
    let task = &start.task;
    let subject = &subject;
    finish(shared, Finish { subject, task, git, base, end, last_words, message, exit, staging, leftovers })
        .await;
}

struct Attempt<'a> {
    shared: &'a Shared,
    task: &'a Task,
    start: &'a Start,
    git: &'a Git<'a>,
    runner: Runner<'a>,
    staging: Staging,
    /// What verify commands left in the tree; never the CLI's work.
    leftovers: Vec<Leftover>,
    /// The conversation that goes on.
    session: Option<String>,
    /// The commit message that was asked for.
    message: Option<String>,
}

impl Attempt<'_> {
    /// Everything up to the end of the last process of the CLI.
    async fn work(&mut self) -> RunEnd {
        if self.start.aim == Aim::Cancel {
            return RunEnd::Cancelled;
        }
        match self.guarded().await {
            Ok(end) => end,
            Err(failure) => RunEnd::Badly(TaskReportStatus::Failed, failure),
        }
    }

    /// Works, and compares where only a promise keeps the CLI from changing files.
    async fn guarded(&mut self) -> Result<RunEnd, Failure> {
        let guard = guard(self.task.mode, &self.shared.manifest, &self.shared.options.workspace)?;
        preflight::look(self.shared, self.task)?;
        let before = match guard {
            Guard::Cli => Some(Snapshot::take(self.git).await.map_err(|error| git_failure(&error))?),
            Guard::None | Guard::Mount => None,
        };
        let prompts = Prompts::load(&ControlDir::new(&self.shared.options.control)).map_err(bad_prompt)?;
        let inside = self.shared.own_folders_inside();
        for problem in self.shared.home().furnish(&self.shared.manifest, &inside) {
            self.runner.warn_later(problem);
        }
        let mut end = self.converse(&prompts).await?;
        if let Some(before) = before {
            let after = Snapshot::take(self.git).await.map_err(|error| git_failure(&error))?;
            match (before.compare(&after), &end) {
                (Some(failure), RunEnd::Well) => end = RunEnd::Badly(TaskReportStatus::Failed, failure),
                (Some(failure), _) => self.runner.warn(failure.message),
                (None, _) => {}
            }
        }
        if end == RunEnd::Well && guard == Guard::None {
            end = self.ask_for_message(&prompts).await;
        }
        Ok(end)
    }

    /// Turns and verify rounds until nothing is left to say.
    async fn converse(&mut self, prompts: &Prompts) -> Result<RunEnd, Failure> {
        let mut failed: Option<Vec<VerifyReport>> = None;
        let mut round = 1;
        loop {
            let resumed = self.session.is_some();
            let prompt = self.next_prompt(prompts, failed.as_deref()).map_err(bad_prompt)?;
            let allowance = match (self.allowance(), &failed) {
                (Err(limit), Some(failed)) => {
                    let limit = Some(limit.message.as_str());
                    return Err(verify_failed(round - 1, failed, limit));
                }
                (allowance, _) => allowance?,
            };
            let ran = self.runner.run(&prompt, self.session.as_deref(), allowance).await?;
            if resumed && let Some(why) = rejected(&ran) {
                self.runner.warn(format!("the CLI could not resume its session ({why}); a new one begins"));
                self.session = None;
                continue;
            }
            let failed_commands = match self.check(round, &ran.end).await {
                Checked::Final(end) => {
                    self.session = ran.session.or(self.session.take());
                    return Ok(end.unwrap_or(ran.end));
                }
                Checked::Red(failed) => failed,
            };
            self.session = ran.session.or(self.session.take());
            if round > self.task.verify_rounds || !self.can_go_on() {
                return Err(verify_failed(round, &failed_commands, None));
            }
            failed = Some(failed_commands);
            round += 1;
            self.shared
                .journal()
                .update_task(&self.task.id, |report| report.status = TaskReportStatus::InProgress);
        }
    }

    /// What the CLI is told now: the task, or the failed checks. A session that was lost meanwhile knows of neither.
    fn next_prompt(&self, prompts: &Prompts, failed: Option<&[VerifyReport]>) -> Result<Prompt, PromptError> {
        let resumed = self.session.is_some();
        let opening = || prompts.render(self.task, self.start.opening(resumed));
        let Some(failed) = failed else { return opening() };
        let checks = prompts.render(self.task, Turn::VerifyFailed(failed))?;
        if resumed {
            return Ok(checks);
        }
        let opening = opening()?;
        Ok(Prompt { text: format!("{}\n{}", opening.text, checks.text), ..opening })
    }

    fn can_go_on(&self) -> bool {
        self.session.is_some() && self.shared.manifest.resume.is_some()
    }

    /// What the task's limits leave for the next process.
    fn allowance(&self) -> Result<Allowance, Failure> {
        let (used, limits) = (self.runner.used(), &self.task.limits);
        if let Some(failure) = over_budget(used.cost_usd, limits) {
            return Err(failure);
        }
        let cost = limits.max_cost_usd.map(|limit| {
            let spent = used.cost_usd.map_or(0.0, Usd::as_f64);
            Usd::new((limit.as_f64() - spent).max(0.0)).unwrap_or(limit)
        });
        // Less cannot be written on a command line.
        if let (Some(left), Some(limit)) = (cost, limits.max_cost_usd)
            && left.as_f64() < LEAST_COST
        {
            let message = format!("limits.max_cost_usd ({limit}) is used up");
            return Err(Failure::new(FailureKind::Budget, message));
        }
        let turns = limits.max_turns.map(|limit| limit.saturating_sub(used.turns.unwrap_or(0)));
        if turns == Some(0) {
            let message = format!("limits.max_turns ({}) are used up", limits.max_turns.unwrap_or_default());
            return Err(Failure::new(FailureKind::MaxTurns, message));
        }
        Ok(Allowance { turns, cost })
    }

    /// Stages and verifies what a good run left.
    async fn check(&mut self, round: u32, run_end: &RunEnd) -> Checked {
        if *run_end != RunEnd::Well || self.task.mode != Mode::Edit || self.task.verify.is_empty() {
            return Checked::Final(None);
        }
        // Staged before the commands run: what they leave behind is not the CLI's work.
        if let Err(error) = self.stage().await {
            return Checked::Final(Some(RunEnd::Badly(TaskReportStatus::Failed, git_failure(&error))));
        }
        match verify(self.shared, self.runner.subject, self.task, round, self.runner.wall).await {
            VerifyEnd::Green => Checked::Final(None),
            VerifyEnd::Red(failed) => {
                // What cannot be listed is at worst committed with the work.
                self.leftovers = self.git.untracked().await.unwrap_or_default();
                self.staging = Staging::ToDo;
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

    async fn stage(&mut self) -> Result<(), GitError> {
        if self.staging == Staging::ToDo {
            self.git.stage(&self.leftovers).await?;
            self.staging = Staging::Done;
        }
        Ok(())
    }

    /// One short turn for the message of a commit that the CLI's answer did not give.
    async fn ask_for_message(&mut self, prompts: &Prompts) -> RunEnd {
        let style = self.task.commit.style;
        let answer = self.runner.last_words.as_deref().map(str::trim).filter(|words| !words.is_empty());
        let is_good_enough =
            answer.is_some_and(|answer| style == CommitStyle::Plain || subject_in(answer, style).is_some());
        if is_good_enough || !self.can_go_on() {
            return RunEnd::Well;
        }
        // A failing git says so at the end, where the commit is made.
        if self.stage().await.is_err() || !self.git.has_staged().await.unwrap_or(false) {
            return RunEnd::Well;
        }
        let (Ok(prompt), Ok(allowance)) = (prompts.render(self.task, Turn::CommitMessage), self.allowance())
        else {
            return RunEnd::Well;
        };
        if self.shared.stop.is_asked() {
            return RunEnd::Well;
        }
        let turns = allowance.turns.map_or(MESSAGE_TURNS, |left| left.min(MESSAGE_TURNS));
        let allowance = Allowance { turns: Some(turns), ..allowance };
        self.runner.wall = self.runner.wall.at_most(MESSAGE_TIME);
        let (words, exit) = (self.runner.last_words.take(), self.runner.exit);
        let ran = self.runner.run(&prompt, self.session.as_deref(), allowance).await;
        let answer = self.runner.last_words.take();
        self.message = answer.as_deref().and_then(|answer| message_in(answer, style));
        // The summary and the exit are those of the work.
        self.runner.last_words = words.or(answer);
        self.runner.exit = exit.or(self.runner.exit);
        match ran {
            Ok(Ran { end: RunEnd::Cancelled, .. }) => RunEnd::Cancelled,
            Ok(Ran { end: RunEnd::Badly(_, failure), .. }) | Err(failure) => {
                self.runner.warn(format!("no commit message could be had: {}", failure.message));
                RunEnd::Well
            }
            // Stopped with the agent, too: the work is done, only its message is missing, and the title stands in.
            Ok(_) => RunEnd::Well,
        }
    }
}

fn verify_failed(round: u32, failed: &[VerifyReport], limit: Option<&str>) -> Failure {
    let names: Vec<&str> = failed.iter().map(|report| report.command.as_str()).collect();
    let why = limit.map(|limit| format!("; {limit}")).unwrap_or_default();
    let message = format!("verify failed in round {round}: {}{why}", names.join("; "));
    Failure::new(FailureKind::VerifyFailed, message)
}

/// Why the CLI did not take up its session: it ended before the session began, or the model has no room for it.
fn rejected(ran: &Ran) -> Option<String> {
    let RunEnd::Badly(_, failure) = &ran.end else { return None };
    let is_unknown = failure.kind == FailureKind::Crashed && !ran.has_begun;
    let is_too_long = failure.kind == FailureKind::ContextTooLong;
    (!ran.was_stopped && (is_unknown || is_too_long)).then(|| failure.message.clone())
}

/// What follows a run.
enum Checked {
    /// The attempt is over; with its own end if that differs from the run's.
    Final(Option<RunEnd>),
    /// These commands failed.
    Red(Vec<VerifyReport>),
}

fn bad_prompt(error: PromptError) -> Failure {
    Failure::new(FailureKind::InvalidTasking, error.to_string())
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
