//! Opens the database.

use std::path::Path;
use std::sync::Arc;

use tokio::time::timeout;
use url::Url;

use super::address::{Address, Shown, Target};
use super::assembly::{Parts, explain, unreachable};
use super::hosts::{self, Host, Hosts, Role};
use super::mysql_url::bad;
use super::pools;
use super::primary::Primary;
use super::session::PrepareError;
use super::{ConnectError, Dialect, Options, Shard, Store, files, host_list, shards};

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
