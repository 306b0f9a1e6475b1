//! Reads the forge's log of deliveries, and stores what never came.

use cloud_code_forge::{Delivery, DeliveryPage, ForgeError};
use cloud_code_model::Clock;
use cloud_code_store::{Deliveries, DeliveryKey, DeliverySource, DeliveryState, NewDelivery};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{FIRST_REACH, HookLog, Swept};
use crate::EngineError;

/// Most pages of the log in one look, of a hundred deliveries each. What is left is read by the next, which comes at once.
const MAX_PAGES: usize = 100;

pub(super) struct Reader<'a> {
    pub(super) store: &'a dyn Deliveries,
    pub(super) clock: &'a dyn Clock,
    pub(super) log: &'a HookLog,
}

/// A piece of the log that was not read yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Gap {
    /// Where its newest page begins; at the top of the log if it is not known.
    cursor: Option<String>,
    /// Where it ends.
    floor: Floor,
}

/// What was read before. The log is newest first.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Floor {
    /// This delivery, and all before it.
    Read(u64),
    /// Nothing, but what is older is of no interest.
    Since(Timestamp),
}

impl Floor {
    fn is_reached(self, delivery: &Delivery) -> bool {
        match self {
            Self::Read(id) => delivery.id <= id,
            Self::Since(at) => delivery.delivered_at < at,
        }
    }
}

/// A walk down the log.
struct Walked {
    /// Newest first.
    found: Vec<Delivery>,
    /// Where it goes on, if the floor was not reached.
    rest: Option<String>,
    /// The delivery below which nothing counts, if one was met.
    floor: Option<u64>,
}

impl Reader<'_> {
    /// Stores every delivery of the log that never came. Whether the forge counts it as delivered does not matter: what we do
    /// not have, we do not have. `received` is told of each.
    pub(super) async fn read(&self, received: impl Fn()) -> Result<Swept, EngineError> {
        let mut pages = MAX_PAGES;
        let mut gaps = self.gaps().await?;
        let newest_read = self.store.cursor(&self.named(NEWEST)).await?.and_then(|id| id.parse().ok());
        let floor = newest_read.map_or_else(|| Floor::Since(self.clock.now() - FIRST_REACH), Floor::Read);
        let Walked { found, rest, floor: met } = self.walk(None, floor, &mut pages).await?;
        // Also of a log in which nothing counts: whatever comes after this look is to be read, however long that takes.
        let newest = found.iter().map(|delivery| delivery.id).max().or(met).or(Some(0));
        self.keep(found, &received).await?;
        if let Some(cursor) = rest {
            gaps.insert(0, Gap { cursor: Some(cursor), floor });
            self.set_gaps(&gaps).await?;
        }
        if let Some(newest) = newest.max(newest_read) {
            self.store.set_cursor(&self.named(NEWEST), &newest.to_string()).await?;
        }
        while pages > 0
            && let Some(gap) = gaps.first().cloned()
        {
            let walked = match self.walk(gap.cursor.clone(), gap.floor, &mut pages).await {
                // The log takes its own cursor no more; from the top there is a way as well.
                Err(EngineError::Forge(
                    ForgeError::Invalid { .. } | ForgeError::NotFound { .. } | ForgeError::Gone { .. },
                )) if gap.cursor.is_some() => Walked { found: Vec::new(), rest: None, floor: None },
                walked => {
                    let walked = walked?;
                    if walked.rest.is_none() {
                        gaps.remove(0);
                        self.keep(walked.found, &received).await?;
                        self.set_gaps(&gaps).await?;
                        continue;
                    }
                    walked
                }
            };
            self.keep(walked.found, &received).await?;
            if let Some(first) = gaps.first_mut() {
                first.cursor = walked.rest;
            }
            self.set_gaps(&gaps).await?;
        }
        if gaps.is_empty() {
            return Ok(Swept::All);
        }
        tracing::info!(hook = %self.log.target, "the log of deliveries is longer than one look; it goes on");
        Ok(Swept::Partly)
    }

    async fn walk(
        &self,
        mut cursor: Option<String>,
        floor: Floor,
        pages: &mut usize,
    ) -> Result<Walked, EngineError> {
        let mut found = Vec::new();
        while *pages > 0 {
            *pages -= 1;
            let DeliveryPage { deliveries, next } = self.log.log.list(cursor.as_deref()).await?;
            for delivery in deliveries {
                if floor.is_reached(&delivery) {
                    return Ok(Walked { found, rest: None, floor: Some(delivery.id) });
                }
                found.push(delivery);
            }
            match next {
                Some(next) => cursor = Some(next),
                None => return Ok(Walked { found, rest: None, floor: None }),
            }
        }
        Ok(Walked { found, rest: cursor, floor: None })
    }

    /// Stores what never came, the oldest first, as it happened.
    async fn keep(&self, found: Vec<Delivery>, received: &impl Fn()) -> Result<(), EngineError> {
        let target = &self.log.target;
        let guids: Vec<String> = found.iter().map(|delivery| delivery.guid.clone()).collect();
        let mut seen = self.store.seen(target, &guids).await?;
        for delivery in found.into_iter().rev() {
            if !seen.insert(delivery.guid.clone()) {
                continue;
            }
            let payload = match self.log.log.payload(delivery.id).await {
                Ok(payload) => payload,
                // The log forgot it since it was listed.
                Err(error @ (ForgeError::NotFound { .. } | ForgeError::Gone { .. })) => {
                    tracing::warn!(delivery.guid, delivery.event, error = %error, "a delivery is lost");
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let stored = NewDelivery {
                key: DeliveryKey { target: target.clone(), guid: delivery.guid.clone() },
                event: delivery.event.clone(),
                body: payload.body.into_bytes(),
                received_at: self.clock.now(),
                source: DeliverySource::Sweep,
                state: DeliveryState::Waiting,
            };
            self.store.put(&[stored]).await?;
            tracing::info!(delivery.guid, delivery.event, "a delivery that never came was fetched");
            received();
        }
        Ok(())
    }

    fn named(&self, cursor: &str) -> String {
        format!("{cursor} {}", self.log.target)
    }

    async fn gaps(&self) -> Result<Vec<Gap>, EngineError> {
        let known = self.store.cursor(&self.named(GAPS)).await?;
        Ok(known.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    async fn set_gaps(&self, gaps: &[Gap]) -> Result<(), EngineError> {
        let text = serde_json::to_string(gaps).unwrap_or_default();
        Ok(self.store.set_cursor(&self.named(GAPS), &text).await?)
    }
}

/// The cursor that says which delivery of a log is the newest that was read.
const NEWEST: &str = "newest-delivery";
/// The cursor that says which pieces of a log are still to be read.
const GAPS: &str = "unread-deliveries";

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use async_trait::async_trait;
    use cloud_code_forge::{DeliveryLog, DeliveryPayload};
    use cloud_code_store::{Database, HookTarget};

    use super::*;

    struct Noon;

    impl Clock for Noon {
        fn now(&self) -> Timestamp {
            Timestamp::from_second(1_700_000_000).unwrap()
        }
    }

    /// A log with one delivery a page, the newest of which is the last of these.
    #[derive(Default)]
    struct Long {
        ids: Mutex<std::ops::Range<u64>>,
        /// The cursor that is refused, once.
        stale: Mutex<Option<String>>,
    }

    #[async_trait]
    impl DeliveryLog for Long {
        async fn list(&self, cursor: Option<&str>) -> Result<DeliveryPage, ForgeError> {
            let mut stale = self.stale.lock().unwrap();
            if cursor.is_some() && cursor == stale.as_deref() {
                *stale = None;
                return Err(ForgeError::Invalid { message: "no such cursor".to_owned() });
            }
            let ids = self.ids.lock().unwrap().clone();
            let id = cursor.map_or(ids.end - 1, |cursor| cursor.parse().unwrap());
            let delivery = Delivery {
                id,
                guid: format!("guid-{id}"),
                event: "push".to_owned(),
                action: None,
                delivered_at: Noon.now(),
                status: "OK".to_owned(),
                status_code: 200,
                redelivery: false,
            };
            Ok(DeliveryPage {
                deliveries: vec![delivery],
                next: (id > ids.start).then(|| (id - 1).to_string()),
            })
        }

        async fn payload(&self, id: u64) -> Result<DeliveryPayload, ForgeError> {
            Ok(DeliveryPayload { headers: Vec::new(), body: format!("{{\"id\": {id}}}") })
        }

        async fn redeliver(&self, _: u64) -> Result<(), ForgeError> {
            Ok(())
        }
    }

    async fn read(store: &Database, log: &Arc<Long>) -> Swept {
        let target = HookTarget { kind: "integration".to_owned(), id: 7 };
        let log = HookLog { log: log.clone(), target, of: None };
        Reader { store, clock: &Noon, log: &log }.read(|| {}).await.unwrap()
    }

    async fn stored(store: &Database) -> usize {
        store.next(10_000).await.unwrap().len()
    }

    #[tokio::test]
    async fn a_log_that_is_longer_than_one_look_is_read_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let store = Database::open(&dir.path().join("db")).await.unwrap();
        let log = Arc::new(Long::default());
        *log.ids.lock().unwrap() = 1..6;
        assert_eq!((read(&store, &log).await, stored(&store).await), (Swept::All, 5));
        // 250 come while nobody looks, and 30 more between the looks.
        *log.ids.lock().unwrap() = 1..256;
        assert_eq!((read(&store, &log).await, stored(&store).await), (Swept::Partly, 105));
        *log.ids.lock().unwrap() = 1..286;
        *log.stale.lock().unwrap() = Some("155".to_owned());
        let mut looks = 0;
        while read(&store, &log).await == Swept::Partly {
            looks += 1;
            assert!(looks < 10, "it never ends");
        }
        assert_eq!(stored(&store).await, 285);
        assert_eq!(read(&store, &log).await, Swept::All);
    }
}
