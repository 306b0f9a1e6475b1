//! From a request to the task that does it.

use cloud_code_fault_points::{Point, reach};
use cloud_code_forge::{ForgeError, OpenState, PullFacts};
use cloud_code_model::{
    Ask, ConfigKey, Intent, IntentRecord, Issue, Place, ProjectPlan, QueuePlace, Subject, TaskRecord, Thread,
    ThreadFacts, reads_only,
};
use cloud_code_store::StoreError;
use cloud_code_task_schema::{BranchName, CliName, Mode, Usd};

use super::super::says;
use super::super::text::{self, Words};
use super::Acted;
use super::desk::Desk;
use crate::EngineError;
use crate::follow_up::FollowUpRequest;
use crate::open::{Origin, RunRequest, Uncommitted};
use crate::queue::awaited;

/// What a task is to be.
pub(super) struct Wish {
    pub(super) mode: Mode,
    /// Somebody said yes to the plan of this work.
    pub(super) is_approved: bool,
    /// Another CLI than the last one's.
    pub(super) cli: Option<CliName>,
    pub(super) model: Option<String>,
    pub(super) base: Option<BranchName>,
    pub(super) budget: Option<Usd>,
    pub(super) words: Words,
}

impl Wish {
    pub(super) fn edit(words: Words) -> Self {
        Self { mode: Mode::Edit, is_approved: false, cli: None, model: None, base: None, budget: None, words }
    }
}

impl Desk<'_> {
    /// Work that needs the worktree: the first task of a new issue, or the next one of ours.
    pub(super) async fn work(
        &self,
        thread: Thread,
        record: &IntentRecord,
        tasks: &[TaskRecord],
        mut wish: Wish,
    ) -> Result<Acted, EngineError> {
        let (name, intent) = (&self.project.name, &record.intent);
        if let Some(task) = self.inner.store.task_of_intent(name, &intent.key).await? {
            // We were killed between making the task and settling the request.
            return Ok(self.begun(&task));
        }
        if tasks.last().is_some_and(|last| !last.state.status().is_terminal()) {
            return Ok(Acted::Waits);
        }
        if thread.facts.is_closed && thread.facts.subject == Subject::Issue {
            // Word of its reopening may be on its way still.
            if self.forge.issue(thread.number).await?.state == OpenState::Closed {
                let text = "this issue is closed. Reopen it, then ask again.".to_owned();
                return self.answer(intent, text, "closed").await;
            }
            let mut open = |facts: &mut ThreadFacts| facts.is_closed = false;
            self.inner.store.change_thread(name, thread.number, &mut open).await?;
        }
        if let Some(denial) = self.denied_since(record).await? {
            return Ok(Acted::Settled(denial.to_string()));
        }
        if self.is_taken_back(intent).await? {
            return Ok(Acted::Settled("its comment was deleted".to_owned()));
        }
        let has_worked = tasks.iter().any(|task| !reads_only(task.task.mode));
        if self.project.plan.publish.plan_first && !has_worked && !wish.is_approved && wish.mode == Mode::Edit
        {
            wish.mode = Mode::Plan;
        }
        let issue = self.live_issue(&thread).await?;
        let made = match issue {
            Some(issue) => self.follow_up(&thread, intent, tasks, issue, wish).await,
            None => self.open(&thread, intent, wish).await,
        };
        match made {
            Ok(task) => {
                reach(Point::TaskMade).await;
                self.inner.wakes.tasks.notify_one();
                Ok(self.begun(&task))
            }
            // Another look was faster; the next one finds its task.
            Err(EngineError::Store(StoreError::Exists { .. } | StoreError::NotOpen { .. })) => {
                Ok(Acted::Waits)
            }
            // The issue was closed, a `cancel` took it back, or another worker was faster.
            Err(EngineError::Store(StoreError::Settled { .. })) => {
                Ok(Acted::Settled("settled meanwhile".to_owned()))
            }
            Err(EngineError::StillOpen { .. } | EngineError::BeingStopped { .. }) => Ok(Acted::Waits),
            Err(error) => Err(error),
        }
    }

    pub(super) fn begun(&self, task: &TaskRecord) -> Acted {
        Acted::Settled(begun(task))
    }

    /// Notes what is to be known of a task before it is made: done again after a kill it says the same.
    async fn note_request(
        &self,
        thread: &Thread,
        intent: &Intent,
        left_out: &[String],
    ) -> Result<(), EngineError> {
        let mut note = |facts: &mut ThreadFacts| {
            if !matches!(intent.ask, Ask::ChecksFailed { .. } | Ask::BaseConflict { .. }) {
                facts.requester = Some(intent.actor.clone());
            }
            facts.left_out = left_out.to_vec();
        };
        self.inner.store.change_thread(&thread.project, thread.number, &mut note).await?;
        reach(Point::ThreadNoted).await;
        Ok(())
    }

    async fn open(&self, thread: &Thread, intent: &Intent, wish: Wish) -> Result<TaskRecord, EngineError> {
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
        self.note_request(thread, intent, &told.left_out).await?;
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
            queue: self.place(thread).await?,
        };
        self.engine_of(&request.plan).open(request).await
    }

    async fn follow_up(
        &self,
        thread: &Thread,
        intent: &Intent,
        tasks: &[TaskRecord],
        issue: Issue,
        wish: Wish,
    ) -> Result<TaskRecord, EngineError> {
        let plan = self.plan(thread, &wish, tasks.last())?;
        let rules = self.inner.projects.rules(self.project, self.forge).await?;
        let source = text::Since { inner: self.inner, thread, tasks };
        let told = text::of_follow_up(&source, self.project, self.forge, &rules, intent, &wish.words).await?;
        self.note_request(thread, intent, &told.left_out).await?;
        let engine = self.engine_of(&plan).clone();
        let request = FollowUpRequest {
            issue,
            plan,
            text: told.text,
            mode: wish.mode,
            requested_by: Some(intent.actor.login.clone()),
            intent: Some(intent.key.clone()),
            brief: told.brief,
            queue: self.place(thread).await?,
        };
        engine.follow_up(request).await
    }

    /// Where a task stands among those that wait, as the project and the issue say.
    pub(super) async fn place(&self, thread: &Thread) -> Result<QueuePlace, EngineError> {
        let config = &thread.facts.config;
        let priority = config.get(&ConfigKey::Priority).and_then(|priority| priority.parse().ok());
        let depends_on = awaited(self.inner.store.as_ref(), &self.project.name, thread).await?;
        Ok(QueuePlace { priority: priority.unwrap_or(self.project.priority), depends_on })
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
            plan = ProjectPlan {
                cli,
                model: None,
                image: None,
                base_url: None,
                command: None,
                fallback_cli: None,
                ..plan
            };
        }
        if let Some(last) = last {
            plan.repo = last.task.plan.repo.clone();
            plan.base = last.task.plan.base.clone();
            let is_reset = config.get(&ConfigKey::Model).is_some_and(|model| model == says::DEFAULT);
            if *last.cli() == plan.cli && !is_reset {
                plan.model = last.task.plan.model.clone();
            }
        }
        // A model that was set for one CLI is not asked of another that takes over.
        let set = config
            .get(&ConfigKey::Model)
            .filter(|model| *model != says::DEFAULT && (wish.cli.is_none() || last.is_none()));
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

    /// Whether the comment that asks is gone. The delivery that says so may come after the one that asks, or with it.
    async fn is_taken_back(&self, intent: &Intent) -> Result<bool, EngineError> {
        let Place::Comment { id } = intent.place else { return Ok(false) };
        Ok(!self.forge.has_comment(id).await?)
    }
}

/// What came of a request that became a task.
fn begun(task: &TaskRecord) -> String {
    format!("task {}", task.task.id)
}

/// The branch that work on somebody's pull request starts from. A fork's is out of our reach: nothing can be pushed there,
/// and its commits are strangers'.
fn base_of(pull: &PullFacts) -> Result<BranchName, EngineError> {
    if !pull.same_repository {
        return Err(EngineError::PullFromFork { number: pull.number });
    }
    pull.head_branch.parse().map_err(|_| EngineError::BranchUnfit {
        branch: pull.head_branch.clone(),
        why: "its name holds what git and shells could misread".to_owned(),
    })
}
