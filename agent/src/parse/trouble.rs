//! What a provider's refusal means, from its HTTP status, its own words for it, and last its prose.
//!
//! A structured word always wins. Prose is matched because several CLIs pass on nothing else; every phrase here was
//! seen in a recorded run or stands in the program or the provider's API. A text that no phrase fits is `Crashed`,
//! and nothing is retried because of a guess.

use cloud_code_task_schema::{Failure, FailureKind, HumanDuration};
use jiff::Timestamp;
use serde_json::Value;

use super::json::{items, nonempty, status_at, text_at};
use super::{clip, waits};

/// What of a message is looked at; errors that quote a whole answer are longer.
const MAX_LOOKED_AT: usize = 16 * 1024;
/// The longest wait that still is a rate limit. A provider that asks for more has closed a window.
const LONGEST_RATE_LIMIT_SECS: u64 = 3600;

/// Phrases in lower case, the telling ones before the vague ones.
const PHRASES: [(FailureKind, &[&str]); 10] = [
    (
        FailureKind::LoginExpired,
        &[
            "authentication token has expired",
            "oauth session expired",
            "oauth token has expired",
            "oauth token revoked",
            "login expired",
            "login reached its time limit",
            "your access token could not be refreshed",
            "manual authorization is required",
            "token refresh failed",
            "invalid_grant",
        ],
    ),
    (FailureKind::RateLimited, &["not your usage limit"]),
    (
        FailureKind::Refused,
        &[
            "content_filter",
            "content filter",
            "content filtering policy",
            "contentpolicyviolation",
            "usage policy",
            "safety policy",
            "due to safety settings",
            "recitation/copyright filters",
            "due to other policy settings",
            "limited access to this content",
            "has been flagged for",
        ],
    ),
    (
        FailureKind::ContextTooLong,
        &[
            "context_length_exceeded",
            "maximum context length",
            "prompt is too long",
            "prompt as too long",
            "context window",
            "context length",
            "context limit",
            "input token count",
            "request_too_large",
        ],
    ),
    (
        FailureKind::UsageLimit,
        &[
            "credit balance is too low",
            "insufficient_quota",
            "exceeded your current quota",
            "exhausted your daily quota",
            "exhausted your capacity",
            "insufficient_g1_credits_balance",
            "quota exceeded",
            "usage limit",
            "usage not included",
            "out of credits",
            "out of usage",
            "credits exhausted",
            "spend cap",
            "spend limit",
            "budgetexceedederror",
        ],
    ),
    (
        FailureKind::ModelUnknown,
        &[
            "model_not_found",
            "modelnotfounderror",
            "model not found",
            "issue with the selected model",
            "is not found for api version",
            "does not exist or you do not have access",
            "not found on provider",
        ],
    ),
    (
        FailureKind::Auth,
        &[
            "api key not valid",
            "api_key_invalid",
            "authentication_error",
            "authentication error",
            "authentication failed",
            "authenticationerror",
            "does not have permission",
            "failed to authenticate",
            "incorrect api key",
            "invalid api key",
            "invalid x-api-key",
            "invalid_api_key",
            "missing api key",
            "api key is missing",
            "must specify the gemini_api_key",
            "configuration value not found",
            "no authentication information found",
            "not logged in",
            "permission_error",
            "unauthenticated",
            "unauthorized",
        ],
    ),
    (
        FailureKind::RateLimited,
        &["rate limit", "rate_limit", "ratelimit", "rate limited", "too many requests"],
    ),
    (
        FailureKind::Overloaded,
        &[
            "at capacity",
            "bad gateway",
            "high demand",
            "high load",
            "internal server error",
            "no capacity available",
            "overloaded",
            "server error",
            "server had an error",
            "servers are down",
            "service unavailable",
        ],
    ),
    (
        FailureKind::Network,
        &[
            "connection",
            "could not connect",
            "econnrefused",
            "econnreset",
            "error decoding response body",
            "fetch failed",
            "network",
            "socket",
            "stream decode error",
            "stream disconnected",
            "terminated",
            "timed out",
            "timeout",
        ],
    ),
];

/// What a message says, with the JSON inside it taken apart.
struct Told {
    /// For people.
    message: String,
    /// Everything to look for phrases in, in lower case.
    words: String,
    status: Option<u16>,
    wait: Option<HumanDuration>,
}

/// The failure that a message tells of. `status` is the HTTP status where the CLI gives it apart.
pub(super) fn failure(status: Option<u16>, text: &str) -> Failure {
    let told = Told::read(text);
    let kind = kind(status.or(told.status), &told);
    let resets_at = match kind {
        FailureKind::UsageLimit => waits::reset_in(text, Timestamp::now()),
        _ => None,
    };
    let waits = matches!(kind, FailureKind::RateLimited | FailureKind::UsageLimit | FailureKind::Overloaded);
    Failure { kind, message: told.message, retry_after: told.wait.filter(|_| waits), resets_at }
}

/// The kind alone, for texts whose message is made elsewhere.
pub(super) fn kind_of(status: Option<u16>, text: &str) -> FailureKind {
    failure(status, text).kind
}

fn kind(status: Option<u16>, told: &Told) -> FailureKind {
    let by_words = by_phrase(&told.words).unwrap_or(FailureKind::Crashed);
    // Gemini says `exceeded your current quota` for a minute's quota too, but then names a short wait.
    let is_short = told.wait.is_some_and(|wait| wait.as_duration().as_secs() <= LONGEST_RATE_LIMIT_SECS);
    let by_words = match by_words {
        FailureKind::UsageLimit if is_short && told.words.contains("quota") => FailureKind::RateLimited,
        other => other,
    };
    match status {
        Some(401 | 403) => match by_words {
            FailureKind::LoginExpired | FailureKind::UsageLimit | FailureKind::Refused => by_words,
            _ => FailureKind::Auth,
        },
        Some(402) => FailureKind::UsageLimit,
        Some(404) if told.words.contains("model") => FailureKind::ModelUnknown,
        Some(408) => FailureKind::Network,
        Some(413) => FailureKind::ContextTooLong,
        Some(429) if by_words == FailureKind::UsageLimit => by_words,
        Some(429) => FailureKind::RateLimited,
        Some(500..=599) => FailureKind::Overloaded,
        Some(_) | None => by_words,
    }
}

/// Whether a refusal of this kind stays one, however often it is tried.
pub(super) const fn is_for_good(kind: FailureKind) -> bool {
    matches!(
        kind,
        FailureKind::Auth
            | FailureKind::LoginExpired
            | FailureKind::ModelUnknown
            | FailureKind::ContextTooLong
            | FailureKind::Refused
    )
}

fn by_phrase(words: &str) -> Option<FailureKind> {
    // Anthropic's own answer to a model it does not know is no more than its name.
    if words.starts_with("model: ") {
        return Some(FailureKind::ModelUnknown);
    }
    let has_one = |phrases: &[&str]| phrases.iter().any(|phrase| words.contains(phrase));
    PHRASES.iter().find(|(_, phrases)| has_one(phrases)).map(|(kind, _)| *kind)
}

impl Told {
    fn read(text: &str) -> Self {
        let plain = unwrapped(text);
        let looked_at = plain.get(..plain.floor_char_boundary(MAX_LOOKED_AT)).unwrap_or_default();
        let mut told = Self {
            message: clip(plain),
            words: String::new(),
            status: status_in(looked_at),
            wait: waits::wait_in(looked_at),
        };
        let Some((before, value)) = embedded(looked_at) else {
            told.words = without_status(looked_at).to_ascii_lowercase();
            return told;
        };
        let error = value.get("error").filter(|error| error.is_object()).unwrap_or(&value);
        let inner = text_at(error, "message");
        // Gemini wraps the answer of its backend once more.
        let innermost = embedded(inner).map(|(_, value)| value);
        let error = innermost.as_ref().and_then(|value| value.get("error")).unwrap_or(error);
        let message = nonempty(error, "message").unwrap_or(inner);
        if message.is_empty() {
            // Not a provider's error but something quoted.
            told.words = looked_at.to_ascii_lowercase();
            return told;
        }
        told.message = clip(&format!("{before}{message}"));
        told.status = told.status.or_else(|| status_at(error, "code"));
        told.wait = told.wait.or_else(|| waits::wait_in(message)).or_else(|| retry_info(error));
        let names = ["type", "code", "status"].map(|key| text_at(error, key));
        let quota = items(error, "details").flat_map(|detail| items(detail, "violations"));
        let is_daily = quota.map(|violation| text_at(violation, "quotaId")).any(|id| id.contains("PerDay"));
        let daily = if is_daily { "exhausted your daily quota" } else { "" };
        let words = [without_status(message), before, names[0], names[1], names[2], daily].join(" ");
        told.words = words.to_ascii_lowercase();
        told
    }
}

/// Without the frame that Gemini and Qwen put around a provider's message.
fn unwrapped(text: &str) -> &str {
    let text = text.trim();
    let Some((_, after)) = text.split_once("[API Error: ") else { return text };
    after.rsplit_once(']').map_or(after, |(inside, _)| inside)
}

/// `404 model: nope` without its number.
fn without_status(text: &str) -> &str {
    match text.split_once(' ') {
        Some((first, rest)) if first.len() == 3 && first.bytes().all(|b| b.is_ascii_digit()) => rest,
        _ => text,
    }
}

/// The first JSON object in a text, and what stands before it.
fn embedded(text: &str) -> Option<(&str, Value)> {
    let (before, _) = text.split_once('{')?;
    let json = text.get(before.len()..)?;
    let value = serde_json::Deserializer::from_str(json).into_iter::<Value>().next()?.ok()?;
    Some((before, value))
}

/// Google's way to say how long to wait.
fn retry_info(error: &Value) -> Option<HumanDuration> {
    items(error, "details").find_map(|detail| waits::duration_at(nonempty(detail, "retryDelay")?))
}

/// The HTTP status in a text: `unexpected status 401 …`, `last status: 429 …`, `not found (404): …`, `500 …`.
pub(super) fn status_in(text: &str) -> Option<u16> {
    let number = |text: &str| {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let status = text.get(..digits).filter(|_| digits == 3)?.parse().ok()?;
        (400..=599).contains(&status).then_some(status)
    };
    let before = ["status ", "status: ", "Status: ", "(HTTP ", "("];
    let inside = |before: &&str| text.split(*before).skip(1).find_map(number);
    number(text).filter(|_| without_status(text) != text).or_else(|| before.iter().find_map(inside))
}

/// A failure with a message of ours.
pub(super) fn told_by(kind: FailureKind, message: impl AsRef<str>) -> Failure {
    Failure::new(kind, clip(message.as_ref()))
}
