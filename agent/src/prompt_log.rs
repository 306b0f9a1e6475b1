//! What the CLI was told in one attempt, turn by turn, for people who wonder why it did what it did.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use cloud_code_task_schema::ControlDir;
use jiff::Timestamp;

use crate::journal::Subject;

/// Cap of one attempt's prompts. A task's texts have at most a quarter of this; the rest is for verify rounds.
const MAX_BYTES: usize = 4 * 1024 * 1024;

/// The file of one attempt.
pub(crate) struct PromptLog {
    path: PathBuf,
    turns: u32,
    bytes: usize,
}

impl PromptLog {
    /// Nothing is written yet.
    pub(crate) fn new(control: &ControlDir, subject: &Subject) -> Self {
        Self { path: control.prompt_log(&subject.task, subject.attempt), turns: 0, bytes: 0 }
    }

    /// Where it stands.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a turn, masked already.
    pub(crate) fn add(&mut self, name: &str, text: &str) -> io::Result<()> {
        self.turns += 1;
        let at = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
        let entry = format!("<!-- turn {}: {name}, {at} -->\n\n{}\n\n", self.turns, text.trim_end());
        self.bytes += entry.len();
        if self.bytes > MAX_BYTES {
            return Err(io::Error::other(format!("it would grow beyond {MAX_BYTES} bytes")));
        }
        // No link is followed: the folder is the agent's, but it may be shared with people.
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o644).custom_flags(nix::libc::O_NOFOLLOW);
        options.open(&self.path)?.write_all(entry.as_bytes())
    }
}
