//! The pools of a store, with the settings of their connections.
//!
//! A pool does not report why it cannot connect, so each function here first makes one plain connection.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::pool::PoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{ConnectOptions, Connection, Database, MySqlConnection, SqliteConnection};
use url::Url;

use super::connection::Pool;
use super::hosts::Hosts;
use super::hot_connections::PING_IF_IDLE_FOR;
use super::mysql_url::CAPACITY;
use super::primary::Primary;
use super::search_pool::CONNECTIONS;
use super::session::{self, PrepareError};
use super::{Options, tcp_nodelay};

/// Maximum age of a connection. A balancer or a name may lead to another server meanwhile.
const LIFETIME: Duration = Duration::from_secs(5 * 60);
/// Idle time after which a pooled connection is closed.
///
/// The pool checks once in this time, so a connection may become twice as old, which has to be less than the server's
/// `wait_timeout` (see [`session`]).
const MYSQL_IDLE: Duration = Duration::from_secs(10);
const SQLITE_IDLE: Duration = Duration::from_secs(600);
/// Prepared statements of one connection.
///
/// It has room for every text of a statement, for each number of rows: a connection that has to drop prepared statements
/// would prepare them again and again.
const STATEMENTS: usize = 256;

/// The pools of a store.
pub(super) struct Pools {
    pub(super) readers: Pool,
    pub(super) writers: Pool,
    pub(super) searches: Pool,
    /// Numbers the event log; `None` if a writer does.
    pub(super) numbering: Option<Pool>,
    /// Whether the server takes several statements in one text.
    pub(super) joins_statements: bool,
}

/// Opens pools of connections to MySQL or MariaDB.
///
/// # Errors
/// Why the first connection cannot be made.
pub(super) async fn mysql(
    hosts: &Arc<Hosts>,
    options: &Options,
    primary: &Arc<Primary>,
) -> Result<Pools, PrepareError> {
    let connect = hosts.options();
    let mut connection = MySqlConnection::connect_with(&connect).await?;
    tcp_nodelay::set().await;
    let statements = Arc::new(session::prepare(&mut connection).await?);
    let joins_statements = session::joins_statements(&mut connection).await;
    drop(connection.close().await);

    let pool = |size, more: &'static [&'static str]| {
        let (newest, primary, statements) = (primary.clone(), primary.clone(), statements.clone());
        let (hosts, suspects) = (hosts.clone(), hosts.clone());
        let pool: MySqlPoolOptions = pool_options(size, options, MYSQL_IDLE);
        let pool = pool
            .before_acquire(move |connection, usage| {
                let (primary, hosts) = (primary.clone(), suspects.clone());
                Box::pin(async move {
                    let serves = primary.serves(connection, &usage).await;
                    if !serves {
                        hosts.suspect();
                    }
                    Ok(serves)
                })
            })
            .after_connect(move |connection, _| {
                let (primary, hosts, statements) = (newest.clone(), hosts.clone(), statements.clone());
                Box::pin(async move {
                    tcp_nodelay::set().await;
                    hosts.admit(connection).await?;
                    for statement in statements.iter().chain(more) {
                        sqlx::raw_sql(*statement).execute(&mut *connection).await?;
                    }
                    primary.connected(connection).await;
                    Ok(())
                })
            });
        Pool::MySql(pool.connect_lazy_with(connect.clone()))
    };
    Ok(Pools {
        readers: pool(options.connections, &[]),
        writers: pool(options.connections, session::MYSQL_WRITING),
        searches: pool(CONNECTIONS, &[]),
        numbering: Some(pool(1, session::MYSQL_NUMBERING)),
        joins_statements,
    })
}

/// Creates pools of connections to a shard of Vitess, without a connection.
///
/// vtgate finds the primary of the shard itself, so an idle connection only needs a ping.
pub(super) fn shard(hosts: &Arc<Hosts>, options: &Options) -> Pools {
    let connect = hosts.options();
    let pool = |size, more: &'static [&'static str]| {
        let pool: MySqlPoolOptions = pool_options(size, options, MYSQL_IDLE);
        let pool = pool
            .before_acquire(|connection, usage| {
                Box::pin(
                    async move { Ok(usage.idle_for < PING_IF_IDLE_FOR || connection.ping().await.is_ok()) },
                )
            })
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    tcp_nodelay::set().await;
                    for statement in session::SHARD.iter().chain(more) {
                        sqlx::raw_sql(*statement).execute(&mut *connection).await?;
                    }
                    Ok(())
                })
            });
        Pool::MySql(pool.connect_lazy_with(connect.clone()))
    };
    Pools {
        readers: pool(options.connections, &[]),
        writers: pool(options.connections, session::MYSQL_WRITING),
        searches: pool(CONNECTIONS, &[]),
        numbering: Some(pool(1, session::MYSQL_WRITING)),
        joins_statements: true,
    }
}

/// Creates a pool of connections to a replica, without a connection.
pub(super) fn replica(connect: &MySqlConnectOptions, options: &Options) -> Pool {
    let pool: MySqlPoolOptions = pool_options(options.connections, options, MYSQL_IDLE);
    let pool = pool
        .before_acquire(|connection, usage| {
            Box::pin(async move { Ok(usage.idle_for < PING_IF_IDLE_FOR || connection.ping().await.is_ok()) })
        })
        .after_connect(|connection, _| {
            Box::pin(async move {
                tcp_nodelay::set().await;
                for statement in session::MYSQL {
                    sqlx::raw_sql(statement).execute(&mut *connection).await?;
                }
                Ok(())
            })
        });
    Pool::MySql(pool.connect_lazy_with(connect.clone()))
}

/// The driver's options. What the driver sets at connect is chosen here, because not every server accepts it.
pub(super) fn mysql_options(url: &Url, options: &Options) -> Result<MySqlConnectOptions, sqlx::Error> {
    let mut connect = MySqlConnectOptions::from_url(url)?.charset("utf8mb4").disable_statement_logging();
    if !url.query_pairs().any(|(name, _)| name == CAPACITY) {
        connect = connect.statement_cache_capacity(STATEMENTS);
    }
    Ok(if options.driver_settings { connect } else { without_driver_settings(connect) })
}

/// Leaves out what the driver sets on each new connection.
pub(super) fn without_driver_settings(connect: MySqlConnectOptions) -> MySqlConnectOptions {
    connect.pipes_as_concat(false).no_engine_substitution(false).timezone(None).set_names(false)
}

/// Maximum number of rows that the thread of a connection to SQLite reads ahead. A row takes up to 64 KiB, which the
/// allocator keeps for each of these threads.
const ROWS_READ_AHEAD: usize = 8;

/// Opens pools of connections to a file of SQLite, one of which writes.
///
/// # Errors
/// Why the first connection cannot be made.
pub(super) async fn sqlite(file: &Path, options: &Options) -> Result<Pools, PrepareError> {
    let connect = SqliteConnectOptions::new()
        .filename(file)
        .disable_statement_logging()
        .row_buffer_size(ROWS_READ_AHEAD);
    let mut connection = SqliteConnection::connect_with(&connect).await?;
    // The file is not read before the first statement.
    session::prepare_sqlite(&mut connection).await?;
    drop(connection.close().await);

    let pool = |size| {
        let pool: SqlitePoolOptions = pool_options(size, options, SQLITE_IDLE);
        let pool = pool
            .before_acquire(|connection, usage| {
                Box::pin(
                    async move { Ok(usage.idle_for < PING_IF_IDLE_FOR || connection.ping().await.is_ok()) },
                )
            })
            .after_connect(|connection, _| Box::pin(session::prepare_sqlite(connection)));
        Pool::Sqlite(pool.connect_lazy_with(connect.clone()))
    };
    Ok(Pools {
        readers: pool(options.connections),
        writers: pool(1),
        searches: pool(CONNECTIONS),
        numbering: None,
        joins_statements: false,
    })
}

/// Maximum wait for a connection, and time for making one.
pub(super) fn acquire_timeout(options: &Options) -> Duration {
    options.deadline / 2
}

fn pool_options<DB: Database>(size: u32, options: &Options, idle: Duration) -> PoolOptions<DB> {
    PoolOptions::new()
        .max_connections(size)
        .acquire_timeout(acquire_timeout(options))
        .idle_timeout(idle)
        .max_lifetime(LIFETIME)
        // A connection that was in use just now needs no test. An older one may have lost its server since, and no
        // request should have to find out: `before_acquire` tests it.
        .test_before_acquire(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn driver_settings_can_be_omitted() {
        let url = Url::parse("mysql://u:p@h/d").unwrap();
        let shown = |driver_settings| {
            let options = Options { driver_settings, ..Options::default() };
            format!("{:?}", mysql_options(&url, &options).unwrap())
        };
        assert!(shown(true).contains("pipes_as_concat: true") && shown(true).contains("set_names: true"));
        for omitted in
            ["pipes_as_concat: false", "no_engine_substitution: false", "timezone: None", "set_names: false"]
        {
            assert!(shown(false).contains(omitted), "{omitted}");
        }
        let capacity = |url: &str| {
            let url = Url::parse(url).unwrap();
            format!("{:?}", mysql_options(&url, &Options::default()).unwrap())
        };
        assert!(capacity("mysql://u:p@h/d").contains("statement_cache_capacity: 256"));
        let set = capacity("mysql://u:p@h/d?statement-cache-capacity=7");
        assert!(set.contains("statement_cache_capacity: 7"), "{set}");
    }
}
