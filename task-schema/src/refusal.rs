//! The error of the reader of types: one refusal, in words for people, with the place where it happened.
//!
//! serde's own texts speak of structs, units and variants. Whoever reads these messages wrote YAML, so each of serde's
//! cases is said anew here.

use std::fmt;

use serde::de;

use crate::key_path::{Path, Step};
use crate::problem::{Mark, quoted};

/// Names that are listed when none of them is near; more pushes the message off the screen.
const MAX_LISTED: usize = 20;

/// Why a value was refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) kind: RefusalKind,
    /// Absent until the refusal reaches a node of the document.
    pub(crate) place: Option<Place>,
}

/// Where a value was refused.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) mark: Mark,
    pub(crate) steps: Vec<Step>,
}

/// What kind of a refusal it is.
#[derive(Debug)]
pub(crate) enum RefusalKind {
    /// The value is wrong.
    Value { message: String, hint: Option<String> },
    /// A key that must be there is not.
    Missing { key: &'static str },
    /// A key that the type itself does not take.
    UnknownKey { key: String, known: &'static [&'static str] },
    /// A stand-in for a wrong value did not fit either; never shown.
    Filler,
}

impl Refusal {
    /// A wrong value.
    pub(crate) fn value(message: impl Into<String>, hint: Option<String>) -> Self {
        Self { kind: RefusalKind::Value { message: message.into(), hint }, place: None }
    }

    /// A stand-in that did not fit.
    pub(crate) fn filler() -> Self {
        Self { kind: RefusalKind::Filler, place: None }
    }

    /// The refusal with its place, unless a deeper value has given it one.
    #[must_use]
    pub(crate) fn at(mut self, mark: Mark, path: &Path<'_>) -> Self {
        if self.place.is_none() {
            self.place = Some(Place { mark, steps: path.steps() });
        }
        self
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            RefusalKind::Value { message, .. } => f.write_str(message),
            RefusalKind::Missing { key } => write!(f, "the key `{key}` is missing"),
            RefusalKind::UnknownKey { key, .. } => write!(f, "unknown key {}", quoted(key)),
            RefusalKind::Filler => f.write_str("a stand-in does not fit"),
        }
    }
}

impl de::Error for Refusal {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::value(message.to_string(), None)
    }
    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::value(format!("expected {expected}, found {}", in_words(found)), None)
    }
    fn invalid_value(found: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::value(format!("{} does not fit: expected {expected}", in_words(found)), None)
    }
    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let hint = nearest(variant, expected).map(did_you_mean);
        Self::value(format!("{} is not known here: use one of {}", quoted(variant), listed(expected)), hint)
    }
    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self { kind: RefusalKind::UnknownKey { key: field.to_owned(), known: expected }, place: None }
    }
    fn missing_field(key: &'static str) -> Self {
        Self { kind: RefusalKind::Missing { key }, place: None }
    }
    fn duplicate_field(field: &'static str) -> Self {
        Self::value(format!("the key `{field}` stands twice, perhaps under an older name"), None)
    }
}

fn in_words(found: de::Unexpected<'_>) -> String {
    match found {
        de::Unexpected::Bool(value) => format!("`{value}`"),
        de::Unexpected::Unsigned(value) => format!("the number {value}"),
        de::Unexpected::Signed(value) => format!("the number {value}"),
        de::Unexpected::Float(value) => format!("the number {value}"),
        de::Unexpected::Str(text) => format!("the text {}", quoted(text)),
        de::Unexpected::Unit | de::Unexpected::Option => "nothing".to_owned(),
        de::Unexpected::Seq => "a list".to_owned(),
        de::Unexpected::Map => "a map".to_owned(),
        other => other.to_string(),
    }
}

/// The known word that was probably meant.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    // A long word is no slip of the finger, and its distance costs time.
    const LONGEST_WORD: usize = 64;
    if word.len() > LONGEST_WORD {
        return None;
    }
    let plain = |text: &str| text.replace(['-', ' ', '.'], "_").to_lowercase();
    let word = plain(word);
    let distance = |known: &&'k str| (strsim::osa_distance(&word, &plain(known)), *known);
    let (slips, near) = known.iter().map(distance).min_by_key(|(slips, _)| *slips)?;
    let short = near.len().min(word.len());
    // One slip in a short word, one more for every five letters: `modle` is `model`, `T3` is not `T0`.
    let near_enough = slips == 0 || (short >= 3 && slips <= 1 + short / 5);
    let begins = short >= 3 && (near.starts_with(&word) || word.starts_with(&plain(near)));
    (near_enough || begins).then_some(near)
}

/// The hint for a slip.
pub(crate) fn did_you_mean(word: &str) -> String {
    format!("did you mean `{word}`?")
}

/// Known words for a message.
pub(crate) fn listed(known: &[&str]) -> String {
    let mut words: Vec<String> = known.iter().take(MAX_LISTED).map(|word| format!("`{word}`")).collect();
    if known.len() > MAX_LISTED {
        words.push("…".to_owned());
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suggestion_is_near_or_not_made() {
        let known = ["model", "max_turns", "env", "base", "base_url", "verify", "verify_rounds"];
        let cases = [
            ("modle", Some("model")),
            ("max-turns", Some("max_turns")),
            ("maxTurns", Some("max_turns")),
            ("Model", Some("model")),
            ("envs", Some("env")),
            ("verifi", Some("verify")),
            ("verify_round", Some("verify_rounds")),
            ("foo", None),
            ("x", None),
            ("", None),
        ];
        for (word, expected) in cases {
            assert_eq!(nearest(word, &known), expected, "{word}");
        }
        assert_eq!(nearest(&"a".repeat(10_000), &known), None);
        assert_eq!(nearest("a", &[]), None);
    }
}
