//! Charges and grants in SQLite.

use async_trait::async_trait;
use cloud_code_model::{Balance, Payer, ScopeKind, Spent};
use jiff::Timestamp;
use sqlx::{Sqlite, Transaction};

use super::SqliteStore;
use crate::spending::{Balances, Spending};
use crate::{StoreError, row};

/// Adds to an account, which is made if need be.
const ADD: &str = "INSERT INTO spending (account, micro_usd, tokens, turns, attempts, wall_ms) \
     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (account) DO UPDATE SET \
     micro_usd = spending.micro_usd + excluded.micro_usd, tokens = spending.tokens + excluded.tokens, \
     turns = spending.turns + excluded.turns, attempts = spending.attempts + excluded.attempts, \
     wall_ms = spending.wall_ms + excluded.wall_ms";

/// Far above anything that is used; sums of such figures must not overflow a row.
const MOST: u64 = 1 << 50;

fn figure(amount: u64) -> i64 {
    i64::try_from(amount.min(MOST)).unwrap_or(0)
}

async fn spent(tx: &mut Transaction<'static, Sqlite>, account: &str) -> Result<Spent, StoreError> {
    let row = sqlx::query("SELECT * FROM spending WHERE account = $1")
        .bind(account.to_owned())
        .fetch_optional(&mut **tx)
        .await?;
    Ok(row.as_ref().map(row::spent).transpose()?.unwrap_or_default())
}

async fn read(tx: &mut Transaction<'static, Sqlite>, payer: &Payer) -> Result<Balances, StoreError> {
    let mut balances = ScopeKind::ALL.map(|scope| (scope, Balance::default()));
    for (scope, balance) in &mut balances {
        let account = payer.account(*scope);
        balance.spent = spent(tx, &account).await?;
        let grants = sqlx::query("SELECT COUNT(*) AS grants FROM grants WHERE account = $1")
            .bind(account)
            .fetch_one(&mut **tx)
            .await?;
        balance.grants = row::grants(&grants)?;
    }
    Ok(balances)
}

#[async_trait]
impl Spending for SqliteStore {
    async fn charge(&self, payer: &Payer, so_far: Spent) -> Result<Balances, StoreError> {
        let mut tx = self.begin().await?;
        let charged = spent(&mut tx, &payer.account(ScopeKind::Task)).await?;
        let new = so_far.since(charged);
        if new != Spent::default() {
            for scope in ScopeKind::ALL {
                sqlx::query(ADD)
                    .bind(payer.account(scope))
                    .bind(figure(new.micro_usd))
                    .bind(figure(new.tokens))
                    .bind(figure(new.turns))
                    .bind(figure(new.attempts))
                    .bind(figure(new.wall_ms))
                    .execute(&mut *tx)
                    .await?;
            }
        }
        let balances = read(&mut tx, payer).await?;
        tx.commit().await?;
        Ok(balances)
    }

    async fn balances(&self, payer: &Payer) -> Result<Balances, StoreError> {
        let mut tx = self.pool.begin().await?;
        let balances = read(&mut tx, payer).await?;
        tx.commit().await?;
        Ok(balances)
    }

    async fn grant(
        &self,
        account: &str,
        key: &str,
        by: Option<&str>,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let granted = sqlx::query(
            "INSERT INTO grants (account, key, by_whom, at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (account, key) DO NOTHING",
        )
        .bind(account)
        .bind(key)
        .bind(by)
        .bind(at.to_string())
        .execute(&self.pool)
        .await?;
        Ok(granted.rows_affected() > 0)
    }
}
