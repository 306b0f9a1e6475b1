//! The scalars of the contract: names and quantities whose text form is part of the protocol.
//!
//! They are newtypes so that a wrong value is refused where it is read, with the line it stands on, and so
//! that later code never checks again. Task ids become file names and branch names become refs: both refuse
//! everything that could leave their folder.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why a scalar was refused; the text says what is wrong and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidScalar(pub String);

macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident, $check:path, $pattern:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({"type": "string", "pattern": $pattern, "maxLength": $max})
            }
        }

        impl $name {
            /// The text as it stands in the file.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidScalar;
            fn try_from(text: String) -> Result<Self, InvalidScalar> {
                $check(&text)?;
                Ok(Self(text))
            }
        }
        impl FromStr for $name {
            type Err = InvalidScalar;
            fn from_str(text: &str) -> Result<Self, InvalidScalar> {
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
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

text_newtype!(
    /// The id of a task: a ULID unless a person wrote it; 1 to 64 of `A-Z a-z 0-9 . _ -`, not starting with `.` or `-`.
    ///
    /// It names log files, so it can never contain a separator.
    TaskId, check_task_id, r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$", 64
);
text_newtype!(
    /// The name of a coding CLI's folder: 1 to 32 of `a-z 0-9 -`, starting with a letter or digit.
    CliName, check_cli_name, r"^[a-z0-9][a-z0-9-]{0,31}$", 32
);
text_newtype!(
    /// A git branch name without `refs/heads/`, by the rules of `git check-ref-format --branch`, at most 200 bytes.
    BranchName, check_branch_name, r"^[^-/.\x00-\x20~^:?*\[\\][^\x00-\x20~^:?*\[\\]{0,199}$", 200
);

fn check_task_id(text: &str) -> Result<(), InvalidScalar> {
    let head_ok = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    let rest_ok = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if head_ok && rest_ok && text.len() <= 64 {
        Ok(())
    } else {
        Err(InvalidScalar(format!(
            "`{}` is not a task id: use 1 to 64 letters, digits, `.`, `_` or `-`, starting with a letter, digit or `_`",
            text.escape_debug()
        )))
    }
}

fn check_cli_name(text: &str) -> Result<(), InvalidScalar> {
    let head_ok = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let rest_ok = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if head_ok && rest_ok && text.len() <= 32 {
        Ok(())
    } else {
        Err(InvalidScalar(format!(
            "`{}` is not a CLI name: use 1 to 32 lower-case letters, digits or `-`, such as `claude-code`",
            text.escape_debug()
        )))
    }
}

fn check_branch_name(text: &str) -> Result<(), InvalidScalar> {
    let bad =
        |why: &str| Err(InvalidScalar(format!("`{}` is not a git branch name: {why}", text.escape_debug())));
    if text.is_empty() || text.len() > 200 {
        return bad("it must have 1 to 200 bytes");
    }
    if text.starts_with('-') || text == "@" || text == "HEAD" {
        return bad("it may not start with `-` or be `@` or `HEAD`");
    }
    if text.bytes().any(|b| b <= 0x20 || b == 0x7f || b"~^:?*[\\".contains(&b)) {
        return bad("spaces, control characters and `~ ^ : ? * [ \\` are not allowed");
    }
    if text.contains("..") || text.contains("@{") || text.contains("//") || text.ends_with('.') {
        return bad("it may not contain `..`, `@{` or `//`, or end with `.`");
    }
    let part_bad = |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with(".lock");
    if text.split('/').any(part_bad) {
        return bad("no part between slashes may be empty, start with `.` or end with `.lock`");
    }
    Ok(())
}

/// A span of time written as `500ms`, `90s`, `15m`, `1h` or a sum such as `1h30m`; greater than zero, at most 30 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HumanDuration(Duration);

/// Longest duration the contract takes. Longer is a typing error: no run lasts a month.
const MAX_DURATION: Duration = Duration::from_secs(30 * 24 * 3600);

impl HumanDuration {
    /// A duration of whole seconds. Values outside the contract's range are cut to it.
    pub const fn from_secs(secs: u64) -> Self {
        let secs = if secs == 0 { 1 } else { secs };
        let max = MAX_DURATION.as_secs();
        Self(Duration::from_secs(if secs > max { max } else { secs }))
    }
    /// The measured duration, rounded to milliseconds; cut to the contract's range.
    pub fn from_duration(duration: Duration) -> Self {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1);
        Self(Duration::from_millis(millis).min(MAX_DURATION))
    }
    /// As a standard duration.
    pub const fn as_duration(self) -> Duration {
        self.0
    }
}

impl FromStr for HumanDuration {
    type Err = InvalidScalar;
    fn from_str(text: &str) -> Result<Self, InvalidScalar> {
        let bad = || {
            InvalidScalar(format!(
                "`{}` is not a duration: write it as `90s`, `15m` or `1h`, greater than zero and at most 30 days",
                text.escape_debug()
            ))
        };
        let mut total = Duration::ZERO;
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: u64 = rest.get(..digits).unwrap_or_default().parse().map_err(|_| bad())?;
            let after = rest.get(digits..).unwrap_or_default();
            let unit_len = after.bytes().take_while(u8::is_ascii_alphabetic).count();
            let unit_millis = match after.get(..unit_len).unwrap_or_default() {
                "ms" => 1,
                "s" => 1_000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                _ => return Err(bad()),
            };
            let part = number.checked_mul(unit_millis).map(Duration::from_millis).ok_or_else(bad)?;
            total = total.checked_add(part).ok_or_else(bad)?;
            rest = after.get(unit_len..).unwrap_or_default();
        }
        if total.is_zero() || total > MAX_DURATION { Err(bad()) } else { Ok(Self(total)) }
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000)] {
            if millis.is_multiple_of(size) {
                return write!(f, "{}{unit}", millis / size);
            }
        }
        if millis > 1_000 {
            write!(f, "{}s{}ms", millis / 1_000, millis % 1_000)
        } else {
            write!(f, "{millis}ms")
        }
    }
}

impl TryFrom<String> for HumanDuration {
    type Error = InvalidScalar;
    fn try_from(text: String) -> Result<Self, InvalidScalar> {
        text.parse()
    }
}

impl From<HumanDuration> for String {
    fn from(value: HumanDuration) -> String {
        value.to_string()
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for HumanDuration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "HumanDuration".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^([0-9]+(ms|s|m|h|d))+$",
            "description": "A duration: `90s`, `15m`, `1h`, or a sum such as `1h30m`; greater than zero, at most 30 days."
        })
    }
}

/// An amount of US dollars: finite, from 0 to 1,000,000, kept to a ten-thousandth of a cent.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Usd(f64);

impl Usd {
    /// The largest amount.
    pub const MAX: Self = Self(1_000_000.0);

    /// Rounds to six decimals; refuses what is negative, not finite or above a million.
    pub fn new(amount: f64) -> Result<Self, InvalidScalar> {
        if amount.is_finite() && (0.0..=1_000_000.0).contains(&amount) {
            Ok(Self((amount * 1e6).round() / 1e6))
        } else {
            Err(InvalidScalar(format!("`{amount}` is not an amount of USD: use a number from 0 to 1000000")))
        }
    }
    /// Dollars.
    pub const fn as_f64(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Usd {
    type Error = InvalidScalar;
    fn try_from(amount: f64) -> Result<Self, InvalidScalar> {
        Self::new(amount)
    }
}

impl From<Usd> for f64 {
    fn from(value: Usd) -> f64 {
        value.0
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0.0 || self.0 >= 0.01 {
            write!(f, "${:.2}", self.0)
        } else {
            write!(f, "${:.6}", self.0)
        }
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Usd {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Usd".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "number", "minimum": 0, "maximum": 1_000_000, "description": "US dollars."})
    }
}
