//! Where a story's store is: the same story is told of a file and of a server.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use cloud_code_store::Database;
use cloud_code_test_postgres::PrivatePostgres;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, Executor as _};
use tempfile::TempDir;

/// An empty store that can be opened again and again.
pub(crate) enum Home {
    File(TempDir),
    Server(String),
}

/// One server for all stories, each with a database of its own. Statics are not dropped: it ends with the process.
fn server() -> &'static PrivatePostgres {
    static SERVER: OnceLock<PrivatePostgres> = OnceLock::new();
    SERVER.get_or_init(|| PrivatePostgres::start().unwrap_or_else(|error| panic!("{error}")))
}

impl Home {
    pub(crate) fn file() -> Self {
        Self::File(tempfile::tempdir().unwrap())
    }

    pub(crate) fn server() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("story_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        server().create(&name).unwrap();
        Self::Server(server().url(&name))
    }

    pub(crate) async fn open(&self) -> Database {
        match self {
            Self::File(dir) => Database::open(&dir.path().join("cloud-code.db")).await.unwrap(),
            Self::Server(url) => Database::connect(&url.as_str().into()).await.unwrap(),
        }
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

/// Tells stories of both.
macro_rules! on_both {
    ($($story:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $story() {
                super::$story(crate::home::Home::file()).await;
            })+
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $story() {
                super::$story(crate::home::Home::server()).await;
            })+
        }
    };
}
pub(crate) use on_both;
