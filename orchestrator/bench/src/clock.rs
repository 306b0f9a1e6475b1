//! The clock that two processes share. `Instant` is the same clock, but its number cannot be handed over.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of a second.
const NANOS: i64 = 1_000_000_000;

/// Nanoseconds of CLOCK_MONOTONIC: the same for every process since boot.
pub(crate) fn now_nanos() -> nix::Result<i64> {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
    Ok(now.tv_sec() * NANOS + now.tv_nsec())
}
