//! The service: what `cloud-code serve` does between a forge and the tasks. Six loops, each level-triggered: it reads what
//! is so, does what is next, and may be killed at any point.
//!
//! ```text
//! deliveries ─► receive ─► requests ─► tasks ─► drivers
//!                  │           │                   │
//!                  ├─► bases ──┤                   │
//!                  ├───────────┴──── talk ◄────────┤
//!                  └─────────────── merges ◄────────┘
//! ```
//!
//! `receive` turns deliveries into requests that somebody may make. `requests` turns them into tasks and answers.
//! `bases` holds published work against branches that moved. `drivers` drives tasks. `talk` makes the forge say what is so.
//! `merges` merges what a project lets us merge. What one loop leaves behind wakes the next; a timer wakes
//! all, so a lost wake-up costs seconds and no work.

mod answers;
mod bases;
mod drivers;
mod facts;
mod front;
mod leftovers;
mod membership;
mod merges;
mod pauses;
mod projects;
mod receive;
mod requests;
mod says;
mod status;
mod sweep;
mod talk;
mod text;
mod unread;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cloud_code_metrics::pulses;
use cloud_code_model::{Clock, QueueLimits, RuntimeKind};
use cloud_code_store::Wake;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use membership::{Membership, Role};
pub use projects::{Projects, ServedProject};
pub use sweep::{HookLog, SweepMode};

use crate::{Engine, EngineError, Rows};

/// How long each loop sleeps when nothing wakes it. A wake-up that was lost costs this much; lower reads the store for
/// nothing.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Longest silence of a loop that only reads the store and sets others to work.
const DISPATCH_PATIENCE: Duration = LOOK_AGAIN.saturating_mul(12);
/// Longest silence of a loop that asks the forge, one thing after another: a forge that does not answer costs a look minutes,
/// and is no fault of the loop.
const LOOK_PATIENCE: Duration = LOOK_AGAIN.saturating_mul(120);
/// How often a running task's progress is written to the forge: 240 edits an hour for one busy task, of the 500 writes
/// that GitHub allows. Ends and questions are written at once.
const PROGRESS_EVERY: Duration = Duration::from_secs(15);

/// How long a look that has begun may take to end after we were told to stop. GitHub gives an answer within ten seconds;
/// cut off sooner, a write whose answer is lost has to be looked for at the next start. A service manager kills after
/// 30 to 90 seconds.
const FINISH_WITHIN: Duration = Duration::from_secs(10);

/// What wakes the loops.
#[derive(Debug, Default)]
pub struct Wakes {
    /// A delivery was stored.
    pub received: Arc<Notify>,
    /// A request waits, or a task ended for which one waited.
    pub(crate) requests: Notify,
    /// A request has no reaction yet.
    pub(crate) reactions: Notify,
    /// A task was added or may go on.
    pub(crate) tasks: Notify,
    /// Something is to be said.
    pub(crate) talk: Notify,
    /// A branch moved.
    pub(crate) bases: Notify,
    /// A pull request may be ready to be merged.
    pub(crate) merges: Notify,
    /// A task could not be driven to its end, and may have left something.
    pub(crate) leftovers: Notify,
}

/// What becomes of agents that work when the service is told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnStop {
    /// They go on; the next start finds them.
    #[default]
    LeaveAgents,
    /// They are waited for, each to the end of its task. Nothing new is begun.
    Drain,
    /// They are ended with their work committed; the next start goes on with another attempt.
    StopAgents,
}

/// How the service runs.
#[derive(Debug, Clone)]
pub struct ServiceSettings {
    /// How many tasks run at one time.
    pub limits: QueueLimits,
    /// How events are fetched that nobody brought.
    pub sweep: SweepMode,
    /// Shortest time between two writes of one task's progress.
    pub progress_every: Duration,
    /// What this process does of it all.
    pub role: Role,
    /// What becomes of agents that work at the end.
    pub on_stop: OnStop,
    /// Cancelled when nobody wants to wait any more for what [`OnStop`] waits for: what works is left then.
    pub hurry: CancellationToken,
}

impl Default for ServiceSettings {
    fn default() -> Self {
        Self {
            limits: QueueLimits::default(),
            sweep: SweepMode::Off,
            progress_every: PROGRESS_EVERY,
            role: Role::All,
            on_stop: OnStop::default(),
            hurry: CancellationToken::new(),
        }
    }
}

/// The engine of each runtime.
#[derive(Clone)]
pub struct Engines {
    /// In containers.
    pub docker: Arc<Engine>,
    /// As child processes.
    pub local: Arc<Engine>,
}

impl Engines {
    pub(crate) fn of(&self, kind: RuntimeKind) -> &Arc<Engine> {
        match kind {
            RuntimeKind::Docker => &self.docker,
            RuntimeKind::Local => &self.local,
        }
    }
}

/// The service of one installation.
#[derive(Clone)]
pub struct Service {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) store: Arc<dyn Rows>,
    pub(crate) engines: Engines,
    pub(crate) projects: Projects,
    pub(crate) settings: ServiceSettings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) wakes: Arc<Wakes>,
    pub(crate) talk: talk::Talk,
    pub(crate) merges: merges::Merges,
    pub(crate) missed: unread::Missed,
    /// Repositories, by the forge's number, that could not be asked about.
    pub(crate) pauses: pauses::Pauses<u64>,
    /// Held while a request is looked for and stored.
    pub(crate) hearing: tokio::sync::Mutex<()>,
    /// Projects whose repository could not be fetched.
    pub(crate) base_pauses: pauses::Pauses<cloud_code_model::ProjectName>,
    /// With whom the store is shared; nobody, as a rule.
    pub(crate) membership: Option<Membership>,
    /// Whether this process is the one that speaks with the forge.
    pub(crate) is_front: AtomicBool,
}

impl Inner {
    /// Whether this process answers what belongs to no worker.
    pub(crate) fn is_front(&self) -> bool {
        self.is_front.load(Ordering::Acquire)
    }

    /// The same error, told as a shortage of this machine when that is what it is: it passes, and nothing is given up for it.
    pub(crate) fn or_shortage(&self, error: EngineError) -> EngineError {
        error.or_shortage(self.engines.docker.settings().layout.home())
    }

    /// Whose texts they are: two installations on one repository do not touch each other's.
    pub(crate) fn instance(&self) -> &str {
        self.engines.docker.settings().instance.as_str()
    }
}

impl Service {
    /// Puts it together; nothing runs yet.
    pub fn new(
        store: impl Rows + 'static,
        engines: Engines,
        projects: Projects,
        settings: ServiceSettings,
        clock: Arc<dyn Clock>,
        wakes: Arc<Wakes>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                store: Arc::new(store),
                engines,
                projects,
                settings,
                wakes,
                talk: talk::Talk::new(),
                merges: merges::Merges::new(),
                missed: unread::Missed::default(),
                hearing: tokio::sync::Mutex::default(),
                pauses: pauses::Pauses::new(clock.clone()),
                base_pauses: pauses::Pauses::new(clock.clone()),
                clock,
                membership: None,
                is_front: AtomicBool::new(false),
            }),
        }
    }

    /// The same on a store that several processes share. Before anything runs.
    #[must_use]
    pub fn among(self, membership: Membership) -> Self {
        let inner = Arc::try_unwrap(self.inner).map(|inner| Inner { membership: Some(membership), ..inner });
        Self { inner: inner.map_or_else(|shared| shared, Arc::new) }
    }

    /// Runs until `stop` is cancelled, and as much longer as [`OnStop`] says.
    ///
    /// Cancels `stop` itself when another process was started for this worker.
    pub async fn run(self, stop: CancellationToken) {
        let Some(membership) = &self.inner.membership else { return self.work(stop).await };
        // Leases are kept until the last of what is done under them has ended.
        let ended = CancellationToken::new();
        let living = async {
            if let Err(error) = membership.live(&ended).await {
                tracing::error!(error = %error, "this process stops");
                stop.cancel();
            }
        };
        let working = async {
            self.work(stop.clone()).await;
            ended.cancel();
        };
        tokio::join!(living, working, heed(&self.inner, membership, &ended));
    }

    async fn work(&self, stop: CancellationToken) {
        let tracker = TaskTracker::new();
        let service = &self.inner;
        let role = service.settings.role;
        // While agents are waited for, people are told how they end.
        let silence = match service.settings.on_stop {
            OnStop::LeaveAgents => stop.clone(),
            OnStop::Drain | OnStop::StopAgents => CancellationToken::new(),
        };
        if role.fronts() {
            tracker.spawn(front::run(service.clone(), stop.clone(), silence.clone()));
        }
        // A worker has its part of them: those that need the workspaces on its disk.
        tracker.spawn(requests::run(service.clone(), stop.clone()));
        let (driven, told, drives) =
            (drivers::run(service.clone(), stop.clone()), silence.clone(), role.drives());
        let until = stop.clone();
        tracker.spawn(async move {
            match drives {
                true => driven.await,
                false => until.cancelled().await,
            }
            told.cancel();
        });
        tracker.spawn(crate::keep::prune_now_and_then(service.clone(), stop.clone()));
        if role.drives() {
            tracker.spawn(leftovers::run(service.clone(), stop.clone()));
        }
        tracker.close();
        tracker.wait().await;
    }
}

/// Passes on what other processes say. What is lost on the way is found by looking: each loop does, and what is to be said
/// of other processes' doings is looked at as often as progress is written.
async fn heed(inner: &Inner, membership: &Membership, stop: &CancellationToken) {
    let mut wakes = tokio::select! {
        () = stop.cancelled() => return,
        wakes = listen(membership) => wakes,
    };
    loop {
        let wake = tokio::select! {
            () = stop.cancelled() => return,
            wake = wakes.next() => wake,
            () = tokio::time::sleep(inner.settings.progress_every) => {
                inner.touch_all();
                continue;
            }
        };
        let own = &inner.wakes;
        match wake {
            Wake::Deliveries => own.received.notify_one(),
            Wake::Requests => {
                own.requests.notify_one();
                own.reactions.notify_one();
            }
            Wake::Tasks => {
                own.tasks.notify_one();
                own.requests.notify_one();
                inner.touch_all();
            }
            Wake::Notes => own.talk.notify_one(),
            Wake::Leases => own.tasks.notify_one(),
            Wake::Everything => {
                for one in [&own.requests, &own.reactions, &own.tasks, &own.bases] {
                    one.notify_one();
                }
                own.received.notify_one();
                inner.touch_all();
            }
        }
    }
}

async fn listen(membership: &Membership) -> cloud_code_store::Wakes {
    loop {
        match membership.store().wakes().await {
            Ok(wakes) => return wakes,
            Err(error) => tracing::debug!(error = %error, "the database cannot be listened to"),
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Looks, sleeps until woken or a while has passed, looks again. An error is told and ends only that look.
async fn repeat<F, Fut>(
    name: &'static str,
    stop: CancellationToken,
    inner: Arc<Inner>,
    wake: fn(&Inner) -> &Notify,
    look: F,
) where
    F: Fn(Arc<Inner>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<(), EngineError>> + Send,
{
    let pulse = pulses().begin(name, LOOK_PATIENCE);
    loop {
        pulse.beat();
        let woken = wake(&inner).notified();
        let mut looking = std::pin::pin!(look(inner.clone()));
        let looked = tokio::select! {
            biased;
            looked = &mut looking => Some(looked),
            // What it is in the middle of writing is not torn off.
            () = stop.cancelled() => tokio::time::timeout(FINISH_WITHIN, looking).await.ok(),
        };
        if let Some(Err(error)) = looked {
            tracing::warn!(service.r#loop = name, error = %error.chain(), "a look of the service failed");
        }
        pulse.beat();
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = woken => {}
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
    pulse.ends();
}
