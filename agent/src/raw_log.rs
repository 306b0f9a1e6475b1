//! The raw log of one attempt: the CLI's output as it came, capped.
//!
//! When the cap is reached the middle is dropped in place: the first quarter stays, a marker line says how much is
//! missing, and the newest eighth follows and grows again. The file is thus in order at every moment, for whoever
//! follows it and after a kill of the agent; a ring over the end would need no moving, and neither would hold. A second
//! file for the end was rejected, because the contract names one file and a person who opens it should find everything
//! that is left.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

/// Piece in which the end is moved forward; bounds memory.
const MOVE_BYTES: usize = 64 * 1024;
/// Which part of the cap the beginning keeps for good.
const HEAD_SHARE: u64 = 4;
/// Which part of the cap is moved forward as the newest. More moves more often, and a flood is held up by it: with
/// this share a byte in five is written twice. Less can leave too little of the end.
const TAIL_SHARE: u64 = 8;
/// Room for the marker line.
const MARKER_BYTES: u64 = 128;

/// An open raw log.
pub(crate) struct RawLog {
    file: File,
    length: u64,
    cap: u64,
    head: u64,
    dropped: u64,
    lost_to_errors: u64,
}

impl RawLog {
    /// Opens a new file; a link in its place is refused.
    pub(crate) fn create(path: &Path, cap: u64) -> io::Result<Self> {
        let flags = (OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC).bits();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .custom_flags(flags)
            .mode(0o644)
            .open(path)?;
        Ok(Self { file, length: 0, cap, head: cap / HEAD_SHARE, dropped: 0, lost_to_errors: 0 })
    }

    /// Appends. A write that fails (a full disk) is counted, never fatal: the task matters more than its log.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.length >= self.cap && self.drop_middle().is_err() {
                self.lost_to_errors += bytes.len() as u64;
                return;
            }
            let room = usize::try_from(self.cap - self.length).unwrap_or(usize::MAX).min(bytes.len());
            let (now, rest) = bytes.split_at(room);
            if self.file.write_all_at(now, self.length).is_err() {
                self.lost_to_errors += bytes.len() as u64;
                return;
            }
            self.length += now.len() as u64;
            bytes = rest;
        }
    }

    /// How many bytes of the output are not in the file.
    pub(crate) const fn missing_bytes(&self) -> u64 {
        self.dropped + self.lost_to_errors
    }

    fn drop_middle(&mut self) -> io::Result<()> {
        let keep = self.cap / TAIL_SHARE;
        let from = self.length - keep;
        let to = self.head + MARKER_BYTES;
        let after_earlier_marker = if self.dropped == 0 { self.head } else { to };
        let dropped = self.dropped + (from - after_earlier_marker);
        let mut marker = format!("\n[cloud-code-agent: {dropped} bytes left out here]");
        while (marker.len() as u64) < MARKER_BYTES - 1 {
            marker.push(' ');
        }
        marker.push('\n');
        let mut piece = vec![0; MOVE_BYTES];
        let mut moved = 0;
        while moved < keep {
            let length = usize::try_from(keep - moved).unwrap_or(MOVE_BYTES).min(MOVE_BYTES);
            let part = piece.get_mut(..length).unwrap_or_default();
            self.file.read_exact_at(part, from + moved)?;
            self.file.write_all_at(part, to + moved)?;
            moved += length as u64;
        }
        self.file.write_all_at(marker.as_bytes(), self.head)?;
        self.length = to + keep;
        self.file.set_len(self.length)?;
        self.dropped = dropped;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginning_and_end_stay_and_the_count_is_exact() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.1.log");
        let mut log = RawLog::create(&path, 8192).unwrap();
        let mut written = 0;
        for number in 0..5000 {
            let line = format!("line {number}\n");
            written += line.len() as u64;
            log.write(line.as_bytes());
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.len() <= 8192, "{}", text.len());
        assert!(text.starts_with("line 0\nline 1\n"));
        assert!(text.ends_with("line 4998\nline 4999\n"));
        let marker = format!("[cloud-code-agent: {} bytes left out here]", log.missing_bytes());
        assert_eq!(text.matches(&marker).count(), 1, "{text}");
        assert_eq!(text.matches("left out here").count(), 1);
        assert_eq!(written - log.missing_bytes() + MARKER_BYTES, text.len() as u64);
    }

    #[test]
    fn a_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("target");
        std::fs::write(&target, "kept").unwrap();
        let path = dir.path().join("t.1.log");
        std::os::unix::fs::symlink(&target, &path).unwrap();
        assert!(RawLog::create(&path, 8192).is_err());
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "kept");
    }
}
