//! A store full of ended tasks. One is done in earnest, by `serve` and an agent, up to its pull request; then all its rows are
//! copied under other names, so that what stands there is what the product writes, whatever tables it has.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};

use crate::house::{FIRST_ISSUE, House, words};
use crate::scene::Scene;
use crate::wait;

/// How long the one task may take.
const DEADLINE: Duration = Duration::from_secs(60);
/// Tables that hold nothing of one task, or nothing of one that has ended.
const OTHERS: [&str; 6] = ["projects", "cursors", "pauses", "grants", "workers", "leases"];
/// Letters of a task's id that are the same in all copies; the rest of its 26 counts.
const KEPT_OF_ID: u32 = 16;

/// Tables and the columns by which their rows differ, each with an SQL expression of its own value `{}` and the copy's
/// number `n`. All others are copied as they are.
const COPIED: [(&str, &[(&str, &str)]); 9] = [
    ("issues", &[("key", NUMBER), ("branch", NUMBER)]),
    ("tasks", &[("id", ID), ("issue", NUMBER), ("intent", KEY)]),
    ("attempts", &[("task", ID)]),
    ("moves", &[("task", ID)]),
    ("intents", &[("key", KEY), ("intent", NUMBER)]),
    (
        "threads",
        &[
            ("number", SHIFTED),
            ("pull", SHIFTED),
            ("issue", NUMBER),
            ("facts", NUMBER),
            ("published", NUMBER),
        ],
    ),
    ("notes", &[("key", KEY), ("number", SHIFTED)]),
    ("deliveries", &[("seq", "NULL"), ("guid", KEY), ("body", "x''")]),
    ("spending", &[("account", ACCOUNT)]),
];
/// An issue takes two numbers, its own and its pull request's.
const SHIFTED: &str = "{} + 2 * n";
/// The issue's number and its pull request's, wherever they stand in a text.
const NUMBER: &str = "replace(replace({}, 'ISSUE', 'ISSUE' + 2 * n), 'PULL', 'PULL' + 2 * n)";
const ID: &str = "substr({}, 1, KEPT) || printf('%010d', n)";
const KEY: &str = "{} || '-' || n";
/// A task's account has its id in it, an issue's its number; a project's and a day's are one row for all.
const ACCOUNT: &str = "CASE WHEN {} LIKE 'task:%' THEN 'task:' || substr({}, 6, KEPT) || printf('%010d', n) ELSE \
     replace({}, 'ISSUE', 'ISSUE' + 2 * n) END";

/// A house whose store has so many ended tasks. Nobody serves.
pub(super) fn house(scene: &Scene, tasks: u32) -> Result<House> {
    let change = ["-c", "cat > /dev/null; echo more >> README.md; echo 'Say more'"];
    let mut house = House::set(scene, "start-full", 1, &words("sh".as_ref(), &change))?;
    house.serve("warn")?;
    let issue = house.issues(1).first().copied().context("no issue was opened")?;
    ensure!(issue == FIRST_ISSUE, "the first issue has the number {issue}");
    house.comment(issue, "/cloud-code run Say more");
    wait::until(DEADLINE, "one task from a comment to its pull request", || {
        Ok(house.is_done(issue)?.then_some(()))
    })?;
    house.stop();
    house.block_on(copy(&house, tasks)).context("the rows cannot be copied")?;
    Ok(house)
}

async fn copy(house: &House, tasks: u32) -> Result<()> {
    let options = SqliteConnectOptions::new().filename(house.database());
    let mut store = options.foreign_keys(true).connect().await?;
    let known = texts(
        &mut store,
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE '\\_%' ESCAPE '\\'",
    )
    .await?;
    for table in &known {
        let is_known = OTHERS.contains(&table.as_str()) || COPIED.iter().any(|(name, _)| name == table);
        ensure!(is_known, "nobody said how rows of the table {table} are copied");
    }
    sqlx::query("BEGIN").execute(&mut store).await?;
    for (table, differ) in COPIED {
        let statement = statement(&mut store, table, differ, tasks).await?;
        sqlx::query(AssertSqlSafe(statement))
            .execute(&mut store)
            .await
            .with_context(|| format!("in {table}"))?;
    }
    sqlx::query("COMMIT").execute(&mut store).await?;
    let done = "SELECT CAST(count(*) AS TEXT) FROM tasks WHERE status = 'done'";
    let done = texts(&mut store, done).await?.concat();
    ensure!(done == tasks.to_string(), "{done} tasks of {tasks} are done");
    Ok(())
}

/// Copies a table's rows `tasks - 1` times: the first task is one of them.
async fn statement(
    store: &mut SqliteConnection,
    table: &str,
    differ: &[(&str, &str)],
    tasks: u32,
) -> Result<String> {
    let columns = texts(store, &format!("SELECT name FROM pragma_table_info('{table}')")).await?;
    for (column, _) in differ {
        ensure!(columns.iter().any(|known| known == column), "the table {table} has no column {column}");
    }
    let value = |column: &String| {
        let differs = differ.iter().find(|(name, _)| name == column).map_or("{}", |(_, how)| how);
        differs
            .replace("{}", &format!("old.{column}"))
            .replace("'ISSUE' +", &format!("{FIRST_ISSUE} +"))
            .replace("'PULL' +", &format!("{} +", FIRST_ISSUE + 1))
            .replace("ISSUE", &FIRST_ISSUE.to_string())
            .replace("PULL", &(FIRST_ISSUE + 1).to_string())
            .replace("KEPT", &KEPT_OF_ID.to_string())
    };
    let values: Vec<String> = columns.iter().map(value).collect();
    // What all tasks share is there already.
    let shared = if table == "spending" {
        "WHERE account NOT LIKE 'project:%' AND account NOT LIKE 'day:%'"
    } else {
        ""
    };
    Ok(format!(
        "WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n + 1 < {tasks}) \
         INSERT INTO {table} ({}) SELECT {} FROM (SELECT * FROM {table} {shared}) AS old, number",
        columns.join(", "),
        values.join(", ")
    ))
}

async fn texts(store: &mut SqliteConnection, query: &str) -> Result<Vec<String>> {
    let rows = sqlx::query(AssertSqlSafe(query.to_owned())).fetch_all(store).await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<sqlx::Result<_>>()?)
}
