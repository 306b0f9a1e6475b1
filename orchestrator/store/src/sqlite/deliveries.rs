//! The queue of deliveries in SQLite.

mod packing;

use std::collections::HashSet;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, Transaction};

use super::SqliteStore;
use crate::StoreError;
use crate::deliveries::{
    Deliveries, Delivery, DeliveryKey, DeliverySource, DeliveryState, Forget, Forgotten, HookTarget,
    NewDelivery, Put,
};

/// How many ids one question names. SQLite takes 32,766 values in a statement; a page of a delivery log has 100.
const MAX_ASKED: usize = 500;
/// How many rows one clean-up transaction changes. More and a delivery that comes meanwhile waits for it; fewer and the
/// clean-up pays a disk write for little.
const FORGET_AT_ONCE: i64 = 200;

/// Most rows of one statement. Every statement is a hand-over to another thread and back, which takes long on a busy
/// machine; a statement's text is kept prepared, so there are few lengths of it: the powers of two up to this.
const MAX_ROWS: usize = 32;
const PUT: &str = "INSERT INTO deliveries (target_type, target_id, guid, event, source, received_at, state, done_at, \
     packing, body) ";
const UNLESS_KNOWN: &str =
    " ON CONFLICT (target_type, target_id, guid) DO NOTHING RETURNING target_type, target_id, guid";
const SETTLE: &str = "UPDATE deliveries SET attempts = attempts + 1, state = $1, note = $2, done_at = $3 \
     WHERE target_type = $4 AND target_id = $5 AND guid = $6 AND state = 'waiting'";
const FORGET_KEYS: &str = "DELETE FROM deliveries WHERE seq IN (SELECT seq FROM deliveries WHERE received_at < $1 \
     AND state <> 'waiting' LIMIT $2)";
const FORGET_BODIES: &str = "UPDATE deliveries SET body = $1 WHERE seq IN (SELECT seq FROM deliveries \
     WHERE done_at < $2 AND state <> 'waiting' AND LENGTH(body) > 0 LIMIT $3)";

/// Three decimals, always: times are compared as text.
fn text(at: Timestamp) -> String {
    format!("{at:.3}")
}

fn target_id(target: &HookTarget) -> Result<i64, StoreError> {
    i64::try_from(target.id).map_err(|e| StoreError::Corrupt {
        what: "delivery",
        id: target.to_string(),
        why: format!("target_id: {e}"),
    })
}

/// The keys of those that were new.
async fn put_some(
    tx: &mut Transaction<'static, Sqlite>,
    deliveries: &[NewDelivery],
) -> Result<HashSet<DeliveryKey>, StoreError> {
    let ids: Vec<i64> =
        deliveries.iter().map(|new| target_id(&new.key.target)).collect::<Result<_, StoreError>>()?;
    let mut query = QueryBuilder::<Sqlite>::new(PUT);
    query.push_values(deliveries.iter().zip(ids), |mut row, (new, id)| {
        let received_at = text(new.received_at);
        let (packing, body) = packing::pack(&new.body);
        row.push_bind(&new.key.target.kind)
            .push_bind(id)
            .push_bind(&new.key.guid)
            .push_bind(&new.event)
            .push_bind(new.source.as_str())
            .push_bind(received_at.clone())
            .push_bind(new.state.as_str())
            .push_bind(new.state.is_settled().then_some(received_at))
            .push_bind(packing.as_str())
            .push_bind(body);
    });
    query.push(UNLESS_KNOWN);
    let rows = query.build().fetch_all(&mut **tx).await?;
    rows.iter().map(key).collect()
}

fn key(row: &SqliteRow) -> Result<DeliveryKey, StoreError> {
    let (guid, id): (String, i64) = (row.try_get("guid")?, row.try_get("target_id")?);
    match u64::try_from(id) {
        Ok(id) => Ok(DeliveryKey { target: HookTarget { kind: row.try_get("target_type")?, id }, guid }),
        Err(e) => Err(StoreError::Corrupt { what: "delivery", id: guid, why: format!("target_id: {e}") }),
    }
}

fn read(row: &SqliteRow) -> Result<Delivery, StoreError> {
    let guid: String = row.try_get("guid")?;
    let corrupt = |column: &str, why: &dyn std::fmt::Display| StoreError::Corrupt {
        what: "delivery",
        id: guid.clone(),
        why: format!("{column}: {why}"),
    };
    let time = |column: &str, text: String| text.parse::<Timestamp>().map_err(|e| corrupt(column, &e));
    let (seq, attempts): (i64, i64) = (row.try_get("seq")?, row.try_get("attempts")?);
    let (source, state): (String, String) = (row.try_get("source")?, row.try_get("state")?);
    let done_at: Option<String> = row.try_get("done_at")?;
    let (packing, body): (String, &[u8]) = (row.try_get("packing")?, row.try_get("body")?);
    let unpacked = packing::unpack(&packing, body).map_err(|why| corrupt("body", &why))?;
    Ok(Delivery {
        delivery: NewDelivery {
            event: row.try_get("event")?,
            body: unpacked,
            received_at: time("received_at", row.try_get("received_at")?)?,
            source: DeliverySource::parse(&source).ok_or_else(|| corrupt("source", &source))?,
            state: DeliveryState::parse(&state).ok_or_else(|| corrupt("state", &state))?,
            key: key(row)?,
        },
        seq: u64::try_from(seq).map_err(|e| corrupt("seq", &e))?,
        attempts: u32::try_from(attempts).map_err(|e| corrupt("attempts", &e))?,
        note: row.try_get("note")?,
        done_at: done_at.map(|text| time("done_at", text)).transpose()?,
    })
}

#[async_trait]
impl Deliveries for SqliteStore {
    async fn put(&self, deliveries: &[NewDelivery]) -> Result<Vec<Put>, StoreError> {
        let mut answers = Vec::with_capacity(deliveries.len());
        let mut tx = self.begin().await?;
        let mut rest = deliveries;
        while !rest.is_empty() {
            let rows = MAX_ROWS.min(1 << rest.len().ilog2());
            let (some, others) = rest.split_at(rows);
            let mut stored = put_some(&mut tx, some).await?;
            // Removed when it is found: of two equal keys the second is a duplicate.
            answers.extend(some.iter().map(|new| match stored.remove(&new.key) {
                true => Put::Stored,
                false => Put::Duplicate,
            }));
            rest = others;
        }
        tx.commit().await?;
        Ok(answers)
    }

    async fn next_after(&self, seq: u64, limit: u32) -> Result<Vec<Delivery>, StoreError> {
        let rows = sqlx::query(
            "SELECT * FROM deliveries WHERE state = 'waiting' AND seq > $1 ORDER BY seq LIMIT $2",
        )
        .bind(i64::try_from(seq).unwrap_or(i64::MAX))
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read).collect()
    }

    async fn delivery(&self, key: &DeliveryKey) -> Result<Option<Delivery>, StoreError> {
        let row =
            sqlx::query("SELECT * FROM deliveries WHERE target_type = $1 AND target_id = $2 AND guid = $3")
                .bind(&key.target.kind)
                .bind(target_id(&key.target)?)
                .bind(&key.guid)
                .fetch_optional(&self.pool)
                .await?;
        row.as_ref().map(read).transpose()
    }

    async fn settle(
        &self,
        key: &DeliveryKey,
        state: DeliveryState,
        note: Option<&str>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let settled = sqlx::query(SETTLE)
            .bind(state.as_str())
            .bind(note)
            .bind(state.is_settled().then(|| text(at)))
            .bind(&key.target.kind)
            .bind(target_id(&key.target)?)
            .bind(&key.guid)
            .execute(&self.pool)
            .await?;
        if settled.rows_affected() == 0 && self.delivery(key).await?.is_none() {
            return Err(StoreError::Missing { what: "delivery", id: key.to_string() });
        }
        Ok(())
    }

    async fn seen(&self, target: &HookTarget, guids: &[String]) -> Result<HashSet<String>, StoreError> {
        let mut seen = HashSet::new();
        for some in guids.chunks(MAX_ASKED) {
            let mut query = QueryBuilder::<Sqlite>::new("SELECT guid FROM deliveries WHERE target_type = ");
            query.push_bind(&target.kind).push(" AND target_id = ").push_bind(target_id(target)?);
            query.push(" AND guid IN (");
            let mut list = query.separated(", ");
            for guid in some {
                list.push_bind(guid);
            }
            query.push(")");
            for row in query.build().fetch_all(&self.pool).await? {
                seen.insert(row.try_get("guid")?);
            }
        }
        Ok(seen)
    }

    async fn last_received(&self, target: &HookTarget) -> Result<Option<Timestamp>, StoreError> {
        let row = sqlx::query(
            "SELECT received_at FROM deliveries WHERE target_type = $1 AND target_id = $2 \
             ORDER BY received_at DESC LIMIT 1",
        )
        .bind(&target.kind)
        .bind(target_id(target)?)
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let at: String = row.try_get("received_at")?;
        let corrupt = |e: jiff::Error| StoreError::Corrupt {
            what: "delivery",
            id: target.to_string(),
            why: format!("received_at: {e}"),
        };
        at.parse().map(Some).map_err(corrupt)
    }

    async fn forget(&self, what: Forget) -> Result<Forgotten, StoreError> {
        let mut forgotten = Forgotten::default();
        loop {
            let gone = sqlx::query(FORGET_KEYS)
                .bind(text(what.keys_before))
                .bind(FORGET_AT_ONCE)
                .execute(&self.pool)
                .await?
                .rows_affected();
            forgotten.keys += gone;
            if gone == 0 {
                break;
            }
        }
        loop {
            let emptied = sqlx::query(FORGET_BODIES)
                .bind([].as_slice())
                .bind(text(what.bodies_before))
                .bind(FORGET_AT_ONCE)
                .execute(&self.pool)
                .await?
                .rows_affected();
            forgotten.bodies += emptied;
            if emptied == 0 {
                break;
            }
        }
        Ok(forgotten)
    }

    async fn catch_up(&self) -> Result<(), StoreError> {
        // PASSIVE waits for nobody, and nobody waits for it.
        sqlx::query("PRAGMA wal_checkpoint(PASSIVE)").execute(&self.pool).await?;
        Ok(())
    }

    async fn cursor(&self, name: &str) -> Result<Option<String>, StoreError> {
        let row = sqlx::query("SELECT value FROM cursors WHERE name = $1")
            .bind(name)
            .fetch_optional(&self.pool)
            .await?;
        Ok(row.map(|row| row.try_get("value")).transpose()?)
    }

    async fn set_cursor(&self, name: &str, value: &str) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO cursors (name, value) VALUES ($1, $2) \
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        )
        .bind(name)
        .bind(value)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn cursors(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        let rows = sqlx::query(
            "SELECT name, value FROM cursors WHERE SUBSTR(name, 1, LENGTH($1)) = $1 ORDER BY name",
        )
        .bind(prefix)
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(|row| Ok((row.try_get("name")?, row.try_get("value")?))).collect()
    }

    async fn drop_cursor(&self, name: &str, value: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM cursors WHERE name = $1 AND value = $2")
            .bind(name)
            .bind(value)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table is mostly rows whose bodies are gone; a clean-up must not look at each.
    #[tokio::test]
    async fn a_clean_up_of_bodies_finds_them_by_an_index() {
        let dir = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&dir.path().join("db")).await.unwrap();
        let plan = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {FORGET_BODIES}")))
            .bind([].as_slice())
            .bind("2026-01-01T00:00:00.000Z")
            .bind(FORGET_AT_ONCE)
            .fetch_all(&store.pool)
            .await
            .unwrap();
        let steps: Vec<String> = plan.iter().map(|row| row.try_get("detail").unwrap()).collect();
        assert!(steps.iter().any(|step| step.contains("deliveries_with_body (done_at<?)")), "{steps:?}");
    }
}
