//! What GitHub says of our limits and keys with each answer, for those who watch from outside.

use cloud_code_metrics::{Credentials, Quota, accounts};
use http::{HeaderMap, StatusCode};

/// What the limits are of when the answer does not say.
const CORE: &str = "core";
/// Resources that we use. An answer cannot make up a series of its own.
const RESOURCES: [&str; 4] = [CORE, "graphql", "search", "integration_manifest"];

/// An answer came.
pub(super) fn answer(account: &str, status: StatusCode, headers: &HeaderMap) {
    match status {
        StatusCode::UNAUTHORIZED => refused(account),
        status if status.is_success() || status == StatusCode::NOT_MODIFIED => {
            accounts().credentials(account, Credentials::Taken);
        }
        // A repository that is not ours, a limit, an outage: the key is none the worse.
        _ => {}
    }
    let number = |name| headers.get(name)?.to_str().ok()?.parse::<u64>().ok();
    let quota = || {
        Some(Quota {
            limit: number("x-ratelimit-limit")?,
            remaining: number("x-ratelimit-remaining")?,
            reset_at: number("x-ratelimit-reset")?,
        })
    };
    let said = headers.get("x-ratelimit-resource").and_then(|resource| resource.to_str().ok());
    let resource = RESOURCES.into_iter().find(|resource| *resource == said.unwrap_or(CORE));
    if let (Some(resource), Some(quota)) = (resource, quota()) {
        accounts().quota(account, resource, quota);
    }
}

/// The key of an account opens nothing any more.
pub(super) fn refused(account: &str) {
    accounts().credentials(account, Credentials::Refused);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_counts_as_refused_until_it_is_taken_again() {
        let mut headers = HeaderMap::new();
        let account = "installation-of-this-test";
        let is_refused = || accounts().refused().iter().any(|name| name == account);
        headers.insert("x-ratelimit-resource", http::HeaderValue::from_static("made-up"));
        answer(account, StatusCode::OK, &headers);
        assert!(!is_refused());
        answer(account, StatusCode::UNAUTHORIZED, &headers);
        assert!(is_refused());
        for status in [StatusCode::NOT_FOUND, StatusCode::FORBIDDEN, StatusCode::BAD_GATEWAY] {
            answer(account, status, &headers);
            assert!(is_refused(), "{status} says nothing about the key");
        }
        answer(account, StatusCode::NOT_MODIFIED, &headers);
        assert!(!is_refused());
    }
}
