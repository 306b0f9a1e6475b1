//! Following an event log that someone else writes, well or badly.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking, helpers included")]

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use cloud_code_task_schema::{EventItem, EventKind, EventReader, MAX_EVENT_BYTES, MAX_EVENT_LOG_BYTES};
use proptest::prelude::*;

struct Log {
    _dir: tempfile::TempDir,
    path: PathBuf,
    reader: EventReader,
}

impl Log {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        Self { reader: EventReader::new(&path), path, _dir: dir }
    }
    fn append(&self, bytes: impl AsRef<[u8]>) {
        let mut file = OpenOptions::new().create(true).append(true).open(&self.path).unwrap();
        file.write_all(bytes.as_ref()).unwrap();
    }
    /// Everything there is, as short words: `3` an event's seq, `!7 reason` a skipped line, `restarted`.
    fn read(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        loop {
            let items = self.reader.poll();
            if items.is_empty() {
                return said;
            }
            said.extend(items.iter().map(word));
        }
    }
}

fn word(item: &EventItem) -> String {
    match item {
        EventItem::Event(event) => event.seq.to_string(),
        EventItem::Skipped { line, reason } => format!("!{line} {reason}"),
        EventItem::Restarted => "restarted".to_owned(),
    }
}

fn line(seq: u64) -> String {
    message(seq, "hello")
}

fn message(seq: u64, text: &str) -> String {
    format!(r#"{{"seq":{seq},"at":"2026-11-20T10:00:00Z","type":"message","text":"{text}"}}"#) + "\n"
}

#[test]
fn events_come_once_and_in_order_as_the_file_grows() {
    let mut log = Log::new();
    assert!(log.read().is_empty(), "a file that is not there yet is no news");
    log.append(line(1) + &line(2));
    assert_eq!(log.read(), ["1", "2"]);
    assert!(log.read().is_empty());
    log.append(line(3));
    let items = log.reader.poll();
    let [EventItem::Event(event)] = items.as_slice() else { panic!("{items:?}") };
    assert_eq!(event.kind, EventKind::Message { text: "hello".to_owned() });
    assert_eq!((event.seq, event.at.to_string().as_str()), (3, "2026-11-20T10:00:00Z"));
}

#[test]
fn a_line_written_in_pieces_comes_when_it_is_whole() {
    let mut log = Log::new();
    let text = message(1, "zwölf");
    // Cut everywhere, within the two bytes of the ö as well.
    for byte in &text.as_bytes()[..text.len() - 1] {
        log.append([*byte]);
        assert!(log.read().is_empty());
    }
    log.append("\n");
    assert_eq!(log.read(), ["1"]);
}

#[test]
fn a_bad_line_is_told_and_the_next_one_read() {
    let mut log = Log::new();
    log.append(line(1));
    log.append("{\"seq\": 2, \n");
    log.append("\n");
    log.append(b"\xff\xfe\n");
    log.append("[1, 2]\n");
    log.append(r#"{"seq":6,"at":"yesterday","type":"message","text":"x"}"#.to_owned() + "\n");
    log.append(line(7));
    let said = log.read();
    assert_eq!(said.len(), 7, "{said:#?}");
    assert_eq!(said[0], "1");
    assert!(said[1].starts_with("!2 ") && said[1].contains("EOF"), "{}", said[1]);
    assert_eq!(said[2], "!3 the line is empty");
    assert_eq!(said[3], "!4 not valid UTF-8 (byte 0)");
    assert!(said[4].starts_with("!5 "), "{}", said[4]);
    assert!(said[5].starts_with("!6 "), "{}", said[5]);
    // Lines whose number could not be read are not reported as a gap on top.
    assert_eq!(said[6], "7");
}

#[test]
fn a_newer_agents_event_is_told_by_its_type() {
    let mut log = Log::new();
    log.append(line(1));
    log.append(r#"{"seq":2,"at":"2026-11-20T10:00:00Z","type":"coffee_made","cups":2}"#.to_owned() + "\n");
    log.append(r#"{"seq":3,"at":"2026-11-20T10:00:00Z","type":"message"}"#.to_owned() + "\n");
    log.append(line(4));
    let said = log.read();
    assert_eq!(said[..2], ["1", "!2 event type `coffee_made` is not known to this version"]);
    assert!(said[2].contains("text"), "a known type without a key of its own names the key: {}", said[2]);
    assert_eq!(said[3..], ["4"]);
}

#[test]
fn unknown_keys_of_a_known_event_do_no_harm() {
    let mut log = Log::new();
    log.append(line(1).replace("\"type\"", "\"mood\":\"good\",\"type\""));
    assert_eq!(log.read(), ["1"]);
}

#[test]
fn a_number_that_jumps_is_told_and_its_event_kept() {
    let mut log = Log::new();
    log.append(line(3) + &line(4) + &line(9));
    assert_eq!(
        log.read(),
        [
            "!1 seq jumps from 0 to 3: 2 events are missing before this line",
            "3",
            "4",
            "!3 seq jumps from 4 to 9: 4 events are missing before this line",
            "9"
        ]
    );
}

#[test]
fn a_gap_that_a_line_in_its_place_explains_is_no_complaint() {
    let mut log = Log::new();
    let gap = |seq: u64| {
        format!(
            r#"{{"seq":{seq},"at":"2026-01-01T00:00:00Z","type":"log_truncated","dropped_bytes":9,"what":"x"}}"#
        ) + "\n"
    };
    log.append(gap(7) + &line(8) + &gap(20) + &line(21) + &line(23));
    assert_eq!(
        log.read(),
        ["7", "8", "20", "21", "!5 seq jumps from 21 to 23: 1 events are missing before this line", "23"]
    );
}

#[test]
fn a_number_that_goes_back_is_told_and_its_event_left_out() {
    let mut log = Log::new();
    log.append(line(1) + &line(2) + &line(2) + &line(1) + &line(0) + &line(3));
    assert_eq!(
        log.read(),
        [
            "1",
            "2",
            "!3 seq 2 comes after seq 2; it must grow by one",
            "!4 seq 1 comes after seq 2; it must grow by one",
            "!5 seq 0 comes after seq 2; it must grow by one",
            "3"
        ]
    );
}

#[test]
fn the_longest_line_is_read_and_a_longer_one_is_skipped() {
    let mut log = Log::new();
    let frame = message(1, "").len() - 1;
    log.append(message(1, &"x".repeat(MAX_EVENT_BYTES - frame)));
    log.append(message(2, &"x".repeat(MAX_EVENT_BYTES - frame + 1)));
    log.append(message(3, &"x".repeat(5 * MAX_EVENT_BYTES)));
    log.append(line(4));
    assert_eq!(log.read(), ["1", "!2 longer than 65536 bytes", "!3 longer than 65536 bytes", "4"]);
}

#[test]
fn a_line_without_an_end_is_told_once_and_left_when_it_ends() {
    let mut log = Log::new();
    log.append(line(1));
    for _ in 0..40 {
        log.append(vec![b'x'; MAX_EVENT_BYTES / 4]);
    }
    assert_eq!(log.read(), ["1", "!2 longer than 65536 bytes"]);
    log.append(vec![b'x'; 1024 * 1024]);
    assert!(log.read().is_empty());
    log.append("x\n".to_owned() + &line(3));
    assert_eq!(log.read(), ["3"]);
}

#[test]
fn one_call_is_bounded_and_the_next_goes_on() {
    let mut log = Log::new();
    let count = 5000;
    log.append((1..=count).map(line).collect::<String>());
    let first = log.reader.poll();
    assert_eq!(first.len(), 1024);
    let rest = log.read();
    assert_eq!(rest.len() as u64, count - 1024);
    assert_eq!(rest.last().unwrap(), "5000");

    // Few items, many bytes: 4 MiB a call, give or take the line and the chunk at its edge.
    let mut log = Log::new();
    log.append((1..=150).map(|seq| message(seq, &"x".repeat(60_000))).collect::<String>());
    let first = log.reader.poll().len();
    assert!((69..=72).contains(&first), "{first}");
    assert_eq!(log.read().len(), 150 - first);
}

#[test]
fn a_replaced_file_is_told_and_read_from_its_start() {
    let mut log = Log::new();
    log.append(line(1) + &line(2));
    assert_eq!(log.read(), ["1", "2"]);
    let other = log.path.with_extension("new");
    fs::write(&other, message(1, "another") + &line(2) + &line(3)).unwrap();
    fs::rename(&other, &log.path).unwrap();
    assert_eq!(log.read(), ["restarted", "1", "2", "3"]);
}

#[test]
fn a_removed_file_is_no_news_until_it_is_back() {
    let mut log = Log::new();
    log.append(line(1));
    assert_eq!(log.read(), ["1"]);
    fs::remove_file(&log.path).unwrap();
    assert!(log.read().is_empty());
    log.append(line(1));
    assert_eq!(log.read(), ["restarted", "1"]);
}

#[test]
fn a_truncated_file_is_told_and_read_from_its_start() {
    let mut log = Log::new();
    log.append(line(1) + &line(2) + "{\"seq\":3,");
    assert_eq!(log.read(), ["1", "2"]);
    fs::write(&log.path, line(1)).unwrap();
    // The half line of before is not glued to what follows.
    assert_eq!(log.read(), ["restarted", "1"]);
    log.append(line(2));
    assert_eq!(log.read(), ["2"]);
}

#[test]
fn a_torn_line_that_a_new_agent_cuts_off_is_no_restart() {
    let mut log = Log::new();
    log.append(line(1) + "{\"seq\":2,\"at\":\"2026-11-20T10:00:00Z\",\"type\":\"message\",\"te");
    assert_eq!(log.read(), ["1"]);
    OpenOptions::new().write(true).open(&log.path).unwrap().set_len(line(1).len() as u64).unwrap();
    assert!(log.read().is_empty());
    log.append(message(2, "another line, longer than what was torn off: it may not be glued to it"));
    log.append(&line(3)[..20]);
    assert_eq!(log.read(), ["2"]);
    // Cut off and written anew between two looks.
    let whole = log.path.metadata().unwrap().len() - 20;
    OpenOptions::new().write(true).open(&log.path).unwrap().set_len(whole).unwrap();
    log.append(message(3, "written by the next agent"));
    assert_eq!(log.read(), ["3"]);
}

#[test]
fn an_agent_that_goes_on_counting_in_a_new_file_leaves_no_gap() {
    let mut log = Log::new();
    log.append(line(1) + &line(2));
    assert_eq!(log.read(), ["1", "2"]);
    fs::remove_file(&log.path).unwrap();
    log.append(line(3) + &line(4));
    assert_eq!(log.read(), ["restarted", "3", "4"]);
    fs::remove_file(&log.path).unwrap();
    log.append(line(9));
    assert_eq!(
        log.read(),
        ["restarted", "!1 seq jumps from 0 to 9: 8 events are missing before this line", "9"]
    );
}

#[test]
fn a_file_rewritten_in_place_to_a_greater_length_is_noticed() {
    let mut log = Log::new();
    log.append(line(1) + &line(2));
    assert_eq!(log.read(), ["1", "2"]);
    fs::write(&log.path, (1..=9).map(|seq| message(seq, "not what it was")).collect::<String>()).unwrap();
    assert_eq!(log.read(), ["restarted", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
}

#[test]
fn a_file_that_is_replaced_for_ever_is_given_up() {
    let mut log = Log::new();
    let mut said = Vec::new();
    for _ in 0..40 {
        let other = log.path.with_extension("new");
        fs::write(&other, line(1)).unwrap();
        fs::rename(&other, &log.path).unwrap();
        said.extend(log.read());
    }
    assert_eq!(said.iter().filter(|word| *word == "restarted").count(), 16);
    assert_eq!(said.last().unwrap(), "!0 replaced or truncated more than 16 times; it is no longer read");
    assert_eq!(said.len(), 1 + 16 * 2 + 1);
}

#[test]
fn a_link_a_pipe_or_a_folder_is_told_once_and_never_opened() {
    let mut log = Log::new();
    let secret = log.path.with_extension("secret");
    fs::write(&secret, line(1)).unwrap();
    symlink(&secret, &log.path).unwrap();
    let said = log.read();
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].starts_with("!0 ") && said[0].contains("not a regular file"), "{}", said[0]);
    assert!(log.read().is_empty());

    fs::remove_file(&log.path).unwrap();
    fs::create_dir(&log.path).unwrap();
    // The same reason is not told twice, a file in its place is read.
    assert!(log.read().is_empty());
    fs::remove_dir(&log.path).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&log.path).status().unwrap();
    assert!(made.success());
    assert!(log.read().is_empty(), "and a pipe blocks nobody");
    fs::remove_file(&log.path).unwrap();
    log.append(line(1));
    assert_eq!(log.read(), ["1"]);
}

#[test]
fn a_log_beyond_the_cap_is_told_once_and_left() {
    let mut log = Log::new();
    log.append(line(1));
    // A hole of 300 MiB takes no disk and is one line without an end.
    fs::OpenOptions::new()
        .write(true)
        .open(&log.path)
        .and_then(|file| file.set_len(300 * 1024 * 1024))
        .unwrap();
    log.append("\n".to_owned() + &line(2));
    let told = format!("!0 more than {MAX_EVENT_LOG_BYTES} bytes; the rest of it is not read");
    assert_eq!(log.read(), ["1".to_owned(), "!2 longer than 65536 bytes".to_owned(), told]);
    log.append(line(3));
    assert!(log.read().is_empty());
}

#[test]
fn a_flood_of_bad_lines_is_told_two_hundred_times_and_hides_no_event() {
    let mut log = Log::new();
    log.append("\n".repeat(100_000) + &line(1));
    let said = log.read();
    assert_eq!(said.len(), 201);
    assert_eq!(said[199], "!200 the line is empty; further lines like this are left out without a word");
    assert_eq!(said[200], "1");
}

#[test]
fn a_reason_is_short_and_cannot_drive_a_terminal() {
    let mut log = Log::new();
    let evil = format!("\\u001b[2J{}", "z".repeat(10_000));
    log.append(format!(r#"{{"seq":1,"at":"2026-11-20T10:00:00Z","type":"{evil}"}}"#) + "\n");
    let items = log.reader.poll();
    let [EventItem::Skipped { line: 1, reason }] = items.as_slice() else { panic!("{items:?}") };
    assert!(reason.starts_with("event type `\\u{1b}[2Jzzz"), "{reason}");
    assert!(reason.chars().count() <= 241 && !reason.contains('\u{1b}'), "{reason}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever stands in the file, in whatever pieces it comes: no panic, an end, and one word a line at most.
    #[test]
    fn any_bytes_in_any_pieces_are_survived(
        pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20)
    ) {
        let mut log = Log::new();
        let mut said = 0;
        for piece in &pieces {
            log.append(piece);
            said += log.read().len();
        }
        let lines = pieces.iter().flatten().filter(|byte| **byte == b'\n').count();
        prop_assert_eq!(said, lines);
    }

    /// The pieces a writer happens to write in change nothing about what is read.
    #[test]
    fn events_do_not_depend_on_how_they_were_cut(cuts in proptest::collection::vec(1..200_usize, 1..60)) {
        let mut log = Log::new();
        let text: String = (1..=40).map(line).collect();
        let mut rest = text.as_bytes();
        let mut said = Vec::new();
        for cut in cuts.iter().cycle() {
            let (now, later) = rest.split_at((*cut).min(rest.len()));
            log.append(now);
            said.extend(log.read());
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(said, (1..=40).map(|seq| seq.to_string()).collect::<Vec<_>>());
    }
}
