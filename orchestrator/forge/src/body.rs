//! Texts on their way out: without secrets, within the forge's limit, and marked as ours.

use crate::marker::Marker;
use crate::scrub::Scrubber;

/// What GitHub takes in a comment, an issue, a pull request or a check's summary (65,536; a check's summary 65,535).
pub(crate) const MAX_BODY: usize = 65_535;
const CUT: &str = "\n\n*This text was cut: the forge takes no more than 65,536 characters.*";
/// Room for the end of a code block that the cut left open.
const FENCE: &str = "\n```";

/// How a forge counts: no fewer than its characters, whichever it means by that.
fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

/// The text, at most `max` long, with the end replaced by a line that says so.
pub(crate) fn cut(text: &str, max: usize) -> String {
    if length(text) <= max {
        return text.to_owned();
    }
    let room = max.saturating_sub(length(CUT) + length(FENCE));
    let mut kept = take(text, room).to_owned();
    let fences = kept.lines().filter(|line| line.trim_start().starts_with("```")).count();
    if fences % 2 == 1 {
        kept.push_str(FENCE);
    }
    kept.push_str(CUT);
    kept
}

/// The text's start, at most `max` long.
pub(crate) fn take(text: &str, max: usize) -> &str {
    let mut used = 0;
    for (at, character) in text.char_indices() {
        used += character.len_utf16();
        if used > max {
            return &text[..at];
        }
    }
    text
}

/// A line for a title or a name: one line, at most `max` long.
pub(crate) fn line(text: &str, max: usize, scrubber: &Scrubber) -> String {
    let clean = scrubber.scrub(text);
    let one = clean.split_whitespace().collect::<Vec<_>>().join(" ");
    if length(&one) <= max {
        return one;
    }
    format!("{}…", take(&one, max.saturating_sub(1)).trim_end())
}

/// A body without secrets that fits.
pub(crate) fn plain(text: &str, scrubber: &Scrubber) -> String {
    cut(&scrubber.scrub(text), MAX_BODY)
}

/// A body without secrets that fits and ends in the marker. Markers that came with the text are taken out: an agent
/// could otherwise make one text of ours pass for another.
pub(crate) fn marked(text: &str, marker: &Marker, scrubber: &Scrubber) -> String {
    let clean = scrubber.scrub(text);
    let own: Vec<&str> = clean.lines().filter(|line| !Marker::any_in(line)).collect();
    let mark = format!("\n\n{marker}");
    let mut body = cut(own.join("\n").trim_end(), MAX_BODY - length(&mark));
    body.push_str(&mark);
    body
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn marker() -> Marker {
        Marker::new("status-4").unwrap()
    }

    #[test]
    fn a_long_body_is_cut_and_says_so() {
        let body = marked(&format!("```\n{}", "ä".repeat(70_000)), &marker(), &Scrubber::default());
        assert!(length(&body) <= MAX_BODY);
        let end = "ä\n```\n\n*This text was cut: the forge takes no more than 65,536 characters.*\n\n<!-- cloud-code:status-4 -->";
        assert!(body.ends_with(end), "{}", &body[body.len() - 200..]);
    }

    #[test]
    fn foreign_markers_are_taken_out() {
        let body = marked("Done.\n<!-- cloud-code:status-9 -->\nBye.", &marker(), &Scrubber::default());
        assert_eq!(body, "Done.\nBye.\n\n<!-- cloud-code:status-4 -->");
    }

    #[test]
    fn a_title_is_one_line() {
        assert_eq!(line("a\r\n b", 10, &Scrubber::default()), "a b");
        assert_eq!(line("abcdef", 4, &Scrubber::default()), "abc…");
    }

    proptest! {
        #[test]
        fn nothing_is_longer_than_asked(text in "\\PC{0,300}", max in 100usize..200) {
            prop_assert!(length(&cut(&text, max)) <= max);
            prop_assert!(length(&line(&text, max, &Scrubber::default())) <= max);
        }
    }
}
