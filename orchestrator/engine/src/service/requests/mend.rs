//! Work that nobody asked for by hand: a failing check, a conflict with the base.

use cloud_code_model::{Ask, IntentRecord, Place, PullState, TaskRecord, Thread};

use super::super::says;
use super::super::text::{self, Words};
use super::Acted;
use super::desk::Desk;
use super::work::Wish;
use crate::EngineError;
use crate::catch_up::conflict_words;

impl Desk<'_> {
    /// A failing check of our own pull request goes back to the CLI, a bounded number of times.
    pub(super) async fn mend_checks(
        &self,
        thread: Thread,
        record: &IntentRecord,
        tasks: &[TaskRecord],
    ) -> Result<Acted, EngineError> {
        let intent = &record.intent;
        let Place::Check { head_sha } = &intent.place else { return Ok(Acted::Settled("no commit".into())) };
        let pull = thread.published.pull.clone();
        let is_current = pull.as_ref().is_some_and(|p| p.state == PullState::Open && p.head_sha == *head_sha);
        if !is_current || thread.facts.is_closed {
            return Ok(Acted::Settled("the checks are of an older commit".into()));
        }
        if tasks.last().is_some_and(|last| !last.state.status().is_terminal()) {
            return Ok(Acted::Waits);
        }
        let most = self.project.triggers.failing_check_rounds;
        if self.rounds(tasks, |ask| matches!(ask, Ask::ChecksFailed { .. })).await? >= most {
            let pull = pull.map(|pull| pull.number).unwrap_or(thread.number);
            let at =
                thread.facts.requester.as_ref().map(|actor| format!("@{} ", actor.login)).unwrap_or_default();
            let note = cloud_code_model::Note {
                project: thread.project.clone(),
                key: intent.key.clone(),
                number: pull,
                place: Place::Issue,
                body: format!(
                    "{at}a check of this pull request fails still, after {} by itself. Somebody should look at it; \
                     `{} what to do` goes on.",
                    says::rounds(most),
                    self.prefix()
                ),
                created_at: self.inner.clock.now(),
            };
            self.inner.store.put_note(&note).await?;
            return Ok(Acted::Settled("no round is left".into()));
        }
        let words = text::of_checks(self.forge, head_sha).await?;
        let Some(words) = words else { return Ok(Acted::Settled("no check fails any more".into())) };
        self.work(thread, record, tasks, Wish::edit(words)).await
    }

    /// Work that conflicts with its base goes back to the CLI, once for each commit of the base.
    pub(super) async fn mend_conflict(
        &self,
        thread: Thread,
        record: &IntentRecord,
        tasks: &[TaskRecord],
    ) -> Result<Acted, EngineError> {
        let intent = &record.intent;
        let Some(last) = tasks.last() else { return Ok(Acted::Settled("nothing was done".into())) };
        if self.inner.store.task_of_intent(&thread.project, &intent.key).await?.is_none() {
            if !last.state.status().is_terminal() {
                return Ok(Acted::Waits);
            }
            let pull = thread.published.pull.clone().filter(|pull| pull.state == PullState::Open);
            let (Some(pull), Some(issue)) = (pull, self.live_issue(&thread).await?) else {
                return Ok(Acted::Settled("there is no open pull request".into()));
            };
            let engine = self.engine_of(&last.task.plan);
            let found = engine.conflict(&self.project.repository, &issue, &pull.head_sha).await?;
            let Some(conflict) = found else {
                return Ok(Acted::Settled("nothing is to be tried by itself".into()));
            };
            let words = Words::said(&conflict_words(&issue.base, &conflict));
            return self.work(thread, record, tasks, Wish::edit(words)).await;
        }
        self.work(thread, record, tasks, Wish::edit(Words::said(""))).await
    }

    /// How many tasks of a kind came since a person last asked for something. Counted from the tasks themselves, so that
    /// no kill makes one count twice or not at all.
    async fn rounds(&self, tasks: &[TaskRecord], is_one: fn(&Ask) -> bool) -> Result<u32, EngineError> {
        let mut rounds = 0;
        for task in tasks.iter().rev() {
            let Some(key) = &task.task.intent else { break };
            let Some(asked) = self.inner.store.intent(&self.project.name, key).await? else { break };
            match asked.intent.ask {
                ask if is_one(&ask) => rounds += 1,
                Ask::ChecksFailed { .. } | Ask::BaseConflict { .. } => {}
                _ => break,
            }
        }
        Ok(rounds)
    }
}
