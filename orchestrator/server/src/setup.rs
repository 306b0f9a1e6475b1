//! What a server is given, and where its bounds are.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cloud_code_model::Clock;
use cloud_code_store::Deliveries;
use secrecy::SecretString;
use tokio::sync::Notify;

use crate::health::Part;

const MIB: usize = 1024 * 1024;

/// Everything a server needs from outside.
#[derive(Clone)]
pub struct ServerSetup {
    /// Where deliveries are kept.
    pub store: Arc<dyn Deliveries>,
    /// The time that is written beside them.
    pub clock: Arc<dyn Clock>,
    /// Webhook secrets, all accepted; without one nothing is taken in.
    pub secrets: Vec<SecretString>,
    /// Told after each commit that brought something new to work on.
    pub look_again: Arc<Notify>,
    /// What `/readyz` asks besides the store and the room for deliveries.
    pub parts: Vec<Arc<dyn Part>>,
    /// The bounds.
    pub limits: Limits,
}

impl fmt::Debug for ServerSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSetup")
            .field("secrets", &self.secrets.len())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// Bounds of a server. The defaults are for a machine of two processors and a forge of any size; tests take smaller ones.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest body. GitHub sends at most 25 MB; less loses real events.
    pub body: usize,
    /// All bodies in memory together. Less refuses bursts of large pushes; more lets a stranger fill the memory, because
    /// a body has to be read before its signature can be judged.
    pub bodies: usize,
    /// How long a body may take. GitHub hangs up after ten seconds, so a slower one is nobody's.
    pub body_time: Duration,
    /// How long the headers of a request may take, and how long a connection may be silent between two.
    pub header_time: Duration,
    /// Connections at one time. Further ones wait in the kernel's queue.
    pub connections: usize,
    /// Deliveries that wait for the disk. A full queue is answered with 503.
    pub queue: usize,
    /// How long a connection may go on after the end was asked for.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 25 * MIB,
            bodies: 128 * MIB,
            body_time: Duration::from_secs(10),
            header_time: Duration::from_secs(15),
            connections: 1024,
            queue: 1024,
            grace: Duration::from_secs(10),
        }
    }
}
