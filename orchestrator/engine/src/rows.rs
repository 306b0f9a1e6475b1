//! The store as one object.

use cloud_code_store::{Deliveries, ForgeStore, HistoryStore, QueueStore, Spending, Store};

/// Everything that the engine asks of a store. Whatever can do all of it is one.
pub trait Rows: Store + ForgeStore + Deliveries + QueueStore + Spending + HistoryStore {}

impl<T: Store + ForgeStore + Deliveries + QueueStore + Spending + HistoryStore> Rows for T {}
