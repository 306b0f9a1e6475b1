//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::interrupt;

/// Between two looks. Lower burns a core beside what is measured; higher only makes the bench longer.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Between two looks at what is itself timed: as fine as what is shown of it.
const LOOK_CLOSELY_EVERY: Duration = Duration::from_millis(1);

/// Looks until there is something, or the deadline has passed.
pub(crate) fn until<T>(deadline: Duration, what: &str, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    looking_every(LOOK_EVERY, deadline, what, look)
}

/// The same where the moment itself is measured.
pub(crate) fn closely<T>(
    deadline: Duration,
    what: &str,
    look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    looking_every(LOOK_CLOSELY_EVERY, deadline, what, look)
}

/// The same with a pause of the caller's choice, for a look that costs something.
pub(crate) fn looking_every<T>(
    pause: Duration,
    deadline: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let end = Instant::now() + deadline;
    loop {
        interrupt::check()?;
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() >= end {
            bail!("{what} did not happen within {} s", deadline.as_secs());
        }
        std::thread::sleep(pause);
    }
}
