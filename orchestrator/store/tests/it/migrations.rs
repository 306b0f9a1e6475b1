//! A newer program opens what an older one left: rows are written under each earlier schema, then everything is read.

use std::path::{Path, PathBuf};

use cloud_code_model::TaskStatus;
use cloud_code_store::{Deliveries as _, ForgeStore as _, Store as _};
use sqlx::Executor;
use sqlx::migrate::{Migrate, Migration, Migrator};

use crate::at;
use crate::home::{DatabaseHome, Home as _, on_both};

on_both!(data_of_every_earlier_schema_is_read);

/// The plan of a task as the first program wrote it; later ones know more.
const PLAN: &str = r#"{"repo":"/srv/git/shop","cli":"claude-code","command":null,"model":null,"base_url":null,"base":null,
    "branch_prefix":"cloud-code/","runtime":"docker","image":null,"memory":"4GiB","cpus":2.0,"pids":1024,
    "network":"bridge","limits":{"timeout":"1h","idle_timeout":"15m","start_timeout":"2m","verify_timeout":"10m"},
    "verify":[],"verify_rounds":2,"env":{},"secrets":[],"commit":{"author_name":"cloud-code",
    "author_email":"cloud-code@users.noreply.github.com"},
    "import":{"allow_workflow_changes":false,"max_file_size":"50MiB"}}"#;

/// What each schema has that the one before it had not, as statements of the version's own columns.
fn rows_of(version: i64) -> Vec<String> {
    match version {
        1 => vec![
            "INSERT INTO projects (name, repo, created_at) VALUES ('shop', '/srv/git/shop', '1970-01-01T00:00:01Z')".into(),
            "INSERT INTO issues (project, key, title, branch, base, base_sha, created_at) VALUES ('shop', 'login', \
             'Fix the login', 'cloud-code/login', 'main', '4e18bcb7', '1970-01-01T00:00:02Z')"
                .into(),
            format!(
                "INSERT INTO tasks (id, project, issue, title, description, mode, plan, created_at, status, state, \
                 version, updated_at, usage) VALUES ('T1', 'shop', 'login', 'Fix the login', 'Do it', '\"edit\"', \
                 '{PLAN}', '1970-01-01T00:00:03Z', 'queued', '{{\"status\":\"queued\"}}', 1, '1970-01-01T00:00:03Z', \
                 '{{\"input_tokens\":7}}')"
            ),
            "INSERT INTO attempts (task, number, container, started_at) VALUES ('T1', 1, 'c1', '1970-01-01T00:00:04Z')"
                .into(),
        ],
        2 => vec!["UPDATE tasks SET questions = '[\"Which one?\"]', continues = 'T0'".into()],
        3 => vec![
            "INSERT INTO deliveries (target_type, target_id, guid, event, source, received_at, state, packing, body) \
             VALUES ('integration', 7, 'a', 'issues', 'webhook', '2026-01-01T00:00:00.000Z', 'waiting', 'plain', '')"
                .into(),
            "INSERT INTO cursors (name, value) VALUES ('deliveries', 'v1_1')".into(),
        ],
        4 => vec![
            "INSERT INTO intents (project, key, intent, received_at) VALUES ('shop', 'comment-123', \
             '{\"key\":\"comment-123\",\"number\":42,\"subject\":\"issue\",\"actor\":{\"id\":7,\"login\":\"alice\"}, \
             \"at\":\"1970-01-01T00:00:01Z\",\"place\":{\"kind\":\"comment\",\"id\":123}, \
             \"ask\":{\"kind\":\"command\",\"command\":{\"verb\":\"plan\",\"text\":\"first\"}},\"head_sha\":null}', \
             '1970-01-01T00:00:05Z')"
                .into(),
            "INSERT INTO notes (project, key, number, place, body, created_at) VALUES ('shop', 'comment-1', 42, \
             '{\"kind\":\"comment\",\"id\":5}', 'no such CLI', '1970-01-01T00:00:06Z')"
                .into(),
            pull_request(42, 43, "open"),
            pull_request(44, 45, "merged"),
        ],
        5 => vec!["UPDATE issues SET start_sha = 'abc'".into()],
        // An index; a number with a default.
        _ => Vec::new(),
    }
}

/// A thread with a pull request.
fn pull_request(thread: u64, pull: u64, state: &str) -> String {
    format!(
        "INSERT INTO threads (project, number, pull, facts, published) VALUES ('shop', {thread}, {pull}, \
         '{{\"subject\":\"issue\",\"title\":\"Fix\",\"url\":\"https://github.com/acme/shop/issues/{thread}\"}}', \
         '{{\"pull\":{{\"number\":{pull},\"url\":\"https://github.com/acme/shop/pull/{pull}\",\"state\":\"{state}\", \
         \"head_sha\":\"abc\"}}}}')"
    )
}

fn folder(home: &DatabaseHome) -> PathBuf {
    let name = match home {
        DatabaseHome::File(_) => "sqlite",
        DatabaseHome::Server(_) => "postgres",
    };
    Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(name)
}

async fn migrations(folder: &Path) -> Vec<Migration> {
    Migrator::new(folder).await.unwrap().iter().cloned().collect()
}

/// Brings an empty database to a version, writing the rows of each step before the next.
async fn write<C>(raw: &mut C, migrations: &[Migration], until: i64)
where
    C: Migrate,
    for<'c> &'c mut C: Executor<'c>,
{
    let mut rows = 1;
    for upto in 1..=migrations.len() {
        let some = migrations.get(..upto).unwrap();
        let version = some.last().unwrap().version;
        if version > until {
            return;
        }
        Migrator::with_migrations(some.to_vec()).run_direct(None, raw, false).await.unwrap();
        while rows <= version {
            for statement in rows_of(rows) {
                raw.execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
            }
            rows += 1;
        }
    }
}

async fn data_of_every_earlier_schema_is_read(home: DatabaseHome) {
    let all = migrations(&folder(&home)).await;
    assert!(!all.is_empty());
    for version in all.iter().map(|migration| migration.version) {
        let home = match &home {
            DatabaseHome::File(_) => DatabaseHome::file(),
            DatabaseHome::Server(_) => DatabaseHome::server(),
        };
        match &home {
            DatabaseHome::File(_) => write(&mut home.raw_file().await, &all, version).await,
            DatabaseHome::Server(_) => write(&mut home.raw_server().await, &all, version).await,
        }
        let store = home.open().await;
        let tasks = store.open_tasks().await.unwrap();
        let task = tasks.first().unwrap();
        assert_eq!(
            (task.task.id.as_str(), task.state.status()),
            ("T1", TaskStatus::Queued),
            "schema {version}"
        );
        assert_eq!((task.attempt, task.usage.input_tokens), (1, Some(7)));
        assert_eq!(task.questions.len(), usize::from(version >= 2));
        let (shop, login) = (&task.task.project, &task.task.issue);
        assert_eq!(store.issue(shop, login).await.unwrap().unwrap().start_sha.is_some(), version >= 5);
        assert_eq!(store.attempts(&task.task.id).await.unwrap().first().unwrap().started_at, at(4));
        assert_eq!(store.next(10).await.unwrap().len(), usize::from(version >= 3));
        assert_eq!(store.cursor("deliveries").await.unwrap().is_some(), version >= 3);
        assert_eq!(store.waiting_intents().await.unwrap().len(), usize::from(version >= 4));
        assert_eq!(store.waiting_notes().await.unwrap().len(), usize::from(version >= 4));
        let unmerged = store.unmerged_threads(shop).await.unwrap();
        let unmerged: Vec<u64> = unmerged.iter().map(|thread| thread.number).collect();
        assert_eq!(unmerged, if version >= 4 { vec![42] } else { vec![] });
        let moved = store.transition(task, cloud_code_model::TaskEvent::Taken, at(9)).await.unwrap();
        assert_eq!(store.task(&task.task.id).await.unwrap(), Some(moved));
        store.close().await;
    }
}

/// One list of numbers: what a migration does to one database, its namesake does to the other.
#[tokio::test]
async fn both_databases_have_the_same_migrations() {
    let names = |folder: PathBuf| async move {
        let all = migrations(&folder).await;
        let later = all.into_iter().filter(|migration| migration.version > 7);
        later.map(|migration| (migration.version, migration.description)).collect::<Vec<_>>()
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    assert_eq!(names(folder.join("sqlite")).await, names(folder.join("postgres")).await);
}
