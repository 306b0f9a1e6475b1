//! The shared database: a PostgreSQL server that several orchestrators use at once.

use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use super::{Database, Pool};
use crate::StoreError;

/// Connections of one process. Its loops and drivers ask little and often; more only takes the server's memory, fewer and
/// a slow question holds up a lease's renewal.
const MAX_CONNECTIONS: u32 = 8;
/// How long a caller waits for a connection: as long as SQLite waits for a lock.
const CONNECT_WITHIN: Duration = super::BUSY_TIMEOUT;
/// What every session asks of the server. Each is the answer to a client that stands still: a paused process in the middle
/// of a transaction keeps its rows locked until the server ends it, and who waits for these rows gives up later than that.
/// The keepalives are for a host that went away without a word.
const SESSION: [(&str, &str); 5] = [
    ("idle_in_transaction_session_timeout", "5s"),
    ("lock_timeout", "10s"),
    ("tcp_user_timeout", "10s"),
    ("tcp_keepalives_idle", "10s"),
    ("tcp_keepalives_interval", "5s"),
];
/// How the sessions are called in `pg_stat_activity`.
const APPLICATION: &str = "cloud-code";

impl Database {
    /// Speaks to a PostgreSQL server, 15 or newer, and brings its schema up to date.
    ///
    /// The URL is as everywhere, `postgres://user:password@host/database?sslmode=verify-full`. What it leaves out is taken
    /// from `PGHOST` and its kin.
    pub async fn connect(url: &SecretString) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url.expose_secret())
            .map_err(StoreError::Url)?
            .application_name(APPLICATION)
            .options(SESSION);
        let pool = PgPoolOptions::new()
            .max_connections(MAX_CONNECTIONS)
            .acquire_timeout(CONNECT_WITHIN)
            .connect_with(options)
            .await?;
        // The migrator holds an advisory lock, so that processes take turns at it.
        sqlx::migrate!("migrations/postgres").run(&pool).await.map_err(StoreError::Migrate)?;
        Ok(Self { pool: Pool::Postgres(pool), fence: None })
    }
}
