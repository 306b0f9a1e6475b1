//! How long something is kept, as people write it. Longer than any task may run, so not the contract's duration.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Seconds of each unit.
const UNITS: [(char, u64); 3] = [('w', 7 * 86_400), ('d', 86_400), ('h', 3_600)];
/// Longest age, in days: ten years.
const MAX_DAYS: u64 = 3_650;

/// An age, written as `12h`, `30d` or `8w`; greater than zero and at most ten years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Age(u64);

/// Why an age was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an age: write it as `12h`, `30d` or `8w`, greater than zero and at most 3650d")]
pub struct InvalidAge(String);

impl Age {
    /// An age of so many days.
    pub const fn days(count: u64) -> Self {
        Self(count * 86_400)
    }
    /// The same as a duration.
    pub const fn as_duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl FromStr for Age {
    type Err = InvalidAge;
    fn from_str(text: &str) -> Result<Self, InvalidAge> {
        let bad = || InvalidAge(text.to_owned());
        let split = UNITS.iter().find_map(|(unit, secs)| Some((text.strip_suffix(*unit)?, *secs)));
        let (number, secs) = split.ok_or_else(bad)?;
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let count: u64 = number.parse().ok().filter(|_| is_number).ok_or_else(bad)?;
        match count.checked_mul(secs) {
            Some(age) if age > 0 && age <= MAX_DAYS * 86_400 => Ok(Self(age)),
            Some(_) | None => Err(bad()),
        }
    }
}

impl TryFrom<String> for Age {
    type Error = InvalidAge;
    fn try_from(text: String) -> Result<Self, InvalidAge> {
        text.parse()
    }
}

impl From<Age> for String {
    fn from(age: Age) -> Self {
        age.to_string()
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.is_multiple_of(86_400) {
            true => write!(f, "{}d", self.0 / 86_400),
            false => write!(f, "{}h", self.0 / 3_600),
        }
    }
}

impl schemars::JsonSchema for Age {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Age".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^[0-9]+[hdw]$",
            "description": "An age: `12h`, `30d` or `8w`; greater than zero, at most 3650 days."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read_as_they_are_written() {
        for (text, shown) in
            [("12h", "12h"), ("48h", "2d"), ("30d", "30d"), ("8w", "56d"), ("3650d", "3650d")]
        {
            assert_eq!(text.parse::<Age>().unwrap().to_string(), shown);
        }
        for bad in
            ["", "d", "0d", "30", "-1d", "+1d", "1.5d", "30m", "3651d", "99999999999999999999d", "1h30m"]
        {
            assert!(bad.parse::<Age>().is_err(), "{bad:?} was accepted");
        }
    }
}
