//! Names that become folders, labels and rows. Each refuses what could leave its folder or break a label.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{given}` is not {what}: use 1 to 64 letters, digits, `.`, `_` or `-`, starting with a letter or digit"
)]
pub struct InvalidName {
    given: String,
    what: &'static str,
}

impl InvalidName {
    pub(crate) fn new(given: &str, what: &'static str) -> Self {
        Self { given: given.to_owned(), what }
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                if is_name(&text) { Ok(Self(text)) } else { Err(InvalidName { given: text, what: $what }) }
            }
        }
        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::try_from(text.to_owned())
            }
        }
        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"})
            }
        }
    };
}

name!(
    /// A project: one repository with its settings. Names a settings file, a mirror and a folder.
    ProjectName, "a project name"
);
name!(
    /// An issue of a project: the forge's number, or the slug of a command line task. Names a workspace.
    IssueKey, "an issue key"
);
name!(
    /// One installation of cloud-code on a machine. Stands in every container label, so that two
    /// installations on one Docker engine never touch each other's containers.
    InstanceId, "an instance id"
);

fn is_name(text: &str) -> bool {
    let head_ok = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    head_ok && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// The text, when it is a name; `what` says what it should have been.
pub(crate) fn checked(text: &str, what: &'static str) -> Result<String, InvalidName> {
    if is_name(text) { Ok(text.to_owned()) } else { Err(InvalidName { given: text.to_owned(), what }) }
}

/// Longest slug: branch names, folders and container names stay readable in one terminal line.
const MAX_SLUG: usize = 40;

/// A short name made of a title: lower-case ASCII letters and digits joined by `-`, cut at a word, never empty.
///
/// Text without a single ASCII letter or digit becomes `task`.
pub fn slug(title: &str) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut length = 0;
    for word in title.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()) {
        let word: String = word.to_ascii_lowercase().chars().take(MAX_SLUG).collect();
        if length + word.len() + words.len() > MAX_SLUG {
            break;
        }
        length += word.len();
        words.push(word);
    }
    if words.is_empty() { "task".to_owned() } else { words.join("-") }
}

/// FNV-1a: a digest that is the same in every version of this program, for names that last. Not for secrets, nor against
/// anybody who wants two texts to have the same one.
pub fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slugs_are_short_words() {
        assert_eq!(slug("Fix the login check"), "fix-the-login-check");
        assert_eq!(slug("  ../../etc/passwd  "), "etc-passwd");
        assert_eq!(slug("日本語"), "task");
        assert_eq!(slug(&"word ".repeat(40)), "word-word-word-word-word-word-word-word");
        assert_eq!(slug(&"x".repeat(90)).len(), MAX_SLUG);
    }

    #[test]
    fn names_that_could_leave_their_folder_are_refused() {
        for bad in ["", ".", "..", "a/b", "-x", ".hidden", "a b", "ü", &"x".repeat(65)] {
            assert!(bad.parse::<ProjectName>().is_err(), "{bad:?} was accepted");
        }
        assert_eq!("shop".parse::<ProjectName>().map(String::from), Ok("shop".to_owned()));
    }

    proptest! {
        #[test]
        fn every_slug_is_an_issue_key(title in ".*") {
            prop_assert!(slug(&title).parse::<IssueKey>().is_ok());
        }
    }
}
