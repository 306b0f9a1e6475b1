//! Word from other processes that there is something to look at.
//!
//! A hint, never a fact: it may be lost, come twice or come for nothing. Whoever waits for one also looks from time to time.

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Wake {
    /// A delivery came in.
    Deliveries,
    /// A request was stored.
    Requests,
    /// A task was added or moved, is to be cancelled, or may be driven that was not.
    Tasks,
    /// A comment is to be written.
    Notes,
    /// An issue was given back.
    Leases,
    /// Anything: the connection was away for a while, or a newer program has a word of its own.
    Everything,
}

impl Wake {
    /// By the table that a trigger of the database names.
    pub(crate) fn of(table: &str) -> Self {
        match table {
            "deliveries" => Self::Deliveries,
            "intents" => Self::Requests,
            // What was paused or used up may go on.
            "tasks" | "pauses" | "grants" => Self::Tasks,
            "notes" => Self::Notes,
            "leases" => Self::Leases,
            _ => Self::Everything,
        }
    }
}
