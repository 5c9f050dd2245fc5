//! The typed connections and pools of sqlx, behind one enum for each.
//!
//! `sqlx::Any` would be one type as well. It takes its options from a URL only, so the settings that the driver makes at
//! connect could not be left out, and servers such as Vitess refuse them. It also copies each value of a row and of a
//! statement once more.

use domain::OrderId;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::pool::PoolConnection;
use sqlx::{AssertSqlSafe, MySql, MySqlPool, Sqlite, SqlitePool};

use super::shards::Place;

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
            Self::MySql(pool) => Link::MySql(Box::pin(pool.acquire()).await?).into(),
            Self::Sqlite(pool) => Link::Sqlite(Box::pin(pool.acquire()).await?).into(),
        })
    }

    /// Returns an idle connection, if there is one.
    pub(super) fn try_acquire(&self) -> Option<Connection> {
        match self {
            Self::MySql(pool) => pool.try_acquire().map(|connection| Link::MySql(connection).into()),
            Self::Sqlite(pool) => pool.try_acquire().map(|connection| Link::Sqlite(connection).into()),
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
pub(super) struct Connection {
    pub(super) link: Link,
    /// The statements that are sent with COMMIT; `None` if each statement is sent alone.
    pub(super) last: Option<Vec<LastStatement>>,
    /// The shard that it leads to, if the database has shards. Set for each use.
    pub(super) place: Option<Place>,
}

/// A statement that is sent with COMMIT (see `last_statements`).
pub(super) struct LastStatement {
    pub(super) text: String,
    /// Whether it has to change one row, and can change only that.
    pub(super) has_condition: bool,
}

/// A connection to one kind of database.
pub(super) enum Link {
    MySql(PoolConnection<MySql>),
    Sqlite(PoolConnection<Sqlite>),
}

impl From<Link> for Connection {
    fn from(link: Link) -> Self {
        Self { link, last: None, place: None }
    }
}

impl Connection {
    /// Executes text that is not prepared, such as COMMIT. Text only comes from this program.
    pub(super) async fn execute_text(&mut self, text: impl Into<String>) -> Result<(), sqlx::Error> {
        let query = sqlx::raw_sql(AssertSqlSafe(text.into()));
        match &mut self.link {
            Link::MySql(connection) => query.execute(&mut **connection).await.map(drop),
            Link::Sqlite(connection) => query.execute(&mut **connection).await.map(drop),
        }
    }

    /// Returns an id that Vitess routes to the shard of this connection, which differs from this one in its random part.
    pub(super) fn placed(&self, id: OrderId) -> OrderId {
        self.place.map_or(id, |place| id.in_slot(place.range.random_slot()))
    }

    /// Closes the connection without a farewell to the server.
    ///
    /// It takes what is not finished with it, such as a statement or a transaction.
    pub(super) fn discard(self) {
        match self.link {
            Link::MySql(connection) => drop(connection.detach()),
            Link::Sqlite(connection) => drop(connection.detach()),
        }
    }
}
