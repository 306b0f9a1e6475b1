//! Keeps secrets out of everything that leaves the house: comments, pull requests, checks, logs, error texts.
//!
//! Known values come first, in every form they could take on their way (as they are, percent-encoded, inside base64),
//! because no pattern knows a password. Patterns follow for the secrets of others: what an agent read somewhere and
//! repeats. A pattern errs towards removing; a person who misses a word can look it up, a leaked token cannot be called
//! back.

mod values;
mod writer;

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};

use aho_corasick::{AhoCorasick, MatchKind};
use regex::{Captures, Regex};
use secrecy::{ExposeSecret as _, SecretString};

pub use writer::{MakeScrubbed, ScrubbedWriter};

/// What stands where a secret stood.
pub(crate) const REMOVED: &str = "[secret removed]";

/// Tokens of an hour that are remembered. Too few forgets one that is still good; more only costs search time.
const MAX_PASSING: usize = 128;

/// Secrets by their look. A group `keep` stays.
static PATTERNS: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let parts = [
        // GitHub. Installation tokens hold a JWT since 2026, so they have dots and hundreds of characters.
        r"\bgh[oprsu]_[A-Za-z0-9_.\-]{20,}",
        r"\bgithub_pat_[A-Za-z0-9_]{20,}",
        // Model providers.
        r"\bsk-ant-[A-Za-z0-9_\-]{8,}",
        r"\bsk-[A-Za-z0-9_\-]{20,}",
        r"\bAIza[A-Za-z0-9_\-]{30,}",
        // Amazon, Slack, GitLab.
        r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
        r"\bxox[a-z]-[A-Za-z0-9\-]{10,}",
        r"\bglpat-[A-Za-z0-9_\-]{20,}",
        // JSON Web Tokens.
        r"\beyJ[A-Za-z0-9_\-]{8,}\.eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}",
        // A private key, to its end or, cut short, to the end of the text.
        r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\z)",
        r#"(?P<keep>(?i:authorization)["']?\s*[:=]\s*["']?(?i:bearer|basic|token)\s+)[A-Za-z0-9._~+/=\-]+"#,
        r"(?P<keep2>\b(?i:bearer)\s+)[A-Za-z0-9._~+/\-]{20,}=*",
        // Passwords in addresses; a lone user name only where it is never just a name.
        r"(?P<keep3>\b[A-Za-z][A-Za-z0-9+.\-]*://)[^\s/@:]*:[^\s/@]+@",
        r"(?P<keep4>\bhttps?://)[^\s/@:]+@",
    ];
    // A test compiles it; nothing here depends on input.
    Regex::new(&parts.join("|")).ok()
});

struct Known {
    lasting: Vec<SecretString>,
    passing: VecDeque<SecretString>,
    finder: Option<AhoCorasick>,
}

impl Known {
    fn rebuild(&mut self) {
        let mut needles: Vec<String> = self
            .lasting
            .iter()
            .chain(&self.passing)
            .flat_map(|secret| values::forms(secret.expose_secret()))
            .collect();
        needles.sort_unstable();
        needles.dedup();
        self.finder = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&needles).ok();
    }
}

/// Removes secrets from texts. Copies share what they know.
#[derive(Clone)]
pub struct Scrubber(Arc<RwLock<Known>>);

impl fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scrubber")
    }
}

impl Default for Scrubber {
    fn default() -> Self {
        Self::new([])
    }
}

impl Scrubber {
    /// Knows these values for good. Values below 8 bytes are not looked for: they would tear up ordinary text.
    pub fn new(lasting: impl IntoIterator<Item = SecretString>) -> Self {
        let mut known =
            Known { lasting: lasting.into_iter().collect(), passing: VecDeque::new(), finder: None };
        known.rebuild();
        Self(Arc::new(RwLock::new(known)))
    }

    /// Knows one more value for good: a key from the settings.
    pub fn keep(&self, secret: SecretString) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.lasting.iter().any(|old| old.expose_secret() == secret.expose_secret()) {
            return;
        }
        known.lasting.push(secret);
        known.rebuild();
    }

    /// Knows a value that soon is worth nothing: a token of an hour. The oldest give way.
    pub fn learn(&self, secret: SecretString) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.passing.iter().any(|old| old.expose_secret() == secret.expose_secret()) {
            return;
        }
        if known.passing.len() == MAX_PASSING {
            known.passing.pop_front();
        }
        known.passing.push_back(secret);
        known.rebuild();
    }

    /// Every value that it knows: for whoever must refuse a text instead of changing it.
    pub fn values(&self) -> Vec<SecretString> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.lasting.iter().chain(&known.passing).cloned().collect()
    }

    /// The text without secrets; the same text if there were none.
    pub fn scrub<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let by_value = {
            let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
            match &known.finder {
                Some(finder) if finder.is_match(text) => {
                    let mut clean = String::with_capacity(text.len());
                    finder.replace_all_with(text, &mut clean, |_, _, out| {
                        out.push_str(REMOVED);
                        true
                    });
                    Cow::Owned(clean)
                }
                Some(_) | None => Cow::Borrowed(text),
            }
        };
        let Some(patterns) = PATTERNS.as_ref() else { return Cow::Borrowed(REMOVED) };
        if !patterns.is_match(&by_value) {
            return by_value;
        }
        let keep = |found: &Captures<'_>| {
            let kept = ["keep", "keep2", "keep3", "keep4"].iter().find_map(|name| found.name(name));
            let whole = found.get(0).map_or("", |m| m.as_str());
            let end = if kept.is_some() && whole.ends_with('@') { "@" } else { "" };
            format!("{}{REMOVED}{end}", kept.map_or("", |m| m.as_str()))
        };
        Cow::Owned(patterns.replace_all(&by_value, keep).into_owned())
    }
}

#[cfg(test)]
mod tests;
