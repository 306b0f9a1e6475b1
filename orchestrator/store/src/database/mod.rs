//! The store on a database: one SQLite file of this host, or a PostgreSQL server that several hosts share.

mod backup;
mod deliveries;
mod figures;
mod forge;
mod front;
mod history;
mod leases;
mod postgres;
mod queue;
mod row;
mod spending;
mod sql;
mod sqlite;
mod tasks;
mod transaction;
mod wakes;

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use sqlx::{PgPool, SqlitePool};

use crate::{Lease, StoreError};
pub use front::Front;
use sql::{Dialect, Read, Row, Sql};
pub(crate) use sqlite::BUSY_TIMEOUT;
use transaction::Tx;
pub use wakes::Wakes;

/// The store: a handle that is cheap to clone, whose clones speak to one database.
///
/// It is every trait of this crate: [`Store`](crate::Store), [`ForgeStore`](crate::ForgeStore),
/// [`Deliveries`](crate::Deliveries), [`QueueStore`](crate::QueueStore), [`Spending`](crate::Spending),
/// [`Leases`](crate::Leases).
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    fence: Option<Arc<Lease>>,
}

#[derive(Clone)]
enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// A pool's own text tells how it was opened, with the password.
impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Database").field(&self.dialect()).finish()
    }
}

impl Database {
    /// Ends every connection; later calls fail.
    pub async fn close(&self) {
        match &self.pool {
            Pool::Sqlite(pool) => pool.close().await,
            Pool::Postgres(pool) => pool.close().await,
        }
    }

    const fn dialect(&self) -> Dialect {
        match &self.pool {
            Pool::Sqlite(_) => Dialect::Sqlite,
            Pool::Postgres(_) => Dialect::Postgres,
        }
    }

    /// The same store for whoever works under a lease. Every write through it carries the lease's token, and is refused with
    /// [`StoreError::LeaseLost`] once a newer one exists. Reads are as ever.
    #[must_use]
    pub fn under(&self, lease: &Lease) -> Self {
        Self { pool: self.pool.clone(), fence: Some(Arc::new(lease.clone())) }
    }

    /// The store without a lease: what keeps leases is under none.
    fn bare(&self) -> Self {
        Self { pool: self.pool.clone(), fence: None }
    }

    /// Begins a transaction that will write. Every write comes through here or through `change`, so that none is without
    /// its fence.
    async fn begin(&self) -> Result<Tx, StoreError> {
        let mut tx = match &self.pool {
            // IMMEDIATE takes the write lock at once: a deferred transaction can fail in its middle instead.
            Pool::Sqlite(pool) => Tx::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?),
            Pool::Postgres(pool) => Tx::Postgres(pool.begin().await?),
        };
        if let Some(lease) = &self.fence {
            lease.fence(&mut tx).await?;
        }
        Ok(tx)
    }

    /// Begins a transaction that only reads: it keeps nobody from writing.
    async fn begin_reading(&self) -> Result<Tx, StoreError> {
        Ok(match &self.pool {
            Pool::Sqlite(pool) => Tx::Sqlite(pool.begin().await?),
            Pool::Postgres(pool) => Tx::Postgres(pool.begin().await?),
        })
    }

    /// Does one statement that writes, and says how many rows it changed.
    async fn change(&self, statement: Sql) -> Result<u64, StoreError> {
        if self.fence.is_some() {
            let mut tx = self.begin().await?;
            let changed = tx.change(statement).await?;
            tx.commit().await?;
            return Ok(changed);
        }
        Ok(match &self.pool {
            Pool::Sqlite(pool) => statement.for_sqlite()?.execute(pool).await?.rows_affected(),
            Pool::Postgres(pool) => statement.for_postgres()?.execute(pool).await?.rows_affected(),
        })
    }

    async fn one<T>(&self, statement: Sql, read: Read<T>) -> Result<Option<T>, StoreError> {
        let found = match &self.pool {
            Pool::Sqlite(pool) => statement.for_sqlite()?.fetch_optional(pool).await?.map(Row::Sqlite),
            Pool::Postgres(pool) => statement.for_postgres()?.fetch_optional(pool).await?.map(Row::Postgres),
        };
        found.as_ref().map(read).transpose()
    }

    async fn all<T>(&self, statement: Sql, read: Read<T>) -> Result<Vec<T>, StoreError> {
        match &self.pool {
            Pool::Sqlite(pool) => {
                let rows = statement.for_sqlite()?.fetch_all(pool).await?;
                rows.into_iter().map(|row| read(&Row::Sqlite(row))).collect()
            }
            Pool::Postgres(pool) => {
                let rows = statement.for_postgres()?.fetch_all(pool).await?;
                rows.into_iter().map(|row| read(&Row::Postgres(row))).collect()
            }
        }
    }
}

fn json<T: Serialize>(what: &'static str, id: &str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::Corrupt {
        what,
        id: id.to_owned(),
        why: e.to_string(),
    })
}
