use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Real time, moved forward by what a test asks for.
#[derive(Debug, Default, Clone)]
pub(crate) struct Clock {
    ahead: SignedDuration,
}

impl Clock {
    pub(crate) fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        now.checked_add(self.ahead).unwrap_or(now)
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
        self.ahead = self.ahead.saturating_add(by);
    }
}
