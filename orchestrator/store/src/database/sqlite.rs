//! The embedded database: one SQLite file in WAL mode, fsynced at each commit.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use super::{Database, Pool};
use crate::StoreError;

/// How long a writer waits for another process. Lower and two terminals trip over each other; higher and a stuck
/// process looks like a hang.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// One writer at a time is SQLite's rule; a second connection lets reads go on beside it, a third moves the log into the
/// database meanwhile. They are opened when they are needed.
const MAX_CONNECTIONS: u32 = 3;
/// Length of the write-ahead log, in pages of 4 KiB, at which a commit itself moves it into the database and pays for that
/// with its time. SQLite's own 1000 is reached six times a second under a stream of webhooks, each a pause of tens of
/// milliseconds; [`Deliveries::catch_up`] keeps it from being reached. More only takes disk.
///
/// [`Deliveries::catch_up`]: crate::Deliveries::catch_up
const LOG_PAGES: u32 = 16_384;
/// Pages kept in memory, in KiB (SQLite's own default is 2000; our rows are small).
const CACHE_KIB: i32 = 512;

impl Database {
    /// Opens or makes an SQLite file and brings its schema up to date.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        // Two first processes would both make the schema, and one of them would fail at it.
        let _turn = take_turn(path).await?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .pragma("wal_autocheckpoint", LOG_PAGES.to_string())
            .pragma("cache_size", format!("-{CACHE_KIB}"));
        // SQLite ends a transaction by itself whose commit meets a full disk. The driver takes the connection for one that is
        // still in it, and would refuse every later transaction there: a new connection takes its place.
        let pool =
            SqlitePoolOptions::new().max_connections(MAX_CONNECTIONS).before_acquire(|connection, _| {
                let is_sound = !connection.is_in_transaction();
                Box::pin(async move { Ok(is_sound) })
            });
        let pool = pool.connect_with(options).await?;
        sqlx::migrate!("migrations/sqlite").run(&pool).await.map_err(StoreError::Migrate)?;
        Ok(Self { pool: Pool::Sqlite(pool), fence: None })
    }
}

/// Waits until no other process is opening the database. The turn ends when the file is dropped.
async fn take_turn(path: &Path) -> Result<File, StoreError> {
    let path = path.with_added_extension("lock");
    let wait = {
        let path = path.clone();
        move || {
            let file = File::options().create(true).append(true).open(&path)?;
            file.lock()?;
            Ok(file)
        }
    };
    match tokio::task::spawn_blocking(wait).await {
        Ok(taken) => taken.map_err(|source| StoreError::Lock { path, source }),
        Err(stopped) => Err(StoreError::Lock { path, source: std::io::Error::other(stopped) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::sql::sql;

    /// Room for the schema and a few rows.
    const FEW: &str = "PRAGMA max_page_count = 160";
    const MANY: &str = "PRAGMA max_page_count = 100000";

    async fn limit(store: &Database, pragma: &'static str) {
        match &store.pool {
            Pool::Sqlite(pool) => drop(sqlx::raw_sql(pragma).execute(pool).await.unwrap()),
            Pool::Postgres(_) => unreachable!("the test opened a file"),
        }
    }

    async fn fill(store: &Database, row: u32) -> Result<(), StoreError> {
        let mut tx = store.begin().await?;
        let put = sql("INSERT INTO pauses (scope, reason, at) VALUES ($1, $2, $3)");
        tx.change(put.bind(row.to_string()).bind("x".repeat(200_000)).bind("now")).await?;
        tx.commit().await
    }

    #[tokio::test]
    async fn a_full_disk_leaves_no_connection_behind_that_is_of_no_use() {
        let dir = tempfile::tempdir().unwrap();
        let store = Database::open(&dir.path().join("db")).await.unwrap();
        limit(&store, FEW).await;
        let mut refused = 0;
        for row in 0..20 {
            refused += u32::from(fill(&store, row).await.is_err());
        }
        assert!(refused > 0, "the limit held nothing back");
        for _ in 0..3 {
            limit(&store, MANY).await;
        }
        for row in 100..110 {
            fill(&store, row).await.unwrap();
        }
    }
}
