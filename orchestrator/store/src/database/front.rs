//! Which of several processes speaks with the forge.

use std::time::Duration;

use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};

use super::{Database, Pool};
use crate::StoreError;

/// The lock's name in the database; any number that nobody else takes.
const KEY: i64 = 0x0c10_0dc0_defe_0001;
/// How long the server may take to say that the session is still there.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The right to be the one, for as long as this process's session at the server lives. It is given back when this is
/// dropped, and when the process dies in whatever way.
#[derive(Debug)]
pub struct Front {
    /// None on a file: there the home folder's lock keeps others out.
    session: Option<PgConnection>,
}

impl Database {
    /// Becomes the one, unless another process is.
    pub async fn front(&self) -> Result<Option<Front>, StoreError> {
        let Pool::Postgres(pool) = &self.pool else { return Ok(Some(Front { session: None })) };
        let mut session = pool.acquire().await?;
        let is_free: bool =
            sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(KEY).fetch_one(&mut *session).await?;
        // A session of its own from here on: the pool must neither close it nor give it to anybody.
        Ok(is_free.then(|| Front { session: Some(session.detach()) }))
    }
}

impl Front {
    /// Whether it still is: an error when that cannot be known, and another process may be.
    pub async fn holds(&mut self) -> Result<(), StoreError> {
        let Some(session) = &mut self.session else { return Ok(()) };
        match tokio::time::timeout(ANSWER_WITHIN, session.execute("SELECT 1")).await {
            Ok(answered) => Ok(answered.map(drop)?),
            Err(_) => Err(sqlx::Error::PoolTimedOut.into()),
        }
    }

    /// Gives it back, so that the next one need not wait until the server has noticed.
    pub async fn release(self) {
        let Some(mut session) = self.session else { return };
        let giving_back = async {
            // Without a word it would be free only when the server has seen to the end of the session.
            sqlx::query("SELECT pg_advisory_unlock($1)").bind(KEY).execute(&mut session).await?;
            session.close().await
        };
        // A server that does not answer has given it back already, or will.
        drop(tokio::time::timeout(ANSWER_WITHIN, giving_back).await);
    }
}
