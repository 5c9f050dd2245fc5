//! The settings of each new connection, which depend on the kind of the server.
//!
//! The store queries the server once, when it is opened: all servers that can replace each other have the same kind.

use std::collections::HashMap;

use sqlx::{MySqlConnection, Row, SqliteConnection};

use super::{ConnectError, engines, error};

/// The relevant settings of a server. A server without a setting omits it.
const QUESTION: &str = "SHOW SESSION VARIABLES WHERE Variable_name IN ('log_bin', 'binlog_format', 'wsrep_on', \
    'wsrep_provider', 'wsrep_sync_wait', 'group_replication_group_name', 'group_replication_consistency', \
    'group_replication_single_primary_mode')";

/// Statements for new connections.
pub(super) type Statements = Vec<&'static str>;

/// The settings of every connection to MySQL.
pub(super) const MYSQL: [&str; 3] = [
    // At the default level (repeatable read) a transaction that waited for a row lock would continue with the version
    // from before the wait.
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    // A longer wait means that the other transaction hangs.
    "SET SESSION innodb_lock_wait_timeout = 1",
    // A gateway that freezes or disappears in a transaction keeps its locks no longer. The pool closes connections that
    // are merely idle before that (`pools`).
    "SET SESSION wait_timeout = 30",
];
/// The settings of connections to MySQL that write: each transaction saves the round trip that opens it.
pub(super) const MYSQL_WRITING: &[&str] = &["SET SESSION autocommit = 0"];
/// The settings of the connection to MySQL that numbers the event log. It is in use all the time, so a longer silence means
/// that the gateway is frozen, and its transaction keeps all others from numbering.
pub(super) const MYSQL_NUMBERING: &[&str] = &["SET SESSION autocommit = 0", "SET SESSION wait_timeout = 3"];
/// The settings of every connection to SQLite.
const SQLITE: [&str; 5] = [
    "PRAGMA journal_mode = WAL",
    // Every commit reaches the disk before the order is acknowledged.
    "PRAGMA synchronous = FULL",
    "PRAGMA busy_timeout = 5000",
    "PRAGMA temp_store = MEMORY",
    // In KiB, for each of a dozen connections. The page cache of the operating system contains the rest of the file.
    "PRAGMA cache_size = -512",
];

/// Sets up a connection to SQLite.
pub(super) async fn prepare_sqlite(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    for statement in SQLITE {
        sqlx::raw_sql(statement).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Queries the server and sets up this connection. Returns the statements for all others.
///
/// # Errors
/// [`ConnectError::UnsafeEngine`], [`ConnectError::Misconfigured`] when orders cannot be written with its settings, and what the server says.
pub(super) async fn prepare(connection: &mut MySqlConnection) -> Result<Statements, PrepareError> {
    let version = sqlx::raw_sql(engines::VERSION).fetch_one(&mut *connection).await?;
    let version = version.try_get::<String, _>(0)?;
    if let Some(refusal) = engines::refusal(&version) {
        return Err(PrepareError::Server(refusal));
    }
    if engines::is_vitess(&version) {
        return Err(PrepareError::Vitess);
    }
    let rows = sqlx::raw_sql(QUESTION).fetch_all(&mut *connection).await?;
    let settings: Result<Settings, sqlx::Error> = rows
        .iter()
        .map(|row| {
            Ok((row.try_get::<String, _>(0)?.to_lowercase(), row.try_get::<String, _>(1)?.to_uppercase()))
        })
        .collect();
    let mut statements = MYSQL.to_vec();
    statements.extend(of_server(&settings?));
    for statement in &statements {
        if let Err(error) = sqlx::raw_sql(*statement).execute(&mut *connection).await {
            if *statement == ROW_FORMAT {
                return Err(PrepareError::Server(ConnectError::Misconfigured(format!(
                    "the server has binlog_format=STATEMENT and does not let this user change that ({error}): set \
                     binlog_format=ROW or MIXED there, or grant the user BINLOG ADMIN (MySQL: SESSION_VARIABLES_ADMIN)"
                ))));
            }
            return Err(error.into());
        }
    }
    Ok(statements)
}

/// Returns whether the server executes several statements of one text. A proxy before it can refuse them.
///
/// The second statement shows that the number of rows of the first one can be read.
pub(super) async fn joins_statements(connection: &mut MySqlConnection) -> bool {
    let both =
        sqlx::raw_sql("SELECT 1; SELECT CAST(ROW_COUNT() AS SIGNED)").fetch_all(&mut *connection).await;
    both.is_ok_and(|rows| rows.len() == 2)
}

/// The settings of every connection to a shard of Vitess. vtgate sends a setting with each statement unless the servers
/// have it already, and ignores `wait_timeout`: it ends idle transactions itself.
pub(super) const SHARD: [&str; 2] = [MYSQL[0], MYSQL[1]];

/// vtgate refuses a setting that the driver makes at connect.
const REFUSED_BY_VITESS: u16 = 1235;

/// Why a connection cannot be set up.
pub(super) enum PrepareError {
    Sql(sqlx::Error),
    Server(ConnectError),
    /// The server is vtgate, whose shards are connected to separately.
    Vitess,
}

impl From<sqlx::Error> for PrepareError {
    fn from(error: sqlx::Error) -> Self {
        match error::number(&error) == Some(REFUSED_BY_VITESS) {
            true => Self::Vitess,
            false => Self::Sql(error),
        }
    }
}

type Settings = HashMap<String, String>;

/// At READ COMMITTED the server refuses every change when it logs statements.
const ROW_FORMAT: &str = "SET SESSION binlog_format = 'ROW'";
/// Galera: a read waits until this node has applied what others have committed, so every node finds an order after the
/// response to its create.
const SYNC_WAIT: &str = "SET SESSION wsrep_sync_wait = 1";
/// The same for Group Replication with several primaries.
const CONSISTENCY: &str = "SET SESSION group_replication_consistency = 'BEFORE'";

fn of_server(settings: &Settings) -> Vec<&'static str> {
    let is = |name: &str, value: &str| settings.get(name).is_some_and(|found| found == value);
    let mut statements = Vec::new();
    if is("log_bin", "ON") && is("binlog_format", "STATEMENT") {
        statements.push(ROW_FORMAT);
    }
    if is("wsrep_on", "ON") && !is("wsrep_provider", "NONE") && is("wsrep_sync_wait", "0") {
        statements.push(SYNC_WAIT);
    }
    if is("group_replication_single_primary_mode", "OFF")
        && settings.get("group_replication_group_name").is_some_and(|name| !name.is_empty())
        && (is("group_replication_consistency", "EVENTUAL")
            || is("group_replication_consistency", "BEFORE_ON_PRIMARY_FAILOVER"))
    {
        statements.push(CONSISTENCY);
    }
    statements
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_depend_on_the_kind_of_the_server() {
        let told = |settings: &[(&str, &str)]| {
            of_server(
                &settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            )
        };
        assert_eq!(told(&[]), [""; 0]);
        assert_eq!(told(&[("log_bin", "OFF"), ("binlog_format", "STATEMENT")]), [""; 0]);
        assert_eq!(told(&[("log_bin", "ON"), ("binlog_format", "MIXED")]), [""; 0]);
        assert_eq!(told(&[("log_bin", "ON"), ("binlog_format", "STATEMENT")]), [ROW_FORMAT]);
        let galera = [("wsrep_on", "ON"), ("wsrep_provider", "/LIB/GALERA.SO"), ("wsrep_sync_wait", "0")];
        assert_eq!(told(&galera), [SYNC_WAIT]);
        assert_eq!(
            told(&[("wsrep_on", "ON"), ("wsrep_provider", "NONE"), ("wsrep_sync_wait", "0")]),
            [""; 0]
        );
        // An operator has chosen a higher level.
        assert_eq!(told(&[galera[0], galera[1], ("wsrep_sync_wait", "7")]), [""; 0]);
        let mut group = [
            ("group_replication_group_name", "AAAA"),
            ("group_replication_single_primary_mode", "OFF"),
            ("group_replication_consistency", "EVENTUAL"),
        ];
        assert_eq!(told(&group), [CONSISTENCY]);
        group[1].1 = "ON";
        assert_eq!(told(&group), [""; 0]);
    }
}
