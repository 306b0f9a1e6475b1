//! What a caller of the store can branch on.

use cloud_code_model::IllegalTransition;

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
    /// The database itself failed.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
}

/// SQLite's primary result codes that a caller treats differently.
const SQLITE_BUSY: i32 = 5;
const SQLITE_FULL: i32 = 13;
/// Extended codes keep the primary one in their low byte.
const PRIMARY_MASK: i32 = 0xff;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|e| e.code()).and_then(|c| c.parse::<i32>().ok());
        match code.map(|c| c & PRIMARY_MASK) {
            Some(SQLITE_FULL) => Self::DiskFull,
            Some(SQLITE_BUSY) => Self::Busy { seconds: crate::sqlite::BUSY_TIMEOUT.as_secs() },
            Some(_) | None => Self::Database(error),
        }
    }
}
