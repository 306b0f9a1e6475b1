//! Cuts a byte stream into lines with bounded memory, whatever a CLI prints.
//!
//! A line of JSON that is too long keeps its shape and loses the ends of its long texts: the final event of a CLI can
//! hold a whole file, and without that event a good run would count as a failed one.

use std::io::BufRead as _;

/// Longest line that is parsed, 1 MiB. Claude writes whole files into one line; longer ones are not worth their memory.
const MAX_LINE_BYTES: usize = 1024 * 1024;
/// What is kept of a longer line, and of each text in a longer line of JSON.
const KEPT_OF_LONG_LINE: usize = 64 * 1024;

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// All of it.
    Whole(String),
    /// It was longer than a line may be.
    Cut {
        /// Its beginning; of a line of JSON all of its shape, with shortened texts.
        head: String,
        /// How many bytes are missing.
        dropped: u64,
    },
}

/// Which lines of a stream somebody still reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// Every one.
    Every,
    /// The last ones that are not empty; those before them need not be handed out.
    Last(usize),
}

/// Collects bytes until a line is complete.
#[derive(Default)]
pub(crate) struct LineSplitter {
    pending: Vec<u8>,
    dropped: u64,
    excess: Excess,
}

/// What happens to the rest of a line that is too long.
#[derive(Default)]
enum Excess {
    /// It is not too long yet.
    #[default]
    None,
    /// The rest is dropped.
    Dropped,
    /// It is JSON: its texts are shortened.
    Shortened(Shortener),
}

impl LineSplitter {
    /// Takes bytes and hands out the lines that they complete.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(Line)) {
        loop {
            let mut rest = bytes;
            // The search of the standard library goes by words, a comparison of each byte is several times slower.
            // Reading from memory cannot fail.
            let length = rest.skip_until(b'\n').unwrap_or(0);
            let Some((b'\n', line)) = bytes.get(..length).and_then(<[u8]>::split_last) else {
                self.keep(bytes);
                return;
            };
            if self.pending.is_empty() && self.dropped == 0 && line.len() <= MAX_LINE_BYTES {
                hand_out(line.to_vec(), 0).map(&mut each);
            } else {
                self.keep(line);
                self.take().map(&mut each);
            }
            bytes = rest;
        }
    }

    /// The same for a reader that does not want every line. Passing over the others costs next to nothing.
    pub(crate) fn push_wanted(&mut self, bytes: &[u8], wanted: Wanted, each: impl FnMut(Line)) {
        let start = match wanted {
            Wanted::Every => 0,
            Wanted::Last(count) => start_of_last(bytes, count),
        };
        if start > 0 {
            self.pending.clear();
            self.dropped = 0;
            self.excess = Excess::None;
        }
        self.push(bytes.get(start..).unwrap_or_default(), each);
    }

    /// The stream ended: the last line may lack its end.
    pub(crate) fn finish(&mut self) -> Option<Line> {
        self.take()
    }

    fn keep(&mut self, part: &[u8]) {
        if matches!(self.excess, Excess::None) && self.pending.len() + part.len() > MAX_LINE_BYTES {
            self.shorten_from_now_on();
        }
        match &mut self.excess {
            Excess::None => self.pending.extend_from_slice(part),
            Excess::Dropped => {
                let room = KEPT_OF_LONG_LINE.saturating_sub(self.pending.len()).min(part.len());
                self.pending.extend_from_slice(part.get(..room).unwrap_or_default());
                self.dropped += (part.len() - room) as u64;
            }
            Excess::Shortened(shortener) => {
                self.dropped += shortener.push(part, &mut self.pending);
                if self.pending.len() > MAX_LINE_BYTES {
                    self.drop_from_now_on();
                }
            }
        }
    }

    fn shorten_from_now_on(&mut self) {
        if self.pending.iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'{') {
            self.drop_from_now_on();
            return;
        }
        let mut shortener = Shortener::default();
        let whole = std::mem::take(&mut self.pending);
        self.dropped = shortener.push(&whole, &mut self.pending);
        self.excess = Excess::Shortened(shortener);
    }

    fn drop_from_now_on(&mut self) {
        self.dropped += self.pending.len().saturating_sub(KEPT_OF_LONG_LINE) as u64;
        self.pending.truncate(KEPT_OF_LONG_LINE);
        self.pending.shrink_to_fit();
        self.excess = Excess::Dropped;
    }

    fn take(&mut self) -> Option<Line> {
        self.excess = Excess::None;
        hand_out(std::mem::take(&mut self.pending), std::mem::take(&mut self.dropped))
    }
}

fn hand_out(mut bytes: Vec<u8>, dropped: u64) -> Option<Line> {
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

/// Where the last so many lines begin that are not empty, a last one without its end among them; 0 when there are not
/// more than that.
fn start_of_last(bytes: &[u8], count: usize) -> usize {
    let mut end = bytes.len();
    let mut found = 0;
    while let Some(at) = bytes.get(..end).and_then(|before| before.iter().rposition(|b| *b == b'\n')) {
        let line = bytes.get(at + 1..end).unwrap_or_default();
        if !matches!(line, b"" | b"\r") {
            found += 1;
        }
        // The line before this break is one too many: whatever it is, it is complete and can go.
        if found == count {
            return at + 1;
        }
        end = at;
    }
    0
}

/// Copies JSON and leaves out the ends of its long texts. What it is given need not be valid: then what comes out is
/// not valid either.
#[derive(Default)]
struct Shortener {
    place: Place,
    /// Bytes of the current text that were copied.
    kept: usize,
    is_full: bool,
    /// The first half of a character that JSON writes as two escapes; it must not stand alone.
    after_half: bool,
}

#[derive(Default, Clone, Copy)]
enum Place {
    #[default]
    BetweenTexts,
    InText,
    AfterBackslash,
    InHexDigits {
        left: u8,
        value: u16,
    },
}

impl Shortener {
    /// How many bytes were left out.
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> u64 {
        let before = out.len();
        for byte in bytes {
            self.push_byte(*byte, out);
        }
        (bytes.len() - (out.len() - before)) as u64
    }

    fn push_byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        match (self.place, byte) {
            (Place::BetweenTexts, b'"') => {
                *self = Self { place: Place::InText, ..Self::default() };
                out.push(byte);
            }
            (Place::BetweenTexts, _) => out.push(byte),
            (Place::InText, b'"') => {
                self.place = Place::BetweenTexts;
                out.push(byte);
            }
            (Place::InText, _) => {
                let begins_a_character = byte & 0xC0 != 0x80;
                self.is_full |= self.kept >= KEPT_OF_LONG_LINE && begins_a_character && !self.after_half;
                if byte == b'\\' {
                    self.place = Place::AfterBackslash;
                } else {
                    self.after_half = false;
                }
                self.copy(byte, out);
            }
            (Place::AfterBackslash, b'u') => {
                self.place = Place::InHexDigits { left: 4, value: 0 };
                self.copy(byte, out);
            }
            (Place::AfterBackslash, _) => {
                self.place = Place::InText;
                self.after_half = false;
                self.copy(byte, out);
            }
            (Place::InHexDigits { left, value }, _) => {
                let digit = char::from(byte).to_digit(16).and_then(|digit| u16::try_from(digit).ok());
                let value = value << 4 | digit.unwrap_or(0);
                self.place = match left {
                    1 => Place::InText,
                    _ => Place::InHexDigits { left: left - 1, value },
                };
                self.after_half = left == 1 && (0xD800..0xDC00).contains(&value);
                self.copy(byte, out);
            }
        }
    }

    fn copy(&mut self, byte: u8, out: &mut Vec<u8>) {
        if !self.is_full {
            self.kept += 1;
            out.push(byte);
        }
    }
}

#[cfg(test)]
#[path = "lines_tests.rs"]
mod tests;
