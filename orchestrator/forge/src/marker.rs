//! The hidden line by which we know our own texts again.
//!
//! A write whose answer was lost leaves no id behind; ids we remember come too late for the webhook of our own comment.
//! So everything we write ends in an HTML comment that names what it is, and a text counts as ours only if we (by
//! account) wrote it *and* the marker stands alone on a line: a quoted copy starts with `> ` and is not ours.

use std::fmt;

/// Start of every marker, whatever it names.
const OPEN: &str = "<!-- cloud-code:";
const CLOSE: &str = " -->";
/// Room for a task id, an issue and a word; far below what would matter in a body.
const MAX_NAME: usize = 120;

/// The name of one text of ours, unique where it stands: `status-42`, `answer-01J…`, `pull-42`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Marker(String);

/// Why a name cannot be a marker.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` cannot mark a text: use 1 to {MAX_NAME} of the characters a-z, A-Z, 0-9, `.`, `_`, `:` and single `-`"
)]
pub struct InvalidMarker(String);

impl Marker {
    /// A marker of this name.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidMarker> {
        let name = name.into();
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b));
        // Two hyphens could end an HTML comment, as could one at the end before ` -->`.
        if name.is_empty() || name.len() > MAX_NAME || !plain || name.contains("--") || name.ends_with('-') {
            return Err(InvalidMarker(name));
        }
        Ok(Self(name))
    }

    /// The name alone.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Whether this marker stands alone on a line of the text.
    pub fn is_in(&self, text: &str) -> bool {
        names(text).any(|name| name == self.0)
    }

    /// Whether any marker of ours stands alone on a line of the text. Says nothing about who wrote it.
    pub fn any_in(text: &str) -> bool {
        names(text).next().is_some()
    }
}

fn names(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| line.trim().strip_prefix(OPEN)?.strip_suffix(CLOSE))
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{OPEN}{}{CLOSE}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_is_found_only_alone_on_its_line() {
        let marker = Marker::new("status-4").unwrap();
        assert_eq!(marker.to_string(), "<!-- cloud-code:status-4 -->");
        assert!(marker.is_in("Working.\r\n\r\n<!-- cloud-code:status-4 -->\r\n"));
        assert!(!marker.is_in("Working.\n\n<!-- cloud-code:status-42 -->"));
        assert!(!marker.is_in("> <!-- cloud-code:status-4 -->"));
        assert!(Marker::any_in("<!-- cloud-code:status-42 -->"));
        assert!(!Marker::any_in("<!-- somebody-else:status -->"));
    }

    #[test]
    fn a_name_cannot_end_the_comment_it_stands_in() {
        for bad in ["", "a b", "a--b", "a-", "-->", "ä", &"x".repeat(MAX_NAME + 1)] {
            assert!(Marker::new(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
