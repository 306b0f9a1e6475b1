//! Drives the tasks that requests made: as many at one time as the machine is to bear, each to its end.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cloud_code_metrics::pulses;
use cloud_code_model::{IssueKey, ProjectName, TaskRecord, TaskState};
use cloud_code_task_schema::TaskId;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::membership::{Belongs, Membership};
use super::{DISPATCH_PATIENCE, FINISH_WITHIN, Inner, LOOK_AGAIN, OnStop};
use crate::decide::Step;
use crate::observe::{Notice, Observer};
use crate::queue::{Picture, Room, Turns, plan, unmet};
use crate::{Engine, EngineError, blocking};

/// First wait after a task could not be driven on; doubles up to the longest. A forge's outage, a full disk and a missing
/// key are mended by others, at their pace.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// How often is looked whether a task whose agent was ended has come to rest.
const LOOK_AT_ENDING: Duration = Duration::from_millis(200);

/// What is being driven, and what is not to be touched yet.
#[derive(Default)]
struct Board {
    driven: BTreeMap<TaskId, Arc<Notify>>,
    resting: BTreeMap<TaskId, Rest>,
    /// Tasks that wait for a person, with the version they were seen at.
    held: BTreeMap<TaskId, i64>,
    /// How many turns each project had.
    turns: Turns,
}

struct Rest {
    until: Instant,
    last: Duration,
}

/// Runs until `stop`. A driver that is dropped leaves its container running; the next start finds it by its label.
pub(super) async fn run(inner: Arc<Inner>, stop: CancellationToken) {
    let board = Arc::new(Mutex::new(Board::default()));
    let tracker = TaskTracker::new();
    end_all_strays(&inner).await;
    let pulse = pulses().begin("drivers", DISPATCH_PATIENCE);
    loop {
        pulse.beat();
        let again = look(&inner, &board, &tracker, &stop).await.unwrap_or_else(|error| {
            tracing::warn!(error = %error.chain(), "the open tasks cannot be read");
            LOOK_AGAIN
        });
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = inner.wakes.tasks.notified() => {}
            () = tokio::time::sleep(again) => {}
        }
    }
    pulse.ends();
    tracker.close();
    tracker.wait().await;
}

async fn look(
    inner: &Arc<Inner>,
    board: &Arc<Mutex<Board>>,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) -> Result<Duration, EngineError> {
    let open = inner.store.open_tasks().await?;
    let open: Vec<TaskRecord> = open.into_iter().filter(|record| lock(board).heeds(record)).collect();
    for record in turns(inner, board, &open).await? {
        begin(inner, board, tracker, stop, record);
    }
    let now = inner.clock.now();
    let due = open.iter().filter_map(|record| match &record.state {
        TaskState::BackingOff { until, .. } => Duration::try_from(until.duration_since(now)).ok(),
        _ => None,
    });
    // One whose time has come and that has no turn waits for a place, not for time.
    let due = due.filter(|wait| !wait.is_zero());
    Ok(due.min().unwrap_or(LOOK_AGAIN).min(LOOK_AGAIN))
}

/// The tasks to be driven now: those whose turn it is, and those that run already, whatever the number of places.
async fn turns<'a>(
    inner: &Inner,
    board: &Mutex<Board>,
    open: &'a [TaskRecord],
) -> Result<Vec<&'a TaskRecord>, EngineError> {
    let home = inner.engines.docker.settings().layout.home().to_owned();
    let room = blocking(move || Ok(Room::look(&home))).await?;
    let pauses = inner.store.pauses().await?;
    let unmet = unmet(inner.store.as_ref(), open).await?;
    let mut spent = BTreeMap::new();
    let mut turns = lock(board).turns.clone();
    turns.join(open.iter().filter(|record| record.state.waits_for_turn()).map(|record| &record.task.project));
    let running: BTreeSet<TaskId> = lock(board).driven.keys().cloned().collect();
    loop {
        let plan = plan(&Picture {
            open,
            driven: &running,
            limits: &inner.settings.limits,
            pauses: &pauses,
            room,
            unmet: &unmet,
            spent: &spent,
            turns: &turns,
            now: inner.clock.now(),
        });
        let chosen: Vec<&TaskRecord> =
            plan.into_iter().filter(|entry| entry.waits.is_none()).map(|entry| entry.record).collect();
        // Only of those whose turn it is: the others' budgets may change until then.
        let mut is_settled = true;
        for record in chosen.iter().filter(|record| record.cancel_requested_at.is_none()) {
            if let Some(why) = crate::queue::spent(inner.store.as_ref(), record, inner.clock.now()).await? {
                spent.insert(record.task.id.clone(), why);
                is_settled = false;
            }
        }
        if is_settled {
            chosen.iter().for_each(|record| turns.taken(&record.task.project));
            lock(board).turns = turns;
            let on_their_way =
                open.iter().filter(|record| record.task.intent.is_some() && !record.state.waits_for_turn());
            return Ok(on_their_way.chain(chosen).collect());
        }
    }
}

fn begin(
    inner: &Arc<Inner>,
    board: &Arc<Mutex<Board>>,
    tracker: &TaskTracker,
    stop: &CancellationToken,
    record: &TaskRecord,
) {
    let id = record.task.id.clone();
    let nudge = Arc::new(Notify::new());
    match lock(board).driven.entry(id.clone()) {
        Entry::Occupied(_) => return,
        Entry::Vacant(free) => drop(free.insert(nudge.clone())),
    }
    let engine = inner.engines.of(record.task.plan.runtime).clone();
    let (inner, board, stop, record) = (inner.clone(), board.clone(), stop.clone(), record.clone());
    tracker.spawn(async move {
        drive_as_ours(&inner, &board, &engine, &record, &nudge, &stop).await;
        lock(&board).driven.remove(&id);
        inner.touch_task(&record);
        inner.wakes.tasks.notify_one();
        inner.wakes.requests.notify_one();
    });
}

/// Drives it if the issue is this worker's, or becomes it.
async fn drive_as_ours(
    inner: &Inner,
    board: &Mutex<Board>,
    engine: &Engine,
    record: &TaskRecord,
    nudge: &Notify,
    stop: &CancellationToken,
) {
    let Some(membership) = &inner.membership else {
        return drive(inner, board, engine, record, nudge, stop).await;
    };
    if waits_for_a_person(record) && !is_here(membership, record).await {
        // Nothing is to be done, and its worker may come back with what it has: a yes moves it, silence does not.
        return lock(board).leave_to_others(record);
    }
    let held = match membership.claim(&record.task.project, &record.task.issue).await {
        Ok(Some(held)) => held,
        Ok(None) => return lock(board).leave_to_others(record),
        Err(error) => {
            tracing::warn!(task.id = %record.task.id, error = %error, "the issue cannot be claimed now");
            return lock(board).leave_to_others(record);
        }
    };
    let engine = engine.under(held.clone());
    let working = async {
        let here = match &held.lease.moved_from {
            Some(from) => engine.take_over(&held, from).await,
            None if needs_repository(record) => engine.bring(record).await,
            None => Ok(()),
        };
        if let Err(error) = here {
            tracing::warn!(task.id = %record.task.id, error = %error.chain(), "the issue cannot be brought here now");
            return lock(board).leave_to_others(record);
        }
        drive(inner, board, &engine, record, nudge, stop).await;
    };
    tokio::select! {
        biased;
        // Nothing of it goes on: not a step, and not a write that is on its way.
        () = held.lost.cancelled() => {
            lock(board).leave_to_others(record);
            end_strays(membership, &engine, &record.task.project, &record.task.issue).await;
        }
        () = working => {}
    }
    membership.release(&held).await;
}

/// What runs here of issues that went to other workers while this one was away.
async fn end_all_strays(inner: &Inner) {
    let Some(membership) = &inner.membership else { return };
    for engine in [&inner.engines.local, &inner.engines.docker] {
        // A runtime that does not answer runs nothing that could be ended now.
        for (project, issue) in engine.issues_here().await.unwrap_or_default() {
            end_strays(membership, engine, &project, &issue).await;
        }
    }
}

async fn end_strays(membership: &Membership, engine: &Engine, project: &ProjectName, issue: &IssueKey) {
    if !matches!(membership.belongs(project, issue).await, Ok(Belongs::Elsewhere)) {
        return;
    }
    tracing::warn!(project = %project, issue = %issue, "another worker has the issue; what runs of it here is ended");
    if let Err(error) = engine.end_strays(project, issue).await {
        tracing::warn!(project = %project, issue = %issue, error = %error.chain(), "it cannot be ended");
    }
}

/// Whether its worktree is still to be made.
fn needs_repository(record: &TaskRecord) -> bool {
    let begins =
        matches!(record.state, TaskState::Queued | TaskState::Preparing | TaskState::BackingOff { .. });
    begins && record.cancel_requested_at.is_none()
}

fn waits_for_a_person(record: &TaskRecord) -> bool {
    let is_held = matches!(record.state, TaskState::AwaitingApproval { .. } | TaskState::OverBudget { .. });
    is_held && record.cancel_requested_at.is_none()
}

async fn is_here(membership: &Membership, record: &TaskRecord) -> bool {
    let belongs = membership.belongs(&record.task.project, &record.task.issue).await;
    matches!(belongs, Ok(Belongs::Here | Belongs::ToNobody))
}

async fn drive(
    inner: &Inner,
    board: &Mutex<Board>,
    engine: &Engine,
    record: &TaskRecord,
    nudge: &Notify,
    stop: &CancellationToken,
) {
    let id = &record.task.id;
    let publishing = watch::Sender::new(false);
    let mut teller = Teller { inner, publishing: publishing.clone() };
    let driving = async { engine.drive(id, &mut teller, nudge).await };
    let stopped = async {
        stop.cancelled().await;
        match inner.settings.on_stop {
            OnStop::LeaveAgents => {}
            OnStop::Drain => return inner.settings.hurry.cancelled().await,
            OnStop::StopAgents => return until_ended(inner, engine, id).await,
        }
        // A branch or pull request that is on its way is not torn off. Everything else is found again as it stands.
        let mut publishing = publishing.subscribe();
        let ended = publishing.wait_for(|publishing| !*publishing);
        drop(tokio::time::timeout(FINISH_WITHIN, ended).await);
    };
    let driven = tokio::select! {
       biased;
        () = stopped => None,
        driven = driving => Some(driven),
    };
    let Some(driven) = driven else {
        if inner.settings.on_stop == OnStop::StopAgents {
            // It may have begun in the very moment.
            end(engine, id).await;
        }
        return;
    };
    let mut board = lock(board);
    match driven {
        Ok(record) => {
            board.resting.remove(id);
            // What waits for its turn is chosen anew at each look.
            if !record.state.status().is_terminal() && !record.state.waits_for_turn() {
                board.held.insert(id.clone(), record.version);
            }
            tracing::info!(task.id = %id, status = %record.state.status(), "the task is no longer driven");
        }
        Err(error) => {
            let last = board.resting.get(id).map_or(FIRST_WAIT, |rest| (rest.last * 2).min(LONGEST_WAIT));
            let until =
                Instant::now() + error.not_before(inner.clock.now()).map_or(last, |wait| wait.max(last));
            board.resting.insert(id.clone(), Rest { until, last });
            inner.wakes.leftovers.notify_one();
            tracing::warn!(
                task.id = %id, retry.after_s = last.as_secs(), error = %error.chain(),
                "the task cannot be driven on now"
            );
        }
    }
}

/// Ends the task's agent, and waits until its work is taken: the driver goes on meanwhile. What has no agent is left as it is.
async fn until_ended(inner: &Inner, engine: &Engine, id: &TaskId) {
    loop {
        end(engine, id).await;
        let works = match inner.store.task(id).await {
            Ok(Some(record)) => matches!(
                record.state,
                TaskState::Running { .. } | TaskState::Importing { .. } | TaskState::Publishing { .. }
            ),
            Ok(None) | Err(_) => false,
        };
        if !works {
            return;
        }
        tokio::select! {
            biased;
            () = inner.settings.hurry.cancelled() => return,
            () = tokio::time::sleep(LOOK_AT_ENDING) => {}
        }
    }
}

async fn end(engine: &Engine, id: &TaskId) {
    if let Err(error) = engine.end_with_service(id).await {
        tracing::warn!(task.id = %id, error = %error.chain(), "an agent could not be ended and goes on");
    }
}

impl Board {
    /// Another worker has it, or nobody can have it now. It is asked for again, in case that one dies.
    fn leave_to_others(&mut self, record: &TaskRecord) {
        let rest = Rest { until: Instant::now() + LOOK_AGAIN, last: FIRST_WAIT };
        self.resting.insert(record.task.id.clone(), rest);
    }

    /// Whether a task is not to be left alone. One that is left alone holds no place.
    fn heeds(&self, record: &TaskRecord) -> bool {
        let id = &record.task.id;
        let is_unwanted = record.cancel_requested_at.is_some();
        if let Some(nudge) = self.driven.get(id) {
            // Its row may say something new: a cancel request is no event of its container.
            if is_unwanted {
                nudge.notify_one();
            }
            return true;
        }
        let rests = self.resting.get(id).is_some_and(|rest| Instant::now() < rest.until);
        let is_held = self.held.get(id) == Some(&record.version) && !is_unwanted;
        !rests && !is_held
    }
}

fn lock(board: &Mutex<Board>) -> std::sync::MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Tells the talk loop that there is something to say.
struct Teller<'a> {
    inner: &'a Inner,
    /// Whether something is being written to the forge.
    publishing: watch::Sender<bool>,
}

impl Observer for Teller<'_> {
    fn notice(&mut self, notice: Notice<'_>) {
        match notice {
            Notice::State(record) => {
                tracing::info!(task.id = %record.task.id, status = %record.state.status(), "the task moved on");
                self.publishing.send_replace(false);
                self.inner.touch_task(record);
            }
            Notice::Report(_) => self.inner.wakes.talk.notify_one(),
            Notice::Warning(text) => tracing::warn!(warning = text, "a driver warns"),
            Notice::Step(step) => drop(self.publishing.send_replace(matches!(step, Step::Publish))),
            Notice::Event(_) | Notice::Delivered { .. } => {}
            Notice::Pushed { .. } | Notice::PullRequest { .. } => {}
        }
    }
}

impl Dirty {
    /// What was taken and came to nothing, beside what came meanwhile.
    pub(super) fn take_back(&mut self, taken: Self) {
        self.all |= taken.all;
        self.numbers.extend(taken.numbers);
        self.issues.extend(taken.issues);
    }
}

/// Threads that something is to be said in, by our issue or by number.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    /// Every thread: after a start nobody knows what was said last.
    pub(super) all: bool,
    /// By the forge's number.
    pub(super) numbers: BTreeSet<(cloud_code_model::ProjectName, u64)>,
    /// By our key, where the number has to be looked up.
    pub(super) issues: BTreeSet<(cloud_code_model::ProjectName, cloud_code_model::IssueKey)>,
}
