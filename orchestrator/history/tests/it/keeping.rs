//! An attempt goes in whole, once, masked and cut, whatever stands in the control directory.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use cloud_code_history::{Caps, Content, History, Outcome, Reason};

use crate::house::{House, ROOMY, SECRET, about, at, key};

const LOG: &str = "logs/T1.1.log";

#[test]
fn an_attempt_is_kept_with_all_that_belongs_to_it_and_no_secret() {
    let house = House::new(ROOMY);
    house.has("tasking.yaml", "version: 1\n");
    house.has("reporting.yaml", format!("version: 1\nnote: {SECRET}\n"));
    house.has("logs/T1.1.prompt.md", "Fix it\n");
    house.has(LOG, format!("key is {SECRET}\n"));
    let event = |seq, task: &str, attempt, text: &str| {
        format!(
            r#"{{"seq":{seq},"at":"2026-01-01T00:00:00Z","task":"{task}","attempt":{attempt},"type":"message","text":"{text}"}}"#
        )
    };
    let own = r#"{"seq":4,"at":"2026-01-01T00:00:00Z","type":"warning","message":"of the agent"}"#;
    let old = r#"{"seq":1,"at":"2025-01-01T00:00:00Z","type":"warning","message":"of an earlier agent"}"#;
    let lines = [old.to_owned(), event(2, "T0", 1, "other"), event(3, "T1", 1, SECRET), own.to_owned()];
    house.has("events.jsonl", format!("{}\nno event\n", lines.join("\n")));

    let key = key("login", "T1", 1);
    house.keeps(about(&key, at(30)), Content::Bytes(b"--- a\n+++ b\n".to_vec()));

    let kept = house.history.attempt(&key).unwrap().unwrap().file;
    let names: Vec<&str> = kept.files.iter().map(|file| file.name.as_str()).collect();
    let all = ["tasking.yaml", "reporting.yaml", "prompt.md", "events.jsonl", "after.diff", "cli.log"];
    assert_eq!(names, all);
    assert_eq!((kept.missing, kept.secrets), (vec![], vec!["OPENAI_API_KEY".to_owned()]));
    assert_eq!(house.file(&key, "cli.log").unwrap(), "key is [secret removed]\n");
    let events = house.file(&key, "events.jsonl").unwrap();
    let seqs: Vec<_> = events.lines().map(|line| line.split([':', ',']).nth(1).unwrap()).collect();
    assert_eq!(seqs, ["3", "4"], "{events}");
    for name in all {
        assert!(!house.file(&key, name).unwrap().contains(SECRET), "{name}");
    }
    assert_eq!(house.history.sums().unwrap().count(), 1);
}

#[test]
fn a_crash_at_any_point_and_a_restart_end_in_the_same_files() {
    let house = House::new(ROOMY);
    house.has(LOG, "a log\n");
    let key = key("login", "T1", 1);
    // Killed while it was written.
    let half = house.history.root().join("shop/login/.writing-T1.1");
    fs::create_dir_all(&half).unwrap();
    fs::write(half.join("files.tar.gz"), "torn").unwrap();
    // Killed when it was written, and not in place.
    assert!(matches!(house.writes(about(&key, at(1)), Content::Nothing), Outcome::Written(_)));
    assert!(!house.history.has(&key), "it is there before it is in its place");
    house.keeps(about(&key, at(1)), Content::Nothing);
    let folder = house.history.attempt(&key).unwrap().unwrap().folder().to_owned();
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let first = (read("files.tar.gz"), read("attempt.yaml"));
    assert!(!half.exists(), "the temp folder is left");

    // Killed when it was in place, before it was noted: the ledger learns of it at the next look.
    let day = house.history.root().join("ledger/2026-01-01.jsonl");
    fs::write(&day, "").unwrap();
    house.has(LOG, "another log\n");
    for _ in 0..2 {
        assert!(matches!(house.writes(about(&key, at(9)), Content::Nothing), Outcome::Stood));
        house.history.ensure_noted(&key).unwrap();
    }
    assert_eq!((read("files.tar.gz"), read("attempt.yaml")), first);
    assert_eq!(house.history.sums().unwrap().count(), 1);
    assert_eq!(fs::read_to_string(&day).unwrap().lines().count(), 1);
}

#[test]
fn the_same_content_makes_the_same_bytes() {
    let folder = |house: &House| house.history.root().join("shop/login/T1.1/files.tar.gz");
    let houses = [House::new(ROOMY), House::new(ROOMY)];
    for (house, second) in houses.iter().zip([1, 1]) {
        house.has(LOG, "a log\n");
        house.keeps(about(&key("login", "T1", 1), at(second)), Content::Bytes(b"a patch\n".to_vec()));
    }
    assert_eq!(fs::read(folder(&houses[0])).unwrap(), fs::read(folder(&houses[1])).unwrap());
}

#[test]
fn what_an_agent_planted_is_not_followed_and_said() {
    let house = House::new(ROOMY);
    let outside = house.dir.path().join("outside");
    fs::write(&outside, "of the host").unwrap();
    symlink(&outside, house.control().join("tasking.yaml")).unwrap();
    symlink(&outside, house.control().join(LOG)).unwrap();
    fs::create_dir(house.control().join("reporting.yaml")).unwrap();
    let key = key("login", "T1", 1);
    house.keeps(about(&key, at(1)), Content::Missing("no mirror".to_owned()));
    let kept = house.history.attempt(&key).unwrap().unwrap().file;
    assert_eq!(kept.files, vec![]);
    let missing: Vec<String> =
        kept.missing.iter().map(|file| format!("{}: {}", file.name, file.why)).collect();
    assert_eq!(
        missing,
        [
            "tasking.yaml: it cannot be read: it is not a regular file",
            "reporting.yaml: it cannot be read: it is not a regular file",
            "prompt.md: it is not there",
            "events.jsonl: no event of the attempt is in it",
            "after.diff: no mirror",
            "cli.log: it cannot be read: it is not a regular file",
        ]
    );
}

#[test]
fn a_flood_is_cut_to_its_room_and_every_byte_is_accounted_for() {
    let caps = Caps { max_attempt_size: 64 << 10, ..ROOMY };
    let house = House::new(caps);
    let log: String = (0..60_000).map(|n| format!("line {n}\n")).collect();
    house.has(LOG, &log);
    let key = key("login", "T1", 1);
    house.keeps(about(&key, at(1)), Content::Bytes(vec![b'+'; 1 << 20]));
    let kept = house.history.attempt(&key).unwrap().unwrap().file;
    let text = house.file(&key, "cli.log").unwrap();
    let file = kept.files.iter().find(|file| file.name == "cli.log").unwrap();
    let line = format!("[cloud-code: truncated: dropped {} bytes of {}]\n", file.dropped_bytes, log.len());
    let (head, tail) = text.split_once(&line).unwrap();
    assert_eq!((head.len() + tail.len()) as u64 + file.dropped_bytes, log.len() as u64);
    assert!(head.starts_with("line 0\n") && tail.ends_with("line 59999\n"));
    let all: u64 = kept.files.iter().map(|file| file.bytes).sum();
    assert!(all <= caps.max_attempt_size, "{all}");
    assert_eq!(kept.dropped_bytes(), kept.files.iter().map(|file| file.dropped_bytes).sum::<u64>());
}

#[test]
fn a_lost_ledger_is_made_anew_from_what_is_kept() {
    let house = House::new(ROOMY);
    for (task, day) in [("T1", 0), ("T2", 1), ("T3", 1)] {
        house.keeps(about(&key("login", task, 1), at(day * 86_400)), Content::Nothing);
    }
    let before = house.history.sums().unwrap();
    fs::remove_dir_all(house.history.root().join("ledger")).unwrap();
    assert_eq!(house.history.sums().unwrap(), before);
    // Sums that are not of what is there do not count, and a torn line is none.
    let day = house.history.root().join("ledger/2026-01-02.jsonl");
    let whole = fs::read_to_string(&day).unwrap();
    fs::write(&day, format!("{whole}{{\"project\":\"shop\",\"iss")).unwrap();
    assert_eq!(house.history.sums().unwrap().count(), 3);
    house.keeps(about(&key("login", "T4", 1), at(86_500)), Content::Nothing);
    assert_eq!(house.history.sums().unwrap().count(), 4);
}

#[test]
fn the_old_goes_and_what_is_open_stays() {
    let caps = Caps { max_age: Duration::from_secs(86_400), ..ROOMY };
    let house = House::new(caps);
    for (issue, task, second) in [("old", "T1", 0), ("open", "T2", 1), ("young", "T3", 80_000)] {
        house.keeps(about(&key(issue, task, 1), at(second)), Content::Nothing);
    }
    let pruned = house.history.prune(at(86_500), &|_, issue| issue.as_str() == "open").unwrap();
    assert_eq!(pruned.attempts, 1);
    assert!(!house.history.root().join("shop/old").exists());
    assert!(house.history.has(&key("open", "T2", 1)) && house.history.has(&key("young", "T3", 1)));
    let told = house.history.drops().of_issue(&"shop".parse().unwrap(), &"old".parse().unwrap()).unwrap();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].reason, told[0].at, told[0].kept_at), (Reason::Age, at(86_500), at(0)));
    assert_eq!(house.history.prune(at(86_501), &|_, _| false).unwrap().attempts, 1, "it is no longer open");
}

#[test]
fn over_the_size_the_oldest_goes_first_and_what_is_open_last() {
    let house = House::new(ROOMY);
    for number in 0..6 {
        let issue = if number == 0 { "open" } else { "closed" };
        house.keeps(about(&key(issue, &format!("T{number}"), 1), at(number * 43_200)), Content::Nothing);
    }
    let one = house.history.sums().unwrap().bytes() / 6;
    let is_kept = |history: &History| {
        let issue = |number| if number == 0 { "open" } else { "closed" };
        let keys = (0..6).map(|number| key(issue(number), &format!("T{number}"), 1));
        keys.map(|key| history.has(&key)).collect::<Vec<_>>()
    };
    let capped = |max_size| History::new(house.history.root(), Caps { max_size, ..ROOMY });
    let is_open = |_: &_, issue: &cloud_code_model::IssueKey| issue.as_str() == "open";
    let history = capped(one * 4);
    let pruned = history.prune(at(300_000), &is_open).unwrap();
    assert!(pruned.left <= one * 4, "{pruned:?}");
    assert_eq!(is_kept(&history), [true, false, false, false, true, true]);
    let history = capped(one / 2);
    history.prune(at(300_001), &is_open).unwrap();
    assert_eq!(is_kept(&history), [false; 6]);
    assert_eq!(history.drops().totals().unwrap().0, 6);
}

#[test]
fn a_person_can_have_an_issue_forgotten() {
    let house = House::new(ROOMY);
    for (issue, task) in [("login", "T1"), ("login", "T2"), ("other", "T3")] {
        house.keeps(about(&key(issue, task, 1), at(0)), Content::Nothing);
    }
    let (project, issue) = ("shop".parse().unwrap(), "login".parse().unwrap());
    assert_eq!(house.history.forget_issue(&project, &issue, at(5)).unwrap(), 2);
    assert_eq!(house.history.attempts(&project, &issue).unwrap(), vec![]);
    assert_eq!(house.history.sums().unwrap().count(), 1);
    let told = house.history.drops().of_issue(&project, &issue).unwrap();
    assert!(told.len() == 2 && told.iter().all(|one| one.reason == Reason::Cleaned));
}
