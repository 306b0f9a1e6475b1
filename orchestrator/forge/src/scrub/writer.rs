//! Log output without secrets.
//!
//! A formatter may write one value in two pieces, so nothing is let out before its line is whole.

use std::io::{self, Write};

use tracing_subscriber::fmt::MakeWriter;

use super::{REMOVED, Scrubber};

/// A line beyond this is let out in parts. Too low tears secrets of long lines, too high holds memory.
const MAX_HELD: usize = 256 * 1024;
const KEY_BEGINS: &str = "-----BEGIN ";
const KEY_ENDS: &str = "-----END ";

/// Passes on what is written, line by line, without secrets. What remains is passed on when it is dropped.
#[derive(Debug)]
pub struct ScrubbedWriter<W: Write> {
    out: W,
    scrubber: Scrubber,
    held: Vec<u8>,
    in_key: bool,
}

impl<W: Write> ScrubbedWriter<W> {
    /// Writes to `out`.
    pub fn new(out: W, scrubber: Scrubber) -> Self {
        Self { out, scrubber, held: Vec::new(), in_key: false }
    }

    fn pass(&mut self, piece: &[u8]) -> io::Result<()> {
        let text = String::from_utf8_lossy(piece);
        let begins = text.rfind(KEY_BEGINS).filter(|at| text[*at..].contains("PRIVATE KEY-----"));
        let ends = text.rfind(KEY_ENDS);
        if self.in_key {
            // Lines of a key whose first line has been passed on already.
            self.in_key = ends.is_none();
            return Ok(());
        }
        self.in_key = matches!((begins, ends), (Some(begin), end) if end.is_none_or(|end| end < begin));
        let clean = self.scrubber.scrub(&text);
        self.out.write_all(clean.as_bytes())?;
        if self.in_key && !clean.ends_with('\n') {
            self.out.write_all(b"\n")?;
        }
        Ok(())
    }

    fn pass_lines(&mut self) -> io::Result<()> {
        while let Some(end) = self.held.iter().position(|byte| *byte == b'\n') {
            let rest = self.held.split_off(end + 1);
            let line = std::mem::replace(&mut self.held, rest);
            self.pass(&line)?;
        }
        if self.held.len() > MAX_HELD {
            // Secrets hold no blanks, so a blank is a safe place to cut. Without any, the line is no text.
            match self.held.iter().rposition(u8::is_ascii_whitespace) {
                Some(at) => {
                    let rest = self.held.split_off(at + 1);
                    let piece = std::mem::replace(&mut self.held, rest);
                    self.pass(&piece)?;
                }
                None => {
                    self.held.clear();
                    self.out.write_all(REMOVED.as_bytes())?;
                }
            }
        }
        Ok(())
    }
}

impl<W: Write> Write for ScrubbedWriter<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(buf);
        self.pass_lines()?;
        Ok(buf.len())
    }

    /// Flushes whole lines. The line that is being written stays back: its end may be the rest of a secret.
    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl<W: Write> Drop for ScrubbedWriter<W> {
    fn drop(&mut self) {
        let rest = std::mem::take(&mut self.held);
        // Nobody is left to tell about a failure.
        if !rest.is_empty() && self.pass(&rest).is_ok() {
            let _ = self.out.flush();
        }
    }
}

/// Gives every log event its own [`ScrubbedWriter`].
#[derive(Debug, Clone)]
pub struct MakeScrubbed<M> {
    inner: M,
    scrubber: Scrubber,
}

impl<M> MakeScrubbed<M> {
    /// Wraps what `tracing_subscriber` would write to.
    pub fn new(inner: M, scrubber: Scrubber) -> Self {
        Self { inner, scrubber }
    }
}

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for MakeScrubbed<M> {
    type Writer = ScrubbedWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        ScrubbedWriter::new(self.inner.make_writer(), self.scrubber.clone())
    }

    fn make_writer_for(&'a self, meta: &tracing::Metadata<'_>) -> Self::Writer {
        ScrubbedWriter::new(self.inner.make_writer_for(meta), self.scrubber.clone())
    }
}
