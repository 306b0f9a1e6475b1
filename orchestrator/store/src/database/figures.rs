//! Figures of the rows.

use async_trait::async_trait;
use cloud_code_model::{TaskState, TaskStatus};
use cloud_code_task_schema::FailureKind;
use jiff::Timestamp;
use sqlx::AssertSqlSafe;

use super::Database;
use super::sql::{Row, sql};
use crate::{Figures, OpenFigures, StoreError, TaskCount, Waiting};

/// Every status that has not ended, quoted. Their names are ours; by name, so that the index is of use.
fn open_statuses() -> String {
    let open = TaskStatus::ALL.iter().filter(|status| !status.is_terminal());
    open.map(|status| format!("'{status}'")).collect::<Vec<_>>().join(", ")
}

/// One row a kind of thing, so that all figures are of one moment.
fn count_open() -> String {
    format!(
        "SELECT 'task' AS kind, project, status, COUNT(*) AS count, MIN(created_at) AS oldest FROM tasks \
         WHERE status IN ({}) GROUP BY project, status \
         UNION ALL SELECT 'delivery', '', '', COUNT(*), MIN(received_at) FROM deliveries WHERE state = 'waiting' \
         UNION ALL SELECT 'request', '', '', COUNT(*), MIN(received_at) FROM intents WHERE outcome IS NULL \
         UNION ALL SELECT 'note', '', '', COUNT(*), MIN(created_at) FROM notes \
         WHERE remote IS NULL AND gave_up IS NULL",
        open_statuses()
    )
}

const BACKING_OFF: &str = "SELECT id, project, state FROM tasks WHERE status = 'backing_off'";

fn corrupt(what: &'static str, id: &str, why: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt { what, id: id.to_owned(), why: why.to_string() }
}

struct Counted {
    kind: String,
    project: String,
    status: String,
    count: u64,
    oldest_at: Option<Timestamp>,
}

fn counted(row: &Row) -> Result<Counted, StoreError> {
    let (kind, count): (String, i64) = (row.try_get("kind")?, row.try_get("count")?);
    let count = u64::try_from(count).map_err(|e| corrupt("figure", &kind, e))?;
    let oldest: Option<String> = row.try_get("oldest")?;
    let oldest_at = oldest.map(|at| at.parse().map_err(|e| corrupt("figure", &kind, e))).transpose()?;
    Ok(Counted { project: row.try_get("project")?, status: row.try_get("status")?, kind, count, oldest_at })
}

fn backing_off(row: &Row) -> Result<Option<(String, FailureKind)>, StoreError> {
    let (id, state): (String, String) = (row.try_get("id")?, row.try_get("state")?);
    let state: TaskState = serde_json::from_str(&state).map_err(|e| corrupt("task", &id, e))?;
    Ok(match state {
        TaskState::BackingOff { failure, .. } => Some((row.try_get("project")?, failure.kind)),
        _ => None,
    })
}

#[async_trait]
impl Figures for Database {
    async fn open_figures(&self) -> Result<OpenFigures, StoreError> {
        let mut figures = OpenFigures::default();
        for Counted { kind, project, status, count, oldest_at } in
            self.all(sql(AssertSqlSafe(count_open())), counted).await?
        {
            match kind.as_str() {
                "delivery" => figures.deliveries = Waiting { count, oldest_at },
                "request" => figures.requests = Waiting { count, oldest_at },
                "note" => figures.notes = Waiting { count, oldest_at },
                _ => figures.tasks.push(TaskCount { project, status, count, oldest_at }),
            }
        }
        figures.backing_off = self.all(sql(BACKING_OFF), backing_off).await?.into_iter().flatten().collect();
        Ok(figures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::Pool;
    use sqlx::Row as _;

    const MANY: i64 = 100_000;

    fn pool(store: &Database) -> &sqlx::SqlitePool {
        match &store.pool {
            Pool::Sqlite(pool) => pool,
            Pool::Postgres(_) => unreachable!("the test opened a file"),
        }
    }

    async fn run(store: &Database, sql: String) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool(store)).await.unwrap();
    }

    /// Tasks as rows, whatever else they are.
    fn tasks(count: i64, prefix: &str, project: &str, status: &str, state: &str, at: &str) -> String {
        format!(
            "INSERT INTO tasks (id, project, issue, title, description, mode, plan, created_at, status, state, version, \
             updated_at, usage) \
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
             SELECT '{prefix}' || i, '{project}', '1', 't', '', '', '{{}}', '{at}', '{status}', '{state}', 1, '{at}', '{{}}' \
             FROM n"
        )
    }

    async fn filled(dir: &std::path::Path) -> Database {
        let store = Database::open(&dir.join("cloud-code.db")).await.unwrap();
        let at = "2026-01-01T00:00:00Z";
        for project in ["shop", "desk"] {
            run(&store, format!("INSERT INTO projects VALUES ('{project}', 'r', '{at}')")).await;
            run(
                &store,
                format!(
                    "INSERT INTO issues (project, key, title, branch, base, base_sha, created_at) \
                     VALUES ('{project}', '1', 't', 'b', 'main', 'c', '{at}')"
                ),
            )
            .await;
        }
        run(&store, tasks(MANY, "old", "shop", "done", r#"{"status":"done","head":null}"#, at)).await;
        store
    }

    #[tokio::test]
    async fn figures_count_what_is_open_and_know_the_oldest() {
        let dir = tempfile::tempdir().unwrap();
        let store = filled(dir.path()).await;
        assert_eq!(store.open_figures().await.unwrap(), OpenFigures::default());
        let (early, late) = ("2026-02-01T00:00:00Z", "2026-03-01T00:00:00.5Z");
        let queued = r#"{"status":"queued"}"#;
        let off = r#"{"status":"backing_off","failure":{"kind":"rate_limited","message":"wait"},"head":null,"until":"2026-03-01T01:00:00Z","attempt":2}"#;
        run(&store, tasks(2, "q", "shop", "queued", queued, late)).await;
        run(&store, tasks(1, "e", "shop", "queued", queued, early)).await;
        run(&store, tasks(1, "d", "desk", "backing_off", off, late)).await;
        run(
            &store,
            format!(
                "INSERT INTO notes (project, key, number, place, body, created_at) VALUES ('shop', 'n', 1, '', '', '{late}')"
            ),
        )
        .await;
        let mut figures = store.open_figures().await.unwrap();
        figures.tasks.sort_by(|a, b| a.project.cmp(&b.project));
        let count = |project: &str, status: &str, count, at: &str| TaskCount {
            project: project.to_owned(),
            status: status.to_owned(),
            count,
            oldest_at: Some(at.parse().unwrap()),
        };
        let expected = OpenFigures {
            tasks: vec![count("desk", "backing_off", 1, late), count("shop", "queued", 3, early)],
            backing_off: vec![("desk".to_owned(), FailureKind::RateLimited)],
            deliveries: Waiting::default(),
            requests: Waiting::default(),
            notes: Waiting { count: 1, oldest_at: Some(late.parse().unwrap()) },
        };
        assert_eq!(figures, expected);
    }

    /// Not a clock: what the planner does is the same on every machine.
    #[tokio::test]
    async fn a_hundred_thousand_ended_tasks_are_not_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let store = filled(dir.path()).await;
        for sql in [count_open(), BACKING_OFF.to_owned()] {
            let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
                .fetch_all(pool(&store))
                .await
                .unwrap();
            let plan: Vec<String> = rows.iter().map(|row| row.get::<String, _>("detail")).collect();
            assert!(!plan.iter().any(|step| step.starts_with("SCAN tasks")), "{plan:#?}");
            assert!(plan.iter().any(|step| step.contains("tasks_status (status=?")), "{plan:#?}");
            for full in ["SCAN deliveries", "SCAN intents", "SCAN notes"] {
                let scans = plan.iter().filter(|step| step.starts_with(full));
                let whole: Vec<&String> = scans.filter(|step| !step.contains("_waiting")).collect();
                assert_eq!(whole, Vec::<&String>::new(), "{plan:#?}");
            }
        }
    }
}
