//! How long a worker waits for its lease of an issue while others want the same one: on SQLite and on PostgreSQL, with each
//! commit on the disk. Beside it the usual queue in a table, on the same store and by as many: one UPDATE that takes the next
//! free row, with SKIP LOCKED where there is such a thing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use cloud_code_model::{InstanceId, IssueKey, ProjectName};
use cloud_code_store::{Claim, Database, Leases as _, Member, ProcessId, Terms};
use cloud_code_test_postgres::PrivatePostgres;
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::measure::in_turns;
use crate::result::{Measured, Promise, Row, Unit};
use crate::scene::Scene;

/// Workers that want the same issues.
const WORKERS: u64 = 4;
/// Issues of one run. Each is claimed by every worker, and won by one.
const ISSUES: u64 = 500;
/// Runs of each side on each store.
const RUNS: u32 = 5;
/// The product's own defaults.
const TERMS: Terms = Terms { lease: Duration::from_secs(30), worker: Duration::from_secs(120) };
/// As the product waits for a lock of SQLite.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Of a hundred claims so many are as fast.
const PERCENTILE: usize = 99;

const MAKE_QUEUE: &str = "CREATE TABLE jobs (id BIGINT PRIMARY KEY, worker BIGINT)";
const INDEX_QUEUE: &str = "CREATE INDEX jobs_free ON jobs (id) WHERE worker IS NULL";
const FILL_SQLITE: &str = "WITH RECURSIVE n(id) AS (SELECT $1 UNION ALL SELECT id + 1 FROM n WHERE id + 1 < $2) \
     INSERT INTO jobs (id) SELECT id FROM n";
const FILL_POSTGRES: &str = "INSERT INTO jobs (id) SELECT generate_series($1, $2 - 1)";
const TAKE_SQLITE: &str = "UPDATE jobs SET worker = $1 WHERE id = (SELECT id FROM jobs WHERE worker IS NULL ORDER BY id \
     LIMIT 1) RETURNING id";
const TAKE_POSTGRES: &str = "UPDATE jobs SET worker = $1 WHERE id = (SELECT id FROM jobs WHERE worker IS NULL ORDER BY id \
     LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id";

pub(super) fn measure(scene: &Scene) -> Result<Measured> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut rows = Vec::new();

    let path = scene.folder("claim")?.join("cloud-code.db");
    // A pool of its own for each, as in processes of their own.
    let ours = each_worker(&runtime, || Database::open(&path))?;
    let options = SqliteConnectOptions::new()
        .filename(scene.folder("claim")?.join("queue.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT);
    let one = SqlitePoolOptions::new().max_connections(1);
    let queue = each_worker(&runtime, || one.clone().connect_with(options.clone()))?;
    let queue = queue.into_iter().map(Queue::Sqlite).collect();
    rows.push(row(scene, &runtime, "SQLite", ours, queue)?);

    let server = PrivatePostgres::start_durable()?;
    server.create("ours")?;
    server.create("queue")?;
    let url = server.url("ours").into();
    let ours = each_worker(&runtime, || Database::connect(&url))?;
    let url = server.url("queue");
    let one = PgPoolOptions::new().max_connections(1);
    let queue = each_worker(&runtime, || one.clone().connect(&url))?;
    let queue = queue.into_iter().map(Queue::Postgres).collect();
    rows.push(row(scene, &runtime, "PostgreSQL", ours, queue)?);
    Ok(Measured { rows, notes: Vec::new() })
}

/// One after another: two who make a schema at once would wait for each other.
fn each_worker<T, E, F>(runtime: &Runtime, open: impl Fn() -> F) -> Result<Vec<T>>
where
    F: Future<Output = Result<T, E>>,
    E: std::error::Error + Send + Sync + 'static,
{
    (0..WORKERS).map(|_| Ok(runtime.block_on(open())?)).collect()
}

fn row(scene: &Scene, runtime: &Runtime, name: &str, ours: Vec<Database>, queue: Vec<Queue>) -> Result<Row> {
    runtime.block_on(queue.first().context("there are no workers")?.make())?;
    let (ours, alternative) = in_turns(
        scene.runs(RUNS),
        |run| runtime.block_on(claims(&ours, u64::from(run))),
        |run| runtime.block_on(takes(&queue, u64::from(run))),
    )?;
    Ok(Row::compared(
        format!("claim: 99 in 100, {WORKERS} workers on the same issues, {name}"),
        Unit::Milliseconds,
        &ours,
        ("a table of jobs, UPDATE … LIMIT 1 (SKIP LOCKED)", &alternative),
        Promise::Nothing,
    ))
}

/// Every worker claims every issue of the run; the 99th percentile in milliseconds.
async fn claims(stores: &[Database], run: u64) -> Result<f64> {
    let won = Arc::new(AtomicU64::new(0));
    let mut workers = JoinSet::new();
    for (number, store) in stores.iter().cloned().enumerate() {
        let won = won.clone();
        workers.spawn(async move {
            let worker: InstanceId = format!("worker-{number}").parse()?;
            let member = Member { worker, process: ProcessId::from(format!("{number}-{run}")) };
            store.enrol(&member, "bench", TERMS).await?;
            let project: ProjectName = "bench".parse()?;
            let mut times = Vec::new();
            for issue in 0..ISSUES {
                let issue: IssueKey = format!("{run}-{issue}").parse()?;
                let begun = Instant::now();
                let claim = store.claim(&member, &project, &issue, TERMS).await?;
                times.push(begun.elapsed());
                won.fetch_add(u64::from(matches!(claim, Claim::Won(_))), Ordering::Relaxed);
            }
            anyhow::Ok(times)
        });
    }
    let times = all(workers).await?;
    let won = won.load(Ordering::Relaxed);
    ensure!(won == ISSUES, "{won} of {ISSUES} issues were won");
    Ok(percentile(times))
}

/// The workers take the rows of the run from the table, as many together as there are issues.
async fn takes(queue: &[Queue], run: u64) -> Result<f64> {
    queue.first().context("there are no workers")?.fill(run).await?;
    let mut workers = JoinSet::new();
    for (number, queue) in queue.iter().cloned().enumerate() {
        workers.spawn(async move {
            let mut times = Vec::new();
            loop {
                let begun = Instant::now();
                let taken = queue.take(number as u64).await?;
                times.push(begun.elapsed());
                if taken.is_none() {
                    return anyhow::Ok(times);
                }
            }
        });
    }
    let times = all(workers).await?;
    let taken = times.len() as u64 - WORKERS;
    ensure!(taken == ISSUES, "{taken} of {ISSUES} rows were taken");
    Ok(percentile(times))
}

async fn all(mut workers: JoinSet<Result<Vec<Duration>>>) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    while let Some(of_one) = workers.join_next().await {
        times.extend(of_one??);
    }
    Ok(times)
}

fn percentile(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    let at = (times.len() * PERCENTILE / 100).min(times.len().saturating_sub(1));
    times.get(at).copied().unwrap_or_default().as_secs_f64() * 1_000.0
}

/// The usual queue in a table.
#[derive(Clone)]
enum Queue {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Queue {
    async fn make(&self) -> sqlx::Result<()> {
        for statement in [MAKE_QUEUE, INDEX_QUEUE] {
            match self {
                Self::Sqlite(pool) => sqlx::query(statement).execute(pool).await?.rows_affected(),
                Self::Postgres(pool) => sqlx::query(statement).execute(pool).await?.rows_affected(),
            };
        }
        Ok(())
    }

    async fn fill(&self, run: u64) -> Result<()> {
        let (first, end) = (i64::try_from(run * ISSUES)?, i64::try_from((run + 1) * ISSUES)?);
        let rows = match self {
            Self::Sqlite(pool) => {
                sqlx::query(FILL_SQLITE).bind(first).bind(end).execute(pool).await?.rows_affected()
            }
            Self::Postgres(pool) => {
                sqlx::query(FILL_POSTGRES).bind(first).bind(end).execute(pool).await?.rows_affected()
            }
        };
        ensure!(rows == ISSUES, "{rows} rows are in the queue, not {ISSUES}");
        Ok(())
    }

    async fn take(&self, worker: u64) -> Result<Option<i64>> {
        let worker = i64::try_from(worker)?;
        Ok(match self {
            Self::Sqlite(pool) => sqlx::query_scalar(TAKE_SQLITE).bind(worker).fetch_optional(pool).await?,
            Self::Postgres(pool) => {
                sqlx::query_scalar(TAKE_POSTGRES).bind(worker).fetch_optional(pool).await?
            }
        })
    }
}
