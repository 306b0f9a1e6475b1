//! What an agent printed, made fit to be shown: the end of it, as text, without the control sequences by which output
//! from inside a container could write to a person's terminal.

/// Keeps the last `limit` bytes of what is pushed.
#[derive(Debug)]
pub(crate) struct Tail {
    bytes: Vec<u8>,
    limit: usize,
}

impl Tail {
    pub(crate) fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit }
    }

    pub(crate) fn push(&mut self, chunk: &[u8]) {
        self.bytes.extend_from_slice(chunk);
        // Trimmed in halves, so that many small chunks do not each move the whole buffer.
        if self.bytes.len() > self.limit.saturating_mul(2) {
            self.trim();
        }
    }

    fn trim(&mut self) {
        let surplus = self.bytes.len().saturating_sub(self.limit);
        self.bytes.drain(..surplus);
    }

    pub(crate) fn into_text(mut self) -> String {
        self.trim();
        printable(&String::from_utf8_lossy(&self.bytes))
    }
}

/// Drops escape sequences and control characters other than line feed and tab.
pub(crate) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
    out
}

fn skip_escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.next() {
        // CSI: parameters, then one byte of 0x40..=0x7e. A line feed ends a broken one.
        Some('[') => {
            while chars.next_if(|c| *c != '\n').is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c)) {}
        }
        // OSC, DCS, PM, APC: until BEL or ESC \. A line feed ends a broken one.
        Some(']' | 'P' | '^' | '_') => {
            while let Some(c) = chars.next_if(|c| *c != '\n') {
                if c == '\u{7}' {
                    break;
                }
                if c == '\u{1b}' {
                    chars.next_if_eq(&'\\');
                    break;
                }
            }
        }
        Some(_) | None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_is_kept() {
        let mut tail = Tail::new(4);
        for chunk in ["ab", "cdefgh", "", "ij"] {
            tail.push(chunk.as_bytes());
        }
        assert_eq!(tail.into_text(), "ghij");
    }

    #[test]
    fn output_cannot_drive_a_terminal() {
        let text = "\u{1b}[31mred\u{1b}[0m\r\n\u{1b}]0;title\u{7}x\u{1b}]8;;u\u{1b}\\y\u{9b}2Jz\tend\u{1b}";
        assert_eq!(printable(text), "red\nxy2Jz\tend");
        assert_eq!(printable("\u{1b}[12\nnext"), "\nnext");
    }
}
