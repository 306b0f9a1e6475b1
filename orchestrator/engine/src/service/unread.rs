//! What people have said and we have not read yet: what must not be decided over their heads waits for it.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::Inner;
use crate::EngineError;

/// How long an event that came is waited for to be read. Longer, and one that cannot be read, which is tried again for days,
/// holds things up.
const UNREAD_AT_MOST: SignedDuration = SignedDuration::from_secs(30);
/// How many of the oldest are looked at: behind some that cannot be read may be one that is about to be.
const OLDEST: u32 = 16;
/// How long after a start a whole look at what was missed is waited for. Shorter, and a no that was said meanwhile comes too
/// late; longer, and a log that cannot be read keeps everything from being merged.
const MISSED_AT_MOST: Duration = Duration::from_secs(120);

/// Since when this process listens, until what it missed before was fetched.
#[derive(Debug, Default)]
pub(crate) struct Missed {
    since: Mutex<Option<Instant>>,
}

impl Missed {
    /// Nobody may have listened until now.
    pub(super) fn begin(&self) {
        *self.since() = Some(Instant::now());
    }

    /// All that was said before was fetched.
    pub(super) fn caught_up(&self) {
        *self.since() = None;
    }

    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something may have been said that nobody has fetched.
    pub(super) fn may_be(&self) -> bool {
        self.since().is_some_and(|since| since.elapsed() < MISSED_AT_MOST)
    }
}

impl Inner {
    /// Whether an event that came before then is still to be read.
    pub(super) async fn has_unread(&self, before: Timestamp) -> Result<bool, EngineError> {
        let (oldest, now) = (self.store.next(OLDEST).await?, self.clock.now());
        Ok(oldest
            .iter()
            .map(|unread| unread.delivery.received_at)
            .any(|received_at| received_at < before && now.duration_since(received_at) <= UNREAD_AT_MOST))
    }
}
