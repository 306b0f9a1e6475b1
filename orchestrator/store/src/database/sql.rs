//! One statement, written once for both databases.
//!
//! SQLite and PostgreSQL read the same `$1` placeholders, the same upserts and `RETURNING`, so a statement is one text with
//! its values, and only what carries it to the server differs. Rejected: functions that are generic over sqlx's `Database`,
//! each with a dozen bounds; sqlx's `Any`, which knows no typed NULL, no borrowed bytes and no `BEGIN IMMEDIATE`; a macro
//! over the whole, which neither the formatter nor a person's eye goes through.
//!
//! What differs is said in few places: [`Sql::locking`], [`Dialect::now`], the few places that ask for the [`Dialect`], the migrations, and
//! how a row is taken apart.

use std::borrow::Cow;

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments as _, AssertSqlSafe, Decode, Postgres, Row as _, SqlSafeStr, SqlStr, Sqlite, Type};

/// Which database a handle speaks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Sqlite,
    Postgres,
}

/// A value of a statement.
pub(crate) enum Value {
    Text(Option<String>),
    Number(Option<i64>),
    Bytes(Vec<u8>),
}

macro_rules! values {
    ($($from:ty => $value:ident => $into:expr;)+) => {
        $(impl From<$from> for Value {
            fn from($value: $from) -> Self {
                $into
            }
        })+
    };
}

values! {
    &str => it => Self::Text(Some(it.to_owned()));
    &String => it => Self::Text(Some(it.clone()));
    String => it => Self::Text(Some(it));
    Option<&str> => it => Self::Text(it.map(str::to_owned));
    Option<String> => it => Self::Text(it);
    &Option<String> => it => Self::Text(it.clone());
    i64 => it => Self::Number(Some(it));
    Option<i64> => it => Self::Number(it);
    Cow<'_, [u8]> => it => Self::Bytes(it.into_owned());
    Vec<u8> => it => Self::Bytes(it);
}

/// A statement with its values.
pub(crate) struct Sql {
    text: SqlStr,
    values: Vec<Value>,
    lock: Lock,
    is_timed: bool,
}

/// What happens to the rows that a `SELECT` finds, until the transaction ends. SQLite's transactions are alone from their
/// beginning.
#[derive(Clone, Copy)]
enum Lock {
    No,
    /// Others may read and share them.
    Share,
    /// Others may read them.
    Update,
}

impl Dialect {
    /// The database's own time, in milliseconds since 1970. Not the transaction's: it may have waited for a lock.
    const fn now(self) -> &'static str {
        match self {
            Self::Sqlite => "CAST(unixepoch('subsec') * 1000 AS INTEGER)",
            Self::Postgres => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
        }
    }
}

/// A statement; its values follow with [`Sql::bind`], in the order of `$1`, `$2`…
pub(crate) fn sql(text: impl SqlSafeStr) -> Sql {
    Sql { text: text.into_sql_str(), values: Vec::new(), lock: Lock::No, is_timed: false }
}

impl Sql {
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Keeps others from changing, sharing or locking the rows that a `SELECT` finds, until the transaction ends.
    pub(crate) fn locking(self) -> Self {
        Self { lock: Lock::Update, ..self }
    }

    /// Keeps others from changing the rows that a `SELECT` finds, until the transaction ends.
    pub(crate) fn sharing(self) -> Self {
        Self { lock: Lock::Share, ..self }
    }

    /// `{now}` in the text stands for the database's own time.
    pub(crate) fn timed(self) -> Self {
        Self { is_timed: true, ..self }
    }

    fn text(&self, dialect: Dialect) -> SqlStr {
        let suffix = match (dialect, self.lock) {
            (Dialect::Sqlite, _) | (Dialect::Postgres, Lock::No) => "",
            (Dialect::Postgres, Lock::Share) => " FOR SHARE",
            (Dialect::Postgres, Lock::Update) => " FOR UPDATE",
        };
        if suffix.is_empty() && !self.is_timed {
            return self.text.clone();
        }
        let mut text = self.text.as_str().to_owned();
        if self.is_timed {
            text = text.replace("{now}", dialect.now());
        }
        AssertSqlSafe(text + suffix).into_sql_str()
    }

    pub(crate) fn for_sqlite(
        self,
    ) -> Result<sqlx::query::Query<'static, Sqlite, SqliteArguments>, sqlx::Error> {
        let mut arguments = SqliteArguments::default();
        let text = self.text(Dialect::Sqlite);
        for value in self.values {
            match value {
                Value::Text(text) => arguments.add(text),
                Value::Number(number) => arguments.add(number),
                Value::Bytes(bytes) => arguments.add(bytes),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        Ok(sqlx::query_with(text, arguments))
    }

    pub(crate) fn for_postgres(
        self,
    ) -> Result<sqlx::query::Query<'static, Postgres, PgArguments>, sqlx::Error> {
        let mut arguments = PgArguments::default();
        let text = self.text(Dialect::Postgres);
        for value in self.values {
            match value {
                Value::Text(text) => arguments.add(text.map(without_nul)),
                Value::Number(number) => arguments.add(number),
                Value::Bytes(bytes) => arguments.add(bytes),
            }
            .map_err(sqlx::Error::Encode)?;
        }
        Ok(sqlx::query_with(text, arguments))
    }
}

/// PostgreSQL has no text with a NUL in it, SQLite has. An agent's words may hold one; they are kept without it.
fn without_nul(text: String) -> String {
    match text.contains('\0') {
        true => text.replace('\0', "\u{fffd}"),
        false => text,
    }
}

/// A row of either.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    pub(crate) fn try_get<'r, T>(&'r self, column: &str) -> Result<T, sqlx::Error>
    where
        T: Decode<'r, Sqlite> + Type<Sqlite> + Decode<'r, Postgres> + Type<Postgres>,
    {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }
}

/// How a row is taken apart.
pub(crate) type Read<T> = fn(&Row) -> Result<T, crate::StoreError>;
