//! A connection of a test to a database of either kind, beside the store.
//!
//! Tests use it to damage rows, to lock them, and to read what the store does not show. Only tests and measurements
//! depend on this crate.

use sqlx::mysql::{MySqlConnectOptions, MySqlRow};
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Connection, FromRow, MySqlConnection, SqliteConnection};

/// A connection to MySQL, MariaDB or SQLite.
#[derive(Debug)]
pub enum Database {
    /// MySQL or MariaDB.
    MySql(MySqlConnection),
    /// SQLite.
    Sqlite(SqliteConnection),
}

impl Database {
    /// Connects to the database with this URL.
    ///
    /// # Errors
    /// Why it cannot be reached.
    pub async fn connect(url: &str) -> Result<Self, sqlx::Error> {
        if url.starts_with("sqlite:") {
            SqliteConnection::connect(url).await.map(Self::Sqlite)
        } else {
            MySqlConnection::connect(url).await.map(Self::MySql)
        }
    }

    /// Connects to vtgate, which refuses the settings that other servers get with each connection. A database with the
    /// name of a shard, such as `orders:-80`, is that shard only.
    ///
    /// # Errors
    /// Why it cannot be reached.
    pub async fn connect_to_vtgate(url: &str) -> Result<Self, sqlx::Error> {
        let options: MySqlConnectOptions = url.parse()?;
        let options =
            options.pipes_as_concat(false).no_engine_substitution(false).timezone(None).set_names(false);
        MySqlConnection::connect_with(&options).await.map(Self::MySql)
    }

    /// Executes SQL that is not prepared and returns the number of changed rows.
    ///
    /// # Errors
    /// Why it failed.
    pub async fn run(&mut self, sql: impl Into<String>) -> Result<u64, sqlx::Error> {
        let query = sqlx::raw_sql(AssertSqlSafe(sql.into()));
        Ok(match self {
            Self::MySql(connection) => query.execute(connection).await?.rows_affected(),
            Self::Sqlite(connection) => query.execute(connection).await?.rows_affected(),
        })
    }

    /// Returns the rows of a query, each as a tuple.
    ///
    /// # Errors
    /// Why it failed.
    pub async fn rows<R>(&mut self, sql: impl Into<String>) -> Result<Vec<R>, sqlx::Error>
    where
        R: for<'r> FromRow<'r, MySqlRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        let sql = AssertSqlSafe(sql.into());
        match self {
            Self::MySql(connection) => sqlx::query_as(sql).fetch_all(connection).await,
            Self::Sqlite(connection) => sqlx::query_as(sql).fetch_all(connection).await,
        }
    }

    /// Returns the first column of the first row.
    ///
    /// # Errors
    /// Why it failed; [`sqlx::Error::RowNotFound`] without a row.
    pub async fn value<T>(&mut self, sql: impl Into<String>) -> Result<T, sqlx::Error>
    where
        (T,): for<'r> FromRow<'r, MySqlRow> + for<'r> FromRow<'r, SqliteRow> + Send + Unpin,
    {
        let rows: Vec<(T,)> = self.rows(sql).await?;
        rows.into_iter().next().map(|(value,)| value).ok_or(sqlx::Error::RowNotFound)
    }

    /// Closes the connection. An error is of no interest to a test.
    pub async fn close(self) {
        let _ = match self {
            Self::MySql(connection) => connection.close().await,
            Self::Sqlite(connection) => connection.close().await,
        };
    }
}
