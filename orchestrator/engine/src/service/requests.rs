//! From a request to a task, or to an answer. One thread's requests are worked on in their order; those that need the
//! worktree wait for the task that has it.

use std::sync::Arc;

use cloud_code_forge::{Forge, ForgeError, OpenState, PullFacts};
use cloud_code_intake::help_text;
use cloud_code_model::{
    Ask, Command, ConfigKey, Intent, IntentRecord, Issue, Place, ProjectName, ProjectPlan, PullState,
    TaskEvent, TaskRecord, TaskState, Thread, reads_only,
};
use cloud_code_store::{ForgeStore, Store, StoreError};
use cloud_code_task_schema::{CliName, FailureKind, Mode};
use futures_util::{StreamExt, stream};

use super::projects::ServedProject;
use super::text::{self, Words};
use super::{Inner, says};
use crate::catch_up::conflict_words;
use crate::follow_up::FollowUpRequest;
use crate::open::{Origin, RunRequest, Uncommitted};
use crate::{Engine, EngineError};

/// How many threads' requests are worked on at one time: opening an issue fetches its repository.
const AT_ONCE: usize = 4;

pub(super) async fn look(inner: Arc<Inner>) -> Result<(), EngineError> {
    let mut threads: Vec<(ProjectName, u64, Vec<IntentRecord>)> = Vec::new();
    for record in inner.store.waiting_intents().await? {
        let thread = inner.thread(&record.project, record.intent.number).await?;
        let number = thread.map_or(record.intent.number, |thread| thread.number);
        match threads.iter_mut().find(|(project, n, _)| *project == record.project && *n == number) {
            Some((_, _, records)) => records.push(record),
            None => threads.push((record.project.clone(), number, vec![record])),
        }
    }
    stream::iter(threads)
        .for_each_concurrent(AT_ONCE, |(project, number, records)| {
            let inner = &inner;
            async move {
                if let Err(error) = in_thread(inner, &project, number, records).await {
                    tracing::warn!(
                        project = %project, issue.number = number, error = %error.chain(),
                        "a request has to wait"
                    );
                }
            }
        })
        .await;
    Ok(())
}

/// What became of a request.
enum Acted {
    /// Something, for the log.
    Settled(String),
    /// A task has the worktree.
    Waits,
}

async fn in_thread(
    inner: &Inner,
    name: &ProjectName,
    number: u64,
    records: Vec<IntentRecord>,
) -> Result<(), EngineError> {
    let Some(project) = inner.projects.get(name) else { return Ok(()) };
    let forge = inner.projects.forge(&project).await?;
    let desk = Desk { inner, project: &project, forge: forge.as_ref() };
    let mut is_busy = false;
    for record in records {
        let intent = &record.intent;
        if is_busy && needs_worktree(&intent.ask) {
            continue;
        }
        // Settled meanwhile: the issue was closed, a `cancel` took it back.
        let is_waiting = inner.store.intent(name, &intent.key).await?.is_some_and(|r| r.outcome.is_none());
        if !is_waiting {
            continue;
        }
        let thread = match desk.inner.thread_or_new(&project, forge.as_ref(), number).await {
            // Deleted before we looked: there is nowhere to answer.
            Err(EngineError::Forge(error @ (ForgeError::NotFound { .. } | ForgeError::Gone { .. }))) => {
                inner.store.settle_intent(name, &intent.key, &error.to_string(), inner.clock.now()).await?;
                continue;
            }
            thread => thread?,
        };
        let acted = match desk.act(thread, intent).await {
            Ok(acted) => acted,
            Err(error) if can_pass(&error) => return Err(error),
            Err(error) => {
                inner.reply(name, intent, says::not_begun(&error, &project.triggers.prefix)).await?;
                Acted::Settled(error.chain())
            }
        };
        match acted {
            Acted::Settled(outcome) => {
                tracing::info!(project = %name, intent.key = intent.key, outcome, "a request was settled");
                inner.store.settle_intent(name, &intent.key, &outcome, inner.clock.now()).await?;
            }
            Acted::Waits => is_busy = true,
        }
        inner.touch(name, number);
    }
    Ok(())
}

/// Whether the same request may succeed later without anybody asking again.
pub(super) fn can_pass(error: &EngineError) -> bool {
    match error {
        EngineError::Forge(error) => error.can_pass(),
        EngineError::Store(_) | EngineError::DiskFull { .. } | EngineError::Job(_) => true,
        error => error.is_unreachable(),
    }
}

fn needs_worktree(ask: &Ask) -> bool {
    match ask {
        Ask::Command { command } => match command {
            Command::Run { .. } | Command::Plan { .. } | Command::Ask { .. } => true,
            Command::Retry | Command::Handoff { .. } => true,
            Command::Approve | Command::Reject { .. } | Command::Cancel => false,
            Command::Status | Command::Config { .. } | Command::Cost | Command::Logs | Command::Help => false,
        },
        Ask::Changes { .. } | Ask::Line { .. } | Ask::ChecksFailed { .. } => true,
        Ask::BaseConflict { .. } => true,
        Ask::Mistake { .. } => false,
    }
}

/// What a task is to be.
struct Wish {
    mode: Mode,
    /// Somebody said yes to the plan of this work.
    is_approved: bool,
    /// Another CLI than the last one's.
    cli: Option<CliName>,
    model: Option<String>,
    base: Option<cloud_code_task_schema::BranchName>,
    budget: Option<cloud_code_task_schema::Usd>,
    words: Words,
}

struct Desk<'a> {
    inner: &'a Inner,
    project: &'a ServedProject,
    forge: &'a dyn Forge,
}

impl Desk<'_> {
    async fn act(&self, thread: Thread, intent: &Intent) -> Result<Acted, EngineError> {
        let tasks = self.tasks(&thread).await?;
        match &intent.ask {
            Ask::Mistake { message, hint } => {
                self.answer(intent, says::mistake(message, hint.as_deref()), "a mistake").await
            }
            Ask::Command { command } => self.command(thread, intent, command, &tasks).await,
            Ask::Changes { .. } | Ask::Line { .. } => {
                let words = text::of_review(self.forge, &thread, intent).await?;
                self.work(thread, intent, &tasks, Wish::edit(words)).await
            }
            Ask::ChecksFailed { .. } => self.mend_checks(thread, intent, &tasks).await,
            Ask::BaseConflict { .. } => self.mend_conflict(thread, intent, &tasks).await,
        }
    }

    async fn command(
        &self,
        mut thread: Thread,
        intent: &Intent,
        command: &Command,
        tasks: &[TaskRecord],
    ) -> Result<Acted, EngineError> {
        let last = tasks.last();
        match command {
            Command::Run { cli, model, base, budget, text } => {
                let (cli, model, base) = (cli.clone(), model.clone(), base.clone());
                let words = Words::said(text);
                let wish = Wish { cli, model, base, budget: *budget, ..Wish::edit(words) };
                self.work(thread, intent, tasks, wish).await
            }
            Command::Plan { text } => {
                self.work(thread, intent, tasks, Wish { mode: Mode::Plan, ..Wish::edit(Words::said(text)) })
                    .await
            }
            Command::Ask { text } => {
                self.work(thread, intent, tasks, Wish { mode: Mode::Ask, ..Wish::edit(Words::said(text)) })
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
                    self.work(thread, intent, tasks, Wish { cli: Some(cli.clone()), ..Wish::edit(words) })
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
            Command::Retry => self.retry(thread, intent, tasks).await,
            Command::Approve => self.approve(thread, intent, tasks).await,
            Command::Reject { reason } => self.reject(thread, intent, tasks, reason).await,
            Command::Cancel => self.cancel(&thread, intent, tasks).await,
            Command::Config { key, value } => {
                match says::checked_config(*key, value, !tasks.is_empty()) {
                    Ok(Some(value)) => thread.facts.config.insert(*key, value),
                    // Later tasks stay with the last one's CLI and model, unless somebody says otherwise.
                    Ok(None) if says::is_kept_by_tasks(*key) && !tasks.is_empty() => {
                        thread.facts.config.insert(*key, says::DEFAULT.to_owned())
                    }
                    Ok(None) => thread.facts.config.remove(key),
                    Err(why) => return self.answer(intent, why, "a mistake").await,
                };
                self.inner.store.put_thread(&thread.project, thread.number, &thread.facts).await?;
                let text = says::config(&thread.facts.config);
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

    /// Work that needs the worktree: the first task of a new issue, or the next one of ours.
    async fn work(
        &self,
        mut thread: Thread,
        intent: &Intent,
        tasks: &[TaskRecord],
        mut wish: Wish,
    ) -> Result<Acted, EngineError> {
        let name = &self.project.name;
        if let Some(task) = self.inner.store.task_of_intent(name, &intent.key).await? {
            // We were killed between making the task and noting it.
            self.note_issue(&mut thread, task.task.issue.clone()).await?;
            return Ok(self.begun(&task));
        }
        if tasks.last().is_some_and(|last| !last.state.status().is_terminal()) {
            return Ok(Acted::Waits);
        }
        if thread.facts.is_closed && thread.facts.subject == cloud_code_model::Subject::Issue {
            // Word of its reopening may be on its way still.
            if self.forge.issue(thread.number).await?.state == OpenState::Closed {
                let text = "this issue is closed. Reopen it, then ask again.".to_owned();
                return self.answer(intent, text, "closed").await;
            }
            thread.facts.is_closed = false;
        }
        if self.is_taken_back(intent).await? {
            return Ok(Acted::Settled("its comment was deleted".to_owned()));
        }
        let has_worked = tasks.iter().any(|task| !reads_only(task.task.mode));
        if self.project.plan.publish.plan_first && !has_worked && !wish.is_approved && wish.mode == Mode::Edit
        {
            wish.mode = Mode::Plan;
        }
        if !matches!(intent.ask, Ask::ChecksFailed { .. } | Ask::BaseConflict { .. }) {
            thread.facts.requester = Some(intent.actor.clone());
            thread.facts.check_rounds = 0;
        }
        let issue = self.live_issue(&thread).await?;
        let made = match issue {
            Some(issue) => self.follow_up(&mut thread, intent, tasks, issue, wish).await,
            None => self.open(&mut thread, intent, wish).await,
        };
        match made {
            Ok(task) => {
                self.note_issue(&mut thread, task.task.issue.clone()).await?;
                self.inner.wakes.tasks.notify_one();
                Ok(self.begun(&task))
            }
            // Another look was faster; the next one finds its task.
            Err(EngineError::Store(StoreError::Exists { .. } | StoreError::NotOpen { .. })) => {
                Ok(Acted::Waits)
            }
            Err(EngineError::StillOpen { .. } | EngineError::BeingStopped { .. }) => Ok(Acted::Waits),
            Err(error) => Err(error),
        }
    }

    fn begun(&self, task: &TaskRecord) -> Acted {
        Acted::Settled(format!("task {}", task.task.id))
    }

    async fn note_issue(
        &self,
        thread: &mut Thread,
        issue: cloud_code_model::IssueKey,
    ) -> Result<(), EngineError> {
        thread.facts.issue = Some(issue);
        Ok(self.inner.store.put_thread(&thread.project, thread.number, &thread.facts).await?)
    }

    async fn open(
        &self,
        thread: &mut Thread,
        intent: &Intent,
        wish: Wish,
    ) -> Result<TaskRecord, EngineError> {
        let issue = self.forge.issue(thread.number).await?;
        let mut plan = self.plan(thread, &wish, None)?;
        plan.base = wish.base.clone().or(plan.base);
        let mut base_sha = None;
        if issue.is_pull_request {
            let pull = self.forge.pull(thread.number).await?;
            base_sha = Some(intent.head_sha.clone().unwrap_or_else(|| pull.head_sha.clone()));
            plan.base = Some(base_of(&pull)?);
        }
        let repository = self.forge.repository().await?;
        if repository.archived {
            return Err(ForgeError::Archived.into());
        }
        plan.repo = repository.clone_url;
        if plan.base.is_none() {
            plan.base = repository.default_branch.parse().ok();
        }
        // Whoever wrote the pull request wrote these files as well, and the CLI would obey them.
        let settings_from = issue.is_pull_request.then(|| repository.default_branch.parse().ok()).flatten();
        let rules = self.inner.projects.rules(self.project, self.forge).await?;
        let told = text::of_issue(self.project, self.forge, &rules, &issue, intent, &wish.words).await?;
        thread.facts.left_out = told.left_out;
        let request = RunRequest {
            project: self.project.name.clone(),
            plan,
            text: told.text,
            mode: wish.mode,
            branch: None,
            origin: Some(Origin {
                number: thread.number,
                title: told.title,
                brief: told.brief,
                intent: intent.key.clone(),
                base_sha,
                settings_from,
            }),
            uncommitted: Uncommitted::LeaveOut,
            requested_by: Some(intent.actor.login.clone()),
        };
        self.engine_of(&request.plan).open(request).await
    }

    async fn follow_up(
        &self,
        thread: &mut Thread,
        intent: &Intent,
        tasks: &[TaskRecord],
        issue: Issue,
        wish: Wish,
    ) -> Result<TaskRecord, EngineError> {
        let plan = self.plan(thread, &wish, tasks.last())?;
        let rules = self.inner.projects.rules(self.project, self.forge).await?;
        let source = text::Since { inner: self.inner, thread, tasks };
        let told = text::of_follow_up(&source, self.project, self.forge, &rules, intent, &wish.words).await?;
        thread.facts.left_out = told.left_out;
        let engine = self.engine_of(&plan).clone();
        let request = FollowUpRequest {
            issue,
            plan,
            text: told.text,
            mode: wish.mode,
            requested_by: Some(intent.actor.login.clone()),
            intent: Some(intent.key.clone()),
            brief: told.brief,
        };
        engine.follow_up(request).await
    }

    /// What a task runs with: the project's settings as they are now, what the issue says otherwise, then the request.
    /// A follow-up stays with its CLI, model and image unless another CLI takes over.
    fn plan(
        &self,
        thread: &Thread,
        wish: &Wish,
        last: Option<&TaskRecord>,
    ) -> Result<ProjectPlan, EngineError> {
        let mut plan = self.project.plan.clone();
        let config = &thread.facts.config;
        let set = match config.get(&ConfigKey::Cli).map(String::as_str) {
            Some(says::DEFAULT) => Some(plan.cli.clone()),
            Some(cli) => cli.parse::<CliName>().ok(),
            None => None,
        };
        let stays = last.map(|last| last.cli().clone());
        if let Some(cli) = wish.cli.clone().or(set).or(stays)
            && cli != plan.cli
        {
            // What belongs to the project's own CLI does not go along; its address neither, nor the key with it.
            plan = ProjectPlan { cli, model: None, image: None, base_url: None, command: None, ..plan };
        }
        if let Some(last) = last {
            plan.repo = last.task.plan.repo.clone();
            plan.base = last.task.plan.base.clone();
            let is_reset = config.get(&ConfigKey::Model).is_some_and(|model| model == says::DEFAULT);
            if *last.cli() == plan.cli && !is_reset {
                plan.model = last.task.plan.model.clone();
            }
        }
        let set = config.get(&ConfigKey::Model).filter(|model| *model != says::DEFAULT);
        if let Some(model) = wish.model.as_ref().or(set) {
            plan.model = Some(model.clone());
        }
        if let Some(base) = config.get(&ConfigKey::Base).filter(|_| last.is_none()) {
            plan.base = base.parse().ok();
        }
        let budget = wish.budget.or(config.get(&ConfigKey::Budget).and_then(|budget| says::amount(budget)));
        plan.limits.max_cost_usd = budget.or(plan.limits.max_cost_usd);
        if let Some(timeout) = config.get(&ConfigKey::Timeout).and_then(|timeout| timeout.parse().ok()) {
            plan.limits.timeout = timeout;
        }
        self.engine_of(&plan).settings().catalog.manifest_for(&plan)?;
        Ok(plan)
    }

    async fn retry(
        &self,
        thread: Thread,
        intent: &Intent,
        tasks: &[TaskRecord],
    ) -> Result<Acted, EngineError> {
        let Some(last) = tasks.last() else {
            let text = format!("nothing was tried here yet. `{} run` begins.", self.prefix());
            return self.answer(intent, text, "nothing to retry").await;
        };
        let why = match &last.state {
            TaskState::Failed { failure, head: Some(_) } if failure.kind == FailureKind::PublishRefused => {
                // The work is done; only its publication is tried again.
                self.inner.store.transition(last, TaskEvent::Retried, self.inner.clock.now()).await?;
                self.inner.wakes.tasks.notify_one();
                return Ok(Acted::Settled("published again".into()));
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
        let wish = Wish { mode: last.task.mode, ..Wish::edit(words) };
        self.work(thread, intent, tasks, wish).await
    }

    async fn approve(
        &self,
        thread: Thread,
        intent: &Intent,
        tasks: &[TaskRecord],
    ) -> Result<Acted, EngineError> {
        let waited = self.has_waited(intent, decided(tasks)).await?;
        match decided(tasks) {
            Some(last) if matches!(last.state, TaskState::AwaitingApproval { .. }) && waited => {
                self.inner.store.transition(last, TaskEvent::Approved, self.inner.clock.now()).await?;
                self.inner.wakes.tasks.notify_one();
                Ok(Acted::Settled(format!("approved by {}", intent.actor.login)))
            }
            // Our own task of before a kill.
            Some(last) if last.task.intent.as_deref() == Some(&intent.key) => Ok(self.begun(last)),
            Some(last) if is_plan(last) && waited => {
                let words = Words::said("The plan is approved. Carry it out.");
                let budget = last.task.plan.limits.max_cost_usd;
                let wish = Wish { is_approved: true, budget, ..Wish::edit(words) };
                self.work(thread, intent, tasks, wish).await
            }
            Some(_) | None => {
                self.answer(intent, "nothing here waits for a yes.".to_owned(), "nothing to approve").await
            }
        }
    }

    async fn reject(
        &self,
        mut thread: Thread,
        intent: &Intent,
        tasks: &[TaskRecord],
        reason: &str,
    ) -> Result<Acted, EngineError> {
        let last = decided(tasks);
        let waited = self.has_waited(intent, last).await?;
        let Some(last) = last else {
            return self
                .answer(intent, "nothing here waits for a yes.".to_owned(), "nothing to reject")
                .await;
        };
        let mode = match &last.state {
            TaskState::AwaitingApproval { .. } if waited => {
                self.inner.store.transition(last, TaskEvent::Declined, self.inner.clock.now()).await?;
                if reason.is_empty() {
                    return Ok(Acted::Settled(format!("rejected by {}", intent.actor.login)));
                }
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
                    thread.facts.declined = Some(last.task.id.clone());
                    self.inner.store.put_thread(&thread.project, thread.number, &thread.facts).await?;
                    return Ok(Acted::Settled(format!("the plan was rejected by {}", intent.actor.login)));
                }
                Mode::Plan
            }
            _ if last.task.intent.as_deref() != Some(&intent.key) => {
                return self
                    .answer(intent, "nothing here waits for a yes.".to_owned(), "nothing to reject")
                    .await;
            }
            _ => return Ok(self.begun(last)),
        };
        let tasks = self.tasks(&thread).await?;
        let words = Words::said(&format!("This was not accepted: {reason}"));
        self.work(thread, intent, &tasks, Wish { mode, ..Wish::edit(words) }).await
    }

    /// Whether the comment that asks is gone. The delivery that says so may come after the one that asks, or with it.
    async fn is_taken_back(&self, intent: &Intent) -> Result<bool, EngineError> {
        let Place::Comment { id } = intent.place else { return Ok(false) };
        Ok(!self.forge.has_comment(id).await?)
    }

    /// Whether a yes or no was given to what waits now: one that came before says nothing about work that nobody had seen.
    async fn has_waited(&self, intent: &Intent, task: Option<&TaskRecord>) -> Result<bool, EngineError> {
        let heard = self.inner.store.intent(&self.project.name, &intent.key).await?;
        let heard = heard.map(|record| record.received_at);
        Ok(task.zip(heard).is_some_and(|(task, heard)| heard >= task.updated_at))
    }

    async fn cancel(
        &self,
        thread: &Thread,
        intent: &Intent,
        tasks: &[TaskRecord],
    ) -> Result<Acted, EngineError> {
        let now = self.inner.clock.now();
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
        match tasks.last() {
            Some(last) if !last.state.status().is_terminal() => {
                self.inner.store.request_cancel(&last.task.id, now).await?;
                self.inner.wakes.tasks.notify_one();
                Ok(Acted::Settled("cancelled".into()))
            }
            Some(_) | None if dropped > 0 => Ok(Acted::Settled("waiting requests were dropped".into())),
            Some(_) | None => self.answer(intent, "nothing runs here.".to_owned(), "nothing to cancel").await,
        }
    }

    /// A failing check of our own pull request goes back to the CLI, a bounded number of times.
    async fn mend_checks(
        &self,
        mut thread: Thread,
        intent: &Intent,
        tasks: &[TaskRecord],
    ) -> Result<Acted, EngineError> {
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
        if thread.facts.check_rounds >= most {
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
        let known = self.inner.store.task_of_intent(&thread.project, &intent.key).await?.is_some();
        let words = text::of_checks(self.forge, head_sha).await?;
        let Some(words) = words else { return Ok(Acted::Settled("no check fails any more".into())) };
        if !known {
            thread.facts.check_rounds += 1;
        }
        self.work(thread, intent, tasks, Wish::edit(words)).await
    }

    /// Work that conflicts with its base goes back to the CLI, once for each commit of the base.
    async fn mend_conflict(
        &self,
        thread: Thread,
        intent: &Intent,
        tasks: &[TaskRecord],
    ) -> Result<Acted, EngineError> {
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
                return Ok(Acted::Settled("nothing conflicts any more".into()));
            };
            let words = Words::said(&conflict_words(&issue.base, &conflict));
            return self.work(thread, intent, tasks, Wish::edit(words)).await;
        }
        self.work(thread, intent, tasks, Wish::edit(Words::said(""))).await
    }

    async fn answer(&self, intent: &Intent, body: String, outcome: &str) -> Result<Acted, EngineError> {
        self.inner.reply(&self.project.name, intent, body).await?;
        Ok(Acted::Settled(outcome.to_owned()))
    }

    async fn tasks(&self, thread: &Thread) -> Result<Vec<TaskRecord>, EngineError> {
        match &thread.facts.issue {
            Some(issue) => Ok(self.inner.store.tasks_of(&thread.project, issue).await?),
            None => Ok(Vec::new()),
        }
    }

    /// Our issue of the thread, unless its workspace is gone: what comes next then begins anew.
    async fn live_issue(&self, thread: &Thread) -> Result<Option<Issue>, EngineError> {
        let Some(key) = &thread.facts.issue else { return Ok(None) };
        let issue = self.inner.store.issue(&thread.project, key).await?;
        Ok(issue.filter(|issue| issue.cleaned_at.is_none()))
    }

    fn prefix(&self) -> &str {
        &self.project.triggers.prefix
    }

    fn engine_of(&self, plan: &ProjectPlan) -> &Arc<Engine> {
        self.inner.engines.of(plan.runtime)
    }

    fn engine(&self, task: &TaskRecord) -> &Engine {
        self.inner.engines.of(task.task.plan.runtime)
    }
}

/// What a CLI is told that takes over without a word of its own.
const TAKE_OVER: &str = "Go on with this work until its goal is reached.\n\nAnother coding CLI worked on it before you; what it left is \
     described below. Look at what is there first.";

impl Wish {
    fn edit(words: Words) -> Self {
        Self { mode: Mode::Edit, is_approved: false, cli: None, model: None, base: None, budget: None, words }
    }
}

/// The task that a yes or no is about: questions that were asked in between decide nothing.
fn decided(tasks: &[TaskRecord]) -> Option<&TaskRecord> {
    tasks.iter().rev().find(|task| task.task.mode != Mode::Ask)
}

fn is_plan(task: &TaskRecord) -> bool {
    task.task.mode == Mode::Plan && matches!(task.state, TaskState::Done { .. })
}

/// The branch that work on somebody's pull request starts from. A fork's is out of our reach: nothing can be pushed there,
/// and its commits are strangers'.
fn base_of(pull: &PullFacts) -> Result<cloud_code_task_schema::BranchName, EngineError> {
    if !pull.same_repository {
        return Err(EngineError::PullFromFork { number: pull.number });
    }
    pull.head_branch.parse().map_err(|_| EngineError::BranchUnfit {
        branch: pull.head_branch.clone(),
        why: "its name holds what git and shells could misread".to_owned(),
    })
}
