//! Merges what a project lets us merge (`publish.merge`).
//!
//! Nothing stands and nothing runs while a pull request waits: what is known of it is a part of its thread's row. A look asks
//! the forge how the pull request is now, judges that, and either notes why it is not merged or has the forge merge exactly
//! the commit that was judged. A merge whose answer was lost is seen as merged by the next look, whoever did it.
//!
//! What may change it wakes the loop: a word of a person, a task's end, a review, checks, a commit. What nobody tells us of
//! (a status of an older kind of CI, a base that moved) is found by looking again, less and less often.

mod judge;
pub(super) mod words;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cloud_code_fault_points::{Point, reach};
use cloud_code_forge::{Forge, ForgeError, Merged, PullFacts};
use cloud_code_intake::{Happening, SaidAt};
use cloud_code_metrics::instruments;
use cloud_code_model::{
    Approver, Issue, IssueKey, MergeHold, MergeMethod, MergeRefused, Merging, Note, Place, ProjectName,
    Published, PullState, TaskRecord, TaskState, Thread, fnv1a,
};
use cloud_code_task_schema::Mode;
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use self::judge::{CHECKS_COME_WITHIN, Seen, digest, judge};
use super::drivers::Dirty;
use super::projects::ServedProject;
use super::requests::can_pass;
use super::talk::PAGE;
use super::{Inner, LOOK_AGAIN, facts};
use crate::EngineError;

/// How many pull requests are looked at at one time.
const AT_ONCE: usize = 4;
/// When a pull request is looked at again that nobody spoke of; doubles up to the longest while nothing changes. A look costs
/// four questions, most of which an unchanged answer makes free.
const LOOK: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(600);

/// When it is looked again whether all is heard.
const HEAR_AGAIN: Duration = Duration::from_secs(1);

type Key = (ProjectName, u64);

/// What is to be looked at, and when.
pub(crate) struct Merges {
    dirty: Mutex<Dirty>,
    /// In order, as all that is looked through: a simulated life is the same each time.
    waiting: Mutex<BTreeMap<Key, Waiting>>,
}

/// A pull request that was looked at. Lost with the process: a start looks at all of them.
struct Waiting {
    until: Instant,
    wait: Duration,
    /// As its row was then: another process may have noted somebody's word.
    published: Published,
    /// The look failed: the next failure is no news.
    is_failing: bool,
}

impl Merges {
    pub(super) fn new() -> Self {
        let dirty = Dirty { all: true, ..Dirty::default() };
        Self { dirty: Mutex::new(dirty), waiting: Mutex::default() }
    }

    fn dirty(&self) -> MutexGuard<'_, Dirty> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, BTreeMap<Key, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a thread is to be looked at though nobody spoke of it.
    fn is_due(&self, key: &Key, published: &Published) -> bool {
        let waiting = self.waiting();
        waiting.get(key).is_none_or(|known| known.until <= Instant::now() || known.published != *published)
    }

    fn is_failing(&self, key: &Key) -> bool {
        self.waiting().get(key).is_some_and(|known| known.is_failing)
    }

    /// Notes when to look again. Where nothing has changed since the last look, and only its time had come, it is twice as
    /// long as that one waited.
    fn rest(&self, key: Key, next: Next, published: Published, is_failing: bool) {
        let mut waiting = self.waiting();
        let now = Instant::now();
        let before = waiting.get(&key).filter(|known| known.published == published);
        let wait = match (next, before) {
            (Next::In(wait), _) | (Next::From(wait), None) => wait,
            (Next::From(first), Some(known)) if known.until <= now => (known.wait * 2).clamp(first, LONGEST),
            (Next::From(first), Some(known)) => known.wait.max(first),
        };
        waiting.insert(key, Waiting { until: now + wait, wait, published, is_failing });
    }
}

impl Inner {
    /// Something happened to a thread, or to the pull request of one.
    pub(super) fn look_at_merge(&self, project: &ProjectName, number: u64) {
        if !self.merges_anything() {
            return;
        }
        self.merges.dirty().numbers.insert((project.clone(), number));
        self.wakes.merges.notify_one();
    }

    /// The same of the thread of an issue of ours.
    pub(super) fn look_at_merge_of(&self, project: &ProjectName, issue: &IssueKey) {
        if !self.merges_anything() {
            return;
        }
        self.merges.dirty().issues.insert((project.clone(), issue.clone()));
        self.wakes.merges.notify_one();
    }

    /// Another process did something, somewhere.
    pub(super) fn look_at_merges(&self) {
        self.merges.dirty().all = true;
        self.wakes.merges.notify_one();
    }

    /// Whether the loop of this process has anything to do. What nobody would take must not pile up.
    fn merges_anything(&self) -> bool {
        self.is_front() && self.projects.iter().any(|project| project.plan.publish.merge.is_some())
    }

    /// Word from the forge that may change whether something is merged.
    pub(super) fn hear_of_merge(&self, project: &ProjectName, happening: &Happening) {
        let numbers = match happening {
            Happening::Said(said) if matches!(said.at, SaidAt::Review { .. }) => vec![said.number],
            Happening::ReviewEdited { number, .. } | Happening::ReviewDismissed { number, .. } => {
                vec![*number]
            }
            Happening::PullReopened { thing, .. }
            | Happening::PullSynchronized { thing, .. }
            | Happening::PullReadyForReview { thing, .. }
            | Happening::PullEdited(thing) => vec![thing.number],
            Happening::ChecksCompleted { pulls, .. } => pulls.clone(),
            _ => return,
        };
        for number in numbers {
            self.look_at_merge(project, number);
        }
    }

    /// Notes which commit of a pull request is the newest, and forgets what was said of another. What is known then.
    pub(super) async fn see_head(
        &self,
        thread: &Thread,
        pull: &PullFacts,
    ) -> Result<Option<Merging>, EngineError> {
        let is_known = |published: &Published| {
            published.merging.as_ref().is_some_and(|merging| merging.head_sha == pull.head_sha)
        };
        if is_known(&thread.published) {
            return Ok(thread.published.merging.clone());
        }
        let now = self.clock.now();
        let mut note = |published: &mut Published| {
            let is_of_this = published.pull.as_ref().is_some_and(|known| known.number == pull.number);
            if is_of_this && !is_known(published) {
                let before = published.merging.as_ref();
                published.merging = Some(Merging::of(&pull.head_sha, pull.updated_at, now, before));
            }
        };
        let thread = self.store.change_published(&thread.project, thread.number, &mut note).await?;
        Ok(thread.and_then(|thread| thread.published.merging))
    }
}

pub(super) async fn look(inner: Arc<Inner>) -> Result<(), EngineError> {
    let dirty = std::mem::take(&mut *inner.merges.dirty());
    if !inner.merges_anything() {
        return Ok(());
    }
    let threads = match threads_to_look_at(&inner, &dirty).await {
        Ok(threads) => threads,
        Err(error) => {
            inner.merges.dirty().take_back(dirty);
            return Err(error);
        }
    };
    stream::iter(threads)
        .for_each_concurrent(AT_ONCE, |thread| {
            let inner = &inner;
            async move { look_at(inner, thread).await }
        })
        .await;
    Ok(())
}

/// Those that somebody spoke of, and those whose time has come.
async fn threads_to_look_at(inner: &Inner, dirty: &Dirty) -> Result<Vec<Thread>, EngineError> {
    let mut found: BTreeMap<Key, Thread> = BTreeMap::new();
    for (project, number) in &dirty.numbers {
        let thread = inner.thread(project, *number).await?;
        found.extend(thread.map(|thread| ((project.clone(), thread.number), thread)));
    }
    for (project, issue) in &dirty.issues {
        let thread = inner.store.thread_of_issue(project, issue).await?;
        found.extend(thread.map(|thread| ((project.clone(), thread.number), thread)));
    }
    let others = match dirty.all {
        true => open_ones(inner).await?,
        false => {
            let keys: Vec<Key> = inner.merges.waiting().keys().cloned().collect();
            let mut threads = Vec::new();
            for (project, number) in keys {
                threads.extend(inner.store.thread(&project, number).await?);
            }
            threads
        }
    };
    for thread in others {
        let key = (thread.project.clone(), thread.number);
        if !found.contains_key(&key) && inner.merges.is_due(&key, &thread.published) {
            found.insert(key, thread);
        }
    }
    Ok(found.into_values().collect())
}

/// All threads with an open pull request of ours, read in pages: there are as many threads as there ever were issues.
async fn open_ones(inner: &Inner) -> Result<Vec<Thread>, EngineError> {
    let mut found = Vec::new();
    let mut last: Option<Key> = None;
    loop {
        let after = last.as_ref().map(|(project, number)| (project, *number));
        let page = inner.store.threads_after(after, PAGE).await?;
        let Some(end) = page.last() else { return Ok(found) };
        last = Some((end.project.clone(), end.number));
        found.extend(page.into_iter().filter(|thread| merged_by_us(thread).is_some()));
    }
}

/// What a look leads to.
enum Looked {
    /// There is nothing to merge here, now or later.
    Over,
    /// It is looked at again, then or when something happens.
    Again(Next),
}

/// When the next look is due.
#[derive(Clone, Copy)]
enum Next {
    /// After this time.
    In(Duration),
    /// After this time at first, later less often.
    From(Duration),
}

async fn look_at(inner: &Inner, thread: Thread) {
    let key = (thread.project.clone(), thread.number);
    let looked = match open_pull(inner, &thread) {
        Some((project, method, number)) => try_to_merge(inner, &project, &thread, method, number).await,
        None => Ok(Looked::Over),
    };
    let is_failing = looked.is_err();
    let next = match looked {
        Ok(Looked::Over) => {
            inner.merges.waiting().remove(&key);
            return;
        }
        Ok(Looked::Again(next)) => next,
        Err(error) => {
            let is_news = !inner.merges.is_failing(&key) || !can_pass(&error);
            let error = error.chain();
            match is_news {
                true => {
                    tracing::warn!(project = %key.0, issue.number = key.1, error, "whether to merge cannot be seen now");
                }
                false => {
                    tracing::debug!(project = %key.0, issue.number = key.1, error, "whether to merge cannot be seen now");
                }
            }
            Next::From(LOOK_AGAIN)
        }
    };
    let published = match inner.store.thread(&key.0, key.1).await {
        Ok(now) => now.map(|thread| thread.published).unwrap_or_default(),
        Err(_) => thread.published,
    };
    inner.merges.rest(key, next, published, is_failing);
}

/// The open pull request of a thread, if its project has us merge.
fn open_pull(inner: &Inner, thread: &Thread) -> Option<(Arc<ServedProject>, MergeMethod, u64)> {
    let project = inner.projects.get(&thread.project)?;
    let method = project.plan.publish.merge?;
    let number = merged_by_us(thread)?;
    Some((project, method, number))
}

/// The open pull request that holds the work of a thread's issue.
pub(super) fn merged_by_us(thread: &Thread) -> Option<u64> {
    let published = &thread.published;
    let is_of_this = published.of.is_some() && published.of == thread.facts.issue;
    let pull = published.pull.as_ref().filter(|pull| is_of_this && pull.state == PullState::Open)?;
    Some(pull.number)
}

async fn try_to_merge(
    inner: &Inner,
    project: &ServedProject,
    thread: &Thread,
    method: MergeMethod,
    number: u64,
) -> Result<Looked, EngineError> {
    let Some(key) = &thread.facts.issue else { return Ok(Looked::Over) };
    let Some(issue) = inner.store.issue(&thread.project, key).await? else { return Ok(Looked::Over) };
    // What is fetched while the forge is asked came after this look began, and would not be waited for.
    let (began, is_behind) = (inner.clock.now(), inner.missed.may_be());
    let forge = inner.projects.forge(project).await?;
    let forge = forge.as_ref();
    let pull = forge.pull(number).await?;
    if pull.state != cloud_code_forge::PullState::Open {
        ended(inner, project, forge, &pull).await?;
        return Ok(Looked::Over);
    }
    let Some(known) = inner.see_head(thread, &pull).await? else { return Ok(Looked::Over) };
    let ahead = match of_the_work(inner, thread).await? {
        Some(hold) => Some(hold),
        None => unfit(project, forge, &issue, &pull).await?,
    };
    let checks = forge.checks(&pull.head_sha).await?;
    let reviews = forge.reviews(number).await?;
    let is_gated = project.plan.publish.merge_approval;
    let seen = Seen { pull: &pull, checks: &checks, reviews: &reviews, ahead, method, is_gated };
    let now = inner.clock.now();
    let hold = judge(&seen, &known, now);
    note_hold(inner, thread, &known, hold.clone()).await?;
    if hold != MergeHold::Nothing {
        let left = CHECKS_COME_WITHIN.saturating_sub(now.duration_since(known.seen_at));
        return Ok(Looked::Again(match hold {
            MergeHold::Looking => Next::From(LOOK_AGAIN),
            MergeHold::ChecksMayCome => Next::In(Duration::try_from(left).unwrap_or_default()),
            _ => Next::From(LOOK),
        }));
    }
    reach(Point::MergeDecided).await;
    // A person's word may have come while the forge was asked, or while nobody listened.
    if is_behind || inner.has_unread(began).await? {
        return Ok(Looked::Again(Next::In(HEAR_AGAIN)));
    }
    let now = inner.store.thread(&thread.project, thread.number).await?;
    let verdict = now.as_ref().and_then(|now| now.published.merging.as_ref()).map(|now| &now.verdict);
    if verdict != Some(&known.verdict) || of_the_work(inner, thread).await?.is_some() {
        return Ok(Looked::Again(Next::In(Duration::ZERO)));
    }
    let hold = match forge.merge_pull(number, &pull.head_sha, method).await {
        Ok(Merged::Done) => {
            reach(Point::PullMerged).await;
            let pull = forge.pull(number).await?;
            ended(inner, project, forge, &pull).await?;
            // The forge's next answer says so too, if this one did not.
            return Ok(Looked::Again(Next::From(LOOK_AGAIN)));
        }
        // The next look sees what it is now.
        Ok(Merged::HeadMoved | Merged::NotNow) => return Ok(Looked::Again(Next::From(LOOK_AGAIN))),
        Ok(Merged::Conflict) => MergeHold::Conflict,
        Ok(Merged::MethodRefused { message }) => MergeHold::MethodRefused { message },
        Ok(Merged::Queue { message }) => MergeHold::Queue { message },
        Ok(Merged::Refused { message }) => MergeHold::Refused { message },
        Err(error) if error.can_pass() => return Err(error.into()),
        Err(error) => MergeHold::Refused { message: error.to_string() },
    };
    refused(inner, thread, project, &known, MergeRefused { facts: digest(&seen), hold }).await?;
    Ok(Looked::Again(Next::From(LOOK)))
}

/// What our own rows say against a merge.
async fn of_the_work(inner: &Inner, thread: &Thread) -> Result<Option<MergeHold>, EngineError> {
    if thread.facts.is_closed {
        return Ok(Some(MergeHold::IssueClosed));
    }
    let Some(key) = &thread.facts.issue else { return Ok(Some(MergeHold::Work)) };
    let tasks = inner.store.tasks_of(&thread.project, key).await?;
    if !is_done(&tasks) {
        return Ok(Some(MergeHold::Work));
    }
    let pull = thread.published.pull.as_ref().map(|pull| pull.number);
    let waiting = inner.store.waiting_intents().await?;
    let is_here = |number: u64| number == thread.number || Some(number) == pull;
    let more = waiting.iter().any(|record| record.project == thread.project && is_here(record.intent.number));
    Ok(more.then_some(MergeHold::Work))
}

/// Whether the last task has done its work. Questions about it change nothing, once they are answered.
pub(super) fn is_done(tasks: &[TaskRecord]) -> bool {
    let rests = tasks.iter().all(|task| task.state.status().is_terminal());
    let last = tasks.iter().rev().find(|task| task.task.mode != Mode::Ask);
    rests && last.is_some_and(|last| matches!(last.state, TaskState::Done { .. }))
}

/// Why a pull request is left to people: it must be one that we opened, from our branch of this repository, into the base that
/// the project names.
pub(super) async fn unfit(
    project: &ServedProject,
    forge: &dyn Forge,
    issue: &Issue,
    pull: &PullFacts,
) -> Result<Option<MergeHold>, ForgeError> {
    let us = forge.identity().await?.actor.id;
    let is_ours = pull.author.as_ref().is_some_and(|author| author.id == us)
        && pull.same_repository
        && pull.head_branch == issue.branch.as_str();
    if !is_ours {
        return Ok(Some(MergeHold::NotOurs));
    }
    let base = match &project.plan.base {
        Some(base) => base.to_string(),
        None => forge.repository().await?.default_branch,
    };
    Ok((pull.base != base).then(|| MergeHold::OtherBase { base: pull.base.clone() }))
}

async fn note_hold(
    inner: &Inner,
    thread: &Thread,
    known: &Merging,
    hold: MergeHold,
) -> Result<(), EngineError> {
    if known.hold == hold {
        return Ok(());
    }
    let mut note = |published: &mut Published| {
        if let Some(merging) = published.merging.as_mut().filter(|now| now.head_sha == known.head_sha) {
            merging.hold = hold.clone();
        }
    };
    inner.store.change_published(&thread.project, thread.number, &mut note).await?;
    inner.touch(&thread.project, thread.number);
    Ok(())
}

/// Notes that the pull request is merged or closed, once the forge says so.
async fn ended(
    inner: &Inner,
    project: &ServedProject,
    forge: &dyn Forge,
    pull: &PullFacts,
) -> Result<(), EngineError> {
    if pull.state != cloud_code_forge::PullState::Open {
        facts::pull(inner, project, forge, pull.number).await?;
    }
    Ok(())
}

/// The forge does not merge it. Who said yes is told once, and the status comment says it as long as it is so.
async fn refused(
    inner: &Inner,
    thread: &Thread,
    project: &ServedProject,
    known: &Merging,
    refused: MergeRefused,
) -> Result<(), EngineError> {
    let prefix = &project.triggers.prefix;
    let head = words::commit(&known.head_sha);
    let told = words::sentence(&refused.hold, &head, prefix).unwrap_or_default();
    instruments().merge(project.name.as_str(), false);
    tracing::info!(
        project = %project.name, issue.number = thread.number, commit = known.head_sha, why = told,
        "a pull request cannot be merged"
    );
    let mut note = |published: &mut Published| {
        if let Some(merging) = published.merging.as_mut().filter(|now| now.head_sha == known.head_sha) {
            merging.hold = refused.hold.clone();
            merging.refused = Some(refused.clone());
        }
    };
    inner.store.change_published(&thread.project, thread.number, &mut note).await?;
    let by = match known.verdict.as_ref().map(|verdict| &verdict.by) {
        Some(Approver::Person { login }) => Some(login.clone()),
        Some(Approver::CommandLine) | None => {
            thread.facts.requester.as_ref().map(|actor| actor.login.clone())
        }
    };
    if let (Some(by), Some(pull)) = (by, &thread.published.pull) {
        let digest = fnv1a(format!("{} {told}", known.head_sha).as_bytes());
        let note = Note {
            project: thread.project.clone(),
            key: format!("merge-refused-{}-{digest:016x}", pull.number),
            number: pull.number,
            place: Place::Issue,
            body: format!("@{by} {head} is not merged. {told}"),
            created_at: inner.clock.now(),
        };
        inner.store.put_note(&note).await?;
        inner.touch_notes();
    }
    inner.touch(&thread.project, thread.number);
    Ok(())
}
