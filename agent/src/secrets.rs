//! Credentials: read once, handed only to the CLI's environment, and masked in everything that comes back.
//!
//! Masking happens where bytes of a child process enter the agent, so the raw log, the events and the report are
//! clean by construction. Masking the finished files was rejected: `***` in the wrong place is not valid YAML.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};

use serde::Deserialize;

/// Longest document on stdin. Keys have a few hundred bytes; more is a mistake of the caller.
const MAX_SECRETS_BYTES: u64 = 64 * 1024;
/// Shorter values are not masked: a value such as `1` or `true` stands everywhere and tells nothing.
const MIN_MASKED_BYTES: usize = 8;
/// What stands in a secret's place.
const MASK: &[u8] = b"***";

/// Why the document on stdin was refused. Never shows a value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretsError {
    /// Stdin broke.
    #[error("cannot read the secrets from stdin: {0}")]
    Io(#[from] io::Error),
    /// Too long.
    #[error("the secrets on stdin are longer than {MAX_SECRETS_BYTES} bytes")]
    TooLarge,
    /// Not the expected JSON.
    #[error(
        "the secrets on stdin are not {{\"env\": {{\"NAME\": \"value\"}}}} (line {line}, column {column})"
    )]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// A name that cannot be an environment variable, or a value with NUL.
    #[error(
        "secret number {0} on stdin is not an environment variable: names are letters, digits and _, values have no NUL"
    )]
    NotAVariable(usize),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    env: BTreeMap<String, String>,
}

/// Credentials by the name of their environment variable.
#[derive(Default)]
pub(crate) struct Secrets {
    env: BTreeMap<String, String>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.env.keys()).finish()
    }
}

impl Secrets {
    /// Reads the JSON document until its end.
    pub(crate) fn read(input: impl Read) -> Result<Self, SecretsError> {
        let mut bytes = Vec::new();
        input.take(MAX_SECRETS_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_SECRETS_BYTES {
            return Err(SecretsError::TooLarge);
        }
        let document: Document = serde_json::from_slice(&bytes)
            .map_err(|error| SecretsError::Syntax { line: error.line(), column: error.column() })?;
        for (index, (name, value)) in document.env.iter().enumerate() {
            let name_ok = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            if !name_ok || value.contains('\0') {
                return Err(SecretsError::NotAVariable(index + 1));
            }
        }
        Ok(Self { env: document.env })
    }

    /// Takes the named variables from the agent's own environment.
    pub(crate) fn from_environment(names: &[String]) -> Self {
        let value = |name: &String| Some((name.clone(), std::env::var(name).ok().filter(|v| !v.is_empty())?));
        Self { env: names.iter().filter_map(value).collect() }
    }

    /// For the CLI's environment, and nothing else.
    pub(crate) const fn variables(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// A masker that knows every value, also as JSON would write it.
    pub(crate) fn masker(&self) -> Masker {
        let mut needles = Vec::new();
        for value in self.env.values().filter(|value| value.len() >= MIN_MASKED_BYTES) {
            needles.push(value.as_bytes().to_vec());
            let quoted = serde_json::Value::String(value.clone()).to_string();
            let escaped = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
            if escaped != value {
                needles.push(escaped.as_bytes().to_vec());
            }
        }
        // The longest first, so that a secret containing another is masked whole.
        needles.sort_by_key(|needle| std::cmp::Reverse(needle.len()));
        Masker { needles: needles.into_iter().map(Needle::new).collect() }
    }
}

/// Replaces secret values by `***`.
#[derive(Clone, Default)]
pub(crate) struct Masker {
    needles: Vec<Needle>,
}

/// A value to look for, after Horspool: the byte at a window's end says how far the next one can be. A secret is long,
/// so most bytes of a flood of output are never looked at.
#[derive(Clone)]
struct Needle {
    bytes: Vec<u8>,
    steps: [u8; 256],
}

impl Needle {
    fn new(bytes: Vec<u8>) -> Self {
        let step = |distance: usize| u8::try_from(distance).unwrap_or(u8::MAX);
        let mut steps = [step(bytes.len()); 256];
        let last = bytes.len().saturating_sub(1);
        for (at, byte) in bytes.iter().enumerate().take(last) {
            if let Some(known) = steps.get_mut(usize::from(*byte)) {
                *known = step(last - at);
            }
        }
        Self { bytes, steps }
    }

    fn find(&self, text: &[u8]) -> Option<usize> {
        let last = self.bytes.last()?;
        let mut at = 0;
        loop {
            let window = text.get(at..at + self.bytes.len())?;
            let end = window.last()?;
            if end == last && window == self.bytes {
                return Some(at);
            }
            at += usize::from(*self.steps.get(usize::from(*end))?);
        }
    }
}

impl Masker {
    /// Masks a whole text.
    pub(crate) fn mask(&self, text: &str) -> String {
        let mut out = Vec::with_capacity(text.len());
        let rest = self.mask_into(text.as_bytes(), &mut out);
        out.extend_from_slice(rest);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// A masker for a stream that arrives in pieces.
    pub(crate) fn stream(&self) -> StreamMasker {
        StreamMasker { masker: self.clone(), held: Vec::new() }
    }

    /// Masks as much as is certain; returns the end that may be the beginning of a secret.
    fn mask_into<'a>(&self, input: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        let mut rest = input;
        while let Some((at, length)) = self.first_match(rest) {
            out.extend_from_slice(rest.get(..at).unwrap_or_default());
            out.extend_from_slice(MASK);
            rest = rest.get(at + length..).unwrap_or_default();
        }
        let held = self.needles.iter().map(|needle| overlap(rest, &needle.bytes)).max().unwrap_or(0);
        let certain = rest.len() - held;
        out.extend_from_slice(rest.get(..certain).unwrap_or_default());
        rest.get(certain..).unwrap_or_default()
    }

    fn first_match(&self, text: &[u8]) -> Option<(usize, usize)> {
        let find = |needle: &Needle| needle.find(text).map(|at| (at, needle.bytes.len()));
        self.needles.iter().filter_map(find).min_by_key(|(at, length)| (*at, std::cmp::Reverse(*length)))
    }
}

/// How many bytes at the end of `text` are a proper beginning of `needle`.
fn overlap(text: &[u8], needle: &[u8]) -> usize {
    let longest = needle.len().saturating_sub(1).min(text.len());
    (1..=longest).rev().find(|n| needle.get(..*n).is_some_and(|head| text.ends_with(head))).unwrap_or(0)
}

/// Masks a stream; a secret that is split between two pieces is masked as well.
pub(crate) struct StreamMasker {
    masker: Masker,
    held: Vec<u8>,
}

impl StreamMasker {
    /// Appends to `out` what is certain of everything seen so far.
    pub(crate) fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        if self.masker.needles.is_empty() {
            out.extend_from_slice(piece);
            return;
        }
        self.held.extend_from_slice(piece);
        let input = std::mem::take(&mut self.held);
        self.held = self.masker.mask_into(&input, out).to_vec();
    }

    /// The stream ended: what was held back was no secret.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secrets(value: &str) -> Secrets {
        Secrets { env: BTreeMap::from([("KEY".to_owned(), value.to_owned())]) }
    }

    #[test]
    fn a_value_is_never_shown_by_debug_or_errors() {
        assert_eq!(format!("{:?}", secrets("sk-very-secret")), r#"{"KEY"}"#);
        let error = Secrets::read(br#"{"env": {"KEY": 5}}"#.as_slice()).unwrap_err();
        assert!(!error.to_string().contains('5'), "{error}");
    }

    #[test]
    fn the_escaped_form_is_masked_too() {
        let masker = secrets("pass\"word\\1").masker();
        assert_eq!(masker.mask(r#"{"text":"pass\"word\\1"}"#), r#"{"text":"***"}"#);
    }

    #[test]
    fn an_oversized_document_is_refused() {
        let text = format!(r#"{{"env": {{"A": "{}"}}}}"#, "x".repeat(70_000));
        assert!(matches!(Secrets::read(text.as_bytes()), Err(SecretsError::TooLarge)));
    }

    proptest! {
        #[test]
        fn a_needle_is_found_where_it_first_stands(text in "[ab]{0,60}", needle in "[ab]{1,9}") {
            prop_assert_eq!(Needle::new(needle.clone().into_bytes()).find(text.as_bytes()), text.find(&needle));
        }

        #[test]
        fn a_needle_longer_than_its_steps_is_found(before in "[a-c]{0,600}", needle in "[a-c]{300,400}") {
            let text = format!("{before}{needle}");
            prop_assert_eq!(Needle::new(needle.clone().into_bytes()).find(text.as_bytes()), text.find(&needle));
        }

        #[test]
        fn however_a_stream_is_cut_the_secret_never_comes_out(
            before in "[a-s\\-]{0,20}", after in "[a-s\\-]{0,20}", cuts in proptest::collection::vec(1usize..6, 1..40)
        ) {
            let secret = "sk-abcabcabd";
            let text = format!("{before}{secret}{after}");
            let masker = secrets(secret).masker();
            let mut stream = masker.stream();
            let (mut out, mut rest) = (Vec::new(), text.as_bytes());
            for cut in cuts {
                let (piece, tail) = rest.split_at(cut.min(rest.len()));
                stream.push(piece, &mut out);
                rest = tail;
            }
            stream.push(rest, &mut out);
            stream.finish(&mut out);
            let shown = String::from_utf8(out).unwrap();
            prop_assert_eq!(&shown, &masker.mask(&text));
            prop_assert!(!shown.contains(secret));
        }
    }
}
