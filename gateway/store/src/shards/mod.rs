//! Several shards of one database: a keyspace of Vitess.
//!
//! Each shard has its own connections, which lead to that shard only (`USE keyspace:shard`). So each transaction, and each
//! statement, concerns one shard, whatever vtgate would plan, and a shard that does not respond delays only its own work. An
//! order is in the shard of its [`Slot`], with its events, notes, outputs and idempotency key. All that does not belong to an
//! order (keys, tenants, webhooks, workers, the numbered event log) is in the first shard.
//!
//! [`Shard`] contains the statements and knows one shard. This module has the methods of [`Store`] that concern orders and
//! therefore several shards: by id ([`by_id`]), merged ([`lists`]), added up ([`sums`]), new orders ([`creates`]). The other
//! methods are those of the first shard. A database without shards is one [`Shard`], and passes through here unchanged.

mod by_id;
mod creates;
mod discover;
mod everywhere;
mod key_range;
mod lists;
mod references;
mod reservations;
mod reserved;

mod sums;

use std::sync::{Arc, PoisonError, RwLock};

use domain::{OrderId, Slot};
use futures_util::future::{BoxFuture, join_all, try_join_all};

pub(super) use self::discover::connect;
pub(super) use self::key_range::Place;
pub(super) use self::reserved::Reservations;
use super::{Error, Shard, Shards, Store};

/// Maximum number of shards. The connections of a gateway grow with it.
pub const MAX_SHARDS: usize = 64;

impl Shards {
    pub(super) fn new(shards: Vec<Shard>) -> Self {
        Self(RwLock::new(shards.into()))
    }

    pub(super) fn all(&self) -> Arc<[Shard]> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Shard {
    /// Returns whether the rows of this slot are here.
    fn has(&self, slot: Slot) -> bool {
        self.inner.place.is_none_or(|place| place.range.contains(slot))
    }
}

/// A store of one shard.
impl From<Shard> for Store {
    fn from(shard: Shard) -> Self {
        Self { shard, shards: None }
    }
}

impl Store {
    /// Returns a store of each shard; only this one if the database has no shards.
    pub fn shards(&self) -> Vec<Self> {
        match &self.shards {
            None => vec![self.clone()],
            Some(shards) => shards.all().iter().cloned().map(Self::from).collect(),
        }
    }

    /// Returns whether the database has shards, so that the slots of ids matter.
    pub fn has_shards(&self) -> bool {
        self.shards.is_some() || self.shard.inner.place.is_some()
    }

    /// Returns the name of the shard, if this is a store of one.
    pub fn shard_name(&self) -> Option<&str> {
        self.shard.inner.shard_name.as_deref()
    }

    /// Returns the store of the shard that has a slot.
    pub fn of(&self, slot: Slot) -> Self {
        match &self.shards {
            None => self.clone(),
            Some(shards) => shard_of(&shards.all(), slot).clone().into(),
        }
    }

    /// Returns the index of this shard among all.
    pub fn index_of(&self, slot: Slot) -> usize {
        self.shards.as_ref().map_or(0, |shards| index_of(&shards.all(), slot))
    }

    /// Divides items by their shards, each with its index. Without shards there is one part.
    pub fn parts<T>(&self, items: Vec<T>, slot: impl Fn(&T) -> Slot) -> Vec<(Self, Vec<(usize, T)>)> {
        let numbered = items.into_iter().enumerate();
        match &self.shards {
            None => vec![(self.clone(), numbered.collect())],
            Some(shards) => {
                let all = shards.all();
                let mut parts: Vec<Vec<(usize, T)>> = all.iter().map(|_| Vec::new()).collect();
                numbered.for_each(|(n, item)| parts[index_of(&all, slot(&item))].push((n, item)));
                let parts = all.iter().cloned().map(Self::from).zip(parts);
                parts.filter(|(_, items)| !items.is_empty()).collect()
            }
        }
    }

    /// Runs `work` in every shard at once.
    ///
    /// # Errors
    /// The first one.
    async fn each<'f, T: Send>(
        &self,
        shards: &Shards,
        work: impl Fn(Shard) -> BoxFuture<'f, Result<T, Error>>,
    ) -> Result<Vec<T>, Error> {
        try_join_all(shards.all().iter().cloned().map(work)).await
    }

    /// As [`Self::each`], and continues in the other shards when one fails.
    ///
    /// # Errors
    /// The first one, after the work in all others.
    async fn each_apart<'f, T: Send>(
        &self,
        shards: &Shards,
        work: impl Fn(Shard) -> BoxFuture<'f, Result<T, Error>>,
    ) -> Result<Vec<T>, Error> {
        join_all(shards.all().iter().cloned().map(work)).await.into_iter().collect()
    }

    /// Runs `work` with the ids of each shard, in those that have some.
    ///
    /// # Errors
    /// The first one.
    async fn each_with<'f, I: Copy + Send, T: Send>(
        &self,
        shards: &Shards,
        ids: &[I],
        id: impl Fn(&I) -> OrderId,
        work: impl Fn(Shard, Vec<I>) -> BoxFuture<'f, Result<T, Error>>,
    ) -> Result<Vec<T>, Error> {
        let all = shards.all();
        let mut parts: Vec<Vec<I>> = all.iter().map(|_| Vec::new()).collect();
        ids.iter().for_each(|item| parts[index_of(&all, id(item).slot())].push(*item));
        let parts = all.iter().cloned().zip(parts).filter(|(_, ids)| !ids.is_empty());
        try_join_all(parts.map(|(shard, ids)| work(shard, ids))).await
    }

    /// Returns the shard of an order.
    fn shard_of(&self, id: OrderId) -> Shard {
        match &self.shards {
            None => self.shard.clone(),
            Some(shards) => shard_of(&shards.all(), id.slot()).clone(),
        }
    }
}

fn index_of(all: &[Shard], slot: Slot) -> usize {
    // The ranges contain every slot.
    all.iter().position(|shard| shard.has(slot)).unwrap_or_default()
}

fn shard_of(all: &[Shard], slot: Slot) -> &Shard {
    &all[index_of(all, slot)]
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::Value;

    use super::*;

    /// The methods that concern the first shard only, or that the service calls for each shard.
    const OF_ONE_SHARD: &str = "api_key api_keys api_keys_changed_since change_tenant_limits check_file_content check_primary check_replica claim_fairly clock_steps \
        commit_event_reader create_api_key create_first_api_keys create_tenant create_webhook_endpoint delete_ended_api_keys delete_webhook_endpoint dialect \
        end_webhook_leases ending_webhook_leases event_log_ends event_log_lag event_log_position_at event_log_time_after event_reader expired_claims \
        has_api_keys has_event_log has_lost_its_file hold_sweeper_lease inspect_event_log installation latest_tenant_change lease_event_reader lowest_webhook_position \
        measurement migrate_to now prune_orders prune_webhook_attempts prune_webhook_messages queue_snapshot read_event_log record_export record_key_use \
        record_webhook_attempt reencrypt_webhook_secrets release_webhook_endpoints remove_event_reader renew_webhook_endpoints replace_url \
        replica_state return_sweeper_lease revoke_api_key revoke_tracking_links rotate_api_key save_measurement save_signals save_webhook_progress save_workers set_tenant_state signals_since \
        take_webhook_leases tenant tenants tracked_tenant trim_event_log trim_webhook_attempts update_webhook_endpoint wait_until_healthy \
        webhook_attempts webhook_delivery webhook_endpoint webhook_endpoint_ids webhook_endpoint_states webhook_endpoints \
        webhook_endpoints_changed_since webhook_message_counts webhook_messages workers_since";

    /// Returns the public methods of a type in the files of this crate.
    fn methods(of: &str) -> BTreeSet<String> {
        let (mut found, mut folders) =
            (BTreeSet::new(), vec![format!("{}/src", env!("CARGO_MANIFEST_DIR")).into()]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir::<std::path::PathBuf>(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let mut is_of = false;
                for line in std::fs::read_to_string(path).unwrap().lines() {
                    if line.starts_with("impl") {
                        is_of = line == format!("impl {of} {{");
                    }
                    let method = line.strip_prefix("    pub ").map(|line| line.trim_start_matches("async "));
                    let name = method.and_then(|line| line.strip_prefix("fn "));
                    let name = name.and_then(|name| name.split(['(', '<']).next());
                    found.extend(name.filter(|_| is_of).map(str::to_owned));
                }
            }
        }
        found
    }

    /// A method of the first shard alone would silently show the orders of that shard.
    #[test]
    fn every_method_about_orders_concerns_all_shards() {
        let of_store = methods("Store");
        let missing = methods("Shard").into_iter().filter(|name| !of_store.contains(name));
        let expected: BTreeSet<String> = OF_ONE_SHARD.split_whitespace().map(str::to_owned).collect();
        assert_eq!(missing.collect::<BTreeSet<_>>(), expected);
    }

    /// The tables of the migrations, with the text of their columns. The runner of the migrations has two more.
    fn tables() -> BTreeMap<String, String> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations/mysql");
        let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        let mut tables: BTreeMap<String, String> = BTreeMap::new();
        for file in files {
            let text = std::fs::read_to_string(file).unwrap();
            let lines = text.lines().filter(|line| !line.trim_start().starts_with("--"));
            for statement in lines.collect::<Vec<_>>().join("\n").split(';') {
                let words: Vec<&str> = statement.split_whitespace().collect();
                if let ["CREATE" | "ALTER", "TABLE", name, ..] = words[..] {
                    tables.entry(name.to_owned()).or_default().push_str(statement);
                }
            }
        }
        tables
    }

    #[test]
    fn the_vschema_routes_every_table_by_one_of_its_columns() {
        let text = include_str!("../../../../migrations/vitess/vschema.json");
        let vschema: Value = serde_json::from_str(text).unwrap();
        let mut listed: BTreeSet<&str> = BTreeSet::new();
        for (table, routing) in vschema["tables"].as_object().unwrap() {
            listed.insert(table);
            if routing["type"] == "reference" {
                continue;
            }
            let [vindex] = &routing["columnVindexes"].as_array().unwrap()[..] else { panic!("{table}") };
            assert!(vschema["vindexes"][vindex["name"].as_str().unwrap()].is_object(), "{table}");
            if let Some(columns) = tables().get(table) {
                let column = vindex["column"].as_str().unwrap();
                assert!(columns.contains(&format!(" {column} ")), "{table} has no column {column}");
            }
        }
        let tables = tables();
        let made: BTreeSet<&str> =
            tables.keys().map(String::as_str).chain(["_sqlx_migrations", "migration_steps"]).collect();
        assert_eq!(listed, made);
    }

    #[test]
    fn the_limits_are_documented() {
        limits_page::row("shards of a database", &MAX_SHARDS.to_string());
    }
}
