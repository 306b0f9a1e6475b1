//! A week of artifacts at 500 tasks a day stays inside the cap, and what was dropped is said.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use cloud_code_history::{Caps, Content, Reason};

use crate::house::{House, about, at, disk_use, key};

const DAYS: i64 = 7;
const A_DAY: i64 = 500;
/// Bytes are a twentieth of real ones, and so is the cap: logs of 1 KiB to 100 KiB stand for 20 KiB to 2 MiB. Blocks are
/// what they are, so small attempts weigh more here than they would.
const CAP: u64 = 24 << 20;
/// The log of one attempt in so many is a flood.
const FLOOD: i64 = 50;

/// Text of about the density of a CLI's output: words that repeat, numbers that do not.
fn log(seed: i64, bytes: usize) -> String {
    let mut state = u64::try_from(seed).unwrap().wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = String::with_capacity(bytes + 100);
    while text.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let _ = writeln!(
            text,
            r#"{{"type":"tool_use","id":"call_{state:016x}","name":"edit","line":{}}}"#,
            state % 977
        );
    }
    text
}

#[test]
fn a_week_at_five_hundred_tasks_a_day_stays_inside_the_cap_and_says_what_was_dropped() {
    let caps = Caps { max_size: CAP, max_age: Duration::from_secs(5 * 86_400), max_attempt_size: 128 << 10 };
    let house = House::in_memory(caps);
    house.has("tasking.yaml", log(1, 1_500));
    house.has("reporting.yaml", log(2, 2_500));
    let (mut prunes, mut total) = (Vec::new(), Duration::ZERO);
    let (mut dropped, mut by_size, mut by_age) = (0, 0, 0);
    let began = Instant::now();
    for number in 0..DAYS * A_DAY {
        let now = at(number * 86_400 / A_DAY);
        // Every tenth issue has a second task; the newest ten are open.
        let issue = format!("issue-{}", number - i64::from(number % 10 == 9));
        let key = key(&issue, &format!("T{number}"), 1);
        let size = if number % FLOOD == 0 {
            100 << 10
        } else {
            1_000 + usize::try_from(number * 37 % 3_000).unwrap()
        };
        house.has(&format!("logs/T{number}.1.log"), log(number, size));
        house.keeps(about(&key, now), Content::Bytes(log(-number - 1 + i64::MAX, 1_200).into_bytes()));
        let open_from = number - 10;
        let is_open = |_: &_, issue: &cloud_code_model::IssueKey| {
            issue.as_str().strip_prefix("issue-").is_some_and(|n| n.parse::<i64>().unwrap() > open_from)
        };
        let started = Instant::now();
        let is_over = house.history.is_over(now).unwrap();
        let pruned = house.history.prune(now, &is_open).unwrap();
        assert_eq!(is_over, pruned.attempts > 0);
        let took = started.elapsed();
        prunes.push(took);
        total += took;
        dropped += pruned.attempts;
        assert!(pruned.left <= CAP, "after {number}: {pruned:?}");
        assert!(house.history.has(&key), "the newest attempt, of an open issue, was dropped");
        if number % 250 == 249 {
            let disk = disk_use(house.history.root());
            assert!(disk <= CAP, "the disk holds {disk} of {CAP} after {number}");
            let control = disk_use(&house.control());
            assert!(control < 64 << 20, "{control}");
        }
        std::fs::remove_file(house.control().join(format!("logs/T{number}.1.log"))).unwrap();
    }
    let kept = house.history.sums().unwrap();
    assert_eq!(
        kept.count() + dropped,
        u64::try_from(DAYS * A_DAY).unwrap(),
        "an attempt is neither kept nor told"
    );
    let (told, told_bytes) = house.history.drops().totals().unwrap();
    assert_eq!(told, dropped, "what was dropped is not what is told");
    for number in 0..DAYS * A_DAY {
        let issue = format!("issue-{}", number - i64::from(number % 10 == 9));
        let key = key(&issue, &format!("T{number}"), 1);
        if house.history.has(&key) {
            continue;
        }
        // Every hundredth is looked up as a person would.
        if number % 100 == 0 {
            let told = house.history.drops().of_issue(&key.project, &key.issue).unwrap();
            let one = told.iter().find(|one| one.key == key).unwrap();
            match one.reason {
                Reason::Size => by_size += 1,
                Reason::Age => by_age += 1,
                Reason::Cleaned => panic!("nobody asked for that"),
            }
        }
    }
    assert!(by_size > 0, "the cap was never reached: the test shows nothing ({by_age} by age)");
    prunes.sort();
    let of = |share: usize| prunes[(prunes.len() - 1) * share / 100];
    println!(
        "{} attempts in {:?}: {} kept in {} KiB, {dropped} dropped ({} KiB); a prune took {:?} at the median, {:?} at p99, {:?} at most, {total:?} in all",
        DAYS * A_DAY,
        began.elapsed(),
        kept.count(),
        kept.bytes() >> 10,
        told_bytes >> 10,
        of(50),
        of(99),
        of(100),
    );
}
