//! What the tests of the adapter share.

use std::sync::Arc;
use std::time::Duration;

use cloud_code_forge::{Credentials, GithubConfig, Pace, Scrubber};
use cloud_code_model::Clock;
use jiff::Timestamp;

/// The machine's clock.
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }
}

/// No distance between writes, and as little patience as a limit of one second needs.
pub(crate) fn pace() -> Pace {
    Pace {
        write_gap: Duration::ZERO,
        patience: Duration::from_secs(5),
        first_penalty: Duration::from_secs(1),
        ..Pace::default()
    }
}

pub(crate) fn config(api_url: String, credentials: Credentials) -> GithubConfig {
    GithubConfig {
        api_url,
        credentials,
        user_agent: "cloud-code-test".to_owned(),
        pace: pace(),
        scrubber: Scrubber::default(),
        clock: Arc::new(SystemClock),
    }
}
