//! Opening the database and bringing its tables up to date.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::sync::{Arc, Once};
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::mysql::MySqlDatabaseError;
use sqlx::{AnyConnection, ConnectOptions, Connection};
use url::Url;

use super::primary::Primary;
use super::recent::Recent;
use super::search::{CONNECTIONS, Lane};
use super::writers::Writers;
use super::{Dialect, Inner, LocalClock, Store, files};
use crate::log_gate::LogGate;

static MYSQL: Migrator = sqlx::migrate!("../migrations/mysql");
static SQLITE: Migrator = sqlx::migrate!("../migrations/sqlite");

/// A connection that was unused for so long is tested before it is used.
pub(super) const TESTED_AFTER: Duration = Duration::from_millis(500);

/// How long a connection is kept however much it is used. A balancer or a name may lead to another server meanwhile.
const LIFETIME: Duration = Duration::from_secs(5 * 60);

/// Sizes and limits of a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// Connections for reading, and as many again for writing (SQLite always writes over one).
    pub connections: u32,
    /// Longest run of a read or a transaction, up to half of which may pass with waiting for a connection.
    /// COMMIT gets as long again: it is the one answer whose loss leaves something open.
    pub deadline: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { connections: 8, deadline: Duration::from_secs(4) }
    }
}

/// Why the database cannot be opened. The texts name no password.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL is not one of a database that can be used. Trying again does not help.
    #[error("the database URL {0}")]
    InvalidUrl(String),
    /// The server said no: wrong user, password or database. Trying again does not help.
    #[error("the database refused the connection: {0}")]
    Refused(String),
    /// The file cannot be used: not writable, not a database, or in use by another process.
    #[error("{0}")]
    File(String),
    /// Nobody answers, or the server is not ready. Trying again may help.
    #[error("the database at {address} cannot be reached: {cause}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What the attempt ended with.
        cause: String,
    },
    /// The tables could not be brought up to date.
    #[error("the database migrations failed: {0}")]
    Migration(String),
}

impl ConnectError {
    /// Whether waiting and trying again may help.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::InvalidUrl(_) | Self::Refused(_) | Self::File(_) | Self::Migration(_) => false,
        }
    }
}

impl Store {
    /// Opens `mysql://user:password@host:port/database` or `sqlite:path` (created if it is not
    /// there; its folder must exist).
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(url: &str, options: &Options) -> Result<Self, ConnectError> {
        static DRIVERS: Once = Once::new();
        DRIVERS.call_once(sqlx::any::install_default_drivers);

        let (dialect, url, lock) = match url.split_once(':') {
            Some(("mysql" | "mariadb", _)) => (Dialect::MySql, with_statements(url), None),
            Some(("sqlite", path)) => {
                let path = PathBuf::from(path.trim_start_matches("//"));
                let lock = files::claim(&path)?;
                (Dialect::Sqlite, format!("sqlite://{}?mode=rwc", path.display()), Some(lock))
            }
            _ => {
                return Err(ConnectError::InvalidUrl(
                    "must start with mysql:// (MySQL, MariaDB) or sqlite: (a file)".into(),
                ));
            }
        };
        let connect = AnyConnectOptions::from_str(&url)
            .map_err(|error| ConnectError::InvalidUrl(format!("cannot be read: {error}")))?
            .disable_statement_logging();
        // A pool hides why it cannot connect; one plain connection tells.
        let probe = async {
            let mut connection = AnyConnection::connect_with(&connect).await?;
            dialect.connected().await;
            // An SQLite file is not looked into before the first statement.
            for statement in dialect.session() {
                sqlx::raw_sql(*statement).execute(&mut connection).await?;
            }
            drop(connection.close().await);
            Ok(())
        };
        match tokio::time::timeout(options.deadline, probe).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(explain(dialect, &url, &error)),
            Err(_) => return Err(unreachable(&url, "no answer in time")),
        }

        let primary = Arc::new(Primary::new());
        let pool = |size, more: &'static [&'static str]| {
            let primary = primary.clone();
            AnyPoolOptions::new()
                .max_connections(size)
                .acquire_timeout(options.deadline / 2)
                .idle_timeout(dialect.idle())
                // A connection that was in use just now needs no test; an older one may have lost its
                // server since, and nobody's request should have to find out.
                .test_before_acquire(false)
                .max_lifetime(LIFETIME)
                .before_acquire(move |connection, usage| {
                    let primary = primary.clone();
                    Box::pin(async move { Ok(primary.serves(dialect, connection, &usage).await) })
                })
                .after_connect(move |connection, _| {
                    Box::pin(async move {
                        dialect.connected().await;
                        for statement in dialect.session().iter().chain(more) {
                            sqlx::raw_sql(*statement).execute(&mut *connection).await?;
                        }
                        Ok(())
                    })
                })
                .connect_lazy_with(connect.clone())
        };
        let writers = if dialect == Dialect::Sqlite { 1 } else { options.connections };
        let store = Self {
            inner: Arc::new(Inner {
                pause_seen: Default::default(),
                dialect,
                readers: pool(options.connections, &[]),
                lane: Lane::new(pool(CONNECTIONS, &[])),
                writers: Writers::new(pool(writers, dialect.writing())),
                deadline: options.deadline,
                local: LocalClock::new(),
                clock_offset: AtomicI64::new(0),
                ailing: AtomicBool::new(false),
                recent: Recent::default(),
                answers: AtomicU64::new(0),
                statements: Arc::default(),
                log: LogGate::default(),
                primary: primary.clone(),
                installation: tokio::sync::OnceCell::new(),
                _lock: lock,
            }),
        };
        store.refresh_clock().await.map_err(|error| unreachable(&url, &error))?;
        Ok(store)
    }

    /// Creates or updates the tables. Several gateways may do so at once: on MySQL one after the
    /// other, under a lock of the server, and an SQLite file belongs to one process.
    ///
    /// # Errors
    /// [`ConnectError::Migration`].
    pub async fn migrate(&self) -> Result<(), ConnectError> {
        let (migrator, locked) = match self.inner.dialect {
            Dialect::MySql => (&MYSQL, true),
            Dialect::Sqlite => (&SQLITE, false),
        };
        let failed = |error: sqlx::Error| ConnectError::Migration(error.to_string());
        let mut connection = self.inner.writers.acquire().await.map_err(failed)?;
        if locked {
            // sqlx's own lock waits for -1 seconds, which MariaDB takes for "not at all".
            let got: Option<i64> =
                sqlx::query_scalar(MIGRATION_LOCK).fetch_one(&mut *connection).await.map_err(failed)?;
            if got != Some(1) {
                return Err(ConnectError::Migration(
                    "another gateway has been migrating for a minute".into(),
                ));
            }
        }
        let result = migrator.run(&mut *connection).await;
        // The last thing that it notes is how long a migration took, outside of a transaction of its own.
        if let (Ok(()), Dialect::MySql) = (&result, self.inner.dialect) {
            sqlx::raw_sql("COMMIT").execute(&mut *connection).await.map_err(failed)?;
        }
        // The lock goes with the connection.
        drop(connection.detach());
        result.map_err(|error| {
            ConnectError::Migration(match error {
                MigrateError::VersionMissing(version) => format!(
                    "the database has migration {version}, which this version of the program does not know; \
                     run the newer version"
                ),
                other => other.to_string(),
            })
        })
    }
}

/// The URL with room for every text of a statement, for each number of rows, unless it says something else:
/// a connection that has to drop prepared statements would prepare them again and again.
fn with_statements(url: &str) -> String {
    const CAPACITY: &str = "statement-cache-capacity";
    match Url::parse(url) {
        Ok(mut url) if url.query_pairs().all(|(name, _)| name != CAPACITY) => {
            url.query_pairs_mut().append_pair(CAPACITY, "256");
            url.into()
        }
        // What is wrong with it is said when it is used.
        Ok(_) | Err(_) => url.to_owned(),
    }
}

/// Locks' names are the server's, not the database's.
const MIGRATION_LOCK: &str = "SELECT CAST(GET_LOCK(CONCAT('orders.', CRC32(DATABASE())), 60) AS SIGNED)";

/// Access denied (to the server, to the database), unknown database, host not allowed, TLS required.
const REFUSALS: [u16; 6] = [1044, 1045, 1049, 1130, 1698, 3159];

fn explain(dialect: Dialect, url: &str, error: &sqlx::Error) -> ConnectError {
    let refused = error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>())
        .is_some_and(|error| REFUSALS.contains(&error.number()));
    match (dialect, error) {
        (Dialect::Sqlite, error) => {
            let path = url.trim_start_matches("sqlite://").trim_end_matches("?mode=rwc");
            ConnectError::File(format!("cannot open {path}: {error}"))
        }
        (Dialect::MySql, error) if refused => ConnectError::Refused(error.to_string()),
        (Dialect::MySql, sqlx::Error::Configuration(cause)) => ConnectError::InvalidUrl(cause.to_string()),
        (Dialect::MySql, error) => unreachable(url, error),
    }
}

fn unreachable(url: &str, cause: impl ToString) -> ConnectError {
    let address = Url::parse(url)
        .ok()
        .and_then(|url| Some(format!("{}:{}", url.host_str()?, url.port().unwrap_or(3306))));
    ConnectError::Unreachable {
        address: address.unwrap_or_else(|| "the given URL".to_owned()),
        cause: cause.to_string(),
    }
}
