//! The one writer of deliveries.
//!
//! A commit costs a disk flush, whether it holds one row or a hundred. The writer takes everything that waits into one
//! transaction, so the rate of deliveries is not the rate of flushes. It never waits for more to come: while one batch is
//! flushed the next one gathers by itself.

use std::sync::Arc;
use std::time::Duration;

use cloud_code_store::{Deliveries, DeliveryState, NewDelivery, Put, StoreError};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::sleep;
use tracing::{debug, error};

use crate::budget::Held;

/// Most deliveries in one transaction. More and the first of them waits long for its answer.
const MAX_BATCH: usize = 128;

/// Pause between two times that the store catches up. Shorter and it competes with the commits for the disk; longer and
/// there is more to do at a time.
const CATCH_UP_PAUSE: Duration = Duration::from_millis(250);

/// Why a delivery was not stored.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IntakeError {
    /// Too many wait. Nothing was stored; come again.
    #[error("too many deliveries wait to be stored")]
    Full,
    /// The writer has ended: the server is stopping.
    #[error("the server is stopping")]
    Stopping,
    /// The store refused. Nothing was stored.
    #[error("the delivery cannot be stored")]
    Store(#[source] Arc<StoreError>),
}

struct Job {
    delivery: NewDelivery,
    answer: oneshot::Sender<Result<Put, IntakeError>>,
    /// The body's part of the memory, until it is on disk.
    _held: Option<Held>,
}

/// Where deliveries are handed in.
#[derive(Debug, Clone)]
pub struct Intake {
    queue: mpsc::Sender<Job>,
}

/// The other end: [`IntakeWriter::run`] until every [`Intake`] is dropped and all they took is stored.
pub struct IntakeWriter {
    queue: mpsc::Receiver<Job>,
    store: Arc<dyn Deliveries>,
    look_again: Arc<Notify>,
}

impl Intake {
    /// A queue of that length, at least one, and its writer.
    pub fn new(store: Arc<dyn Deliveries>, look_again: Arc<Notify>, length: usize) -> (Self, IntakeWriter) {
        let (sender, receiver) = mpsc::channel(length.max(1));
        (Self { queue: sender }, IntakeWriter { queue: receiver, store, look_again })
    }

    /// Stores a delivery and answers after the commit. A caller that stops waiting does not undo it.
    pub async fn put(&self, delivery: NewDelivery) -> Result<Put, IntakeError> {
        self.put_held(delivery, None).await
    }

    pub(crate) async fn put_held(
        &self,
        delivery: NewDelivery,
        held: Option<Held>,
    ) -> Result<Put, IntakeError> {
        let (answer, told) = oneshot::channel();
        self.queue.try_send(Job { delivery, answer, _held: held }).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => IntakeError::Full,
            mpsc::error::TrySendError::Closed(_) => IntakeError::Stopping,
        })?;
        told.await.unwrap_or(Err(IntakeError::Stopping))
    }

    /// Whether a delivery would find room now.
    pub fn has_room(&self) -> bool {
        self.queue.capacity() > 0 && !self.queue.is_closed()
    }
}

impl IntakeWriter {
    /// Writes until nobody can hand in any more.
    pub async fn run(mut self) {
        let written = Notify::new();
        let catching_up = catch_up(self.store.clone(), &written);
        let writing = async {
            let mut jobs = Vec::with_capacity(MAX_BATCH);
            while self.queue.recv_many(&mut jobs, MAX_BATCH).await > 0 {
                self.write(&mut jobs).await;
                written.notify_one();
            }
        };
        tokio::select! {
            () = writing => {}
            () = catching_up => {}
        }
    }

    async fn write(&self, jobs: &mut Vec<Job>) {
        let (deliveries, waiting): (Vec<_>, Vec<_>) =
            jobs.drain(..).map(|job| (job.delivery, (job.answer, job._held))).unzip();
        match self.store.put(&deliveries).await {
            Ok(puts) => {
                let new = deliveries
                    .iter()
                    .zip(&puts)
                    .any(|(delivery, put)| *put == Put::Stored && delivery.state == DeliveryState::Waiting);
                for ((answer, _held), put) in waiting.into_iter().zip(puts) {
                    // Nobody may wait any more; the row is there all the same.
                    let _ = answer.send(Ok(put));
                }
                if new {
                    self.look_again.notify_one();
                }
            }
            Err(failure) => {
                error!(
                    error = &failure as &dyn std::error::Error,
                    deliveries = deliveries.len(),
                    "deliveries cannot be stored, their senders are told to come again"
                );
                let failure = Arc::new(failure);
                for (answer, _held) in waiting {
                    let _ = answer.send(Err(IntakeError::Store(failure.clone())));
                }
            }
        }
    }
}

/// Never ends.
async fn catch_up(store: Arc<dyn Deliveries>, written: &Notify) {
    loop {
        written.notified().await;
        if let Err(failure) = store.catch_up().await {
            // The next commits do the same work, or fail and are told.
            debug!(error = &failure as &dyn std::error::Error, "the store could not catch up");
        }
        sleep(CATCH_UP_PAUSE).await;
    }
}

impl std::fmt::Debug for IntakeWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IntakeWriter").field("waiting", &self.queue.len()).finish_non_exhaustive()
    }
}
