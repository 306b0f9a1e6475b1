//! The store as one object.

use cloud_code_store::{Deliveries, ForgeStore, Store};

/// Everything that the engine asks of a store. Whatever can do all of it is one.
pub trait Rows: Store + ForgeStore + Deliveries {}

impl<T: Store + ForgeStore + Deliveries> Rows for T {}
