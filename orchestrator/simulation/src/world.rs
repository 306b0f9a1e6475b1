//! The world around the engine: what is so outside its process, the clock, and chance. It outlives every crash.
//!
//! One seed, one world, one thread. Whatever asks the world something goes by [`World::call`], where chance may be slow,
//! refuse, lose the answer after the effect, or end the process. All of it is drawn from the seed in the order of the
//! calls, and that order is the same each time: the executor has one thread, and no time passes but the world's own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cloud_code_fault_points::{Pass, Point};
use cloud_code_model::{Clock, IdSource};
use cloud_code_task_schema::TaskId;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::chance::Chance;
use crate::containers::Containers;
use crate::hub::Hub;
use crate::people::Script;
use crate::repository::Repositories;

/// When the world begins, in seconds of 1970's count.
const BEGINNING: i64 = 1_795_000_000;

/// Something that chance does to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The process ends before the effect.
    CrashBefore,
    /// The process ends after the effect.
    CrashAfter,
    /// An error, and nothing was done.
    Refuse,
    /// It was done, and the answer is an error.
    Lose,
    /// It takes seconds.
    Slow,
    /// A limit is reached, and nothing was done.
    Limit,
    /// There is no room on the disk, and nothing was done.
    Full,
}

impl Fault {
    /// Its name among what was drawn.
    const fn name(self) -> &'static str {
        match self {
            Self::CrashBefore => "killed before an effect",
            Self::CrashAfter => "killed after an effect",
            Self::Refuse => "refused",
            Self::Lose => "answers lost",
            Self::Slow => "slow answers",
            Self::Limit => "limits",
            Self::Full => "full disks",
        }
    }
}

/// What happens by itself, later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// An agent does the next thing.
    Agent {
        /// In this container.
        container: String,
    },
    /// The forge calls.
    Deliver {
        /// With this delivery.
        id: u64,
    },
    /// Somebody does something.
    People,
    /// A fault of the machine.
    Host(Mishap),
}

/// A fault of the machine, at no call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// `kill -9` of the orchestrator.
    Crash,
    /// A stop in good order, and a start.
    Restart,
    /// `kill -9` of an agent.
    KillAgent,
    /// A container is taken away.
    RemoveContainer,
    /// The runtime is restarted: whatever runs is ended.
    RestartRuntime,
    /// Somebody sets the clock.
    SetClock,
}

impl Mishap {
    /// Its name among what was drawn.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Crash => "killed at a time",
            Self::Restart => "stopped and started",
            Self::KillAgent => "agents killed",
            Self::RemoveContainer => "containers taken away",
            Self::RestartRuntime => "runtime restarts",
            Self::SetClock => "clocks set",
        }
    }
}

/// How many faults there still are.
#[derive(Debug, Clone)]
pub(crate) struct Faults {
    /// How many more.
    pub(crate) left: u32,
    /// How many there were.
    pub(crate) given: u32,
    /// One call in so many gets one.
    pub(crate) rarity: u64,
}

/// What is so.
pub(crate) struct State {
    pub(crate) chance: Chance,
    pub(crate) faults: Faults,
    pub(crate) hub: Hub,
    pub(crate) containers: Containers,
    pub(crate) repositories: Repositories,
    pub(crate) script: Script,
    /// What must never be so and was.
    pub(crate) broken: Vec<String>,
    /// Whether the process has ended and nobody has noticed.
    pub(crate) is_crashed: bool,
    pub(crate) crashes_at: BTreeMap<&'static str, u32>,
    /// How often each kind of trouble was met.
    pub(crate) troubles: BTreeMap<&'static str, u32>,
    queue: BTreeMap<(Duration, u64), Event>,
    queued: u64,
    /// When this life of the process began, by the world's count and by the executor's.
    life: (Duration, Option<Instant>),
    skew: SignedDuration,
    ids: u64,
    trace: Option<Vec<String>>,
    digest: u64,
    watches: BTreeMap<u64, (PathBuf, mpsc::Sender<()>)>,
}

/// A handle on the world.
#[derive(Clone)]
pub(crate) struct World {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Something is to be looked at by whoever drives the world.
    woken: Notify,
    /// A container changed.
    moved: Notify,
}

/// How long a slow answer of the store takes.
const SLOW: Duration = Duration::from_secs(4);
/// How chatty a call is to be in the trace.
const LOUD: [&str; 3] = ["transition", "decide", "settle_intent"];

impl World {
    pub(crate) fn new(chance: Chance, faults: Faults, script: Script, is_traced: bool) -> Self {
        let state = State {
            chance,
            faults,
            hub: Hub::default(),
            containers: Containers::default(),
            repositories: Repositories::new(),
            script,
            broken: Vec::new(),
            is_crashed: false,
            crashes_at: BTreeMap::new(),
            troubles: BTreeMap::new(),
            queue: BTreeMap::new(),
            queued: 0,
            life: (Duration::ZERO, None),
            skew: SignedDuration::ZERO,
            ids: 0,
            trace: is_traced.then(Vec::new),
            digest: 0,
            watches: BTreeMap::new(),
        };
        let (woken, moved) = (Notify::new(), Notify::new());
        Self { shared: Arc::new(Shared { state: Mutex::new(state), woken, moved }) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is to be looked at by whoever drives the world.
    pub(crate) async fn woken(&self) {
        self.shared.woken.notified().await;
    }

    pub(crate) fn wake(&self) {
        self.shared.woken.notify_one();
    }

    /// A container changed.
    pub(crate) fn moved(&self) -> &Notify {
        &self.shared.moved
    }

    /// A new life of the process begins.
    pub(crate) fn begin_life(&self) {
        let mut state = self.state();
        state.is_crashed = false;
        state.life.1 = Some(Instant::now());
    }

    /// It is over. The world goes on without it for a while.
    pub(crate) fn end_life(&self, at: Duration) {
        let mut state = self.state();
        state.life = (at, None);
        state.watches.clear();
    }

    /// The process ends here: whoever asks anything afterwards gets no answer.
    fn crash(&self, state: &mut State, place: &'static str) {
        if !state.is_crashed {
            state.is_crashed = true;
            *state.crashes_at.entry(place).or_default() += 1;
            state.note(|| format!("CRASH at {place}"));
            self.wake();
        }
    }

    /// The fault of a call, for one whose effect is elsewhere. Never answers after a crash.
    pub(crate) async fn fault(&self, what: &'static str, menu: &[Fault]) -> Option<Fault> {
        let Some((fault, _)) = self.asked(what, 0, menu) else { return never().await };
        match fault {
            Some(Fault::Slow) => tokio::time::sleep(SLOW).await,
            // Others may come in between.
            None if self.yields() => tokio::task::yield_now().await,
            _ => {}
        }
        fault
    }

    fn yields(&self) -> bool {
        self.state().chance.one_in(4)
    }

    /// The process ends at a place of the caller's, who never hears of anything again.
    pub(crate) async fn crash_here(&self, what: &'static str) {
        {
            let mut state = self.state();
            self.crash(&mut state, what);
        }
        never::<()>().await;
    }

    /// Whether the process has ended.
    pub(crate) async fn goes_on(&self) {
        let is_crashed = self.state().is_crashed;
        if is_crashed {
            never::<()>().await;
        }
    }

    /// One question to the world: maybe a fault of the `menu`, else the effect. `latency` is what an answer takes at most,
    /// in milliseconds.
    pub(crate) async fn call<T, E>(
        &self,
        what: &'static str,
        latency: u64,
        menu: &[Fault],
        error: impl Fn(Fault, &State) -> E,
        effect: impl FnOnce(&mut State) -> Result<T, E>,
    ) -> Result<T, E> {
        let Some((fault, wait)) = self.asked(what, latency, menu) else { return never().await };
        if wait > 0 {
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
        match self.answered(what, fault, error, effect) {
            Some(answer) => answer,
            None => never().await,
        }
    }

    /// The fault of a call, and how many milliseconds it takes; none if the process has ended.
    fn asked(&self, what: &'static str, latency: u64, menu: &[Fault]) -> Option<(Option<Fault>, u64)> {
        let mut state = self.state();
        if state.is_crashed {
            return None;
        }
        let fault = state.draw(what, menu);
        if fault == Some(Fault::CrashBefore) {
            self.crash(&mut state, what);
            return None;
        }
        let wait = match fault {
            Some(Fault::Slow) => state.chance.between(1_000, 30_000),
            _ if latency > 0 => state.chance.between(1, latency),
            _ => 0,
        };
        Some((fault, wait))
    }

    /// The effect and the answer; no answer if the process has ended.
    fn answered<T, E>(
        &self,
        what: &'static str,
        fault: Option<Fault>,
        error: impl Fn(Fault, &State) -> E,
        effect: impl FnOnce(&mut State) -> Result<T, E>,
    ) -> Option<Result<T, E>> {
        let mut state = self.state();
        if state.is_crashed {
            return None;
        }
        Some(match fault {
            Some(fault @ (Fault::Refuse | Fault::Limit | Fault::Full)) => Err(error(fault, &state)),
            Some(Fault::Lose) => effect(&mut state).and_then(|_| Err(error(Fault::Lose, &state))),
            Some(Fault::CrashAfter) => {
                drop(effect(&mut state));
                self.crash(&mut state, what);
                return None;
            }
            Some(Fault::CrashBefore | Fault::Slow) | None => effect(&mut state),
        })
    }

    /// The same for work that blocks. After a crash it answers with an error, which comes to nothing: nobody is there to
    /// act on it.
    pub(crate) fn call_blocking<T, E>(
        &self,
        what: &'static str,
        menu: &[Fault],
        error: impl Fn(Fault, &State) -> E,
        effect: impl FnOnce(&mut State) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut state = self.state();
        if state.is_crashed {
            return Err(error(Fault::Refuse, &state));
        }
        match state.draw(what, menu) {
            Some(fault @ (Fault::Refuse | Fault::Limit | Fault::Full)) => Err(error(fault, &state)),
            Some(Fault::Lose) => effect(&mut state).and_then(|_| Err(error(Fault::Lose, &state))),
            Some(Fault::CrashBefore) => {
                self.crash(&mut state, what);
                Err(error(Fault::CrashBefore, &state))
            }
            Some(Fault::CrashAfter) => {
                drop(effect(&mut state));
                self.crash(&mut state, what);
                Err(error(Fault::CrashAfter, &state))
            }
            Some(Fault::Slow) | None => effect(&mut state),
        }
    }

    /// A fault point is passed.
    pub(crate) fn pass(&self, point: Point) -> Pass {
        let mut state = self.state();
        if !state.is_crashed && state.draw(point.name(), &[Fault::CrashBefore]).is_some() {
            self.crash(&mut state, point.name());
        }
        if state.is_crashed { Pass::Never } else { Pass::GoOn }
    }

    /// A file of a folder changed.
    pub(crate) fn changed(state: &State, folder: &Path) {
        for (watched, wake) in state.watches.values() {
            if watched == folder {
                // A full channel holds a wake-up already.
                let _ = wake.try_send(());
            }
        }
    }

    pub(crate) fn watch(&self, folder: &Path, wake: mpsc::Sender<()>) -> u64 {
        let mut state = self.state();
        let id = state.fresh();
        state.watches.insert(id, (folder.to_owned(), wake));
        id
    }

    pub(crate) fn unwatch(&self, id: u64) {
        self.state().watches.remove(&id);
    }
}

/// Nobody answers any more.
async fn never<T>() -> T {
    std::future::pending().await
}

impl State {
    /// What chance does to a call.
    fn draw(&mut self, what: &'static str, menu: &[Fault]) -> Option<Fault> {
        if self.faults.left == 0 || menu.is_empty() || !self.chance.one_in(self.faults.rarity) {
            if LOUD.contains(&what) {
                self.note(|| what.to_owned());
            }
            return None;
        }
        let fault = self.chance.pick(menu)?;
        self.faults.left -= 1;
        self.faults.given += 1;
        let number = self.faults.given;
        self.count(fault.name());
        self.note(|| format!("fault {number}: {fault:?} at {what}"));
        Some(fault)
    }

    /// Counts a trouble.
    pub(crate) fn count(&mut self, kind: &'static str) {
        *self.troubles.entry(kind).or_default() += 1;
    }

    /// How long the world lasts.
    pub(crate) fn now(&self) -> Duration {
        self.life.0 + self.life.1.map_or(Duration::ZERO, |began| Instant::now().duration_since(began))
    }

    /// Moves the world on while the process is down.
    pub(crate) fn skip_to(&mut self, at: Duration) {
        if self.life.1.is_none() {
            self.life.0 = self.life.0.max(at);
        }
    }

    /// What a right clock says.
    pub(crate) fn time(&self) -> Timestamp {
        let beginning = Timestamp::from_second(BEGINNING).unwrap_or_default();
        beginning.checked_add(self.now()).unwrap_or(Timestamp::MAX)
    }

    /// The same to the second, as forges tell it.
    pub(crate) fn second(&self) -> Timestamp {
        Timestamp::from_second(self.time().as_second()).unwrap_or_default()
    }

    /// What this machine's clock says.
    pub(crate) fn clock(&self) -> Timestamp {
        self.time().checked_add(self.skew).unwrap_or(Timestamp::MAX)
    }

    pub(crate) fn set_clock(&mut self, skew: SignedDuration) {
        self.note(|| {
            format!("the clock is set to {}{}s", if skew.is_negative() { "" } else { "+" }, skew.as_secs())
        });
        self.skew = skew;
    }

    /// A number that was never given before.
    pub(crate) const fn fresh(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    /// Has something happen later.
    pub(crate) fn later(&mut self, wait: Duration, event: Event) {
        let at = (self.now() + wait, self.queued);
        self.queued += 1;
        self.queue.insert(at, event);
    }

    /// When the next thing happens by itself.
    pub(crate) fn next_at(&self) -> Option<Duration> {
        self.queue.keys().next().map(|(at, _)| *at)
    }

    /// What is due.
    pub(crate) fn due(&mut self) -> Option<Event> {
        let now = self.now();
        let first = self.queue.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }

    /// Whether nothing happens by itself any more.
    pub(crate) fn is_quiet(&self) -> bool {
        self.queue.is_empty()
    }

    /// A line of the trace.
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if self.trace.is_none() {
            return;
        }
        let line = format!("{:>10.3} {}", self.now().as_secs_f64(), line());
        self.digest = self.digest.rotate_left(5) ^ cloud_code_model::fnv1a(line.as_bytes());
        if let Some(trace) = &mut self.trace {
            trace.push(line);
        }
    }

    /// What must never be so.
    pub(crate) fn breaks(&mut self, what: String) {
        self.note(|| format!("BROKEN: {what}"));
        if !self.broken.contains(&what) {
            self.broken.push(what);
        }
    }

    pub(crate) fn take_trace(&mut self) -> Vec<String> {
        self.trace.take().unwrap_or_default()
    }
}

impl Clock for World {
    fn now(&self) -> Timestamp {
        self.state().clock()
    }
}

impl IdSource for World {
    fn task_id(&self) -> TaskId {
        let number = self.state().fresh();
        let text = format!("01SEED{number:020}");
        text.parse().unwrap_or_else(|_| unreachable!("a ULID's letters and length"))
    }
}
