//! Keeps the beginning and the end of what is too long, and says in between how much is missing.

use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};

/// Which part of the room the beginning gets: it says what was asked; the end, which gets the rest, says how it went.
const HEAD_SHARE: u64 = 4;
/// The least that a file gets: below it there is no room for a beginning, the marker and an end.
pub(crate) const LEAST: u64 = 1024;

/// What is left of a source.
pub(crate) struct Cut<'a> {
    /// Its bytes, with the marker line where something is missing.
    pub(crate) reader: Box<dyn BufRead + 'a>,
    /// How many bytes are missing; the marker says the same number.
    pub(crate) dropped: u64,
}

/// The marker line.
fn marker(dropped: u64, whole: u64) -> String {
    format!("[cloud-code: truncated: dropped {dropped} bytes of {whole}]\n")
}

/// At most `room` bytes of a source of `whole` bytes, cut at ends of lines where there are any: a secret that is torn
/// apart would not be known as one.
pub(crate) fn cut<'a, S: Read + Seek + 'a>(mut source: S, whole: u64, room: u64) -> io::Result<Cut<'a>> {
    let room = room.max(LEAST);
    if whole <= room {
        source.seek(SeekFrom::Start(0))?;
        return Ok(Cut { reader: Box::new(BufReader::new(source.take(whole))), dropped: 0 });
    }
    // The numbers in the marker are at most as long as these.
    let room = room - marker(whole, whole).len() as u64 - 1;
    let head = piece(&mut source, 0, room / HEAD_SHARE)?;
    let head_end = match head.iter().rposition(|byte| *byte == b'\n') {
        Some(at) => at as u64 + 1,
        None => head.len() as u64,
    };
    let tail_from = whole - (room - room / HEAD_SHARE);
    source.seek(SeekFrom::Start(tail_from))?;
    let mut first_line = Vec::new();
    // A line longer than half of the end is torn; the mask still knows what stands whole in it.
    let most = (whole - tail_from) / 2;
    let mut lines = BufReader::new(&mut source);
    let skipped = lines.by_ref().take(most).read_until(b'\n', &mut first_line)? as u64;
    let skipped = if first_line.ends_with(b"\n") { skipped } else { 0 };
    drop(lines);
    let start = tail_from + skipped;
    let dropped = start - head_end;
    let needs_break = head_end > 0 && head.get(head_end as usize - 1) != Some(&b'\n');
    let middle = format!("{}{}", if needs_break { "\n" } else { "" }, marker(dropped, whole));
    source.seek(SeekFrom::Start(start))?;
    let mut head = head;
    head.truncate(usize::try_from(head_end).unwrap_or(usize::MAX));
    let tail = source.take(whole - start);
    let reader = Cursor::new(head).chain(Cursor::new(middle.into_bytes())).chain(tail);
    Ok(Cut { reader: Box::new(BufReader::new(reader)), dropped })
}

fn piece(source: &mut (impl Read + Seek), from: u64, length: u64) -> io::Result<Vec<u8>> {
    source.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    source.take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(source: &str, room: u64) -> (String, u64) {
        let cut = cut(Cursor::new(source.as_bytes().to_vec()), source.len() as u64, room).unwrap();
        let mut text = String::new();
        let mut reader = cut.reader;
        reader.read_to_string(&mut text).unwrap();
        (text, cut.dropped)
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        assert_eq!(text("one\ntwo\n", LEAST), ("one\ntwo\n".to_owned(), 0));
        assert_eq!(text("", LEAST), (String::new(), 0));
    }

    #[test]
    fn the_count_is_exact_and_lines_are_whole() {
        let whole: String = (0..2000).map(|n| format!("line {n}\n")).collect();
        let (kept, dropped) = text(&whole, 4096);
        assert!(kept.len() <= 4096, "{}", kept.len());
        assert!(kept.starts_with("line 0\nline 1\n") && kept.ends_with("line 1998\nline 1999\n"));
        let line = format!("[cloud-code: truncated: dropped {dropped} bytes of {}]\n", whole.len());
        let (head, tail) = kept.split_once(&line).unwrap();
        assert_eq!(head.len() as u64 + tail.len() as u64 + dropped, whole.len() as u64);
        assert!(whole.starts_with(head) && whole.ends_with(tail) && head.ends_with('\n'));
        assert!(tail.starts_with("line "));
    }

    #[test]
    fn a_text_without_lines_is_cut_too() {
        let whole = "x".repeat(100_000);
        let (kept, dropped) = text(&whole, 4096);
        assert!(kept.len() <= 4096 && kept.contains("\n[cloud-code: truncated: "), "{}", kept.len());
        assert_eq!(kept.matches('x').count() as u64 + dropped, 100_000);
    }
}
