//! Where a story's store is: the same story is told of a file, of a server, and of the memory that the simulation has for
//! them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use cloud_code_simulation::{MemoryStore, Open};
use cloud_code_store::{Database, Deliveries, ForgeStore, HistoryStore, QueueStore, Spending, Store};
use cloud_code_test_postgres::PrivatePostgres;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, Executor as _};
use tempfile::TempDir;

/// All that an engine asks of a store. Clones are handles on the same rows.
pub(crate) trait Whole:
    Store + ForgeStore + QueueStore + Spending + HistoryStore + Deliveries + Clone + 'static
{
    /// Ends what it has open; the rows stay.
    async fn close(&self);
}

impl Whole for Database {
    async fn close(&self) {
        Database::close(self).await;
    }
}

impl Whole for MemoryStore {
    async fn close(&self) {}
}

/// An empty store that can be opened again and again.
pub(crate) trait Home {
    type Store: Whole;
    async fn open(&self) -> Self::Store;
    /// Whether a text may have a NUL in it.
    fn keeps_a_nul(&self) -> bool;
}

/// What the simulation has for a database. To open it again gives another handle.
pub(crate) struct MemoryHome(MemoryStore);

impl MemoryHome {
    pub(crate) fn new() -> Self {
        Self(MemoryStore::new(Arc::new(Open)))
    }
}

impl Home for MemoryHome {
    type Store = MemoryStore;
    async fn open(&self) -> MemoryStore {
        self.0.clone()
    }
    fn keeps_a_nul(&self) -> bool {
        true
    }
}

pub(crate) enum DatabaseHome {
    File(TempDir),
    Server(String),
}

/// One server for all stories, each with a database of its own. Statics are not dropped: it ends with the process.
fn server() -> &'static PrivatePostgres {
    static SERVER: OnceLock<PrivatePostgres> = OnceLock::new();
    SERVER.get_or_init(|| PrivatePostgres::start().unwrap_or_else(|error| panic!("{error}")))
}

impl Home for DatabaseHome {
    type Store = Database;
    async fn open(&self) -> Database {
        match self {
            Self::File(dir) => Database::open(&dir.path().join("cloud-code.db")).await.unwrap(),
            Self::Server(url) => Database::connect(&url.as_str().into()).await.unwrap(),
        }
    }
    fn keeps_a_nul(&self) -> bool {
        matches!(self, Self::File(_))
    }
}

impl DatabaseHome {
    pub(crate) fn file() -> Self {
        Self::File(tempfile::tempdir().unwrap())
    }

    pub(crate) fn server() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("story_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        server().create(&name).unwrap();
        Self::Server(server().url(&name))
    }

    /// The file, without the store.
    pub(crate) async fn raw_file(&self) -> sqlx::SqliteConnection {
        let Self::File(dir) = self else { panic!("not a file") };
        let options =
            SqliteConnectOptions::new().filename(dir.path().join("cloud-code.db")).create_if_missing(true);
        sqlx::SqliteConnection::connect_with(&options).await.unwrap()
    }

    /// The server, without the store.
    pub(crate) async fn raw_server(&self) -> sqlx::PgConnection {
        let Self::Server(url) = self else { panic!("not a server") };
        sqlx::PgConnection::connect(url).await.unwrap()
    }

    /// Does what the store itself would not.
    pub(crate) async fn meddle(&self, statement: &'static str) {
        match self {
            Self::File(_) => drop(self.raw_file().await.execute(statement).await.unwrap()),
            Self::Server(_) => drop(self.raw_server().await.execute(statement).await.unwrap()),
        }
    }
}

/// Tells stories of the two databases: what is the databases' alone, or can be told by meddling with rows only.
macro_rules! on_both {
    ($($story:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $story() {
                super::$story(crate::home::DatabaseHome::file()).await;
            })+
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $story() {
                super::$story(crate::home::DatabaseHome::server()).await;
            })+
        }
    };
}
pub(crate) use on_both;

/// Tells stories of both, and of the memory.
macro_rules! on_all {
    ($($story:ident),+ $(,)?) => {
        crate::home::on_both!($($story),+);
        mod in_memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $story() {
                super::$story(crate::home::MemoryHome::new()).await;
            })+
        }
    };
}
pub(crate) use on_all;
