//! What is wrong with a document, so that a person finds it and a program can show it.
//!
//! A plain error text was rejected: editors, `cloud-code validate` and the agent's report each lay the parts
//! out differently. Not for failures of reading a file; those are [`crate::ReadError`].

use std::fmt;

use crate::yaml::Position;

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

impl Diagnostic {
    pub(crate) fn at(file: &str, at: Position, key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: at.line,
            column: at.column,
            key: key.into(),
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Diagnostic {
    /// `file:line:column: key: message (hint)`, leaving out what is unknown.
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

/// Everything wrong with a document, in the order of the lines; never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl Diagnostics {
    /// Sorts by place, so that a person can walk through the file once.
    pub(crate) fn sorted(mut found: Vec<Diagnostic>) -> Self {
        found.sort_by(|a, b| (a.line, a.column).cmp(&(b.line, b.column)));
        Self(found)
    }
}

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
