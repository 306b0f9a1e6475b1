//! Warnings that a stranger can cause are told once a minute, with how many there were.
//!
//! Anybody may post to a public address. A line for each would let anybody fill the disk.

use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};

/// Least time between two warnings of a kind.
const PAUSE: SignedDuration = SignedDuration::from_secs(60);

/// One kind of warning.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    told_at: Option<Timestamp>,
    untold: u64,
}

impl Quiet {
    /// Counts one. The answer is how many to tell of, or none when it is too early.
    pub(crate) fn count(&self, now: Timestamp) -> Option<u64> {
        // A poisoned lock holds two plain numbers, which are still right.
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.untold += 1;
        // A clock that was set back must not silence it for long.
        let due = state.told_at.is_none_or(|told| now.duration_since(told).abs() >= PAUSE);
        if !due {
            return None;
        }
        state.told_at = Some(now);
        Some(std::mem::take(&mut state.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line_a_minute_with_its_size() {
        let quiet = Quiet::default();
        let at = |second: i64| Timestamp::from_second(1_000 + second).unwrap();
        assert_eq!(quiet.count(at(0)), Some(1));
        assert_eq!([quiet.count(at(1)), quiet.count(at(59))], [None, None]);
        assert_eq!(quiet.count(at(60)), Some(3));
        assert_eq!(quiet.count(at(-900)), Some(1), "the clock was set back");
    }
}
