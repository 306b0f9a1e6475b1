//! What happened on the forge that is no request: things closed, merged, deleted. It changes what is known of a thread, and
//! stops what nobody wants any more.

use cloud_code_fault_points::{Point, reach};
use cloud_code_forge::{Forge, ForgeError, OpenState, Permission};
use cloud_code_intake::{
    AccessRules, Allowed, Denial, Happening, Level, PermissionFact, Sender, SenderKind, Thing, authorise,
};
use cloud_code_metrics::instruments;
use cloud_code_model::{
    Ask, Intent, IntentRecord, ProjectName, Published, PullState, RequiredAccess, Subject, TaskRecord,
    TaskState, Thread, ThreadFacts,
};

use super::projects::ServedProject;
use super::receive::Worked;
use super::{Inner, bases};
use crate::EngineError;

impl Inner {
    /// The thread that a number belongs to: its own, or the one whose work that pull request holds.
    pub(super) async fn thread(
        &self,
        project: &ProjectName,
        number: u64,
    ) -> Result<Option<Thread>, EngineError> {
        if let Some(thread) = self.store.thread_of_pull(project, number).await? {
            return Ok(Some(thread));
        }
        Ok(self.store.thread(project, number).await?)
    }

    /// The thread of a number, made if nobody spoke there before.
    pub(super) async fn thread_or_new(
        &self,
        project: &ServedProject,
        forge: &dyn Forge,
        number: u64,
    ) -> Result<Thread, EngineError> {
        if let Some(thread) = self.thread(&project.name, number).await? {
            return Ok(thread);
        }
        let issue = forge.issue(number).await?;
        let facts = ThreadFacts {
            subject: if issue.is_pull_request { Subject::PullRequest } else { Subject::Issue },
            title: cloud_code_intake::visible(&issue.title).text.trim().to_owned(),
            url: issue.url,
            issue: None,
            requester: None,
            config: Default::default(),
            declined: None,
            is_closed: issue.state == OpenState::Closed,
            left_out: Vec::new(),
        };
        if !self.store.make_thread(&project.name, number, &facts).await?
            && let Some(thread) = self.store.thread(&project.name, number).await?
        {
            return Ok(thread);
        }
        Ok(Thread {
            project: project.name.clone(),
            number,
            facts,
            published: Default::default(),
            written: Default::default(),
        })
    }
}

/// Whether a request is about something of ours: reviews and checks of other people's pull requests are theirs.
pub(super) async fn concerns_us(
    inner: &Inner,
    project: &ServedProject,
    intent: &Intent,
) -> Result<bool, EngineError> {
    match &intent.ask {
        Ask::Changes { .. } | Ask::Line { .. } | Ask::ChecksFailed { .. } | Ask::BaseConflict { .. } => {
            Ok(inner.store.thread_of_pull(&project.name, intent.number).await?.is_some())
        }
        Ask::Command { .. } | Ask::Answer { .. } | Ask::Mistake { .. } => Ok(true),
    }
}

/// What a permission means to the one who decides.
fn permission(fact: &cloud_code_forge::PermissionFact) -> PermissionFact {
    let Some(user_id) = fact.user_id else {
        return PermissionFact::Unknown { why: "the forge knows nobody of that name".to_owned() };
    };
    let level = match (fact.permission, fact.role_name.as_deref()) {
        (Permission::Admin, _) => Level::Admin,
        (Permission::Write, Some("maintain")) => Level::Maintain,
        (Permission::Write, _) => Level::Write,
        (Permission::Read, Some("triage")) => Level::Triage,
        (Permission::Read, _) => Level::Read,
        (Permission::None, _) => Level::None,
    };
    PermissionFact::Known { user_id, level }
}

/// What somebody may do in the repository. A forge says of no bot what it may, so one that a project lists by its number
/// is vouched for by that list.
pub(super) async fn permission_of(
    forge: &dyn Forge,
    rules: &AccessRules,
    sender: &Sender,
) -> Result<PermissionFact, EngineError> {
    let id = sender.actor.id;
    if sender.kind == SenderKind::Bot && rules.bots.contains(&id) {
        return Ok(PermissionFact::Known { user_id: id, level: rules.least.max(Level::Write) });
    }
    Ok(permission(&forge.permission(&sender.actor).await?))
}

/// Whether somebody may command, by the one rule that every path goes through: the denial, if not.
pub(super) async fn denial(
    forge: &dyn Forge,
    project: &ServedProject,
    sender: &Sender,
) -> Result<Option<Denial>, EngineError> {
    let rules = access(project, forge).await?;
    let permission = permission_of(forge, &rules, sender).await?;
    Ok(authorise(&rules, &sender.actor, sender.kind, &permission).err())
}

/// Who may command in a project.
pub(super) async fn access(project: &ServedProject, forge: &dyn Forge) -> Result<AccessRules, EngineError> {
    let identity = forge.identity().await?;
    let access = &project.access;
    Ok(AccessRules {
        least: match access.require {
            RequiredAccess::Write => Level::Write,
            RequiredAccess::Maintain => Level::Maintain,
            RequiredAccess::Admin => Level::Admin,
        },
        allowed: match access.allow.is_empty() {
            true => Allowed::Everyone,
            false => Allowed::Only(access.allow.iter().copied().collect()),
        },
        denied: access.deny.iter().copied().collect(),
        bots: access.bots.iter().copied().collect(),
        // With a token we write as a person, who may command like any other.
        ourselves: identity.app_id.is_some().then_some(identity.actor.id),
    })
}

/// Takes note of what happened.
pub(super) async fn note(
    inner: &Inner,
    project: &ServedProject,
    forge: &dyn Forge,
    happening: &Happening,
) -> Result<Worked, EngineError> {
    let name = &project.name;
    match happening {
        Happening::IssueDeleted(thing) | Happening::IssueTransferred(thing) => {
            close(inner, name, thing.number, "the issue is gone").await
        }
        Happening::IssueClosed(thing) => issue(inner, name, forge, thing, OpenState::Closed).await,
        Happening::IssueReopened(thing) => issue(inner, name, forge, thing, OpenState::Open).await,
        Happening::PullClosed { thing, .. } | Happening::PullReopened { thing, .. } => {
            pull(inner, project, forge, thing.number).await
        }
        Happening::Pushed { branch, after, deleted: false, .. } => {
            bases::moved(inner, name, branch, after).await
        }
        Happening::CommentDeleted { id, .. } => withdraw(inner, project, &format!("comment-{id}")).await,
        Happening::LineDeleted { id, .. } => withdraw(inner, project, &format!("line-{id}")).await,
        Happening::RepositoryRenamed | Happening::RepositoryTransferred => {
            let now = forge.repository().await?.name;
            tracing::warn!(
                project = %name, repository = %now,
                "the repository has another name now; it is followed, but the project's file should say so"
            );
            Ok(Worked::Done(format!("the repository is now {now}")))
        }
        _ => Ok(nothing()),
    }
}

fn nothing() -> Worked {
    Worked::Nothing("it changes nothing here".into())
}

/// An issue was closed or reopened. Deliveries overtake each other, so what is so now is asked for. An answer that is older
/// than the event, of a forge's copy that lags behind, gives way to it.
async fn issue(
    inner: &Inner,
    name: &ProjectName,
    forge: &dyn Forge,
    thing: &Thing,
    told: OpenState,
) -> Result<Worked, EngineError> {
    let number = thing.number;
    let known = inner.store.thread(name, number).await?;
    let is_waited_for = |waiting: &IntentRecord| waiting.project == *name && waiting.intent.number == number;
    if known.is_none() && !inner.store.waiting_intents().await?.iter().any(is_waited_for) {
        return Ok(nothing());
    }
    let is_closed = match forge.issue(number).await {
        Ok(issue) if issue.updated_at < thing.updated_at => told == OpenState::Closed,
        Ok(issue) => issue.state == OpenState::Closed,
        Err(ForgeError::NotFound { .. } | ForgeError::Gone { .. }) => true,
        Err(error) => return Err(error.into()),
    };
    match (is_closed, known) {
        (true, _) => close(inner, name, number, "the issue was closed").await,
        (false, Some(thread)) if thread.facts.is_closed => {
            inner.store.change_thread(name, thread.number, &mut |facts| facts.is_closed = false).await?;
            inner.touch(name, thread.number);
            Ok(Worked::Done(format!("#{number} is open again")))
        }
        (false, _) => Ok(Worked::Nothing(format!("#{number} is open"))),
    }
}

/// Stops what runs for a thread and forgets what waits for it. Its work is kept.
async fn close(inner: &Inner, name: &ProjectName, number: u64, why: &str) -> Result<Worked, EngineError> {
    let now = inner.clock.now();
    for waiting in inner.store.waiting_intents().await? {
        if waiting.project == *name && waiting.intent.number == number {
            inner.store.settle_intent(name, &waiting.intent.key, why, now).await?;
        }
    }
    let closed = inner.store.change_thread(name, number, &mut |facts| facts.is_closed = true).await?;
    let Some(thread) = closed else { return Ok(nothing()) };
    stop_tasks(inner, &thread).await?;
    inner.touch(name, number);
    Ok(Worked::Done(format!("#{number}: {why}")))
}

async fn stop_tasks(inner: &Inner, thread: &Thread) -> Result<(), EngineError> {
    let Some(issue) = &thread.facts.issue else { return Ok(()) };
    for task in inner.store.tasks_of(&thread.project, issue).await? {
        if !task.state.status().is_terminal() {
            inner.store.request_cancel(&task.task.id, inner.clock.now()).await?;
        }
    }
    inner.wakes.tasks.notify_one();
    Ok(())
}

/// A pull request was closed, merged or reopened.
pub(super) async fn pull(
    inner: &Inner,
    project: &ServedProject,
    forge: &dyn Forge,
    number: u64,
) -> Result<Worked, EngineError> {
    let Some(thread) = inner.store.thread_of_pull(&project.name, number).await? else {
        return Ok(nothing());
    };
    let seen = forge.pull(number).await?;
    let state = match seen.state {
        cloud_code_forge::PullState::Open => PullState::Open,
        cloud_code_forge::PullState::Closed => PullState::Closed,
        cloud_code_forge::PullState::Merged => PullState::Merged,
    };
    let is_by_us = match &seen.merged_by {
        Some(by) if state == PullState::Merged => by.id == forge.identity().await?.actor.id,
        Some(_) | None => false,
    };
    let (now, mut is_news) = (inner.clock.now(), false);
    let mut note = |published: &mut Published| {
        if let Some(pull) = published.pull.as_mut().filter(|pull| pull.number == number) {
            pull.state = state;
        }
        // With its state, and by whoever sees it first: the process that merged may have been killed before it noted that.
        let merging = published.merging.as_mut().filter(|merging| merging.head_sha == seen.head_sha);
        is_news = is_by_us && merging.as_ref().is_some_and(|merging| merging.merged_at.is_none());
        if let Some(merging) = merging.filter(|_| is_by_us) {
            merging.merged_at.get_or_insert(now);
        }
    };
    inner.store.change_published(&thread.project, thread.number, &mut note).await?;
    if is_news {
        instruments().merge(project.name.as_str(), true);
        tracing::info!(
            project = %project.name, pull.number = number, commit = seen.head_sha, "a pull request was merged"
        );
    }
    match state {
        PullState::Open => inner.look_at_merge(&project.name, number),
        PullState::Closed => stop_tasks(inner, &thread).await?,
        PullState::Merged => {
            reach(Point::MergeNoted).await;
            stop_tasks(inner, &thread).await?;
            tidy(inner, project, &thread).await?;
        }
    }
    inner.touch(&thread.project, thread.number);
    Ok(Worked::Done(format!("pull request #{number} is {state:?}").to_lowercase()))
}

/// Merged work needs no workspace any more. One whose task has not ended yet stays for `cloud-code clean`.
async fn tidy(inner: &Inner, project: &ServedProject, thread: &Thread) -> Result<(), EngineError> {
    let Some(key) = &thread.facts.issue else { return Ok(()) };
    let tasks = inner.store.tasks_of(&thread.project, key).await?;
    if tasks.iter().any(|task| !task.state.status().is_terminal()) {
        return Ok(());
    }
    if inner.store.mark_cleaned(&thread.project, key, inner.clock.now()).await.is_err() {
        // A task came in between: its worktree is in use.
        return Ok(());
    }
    let Some(last) = tasks.last() else { return Ok(()) };
    // It is noted as cleaned, so what stays is a leftover. What the forge said is settled all the same.
    if let Err(error) = clear(inner, project, last).await {
        tracing::warn!(project = %project.name, issue.number = thread.number, error = %error.chain(), "a workspace stays for now");
        inner.wakes.leftovers.notify_one();
    }
    Ok(())
}

/// Removes containers and workspace of an issue whose last task this is.
async fn clear(inner: &Inner, project: &ServedProject, last: &TaskRecord) -> Result<(), EngineError> {
    let engine = inner.engines.of(last.task.plan.runtime);
    engine.remove_leftovers(last).await?;
    let repo = engine.repo(&project.name, &last.task.plan.repo)?;
    let key = last.task.issue.clone();
    crate::blocking(move || repo.remove(&key)).await
}

/// A request whose words were taken back, if nothing has begun.
async fn withdraw(inner: &Inner, project: &ServedProject, key: &str) -> Result<Worked, EngineError> {
    let name = &project.name;
    let Some(found) = inner.store.intent(name, key).await? else { return Ok(nothing()) };
    inner.store.settle_intent(name, key, "its comment was deleted", inner.clock.now()).await?;
    if let Some(task) = inner.store.task_of_intent(name, key).await?
        && task.state == TaskState::Queued
    {
        inner.store.request_cancel(&task.task.id, inner.clock.now()).await?;
        inner.wakes.tasks.notify_one();
    }
    inner.touch(name, found.intent.number);
    Ok(Worked::Done(format!("{key} was taken back")))
}
