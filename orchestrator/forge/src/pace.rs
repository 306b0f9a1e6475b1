//! How fast one account may ask.
//!
//! GitHub bans accounts that run against its limits, so waiting is done here and not by answers. One [`Limits`] stands
//! for one installation (or one token): its writes go one after another, at a distance, within the sliding windows, and
//! everything stops while the forge said stop. Among those who wait, the more important goes first. Who would wait too
//! long is sent away with a time instead, so that the caller can do something else meanwhile.
//!
//! Distances are measured on tokio's clock; times of day (a limit's reset) come from the model's.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cloud_code_model::Clock;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::error::ForgeError;
use crate::port::Priority;

/// The limits to keep. The defaults are GitHub's own figures for one installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Least time from the end of one write to the start of the next. GitHub asks for one second.
    pub write_gap: Duration,
    /// Writes in any minute (80). All of them are counted: which ones create content is not told.
    pub writes_per_minute: usize,
    /// Writes in any hour (500).
    pub writes_per_hour: usize,
    /// Points in any minute (900): a read is one, a write five.
    pub points_per_minute: u32,
    /// Longest wait for a turn. Lower sends callers away too early, higher keeps them from other work.
    pub patience: Duration,
    /// First wait after a limit without a time (60 s, then doubled).
    pub first_penalty: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            write_gap: Duration::from_secs(1),
            writes_per_minute: 80,
            writes_per_hour: 500,
            points_per_minute: 900,
            patience: Duration::from_secs(20),
            first_penalty: Duration::from_secs(60),
        }
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const READ_POINTS: u32 = 1;
const WRITE_POINTS: u32 = 5;
/// Longest wait after repeated limits without a time.
const MAX_PENALTY: Duration = Duration::from_secs(60 * 60);
/// Part of the windows that progress may use up; the rest is for answers and endings.
const PROGRESS_SHARE: (usize, usize) = (3, 4);

#[derive(Debug)]
struct State {
    waiting: BTreeSet<(Priority, u64)>,
    next_ticket: u64,
    writing: bool,
    next_write_at: Instant,
    stopped_until: Option<Instant>,
    strikes: u32,
    /// Starts of the writes of the last hour.
    writes: VecDeque<Instant>,
    /// Points of the last minute.
    points: VecDeque<(Instant, u32)>,
}

impl State {
    fn forget(&mut self, now: Instant) {
        while self.writes.front().is_some_and(|at| *at + HOUR <= now) {
            self.writes.pop_front();
        }
        while self.points.front().is_some_and(|(at, _)| *at + MINUTE <= now) {
            self.points.pop_front();
        }
        if self.stopped_until.is_some_and(|until| until <= now) {
            self.stopped_until = None;
        }
    }

    fn enough_points_at(&self, pace: &Pace, cost: u32, now: Instant) -> Instant {
        let mut used: u32 = self.points.iter().map(|(_, points)| points).sum();
        let mut at = now;
        for (spent_at, points) in &self.points {
            if used + cost <= pace.points_per_minute {
                break;
            }
            used -= points;
            at = *spent_at + MINUTE;
        }
        at
    }

    fn read_at(&self, pace: &Pace, now: Instant) -> Instant {
        let start = self.stopped_until.unwrap_or(now).max(now);
        start.max(self.enough_points_at(pace, READ_POINTS, now))
    }

    fn write_at(&self, pace: &Pace, priority: Priority, now: Instant) -> Instant {
        let share = |all: usize| match priority {
            Priority::Progress => (all * PROGRESS_SHARE.0 / PROGRESS_SHARE.1).max(1),
            Priority::Reaction | Priority::Terminal | Priority::Reply => all.max(1),
        };
        // The n-th newest write must have left the window before another one may start.
        let free_at = |limit: usize, window: Duration| {
            let count = self.writes.len();
            count.checked_sub(limit).and_then(|index| self.writes.get(index)).map_or(now, |at| *at + window)
        };
        self.stopped_until
            .unwrap_or(now)
            .max(self.next_write_at)
            .max(free_at(share(pace.writes_per_minute), MINUTE))
            .max(free_at(share(pace.writes_per_hour), HOUR))
            .max(self.enough_points_at(pace, WRITE_POINTS, now))
    }
}

/// The queue of one account. Copies are the same queue.
#[derive(Clone)]
pub(crate) struct Limits {
    pace: Pace,
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

/// The right to write once, now. Ends the write when it is dropped.
pub(crate) struct WriteTurn {
    limits: Limits,
}

impl Drop for WriteTurn {
    fn drop(&mut self) {
        let mut state = self.limits.state();
        state.writing = false;
        state.next_write_at = Instant::now() + self.limits.pace.write_gap;
        drop(state);
        self.limits.changed.notify_waiters();
    }
}

/// A place in the queue, given up when whoever waits goes away.
struct Ticket<'l> {
    limits: &'l Limits,
    key: (Priority, u64),
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.limits.state().waiting.remove(&self.key);
        self.limits.changed.notify_waiters();
    }
}

impl Limits {
    pub(crate) fn new(pace: Pace, clock: Arc<dyn Clock>) -> Self {
        let state = State {
            waiting: BTreeSet::new(),
            next_ticket: 0,
            writing: false,
            next_write_at: Instant::now(),
            stopped_until: None,
            strikes: 0,
            writes: VecDeque::new(),
            points: VecDeque::new(),
        };
        Self { pace, clock, state: Arc::new(Mutex::new(state)), changed: Arc::new(Notify::new()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limited(&self, until: Instant, now: Instant) -> ForgeError {
        let wait =
            SignedDuration::try_from(until.saturating_duration_since(now)).unwrap_or(SignedDuration::ZERO);
        ForgeError::Limited { until: self.clock.now().checked_add(wait).unwrap_or(Timestamp::MAX) }
    }

    /// Waits until a read may start.
    pub(crate) async fn read(&self) -> Result<(), ForgeError> {
        let deadline = Instant::now() + self.pace.patience;
        loop {
            let changed = self.changed.notified();
            let wait_until = {
                let mut state = self.state();
                let now = Instant::now();
                state.forget(now);
                let at = state.read_at(&self.pace, now);
                if at <= now {
                    state.points.push_back((now, READ_POINTS));
                    return Ok(());
                }
                if at > deadline {
                    return Err(self.limited(at, now));
                }
                at
            };
            tokio::select! {
                () = tokio::time::sleep_until(wait_until) => {}
                () = changed => {}
            }
        }
    }

    /// Waits for a turn to write.
    pub(crate) async fn write(&self, priority: Priority) -> Result<WriteTurn, ForgeError> {
        let deadline = Instant::now() + self.pace.patience;
        let ticket = {
            let mut state = self.state();
            let key = (priority, state.next_ticket);
            state.next_ticket += 1;
            state.waiting.insert(key);
            Ticket { limits: self, key }
        };
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the state is read, so that no change between the two is missed.
            changed.as_mut().enable();
            let wait_until = {
                let mut state = self.state();
                let now = Instant::now();
                state.forget(now);
                let at = state.write_at(&self.pace, priority, now);
                // Somebody more important who may not start yet for want of room in the windows never holds up the
                // less important, as these have less room still.
                let is_first = state.waiting.first() == Some(&ticket.key);
                if is_first && !state.writing && at <= now {
                    state.writing = true;
                    state.writes.push_back(now);
                    state.points.push_back((now, WRITE_POINTS));
                    drop(state);
                    return Ok(WriteTurn { limits: self.clone() });
                }
                if at > deadline || now >= deadline {
                    return Err(self.limited(at.max(now + self.pace.write_gap), now));
                }
                if is_first && !state.writing { at } else { deadline }
            };
            tokio::select! {
                () = tokio::time::sleep_until(wait_until) => {}
                () = &mut changed => {}
            }
        }
    }

    /// Stops everything for as long as the forge said, and says until when.
    pub(crate) fn stop_for(&self, wait: Duration) -> Timestamp {
        let now = Instant::now();
        let mut state = self.state();
        let until = state.stopped_until.unwrap_or(now).max(now + wait);
        state.stopped_until = Some(until);
        drop(state);
        self.changed.notify_waiters();
        match self.limited(until, now) {
            ForgeError::Limited { until } => until,
            _ => self.clock.now(),
        }
    }

    /// Stops everything until a time of day.
    pub(crate) fn stop_until(&self, reset: Timestamp) -> Timestamp {
        // One second more: the forge's second may not be over when ours is.
        let wait = reset.duration_since(self.clock.now()).checked_add(SignedDuration::from_secs(1));
        self.stop_for(wait.and_then(|wait| Duration::try_from(wait).ok()).unwrap_or(Duration::from_secs(1)))
    }

    /// Stops everything after a limit that named no time: longer each time in a row.
    pub(crate) fn stop_by_rule(&self) -> Timestamp {
        let wait = {
            let mut state = self.state();
            let doubled = self.pace.first_penalty.saturating_mul(1 << state.strikes.min(10));
            state.strikes += 1;
            doubled.min(MAX_PENALTY)
        };
        self.stop_for(wait)
    }

    /// The forge served us: the next limit without a time is the first again.
    pub(crate) fn served(&self) {
        self.state().strikes = 0;
    }

    /// Whether a wait until then is within the patience for one call.
    pub(crate) fn is_patient(&self, until: Timestamp) -> bool {
        let wait = until.duration_since(self.clock.now());
        Duration::try_from(wait).is_ok_and(|wait| wait <= self.pace.patience)
    }
}

#[cfg(test)]
mod tests;
