//! What GitHub's refusals mean.
//!
//! Status and headers decide where they can. Some refusals differ only in their text; those texts are here and nowhere
//! else, each with where it comes from, and an unknown one falls into the general variant of its status.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::Deserialize;

use crate::body::take;
use crate::error::{Effect, ForgeError};
use crate::facts::Merged;
use crate::scrub::Scrubber;

/// What to do about a refusal.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Tell the caller.
    Tell(ForgeError),
    /// Ask nothing for so long.
    StopFor(Duration),
    /// Ask nothing until then.
    StopUntil(Timestamp),
    /// Ask nothing for a while of our choice.
    StopByRule,
}

/// Enough for GitHub's sentences, too little for a page of HTML.
const MAX_MESSAGE: usize = 500;

#[derive(Deserialize, Default)]
struct Body {
    message: Option<String>,
    #[serde(default)]
    errors: serde_json::Value,
    documentation_url: Option<String>,
}

/// GitHub's sentence, with the reasons it lists.
fn sentence(status: StatusCode, body: &Body, scrubber: &Scrubber) -> String {
    let mut text = body.message.clone().unwrap_or_else(|| format!("HTTP {status}"));
    for error in body.errors.as_array().into_iter().flatten() {
        let part = |key: &str| error.get(key).and_then(serde_json::Value::as_str);
        let reason = match (error.as_str(), part("message"), part("field"), part("code")) {
            (Some(reason), ..) | (_, Some(reason), ..) => reason.to_owned(),
            (_, _, Some(field), Some(code)) => format!("{field}: {code}"),
            (_, _, _, Some(code)) => code.to_owned(),
            _ => continue,
        };
        text.push_str("; ");
        text.push_str(&reason);
    }
    take(&scrubber.scrub(text.trim_end_matches('.')), MAX_MESSAGE).to_owned()
}

fn number(headers: &HeaderMap, name: &str) -> Option<i64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// When the hourly limit is used up, until when.
pub(super) fn exhausted_until(headers: &HeaderMap) -> Option<Timestamp> {
    if number(headers, "x-ratelimit-remaining")? > 0 {
        return None;
    }
    Timestamp::from_second(number(headers, "x-ratelimit-reset")?).ok()
}

/// Reads an answer that is neither a success nor a redirection. `effect` is what a failure of the server leaves open.
pub(super) fn read(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    what: &str,
    effect: Effect,
    scrubber: &Scrubber,
) -> Refusal {
    let body: Body = serde_json::from_slice(body).unwrap_or_default();
    let message = sentence(status, &body, scrubber);
    let lower = message.to_lowercase();
    let what = || format!("`{what}`");
    if matches!(status, StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS) {
        // The order is GitHub's (rest/using-the-rest-api/rate-limits-for-the-rest-api).
        if let Some(seconds) = number(headers, "retry-after") {
            return Refusal::StopFor(Duration::from_secs(seconds.max(1).unsigned_abs()));
        }
        if let Some(reset) = exhausted_until(headers) {
            return Refusal::StopUntil(reset);
        }
        let points_at_limits =
            body.documentation_url.as_deref().is_some_and(|url| url.contains("rate-limit"));
        if status == StatusCode::TOO_MANY_REQUESTS
            || points_at_limits
            || lower.contains("secondary rate limit")
        {
            return Refusal::StopByRule;
        }
    }
    Refusal::Tell(match status {
        StatusCode::UNAUTHORIZED => ForgeError::Auth { message },
        StatusCode::FORBIDDEN if lower.contains("archived") => ForgeError::Archived,
        StatusCode::FORBIDDEN if lower.contains("is locked") || lower.contains("been locked") => {
            ForgeError::Locked
        }
        StatusCode::FORBIDDEN => {
            let wanted = headers.get("x-accepted-github-permissions").and_then(|value| value.to_str().ok());
            ForgeError::Forbidden { message, permission: wanted.map(|wanted| take(wanted, 200).to_owned()) }
        }
        StatusCode::NOT_FOUND => ForgeError::NotFound { what: what() },
        StatusCode::GONE | StatusCode::UNAVAILABLE_FOR_LEGAL_REASONS => {
            ForgeError::Gone { what: what(), message }
        }
        StatusCode::UNPROCESSABLE_ENTITY if lower.contains("no commits between") => {
            ForgeError::NothingToMerge
        }
        StatusCode::UNPROCESSABLE_ENTITY if lower.contains("is too long") => {
            ForgeError::TooLong { what: what() }
        }
        StatusCode::BAD_REQUEST
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::CONFLICT
        | StatusCode::UNPROCESSABLE_ENTITY => ForgeError::Invalid { message },
        status if status.is_server_error() => ForgeError::Unreachable { message, effect },
        _ => ForgeError::Unexpected { message: format!("{} said {status}: {message}", what()) },
    })
}

/// What a refusal to merge means. GitHub answers 405 to nearly all of them, so its words decide. Those of the first two are in
/// its API description; the others are what its merge button says as well.
pub(super) fn of_merge(message: String) -> Merged {
    let lower = message.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|words| lower.contains(words));
    match () {
        () if says(&["head branch was modified"]) => Merged::HeadMoved,
        () if says(&["base branch was modified", "merge already in progress"]) => Merged::NotNow,
        () if says(&["merge queue"]) => Merged::Queue { message },
        () if says(&["are not allowed on this repository", "can't be rebased", "cannot be rebased"]) => {
            Merged::MethodRefused { message }
        }
        () if says(&["pull request is not mergeable", "merge conflict"]) => Merged::Conflict,
        () => Merged::Refused { message },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_it(status: u16, headers: &[(&'static str, &str)], body: &str) -> Refusal {
        let headers =
            headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let status = StatusCode::from_u16(status).unwrap();
        read(status, &headers, body.as_bytes(), "issues/1", Effect::Unknown, &Scrubber::default())
    }

    #[test]
    fn limits_are_read_in_githubs_order() {
        let both =
            [("retry-after", "7"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1700000000")];
        assert_eq!(read_it(403, &both, "{}"), Refusal::StopFor(Duration::from_secs(7)));
        let reset = Timestamp::from_second(1_700_000_000).unwrap();
        assert_eq!(read_it(403, &both[1..], "{}"), Refusal::StopUntil(reset));
        assert_eq!(read_it(429, &[], "{}"), Refusal::StopByRule);
        let text = r#"{"message": "You have exceeded a secondary rate limit. Please wait"}"#;
        assert_eq!(read_it(403, &[("x-ratelimit-remaining", "4000")], text), Refusal::StopByRule);
    }

    #[test]
    fn a_plain_403_is_a_lack_of_permission() {
        let headers = [("x-ratelimit-remaining", "4000"), ("x-accepted-github-permissions", "issues=write")];
        let got = read_it(403, &headers, r#"{"message": "Resource not accessible by integration"}"#);
        let message = "Resource not accessible by integration".to_owned();
        assert_eq!(
            got,
            Refusal::Tell(ForgeError::Forbidden { message, permission: Some("issues=write".to_owned()) })
        );
    }

    #[test]
    fn refusals_are_told_apart() {
        let tell = |status, body: &str| match read_it(status, &[], body) {
            Refusal::Tell(error) => error,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            tell(
                422,
                r#"{"message": "Validation Failed", "errors": [{"resource": "PullRequest", "code": "custom", "message": "No commits between main and x"}]}"#
            ),
            ForgeError::NothingToMerge
        );
        assert_eq!(
            tell(
                422,
                r#"{"message": "Validation Failed", "errors": [{"resource": "Label", "code": "already_exists", "field": "name"}]}"#
            ),
            ForgeError::Invalid { message: "Validation Failed; name: already_exists".to_owned() }
        );
        let long = tell(
            422,
            r#"{"message": "Validation Failed", "errors": [{"code": "custom", "field": "body", "message": "body is too long (maximum is 65536 characters)"}]}"#,
        );
        assert_eq!(long, ForgeError::TooLong { what: "`issues/1`".to_owned() });
        assert_eq!(
            tell(403, r#"{"message": "Repository was archived so is read-only."}"#),
            ForgeError::Archived
        );
        assert_eq!(
            tell(403, r#"{"message": "Unable to create comment because issue is locked."}"#),
            ForgeError::Locked
        );
        assert!(matches!(tell(401, r#"{"message": "Bad credentials"}"#), ForgeError::Auth { .. }));
        assert!(matches!(tell(410, "{}"), ForgeError::Gone { .. }));
        let down =
            ForgeError::Unreachable { message: "HTTP 502 Bad Gateway".to_owned(), effect: Effect::Unknown };
        assert_eq!(tell(502, "<html>"), down);
    }

    #[test]
    fn refusals_to_merge_are_told_apart() {
        let told =
            |message: &str| match read_it(405, &[], &serde_json::json!({"message": message}).to_string()) {
                Refusal::Tell(ForgeError::Invalid { message }) => of_merge(message),
                other => panic!("{other:?}"),
            };
        let moved = "Head branch was modified. Review and try the merge again.";
        assert_eq!(told(moved), Merged::HeadMoved);
        assert_eq!(told("Base branch was modified. Review and try the merge again."), Merged::NotNow);
        assert_eq!(told("Pull Request is not mergeable"), Merged::Conflict);
        for way in ["Squash merges", "Merge commits", "Rebase merges"] {
            let message = format!("{way} are not allowed on this repository");
            assert_eq!(told(&format!("{message}.")), Merged::MethodRefused { message });
        }
        let queue = "Repository rule violations found\n\nChanges must be made through the merge queue";
        assert_eq!(told(queue), Merged::Queue { message: queue.to_owned() });
        for rule in [
            "At least 1 approving review is required by reviewers with write access",
            "Required status check \"ci\" is expected",
            "Pull Request is still a draft",
            "something that GitHub will say one day",
        ] {
            assert_eq!(told(rule), Merged::Refused { message: rule.to_owned() });
        }
    }

    #[test]
    fn a_secret_in_a_refusal_is_removed() {
        let got = read_it(400, &[], r#"{"message": "bad token ghp_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa."}"#);
        assert_eq!(
            got,
            Refusal::Tell(ForgeError::Invalid { message: "bad token [secret removed]".to_owned() })
        );
    }
}
