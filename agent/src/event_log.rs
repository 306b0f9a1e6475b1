//! `events.jsonl`: append only, `seq` without gaps across restarts, one line never longer than the contract allows.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use cloud_code_task_schema::{Event, EventKind, MAX_EVENT_BYTES};
use nix::fcntl::OFlag;

/// How much of the end is read to find the last number: two of the longest lines.
const TAIL_BYTES: u64 = 2 * MAX_EVENT_BYTES as u64 + 2;
/// Longest text left in an event that was too long as a whole.
const SHRUNKEN_TEXT_BYTES: usize = 2 * 1024;

/// The log and the number of its last line.
pub(crate) struct EventLog {
    path: PathBuf,
    file: File,
    length: u64,
    last_seq: u64,
}

/// What opening found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Bytes of a torn last line that were taken off.
    pub(crate) torn_bytes: u64,
    /// The last complete events, oldest first.
    pub(crate) recent: Vec<Event>,
}

impl EventLog {
    /// Opens or makes the log, repairs a torn last line, and finds the last number.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Found)> {
        let file = open_file(path)?;
        let length = file.metadata()?.len();
        let from = length.saturating_sub(TAIL_BYTES);
        let mut tail = vec![0; usize::try_from(length - from).map_err(io::Error::other)?];
        file.read_exact_at(&mut tail, from)?;
        let mut log = Self { path: path.to_owned(), file, length, last_seq: 0 };
        let mut found = Found::default();
        let complete = tail.iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
        let torn = tail.get(complete..).unwrap_or_default();
        if !torn.is_empty() {
            if serde_json::from_slice::<Event>(torn).is_ok() {
                log.write_at_end(b"\n")?;
                tail.push(b'\n');
            } else {
                found.torn_bytes = torn.len() as u64;
                log.length -= found.torn_bytes;
                log.file.set_len(log.length)?;
                tail.truncate(complete);
            }
        }
        found.recent =
            tail.split(|b| *b == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
        log.last_seq = match found.recent.last() {
            Some(event) => event.seq,
            None if log.length == 0 => 0,
            // The end is unreadable: look through all of it rather than give a number twice.
            None => all_events(path)?.map(|event| event.seq).max().unwrap_or(0),
        };
        Ok((log, found))
    }

    /// Appends one event under the next number. On an error nothing of it stays.
    pub(crate) fn append(&mut self, event: &mut Event) -> io::Result<()> {
        event.seq = self.last_seq + 1;
        let mut line = to_line(event)?;
        line.push(b'\n');
        if let Err(error) = self.write_at_end(&line) {
            // A full disk may have taken the beginning of the line.
            let _ = self.file.set_len(self.length);
            return Err(error);
        }
        self.last_seq = event.seq;
        Ok(())
    }

    /// Makes what was written survive a crash of the machine.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Opens the file anew when its path leads elsewhere (the folder was replaced); numbers go on.
    pub(crate) fn follow_path(&mut self) -> io::Result<()> {
        let own = self.file.metadata()?;
        if std::fs::symlink_metadata(&self.path)
            .is_ok_and(|now| (now.dev(), now.ino()) == (own.dev(), own.ino()))
        {
            return Ok(());
        }
        self.file = open_file(&self.path)?;
        self.length = self.file.metadata()?.len();
        Ok(())
    }

    fn write_at_end(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.length)?;
        self.length += bytes.len() as u64;
        Ok(())
    }
}

/// Every readable event of a log, for the rare start that cannot trust `reporting.yaml`.
pub(crate) fn all_events(path: &Path) -> io::Result<impl Iterator<Item = Event>> {
    use std::io::BufRead as _;
    let lines = io::BufReader::new(open_file(path)?).split(b'\n');
    Ok(lines.map_while(Result::ok).filter_map(|line| serde_json::from_slice(&line).ok()))
}

fn open_file(path: &Path) -> io::Result<File> {
    let flags = (OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).bits();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(flags)
        .mode(0o644)
        .open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file")) }
}

/// One line within the contract's cap: first `raw` goes, then long texts lose their end.
fn to_line(event: &mut Event) -> io::Result<Vec<u8>> {
    let line = serde_json::to_vec(event)?;
    if line.len() < MAX_EVENT_BYTES {
        return Ok(line);
    }
    event.raw = None;
    shrink(&mut event.kind);
    let line = serde_json::to_vec(event)?;
    if line.len() < MAX_EVENT_BYTES {
        return Ok(line);
    }
    event.kind = EventKind::LogTruncated {
        dropped_bytes: line.len() as u64,
        what: "an event too long for its line".to_owned(),
    };
    Ok(serde_json::to_vec(event)?)
}

fn shrink(kind: &mut EventKind) {
    let cut = |text: &mut String| *text = crate::parse::clip_to(text, SHRUNKEN_TEXT_BYTES);
    match kind {
        EventKind::Message { text } | EventKind::Thinking { text } | EventKind::Question { text } => {
            cut(text)
        }
        EventKind::ToolUse { summary, .. } => cut(summary),
        EventKind::ToolResult { output, .. } => cut(output),
        EventKind::FileChanged { path, .. } => cut(path),
        EventKind::Warning { message } | EventKind::Committed { message, .. } => cut(message),
        EventKind::Verify { command, .. } => cut(command),
        EventKind::TaskReceived { title } => cut(title),
        EventKind::CliStarted { command, .. } => command.iter_mut().for_each(cut),
        EventKind::TaskEnded { failure, .. } => {
            if let Some(failure) = failure {
                cut(&mut failure.message);
            }
        }
        EventKind::AgentStarted { .. }
        | EventKind::Usage { .. }
        | EventKind::CliExited { .. }
        | EventKind::LogTruncated { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(text: &str) -> Event {
        let kind = EventKind::Message { text: text.to_owned() };
        Event { seq: 0, at: jiff::Timestamp::UNIX_EPOCH, task: None, attempt: None, kind, raw: None }
    }

    #[test]
    fn numbers_go_on_after_a_torn_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let (mut log, _) = EventLog::open(&path).unwrap();
        log.append(&mut event("one")).unwrap();
        log.append(&mut event("two")).unwrap();
        drop(log);
        let mut text = std::fs::read(&path).unwrap();
        text.extend_from_slice(b"{\"seq\":3,\"at\":\"20");
        std::fs::write(&path, &text).unwrap();
        let (mut log, found) = EventLog::open(&path).unwrap();
        assert_eq!((found.torn_bytes, found.recent.len()), (17, 2));
        log.append(&mut event("three")).unwrap();
        let seqs: Vec<u64> = all_events(&path).unwrap().map(|event| event.seq).collect();
        assert_eq!(seqs, [1, 2, 3]);
    }

    #[test]
    fn a_whole_line_without_its_end_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let (mut log, _) = EventLog::open(&path).unwrap();
        log.append(&mut event("one")).unwrap();
        let text = std::fs::read(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 1]).unwrap();
        let (mut log, found) = EventLog::open(&path).unwrap();
        assert_eq!(found.torn_bytes, 0);
        log.append(&mut event("two")).unwrap();
        assert_eq!(all_events(&path).unwrap().map(|event| event.seq).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn no_line_is_longer_than_the_contract_allows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let (mut log, _) = EventLog::open(&path).unwrap();
        let mut long = event(&"\u{1}".repeat(60_000));
        long.raw = Some("x".repeat(60_000));
        log.append(&mut long).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.len() <= MAX_EVENT_BYTES, "{}", text.len());
        assert_eq!(all_events(&path).unwrap().count(), 1);
    }
}
