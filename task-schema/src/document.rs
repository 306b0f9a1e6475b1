//! From text to types, with errors that name file, line, column and key.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::locate::{Document, Value, locate};
use crate::problem::{Diagnostic, Diagnostics, Mark, Problem, diagnose, quoted};
use crate::scalar_value::{Scalar, resolve};
use crate::strict::{UnknownKeys, missing, read};
use crate::{CliManifest, PROTOCOL_VERSION, Reporting, Tasking, check};

/// Reads a settings file of any type: unknown keys are refused with a suggestion, an empty file means the defaults.
///
/// The error holds every problem that could be found at once, in the order of the text.
pub fn parse_strict<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Diagnostics> {
    let read_all = || {
        let mut document = locate(text).map_err(|problem| vec![problem])?;
        if is_blank(&document) {
            document = locate("{}").map_err(|problem| vec![problem])?;
        }
        read(&document, UnknownKeys::Refuse)
    };
    read_all().map_err(|problems| diagnose(file, problems))
}

/// Reads `tasking.yaml`: unknown versions and unknown keys are refused.
pub fn parse_tasking(file: &str, text: &str) -> Result<Tasking, Diagnostics> {
    parse(file, text, Versioned::Yes, UnknownKeys::Refuse, check::tasking)
}

/// Reads `reporting.yaml`: unknown versions are refused, unknown keys are left out.
///
/// The character NUL in a text is read as U+FFFD: it comes from a command's output, and a finished task is not lost
/// over it.
pub fn parse_reporting(file: &str, text: &str) -> Result<Reporting, Diagnostics> {
    parse(file, text, Versioned::Yes, UnknownKeys::Tolerate, check::reporting)
}

/// Reads `cli.yaml`: unknown keys are refused.
pub fn parse_manifest(file: &str, text: &str) -> Result<CliManifest, Diagnostics> {
    parse(file, text, Versioned::No, UnknownKeys::Refuse, check::manifest)
}

/// Writes any of the contract's documents as YAML, keys in the order of the type.
///
/// A text with the line ends that only YAML 1.1 knows makes the whole document JSON, which is YAML too: the library
/// writes such texts in blocks that a reader of YAML 1.2 takes for something else.
pub fn to_yaml<T: Serialize>(value: &T) -> Result<String, Diagnostics> {
    let yaml = serde_yaml::to_string(value).map_err(unwritable)?;
    if !yaml.contains(OLD_LINE_ENDS) {
        return Ok(yaml);
    }
    let raw = serde_json::to_string_pretty(value).map_err(unwritable)?;
    let mut json = String::with_capacity(raw.len());
    for character in raw.chars() {
        if must_be_escaped(character) {
            json.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            json.push(character);
        }
    }
    json.push('\n');
    Ok(json)
}

/// NEL, LS and PS: line ends in YAML 1.1, ordinary characters in YAML 1.2 and JSON.
const OLD_LINE_ENDS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];

/// Characters that JSON takes as they are and YAML does not (1.2, production 1, `c-printable`), and the old line ends.
fn must_be_escaped(character: char) -> bool {
    let unprintable = matches!(character, '\u{7f}'..='\u{9f}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    unprintable || OLD_LINE_ENDS.contains(&character)
}

fn unwritable(error: impl fmt::Display) -> Diagnostics {
    let message = error.to_string();
    Diagnostics(vec![Diagnostic {
        file: String::new(),
        line: 0,
        column: 0,
        key: String::new(),
        message,
        hint: None,
    }])
}

/// Whether a kind of document carries the protocol's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Versioned {
    Yes,
    /// `version` of `cli.yaml` is the command that prints the CLI's.
    No,
}

fn parse<T: DeserializeOwned>(
    file: &str,
    text: &str,
    versioned: Versioned,
    unknown_keys: UnknownKeys,
    check: fn(&Document<'_>, &T) -> Vec<Problem>,
) -> Result<T, Diagnostics> {
    let read_all = || {
        let document = locate(text).map_err(|problem| vec![problem])?;
        if is_blank(&document) {
            return Err(vec![Problem::whole("the file is empty", "its keys are explained in PROTOCOL.md")]);
        }
        if versioned == Versioned::Yes {
            check_version(&document).map_err(|problem| vec![problem])?;
        }
        let value: T = read(&document, unknown_keys)?;
        match check(&document, &value) {
            problems if problems.is_empty() => Ok(value),
            problems => Err(problems),
        }
    };
    read_all().map_err(|problems| diagnose(file, problems))
}

/// Whether the text says nothing: no value, or the value nothing, as after a lone `---`.
fn is_blank(document: &Document<'_>) -> bool {
    match document.root.map(|root| &document.node(root).value) {
        None => true,
        Some(Value::Scalar { text, plain }) => resolve(text, *plain) == Scalar::Null,
        Some(Value::List(_) | Value::Map(_)) => false,
    }
}

/// The version comes before everything else: what an unknown version's keys mean is not known here.
fn check_version(document: &Document<'_>) -> Result<(), Problem> {
    let refuse = |mark: Mark, message: String, hint: &str| {
        Err(Problem { mark, key: "version".to_owned(), message, hint: Some(hint.to_owned()) })
    };
    let write_it = format!("write `version: {PROTOCOL_VERSION}`");
    let root = document.root.map(|root| document.node(root));
    let Some(node) = document.top("version") else {
        // Of a document that is no map, the reader says so.
        return match root {
            Some(root) if matches!(root.value, Value::Map(_)) => {
                refuse(root.mark, missing("version"), &write_it)
            }
            Some(_) | None => Ok(()),
        };
    };
    let Value::Scalar { text, plain } = &node.value else {
        return refuse(node.mark, "expected a whole number".to_owned(), &write_it);
    };
    match resolve(text, *plain) {
        Scalar::Unsigned(version) if version == u64::from(PROTOCOL_VERSION) => Ok(()),
        Scalar::Unsigned(version) => {
            let hint = format!("this program reads version {PROTOCOL_VERSION}; use one of the same release");
            refuse(node.mark, format!("protocol version {version} is not known here"), &hint)
        }
        Scalar::Null | Scalar::Bool(_) | Scalar::Signed(_) | Scalar::Float(_) | Scalar::Text(_) => {
            refuse(node.mark, format!("{} is not a protocol version", quoted(text)), &write_it)
        }
    }
}
