//! Who works on which thread's requests now, and which thread is left alone for a while.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cloud_code_metrics::pulses;
use cloud_code_model::{Ask, Command, IntentRecord, IssueKey, ProjectName};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::membership::{Belongs, Membership};
use super::super::{DISPATCH_PATIENCE, FINISH_WITHIN, Inner, LOOK_AGAIN};
use super::in_thread;
use crate::EngineError;

/// How many threads' requests are worked on at one time. Most of it is waiting: for a fetch, for the forge.
const AT_ONCE: usize = 16;
/// First wait after a thread's requests could not be worked on; doubles up to the longest. A person's new word there ends it.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// What is worked on one after the other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Lane {
    project: ProjectName,
    number: u64,
    /// A `cancel` does not wait for what it is to stop.
    is_cancel: bool,
}

#[derive(Default)]
struct Board {
    /// With whether something came meanwhile.
    busy: BTreeMap<Lane, bool>,
    resting: BTreeMap<Lane, Rest>,
}

struct Rest {
    until: Instant,
    last: Duration,
    /// What was tried.
    keys: BTreeSet<String>,
}

/// Runs until `stop`.
pub(in super::super) async fn run(inner: Arc<Inner>, stop: CancellationToken) {
    let board = Arc::new(Mutex::new(Board::default()));
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let tracker = TaskTracker::new();
    let pulse = pulses().begin("requests", DISPATCH_PATIENCE);
    loop {
        pulse.beat();
        let woken = inner.wakes.requests.notified();
        if let Err(error) = look(&inner, &board, &places, &tracker, &stop).await {
            tracing::warn!(error = %error.chain(), "the waiting requests cannot be read");
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = woken => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
    pulse.ends();
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
    for (lane, records) in lanes(inner).await? {
        if !lock(board).may_take(&lane, &records) {
            continue;
        }
        let (inner, board, places, stop) = (inner.clone(), board.clone(), places.clone(), stop.clone());
        tracker.spawn(async move {
            let worked = async {
                // A `cancel` takes no place: what it stops may have them all.
                let _place = match lane.is_cancel {
                    true => None,
                    false => places.acquire().await.ok(),
                };
                in_thread(&inner, &lane.project, lane.number, &records).await
            };
            let mut worked = std::pin::pin!(worked);
            let worked = tokio::select! {
                biased;
                worked = &mut worked => Some(worked),
                // What it is in the middle of writing is not torn off.
                () = stop.cancelled() => tokio::time::timeout(FINISH_WITHIN, worked).await.ok(),
            };
            let something_came = lock(&board).leave(&inner, &lane, &records, worked);
            if something_came {
                inner.wakes.requests.notify_one();
            }
        });
    }
    Ok(())
}

/// What waits, by lane, oldest first.
async fn lanes(inner: &Inner) -> Result<BTreeMap<Lane, Vec<IntentRecord>>, EngineError> {
    let mut lanes: BTreeMap<Lane, Vec<IntentRecord>> = BTreeMap::new();
    for record in inner.store.waiting_intents().await? {
        let thread = inner.thread(&record.project, record.intent.number).await?;
        let issue = thread.as_ref().and_then(|thread| thread.facts.issue.as_ref());
        if !is_ours(inner, &record.project, issue).await? {
            continue;
        }
        let number = thread.map_or(record.intent.number, |thread| thread.number);
        let is_cancel = matches!(record.intent.ask, Ask::Command { command: Command::Cancel });
        let lane = Lane { project: record.project.clone(), number, is_cancel };
        lanes.entry(lane).or_default().push(record);
    }
    Ok(lanes)
}

/// Whether this process answers a request: that of an issue is answered by the worker whose disk has its workspace, any other
/// one by the front.
async fn is_ours(
    inner: &Inner,
    project: &ProjectName,
    issue: Option<&IssueKey>,
) -> Result<bool, EngineError> {
    let (Some(membership), Some(issue)) = (&inner.membership, issue) else { return Ok(inner.is_front()) };
    Ok(match membership.belongs(project, issue).await? {
        Belongs::ToNobody => inner.is_front(),
        Belongs::Here => true,
        Belongs::Elsewhere => false,
        Belongs::ToTheDead => inner.settings.role.drives() && inner.adopt(membership, project, issue).await?,
    })
}

impl Inner {
    /// Brings an issue here whose worker is dead, for a request that needs its workspace. False while another task of this
    /// process, or another worker, has it.
    async fn adopt(
        &self,
        membership: &Membership,
        project: &ProjectName,
        issue: &IssueKey,
    ) -> Result<bool, EngineError> {
        let Some(last) = self.store.tasks_of(project, issue).await?.pop() else { return Ok(false) };
        let Some(held) = membership.claim(project, issue).await? else { return Ok(false) };
        let engine = self.engines.of(last.task.plan.runtime).under(held.clone());
        let taken = match &held.lease.moved_from {
            Some(from) => engine.take_over(&held, from).await,
            None => Ok(()),
        };
        membership.release(&held).await;
        taken.map(|()| true)
    }
}

impl Board {
    fn may_take(&mut self, lane: &Lane, records: &[IntentRecord]) -> bool {
        if let Some(something_came) = self.busy.get_mut(lane) {
            *something_came = true;
            return false;
        }
        let rests = self
            .resting
            .get(lane)
            .is_some_and(|rest| Instant::now() < rest.until && keys(records).is_subset(&rest.keys));
        if !rests {
            self.busy.insert(lane.clone(), false);
        }
        !rests
    }

    /// Whether something came meanwhile.
    fn leave(
        &mut self,
        inner: &Inner,
        lane: &Lane,
        records: &[IntentRecord],
        worked: Option<Result<(), EngineError>>,
    ) -> bool {
        match worked {
            None => {}
            Some(Ok(())) => drop(self.resting.remove(lane)),
            Some(Err(error)) => {
                let last =
                    self.resting.get(lane).map_or(FIRST_WAIT, |rest| (rest.last * 2).min(LONGEST_WAIT));
                let wait = error.not_before(inner.clock.now()).map_or(last, |wait| wait.max(last));
                let rest = Rest { until: Instant::now() + wait, last, keys: keys(records) };
                self.resting.insert(lane.clone(), rest);
                tracing::warn!(
                    project = %lane.project, issue.number = lane.number, retry.after_s = wait.as_secs(),
                    error = %error.chain(), "a request has to wait"
                );
            }
        }
        self.busy.remove(lane).unwrap_or_default()
    }
}

fn keys(records: &[IntentRecord]) -> BTreeSet<String> {
    records.iter().map(|record| record.intent.key.clone()).collect()
}

fn lock(board: &Mutex<Board>) -> MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}
