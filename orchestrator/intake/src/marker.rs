//! The hidden mark in everything that we write, and how a stranger's words are quoted in it.
//!
//! Our own comments come back as webhooks, often before the answer to the request that wrote them, so their ids are
//! known too late. With a person's token they even come back under that person's name. The mark is what remains. It
//! also finds what an interrupted write left behind.
//!
//! Anybody can write our mark into a comment. All they gain is that we do not listen to it.

use std::fmt;
use std::str::FromStr;

const BEGIN: &str = "<!-- cloud-code:";
const END: &str = " -->";

/// Longest part of a mark.
const MAX_PART: usize = 128;

/// Longest mark.
const MAX_MARKER: usize = BEGIN.len() + 3 * MAX_PART + 2 + END.len();

/// `<!-- cloud-code:KIND:INSTANCE:KEY -->`. It is the first line of what we write: a text that is too long is cut at
/// its end.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Marker {
    kind: String,
    instance: String,
    key: String,
}

/// A text that cannot stand in a mark, or is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMarker {
    /// Empty, too long, or with a character that could end the comment early.
    #[error(
        "`{0}` cannot stand in a marker: use 1 to {MAX_PART} letters, digits, `.`, `_`, `/`, `#`, `@`, `+` or `-`, without `--`"
    )]
    Part(String),
    /// Not `<!-- cloud-code:KIND:INSTANCE:KEY -->`.
    #[error("this is no marker of cloud-code")]
    Shape,
}

impl Marker {
    /// What it marks (`status`, `question`, …), which installation of cloud-code wrote it, and which one it is.
    pub fn new(kind: &str, instance: &str, key: &str) -> Result<Self, InvalidMarker> {
        for part in [kind, instance, key] {
            if !is_part(part) {
                return Err(InvalidMarker::Part(part.escape_debug().take(MAX_PART).collect()));
            }
        }
        Ok(Self { kind: kind.to_owned(), instance: instance.to_owned(), key: key.to_owned() })
    }

    /// What it marks.
    pub fn kind(&self) -> &str {
        &self.kind
    }
    /// Which installation of cloud-code wrote it.
    pub fn instance(&self) -> &str {
        &self.instance
    }
    /// Which one it is.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Every mark in a text, in order.
    pub fn find_all(text: &str) -> impl Iterator<Item = Self> {
        text.match_indices(BEGIN).filter_map(|(at, _)| {
            let from = text.get(at..)?;
            let from = &from[..from.floor_char_boundary(MAX_MARKER)];
            from.get(..from.find("-->")? + "-->".len())?.parse().ok()
        })
    }
}

/// A double hyphen could end an HTML comment.
fn is_part(part: &str) -> bool {
    !part.is_empty()
        && part.len() <= MAX_PART
        && !part.contains("--")
        && !part.ends_with('-')
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._/#@+-".contains(&byte))
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{BEGIN}{}:{}:{}{END}", self.kind, self.instance, self.key)
    }
}

impl FromStr for Marker {
    type Err = InvalidMarker;
    fn from_str(text: &str) -> Result<Self, InvalidMarker> {
        let inner =
            text.strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END)).ok_or(InvalidMarker::Shape)?;
        match inner.split(':').collect::<Vec<_>>().as_slice() {
            [kind, instance, key] => Self::new(kind, instance, key),
            [..] => Err(InvalidMarker::Shape),
        }
    }
}

/// Whether a text has anything that looks like a mark of ours, whole or not.
pub fn carries_marker(text: &str) -> bool {
    text.match_indices("<!--").any(|(at, opening)| {
        text.get(at + opening.len()..).is_some_and(|rest| rest.trim_start().starts_with("cloud-code:"))
    })
}

/// Invisible, and of no width: it keeps `@` from mentioning and `#` from linking.
const BREAK: char = '\u{200B}';

/// Quotes a stranger's text in what we write: every line begins with `> `, so no line is a command or a heading of
/// ours; nobody is mentioned, no issue is linked or closed, and no comment or marker is opened.
pub fn neutralize(text: &str) -> String {
    let (text, _) = crate::characters::without_hidden_characters(text);
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for (index, line) in text.trim_end().split('\n').enumerate() {
        if index > 0 {
            out.push('\n');
        }
        out.push('>');
        if !line.trim().is_empty() {
            out.push(' ');
            break_references(line.trim_end(), &mut out);
        }
    }
    out
}

/// An agent's text in what we write, where its Markdown is wanted: nobody is mentioned, no issue is linked or closed, and no
/// comment or marker is opened. Its lines can still look like ours, so it never stands before what must be read.
pub fn disarm(text: &str) -> String {
    let (text, _) = crate::characters::without_hidden_characters(text);
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for (index, line) in text.trim().split('\n').enumerate() {
        if index > 0 {
            out.push('\n');
        }
        break_references(line.trim_end(), &mut out);
    }
    out
}

fn break_references(line: &str, out: &mut String) {
    for (at, character) in line.char_indices() {
        out.push(character);
        let rest = line.get(at + character.len_utf8()..).unwrap_or_default();
        let next = rest.chars().next();
        let has_meaning = match character {
            '@' => next.is_some_and(|next| next.is_ascii_alphanumeric()),
            '#' => next.is_some_and(|next| next.is_ascii_digit()),
            '<' => next == Some('!'),
            // `GH-12` is `#12`, and the address of an issue behind "closes" closes it.
            '-' => line.get(..at).is_some_and(|before| before.to_ascii_lowercase().ends_with("gh")),
            '/' => ["issues/", "pull/"].iter().any(|path| rest.starts_with(path)),
            _ => false,
        };
        if has_meaning {
            out.push(BREAK);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_comes_back_as_it_was_written() {
        let marker = Marker::new("status", "host-1", "acme/shop#42").unwrap();
        assert_eq!(marker.to_string(), "<!-- cloud-code:status:host-1:acme/shop#42 -->");
        assert_eq!(marker.to_string().parse::<Marker>().unwrap(), marker);
        let text = format!("{marker}\nDone.\n{}", Marker::new("part", "host-1", "2").unwrap());
        let kinds: Vec<_> = Marker::find_all(&text).map(|marker| marker.kind().to_owned()).collect();
        assert_eq!(kinds, ["status", "part"]);
    }

    #[test]
    fn nothing_in_a_marker_can_end_it() {
        for bad in ["", "a b", "a:b", "-->", "a--b", "a-", ">", "a\n", "é", &"x".repeat(129)] {
            assert!(Marker::new("status", bad, "1").is_err(), "{bad:?} was accepted");
        }
        for bad in ["", "<!-- cloud-code:a:b -->", "<!-- cloud-code:a:b:c:d -->", "<!-- cloud-code:a:b:c-->"]
        {
            assert_eq!(bad.parse::<Marker>(), Err(InvalidMarker::Shape), "{bad}");
        }
    }

    #[test]
    fn a_marker_is_seen_whole_or_not() {
        for text in [
            "<!-- cloud-code:status:a:b -->",
            "x\n<!--cloud-code:",
            "<!--\n cloud-code:x",
            "`<!-- cloud-code:a`",
        ] {
            assert!(carries_marker(text), "{text}");
        }
        for text in ["", "cloud-code:status", "<!-- other: cloud-code: -->", "<!- cloud-code:a"] {
            assert!(!carries_marker(text), "{text}");
        }
    }

    #[test]
    fn quoted_words_have_no_effect() {
        let quoted = neutralize(
            "/cloud-code run\r\n\r\n# Title\nhi @octocat, fixes #12, GH-3 and https://example.com/a/b/issues/4\n<!-- cloud-code:a:b:c -->\u{202E}\n",
        );
        assert_eq!(
            quoted,
            "> /cloud-code run\n>\n> # Title\n> hi @\u{200B}octocat, fixes #\u{200B}12, GH-\u{200B}3 and \
             https://example.com/a/b/\u{200B}issues/4\n> <\u{200B}!-- cloud-code:a:b:c -->"
        );
        assert!(!carries_marker(&quoted));
        assert_eq!(neutralize(""), ">");
    }
}
