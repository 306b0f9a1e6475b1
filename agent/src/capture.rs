//! Runs a helper program (git, a verify command, the version probe) to its end, with a time limit and bounded memory.

use std::io;
use std::time::Duration;

use cloud_code_task_schema::ExitReport;
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until};

use crate::process::{Child, Input, Launch, signal_group};
use crate::reaper::Reaper;
use crate::secrets::{Masker, StreamMasker};

/// Piece in which output is read.
const READ_BYTES: usize = 16 * 1024;
/// What is kept of standard error for a message; the last line counts.
const COMPLAINT_BYTES: usize = 1024;
/// How long to read on after the program ended: a child it left behind may hold the pipe for ever.
const DRAIN_LIMIT: Duration = Duration::from_millis(500);

/// Which part of a program's output is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Keep {
    /// Standard output alone, at most so many bytes.
    Stdout(usize),
    /// The end of both streams together, at most so many bytes.
    TailOfBoth(usize),
}

/// What a helper left.
#[derive(Debug)]
pub(crate) struct Captured {
    /// How it ended; `None` when the time limit did it.
    pub(crate) exit: Option<ExitReport>,
    /// What was kept, masked.
    pub(crate) output: String,
    /// The last line of standard error, for messages.
    pub(crate) complaint: String,
    /// Whether something is missing from `output`.
    pub(crate) completeness: Completeness,
}

/// Whether all of an output was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Completeness {
    /// All of it.
    Whole,
    /// A part was left out.
    Cut,
}

impl Captured {
    /// Whether it ended by itself with code 0.
    pub(crate) fn succeeded(&self) -> bool {
        self.exit.is_some_and(|exit| exit.code == Some(0))
    }
}

/// Runs to the end, or to the limit: then the whole group is killed.
pub(crate) async fn capture(
    launch: &Launch<'_>,
    input: &[u8],
    keep: Keep,
    limit: Duration,
    reaper: &Reaper,
    masker: &Masker,
) -> io::Result<Captured> {
    let launch = Launch { input: if input.is_empty() { Input::Nothing } else { Input::Pipe }, ..*launch };
    let mut child = Child::start(&launch, reaper)?;
    let mut deadline = Instant::now() + limit;
    let (mut out, mut err) = (vec![0; READ_BYTES], vec![0; READ_BYTES]);
    let (mut out_open, mut err_open) = (true, true);
    let (mut kept, mut errors) =
        (Kept::new(keep, masker), Kept::new(Keep::TailOfBoth(COMPLAINT_BYTES), masker));
    let (mut exit, mut ended) = (None, false);
    let mut stdin = child.stdin.take();
    let mut unwritten = input;
    while out_open || err_open || !ended {
        tokio::select! {
            read = child.stdout.read(&mut out), if out_open => {
                let bytes = out.get(..*read.as_ref().unwrap_or(&0)).unwrap_or_default();
                out_open = !bytes.is_empty();
                kept.push(bytes);
            }
            read = child.stderr.read(&mut err), if err_open => {
                let bytes = err.get(..*read.as_ref().unwrap_or(&0)).unwrap_or_default();
                err_open = !bytes.is_empty();
                errors.push(bytes);
                if matches!(keep, Keep::TailOfBoth(_)) {
                    kept.push(bytes);
                }
            }
            status = &mut child.exit, if !ended => {
                ended = true;
                exit = status.ok();
                deadline = Instant::now() + DRAIN_LIMIT;
            }
            written = write_some(&mut stdin, unwritten), if stdin.is_some() => {
                unwritten = unwritten.get(written..).unwrap_or_default();
                if written == 0 || unwritten.is_empty() {
                    stdin = None;
                }
            }
            () = sleep_until(deadline) => {
                if ended {
                    break;
                }
                signal_group(child.pid, Signal::SIGKILL);
                ended = true;
                deadline = Instant::now() + DRAIN_LIMIT;
            }
        }
    }
    let errors = errors.text();
    let complaint = errors.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned();
    Ok(Captured { exit, output: kept.text(), complaint, completeness: kept.completeness })
}

async fn write_some(stdin: &mut Option<tokio::net::unix::pipe::Sender>, bytes: &[u8]) -> usize {
    match stdin {
        // A reader that closed early is its own affair.
        Some(stdin) => stdin.write(bytes).await.unwrap_or(0),
        None => 0,
    }
}

/// Masks before it cuts, so that no half of a secret is left at an edge.
struct Kept {
    keep: Keep,
    masker: StreamMasker,
    bytes: Vec<u8>,
    completeness: Completeness,
}

impl Kept {
    fn new(keep: Keep, masker: &Masker) -> Self {
        Self { keep, masker: masker.stream(), bytes: Vec::new(), completeness: Completeness::Whole }
    }

    fn push(&mut self, new: &[u8]) {
        self.masker.push(new, &mut self.bytes);
        self.cut();
    }

    fn cut(&mut self) {
        match self.keep {
            Keep::Stdout(max) if self.bytes.len() > max => {
                self.bytes.truncate(max);
                self.completeness = Completeness::Cut;
            }
            // Twice the tail, so that bytes are moved once a tail and not once a read.
            Keep::TailOfBoth(max) if self.bytes.len() > max * 2 => self.cut_tail(max),
            Keep::Stdout(_) | Keep::TailOfBoth(_) => {}
        }
    }

    fn cut_tail(&mut self, max: usize) {
        if self.bytes.len() > max {
            self.bytes.drain(..self.bytes.len() - max);
            self.completeness = Completeness::Cut;
        }
    }

    fn text(&mut self) -> String {
        self.masker.finish(&mut self.bytes);
        self.cut();
        if let Keep::TailOfBoth(max) = self.keep {
            self.cut_tail(max);
        }
        // A cut may stand inside a character.
        let start = self.bytes.iter().position(|b| (*b & 0xC0) != 0x80).unwrap_or(0);
        String::from_utf8_lossy(self.bytes.get(start..).unwrap_or_default()).into_owned()
    }
}
