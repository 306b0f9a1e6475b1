//! What a caller of the store can branch on.

use cloud_code_model::IllegalTransition;
use sqlx::postgres::PgDatabaseError;

/// Why the store refused or failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else changed the row since it was read. Read it again and decide again.
    #[error("the task {id} was changed by another process in between")]
    Stale {
        /// The task.
        id: String,
    },
    /// There is no such row.
    #[error("there is no {what} `{id}`")]
    Missing {
        /// What was looked for.
        what: &'static str,
        /// By which id.
        id: String,
    },
    /// The key or the branch is taken.
    #[error("{what} `{id}` exists already")]
    Exists {
        /// What.
        what: &'static str,
        /// By which id.
        id: String,
    },
    /// The issue has a task that has not ended, or its workspace is gone: no further task can be added now.
    #[error("the issue `{id}` takes no further task: another one has not ended, or it was cleaned")]
    NotOpen {
        /// The issue.
        id: String,
    },
    /// The request was settled, so nothing is made for it any more: it was taken back, or another process was faster.
    #[error("the request `{id}` was settled in between")]
    Settled {
        /// The request.
        id: String,
    },
    /// Somebody else works on the issue now. Whatever is being done for it must stop.
    #[error("the lease on {id} with token {token} was lost: another process works on it, or may")]
    LeaseLost {
        /// The issue.
        id: String,
        /// The stale token.
        token: i64,
    },
    /// The process does not run its worker any more: another one was started, or it was silent for too long.
    #[error(
        "this process does not run the worker {worker} any more: another one was started, or this one was silent for too long"
    )]
    Superseded {
        /// The worker.
        worker: String,
    },
    /// The event cannot happen to a task in that state.
    #[error(transparent)]
    Illegal(#[from] IllegalTransition),
    /// A row does not read as what it should be. The database was changed by a newer version or by hand.
    #[error("the row of {what} `{id}` cannot be read: {why}")]
    Corrupt {
        /// Which table.
        what: &'static str,
        /// Which row.
        id: String,
        /// Why.
        why: String,
    },
    /// The disk is full.
    #[error("the disk that holds the database is full; free some space and run again")]
    DiskFull,
    /// Another process holds the database for too long.
    #[error("the database is locked by another process for more than {seconds} s")]
    Busy {
        /// How long was waited.
        seconds: u64,
    },
    /// The server could not be reached, or all of this process's connections are in use.
    #[error("the database gave no connection within {seconds} s")]
    NoConnection {
        /// How long was waited.
        seconds: u64,
    },
    /// The schema is newer than this program, or a migration failed.
    #[error("the database cannot be brought to this version's schema")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// The file by which processes take turns at opening the database cannot be used.
    #[error("cannot use {path}")]
    Lock {
        /// Which file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What names the PostgreSQL server does not read. The URL is not repeated: it holds a password.
    #[error("the store's URL does not read; it looks like postgres://user@host:5432/database")]
    Url(#[source] sqlx::Error),
    /// The database itself failed.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
}

/// SQLite's primary result codes that a caller treats differently.
const SQLITE_BUSY: i32 = 5;
const SQLITE_FULL: i32 = 13;
/// Extended codes keep the primary one in their low byte.
const PRIMARY_MASK: i32 = 0xff;
/// PostgreSQL's: `disk_full`, and `lock_not_available`.
const POSTGRES_FULL: &str = "53100";
const POSTGRES_BUSY: &str = "55P03";

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let seconds = crate::database::BUSY_TIMEOUT.as_secs();
        if matches!(error, sqlx::Error::PoolTimedOut) {
            return Self::NoConnection { seconds };
        }
        let busy = Self::Busy { seconds };
        let Some(database) = error.as_database_error() else { return Self::Database(error) };
        let code = database.code().unwrap_or_default();
        // Each counts in its own way: what is a number in one is another thing in the other.
        match database.try_downcast_ref::<PgDatabaseError>() {
            Some(_) => match code.as_ref() {
                POSTGRES_FULL => Self::DiskFull,
                POSTGRES_BUSY => busy,
                _ => Self::Database(error),
            },
            None => match code.parse::<i32>().map(|code| code & PRIMARY_MASK) {
                Ok(SQLITE_FULL) => Self::DiskFull,
                Ok(SQLITE_BUSY) => busy,
                Ok(_) | Err(_) => Self::Database(error),
            },
        }
    }
}
