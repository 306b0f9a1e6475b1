//! From text to types, with errors that name file, line, column and key.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{CliManifest, Event, Reporting, Tasking};

/// One thing wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file as the caller named it.
    pub file: String,
    /// Line, from 1; 0 when unknown.
    pub line: usize,
    /// Column, from 1; 0 when unknown.
    pub column: usize,
    /// The key's path, such as `tasks[0].limits.timeout`; empty for the whole document.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do, such as `did you mean "timeout"?`.
    pub hint: Option<String>,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
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

/// Everything wrong with a document; never empty.
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

/// Reads any settings file: unknown keys are refused with a suggestion, an empty file means the defaults.
pub fn parse_strict<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Diagnostics> {
    parse_yaml(file, if text.trim().is_empty() { "{}" } else { text })
}

/// Reads `tasking.yaml`: unknown versions and unknown keys are refused.
pub fn parse_tasking(file: &str, text: &str) -> Result<Tasking, Diagnostics> {
    parse_yaml(file, text)
}

/// Reads `reporting.yaml`: unknown versions are refused, unknown keys are left out.
pub fn parse_reporting(file: &str, text: &str) -> Result<Reporting, Diagnostics> {
    parse_yaml(file, text)
}

/// Reads `cli.yaml`: unknown keys are refused.
pub fn parse_manifest(file: &str, text: &str) -> Result<CliManifest, Diagnostics> {
    parse_yaml(file, text)
}

/// Reads one line of `events.jsonl`. `line` is its number, for the message.
pub fn parse_event(file: &str, line: usize, text: &str) -> Result<Event, Diagnostics> {
    serde_json::from_str(text).map_err(|error| {
        Diagnostics(vec![Diagnostic {
            file: file.to_owned(),
            line,
            column: error.column(),
            key: String::new(),
            message: error.to_string(),
            hint: None,
        }])
    })
}

/// Writes any of the contract's documents as YAML.
pub fn to_yaml<T: Serialize>(value: &T) -> Result<String, Diagnostics> {
    serde_yaml::to_string(value).map_err(|error| {
        Diagnostics(vec![Diagnostic {
            file: String::new(),
            line: 0,
            column: 0,
            key: String::new(),
            message: error.to_string(),
            hint: None,
        }])
    })
}

fn parse_yaml<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Diagnostics> {
    serde_yaml::from_str(text).map_err(|error| {
        let (line, column) = error.location().map_or((0, 0), |at| (at.line(), at.column()));
        Diagnostics(vec![Diagnostic {
            file: file.to_owned(),
            line,
            column,
            key: String::new(),
            message: error.to_string(),
            hint: None,
        }])
    })
}
