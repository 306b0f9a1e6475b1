//! The forge's log of what it sent.

use jiff::Timestamp;

/// A webhook delivery in the forge's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The id of this attempt.
    pub id: u64,
    /// The id of the event, the same for every attempt.
    pub guid: String,
    /// The event's name.
    pub event: String,
    /// The action, if the event has any.
    pub action: Option<String>,
    /// When it was sent.
    pub delivered_at: Timestamp,
    /// `OK`, or why not. Anything but `OK` did not arrive: some failures carry no status code.
    pub status: String,
    /// What we answered; 0 if nothing was.
    pub status_code: u16,
    /// Whether it was asked for again.
    pub redelivery: bool,
}

impl Delivery {
    /// Whether the forge saw us take it.
    pub fn has_arrived(&self) -> bool {
        self.status == "OK"
    }
}

/// Some of a delivery log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryPage {
    /// Newest first.
    pub deliveries: Vec<Delivery>,
    /// Where older ones are.
    pub next: Option<String>,
}

/// What was sent with a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryPayload {
    /// The headers, names in lower case. Carries the target of the hook, which is part of a delivery's key.
    pub headers: Vec<(String, String)>,
    /// The body as JSON. The log keeps its meaning and not its bytes, so its signature cannot be checked; that it
    /// came from the forge is known from where we asked.
    pub body: String,
}
