//! Opens the database.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use telemetry::LogThrottle;

use super::address::{Address, Target};
use super::clock::Clock;
use super::hot_connections::HotConnections;
use super::pools::{self, Pools};
use super::primary::Primary;
use super::row_cache::RowCache;
use super::search::SearchPool;
use super::session::PrepareError;
use super::{Dialect, Inner, Store, error, files};

/// Sizes and limits of a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// Connections for reads, and the same number for writes (SQLite always writes over one).
    pub connections: u32,
    /// Maximum duration of a read or a transaction; half of it may be the wait for a connection. COMMIT gets the same
    /// time again: only the loss of its response leaves the outcome unknown.
    pub deadline: Duration,
    /// Whether the file of an embedded database is created when it does not exist.
    pub create: bool,
    /// Whether the driver sets `sql_mode`, `time_zone` and the character set on each new connection to MySQL.
    ///
    /// Vitess refuses the first, and every setting makes its sessions more expensive.
    pub driver_settings: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { connections: 8, deadline: Duration::from_secs(4), create: true, driver_settings: true }
    }
}

/// Why the database cannot be opened. The messages contain no password.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL does not name a usable database.
    #[error("the database URL {problem}")]
    InvalidUrl {
        /// What is wrong with it.
        problem: String,
        /// What to do instead.
        hint: String,
    },
    /// The server refused the connection: wrong user, password or database.
    #[error("the database refused the connection: {0}")]
    Refused(String),
    /// The account's password plugin needs TLS, and the connection has none.
    #[error(
        "the account's plugin caching_sha2_password needs TLS for the first login, and the connection has none"
    )]
    NeedsTls,
    /// The file cannot be used: not writable, or not a database.
    #[error("{0}")]
    File(String),
    /// Another process uses the file.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The file does not exist.
    #[error("there is no database at {}", .0.display())]
    Missing(PathBuf),
    /// The server does not respond or is not ready. A retry may help.
    #[error("the database at {address} cannot be reached: {cause}")]
    Unreachable {
        /// Host and port, or the file.
        address: String,
        /// The error of the attempt.
        cause: String,
    },
    /// The server accepts no changes, for example during a failover. A retry may help.
    #[error("the database is read-only: {0}")]
    ReadOnly(String),
    /// Orders cannot be written with the settings of the server.
    #[error("the database is not set up for orders: {0}")]
    Misconfigured(String),
    /// The user lacks a privilege.
    #[error("the user of the database lacks a privilege: {cause}")]
    Privileges {
        /// The error of the server.
        cause: String,
        /// The statement that grants it.
        grant: String,
    },
    /// A later version of the program has created the tables.
    #[error(
        "the schema has version {found}, and this program ({}) supports versions up to {needed}",
        env!("CARGO_PKG_VERSION")
    )]
    Newer {
        /// The version of the tables.
        found: i64,
        /// The version of this program.
        needed: i64,
    },
    /// A development version from before the first release has created the tables.
    #[error(
        "the tables were made by a development version from before 0.1.0 and cannot be upgraded: use an empty database"
    )]
    Development,
    /// The file of an embedded database is damaged.
    #[error("{0}")]
    Damaged(String),
    /// The migration was stopped. The next one continues from there.
    #[error("the migration was stopped")]
    Interrupted,
    /// The tables could not be updated.
    #[error("the database migration failed: {0}")]
    Migration(String),
}

impl ConnectError {
    /// Returns whether a later retry may help.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::ReadOnly(_) => true,
            Self::InvalidUrl { .. }
            | Self::Refused(_)
            | Self::NeedsTls
            | Self::File(_)
            | Self::InUse(_)
            | Self::Missing(_)
            | Self::Misconfigured(_)
            | Self::Privileges { .. }
            | Self::Newer { .. }
            | Self::Development
            | Self::Damaged(_)
            | Self::Interrupted
            | Self::Migration(_) => false,
        }
    }
}

impl Store {
    /// Opens `mysql://user:password@host:port/database` or `sqlite:path` (its folder must exist).
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(url: &str, options: &Options) -> Result<Self, ConnectError> {
        let address = Address::parse(url)
            .map_err(|error| ConnectError::InvalidUrl { problem: error.problem, hint: error.hint })?;
        let primary = Arc::new(Primary::new());
        let (dialect, lock) = match &address.target {
            Target::MySql(_) => (Dialect::MySql, None),
            Target::Sqlite(file) => (Dialect::Sqlite, Some(claim(file, options.create)?)),
        };
        let open = async {
            match &address.target {
                Target::MySql(url) => pools::mysql(url, options, &primary).await,
                Target::Sqlite(file) => pools::sqlite(file, options).await,
            }
        };
        let Pools { readers, writers, searches } = match tokio::time::timeout(options.deadline, open).await {
            Ok(Ok(pools)) => pools,
            Ok(Err(PrepareError::Sql(error))) => return Err(explain(&address, error)),
            Ok(Err(PrepareError::Server(error))) => return Err(error),
            Err(_) => return Err(unreachable(&address.shown, "no answer in time")),
        };

        let store = Self {
            inner: Arc::new(Inner {
                pause_seen: Default::default(),
                steady: Default::default(),
                dialect,
                readers,
                lane: SearchPool::new(searches),
                writers: HotConnections::new(writers),
                address: address.shown,
                deadline: options.deadline,
                clock: Clock::new(),
                unhealthy: AtomicBool::new(false),
                row_cache: RowCache::default(),
                answers: AtomicU64::new(0),
                statements: Arc::default(),
                log: LogThrottle::default(),
                primary,
                parking: Default::default(),
                installation: tokio::sync::OnceCell::new(),
                file: lock,
            }),
        };
        store.refresh_clock().await.map_err(|error| store.unreachable(&error))?;
        Ok(store)
    }

    pub(super) fn unreachable(&self, cause: impl ToString) -> ConnectError {
        unreachable(&self.inner.address, cause)
    }
}

fn claim(file: &Path, create: bool) -> Result<files::Claim, ConnectError> {
    if !create && !file.exists() {
        return Err(ConnectError::Missing(file.to_owned()));
    }
    files::claim(file)
}

/// Access denied (to the server, to the database), unknown database, host not allowed, TLS required.
const REFUSALS: [u16; 6] = [1044, 1045, 1049, 1130, 1698, 3159];

fn explain(address: &Address, error: sqlx::Error) -> ConnectError {
    let refused = error::number(&error).is_some_and(|number| REFUSALS.contains(&number));
    match (&address.target, error) {
        (Target::Sqlite(_), error) if super::backup::is_damage(&error) => {
            ConnectError::Damaged(format!("{} is damaged: {error}", address.shown))
        }
        (Target::Sqlite(_), error) => ConnectError::File(format!("cannot open {}: {error}", address.shown)),
        (Target::MySql(_), error) if refused => ConnectError::Refused(error.to_string()),
        // The driver offers a separate feature here, which this program omits because of its known vulnerability.
        (Target::MySql(_), sqlx::Error::Configuration(cause)) if cause.to_string().contains("RSA") => {
            ConnectError::NeedsTls
        }
        (Target::MySql(_), sqlx::Error::Configuration(cause)) => ConnectError::InvalidUrl {
            problem: format!("cannot be used: {cause}"),
            hint: "correct it".to_owned(),
        },
        (Target::MySql(_), error) => unreachable(&address.shown, error),
    }
}

fn unreachable(address: &str, cause: impl ToString) -> ConnectError {
    ConnectError::Unreachable { address: address.to_owned(), cause: cause.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_documented() {
        use limits_page::row;
        let connections = Options::default().connections.to_string();
        row("database connections for reads, and the same number for writes", &connections);
    }

    /// The driver's message names a feature that this program omits on purpose.
    #[test]
    fn a_login_that_needs_tls_is_reported() {
        let address = Address::parse("mysql://u:p@h/d?ssl-mode=DISABLED").unwrap();
        let text = "RSA auth backend disabled; enable feature `mysql-rsa` or use TLS.";
        let error = explain(&address, sqlx::Error::Configuration(text.into()));
        assert!(matches!(error, ConnectError::NeedsTls), "{error}");
        assert!(error.to_string().contains("needs TLS") && !error.to_string().contains("feature"), "{error}");
    }
}
