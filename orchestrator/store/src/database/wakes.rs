//! Word from other processes, by `LISTEN` and `NOTIFY`.

use std::future::pending;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::PgListener;

use super::{Database, Pool};
use crate::StoreError;
use crate::wakes::Wake;

/// What the triggers notify, with the name of their table.
const CHANNEL: &str = "cloud_code";
/// How long until a server that went away is listened to anew. Who waits looks by itself meanwhile.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

/// What other processes say.
pub struct Wakes {
    from: Source,
}

enum Source {
    /// SQLite has no way to tell.
    Silence,
    Server {
        pool: PgPool,
        listener: Box<PgListener>,
    },
}

impl Database {
    /// Listens from now on. On SQLite nothing is ever heard: another process's work is found by looking.
    pub async fn wakes(&self) -> Result<Wakes, StoreError> {
        let from = match &self.pool {
            Pool::Sqlite(_) => Source::Silence,
            Pool::Postgres(pool) => {
                Source::Server { pool: pool.clone(), listener: Box::new(listener(pool).await?) }
            }
        };
        Ok(Wakes { from })
    }
}

async fn listener(pool: &PgPool) -> Result<PgListener, sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

impl Wakes {
    /// Waits for the next word. What was said before this is called waits for it. It never fails: a connection that was
    /// lost is made again, and as nobody knows what was said meanwhile, the answer is [`Wake::Everything`].
    pub async fn next(&mut self) -> Wake {
        let Source::Server { pool, listener: current } = &mut self.from else { return pending().await };
        match current.try_recv().await {
            Ok(Some(word)) => return Wake::of(word.payload()),
            // Lost, and made again by the library.
            Ok(None) => return Wake::Everything,
            Err(_) => {}
        }
        loop {
            tokio::time::sleep(LISTEN_AGAIN).await;
            if let Ok(again) = listener(pool).await {
                **current = again;
                return Wake::Everything;
            }
        }
    }
}
