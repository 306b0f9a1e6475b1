//! The queue of deliveries in memory.

use std::collections::HashSet;

use async_trait::async_trait;
use cloud_code_store::{
    Deliveries, Delivery, DeliveryKey, DeliveryState, Forget, Forgotten, HookTarget, NewDelivery, Put,
    StoreError,
};
use jiff::Timestamp;

use super::MemoryStore;

#[async_trait]
impl Deliveries for MemoryStore {
    async fn put(&self, deliveries: &[NewDelivery]) -> Result<Vec<Put>, StoreError> {
        self.write("put", |tables| {
            let mut answers = Vec::new();
            for new in deliveries {
                if tables.deliveries.iter().any(|known| known.delivery.key == new.key) {
                    answers.push(Put::Duplicate);
                    continue;
                }
                tables.last_seq += 1;
                tables.deliveries.push(Delivery {
                    seq: tables.last_seq,
                    done_at: new.state.is_settled().then_some(new.received_at),
                    delivery: new.clone(),
                    attempts: 0,
                    note: None,
                });
                answers.push(Put::Stored);
            }
            Ok(answers)
        })
        .await
    }

    async fn next_after(&self, seq: u64, limit: u32) -> Result<Vec<Delivery>, StoreError> {
        self.read("next_after", |tables| {
            let waits = |known: &&Delivery| known.delivery.state == DeliveryState::Waiting && known.seq > seq;
            tables.deliveries.iter().filter(waits).take(limit as usize).cloned().collect()
        })
        .await
    }

    async fn delivery(&self, key: &DeliveryKey) -> Result<Option<Delivery>, StoreError> {
        self.read("delivery", |tables| {
            tables.deliveries.iter().find(|known| known.delivery.key == *key).cloned()
        })
        .await
    }

    async fn settle(
        &self,
        key: &DeliveryKey,
        state: DeliveryState,
        note: Option<&str>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.write("settle", |tables| {
            let row = tables.deliveries.iter_mut().find(|known| known.delivery.key == *key);
            let row = row.ok_or_else(|| StoreError::Missing { what: "delivery", id: key.to_string() })?;
            if row.delivery.state == DeliveryState::Waiting {
                row.attempts += 1;
                row.delivery.state = state;
                row.note = note.map(str::to_owned);
                row.done_at = state.is_settled().then_some(at);
            }
            Ok(())
        })
        .await
    }

    async fn seen(&self, target: &HookTarget, guids: &[String]) -> Result<HashSet<String>, StoreError> {
        self.read("seen", |tables| {
            let keys = tables.deliveries.iter().map(|known| &known.delivery.key);
            let known = keys.filter(|key| key.target == *target && guids.contains(&key.guid));
            known.map(|key| key.guid.clone()).collect()
        })
        .await
    }

    async fn last_received(&self, target: &HookTarget) -> Result<Option<Timestamp>, StoreError> {
        self.read("last_received", |tables| {
            let its = tables.deliveries.iter().filter(|known| known.delivery.key.target == *target);
            its.map(|known| known.delivery.received_at).max()
        })
        .await
    }

    async fn forget(&self, what: Forget) -> Result<Forgotten, StoreError> {
        self.write("forget", |tables| {
            let before = tables.deliveries.len();
            tables.deliveries.retain(|known| {
                !known.delivery.state.is_settled() || known.delivery.received_at >= what.keys_before
            });
            let mut bodies = 0;
            for known in &mut tables.deliveries {
                let is_old = known.done_at.is_some_and(|at| at < what.bodies_before);
                if is_old && known.delivery.state.is_settled() && !known.delivery.body.is_empty() {
                    known.delivery.body.clear();
                    bodies += 1;
                }
            }
            Ok(Forgotten { keys: (before - tables.deliveries.len()) as u64, bodies })
        })
        .await
    }

    async fn cursor(&self, name: &str) -> Result<Option<String>, StoreError> {
        self.read("cursor", |tables| tables.cursors.get(name).cloned()).await
    }

    async fn set_cursor(&self, name: &str, value: &str) -> Result<(), StoreError> {
        self.write("set_cursor", |tables| {
            tables.cursors.insert(name.to_owned(), value.to_owned());
            Ok(())
        })
        .await
    }

    async fn cursors(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        self.read("cursors", |tables| {
            let named = tables.cursors.iter().filter(|(name, _)| name.starts_with(prefix));
            named.map(|(name, value)| (name.clone(), value.clone())).collect()
        })
        .await
    }

    async fn drop_cursor(&self, name: &str, value: &str) -> Result<(), StoreError> {
        self.write("drop_cursor", |tables| {
            if tables.cursors.get(name).is_some_and(|known| known == value) {
                tables.cursors.remove(name);
            }
            Ok(())
        })
        .await
    }
}
