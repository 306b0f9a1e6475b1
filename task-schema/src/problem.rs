//! What is wrong with a document, said so that a person finds the place and an editor can jump to it.
//!
//! Every word of a message may come from the document itself, and documents come from strangers: quoted input is
//! escaped and cut here, once, so that no terminal and no report has to.

use std::fmt;

/// Characters of a message that are kept: two lines of a terminal. The type of a value may quote the whole value.
const MAX_MESSAGE_CHARS: usize = 240;
/// Characters of a key's path. The longest path of the contract has 50.
const MAX_KEY_PATH_CHARS: usize = 160;
/// Characters of a quoted word. Enough to recognise it; more pushes the advice out of sight.
const MAX_QUOTE_CHARS: usize = 60;

/// One thing wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file as the caller named it.
    pub file: String,
    /// Line, from 1; 0 when unknown.
    pub line: usize,
    /// Column in characters, from 1; 0 when unknown.
    pub column: usize,
    /// The key's path, such as `tasks[0].limits.timeout`; empty for the whole document.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do, such as ``did you mean `timeout`?``.
    pub hint: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        f.write_str(": ")?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, " ({hint})")?;
        }
        Ok(())
    }
}

/// Everything wrong with a document, in the order of the text; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Mark {
    /// From 1; 0 when unknown.
    pub(crate) line: usize,
    /// In characters from 1; 0 when unknown.
    pub(crate) column: usize,
}

/// A problem before the file's name is known: what the parts of the reader hand up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) mark: Mark,
    pub(crate) key: String,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Problem {
    /// A problem of the whole document, at its start.
    pub(crate) fn whole(message: impl Into<String>, hint: &str) -> Self {
        let mark = Mark { line: 1, column: 1 };
        Self { mark, key: String::new(), message: message.into(), hint: Some(hint.to_owned()) }
    }
}

/// Sorts problems by place and gives them the file's name.
pub(crate) fn diagnose(file: &str, mut problems: Vec<Problem>) -> Diagnostics {
    problems.sort_by_key(|problem| problem.mark);
    let name = |problem: Problem| Diagnostic {
        file: file.to_owned(),
        line: problem.mark.line,
        column: problem.mark.column,
        key: printable(&problem.key, MAX_KEY_PATH_CHARS),
        message: printable(&problem.message, MAX_MESSAGE_CHARS),
        hint: problem.hint.map(|hint| printable(&hint, MAX_MESSAGE_CHARS)),
    };
    Diagnostics(problems.into_iter().map(name).collect())
}

/// The text in back quotes, escaped and cut.
pub(crate) fn quoted(text: &str) -> String {
    format!("`{}`", printable(text, MAX_QUOTE_CHARS))
}

/// The text without control characters and without invisible ones that reorder a line, at most `max` characters.
pub(crate) fn printable(text: &str, max: usize) -> String {
    let mut shown = String::new();
    for (count, character) in text.chars().enumerate() {
        if count >= max {
            shown.push('…');
            break;
        }
        if character.is_control() || is_reordering(character) {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Bidirectional marks and the byte order mark: they make a message read differently from what it says.
const fn is_reordering(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}
