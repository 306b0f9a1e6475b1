//! Where a request is read and answered.

use std::sync::Arc;

use cloud_code_forge::Forge;
use cloud_code_intake::{Denial, Sender, SenderKind, help_text};
use cloud_code_model::{
    Ask, Command, ConfigKey, Intent, IntentRecord, Issue, IssueKey, ProjectPlan, TaskRecord, TaskState,
    Thread, ThreadFacts,
};
use cloud_code_task_schema::{BranchName, Mode};
use jiff::SignedDuration;

use super::super::facts::denial;
use super::super::projects::ServedProject;
use super::super::text::{self, Words};
use super::super::{Inner, says};
use super::work::Wish;
use super::{Acted, decides, needs_worktree};
use crate::queue::{numbered, waits_for_itself};
use crate::{Engine, EngineError};

/// How long the forge's word on who may holds. A request that waited longer for its turn is asked about again.
const WORD_HOLDS: SignedDuration = SignedDuration::from_secs(5);

/// How long an answer waits for what its author adds in a second comment. Shorter, and the agent goes on with half of it.
const SECOND_THOUGHT: SignedDuration = SignedDuration::from_secs(3);

pub(super) struct Desk<'a> {
    pub(super) inner: &'a Inner,
    pub(super) project: &'a ServedProject,
    pub(super) forge: &'a dyn Forge,
}

impl Desk<'_> {
    /// Does what is asked. `waiting` is what else is asked in the thread.
    pub(super) async fn act(
        &self,
        thread: Thread,
        record: &IntentRecord,
        waiting: &[IntentRecord],
    ) -> Result<Acted, EngineError> {
        let intent = &record.intent;
        let tasks = self.tasks(&thread).await?;
        // What needs the worktree asks when its turn has come.
        if decides(&intent.ask)
            && !needs_worktree(&intent.ask)
            && let Some(denial) = self.denied_since(record).await?
        {
            return Ok(Acted::Settled(denial.to_string()));
        }
        match &intent.ask {
            Ask::Mistake { message, hint } => {
                self.answer(intent, says::mistake(message, hint.as_deref()), "a mistake").await
            }
            Ask::Command { command } => self.command(thread, record, command, &tasks).await,
            Ask::Answer { text } => {
                // What somebody writes in two comments is one answer; the last one holds them all.
                let is_answer = |other: &&IntentRecord| matches!(other.intent.ask, Ask::Answer { .. });
                let last = waiting.iter().rfind(is_answer);
                if let Some(last) = last.filter(|last| last.intent.key != intent.key) {
                    return Ok(Acted::Settled(format!("told together with {}", last.intent.key)));
                }
                let is_known = self.inner.store.task_of_intent(&thread.project, &intent.key).await?.is_some();
                let asks = |task: &TaskRecord| matches!(task.state, TaskState::NeedsInput { .. });
                if !is_known && !tasks.last().is_some_and(asks) {
                    let text = format!(
                        "nothing waits for this answer any more. `{} …` asks for more work.",
                        self.prefix()
                    );
                    return self.answer(intent, text, "answered already").await;
                }
                if !is_known && self.may_be_added_to(record).await? {
                    return Ok(Acted::Waits);
                }
                self.work(thread, record, &tasks, Wish::edit(Words::said(text))).await
            }
            Ask::Changes { .. } | Ask::Line { .. } => {
                let words = text::of_review(self.forge, &thread, intent).await?;
                self.work(thread, record, &tasks, Wish::edit(words)).await
            }
            Ask::ChecksFailed { .. } => self.mend_checks(thread, record, &tasks).await,
            Ask::BaseConflict { .. } => self.mend_conflict(thread, record, &tasks).await,
        }
    }

    async fn command(
        &self,
        thread: Thread,
        record: &IntentRecord,
        command: &Command,
        tasks: &[TaskRecord],
    ) -> Result<Acted, EngineError> {
        let intent = &record.intent;
        let last = tasks.last();
        match command {
            Command::Run { base: Some(base), .. }
                if !tasks.is_empty() && self.is_other_base(&thread, base).await? =>
            {
                let text = format!(
                    "the work here began from another branch than {}, and cannot be moved. Nothing was started; ask again without `--base`.",
                    crate::words::code(base.as_str(), 200)
                );
                self.answer(intent, text, "another base").await
            }
            Command::Run { cli, model, base, budget, text } => {
                let (cli, model, base) = (cli.clone(), model.clone(), base.clone());
                let words = Words::said(text);
                let wish = Wish { cli, model, base, budget: *budget, ..Wish::edit(words) };
                self.work(thread, record, tasks, wish).await
            }
            Command::Plan { text } => {
                self.work(thread, record, tasks, Wish { mode: Mode::Plan, ..Wish::edit(Words::said(text)) })
                    .await
            }
            Command::Ask { text } => {
                self.work(thread, record, tasks, Wish { mode: Mode::Ask, ..Wish::edit(Words::said(text)) })
                    .await
            }
            Command::Handoff { cli, text } => match last {
                Some(last) if last.cli() == cli => {
                    let text =
                        format!("`{cli}` works on this already. Say what comes next without a hand-off.");
                    self.answer(intent, text, "no hand-off").await
                }
                Some(_) => {
                    let words = Words::said(if text.is_empty() { TAKE_OVER } else { text });
                    self.work(thread, record, tasks, Wish { cli: Some(cli.clone()), ..Wish::edit(words) })
                        .await
                }
                None => {
                    let text = format!(
                        "nothing was done here yet, so there is nothing to hand over. `{} run {cli}` begins.",
                        self.prefix()
                    );
                    self.answer(intent, text, "no hand-off").await
                }
            },
            Command::Retry => self.retry(thread, record, tasks).await,
            Command::Approve => self.approve(thread, record, tasks).await,
            Command::Reject { reason } => self.reject(thread, record, tasks, reason).await,
            Command::Cancel => self.cancel(&thread, record, tasks).await,
            Command::Config { key, value } => {
                let value = match says::checked_config(*key, value, !tasks.is_empty()) {
                    // Later tasks stay with the last one's CLI and model, unless somebody says otherwise.
                    Ok(None) if says::is_kept_by_tasks(*key) && !tasks.is_empty() => {
                        Some(says::DEFAULT.to_owned())
                    }
                    Ok(value) => value,
                    Err(why) => return self.answer(intent, why, "a mistake").await,
                };
                if let (ConfigKey::After, Some(numbers)) = (key, &value)
                    && let Some(circle) = self.circle(&thread, numbers).await?
                {
                    let text = format!("this issue would wait for itself, by way of #{circle}.");
                    return self.answer(intent, text, "a mistake").await;
                }
                let mut set = |facts: &mut ThreadFacts| match value.clone() {
                    Some(value) => drop(facts.config.insert(*key, value)),
                    None => drop(facts.config.remove(key)),
                };
                let thread = self.inner.store.change_thread(&thread.project, thread.number, &mut set).await?;
                if let (ConfigKey::Priority | ConfigKey::After, Some(thread), Some(last)) =
                    (key, &thread, last)
                {
                    // What waits already moves as well.
                    self.inner.store.put_place(&last.task.id, &self.place(thread).await?).await?;
                    self.inner.wakes.tasks.notify_one();
                }
                let text = says::config(&thread.map(|thread| thread.facts.config).unwrap_or_default());
                self.answer(intent, text, "a setting").await
            }
            Command::Status => {
                let text = match (&thread.written.comment_url, last) {
                    (Some(url), Some(last)) => format!("{}: {url}", says::stands(last)),
                    (None, Some(last)) => format!("{}.", says::stands(last)),
                    (_, None) => format!("nothing was asked for here yet. `{} run` begins.", self.prefix()),
                };
                self.answer(intent, text, "status").await
            }
            Command::Cost => self.answer(intent, says::costs(tasks), "cost").await,
            Command::Logs => {
                let text = match last {
                    Some(last) => says::logs(self.engine(last), last).await?,
                    None => "nothing has run here yet.".to_owned(),
                };
                self.answer(intent, text, "logs").await
            }
            Command::Help => {
                let text = format!("this can be said here:\n\n{}", help_text(self.prefix()));
                self.answer(intent, text, "help").await
            }
        }
    }

    /// Why who asked may not any more. Somebody who lost access while a request waited starts nothing.
    pub(super) async fn denied_since(&self, record: &IntentRecord) -> Result<Option<Denial>, EngineError> {
        let age = self.inner.clock.now().duration_since(record.received_at);
        if !decides(&record.intent.ask) || age < WORD_HOLDS {
            return Ok(None);
        }
        let actor = record.intent.actor.clone();
        let kind = match self.project.access.bots.contains(&actor.id) {
            true => SenderKind::Bot,
            false => SenderKind::User,
        };
        denial(self.forge, self.project, &Sender { actor, kind }).await
    }

    /// Whether nothing has come of a request yet.
    pub(super) async fn is_waiting(&self, intent: &Intent) -> Result<bool, EngineError> {
        let known = self.inner.store.intent(&self.project.name, &intent.key).await?;
        Ok(known.is_some_and(|record| record.outcome.is_none()))
    }

    async fn is_other_base(&self, thread: &Thread, base: &BranchName) -> Result<bool, EngineError> {
        Ok(self.live_issue(thread).await?.is_some_and(|issue| issue.base != *base))
    }

    /// Whether its author's second comment may still come, or has come and was not read yet.
    async fn may_be_added_to(&self, record: &IntentRecord) -> Result<bool, EngineError> {
        let until = record.received_at + SECOND_THOUGHT;
        Ok(self.inner.clock.now() < until || self.inner.has_unread(until).await?)
    }

    pub(super) async fn answer(
        &self,
        intent: &Intent,
        body: String,
        outcome: &str,
    ) -> Result<Acted, EngineError> {
        self.inner.reply(&self.project.name, intent, body).await?;
        Ok(Acted::Settled(outcome.to_owned()))
    }

    pub(super) async fn tasks(&self, thread: &Thread) -> Result<Vec<TaskRecord>, EngineError> {
        match &thread.facts.issue {
            Some(issue) => Ok(self.inner.store.tasks_of(&thread.project, issue).await?),
            None => Ok(Vec::new()),
        }
    }

    /// The issue by way of which this one would wait for itself if it waited for these.
    async fn circle(&self, thread: &Thread, numbers: &str) -> Result<Option<IssueKey>, EngineError> {
        let (store, project) = (self.inner.store.as_ref(), &self.project.name);
        let depends_on = numbered(store, project, thread.number, numbers).await?;
        let own = thread.facts.issue.clone().or_else(|| thread.number.to_string().parse().ok());
        match own {
            Some(own) => waits_for_itself(store, project, &own, &depends_on).await,
            None => Ok(None),
        }
    }

    /// Our issue of the thread, unless its workspace is gone: what comes next then begins anew.
    pub(super) async fn live_issue(&self, thread: &Thread) -> Result<Option<Issue>, EngineError> {
        let Some(key) = &thread.facts.issue else { return Ok(None) };
        let issue = self.inner.store.issue(&thread.project, key).await?;
        Ok(issue.filter(|issue| issue.cleaned_at.is_none()))
    }

    pub(super) fn prefix(&self) -> &str {
        &self.project.triggers.prefix
    }

    pub(super) fn engine_of(&self, plan: &ProjectPlan) -> &Arc<Engine> {
        self.inner.engines.of(plan.runtime)
    }

    pub(super) fn engine(&self, task: &TaskRecord) -> &Engine {
        self.inner.engines.of(task.task.plan.runtime)
    }
}

/// What a CLI is told that takes over without a word of its own.
const TAKE_OVER: &str = "Go on with this work until its goal is reached.\n\nAnother coding CLI worked on it before you; what it left is \
     described below. Look at what is there first.";
