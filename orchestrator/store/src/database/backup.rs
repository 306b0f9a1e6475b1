//! A copy of the database while others write.
//!
//! `VACUUM INTO` reads one moment of the database in one transaction and leaves a whole file without a log beside it. SQLite's
//! page-by-page API was weighed: it starts over whenever somebody else writes, so under a stream of webhooks it may never
//! end. Copying the file itself would lose what still stands in the log.

use std::path::Path;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use super::{Database, Pool};
use crate::StoreError;

impl Database {
    /// Writes an SQLite database as it is now into a new file, and checks that file. Writers go on meanwhile. False, and
    /// nothing done, for a PostgreSQL server, whose own tools copy it.
    pub async fn back_up(&self, to: &Path) -> Result<bool, StoreError> {
        let pool = match &self.pool {
            Pool::Sqlite(pool) => pool,
            Pool::Postgres(_) => return Ok(false),
        };
        let name = to.to_string_lossy();
        sqlx::query("VACUUM INTO $1").bind(name.as_ref()).execute(pool).await?;
        let options = SqliteConnectOptions::new().filename(to).read_only(true);
        let copy = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
        let said: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&copy).await?;
        copy.close().await;
        match said.as_slice() {
            [one] if one == "ok" => Ok(true),
            _ => Err(StoreError::Corrupt { what: "backup", id: name.into_owned(), why: said.join("; ") }),
        }
    }
}
