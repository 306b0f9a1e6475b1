//! Several statements that happen together or not at all.

use sqlx::{Postgres, Sqlite, Transaction};

use super::sql::{Dialect, Read, Row, Sql};
use crate::StoreError;

/// A transaction that writes. Dropped before [`Tx::commit`], it leaves nothing behind.
pub(super) enum Tx {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

impl Tx {
    pub(super) const fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Does a statement, and says how many rows it changed.
    pub(super) async fn change(&mut self, statement: Sql) -> Result<u64, StoreError> {
        Ok(match self {
            Self::Sqlite(tx) => statement.for_sqlite()?.execute(&mut **tx).await?.rows_affected(),
            Self::Postgres(tx) => statement.for_postgres()?.execute(&mut **tx).await?.rows_affected(),
        })
    }

    pub(super) async fn one<T>(&mut self, statement: Sql, read: Read<T>) -> Result<Option<T>, StoreError> {
        let found = match self {
            Self::Sqlite(tx) => statement.for_sqlite()?.fetch_optional(&mut **tx).await?.map(Row::Sqlite),
            Self::Postgres(tx) => {
                statement.for_postgres()?.fetch_optional(&mut **tx).await?.map(Row::Postgres)
            }
        };
        found.as_ref().map(read).transpose()
    }

    pub(super) async fn all<T>(&mut self, statement: Sql, read: Read<T>) -> Result<Vec<T>, StoreError> {
        match self {
            Self::Sqlite(tx) => {
                let rows = statement.for_sqlite()?.fetch_all(&mut **tx).await?;
                rows.into_iter().map(|row| read(&Row::Sqlite(row))).collect()
            }
            Self::Postgres(tx) => {
                let rows = statement.for_postgres()?.fetch_all(&mut **tx).await?;
                rows.into_iter().map(|row| read(&Row::Postgres(row))).collect()
            }
        }
    }

    /// Whether a row is there.
    pub(super) async fn is_there(&mut self, statement: Sql) -> Result<bool, StoreError> {
        Ok(self.one(statement, |_| Ok(())).await?.is_some())
    }

    pub(super) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(tx) => tx.commit().await,
            Self::Postgres(tx) => tx.commit().await,
        }
        .map_err(StoreError::from)
    }
}
