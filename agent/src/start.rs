//! What an attempt starts from: the task, what earlier attempts and earlier tasks left, and the session that goes on.

use std::collections::BTreeMap;

use cloud_code_task_schema::{CliName, ControlDir, Conversation, Task, TaskId, TaskReport, Usage};

use crate::parse::{clip_to, one_line};
use crate::prompt::{Step, Turn};

/// How far back a packet tells. More is rarely read, and each is paid for in every turn.
const MAX_STEPS: usize = 8;
/// What a packet keeps of a description and of a summary.
const MAX_STEP_TEXT_BYTES: usize = 4 * 1024;
/// How many commits of one task a packet names.
const MAX_STEP_COMMITS: usize = 20;

/// What an attempt starts from.
pub(crate) struct Start {
    pub(crate) task: Task,
    pub(crate) attempt: u32,
    pub(crate) aim: Aim,
    /// Whether an earlier attempt broke off.
    pub(crate) interrupted: bool,
    /// The CLI session that goes on.
    pub(crate) resume: Option<String>,
    /// What was asked and done in the tasks that this one continues, oldest first.
    pub(crate) earlier: Vec<Step>,
    /// What the report already says was used.
    pub(crate) known_usage: Usage,
    /// The commit the worktree stood on when the first attempt began.
    pub(crate) base: Option<String>,
    /// For people: why this is not a plain first attempt.
    pub(crate) warnings: Vec<String>,
}

/// What the attempt is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aim {
    /// To do the task.
    Work,
    /// To end, as cancelled, what an earlier agent left in the middle: its work is committed, the CLI does not run.
    Cancel,
}

impl Start {
    /// What the CLI is told first.
    pub(crate) fn opening(&self, resumed: bool) -> Turn<'_> {
        match (resumed, self.interrupted) {
            (true, true) => Turn::Interrupted,
            _ if self.task.handoff.is_some() => Turn::HandOff,
            (true, false) => Turn::FollowUp,
            (false, _) if !self.earlier.is_empty() => Turn::Packet(&self.earlier),
            (false, true) => Turn::Interrupted,
            (false, false) => Turn::Task,
        }
    }

    /// As the report says it.
    pub(crate) fn conversation(&self, resumed: bool) -> Conversation {
        match (self.task.continues.is_some(), resumed) {
            (true, true) => Conversation::Resumed,
            (true, false) if !self.earlier.is_empty() => Conversation::Packet,
            _ => Conversation::New,
        }
    }
}

/// Everything that is known when an attempt is prepared.
pub(crate) struct Known<'a> {
    pub(crate) control: &'a ControlDir,
    pub(crate) cli: &'a CliName,
    pub(crate) can_resume: bool,
    pub(crate) tasks: &'a [Task],
    pub(crate) reports: &'a BTreeMap<TaskId, TaskReport>,
    /// Left un-ended by an earlier agent.
    pub(crate) was_interrupted: bool,
}

impl Known<'_> {
    /// The start of a task's next attempt.
    pub(crate) fn start(&self, task: Task, aim: Aim) -> Start {
        let known = self.reports.get(&task.id);
        let mut start = Start {
            attempt: known.map_or(1, |report| report.attempt.max(1)),
            aim,
            interrupted: self.was_interrupted,
            resume: None,
            earlier: self.earlier(&task),
            known_usage: known.map(|report| report.usage.clone()).unwrap_or_default(),
            base: known.and_then(|report| report.base.clone()),
            warnings: Vec::new(),
            task,
        };
        let wanted = start.task.attempt;
        if known.is_some_and(|report| report.status.is_ended() && report.attempt < wanted) {
            start.warnings.push(format!("attempt {} ended; attempt {wanted} was asked for", start.attempt));
            start.interrupted = true;
        } else if start.interrupted {
            let warning =
                format!("attempt {} was not ended by the agent before; this is a new one", start.attempt);
            start.warnings.push(warning);
            start.attempt += 1;
        }
        start.attempt = start.attempt.max(wanted);
        // A log without a report: the agent died between the CLI's start and its first report.
        while self.control.log(&start.task.id, start.attempt).symlink_metadata().is_ok() {
            let warning = format!("attempt {} has a log but no report; this is a new one", start.attempt);
            start.warnings.push(warning);
            start.attempt += 1;
            start.interrupted = true;
        }
        start.resume = self.session(&mut start);
        start
    }

    /// The session that goes on, with a word for people where one would be expected and is not there.
    fn session(&self, start: &mut Start) -> Option<String> {
        let own = self.reports.get(&start.task.id).filter(|_| start.interrupted);
        let before = start.task.continues.as_ref();
        let report = own
            .filter(|report| report.session_id.is_some())
            .or_else(|| before.and_then(|id| self.reports.get(id)));
        if report.is_none() && before.is_none() {
            return None;
        }
        let instead = if start.earlier.is_empty() {
            "a new one begins"
        } else {
            "the prompt tells what was said and done"
        };
        let session = report.and_then(|report| report.session_id.clone());
        let owner = report.and_then(|report| report.cli.as_ref());
        let why_not = match (session, owner) {
            (None, _) => "the earlier session is not known".to_owned(),
            (Some(_), Some(other)) if other != self.cli => format!("the earlier session is one of {other}"),
            (Some(_), _) if !self.can_resume => "this CLI cannot resume a session".to_owned(),
            (Some(session), _) => return Some(session),
        };
        start.warnings.push(format!("{why_not}; {instead}"));
        None
    }

    /// The chain of tasks that this one continues, oldest first.
    fn earlier(&self, task: &Task) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut next = task.continues.as_ref();
        while let Some(id) = next
            && steps.len() < MAX_STEPS
        {
            let Some(task) = self.tasks.iter().find(|task| task.id == *id) else { break };
            if let Some(report) = self.reports.get(id) {
                steps.push(step(task, report));
            }
            next = task.continues.as_ref();
        }
        steps.reverse();
        steps
    }
}

fn step(task: &Task, report: &TaskReport) -> Step {
    let last_round = report.verify.iter().map(|check| check.round).max();
    let red =
        report.verify.iter().filter(|check| Some(check.round) == last_round && check.exit_code != Some(0));
    let hidden = report.commits.len().saturating_sub(MAX_STEP_COMMITS);
    let description = match task.description.trim() == task.title.trim() {
        true => String::new(),
        false => clip_to(task.description.trim(), MAX_STEP_TEXT_BYTES),
    };
    Step {
        title: one_line(&task.title),
        description,
        status: report.status.as_str().to_owned(),
        failure: report.failure.as_ref().map(|failure| one_line(&failure.message)),
        summary: report.summary.as_deref().map(|summary| clip_to(summary.trim(), MAX_STEP_TEXT_BYTES)),
        commits: report.commits.iter().skip(hidden).map(|commit| one_line(&commit.message)).collect(),
        failed_checks: red.map(|check| one_line(&check.command)).collect(),
        questions: report.questions.iter().map(|question| clip_to(question, MAX_STEP_TEXT_BYTES)).collect(),
    }
}
