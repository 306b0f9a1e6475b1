//! Makes the forge say what is so. Everything written here is derived, compared with what was written last, and written again
//! only when it differs; a kill between a write and its note costs one repeated edit, never a second comment.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cloud_code_fault_points::{Point, reach};
use cloud_code_forge::{CheckHandle, CheckSpec, Forge, ForgeError, Priority};
use cloud_code_model::{
    IssueKey, Note, Place, ProjectName, PullState, TaskRecord, TaskState, Thread, ThreadWritten, fnv1a,
};
use cloud_code_task_schema::ControlDir;
use futures_util::{StreamExt, stream};
use tokio::time::Instant;

use super::Inner;
use super::drivers::Dirty;
use super::projects::ServedProject;
use super::requests::can_pass;
use super::status::{StatusView, check_status, check_title, label_family, status_comment};
use crate::follow_up::{LastHeard, heard_again};
use crate::forges::marker;
use crate::public::Places;
use crate::{EngineError, blocking};

/// How many threads are written to at one time. The forge's own queue keeps the pace of each account.
const AT_ONCE: usize = 4;

/// How many threads are held in memory when all are looked at, after a start for one: with their tasks some kilobytes each,
/// and there are as many as there ever were issues. Fewer only ask the store more often.
pub(super) const PAGE: u32 = 100;

/// Where progress is said. Each place has a pace of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Said {
    Comment,
    Check,
}

/// What is to be said, and when progress was said last.
#[derive(Default)]
pub(crate) struct Talk {
    dirty: Mutex<Dirty>,
    progress: Mutex<HashMap<(ProjectName, u64, Said), Instant>>,
    /// Something waits to be said that somebody waits for: an end, a question, an answer. Progress steps aside for it.
    pressing: AtomicBool,
    /// Why threads could not be written to, as told in the log: an outage of hours is told once.
    troubles: Mutex<HashMap<(ProjectName, u64), String>>,
    /// What agents that work said last.
    heard: Mutex<HashMap<(ProjectName, u64), Arc<LastHeard>>>,
}

impl Talk {
    pub(super) fn new() -> Self {
        let dirty = Dirty { all: true, ..Dirty::default() };
        Self {
            dirty: Mutex::new(dirty),
            progress: Mutex::default(),
            pressing: AtomicBool::new(false),
            troubles: Mutex::default(),
            heard: Mutex::default(),
        }
    }

    fn heard(&self) -> MutexGuard<'_, HashMap<(ProjectName, u64), Arc<LastHeard>>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this trouble of a thread is news; none takes the last one back.
    fn is_news(&self, thread: &Thread, trouble: Option<&str>) -> bool {
        let key = (thread.project.clone(), thread.number);
        let mut troubles = self.troubles.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match trouble {
            Some(trouble) => troubles.insert(key, trouble.to_owned()),
            None => troubles.remove(&key),
        };
        before.as_deref() != trouble
    }

    fn dirty(&self) -> std::sync::MutexGuard<'_, Dirty> {
        self.dirty.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Something is to be said in a thread.
    pub(super) fn touch(&self, project: &ProjectName, number: u64) {
        self.talk.dirty().numbers.insert((project.clone(), number));
        self.wakes.talk.notify_one();
    }

    /// What no text of ours may name.
    fn places(&self) -> Places {
        Places::of(self.engines.docker.settings())
    }

    /// Something is to be said about a task.
    pub(super) fn touch_task(&self, record: &TaskRecord) {
        if is_settled(record) {
            self.talk.pressing.store(true, Ordering::Relaxed);
        }
        self.touch_issue(&record.task.project, &record.task.issue);
    }

    /// Somebody waits for an answer that was just put down.
    pub(super) fn touch_notes(&self) {
        self.talk.pressing.store(true, Ordering::Relaxed);
        self.wakes.talk.notify_one();
    }

    /// Another process did something, somewhere.
    pub(super) fn touch_all(&self) {
        self.talk.dirty().all = true;
        self.wakes.talk.notify_one();
        self.look_at_merges();
    }

    pub(super) fn touch_issue(&self, project: &ProjectName, issue: &IssueKey) {
        self.talk.dirty().issues.insert((project.clone(), issue.clone()));
        self.wakes.talk.notify_one();
    }
}

/// Whether only a person or an event moves a task on.
fn is_settled(record: &TaskRecord) -> bool {
    record.state.status().is_terminal() || matches!(record.state, TaskState::AwaitingApproval { .. })
}

/// The sign that somebody was heard. It does not wait behind anything else that is to be said.
pub(super) async fn react(inner: Arc<Inner>) -> Result<(), EngineError> {
    let waiting = inner.store.unreacted_intents().await?;
    stream::iter(waiting)
        .for_each_concurrent(AT_ONCE, |record| {
            let inner = &inner;
            async move {
                let Some(project) = inner.projects.get(&record.project) else { return };
                let reacted = async {
                    let forge = inner.projects.forge(&project).await?;
                    forge.react(record.intent.number, &record.intent.place).await
                };
                match reacted.await {
                    Err(error) if error.can_pass() => {
                        tracing::debug!(intent.key = record.intent.key, error = %error, "a reaction has to wait");
                    }
                    // What cannot be reacted to (a deleted comment, a locked conversation) is passed over.
                    Ok(()) | Err(_) => {
                        reach(Point::ReactionWritten).await;
                        let key = &record.intent.key;
                        if let Err(error) =
                            inner.store.mark_reacted(&record.project, key, inner.clock.now()).await
                        {
                            tracing::warn!(intent.key = key, error = %error, "a reaction cannot be noted");
                        }
                    }
                }
            }
        })
        .await;
    Ok(())
}

pub(super) async fn look(inner: Arc<Inner>) -> Result<(), EngineError> {
    inner.talk.pressing.store(false, Ordering::Relaxed);
    let dirty = std::mem::take(&mut *inner.talk.dirty());
    let said = say_all(&inner, &dirty).await;
    if said.is_err() {
        // Not all of it was said: the next look tries.
        inner.talk.dirty().take_back(dirty);
    }
    said
}

async fn say_all(inner: &Inner, dirty: &Dirty) -> Result<(), EngineError> {
    say(inner, threads_to_write(inner, dirty).await?).await?;
    if !dirty.all {
        return Ok(());
    }
    let mut last: Option<(ProjectName, u64)> = None;
    loop {
        let after = last.as_ref().map(|(project, number)| (project, *number));
        let page = inner.store.threads_after(after, PAGE).await?;
        let Some(end) = page.last() else { return Ok(()) };
        last = Some((end.project.clone(), end.number));
        say(inner, with_tasks(inner, page).await?).await?;
    }
}

/// What is to be said in these threads, and the comments that wait.
async fn say(inner: &Inner, threads: Vec<(Thread, Vec<TaskRecord>)>) -> Result<(), EngineError> {
    for (thread, tasks) in &threads {
        inner.answer_ends(thread, tasks).await?;
    }
    let notes = inner.store.waiting_notes().await?;
    stream::iter(notes)
        .for_each_concurrent(AT_ONCE, |note| {
            let inner = &inner;
            async move {
                if let Err(error) = write_note(inner, &note).await {
                    tracing::warn!(note.key = note.key, error = %error.chain(), "a comment cannot be written now");
                }
            }
        })
        .await;
    let waiting = inner.store.waiting_intents().await?;
    stream::iter(threads)
        .for_each_concurrent(AT_ONCE, |(thread, tasks)| {
            let inner = &inner;
            let waits = waiting.iter().filter(|record| {
                record.project == thread.project
                    && (record.intent.number == thread.number
                        || thread
                            .published
                            .pull
                            .as_ref()
                            .is_some_and(|pull| pull.number == record.intent.number))
            });
            let waits = waits.count();
            async move {
                let has_ended = tasks.last().is_some_and(is_settled);
                let written = match inner.talk.pressing.load(Ordering::Relaxed) && !has_ended {
                    true => Ok(Written::Interrupted),
                    false => write_thread(inner, &thread, &tasks, waits)
                        .await
                        .map_err(|error| inner.or_shortage(error)),
                };
                let may_pass = match &written {
                    Ok(Written::Whole) => false,
                    Ok(Written::Interrupted) => true,
                    // What will not pass (a locked or deleted issue) waits for the next thing that happens there: said
                    // again and again it would eat up the limits of all others.
                    Err(error) => can_pass(error),
                };
                if may_pass {
                    // Said again with the next look.
                    inner.talk.dirty().numbers.insert((thread.project.clone(), thread.number));
                }
                let trouble = written.err().map(|error| error.chain());
                if inner.talk.is_news(&thread, trouble.as_deref())
                    && let Some(error) = trouble
                {
                    tracing::warn!(
                        project = %thread.project, issue.number = thread.number, error,
                        "a thread cannot be written to now"
                    );
                }
            }
        })
        .await;
    Ok(())
}

/// The threads that were named and those of open tasks, those first whose tasks have ended.
async fn threads_to_write(
    inner: &Inner,
    dirty: &Dirty,
) -> Result<Vec<(Thread, Vec<TaskRecord>)>, EngineError> {
    let mut found: BTreeMap<(ProjectName, u64), Thread> = BTreeMap::new();
    let mut keep = |thread: Option<Thread>| {
        if let Some(thread) = thread {
            found.insert((thread.project.clone(), thread.number), thread);
        }
    };
    for (project, number) in &dirty.numbers {
        keep(inner.thread(project, *number).await?);
    }
    for (project, issue) in &dirty.issues {
        keep(inner.store.thread_of_issue(project, issue).await?);
    }
    // Running tasks have progress to tell.
    for task in inner.store.open_tasks().await? {
        keep(inner.store.thread_of_issue(&task.task.project, &task.task.issue).await?);
    }
    with_tasks(inner, found.into_values()).await
}

async fn with_tasks(
    inner: &Inner,
    found: impl IntoIterator<Item = Thread>,
) -> Result<Vec<(Thread, Vec<TaskRecord>)>, EngineError> {
    let mut threads = Vec::new();
    for thread in found {
        if let Some(issue) = &thread.facts.issue {
            let tasks = inner.store.tasks_of(&thread.project, issue).await?;
            threads.push((thread, tasks));
        }
    }
    threads.sort_by_key(|(_, tasks)| tasks.last().is_some_and(|task| !is_settled(task)));
    Ok(threads)
}

async fn write_note(inner: &Inner, note: &Note) -> Result<(), EngineError> {
    let Some(project) = inner.projects.get(&note.project) else { return Ok(()) };
    let forge = inner.projects.forge(&project).await?;
    let marker = marker("note", inner.instance(), &note.key)?;
    let body = inner.places().hide(&note.body);
    let written = match &note.place {
        Place::ReviewComment { thread, .. } => {
            forge.put_reply(note.number, *thread, &marker, &body, Priority::Reply).await
        }
        Place::Issue | Place::Comment { .. } | Place::Review { .. } | Place::Check { .. } => {
            forge.put_comment(note.number, &marker, None, &body, Priority::Reply).await
        }
    };
    match written {
        Ok(handle) => {
            reach(Point::NoteWritten).await;
            Ok(inner.store.note_written(&note.project, &note.key, handle.id).await?)
        }
        Err(error) if error.can_pass() => Err(error.into()),
        Err(error) => {
            tracing::warn!(note.key = note.key, error = %error, "a comment is given up");
            Ok(inner.store.note_given_up(&note.project, &note.key, &error.to_string()).await?)
        }
    }
}

/// Whether everything was said.
enum Written {
    /// Nothing is left to say now.
    Whole,
    /// It was only progress, and stepped aside.
    Interrupted,
}

async fn write_thread(
    inner: &Inner,
    thread: &Thread,
    tasks: &[TaskRecord],
    waiting: usize,
) -> Result<Written, EngineError> {
    let (Some(project), Some(key), Some(last)) =
        (inner.projects.get(&thread.project), &thread.facts.issue, tasks.last())
    else {
        return Ok(Written::Whole);
    };
    let Some(issue) = inner.store.issue(&thread.project, key).await? else { return Ok(Written::Whole) };
    let layout = &inner.engines.of(last.task.plan.runtime).settings().layout;
    let control = ControlDir::new(layout.issue(&thread.project, key).control);
    let place = (thread.project.clone(), thread.number);
    let known = inner.talk.heard().remove(&place);
    let said = blocking(move || heard_again(&control, known)).await?;
    if !is_settled(last) {
        inner.talk.heard().insert(place, said.clone());
    }
    let forge = inner.projects.forge(&project).await?;
    // The thread's own address is the repository's, then `/issues/42`.
    let repository_url = thread.facts.url.rsplitn(3, '/').nth(2).unwrap_or_default();
    let tree_url = format!("{repository_url}/tree");
    let budget = crate::budget::levels(inner.store.as_ref(), last, inner.clock.now()).await?;
    let view = StatusView {
        budget: &budget,
        thread,
        issue: &issue,
        tasks,
        reports: &said.heard.reports,
        waiting,
        prefix: &project.triggers.prefix,
        tree_url: &tree_url,
    };
    write_view(inner, &project, forge.as_ref(), &view).await
}

/// Comment, label, check: each is written if it differs from what stands there, and noted at once. Before it is written, what
/// stood there is forgotten: a write that breaks off half-way leaves what nobody knows, so that it counts as new until it is
/// whole, also when what is to be said has become again what it was.
async fn write_view(
    inner: &Inner,
    project: &ServedProject,
    forge: &dyn Forge,
    view: &StatusView<'_>,
) -> Result<Written, EngineError> {
    let thread = view.thread;
    let phase = view.phase();
    let steps_aside = || !phase.is_settled() && inner.talk.pressing.load(Ordering::Relaxed);
    let mut written = thread.written.clone();
    let priority = if phase.is_settled() { Priority::Terminal } else { Priority::Progress };
    let body = inner.places().hide(&status_comment(view));
    let digest = format!("{:016x}", fnv1a(body.as_bytes()));
    let label = phase.label();
    let is_same_phase = written.label.as_deref() == Some(label.as_str());
    let is_new = written.comment_digest.as_deref() != Some(digest.as_str());
    if is_new && !(is_same_phase && !phase.is_settled() && said_lately(inner, thread, Said::Comment)) {
        let marker = marker("status", inner.instance(), &format!("{}-{}", project.name, thread.number))?;
        if written.comment_digest.take().is_some() {
            note_written(inner, thread, &written).await?;
        }
        let handle = forge.put_comment(thread.number, &marker, written.comment, &body, priority).await?;
        reach(Point::StatusWritten).await;
        written.comment = Some(handle.id);
        written.comment_url = Some(handle.url);
        written.comment_digest = Some(digest);
        written.reported = view.reported();
        note_written(inner, thread, &written).await?;
        note_said(inner, thread, Said::Comment);
    }
    if steps_aside() {
        return Ok(Written::Interrupted);
    }
    if !is_same_phase {
        if written.label.take().is_some() {
            note_written(inner, thread, &written).await?;
        }
        forge.set_labels(thread.number, &label_family(), Some(&label), priority).await?;
        reach(Point::LabelWritten).await;
        written.label = Some(label);
        note_written(inner, thread, &written).await?;
    }
    if steps_aside() {
        return Ok(Written::Interrupted);
    }
    let is_progress = is_same_phase && !phase.is_settled();
    write_check(inner, project, forge, view, written, is_progress).await?;
    Ok(Written::Whole)
}

async fn write_check(
    inner: &Inner,
    project: &ServedProject,
    forge: &dyn Forge,
    view: &StatusView<'_>,
    mut written: ThreadWritten,
    is_progress: bool,
) -> Result<(), EngineError> {
    let thread = view.thread;
    let Some(pull) = view.pull() else { return Ok(()) };
    let is_open = pull.state == PullState::Open;
    // Where it is merged or closed there is a check to end, and none to begin.
    if !is_open && written.check.is_none() {
        return Ok(());
    }
    let is_progress = is_progress && is_open;
    let priority = if is_progress { Priority::Progress } else { Priority::Terminal };
    let spec = CheckSpec {
        name: "cloud-code".to_owned(),
        head_sha: pull.head_sha.clone(),
        external_id: format!("{}-{}-{}", inner.instance(), project.name, thread.number),
        status: check_status(view),
        title: inner.places().hide(&check_title(view)),
        summary: written.comment_url.as_ref().map_or_else(String::new, |url| format!("[The status]({url})")),
        details_url: written.comment_url.clone(),
    };
    let digest = format!("{:016x}", fnv1a(format!("{spec:?}").as_bytes()));
    let is_new = written.check_digest.as_deref() != Some(digest.as_str());
    if !is_new || (is_progress && said_lately(inner, thread, Said::Check)) {
        return Ok(());
    }
    if written.check_digest.take().is_some() {
        note_written(inner, thread, &written).await?;
    }
    let known: Option<CheckHandle> =
        written.check.as_deref().and_then(|text| serde_json::from_str(text).ok());
    let handle = match forge.put_check(&spec, known.as_ref(), priority).await {
        Ok(handle) => Some(handle),
        // An installation without that permission works all the same; doctor names it.
        Err(ForgeError::Forbidden { message, .. }) => {
            tracing::debug!(message, "checks may not be written");
            None
        }
        Err(error) => return Err(error.into()),
    };
    reach(Point::CheckWritten).await;
    written.check = handle.and_then(|handle| serde_json::to_string(&handle).ok());
    written.check_digest = Some(digest);
    note_said(inner, thread, Said::Check);
    note_written(inner, thread, &written).await
}

async fn note_written(inner: &Inner, thread: &Thread, written: &ThreadWritten) -> Result<(), EngineError> {
    Ok(inner.store.put_written(&thread.project, thread.number, written).await?)
}

/// Whether something was said there a moment ago, so that mere progress has to wait.
fn said_lately(inner: &Inner, thread: &Thread, place: Said) -> bool {
    let said = inner.talk.progress.lock().unwrap_or_else(PoisonError::into_inner);
    let at = said.get(&(thread.project.clone(), thread.number, place));
    at.is_some_and(|at| at.elapsed() < inner.settings.progress_every)
}

fn note_said(inner: &Inner, thread: &Thread, place: Said) {
    let mut said = inner.talk.progress.lock().unwrap_or_else(PoisonError::into_inner);
    said.retain(|_, at| at.elapsed() < inner.settings.progress_every);
    said.insert((thread.project.clone(), thread.number, place), Instant::now());
}
