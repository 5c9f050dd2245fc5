//! Opens the database.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use telemetry::LogThrottle;
use tokio::time::timeout;
use url::Url;

use super::address::{Address, Shown, Target};
use super::clock::Clock;
use super::hosts::{self, Host, Hosts, Role};
use super::hot_connections::HotConnections;
use super::mysql_url::bad;
use super::pools::{self, Pools};
use super::primary::Primary;
use super::references::ReferenceRules;
use super::row_cache::RowCache;
use super::search_pool::SearchPool;
use super::session::PrepareError;
use super::shards::{self, Place};
use super::{ConnectError, Dialect, Inner, Options, Shard, Store, error, files, host_list};

impl Store {
    /// Opens `mysql://user:password@host:port/database` or `sqlite:path` (its folder must exist).
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect(url: &str, options: &Options) -> Result<Self, ConnectError> {
        let address = Address::parse(url)?;
        let primary = Arc::new(Primary::new());
        let (dialect, database_name, hosts, lock, opened) = match &address.target {
            Target::MySql(urls) => {
                let (hosts, current, role) = choose_host(&address, urls, options).await?;
                let hosts = Arc::new(Hosts::new(hosts, current, role));
                let opened = timeout(options.deadline, pools::mysql(&hosts, options, &primary)).await;
                (Dialect::MySql, urls.first().map(|url| url.path().to_owned()), Some(hosts), None, opened)
            }
            Target::Sqlite(file) => {
                let lock = claim(file, options.create)?;
                let opened = timeout(options.deadline, pools::sqlite(file, options)).await;
                (Dialect::Sqlite, None, None, Some(lock), opened)
            }
        };
        let opened = match opened {
            Ok(Ok(pools)) => pools,
            Ok(Err(PrepareError::Vitess)) => {
                let host = hosts.and_then(|hosts| hosts.only());
                let host = host.ok_or_else(|| {
                    let hint = "several hosts are for servers that replace each other; give vtgate one address, such as that of a balancer";
                    ConnectError::from(bad("has several hosts of Vitess", hint))
                })?;
                return shards::connect(&address, host, options).await;
            }
            Ok(Err(error)) => return Err(explain(&address, error)),
            Err(_) => return Err(unreachable(&address.shown, "no answer in time")),
        };
        let shown = Shown::new(address.shown.clone());
        let parts = Parts { database_name, hosts: hosts.clone(), primary, file: lock, ..Parts::default() };
        let store = Shard::assemble(dialect, opened, shown, options, parts);
        if let Some(hosts) = hosts {
            store.start_search(hosts);
        }
        store.refresh_clock().await.map_err(|error| store.unreachable(&error))?;
        Ok(store.into())
    }
}

/// What a store consists of besides its pools.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) database_name: Option<String>,
    pub(super) hosts: Option<Arc<Hosts>>,
    pub(super) primary: Arc<Primary>,
    pub(super) file: Option<files::Claim>,
    pub(super) place: Option<Place>,
    pub(super) shard_name: Option<String>,
    pub(super) reference_rules: ReferenceRules,
    pub(super) first: Option<Shard>,
}

impl Shard {
    pub(super) fn assemble(
        dialect: Dialect,
        pools: Pools,
        address: Shown,
        options: &Options,
        parts: Parts,
    ) -> Self {
        let Pools { readers, writers, searches, numbering, joins_statements } = pools;
        let Parts { database_name, hosts, primary, file, place, shard_name, reference_rules, first } = parts;
        Self {
            inner: Arc::new(Inner {
                pause_seen: Default::default(),
                steady: Default::default(),
                dialect,
                readers,
                lane: SearchPool::new(searches),
                writers: HotConnections::new(writers),
                address,
                database_name,
                options: options.clone(),
                numbering: numbering.map(HotConnections::new),
                deadline: options.deadline,
                joins_statements,
                clock: Clock::new(),
                unhealthy: AtomicBool::new(false),
                reference_rules,
                row_cache: RowCache::default(),
                answers: AtomicU64::new(0),
                statements: Arc::default(),
                log: LogThrottle::default(),
                primary,
                hosts,
                search: Default::default(),
                replica: Default::default(),
                parking: Default::default(),
                installation: tokio::sync::OnceCell::new(),
                file,
                place,
                shard_name,
                first,
                siblings: Default::default(),
            }),
        }
    }

    pub(super) fn unreachable(&self, cause: impl ToString) -> ConnectError {
        unreachable(&self.inner.address.load(), cause)
    }
}

/// Returns the hosts of a URL, the one to connect to, and its role: the primary, or else a replica.
///
/// # Errors
/// Why none of them can be used.
pub(super) async fn choose_host(
    address: &Address,
    urls: &[Url],
    options: &Options,
) -> Result<(Vec<Host>, usize, Role), ConnectError> {
    let hosts = hosts_of(address, urls, options)?;
    if hosts.len() == 1 {
        // The pools make the first connection.
        return Ok((hosts, 0, Role::Primary));
    }
    let found = hosts::examine(&hosts, None).await;
    if let Some(primary) = hosts::primary(&found, 0) {
        return Ok((hosts, primary, Role::Primary));
    }
    if let Some(replica) = found.iter().position(Result::is_ok) {
        return Ok((hosts, replica, Role::Replica));
    }
    let cause = hosts::describe(&hosts, &found);
    let errors = found.into_iter().filter_map(Result::err).map(|error| explain(address, error.into()));
    // An error that waiting does not change comes first.
    let permanent = errors.into_iter().find(|error| !error.is_temporary());
    Err(permanent.unwrap_or_else(|| unreachable(&address.shown, cause)))
}

/// Returns the hosts of a URL, without a connection.
pub(super) fn hosts_of(
    address: &Address,
    urls: &[Url],
    options: &Options,
) -> Result<Vec<Host>, ConnectError> {
    let host = |url| Ok(Host { shown: host_list::shown(url), options: pools::mysql_options(url, options)? });
    let hosts: Result<Vec<Host>, sqlx::Error> = urls.iter().map(host).collect();
    hosts.map_err(|error| explain(address, error.into()))
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
        PrepareError::Vitess => {
            return ConnectError::InvalidUrl {
                problem: "leads to Vitess".to_owned(),
                hint: "use it as the only host of the database URL".to_owned(),
            };
        }
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
