//! Finds secrets in bytes that are about to be published: known values first, then the forms of well-known tokens.
//!
//! What is found is named by kind, never by value. An agent that means to smuggle a secret out can encode it; this
//! stops the accident and the plain theft, and the sandbox holds no secret of the forge in the first place.

use std::fmt;
use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use regex::bytes::Regex;
use secrecy::{ExposeSecret, SecretString};

/// What a secret is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretKind {
    /// A value that the caller named.
    Known,
    /// A token of GitHub: personal, OAuth, App installation or refresh.
    GitHub,
    /// An API key of Anthropic.
    Anthropic,
    /// An access key id of AWS.
    Aws,
    /// A token of Slack.
    Slack,
    /// A private key in PEM form.
    PrivateKey,
}

impl fmt::Display for SecretKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Known => "a secret of this installation",
            Self::GitHub => "a GitHub token",
            Self::Anthropic => "an Anthropic API key",
            Self::Aws => "an AWS access key",
            Self::Slack => "a Slack token",
            Self::PrivateKey => "a private key",
        })
    }
}

/// Shortest known value that is looked for, in bytes. Shorter ones stand in innocent files.
const MIN_KNOWN: usize = 8;

/// The forms. Installation tokens have hundreds of characters, dots among them. Each starts with a fixed text, so that
/// the search skips over what holds none.
const FORMS: &str = concat!(
    "gh[pousr]_[A-Za-z0-9_.-]{36,}",
    "|github_pat_[A-Za-z0-9_]{22,}",
    "|sk-ant-[A-Za-z0-9_-]{20,}",
    "|(?:AKIA|ASIA)[A-Z2-7]{16}",
    "|xox[abeoprs]-[A-Za-z0-9-]{10,}",
    "|-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----",
);

#[expect(clippy::expect_used, reason = "a fixed text, and a test runs it")]
static PATTERN: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(&format!("(?-u:{FORMS})")).expect("the forms are a pattern"));

/// Looks for secrets.
pub(crate) struct Scanner {
    known: Option<AhoCorasick>,
    patterns: bool,
}

impl Scanner {
    pub(crate) fn new(known: &[SecretString], patterns: bool) -> Self {
        let values = known.iter().map(|secret| secret.expose_secret().trim().as_bytes());
        let values: Vec<&[u8]> = values.filter(|value| value.len() >= MIN_KNOWN).collect();
        // Building fails only for more than 2^31 bytes of values.
        let known = (!values.is_empty()).then(|| AhoCorasick::new(&values).ok()).flatten();
        Self { known, patterns }
    }

    /// The secrets in `bytes`: their kinds and places.
    pub(crate) fn find<'a>(
        &'a self,
        bytes: &'a [u8],
    ) -> impl Iterator<Item = (SecretKind, Range<usize>)> + 'a {
        let known = self.known.iter().flat_map(move |known| known.find_iter(bytes));
        let known = known.map(|found| (SecretKind::Known, found.range()));
        let forms = self.patterns.then(|| PATTERN.find_iter(bytes)).into_iter().flatten();
        known.chain(forms.filter_map(|found| Some((kind(bytes, &found.range())?, found.range()))))
    }
}

/// What the match of a form is; none if it is part of a longer word, or an example that everybody knows.
fn kind(bytes: &[u8], place: &Range<usize>) -> Option<SecretKind> {
    let found = &bytes[place.clone()];
    let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let starts_inside = is_word(place.start.checked_sub(1).and_then(|before| bytes.get(before)));
    match found {
        [b'-', ..] => Some(SecretKind::PrivateKey),
        _ if starts_inside => None,
        [b'g', ..] => Some(SecretKind::GitHub),
        [b's', ..] => Some(SecretKind::Anthropic),
        [b'x', ..] => Some(SecretKind::Slack),
        // AWS's own documents use such ids.
        _ if is_word(bytes.get(place.end)) || found.ends_with(b"EXAMPLE") => None,
        _ => Some(SecretKind::Aws),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(scanner: &Scanner, text: &str) -> Vec<SecretKind> {
        scanner.find(text.as_bytes()).map(|(kind, _)| kind).collect()
    }

    #[test]
    fn each_form_is_known_and_its_neighbours_are_not() {
        let scanner = Scanner::new(&[], true);
        let long = format!("ghs_123456_{}.{}-{}", "eyJ0".repeat(40), "abc_".repeat(60), "x".repeat(20));
        let key = "-----BEGIN RSA PRIVATE KEY-----";
        let cases: [(String, Option<SecretKind>); 18] = [
            (format!("ghp_{}", "a1B2".repeat(9)), Some(SecretKind::GitHub)),
            (format!("token={long};"), Some(SecretKind::GitHub)),
            (format!("github_pat_{}", "a1B2".repeat(9)), Some(SecretKind::GitHub)),
            (format!("sk-ant-api03-{}", "a1B2".repeat(9)), Some(SecretKind::Anthropic)),
            ("AKIA2E0A8F3B244C9986".replace(['0', '1', '8', '9'], "B"), Some(SecretKind::Aws)),
            ("\"ASIAQWERTYUIOPASDFGH\"".to_owned(), Some(SecretKind::Aws)),
            ("xoxb-1234567890-abcdef".to_owned(), Some(SecretKind::Slack)),
            (key.to_owned(), Some(SecretKind::PrivateKey)),
            (key.replace("RSA ", ""), Some(SecretKind::PrivateKey)),
            (key.replace("RSA", "OPENSSH"), Some(SecretKind::PrivateKey)),
            (key.replace("PRIVATE", "PUBLIC"), None),
            ("AKIAIOSFODNN7EXAMPLE".to_owned(), None),
            ("AKIAQWERTYUIOPASDFGHJKL".to_owned(), None),
            ("XAKIAQWERTYUIOPASDFGH".to_owned(), None),
            ("ghp_short".to_owned(), None),
            (format!("high_ghp_{}", "a1B2".repeat(9)), None),
            ("sk-ant-".to_owned(), None),
            ("xox-".to_owned(), None),
        ];
        for (text, expected) in cases {
            assert_eq!(kinds(&scanner, &text), Vec::from_iter(expected), "{text}");
            assert!(kinds(&Scanner::new(&[], false), &text).is_empty());
        }
    }

    #[test]
    fn a_known_value_is_found_first_and_whatever_the_patterns_are() {
        let value = "correct horse battery";
        let known = [SecretString::from(format!("{value}\n")), SecretString::from("short".to_owned())];
        let text = format!("xoxb-1234567890-abcdef short {value}");
        assert_eq!(kinds(&Scanner::new(&known, true), &text), [SecretKind::Known, SecretKind::Slack]);
        assert_eq!(kinds(&Scanner::new(&known, false), &text), [SecretKind::Known]);
    }
}
