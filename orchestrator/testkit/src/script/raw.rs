//! The script as YAML has it: every key optional, unknown keys refused. Meaning is [`super::check`]'s business.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::{ErrorText, Recall, Times, UsageFigures};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawScript {
    #[serde(default)]
    pub(super) turns: Option<Vec<RawTurn>>,
    #[serde(default)]
    pub(super) scenarios: BTreeMap<String, RawScenario>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawScenario {
    #[serde(rename = "match")]
    pub(super) marker: String,
    pub(super) turns: Vec<RawTurn>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTurn {
    pub(super) think: Option<String>,
    pub(super) say: Option<String>,
    pub(super) run: Option<String>,
    pub(super) read: Option<String>,
    pub(super) write: Option<RawWrite>,
    pub(super) edit: Option<RawEdit>,
    pub(super) tool: Option<RawTool>,
    pub(super) if_offered: Option<bool>,
    pub(super) recall: Option<Recall>,
    pub(super) usage: Option<UsageFigures>,
    #[serde(deserialize_with = "duration")]
    pub(super) delay: Option<Duration>,
    pub(super) status: Option<u16>,
    pub(super) retry_after: Option<u64>,
    pub(super) error: Option<ErrorText>,
    pub(super) bad_key: Option<bool>,
    pub(super) out_of_credit: Option<bool>,
    pub(super) context_too_long: Option<bool>,
    pub(super) login_expired: Option<bool>,
    pub(super) usage_limit: Option<RawUsageLimit>,
    pub(super) model_unknown: Option<bool>,
    pub(super) refuse: Option<bool>,
    pub(super) hang: Option<RawHang>,
    pub(super) cut: Option<bool>,
    pub(super) stream_error: Option<bool>,
    #[serde(deserialize_with = "times")]
    pub(super) times: Option<Times>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawWrite {
    pub(super) path: String,
    pub(super) content: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawEdit {
    pub(super) path: String,
    pub(super) old: String,
    pub(super) new: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTool {
    pub(super) name: String,
    #[serde(default)]
    pub(super) input: serde_json::Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawUsageLimit {
    #[serde(deserialize_with = "duration")]
    pub(super) resets_in: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum RawHang {
    Headers,
    Stream,
}

/// `200ms`, `7s`, `2m` or `5h`. Milliseconds matter here, so the contract's own durations (whole seconds) are too coarse.
fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text)
        .map(Some)
        .ok_or_else(|| D::Error::custom(format!("`{text}` is no duration: write 200ms, 7s, 2m or 5h")))
}

fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|character: char| !character.is_ascii_digit())?;
    let (count, unit) = text.split_at(digits);
    let count: u64 = count.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(count)),
        "s" => Some(Duration::from_secs(count)),
        "m" => count.checked_mul(60).map(Duration::from_secs),
        "h" => count.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawTimes {
    Count(u32),
    Word(String),
}

fn times<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Times>, D::Error> {
    match RawTimes::deserialize(deserializer) {
        Ok(RawTimes::Count(count)) => Ok(Some(Times::Count(count))),
        Ok(RawTimes::Word(word)) if word == "forever" => Ok(Some(Times::Forever)),
        _ => Err(D::Error::custom("`times` is a whole number or `forever`")),
    }
}
