//! What a forge told us, kept until it was worked on.
//!
//! A delivery is stored before it is answered, and worked on later. Its key is what the forge says of it, so that one
//! that comes twice (a redelivery, a sweep of the delivery log beside the webhook) is one row. Rejected: a hash of the
//! body, which differs between two hooks that tell the same event and is equal between two events that say the same.

use std::collections::HashSet;
use std::fmt;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};

use crate::StoreError;

/// How long a key is remembered. A forge can redeliver what its log holds: GitHub three days, an Enterprise Server seven.
/// Shorter and a late redelivery is work done twice; longer and the table grows for nothing.
const KEEP_KEYS: SignedDuration = SignedDuration::from_hours(8 * 24);
/// How long the body of a settled delivery is kept, for a person who asks what went wrong. Bodies are the bulk of the
/// table.
const KEEP_BODIES: SignedDuration = SignedDuration::from_hours(24);

/// Whose hook a delivery belongs to, as the forge's headers say.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HookTarget {
    /// `integration`, `repository` or `organization`.
    pub kind: String,
    /// The number of that App, repository or organisation.
    pub id: u64,
}

impl fmt::Display for HookTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.id)
    }
}

/// What makes a delivery unique.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DeliveryKey {
    /// Whose hook.
    pub target: HookTarget,
    /// The forge's id of the event. The same in a redelivery, and in the deliveries of other hooks.
    pub guid: String,
}

impl fmt::Display for DeliveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.target, self.guid)
    }
}

/// How a delivery came to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliverySource {
    /// The forge called.
    Webhook,
    /// Found in the forge's log of deliveries.
    Sweep,
    /// Made from what a list of issues or comments showed.
    Poll,
}

impl DeliverySource {
    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Sweep => "sweep",
            Self::Poll => "poll",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Webhook, Self::Sweep, Self::Poll].into_iter().find(|source| source.as_str() == text)
    }
}

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// To be worked on, or to be tried again.
    Waiting,
    /// Worked on. What came of it is told elsewhere.
    Done,
    /// Nothing for us. Its key is remembered, so that a sweep does not fetch it again.
    Ignored,
    /// Given up. The note says why.
    Failed,
}

impl DeliveryState {
    /// As stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::Ignored => "ignored",
            Self::Failed => "failed",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Waiting, Self::Done, Self::Ignored, Self::Failed]
            .into_iter()
            .find(|state| state.as_str() == text)
    }

    /// Is there anything left to do?
    pub const fn is_settled(self) -> bool {
        match self {
            Self::Waiting => false,
            Self::Done | Self::Ignored | Self::Failed => true,
        }
    }
}

/// A delivery as it comes in.
#[derive(Clone, PartialEq, Eq)]
pub struct NewDelivery {
    /// What makes it unique.
    pub key: DeliveryKey,
    /// The forge's name of the event, as `issue_comment`.
    pub event: String,
    /// What was sent, byte for byte. The caller bounds it: at most 25 MiB.
    pub body: Vec<u8>,
    /// When it came.
    pub received_at: Timestamp,
    /// How it came.
    pub source: DeliverySource,
    /// [`DeliveryState::Waiting`], or [`DeliveryState::Ignored`] for what only its key is kept of.
    pub state: DeliveryState,
}

/// Bodies hold what people wrote, in private repositories too: they stay out of logs.
impl fmt::Debug for NewDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewDelivery")
            .field("key", &self.key)
            .field("event", &self.event)
            .field("body", &format_args!("{} bytes", self.body.len()))
            .field("received_at", &self.received_at)
            .field("source", &self.source)
            .field("state", &self.state)
            .finish()
    }
}

/// A stored delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Its place in the queue: later ones have a higher number.
    pub seq: u64,
    /// What came. Its body is empty once it was dropped.
    pub delivery: NewDelivery,
    /// How often work on it was tried.
    pub attempts: u32,
    /// What the last try said.
    pub note: Option<String>,
    /// When it was settled.
    pub done_at: Option<Timestamp>,
}

/// What became of a delivery that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// It is new, and stored.
    Stored,
    /// Its key is known. Nothing was changed.
    Duplicate,
}

/// What a clean-up takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forget {
    /// Settled deliveries that came before this.
    pub keys_before: Timestamp,
    /// The bodies of deliveries that were settled before this.
    pub bodies_before: Timestamp,
}

impl Forget {
    /// What may be forgotten at a time.
    pub fn at(now: Timestamp) -> Self {
        let before = |age| now.checked_sub(age).unwrap_or(Timestamp::MIN);
        Self { keys_before: before(KEEP_KEYS), bodies_before: before(KEEP_BODIES) }
    }
}

/// What a clean-up took away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Rows.
    pub keys: u64,
    /// Bodies whose rows are still there.
    pub bodies: u64,
}

/// The durable queue of deliveries.
#[async_trait]
pub trait Deliveries: Send + Sync {
    /// Stores deliveries: all that are new, or none on an error. Answers in their order, after the commit.
    ///
    /// Two equal keys in one call are one row; the second is a duplicate.
    async fn put(&self, deliveries: &[NewDelivery]) -> Result<Vec<Put>, StoreError>;
    /// Deliveries to be worked on, the oldest first, at most `limit`.
    async fn next(&self, limit: u32) -> Result<Vec<Delivery>, StoreError> {
        self.next_after(0, limit).await
    }
    /// As `next`, of those that are behind this place in the queue: what has to wait is not read again and again.
    async fn next_after(&self, seq: u64, limit: u32) -> Result<Vec<Delivery>, StoreError>;
    /// A delivery by key.
    async fn delivery(&self, key: &DeliveryKey) -> Result<Option<Delivery>, StoreError>;
    /// Notes how work on a delivery went. [`DeliveryState::Waiting`] means that it is tried again. Each call counts as one
    /// attempt; what is settled stays as it is.
    ///
    /// Refuses with [`StoreError::Missing`] where there is no such delivery.
    async fn settle(
        &self,
        key: &DeliveryKey,
        state: DeliveryState,
        note: Option<&str>,
        at: Timestamp,
    ) -> Result<(), StoreError>;
    /// Which of these ids are known for that hook.
    async fn seen(&self, target: &HookTarget, guids: &[String]) -> Result<HashSet<String>, StoreError>;
    /// When the last delivery of that hook came, from whatever source.
    async fn last_received(&self, target: &HookTarget) -> Result<Option<Timestamp>, StoreError>;
    /// Takes away what is old, in small transactions so that nothing waits for it. Waiting deliveries always stay.
    async fn forget(&self, what: Forget) -> Result<Forgotten, StoreError>;
    /// Does the work that `put` leaves for later so that its answers come soon. Call it beside a stream of `put`, a few
    /// times a second; without it the work is done all the same, in some `put` that then takes longer.
    async fn catch_up(&self) -> Result<(), StoreError> {
        Ok(())
    }
    /// How far a list was read.
    async fn cursor(&self, name: &str) -> Result<Option<String>, StoreError>;
    /// Notes how far a list was read.
    async fn set_cursor(&self, name: &str, value: &str) -> Result<(), StoreError>;
    /// Every cursor whose name begins so, in the order of their names.
    async fn cursors(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError>;
    /// Takes a cursor away, if it says this still. What somebody noted meanwhile stays.
    async fn drop_cursor(&self, name: &str, value: &str) -> Result<(), StoreError>;
}
