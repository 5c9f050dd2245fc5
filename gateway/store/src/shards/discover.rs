//! Recognises Vitess, finds the shards of a keyspace and opens a store of each.

use std::sync::Arc;

use sqlx::mysql::MySqlConnectOptions;
use sqlx::{Connection, MySqlConnection, Row};
use tokio::time::timeout;

use super::MAX_SHARDS;
use super::key_range::{KeyRange, Place};
use crate::address::{Address, Shown};
use crate::assembly::{Parts, explain, unreachable};
use crate::hosts::{Host, Hosts, Role};
use crate::pools::{self, Pools};
use crate::primary::Primary;
use crate::references::ReferenceRules;
use crate::session::PrepareError;
use crate::{ConnectError, Dialect, Options, Shard, Shards, Store};

/// A shard that is to be opened.
struct Found {
    name: String,
    range: KeyRange,
}

/// Opens the store of a keyspace over vtgate.
///
/// # Errors
/// [`ConnectError::Misconfigured`] when its shards cannot be used.
pub(crate) async fn connect(address: &Address, host: Host, options: &Options) -> Result<Store, ConnectError> {
    let options = Options { driver_settings: false, ..options.clone() };
    let host = Host { options: pools::without_driver_settings(host.options), ..host };
    let found = match timeout(options.deadline, find(&host.options)).await {
        Ok(found) => found.map_err(|error| explain(address, error))?,
        Err(_) => return Err(unreachable(&address.shown, "no answer in time")),
    };
    let mut all: Vec<Shard> = Vec::with_capacity(found.len());
    for Found { name, range } in found {
        let shard = open(&host, &options, &name, range, all.first());
        all.push(shard);
    }
    for shard in &all {
        // The others work without one that does not respond. The first one has the identity of the installation.
        if let Err(error) = shard.refresh_clock().await {
            if shard.inner.first.is_none() {
                return Err(shard.unreachable(&error));
            }
            tracing::warn!(shard = shard.inner.shard_name, %error, "a shard of the database cannot be reached");
            shard.set_unhealthy();
        }
    }
    let first = all.first().cloned().ok_or_else(|| unreachable(&address.shown, "no shards"))?;
    let shards = Arc::new(Shards::new(all));
    for shard in &*shards.all() {
        // Each shard is new.
        let _ = shard.inner.siblings.set(Arc::downgrade(&shards));
    }
    Ok(Store { shard: first, shards: Some(shards) })
}

/// Returns the shards of the keyspace, sorted by their ranges.
async fn find(options: &MySqlConnectOptions) -> Result<Vec<Found>, PrepareError> {
    let keyspace = options.get_database().unwrap_or_default().to_owned();
    let mut connection = MySqlConnection::connect_with(options).await?;
    let rows = sqlx::raw_sql("SHOW VITESS_SHARDS").fetch_all(&mut connection).await?;
    drop(connection.close().await);
    let mut found = Vec::new();
    for row in &rows {
        let name: String = row.try_get(0)?;
        let Some(name) = name.strip_prefix(&keyspace).and_then(|rest| rest.strip_prefix('/')) else {
            continue;
        };
        let range = KeyRange::parse(name)
            .ok_or_else(|| misconfigured(format!("the limits of shard {name} are not whole bytes")))?;
        found.push(Found { name: name.to_owned(), range });
    }
    found.sort_by_key(|found| found.range);
    if found.len() > MAX_SHARDS {
        return Err(misconfigured(format!("it has {} shards, and {MAX_SHARDS} are supported", found.len())));
    }
    if !KeyRange::cover(found.iter().map(|found| found.range)) {
        let names: Vec<_> = found.iter().map(|found| found.name.as_str()).collect();
        return Err(misconfigured(format!("its shards are not a whole keyspace: {}", names.join(", "))));
    }
    Ok(found)
}

fn misconfigured(problem: String) -> PrepareError {
    PrepareError::Server(ConnectError::Misconfigured(problem))
}

/// Creates the store of one shard, without a connection.
fn open(host: &Host, options: &Options, name: &str, range: KeyRange, first: Option<&Shard>) -> Shard {
    let keyspace = host.options.get_database().unwrap_or_default();
    let target = format!("{keyspace}:{name}@primary");
    let host = Host {
        shown: format!("{}, shard {name}", host.shown),
        options: host.options.clone().database(&target),
    };
    let shown = Shown::new(host.shown.clone());
    let hosts = Arc::new(Hosts::new(vec![host], 0, Role::Primary));
    let primary = Arc::new(Primary::new());
    let pools: Pools = pools::shard(&hosts, options);
    Shard::assemble(
        Dialect::MySql,
        pools,
        shown,
        options,
        Parts {
            database_name: Some(format!("/{keyspace}")),
            hosts: Some(hosts),
            primary,
            file: None,
            place: Some(Place { range }),
            shard_name: Some(name.to_owned()),
            reference_rules: first
                .map_or_else(ReferenceRules::default, |first| first.inner.reference_rules.clone()),
            first: first.cloned(),
        },
    )
}
