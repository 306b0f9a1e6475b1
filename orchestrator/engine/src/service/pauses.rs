//! How long nothing is tried with what just failed. Whatever is down is down for many at once: without a pause that
//! grows, a repository that nobody can reach is asked every few seconds for days.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cloud_code_model::Clock;
use jiff::{SignedDuration, Timestamp};

/// The pause after the first failure; each further one doubles it. Shorter and an outage is asked about in vain; longer and
/// one lost answer is felt.
const FIRST: SignedDuration = SignedDuration::from_secs(5);
/// The longest pause: whoever mends what was broken waits at most this long until it is noticed.
const LONGEST: SignedDuration = SignedDuration::from_mins(4);

/// What rests, and until when. Lost with the process: a start tries everything at once.
pub(crate) struct Pauses<K> {
    clock: Arc<dyn Clock>,
    resting: Mutex<HashMap<K, Rest>>,
}

#[derive(Clone, Copy)]
struct Rest {
    until: Timestamp,
    failures: u32,
}

impl<K: Eq + Hash> Pauses<K> {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, resting: Mutex::default() }
    }

    /// Whether it is too early to try it again.
    pub(crate) fn rests(&self, key: &K) -> bool {
        let now = self.clock.now();
        self.resting().get(key).is_some_and(|rest| is_ahead(rest.until, now))
    }

    /// Notes a failure; `not_before` is what somebody said about when to come back. Failures of things that were begun before
    /// the last one was noted count once.
    pub(crate) fn failed(&self, key: K, not_before: Option<Timestamp>) {
        let now = self.clock.now();
        let mut resting = self.resting();
        let known = resting.get(&key).copied();
        if known.is_some_and(|rest| is_ahead(rest.until, now)) {
            return;
        }
        let failures = known.map_or(0, |rest| rest.failures).saturating_add(1);
        let until = now + pause(failures, now);
        let until = not_before.map_or(until, |told| until.max(told));
        resting.insert(key, Rest { until, failures });
    }

    /// How often it failed since it last passed.
    pub(crate) fn failures(&self, key: &K) -> u32 {
        self.resting().get(key).map_or(0, |rest| rest.failures)
    }

    /// Notes a success: the next failure is a first one.
    pub(crate) fn passed(&self, key: &K) {
        self.resting().remove(key);
    }

    /// Lets everything be tried at once: somebody changed what may have been the reason.
    pub(crate) fn forget(&self) {
        self.resting().clear();
    }

    fn resting(&self) -> MutexGuard<'_, HashMap<K, Rest>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A clock that was put back must not make a pause of a day.
fn is_ahead(until: Timestamp, now: Timestamp) -> bool {
    let left = until.duration_since(now);
    left > SignedDuration::ZERO && left <= SignedDuration::from_hours(1)
}

/// Doubling, with up to a quarter more by chance, so that many repositories of one forge do not come back together.
fn pause(failures: u32, now: Timestamp) -> SignedDuration {
    let doubled = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST);
    let chance = now.subsec_nanosecond().unsigned_abs() % 1000;
    doubled + doubled * i32::try_from(chance).unwrap_or_default() / 4000
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Hand(Mutex<Timestamp>);

    impl Clock for Hand {
        fn now(&self) -> Timestamp {
            *self.0.lock().unwrap()
        }
    }

    impl Hand {
        fn passes(&self, time: SignedDuration) {
            *self.0.lock().unwrap() += time;
        }
    }

    #[test]
    fn a_pause_doubles_up_to_minutes_and_a_success_ends_it() {
        let hand = Arc::new(Hand(Mutex::new(Timestamp::from_second(1_700_000_000).unwrap())));
        let pauses = Pauses::new(hand.clone());
        let mut waited = Vec::new();
        for _ in 0..8 {
            pauses.failed("shop", None);
            // Others that were under way fail as well, and change nothing.
            pauses.failed("shop", None);
            let begun = hand.now();
            while pauses.rests(&"shop") {
                hand.passes(SignedDuration::from_secs(1));
            }
            waited.push(hand.now().duration_since(begun).as_secs());
        }
        assert_eq!(waited, [5, 10, 20, 40, 80, 160, 240, 240]);
        assert!(!pauses.rests(&"store"));
        pauses.passed(&"shop");
        pauses.failed("shop", None);
        hand.passes(SignedDuration::from_secs(5));
        assert!(!pauses.rests(&"shop"));
    }

    #[test]
    fn a_pause_is_spread_by_chance_and_obeys_who_says_when() {
        let at = |nanosecond| Timestamp::new(1_700_000_000, nanosecond).unwrap();
        assert_eq!(pause(1, at(0)), SignedDuration::from_secs(5));
        assert_eq!(pause(1, at(800)), SignedDuration::from_secs(6));
        let hand = Arc::new(Hand(Mutex::new(at(0))));
        let pauses = Pauses::new(hand.clone());
        pauses.failed("shop", Some(at(0) + SignedDuration::from_secs(60)));
        hand.passes(SignedDuration::from_secs(59));
        assert!(pauses.rests(&"shop"));
        hand.passes(SignedDuration::from_secs(1));
        assert!(!pauses.rests(&"shop"));
        // The clock is put back by a day.
        pauses.failed("shop", None);
        hand.passes(SignedDuration::from_hours(-24));
        assert!(!pauses.rests(&"shop"));
    }
}
