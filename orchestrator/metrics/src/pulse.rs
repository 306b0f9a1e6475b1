//! Signs of life of the service's loops.
//!
//! A loop that hangs in a lock or waits for an answer that never comes throws no error and ends no process. So each loop
//! says when it looked, and whoever is asked for health compares. Nothing is restarted by it: a person, or the service
//! manager's watchdog, decides.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What moments are measured from.
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The loops of one process.
#[derive(Debug, Clone, Default)]
pub struct Pulses {
    known: Arc<Mutex<Vec<Arc<Beat>>>>,
}

#[derive(Debug)]
struct Beat {
    name: &'static str,
    patience: Duration,
    last: AtomicU64,
    is_over: AtomicBool,
}

/// A loop's own end of it. One that is dropped without [`Pulse::ends`] belonged to a loop that broke: it goes on ageing.
#[derive(Debug)]
pub struct Pulse(Arc<Beat>);

/// A loop that gave no sign for too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Late {
    /// Its name.
    pub name: &'static str,
    /// Since its last sign.
    pub silent: Duration,
}

impl Pulses {
    /// A loop begins. `patience` is the longest silence that is in order: several times its period, and more than one look
    /// may lawfully take. Too low and a slow forge looks like a hang; too high and a hang is noticed late. A loop of the same
    /// name takes the place of an earlier one.
    pub fn begin(&self, name: &'static str, patience: Duration) -> Pulse {
        let beat = Beat { name, patience, last: AtomicU64::new(now()), is_over: AtomicBool::new(false) };
        let beat = Arc::new(beat);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|other| other.name != name);
        known.push(beat.clone());
        Pulse(beat)
    }

    /// The loops that are silent for too long.
    pub fn late(&self) -> Vec<Late> {
        let late = |(name, silent, patience)| (silent > patience).then_some(Late { name, silent });
        self.read().into_iter().filter_map(late).collect()
    }

    /// How long each loop has been silent.
    pub fn ages(&self) -> Vec<(&'static str, Duration)> {
        self.read().into_iter().map(|(name, silent, _)| (name, silent)).collect()
    }

    fn read(&self) -> Vec<(&'static str, Duration, Duration)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now();
        let read = |beat: &Arc<Beat>| {
            let silent = now.saturating_sub(beat.last.load(Ordering::Relaxed));
            (beat.name, Duration::from_millis(silent), beat.patience)
        };
        known.iter().filter(|beat| !beat.is_over.load(Ordering::Relaxed)).map(read).collect()
    }
}

impl Pulse {
    /// The loop lives.
    pub fn beat(&self) {
        self.0.last.store(now(), Ordering::Relaxed);
    }

    /// The loop ended because it was told to.
    pub fn ends(self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

fn now() -> u64 {
    u64::try_from(BEGAN.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_loop_is_named_until_it_beats_and_one_that_ended_is_not() {
        let pulses = Pulses::default();
        let (talk, sweep) =
            (pulses.begin("talk", Duration::ZERO), pulses.begin("sweep", Duration::from_secs(3_600)));
        while pulses.late().is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(pulses.late().iter().map(|late| late.name).collect::<Vec<_>>(), ["talk"]);
        talk.ends();
        sweep.beat();
        assert_eq!(pulses.late(), []);
        assert_eq!(pulses.ages().iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["sweep"]);
        drop(sweep);
        assert_eq!(pulses.ages().len(), 1, "a loop that broke is still looked at");
    }
}
