//! A person's decisions about work: yes, no, again, not any more.

use cloud_code_model::{
    Intent, IntentRecord, Level, MergeWord, TaskEvent, TaskRecord, TaskState, Thread, ThreadFacts,
};
use cloud_code_task_schema::{FailureKind, Mode};

use super::super::text::Words;
use super::desk::Desk;
use super::merge_gate::OfMerge;
use super::work::Wish;
use super::{Acted, needs_worktree};
use crate::{EngineError, budget, seen};

/// What came of a `cancel` that found nothing but requests.
const DROPPED: &str = "waiting requests were dropped";

impl Desk<'_> {
    pub(super) async fn retry(
        &self,
        thread: Thread,
        record: &IntentRecord,
        tasks: &[TaskRecord],
    ) -> Result<Acted, EngineError> {
        let intent = &record.intent;
        let Some(last) = tasks.last() else {
            let text = format!("nothing was tried here yet. `{} run` begins.", self.prefix());
            return self.answer(intent, text, "nothing to retry").await;
        };
        let why = match &last.state {
            TaskState::Failed { failure, head: Some(_) } if failure.kind == FailureKind::PublishRefused => {
                // The work is done; only its publication is tried again.
                return self.decide(record, last, TaskEvent::Retried, "published again").await;
            }
            TaskState::Failed { failure, .. } => format!("It failed: {}.", failure.message),
            TaskState::Cancelled { .. } => "It was stopped.".to_owned(),
            state if state.status().is_terminal() => {
                let text = format!(
                    "the last task {}, so there is nothing to retry. Say what comes next.",
                    crate::words::how_it_ended(state)
                );
                return self.answer(intent, text, "nothing to retry").await;
            }
            _ => return Ok(Acted::Waits),
        };
        let words = Words::said(&format!("Try this again. {why}\n\n{}", last.task.description));
        // Under the limits of the one that failed: who gave it two dollars did not give four.
        let budget = last.task.plan.limits.max_cost_usd;
        let wish = Wish { mode: last.task.mode, budget, ..Wish::edit(words) };
        self.work(thread, record, tasks, wish).await
    }

    pub(super) async fn approve(
        &self,
        thread: Thread,
        record: &IntentRecord,
        tasks: &[TaskRecord],
    ) -> Result<Acted, EngineError> {
        let intent = &record.intent;
        let waited = has_waited(record, decided(tasks));
        if let Some(last) = tasks.last().filter(|last| has_waited(record, Some(last))) {
            if wants_budget(last) {
                return self.allow(record, last).await;
            }
            let levels = budget::levels(self.inner.store.as_ref(), last, self.inner.clock.now()).await?;
            if last.state == TaskState::Queued && levels.iter().any(Level::is_used_up) {
                let outcome = self.grant(record, last).await?;
                self.inner.wakes.tasks.notify_one();
                return Ok(Acted::Settled(outcome));
            }
        }
        match decided(tasks) {
            Some(last) if matches!(last.state, TaskState::AwaitingApproval { .. }) && waited => {
                let outcome = format!("approved by {}", intent.actor.login);
                self.decide(record, last, TaskEvent::Approved, &outcome).await
            }
            // Our own task of before a kill.
            Some(last) if last.task.intent.as_deref() == Some(&intent.key) => Ok(self.begun(last)),
            Some(last) if is_plan(last) && waited => {
                let words = Words::said("The plan is approved. Carry it out.");
                let budget = last.task.plan.limits.max_cost_usd;
                let wish = Wish { is_approved: true, budget, ..Wish::edit(words) };
                self.work(thread, record, tasks, wish).await
            }
            Some(_) | None => match self.say_of_merge(&thread, record, tasks, MergeWord::Yes).await? {
                OfMerge::Noted(outcome) => Ok(Acted::Settled(outcome)),
                OfMerge::Answered(acted) => Ok(acted),
                OfMerge::Nothing => {
                    self.answer(intent, "nothing here waits for a yes.".to_owned(), "nothing to approve")
                        .await
                }
            },
        }
    }

    pub(super) async fn reject(
        &self,
        thread: Thread,
        record: &IntentRecord,
        tasks: &[TaskRecord],
        reason: &str,
    ) -> Result<Acted, EngineError> {
        let intent = &record.intent;
        let last = decided(tasks);
        let waited = has_waited(record, last);
        let Some(last) = last else {
            return self
                .answer(intent, "nothing here waits for a yes.".to_owned(), "nothing to reject")
                .await;
        };
        let mode = match &last.state {
            TaskState::OverBudget { .. } if waited => {
                let outcome = format!("rejected by {}", intent.actor.login);
                return self.decide(record, last, TaskEvent::Declined, &outcome).await;
            }
            TaskState::AwaitingApproval { .. } if waited => {
                if reason.is_empty() {
                    let outcome = format!("rejected by {}", intent.actor.login);
                    return self.decide(record, last, TaskEvent::Declined, &outcome).await;
                }
                let event = TaskEvent::Declined;
                let declined = self.inner.store.transition(last, event, self.inner.clock.now()).await?;
                seen::moved(last, &declined);
                Mode::Edit
            }
            // Declined before a kill, and the next task is still to be made.
            TaskState::Cancelled { head: Some(_) }
                if !reason.is_empty() && last.task.plan.publish.approval =>
            {
                Mode::Edit
            }
            TaskState::Done { .. } if is_plan(last) && waited => {
                if reason.is_empty() {
                    let mut note = |facts: &mut ThreadFacts| facts.declined = Some(last.task.id.clone());
                    self.inner.store.change_thread(&thread.project, thread.number, &mut note).await?;
                    return Ok(Acted::Settled(format!("the plan was rejected by {}", intent.actor.login)));
                }
                Mode::Plan
            }
            _ if last.task.intent.as_deref() != Some(&intent.key) => {
                match self.say_of_merge(&thread, record, tasks, MergeWord::No).await? {
                    // What is to change goes back to the CLI, as at the other gates.
                    OfMerge::Noted(_) if !reason.is_empty() => Mode::Edit,
                    OfMerge::Noted(outcome) => return Ok(Acted::Settled(outcome)),
                    OfMerge::Answered(acted) => return Ok(acted),
                    OfMerge::Nothing => {
                        let text = "nothing here waits for a yes.".to_owned();
                        return self.answer(intent, text, "nothing to reject").await;
                    }
                }
            }
            _ => return Ok(self.begun(last)),
        };
        let tasks = self.tasks(&thread).await?;
        let words = Words::said(&format!("This was not accepted: {reason}"));
        self.work(thread, record, &tasks, Wish { mode, ..Wish::edit(words) }).await
    }

    pub(super) async fn cancel(
        &self,
        thread: &Thread,
        record: &IntentRecord,
        tasks: &[TaskRecord],
    ) -> Result<Acted, EngineError> {
        let (intent, now) = (&record.intent, self.inner.clock.now());
        let mut dropped = 0;
        for waiting in self.inner.store.waiting_intents().await? {
            let is_here = waiting.project == thread.project
                && (waiting.intent.number == thread.number || waiting.intent.number == intent.number);
            // What was said after the `cancel` is a new wish.
            if is_here && needs_worktree(&waiting.intent.ask) && waiting.intent.at <= intent.at {
                let why = format!("cancelled by {}", intent.actor.login);
                self.inner.store.settle_intent(&thread.project, &waiting.intent.key, &why, now).await?;
                dropped += 1;
            }
        }
        // A task that was being made a moment ago may stand there now; from here on there will be none.
        let tasks = match (dropped, self.inner.thread(&thread.project, thread.number).await?) {
            (1.., Some(thread)) => self.tasks(&thread).await?,
            _ => tasks.to_vec(),
        };
        let last = match tasks.last() {
            Some(last) if !self.is_after(last, intent).await? => Some(last),
            Some(_) | None => None,
        };
        match last {
            Some(last) if !last.state.status().is_terminal() => {
                self.inner.store.request_cancel(&last.task.id, now).await?;
                self.inner.wakes.tasks.notify_one();
                // Whether it came in time shows when the task has ended.
                match last.state {
                    TaskState::Importing { .. } | TaskState::Publishing { .. } => Ok(Acted::Waits),
                    _ => Ok(Acted::Settled("cancelled".into())),
                }
            }
            Some(last) if last.cancel_requested_at.is_some_and(|at| at >= record.received_at) => {
                match &last.state {
                    TaskState::Done { .. } => {
                        let text = "that came too late: the work was being published already.".to_owned();
                        self.answer(intent, text, "too late").await
                    }
                    _ => Ok(Acted::Settled("cancelled".into())),
                }
            }
            Some(_) if dropped > 0 => Ok(Acted::Settled(DROPPED.to_owned())),
            // No status comment tells it.
            None if dropped > 0 => {
                self.answer(intent, "taken back before anything began.".to_owned(), DROPPED).await
            }
            Some(_) | None => self.answer(intent, "nothing runs here.".to_owned(), "nothing to cancel").await,
        }
    }

    /// Whether a task was asked for after a request.
    async fn is_after(&self, task: &TaskRecord, intent: &Intent) -> Result<bool, EngineError> {
        let asked = match &task.task.intent {
            Some(key) => self.inner.store.intent(&self.project.name, key).await?,
            None => None,
        };
        Ok(asked.map_or(task.task.created_at, |asked| asked.intent.at) > intent.at)
    }

    /// Allows a task as much again of what it has used up, and lets it go on. Asked again after a kill in between, the grant
    /// is found by its key and counts once.
    async fn allow(&self, record: &IntentRecord, task: &TaskRecord) -> Result<Acted, EngineError> {
        let outcome = self.grant(record, task).await?;
        self.decide(record, task, TaskEvent::Granted, &outcome).await
    }

    async fn grant(&self, record: &IntentRecord, task: &TaskRecord) -> Result<String, EngineError> {
        let intent = &record.intent;
        let scopes = self.engine(task).grant(task, &intent.key, Some(&intent.actor.login)).await?;
        let (login, scopes) = (&intent.actor.login, scopes.iter().map(ToString::to_string));
        match scopes.collect::<Vec<_>>().join(" and ") {
            none if none.is_empty() => Ok(format!("approved by {login}; the budget had come back already")),
            scopes => Ok(format!("{login} allowed as much again of the budget of the {scopes}")),
        }
    }

    /// Moves a task because a request says so; the request is settled with it.
    async fn decide(
        &self,
        record: &IntentRecord,
        task: &TaskRecord,
        event: TaskEvent,
        outcome: &str,
    ) -> Result<Acted, EngineError> {
        let now = self.inner.clock.now();
        let decided = self.inner.store.decide(task, event, &record.intent.key, outcome, now).await?;
        seen::moved(task, &decided);
        self.inner.wakes.tasks.notify_one();
        Ok(Acted::Settled(outcome.to_owned()))
    }
}

/// Whether a yes or no was given to what waits now: one that came before says nothing about work that nobody had seen.
fn has_waited(record: &IntentRecord, task: Option<&TaskRecord>) -> bool {
    task.is_some_and(|task| record.received_at >= task.updated_at)
}

/// The task that a yes or no is about: questions that were asked in between decide nothing.
fn decided(tasks: &[TaskRecord]) -> Option<&TaskRecord> {
    tasks.iter().rev().find(|task| task.task.mode != Mode::Ask)
}

/// Whether a task stands still because a budget is used up.
fn wants_budget(task: &TaskRecord) -> bool {
    match &task.state {
        TaskState::OverBudget { .. } => true,
        TaskState::BackingOff { failure, .. } => failure.kind == FailureKind::Budget,
        _ => false,
    }
}

fn is_plan(task: &TaskRecord) -> bool {
    task.task.mode == Mode::Plan && matches!(task.state, TaskState::Done { .. })
}
