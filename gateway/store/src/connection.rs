//! The typed connections and pools of sqlx, behind one enum for each.
//!
//! `sqlx::Any` would be one type as well. It takes its options from a URL only, so the settings that the driver makes at
//! connect could not be left out, and servers such as Vitess refuse them. It also copies each value of a row and of a
//! statement once more.

use sqlx::mysql::MySqlConnectOptions;
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, MySql, MySqlPool, Sqlite, SqlitePool};

/// A pool of connections to one kind of database.
#[derive(Clone)]
pub(super) enum Pool {
    MySql(MySqlPool),
    Sqlite(SqlitePool),
}

impl Pool {
    /// Waits for a connection, for at most the pool's timeout.
    ///
    /// The futures of sqlx contain the whole handshake, 9 KB. They are boxed here, because the future of a request would
    /// contain them several times, and axum copies that of each request.
    pub(super) async fn acquire(&self) -> Result<Connection, sqlx::Error> {
        Ok(match self {
            Self::MySql(pool) => Connection::MySql(Box::pin(pool.acquire()).await?),
            Self::Sqlite(pool) => Connection::Sqlite(Box::pin(pool.acquire()).await?),
        })
    }

    /// Returns an idle connection, if there is one.
    pub(super) fn try_acquire(&self) -> Option<Connection> {
        match self {
            Self::MySql(pool) => pool.try_acquire().map(Connection::MySql),
            Self::Sqlite(pool) => pool.try_acquire().map(Connection::Sqlite),
        }
    }

    /// Returns the number of open connections, and of those that are idle.
    pub(super) fn count(&self) -> (usize, usize) {
        match self {
            Self::MySql(pool) => (pool.size() as usize, pool.num_idle()),
            Self::Sqlite(pool) => (pool.size() as usize, pool.num_idle()),
        }
    }

    /// Closes the connections that are idle.
    pub(super) fn close_idle(&self) {
        std::iter::from_fn(|| self.try_acquire()).for_each(Connection::discard);
    }

    /// Sets how new connections are made, if the pool leads to a server.
    pub(super) fn set_mysql_options(&self, options: &MySqlConnectOptions) {
        if let Self::MySql(pool) = self {
            pool.set_connect_options(options.clone());
        }
    }

    /// Closes every connection after its present use.
    pub(super) async fn close(&self) {
        match self {
            Self::MySql(pool) => pool.close().await,
            Self::Sqlite(pool) => pool.close().await,
        }
    }
}

/// A connection of a [`Pool`]. When it is dropped, it returns to the pool.
pub(super) enum Connection {
    MySql(PoolConnection<MySql>),
    Sqlite(PoolConnection<Sqlite>),
}

impl Connection {
    /// Executes text that is not prepared, such as COMMIT. Text only comes from this program.
    pub(super) async fn execute_text(&mut self, text: impl Into<String>) -> Result<(), sqlx::Error> {
        let query = sqlx::raw_sql(AssertSqlSafe(text.into()));
        match self {
            Self::MySql(connection) => query.execute(&mut **connection).await.map(drop),
            Self::Sqlite(connection) => query.execute(&mut **connection).await.map(drop),
        }
    }

    /// Closes the connection without a farewell to the server.
    ///
    /// It takes what is not finished with it, such as a statement or a transaction.
    pub(super) fn discard(self) {
        match self {
            Self::MySql(connection) => drop(connection.detach()),
            Self::Sqlite(connection) => drop(connection.detach()),
        }
    }
}
