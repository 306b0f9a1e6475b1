//! The queue of deliveries as rows.

mod packing;

use std::collections::HashSet;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::AssertSqlSafe;

use super::Database;
use super::sql::{Dialect, Row, sql};
use super::transaction::Tx;
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
/// How many values a row of it has.
const PUT_VALUES: usize = 10;
const UNLESS_KNOWN: &str =
    " ON CONFLICT (target_type, target_id, guid) DO NOTHING RETURNING target_type, target_id, guid";
const PUT_IN_TURNS: &str = "SELECT pg_advisory_xact_lock($1)";
/// The number of that lock. Any does that no other program takes in the same database.
const TURNS: i64 = 0x636c_6f75_6463_6f64;
const SEEN: &str = "SELECT guid FROM deliveries WHERE target_type = $1 AND target_id = $2 AND guid IN ";
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
async fn put_some(tx: &mut Tx, deliveries: &[NewDelivery]) -> Result<HashSet<DeliveryKey>, StoreError> {
    let ids: Vec<i64> =
        deliveries.iter().map(|new| target_id(&new.key.target)).collect::<Result<_, StoreError>>()?;
    let rows: Vec<String> = (0..deliveries.len())
        .map(|row| format!("({})", placeholders(row * PUT_VALUES, PUT_VALUES)))
        .collect();
    let mut statement = sql(AssertSqlSafe(format!("{PUT}VALUES {}{UNLESS_KNOWN}", rows.join(", "))));
    for (new, id) in deliveries.iter().zip(ids) {
        let received_at = text(new.received_at);
        let (packing, body) = packing::pack(&new.body);
        statement = statement
            .bind(&new.key.target.kind)
            .bind(id)
            .bind(&new.key.guid)
            .bind(&new.event)
            .bind(new.source.as_str())
            .bind(&received_at)
            .bind(new.state.as_str())
            .bind(new.state.is_settled().then_some(received_at))
            .bind(packing.as_str())
            .bind(body);
    }
    Ok(tx.all(statement, key).await?.into_iter().collect())
}

/// Two who put the same keys in another order would wait for each other. In turns they do not, and a delivery's place in
/// the queue is the order in which it was stored.
async fn take_turn(tx: &mut Tx) -> Result<(), StoreError> {
    match tx.dialect() {
        Dialect::Sqlite => Ok(()),
        Dialect::Postgres => tx.is_there(sql(PUT_IN_TURNS).bind(TURNS)).await.map(drop),
    }
}

/// `count` placeholders behind the first `before`.
fn placeholders(before: usize, count: usize) -> String {
    let names: Vec<String> = (before + 1..=before + count).map(|n| format!("${n}")).collect();
    names.join(", ")
}

fn key(row: &Row) -> Result<DeliveryKey, StoreError> {
    let (guid, id): (String, i64) = (row.try_get("guid")?, row.try_get("target_id")?);
    match u64::try_from(id) {
        Ok(id) => Ok(DeliveryKey { target: HookTarget { kind: row.try_get("target_type")?, id }, guid }),
        Err(e) => Err(StoreError::Corrupt { what: "delivery", id: guid, why: format!("target_id: {e}") }),
    }
}

fn read(row: &Row) -> Result<Delivery, StoreError> {
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
impl Deliveries for Database {
    async fn put(&self, deliveries: &[NewDelivery]) -> Result<Vec<Put>, StoreError> {
        let mut answers = Vec::with_capacity(deliveries.len());
        let mut tx = self.begin().await?;
        take_turn(&mut tx).await?;
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
        let statement =
            sql("SELECT * FROM deliveries WHERE state = 'waiting' AND seq > $1 ORDER BY seq LIMIT $2")
                .bind(i64::try_from(seq).unwrap_or(i64::MAX))
                .bind(i64::from(limit));
        self.all(statement, read).await
    }

    async fn delivery(&self, key: &DeliveryKey) -> Result<Option<Delivery>, StoreError> {
        let statement =
            sql("SELECT * FROM deliveries WHERE target_type = $1 AND target_id = $2 AND guid = $3")
                .bind(&key.target.kind)
                .bind(target_id(&key.target)?)
                .bind(&key.guid);
        self.one(statement, read).await
    }

    async fn settle(
        &self,
        key: &DeliveryKey,
        state: DeliveryState,
        note: Option<&str>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let statement = sql(SETTLE)
            .bind(state.as_str())
            .bind(note)
            .bind(state.is_settled().then(|| text(at)))
            .bind(&key.target.kind)
            .bind(target_id(&key.target)?)
            .bind(&key.guid);
        let settled = self.change(statement).await?;
        if settled == 0 && self.delivery(key).await?.is_none() {
            return Err(StoreError::Missing { what: "delivery", id: key.to_string() });
        }
        Ok(())
    }

    async fn seen(&self, target: &HookTarget, guids: &[String]) -> Result<HashSet<String>, StoreError> {
        let mut seen = HashSet::new();
        for some in guids.chunks(MAX_ASKED) {
            let mut statement = sql(AssertSqlSafe(format!("{SEEN}({})", placeholders(2, some.len()))))
                .bind(&target.kind)
                .bind(target_id(target)?);
            for guid in some {
                statement = statement.bind(guid);
            }
            seen.extend(self.all(statement, |row| Ok(row.try_get::<String>("guid")?)).await?);
        }
        Ok(seen)
    }

    async fn last_received(&self, target: &HookTarget) -> Result<Option<Timestamp>, StoreError> {
        let statement = sql("SELECT received_at FROM deliveries WHERE target_type = $1 AND target_id = $2 \
             ORDER BY received_at DESC LIMIT 1")
        .bind(&target.kind)
        .bind(target_id(target)?);
        let found = self.one(statement, |row| Ok(row.try_get::<String>("received_at")?)).await?;
        let Some(at) = found else { return Ok(None) };
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
            let gone =
                self.change(sql(FORGET_KEYS).bind(text(what.keys_before)).bind(FORGET_AT_ONCE)).await?;
            forgotten.keys += gone;
            if gone == 0 {
                break;
            }
        }
        loop {
            let bodies =
                sql(FORGET_BODIES).bind(Vec::new()).bind(text(what.bodies_before)).bind(FORGET_AT_ONCE);
            let emptied = self.change(bodies).await?;
            forgotten.bodies += emptied;
            if emptied == 0 {
                break;
            }
        }
        Ok(forgotten)
    }

    async fn catch_up(&self) -> Result<(), StoreError> {
        match self.dialect() {
            // PASSIVE waits for nobody, and nobody waits for it.
            Dialect::Sqlite => self.bare().change(sql("PRAGMA wal_checkpoint(PASSIVE)")).await.map(drop),
            Dialect::Postgres => Ok(()),
        }
    }

    async fn cursor(&self, name: &str) -> Result<Option<String>, StoreError> {
        let statement = sql("SELECT value FROM cursors WHERE name = $1").bind(name);
        self.one(statement, |row| Ok(row.try_get("value")?)).await
    }

    async fn set_cursor(&self, name: &str, value: &str) -> Result<(), StoreError> {
        let statement = sql("INSERT INTO cursors (name, value) VALUES ($1, $2) \
             ON CONFLICT (name) DO UPDATE SET value = excluded.value")
        .bind(name)
        .bind(value);
        self.change(statement).await?;
        Ok(())
    }

    async fn cursors(&self, prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        let statement =
            sql("SELECT name, value FROM cursors WHERE SUBSTR(name, 1, LENGTH($1)) = $1 ORDER BY name")
                .bind(prefix);
        self.all(statement, |row| Ok((row.try_get("name")?, row.try_get("value")?))).await
    }

    async fn drop_cursor(&self, name: &str, value: &str) -> Result<(), StoreError> {
        let statement = sql("DELETE FROM cursors WHERE name = $1 AND value = $2").bind(name).bind(value);
        self.change(statement).await?;
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
        let store = Database::open(&dir.path().join("db")).await.unwrap();
        let asked = sql(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {FORGET_BODIES}")))
            .bind(Vec::new())
            .bind("2026-01-01T00:00:00.000Z")
            .bind(FORGET_AT_ONCE);
        let steps = store.all(asked, |row| Ok(row.try_get::<String>("detail")?)).await.unwrap();
        assert!(steps.iter().any(|step| step.contains("deliveries_with_body (done_at<?)")), "{steps:?}");
    }
}
