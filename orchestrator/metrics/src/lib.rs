#![doc = include_str!("../README.md")]

mod forge;
mod instruments;
mod process;
mod pulse;
mod scrape;
mod table;
mod trace;

use std::sync::LazyLock;

pub use forge::{Accounts, Credentials, Quota};
pub use instruments::{Ended, Instruments, MAX_MODELS, Received, Spent, Tokens};
pub use pulse::{Late, Pulse, Pulses};
pub use scrape::{CONTENT_TYPE, Scrape};
pub use table::{Kind, Spec, TABLE, markdown};
pub use trace::{Over, Span, Tracer, trace_with, tracer};

static INSTRUMENTS: LazyLock<Instruments> = LazyLock::new(Instruments::new);
static PULSES: LazyLock<Pulses> = LazyLock::new(Pulses::default);
static ACCOUNTS: LazyLock<Accounts> = LazyLock::new(Accounts::default);

/// What this process counts with.
pub fn instruments() -> &'static Instruments {
    &INSTRUMENTS
}

/// The heartbeats of this process's loops.
pub fn pulses() -> &'static Pulses {
    &PULSES
}

/// What the forge said to this process of its limits and keys.
pub fn accounts() -> &'static Accounts {
    &ACCOUNTS
}
