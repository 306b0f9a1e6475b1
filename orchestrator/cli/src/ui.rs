//! The only place that prints. A reader that went away (`| head`) ends the output, not the work.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

/// A line to standard output. Once it is closed, further lines go nowhere.
pub(crate) fn out(line: impl AsRef<str>) {
    // EPIPE means that nobody reads any more; the task goes on and the exit code still says how it went.
    let _ = writeln!(io::stdout().lock(), "{}", line.as_ref());
}

/// Text to standard output as it is.
pub(crate) fn out_raw(text: impl AsRef<[u8]>) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_ref());
    let _ = stdout.flush();
}

/// Whether standard error is read by a program, as one JSON object a line. Set once, with the log.
static IS_JSON: AtomicBool = AtomicBool::new(false);

/// From now on everything on standard error is a line of the log.
pub(crate) fn speak_json() {
    IS_JSON.store(true, Ordering::Relaxed);
}

/// A line to standard error: progress, warnings, errors.
pub(crate) fn err(line: impl AsRef<str>) {
    let line = line.as_ref();
    if IS_JSON.load(Ordering::Relaxed) {
        match line.split_once(HINT) {
            Some((message, hint)) => tracing::info!(target: SAID, hint, "{message}"),
            None => tracing::info!(target: SAID, "{line}"),
        }
        return;
    }
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Why the command could not do its work.
pub(crate) fn failed(text: &str) {
    if IS_JSON.load(Ordering::Relaxed) {
        match text.split_once(HINT) {
            Some((message, hint)) => tracing::error!(target: SAID, hint, "{message}"),
            None => tracing::error!(target: SAID, "{text}"),
        }
        return;
    }
    err(format!("error: {text}"));
}

/// Where in the log what is said to a person stands. It passes every filter.
pub(crate) const SAID: &str = "cloud_code::said";
/// What comes before the advice in a message.
const HINT: &str = "\n  hint: ";

/// Whether a person looks at standard error.
pub(crate) fn is_live() -> bool {
    !IS_JSON.load(Ordering::Relaxed)
        && io::stderr().is_terminal()
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Longest line of foreign text shown in one line.
const MAX_LINE: usize = 160;

/// Foreign text as one safe line: control characters out, cut at a readable length.
///
/// Everything an agent wrote passes here or through [`clean`] before a terminal sees it: escape sequences in a report
/// could otherwise redraw the screen.
pub(crate) fn one_line(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or_default();
    let mut shown: String = line.chars().filter(|c| !is_hostile(*c)).take(MAX_LINE).collect();
    if line.chars().count() > MAX_LINE || text.trim().lines().count() > 1 {
        shown.push('…');
    }
    shown
}

/// Foreign text with its lines kept and its control characters out.
pub(crate) fn clean(text: &str) -> String {
    text.chars().filter(|c| *c == '\n' || *c == '\t' || !is_hostile(*c)).collect()
}

/// Control characters, and the ones that reorder text on a screen.
fn is_hostile(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A duration as a clock on a progress line.
pub(crate) fn clock(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s:02}s"),
        (h, m, _) => format!("{h}h{m:02}m"),
    }
}

/// A number of tokens as people read it.
pub(crate) fn tokens(count: u64) -> String {
    match count {
        0..1_000 => count.to_string(),
        1_000..1_000_000 => format!("{}.{}k", count / 1_000, count % 1_000 / 100),
        _ => format!("{}.{}M", count / 1_000_000, count % 1_000_000 / 100_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_cannot_drive_the_terminal() {
        assert_eq!(one_line("\u{1b}[2J\u{1b}]0;pwned\u{7}hello\r"), "[2J]0;pwnedhello");
        assert_eq!(one_line("first\nsecond"), "first…");
        assert_eq!(one_line(&"x".repeat(500)).chars().count(), MAX_LINE + 1);
        assert_eq!(clean("a\u{202e}b\n\tc\u{9b}"), "ab\n\tc");
    }

    #[test]
    fn figures_are_short() {
        assert_eq!([clock(7), clock(67), clock(3_720), clock(-3)], ["7s", "1m07s", "1h02m", "0s"]);
        assert_eq!([tokens(999), tokens(51_234), tokens(2_340_000)], ["999", "51.2k", "2.3M"]);
    }
}
