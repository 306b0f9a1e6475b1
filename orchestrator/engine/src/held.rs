//! A lease that this process holds, for as long as it may be believed.

use std::sync::Arc;
use std::time::Duration;

use cloud_code_store::{Database, Lease, Leases, StoreError};
use tokio_util::sync::CancellationToken;

use crate::{Engine, EngineError};

/// An issue that is this process's.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) store: Database,
    pub(crate) lease: Lease,
    /// Cancelled as soon as the lease is known to be lost, or cannot be known to be held.
    pub(crate) lost: CancellationToken,
    /// How long a lease must last still for a write to a forge to begin.
    pub(crate) spare: Duration,
}

impl Held {
    fn lost(&self) -> EngineError {
        StoreError::LeaseLost { id: self.lease.to_string(), token: self.lease.token }.into()
    }
}

impl Engine {
    /// The same engine, under a lease: what it writes to the store carries the lease's token, and what it writes to a forge
    /// asks for it.
    pub(crate) fn under(&self, held: Arc<Held>) -> Self {
        Self {
            settings: self.settings.clone(),
            store: Arc::new(held.store.under(&held.lease)),
            runtime: self.runtime.clone(),
            clock: self.clock.clone(),
            ids: self.ids.clone(),
            history: self.history.clone(),
            git: self.git.clone(),
            watches: self.watches.clone(),
            settler: self.settler.clone(),
            held: Some(held),
        }
    }

    /// Asked just before each write to a forge, which knows no tokens. A forge that is slower than the time that is left is
    /// the reason why a push names the commit it replaces, and why a pull request is looked for before it is made.
    pub(crate) async fn may_write(&self) -> Result<(), EngineError> {
        let Some(held) = &self.held else { return Ok(()) };
        if held.lost.is_cancelled() {
            return Err(held.lost());
        }
        Ok(held.store.hold_on(&held.lease, held.spare).await?)
    }
}
