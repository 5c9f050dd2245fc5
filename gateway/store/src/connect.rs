//! Opens the database.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use telemetry::LogThrottle;

use super::address::{Address, Shown, Target};
use super::clock::Clock;
use super::hot_connections::HotConnections;
use super::pools::{self, Pools};
use super::primary::Primary;
use super::row_cache::RowCache;
use super::search_pool::SearchPool;
use super::session::PrepareError;
use super::{ConnectError, Dialect, Inner, Options, Store, error, files};

impl Store {
    /// Opens `mysql://user:password@host:port/database` or `sqlite:path` (its folder must exist).
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(url: &str, options: &Options) -> Result<Self, ConnectError> {
        let address = Address::parse(url)?;
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
        let Pools { readers, writers, searches, numbering } =
            match tokio::time::timeout(options.deadline, open).await {
                Ok(Ok(pools)) => pools,
                Ok(Err(error)) => return Err(explain(&address, error)),
                Err(_) => return Err(unreachable(&address.shown, "no answer in time")),
            };

        let database_name = match &address.target {
            Target::MySql(url) => Some(url.path().to_owned()),
            Target::Sqlite(_) => None,
        };
        let store = Self {
            inner: Arc::new(Inner {
                pause_seen: Default::default(),
                steady: Default::default(),
                dialect,
                readers,
                lane: SearchPool::new(searches),
                writers: HotConnections::new(writers),
                address: Shown::new(address.shown),
                database_name,
                options: options.clone(),
                numbering: numbering.map(HotConnections::new),
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
        unreachable(&self.inner.address.load(), cause)
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

/// Returns the error of opening the database at this address.
pub(super) fn explain(address: &Address, error: PrepareError) -> ConnectError {
    let error = match error {
        PrepareError::Sql(error) => error,
        PrepareError::Server(error) => return error,
    };
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

pub(super) fn unreachable(address: &str, cause: impl ToString) -> ConnectError {
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
        let error = explain(&address, sqlx::Error::Configuration(text.into()).into());
        assert!(matches!(error, ConnectError::NeedsTls), "{error}");
        assert!(error.to_string().contains("needs TLS") && !error.to_string().contains("feature"), "{error}");
    }
}
