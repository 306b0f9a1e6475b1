//! Cuts a byte stream into lines with bounded memory, whatever a CLI prints.

/// Longest line that is parsed, 1 MiB. Claude writes whole files into one line; longer ones are not worth their memory.
const MAX_LINE_BYTES: usize = 1024 * 1024;
/// What is kept of a longer line.
const KEPT_OF_LONG_LINE: usize = 64 * 1024;

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// All of it.
    Whole(String),
    /// It was longer than a line may be.
    Cut {
        /// Its beginning.
        head: String,
        /// How many bytes are missing.
        dropped: u64,
    },
}

/// Collects bytes until a line is complete.
#[derive(Default)]
pub(crate) struct LineSplitter {
    pending: Vec<u8>,
    dropped: u64,
}

impl LineSplitter {
    /// Takes bytes and hands out the lines that they complete.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(Line)) {
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            self.keep(bytes.get(..end).unwrap_or_default());
            if let Some(line) = self.take() {
                each(line);
            }
            bytes = bytes.get(end + 1..).unwrap_or_default();
        }
        self.keep(bytes);
    }

    /// The stream ended: the last line may lack its end.
    pub(crate) fn finish(&mut self) -> Option<Line> {
        self.take()
    }

    fn keep(&mut self, part: &[u8]) {
        if self.dropped > 0 {
            self.dropped += part.len() as u64;
        } else if self.pending.len() + part.len() > MAX_LINE_BYTES {
            self.pending.extend_from_slice(part.get(..KEPT_OF_LONG_LINE.min(part.len())).unwrap_or_default());
            let length = self.pending.len().min(KEPT_OF_LONG_LINE);
            self.dropped = (self.pending.len() - length) as u64;
            self.dropped += part.len().saturating_sub(KEPT_OF_LONG_LINE) as u64;
            self.pending.truncate(length);
            self.pending.shrink_to_fit();
        } else {
            self.pending.extend_from_slice(part);
        }
    }

    fn take(&mut self) -> Option<Line> {
        let mut bytes = std::mem::take(&mut self.pending);
        let dropped = std::mem::take(&mut self.dropped);
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        if bytes.is_empty() && dropped == 0 {
            return None;
        }
        let text = String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
        Some(if dropped == 0 { Line::Whole(text) } else { Line::Cut { head: text, dropped } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(pieces: &[&[u8]]) -> Vec<Line> {
        let mut splitter = LineSplitter::default();
        let mut lines = Vec::new();
        for piece in pieces {
            splitter.push(piece, |line| lines.push(line));
        }
        lines.extend(splitter.finish());
        lines
    }

    #[test]
    fn lines_are_joined_across_pieces() {
        let lines = split(&[b"one\r\ntw", b"o\n\nthree"]);
        let whole = |text: &str| Line::Whole(text.to_owned());
        assert_eq!(lines, [whole("one"), whole("two"), whole("three")]);
    }

    #[test]
    fn an_endless_line_keeps_its_beginning_and_counts_the_rest() {
        let piece = vec![b'x'; 100_000];
        let pieces: Vec<&[u8]> = (0..30).map(|_| piece.as_slice()).collect();
        let lines = split(&pieces);
        let [Line::Cut { head, dropped }] = lines.as_slice() else { panic!("{}", lines.len()) };
        assert_eq!((head.len(), *dropped), (KEPT_OF_LONG_LINE, 3_000_000 - KEPT_OF_LONG_LINE as u64));
    }
}
