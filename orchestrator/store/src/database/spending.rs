//! Charges and grants as rows.

use async_trait::async_trait;
use cloud_code_model::{Balance, Payer, ScopeKind, Spent};
use jiff::Timestamp;

use super::sql::{Dialect, sql};
use super::transaction::Tx;
use super::{Database, row};
use crate::StoreError;
use crate::spending::{Balances, Spending};

/// Adds to an account, which is made if need be.
const ADD: &str = "INSERT INTO spending (account, micro_usd, tokens, turns, attempts, wall_ms) \
     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (account) DO UPDATE SET \
     micro_usd = spending.micro_usd + excluded.micro_usd, tokens = spending.tokens + excluded.tokens, \
     turns = spending.turns + excluded.turns, attempts = spending.attempts + excluded.attempts, \
     wall_ms = spending.wall_ms + excluded.wall_ms";

const MAKE: &str = "INSERT INTO spending (account) VALUES ($1) ON CONFLICT (account) DO NOTHING";
const ACCOUNT: &str = "SELECT * FROM spending WHERE account = $1";
const GRANT: &str = "INSERT INTO grants (account, key, by_whom, at) VALUES ($1, $2, $3, $4)";
const COUNTED: &str = "SELECT account FROM grants WHERE key = $1 ORDER BY account";
const GRANTS: &str = "SELECT COUNT(*) AS grants FROM grants WHERE account = $1";

/// Far above anything that is used; sums of such figures must not overflow a row.
const MOST: u64 = 1 << 50;

fn figure(amount: u64) -> i64 {
    i64::try_from(amount.min(MOST)).unwrap_or(0)
}

/// Keeps others from charging the same account until the transaction ends. An account that is not there yet is made: what
/// is not there cannot be locked.
async fn lock(tx: &mut Tx, account: &str) -> Result<(), StoreError> {
    match tx.dialect() {
        Dialect::Sqlite => Ok(()),
        Dialect::Postgres => {
            tx.change(sql(MAKE).bind(account)).await?;
            tx.is_there(sql(ACCOUNT).bind(account).locking()).await.map(drop)
        }
    }
}

async fn spent(tx: &mut Tx, account: &str) -> Result<Spent, StoreError> {
    Ok(tx.one(sql(ACCOUNT).bind(account), row::spent).await?.unwrap_or_default())
}

async fn read(tx: &mut Tx, payer: &Payer) -> Result<Balances, StoreError> {
    let mut balances = ScopeKind::ALL.map(|scope| (scope, Balance::default()));
    for (scope, balance) in &mut balances {
        let account = payer.account(*scope);
        balance.spent = spent(tx, &account).await?;
        balance.grants = tx.one(sql(GRANTS).bind(account), row::grants).await?.unwrap_or_default();
    }
    Ok(balances)
}

#[async_trait]
impl Spending for Database {
    async fn charge(&self, payer: &Payer, so_far: Spent) -> Result<Balances, StoreError> {
        let mut tx = self.begin().await?;
        lock(&mut tx, &payer.account(ScopeKind::Task)).await?;
        let charged = spent(&mut tx, &payer.account(ScopeKind::Task)).await?;
        let new = so_far.since(charged);
        if new != Spent::default() {
            for scope in ScopeKind::ALL {
                let statement = sql(ADD)
                    .bind(payer.account(scope))
                    .bind(figure(new.micro_usd))
                    .bind(figure(new.tokens))
                    .bind(figure(new.turns))
                    .bind(figure(new.attempts))
                    .bind(figure(new.wall_ms));
                tx.change(statement).await?;
            }
        }
        let balances = read(&mut tx, payer).await?;
        tx.commit().await?;
        Ok(balances)
    }

    async fn balances(&self, payer: &Payer) -> Result<Balances, StoreError> {
        let mut tx = self.begin_reading().await?;
        let balances = read(&mut tx, payer).await?;
        tx.commit().await?;
        Ok(balances)
    }

    async fn grant(
        &self,
        payer: &Payer,
        scopes: &[ScopeKind],
        key: &str,
        by: Option<&str>,
        at: Timestamp,
    ) -> Result<Vec<ScopeKind>, StoreError> {
        let mut tx = self.begin().await?;
        lock(&mut tx, &payer.account(ScopeKind::Task)).await?;
        let counted = tx.all(sql(COUNTED).bind(key), row::account).await?;
        if !counted.is_empty() {
            return Ok(counted.iter().filter_map(|account| Payer::scope_of(account)).collect());
        }
        for scope in scopes {
            let grant = sql(GRANT).bind(payer.account(*scope)).bind(key).bind(by).bind(at.to_string());
            tx.change(grant).await?;
        }
        tx.commit().await?;
        Ok(scopes.to_vec())
    }
}
