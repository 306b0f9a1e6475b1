//! The control directory, read as what it is: a folder that an agent writes.
//!
//! Each folder on the way is opened as such and without following a link; a path would be looked up anew at each use,
//! and `logs` may be a link to somewhere else by then.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cloud_code_task_schema::{
    ControlDir, EVENTS_FILE, Event, EventItem, EventKind, EventReader, LOGS_DIR, MAX_EVENT_BYTES, TaskId,
    write_atomic,
};
use jiff::Timestamp;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// Most entries of `logs/` that are looked at when it is tidied. An attempt leaves two; more than this is no accident.
const MAX_ENTRIES: usize = 10_000;
/// What a shortened event log says of its gaps.
const MOVED: &str = "the event log, whose older lines went to the history";
const LOG_SUFFIX: &str = ".log";
const PROMPT_SUFFIX: &str = ".prompt.md";

/// One workspace's control directory.
#[derive(Debug, Clone)]
pub struct ControlFiles {
    dir: ControlDir,
}

impl ControlFiles {
    /// Names it; nothing is opened.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { dir: ControlDir::new(path) }
    }

    fn root(&self) -> Result<OwnedFd, Errno> {
        open_dir(rustix::fs::CWD, self.dir.path())
    }

    fn logs(&self) -> Result<OwnedFd, Errno> {
        open_dir(self.root()?, Path::new(LOGS_DIR))
    }

    /// A file of the folder itself.
    pub(crate) fn file(&self, name: &str) -> io::Result<File> {
        open_file(self.root()?, name)
    }

    /// A file of `logs/`.
    pub(crate) fn log_file(&self, name: &str) -> io::Result<File> {
        open_file(self.logs()?, name)
    }

    /// Writes the events of one attempt: its task's, and since it began the agent's own. Later attempts of the same task
    /// that an agent counted by itself belong to it. Returns how many lines could not be read.
    pub(crate) fn events(
        &self,
        task: &TaskId,
        attempt: u32,
        since: Option<Timestamp>,
        mut to: impl Write,
    ) -> io::Result<u64> {
        let mut unreadable = 0;
        let mut reader = EventReader::new(self.dir.events());
        let is_own = |event: &Event| match (&event.task, event.attempt) {
            (Some(of), Some(number)) => of == task && number >= attempt,
            (Some(of), None) => of == task,
            (None, _) => since.is_none_or(|since| event.at >= since),
        };
        loop {
            let items = reader.poll();
            if items.is_empty() {
                to.flush()?;
                return Ok(unreadable);
            }
            for item in items {
                match item {
                    EventItem::Event(event) if is_own(&event) => {
                        serde_json::to_writer(&mut to, &event)?;
                        to.write_all(b"\n")?;
                    }
                    EventItem::Event(_) | EventItem::Restarted => {}
                    EventItem::Skipped { .. } => unreadable += 1,
                }
            }
        }
    }

    /// Makes an event log that is longer than `most` short again, about `keep` bytes. To be done between tasks, when no agent
    /// writes it. Lines of attempts that are not kept stay, and so do the ends of tasks: an agent that lost its report
    /// learns from these what it must not run again. What is missing is said in its place. Returns the bytes that went.
    pub fn shorten_events(
        &self,
        most: u64,
        keep: u64,
        is_kept: impl Fn(&TaskId, u32) -> bool,
    ) -> io::Result<u64> {
        let file = match self.file(EVENTS_FILE) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        let length = file.metadata()?.len();
        if length <= most {
            return Ok(0);
        }
        let mut short = Shortened::default();
        let mut lines = BufReader::new(file);
        let mut line = Vec::new();
        let mut read = 0;
        loop {
            line.clear();
            let got = lines.by_ref().take(MAX_EVENT_BYTES as u64 + 1).read_until(b'\n', &mut line)? as u64;
            if got == 0 {
                break;
            }
            read += got;
            // A line that is no event, or the part of one that is too long, has said nothing to anybody.
            let Ok(event) = serde_json::from_slice::<Event>(&line) else {
                short.missing += got;
                continue;
            };
            let is_end = matches!(event.kind, EventKind::TaskEnded { .. });
            let is_needed = match (&event.task, event.attempt) {
                (Some(task), Some(attempt)) => !is_kept(task, attempt),
                _ => false,
            };
            if is_end || is_needed || read + keep > length {
                short.take(&event, &line)?;
            } else {
                short.missing += got;
            }
            if short.text.len() as u64 > most {
                // Nearly all of it is needed: better long than lost.
                return Ok(0);
            }
        }
        write_atomic(&self.dir.events(), &short.text)?;
        Ok(length.saturating_sub(short.text.len() as u64))
    }

    /// Removes the raw logs and prompts of attempts that are kept, but for one: `logs --raw` shows that. Returns how many
    /// went.
    pub fn forget_logs(&self, but: (&TaskId, u32), is_kept: impl Fn(&str, u32) -> bool) -> io::Result<u32> {
        let logs = match self.logs() {
            Ok(logs) => logs,
            Err(Errno::NOENT) => return Ok(0),
            Err(error) => return Err(error.into()),
        };
        let mut gone = 0;
        for entry in Dir::read_from(&logs)?.take(MAX_ENTRIES) {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            let Some((task, attempt)) = attempt_of(name) else { continue };
            if (task, attempt) == (but.0.as_str(), but.1) || !is_kept(task, attempt) {
                continue;
            }
            match rustix::fs::unlinkat(&logs, entry.file_name(), AtFlags::empty()) {
                Ok(()) => gone += 1,
                Err(Errno::NOENT | Errno::ISDIR | Errno::PERM) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(gone)
    }
}

/// What stays of an event log.
#[derive(Default)]
struct Shortened {
    text: Vec<u8>,
    last_seq: u64,
    /// Bytes that were left out since the last line.
    missing: u64,
}

impl Shortened {
    fn take(&mut self, event: &Event, line: &[u8]) -> io::Result<()> {
        if self.missing > 0 && event.seq > self.last_seq + 1 {
            let gap = Event {
                seq: event.seq - 1,
                at: event.at,
                task: None,
                attempt: None,
                kind: EventKind::LogTruncated { dropped_bytes: self.missing, what: MOVED.to_owned() },
                raw: None,
            };
            serde_json::to_writer(&mut self.text, &gap)?;
            self.text.push(b'\n');
        }
        self.missing = 0;
        self.last_seq = event.seq;
        self.text.extend_from_slice(line);
        if !line.ends_with(b"\n") {
            self.text.push(b'\n');
        }
        Ok(())
    }
}

/// `<task>.<attempt>.log` or `<task>.<attempt>.prompt.md`.
fn attempt_of(name: &str) -> Option<(&str, u32)> {
    let stem = name.strip_suffix(LOG_SUFFIX).or_else(|| name.strip_suffix(PROMPT_SUFFIX))?;
    let (task, attempt) = stem.rsplit_once('.')?;
    Some((task, attempt.parse().ok()?))
}

fn open_dir(at: impl std::os::fd::AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, path.as_os_str().as_bytes(), flags, Mode::empty())
}

fn open_file(folder: OwnedFd, name: &str) -> io::Result<File> {
    // Looked at before opening, because opening a device can act; looked at again after, because it may have changed.
    let stat = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let odd = || io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(odd());
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::openat(&folder, name, flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(odd()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_followed_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("T.1.log"), "secret").unwrap();
        let control = dir.path().join("control");
        std::fs::create_dir(&control).unwrap();
        let files = ControlFiles::new(&control);
        std::os::unix::fs::symlink(outside.join("T.1.log"), control.join("reporting.yaml")).unwrap();
        assert!(files.file("reporting.yaml").is_err());
        std::os::unix::fs::symlink(&outside, control.join("logs")).unwrap();
        assert!(files.log_file("T.1.log").is_err());
        let task: TaskId = "T".parse().unwrap();
        assert!(files.forget_logs((&task, 9), |_, _| true).is_err());
        assert!(outside.join("T.1.log").exists());
    }

    #[test]
    fn a_long_event_log_is_made_short_and_reads_on_without_a_complaint() {
        let dir = tempfile::tempdir().unwrap();
        let files = ControlFiles::new(dir.path());
        let line = |seq: u64, task: &str, rest: &str| {
            format!(r#"{{"seq":{seq},"at":"2026-01-01T00:00:00Z","task":"{task}","attempt":1,{rest}}}"#)
                + "\n"
        };
        let says =
            r#""type":"message","text":"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx""#;
        let mut text = String::new();
        for seq in 1..=300 {
            let (task, rest) = match seq {
                100 | 200 => ("OLD", r#""type":"task_ended","status":"completed""#),
                150 => ("UNKEPT", says),
                _ => ("OLD", says),
            };
            text.push_str(&line(seq, task, rest));
        }
        let path = dir.path().join("events.jsonl");
        std::fs::write(&path, &text).unwrap();
        let is_kept = |task: &TaskId, _: u32| task.as_str() == "OLD";
        assert_eq!(files.shorten_events(1 << 20, 1_000, is_kept).unwrap(), 0, "it was short enough");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);

        let gone = files.shorten_events(10_000, 1_000, is_kept).unwrap();
        let short = std::fs::read_to_string(&path).unwrap();
        assert_eq!(gone, (text.len() - short.len()) as u64);
        let items = EventReader::new(&path).poll();
        let seqs: Vec<u64> = items
            .iter()
            .map(|item| match item {
                EventItem::Event(event) => event.seq,
                other => panic!("{other:?}"),
            })
            .collect();
        let [99, 100, 149, 150, 199, 200, gap, ref tail @ ..] = seqs[..] else { panic!("{seqs:?}") };
        assert_eq!(tail.to_vec(), (gap + 1..=300).collect::<Vec<_>>());
        let dropped: u64 = items
            .iter()
            .filter_map(|item| match item {
                EventItem::Event(event) => match &event.kind {
                    EventKind::LogTruncated { dropped_bytes, .. } => Some(*dropped_bytes),
                    _ => None,
                },
                _ => None,
            })
            .sum();
        let whole = |seq: &u64| text.lines().nth(*seq as usize - 1).unwrap().len() as u64 + 1;
        let kept: u64 = [100, 150, 200].iter().chain(tail).map(whole).sum();
        assert_eq!(dropped + kept, text.len() as u64, "a byte is missing and not said");
    }

    #[test]
    fn logs_of_kept_attempts_go_but_for_one() {
        let dir = tempfile::tempdir().unwrap();
        let logs = dir.path().join("logs");
        std::fs::create_dir(&logs).unwrap();
        for name in ["A.1.log", "A.1.prompt.md", "A.2.log", "B.1.log", "C.1.log", "note.txt"] {
            std::fs::write(logs.join(name), "").unwrap();
        }
        let files = ControlFiles::new(dir.path());
        let but: TaskId = "B".parse().unwrap();
        assert_eq!(files.forget_logs((&but, 1), |task, _| task != "C").unwrap(), 3);
        let mut left: Vec<_> = std::fs::read_dir(&logs).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["B.1.log", "C.1.log", "note.txt"]);
    }
}
