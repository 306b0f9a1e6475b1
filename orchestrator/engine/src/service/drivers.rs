//! Drives the tasks that requests made: as many at one time as the machine is to bear, each to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cloud_code_model::{ProjectPlan, TaskRecord, TaskState};
use cloud_code_task_schema::{FailureKind, TaskId};
use jiff::Timestamp;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{FINISH_WITHIN, Inner, LOOK_AGAIN};
use crate::decide::Step;
use crate::observe::{Notice, Observer};
use crate::{Engine, EngineError};

/// First wait after a task could not be driven on; doubles up to the longest. A forge's outage, a full disk and a missing
/// key are mended by others, at their pace.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// What is being driven, and what is not to be touched yet.
#[derive(Default)]
struct Board {
    driven: BTreeMap<TaskId, Arc<Notify>>,
    resting: BTreeMap<TaskId, Rest>,
    /// Tasks that wait for a person, with the version they were seen at.
    held: BTreeMap<TaskId, i64>,
}

struct Rest {
    until: Instant,
    last: Duration,
}

/// Runs until `stop`. A driver that is dropped leaves its container running; the next start finds it by its label.
pub(super) async fn run(inner: Arc<Inner>, stop: CancellationToken) {
    let board = Arc::new(Mutex::new(Board::default()));
    let places = Arc::new(Semaphore::new(inner.settings.concurrency.max(1)));
    let tracker = TaskTracker::new();
    loop {
        if let Err(error) = look(&inner, &board, &places, &tracker, &stop).await {
            tracing::warn!(error = %error.chain(), "the open tasks cannot be read");
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = inner.wakes.tasks.notified() => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
    tracker.close();
    tracker.wait().await;
}

async fn look(
    inner: &Arc<Inner>,
    board: &Arc<Mutex<Board>>,
    places: &Arc<Semaphore>,
    tracker: &TaskTracker,
    stop: &CancellationToken,
) -> Result<(), EngineError> {
    let open = inner.store.open_tasks().await?;
    let now = inner.clock.now();
    let limited = limited(&open);
    // Tasks of the command line have their own driver, which holds no place here.
    for record in open.iter().filter(|record| record.task.intent.is_some()) {
        let id = record.task.id.clone();
        let is_held_up = record.cancel_requested_at.is_none()
            && limited.get(&Account::of(&record.task.plan)).is_some_and(|until| *until > now)
            && matches!(record.state, TaskState::Queued | TaskState::BackingOff { .. });
        if is_held_up || !lock(board).may_take(record) {
            continue;
        }
        // What already has a container goes on whatever the number of places: it runs anyway.
        let place = match record.state {
            TaskState::Queued | TaskState::BackingOff { .. } if record.cancel_requested_at.is_none() => {
                match places.clone().try_acquire_owned() {
                    Ok(place) => Some(place),
                    Err(_) => continue,
                }
            }
            _ => places.clone().try_acquire_owned().ok(),
        };
        let nudge = Arc::new(Notify::new());
        lock(board).driven.insert(id.clone(), nudge.clone());
        let engine = inner.engines.of(record.task.plan.runtime).clone();
        let (inner, board, stop, record) = (inner.clone(), board.clone(), stop.clone(), record.clone());
        tracker.spawn(async move {
            drive(&inner, &board, &engine, &record, &nudge, &stop).await;
            drop(place);
            lock(&board).driven.remove(&id);
            inner.touch_task(&record);
            inner.wakes.tasks.notify_one();
            inner.wakes.requests.notify_one();
        });
    }
    Ok(())
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
        // A branch or pull request that is on its way is not torn off. Everything else is found again as it stands.
        let mut publishing = publishing.subscribe();
        let ended = publishing.wait_for(|publishing| !*publishing);
        drop(tokio::time::timeout(FINISH_WITHIN, ended).await);
    };
    let driven = tokio::select! {
        biased;
        () = stopped => return,
        driven = driving => driven,
    };
    let mut board = lock(board);
    match driven {
        Ok(record) => {
            board.resting.remove(id);
            if let TaskState::BackingOff { until, .. } = &record.state {
                let wait = Duration::try_from(until.duration_since(inner.clock.now())).unwrap_or_default();
                let rest = Rest { until: Instant::now() + wait, last: FIRST_WAIT };
                board.resting.insert(id.clone(), rest);
            } else if !record.state.status().is_terminal() {
                board.held.insert(id.clone(), record.version);
            }
            tracing::info!(task.id = %id, status = %record.state.status(), "the task is no longer driven");
        }
        Err(error) => {
            let last = board.resting.get(id).map_or(FIRST_WAIT, |rest| (rest.last * 2).min(LONGEST_WAIT));
            let until =
                Instant::now() + error.not_before(inner.clock.now()).map_or(last, |wait| wait.max(last));
            board.resting.insert(id.clone(), Rest { until, last });
            tracing::warn!(
                task.id = %id, retry.after_s = last.as_secs(), error = %error.chain(),
                "the task cannot be driven on now"
            );
        }
    }
}

/// Whose limits a task shares: tasks with the same CLI, address and keys are one customer to a provider.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Account<'a> {
    cli: &'a str,
    base_url: Option<&'a str>,
    secrets: &'a [String],
}

impl<'a> Account<'a> {
    fn of(plan: &'a ProjectPlan) -> Self {
        Self { cli: plan.cli.as_str(), base_url: plan.base_url.as_deref(), secrets: &plan.secrets }
    }
}

/// The accounts whose provider asked to wait, and until when. What one task was told holds for all of that account, so that
/// forty do not each burn an attempt to hear it. Read from the tasks themselves: no restart forgets it, and it ends by itself.
fn limited(open: &[TaskRecord]) -> BTreeMap<Account<'_>, Timestamp> {
    let mut limited = BTreeMap::new();
    for record in open {
        if let TaskState::BackingOff { failure, until, .. } = &record.state
            && matches!(failure.kind, FailureKind::RateLimited | FailureKind::UsageLimit)
        {
            let latest = limited.entry(Account::of(&record.task.plan)).or_insert(*until);
            *latest = (*latest).max(*until);
        }
    }
    limited
}

impl Board {
    fn may_take(&mut self, record: &TaskRecord) -> bool {
        let id = &record.task.id;
        if let Some(nudge) = self.driven.get(id) {
            // Its row may say something new: a cancel request is no event of its container.
            if record.cancel_requested_at.is_some() {
                nudge.notify_one();
            }
            return false;
        }
        // A cancel of what rests for its next attempt has nothing to wait for.
        let waits_for_attempt = matches!(record.state, TaskState::BackingOff { .. });
        let is_unwanted = record.cancel_requested_at.is_some() && waits_for_attempt;
        if !is_unwanted && self.resting.get(id).is_some_and(|rest| Instant::now() < rest.until) {
            return false;
        }
        let is_held = self.held.get(id) == Some(&record.version) && record.cancel_requested_at.is_none();
        !is_held
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
