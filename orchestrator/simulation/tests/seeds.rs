//! Many seeds, each a life of the engine with its faults. One that fails says how it is played again.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cloud_code_simulation::{Play, Played, play};

/// How many seeds are played when nobody says otherwise: a while of a build without optimisation. `make test` says more.
const SEEDS: u64 = 300;
/// How many failing seeds are told before the rest is not worth it.
const ENOUGH: usize = 5;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap())
}

fn folder() -> tempfile::TempDir {
    let memory = PathBuf::from("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn one(seed: u64, most_faults: Option<u32>, is_traced: bool) -> Played {
    let home = folder();
    play(Play { seed, most_faults, is_traced }, home.path())
}

/// The first faults that suffice to make the seed fail, and what happened then.
fn shrunk(seed: u64) -> (Option<u32>, Played) {
    let whole = one(seed, None, true);
    for most in 0..=whole.faults {
        let played = one(seed, Some(most), true);
        if !played.broken.is_empty() {
            return (Some(most), played);
        }
    }
    (None, whole)
}

fn told(seed: u64) -> String {
    let (most, played) = shrunk(seed);
    let faults = most.map(|most| format!(" CLOUD_CODE_FAULTS={most}")).unwrap_or_default();
    let last = played.trace.len().saturating_sub(60);
    format!(
        "seed {seed}:\n  {}\n  replay: CLOUD_CODE_SEED={seed}{faults} cargo test -p cloud-code-simulation --test seeds replay -- \
         --nocapture\n  the last of {} lines:\n    {}",
        played.broken.join("\n  "),
        played.trace.len(),
        played.trace[last..].join("\n    ")
    )
}

/// What was played, counted.
#[derive(Default)]
struct Sums {
    seeds: u64,
    tasks: usize,
    lives: u64,
    seconds: u64,
    crashes_at: BTreeMap<&'static str, u64>,
    troubles: BTreeMap<&'static str, u64>,
}

impl Sums {
    fn add(&mut self, played: &Played) {
        self.seeds += 1;
        self.tasks += played.tasks;
        self.lives += u64::from(played.lives);
        self.seconds += played.seconds;
        for (place, times) in &played.crashes_at {
            *self.crashes_at.entry(place).or_default() += u64::from(*times);
        }
        for (kind, times) in &played.troubles {
            *self.troubles.entry(kind).or_default() += u64::from(*times);
        }
    }

    fn told(&self, took: Duration) -> String {
        let troubles: Vec<String> =
            self.troubles.iter().map(|(kind, times)| format!("{times} {kind}")).collect();
        format!(
            "{} seeds in {:.0} s: {} tasks, {} lives, {} days of their own time; {}; killed at {} places",
            self.seeds,
            took.as_secs_f64(),
            self.tasks,
            self.lives,
            self.seconds / 86_400,
            troubles.join(", "),
            self.crashes_at.len(),
        )
    }
}

/// Plays one seed and tells all of it: `CLOUD_CODE_SEED=7 cargo test … replay -- --nocapture`.
#[test]
fn replay() {
    let Some(seed) = number("CLOUD_CODE_SEED") else { return };
    let most = number("CLOUD_CODE_FAULTS").map(|most| u32::try_from(most).unwrap());
    let played = one(seed, most, true);
    eprintln!("{}", played.trace.join("\n"));
    assert!(played.broken.is_empty(), "seed {seed}:\n  {}", played.broken.join("\n  "));
}

#[test]
fn a_seed_is_played_the_same_each_time() {
    for seed in 1..=40 {
        let (first, second) = (one(seed, None, true), one(seed, None, true));
        let differs = first.trace.iter().zip(&second.trace).position(|(a, b)| a != b);
        let at = differs.map(|at| (&first.trace[at], &second.trace[at]));
        assert_eq!(at, None, "seed {seed} differs at line {differs:?}");
        assert_eq!(first, second, "seed {seed}");
    }
}

#[test]
fn nothing_is_lost_and_nothing_is_done_twice() {
    if number("CLOUD_CODE_SEED").is_some() {
        return;
    }
    let (from, count) =
        (number("CLOUD_CODE_FIRST_SEED").unwrap_or(1), number("CLOUD_CODE_SEEDS").unwrap_or(SEEDS));
    let began = Instant::now();
    let next = AtomicU64::new(from);
    let failed: Mutex<Vec<(u64, Vec<String>)>> = Mutex::default();
    let sums: Mutex<Sums> = Mutex::default();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + count || failed.lock().unwrap().len() >= ENOUGH {
                return;
            }
            let played = one(seed, None, false);
            sums.lock().unwrap().add(&played);
            if !played.broken.is_empty() {
                failed.lock().unwrap().push((seed, played.broken));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().unwrap().get() {
            scope.spawn(work);
        }
    });
    let (failed, sums) = (failed.into_inner().unwrap(), sums.into_inner().unwrap());
    eprintln!("{}", sums.told(began.elapsed()));
    if number("CLOUD_CODE_TELL_PLACES").is_some() {
        for (place, times) in &sums.crashes_at {
            eprintln!("  {times:>6} {place}");
        }
    }
    let texts: Vec<String> = failed.iter().map(|(seed, _)| told(*seed)).collect();
    assert!(failed.is_empty(), "{} of {} seeds failed\n{}", failed.len(), sums.seeds, texts.join("\n"));
}
