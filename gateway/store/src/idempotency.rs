//! Idempotency keys. A key is written in the transaction of its order, so neither exists without the other.
//!
//! Two creates with one key at the same time conflict at the primary key: the second waits for the first to commit,
//! fails, and is repeated as a whole; then it finds the key.

use std::collections::{BTreeMap, HashMap};

use domain::{IdempotencyKey, OrderId, Principal, Status, TenantId};

use super::connection::Connection;
use super::create_request::{CreateRequest, Idempotency, NewOrder};
use super::read::FoundOrders;
use super::row::Row;
use super::statement::{Statement, bucketed_chunks};
use super::{Error, Shard, rows};

/// Expired keys that one transaction removes.
const PRUNED: i64 = 1_000;

/// The keys that are in use, by tenant, with the hash and the order of each.
///
/// Equal keys of two tenants are different keys.
#[derive(Default)]
pub(super) struct UsedKeys(HashMap<TenantId, HashMap<Vec<u8>, KeyUse>>);

/// The hash of the request that used a key, and its first order.
type KeyUse = ([u8; 32], OrderId);

impl UsedKeys {
    pub(super) fn get(&self, tenant: &TenantId, key: &IdempotencyKey) -> Option<&KeyUse> {
        self.0.get(tenant)?.get(key.as_bytes())
    }

    pub(super) fn insert(&mut self, tenant: &TenantId, key: &[u8], hash: [u8; 32], order: OrderId) {
        self.0.entry(tenant.clone()).or_default().insert(key.to_vec(), (hash, order));
    }
}

/// Returns which of the keys of these requests are in use.
pub(super) async fn used_keys(
    connection: &mut Connection,
    requests: impl Iterator<Item = &CreateRequest>,
) -> Result<UsedKeys, Error> {
    let mut keys: BTreeMap<&TenantId, Vec<&[u8]>> = BTreeMap::new();
    for request in requests {
        if let Some(idempotency) = &request.idempotency {
            keys.entry(request.tenant()).or_default().push(idempotency.key.as_bytes());
        }
    }
    let mut used = UsedKeys::default();
    for (tenant, keys) in keys {
        for piece in bucketed_chunks(&keys) {
            let mut sql = Statement::new(
                "SELECT idempotency_key, request_hash, order_id FROM idempotency_keys WHERE tenant_id = ? \
                 AND idempotency_key",
            );
            sql.bind(tenant.as_str()).push_in(piece.iter().copied());
            for row in sql.fetch(connection).await? {
                let hash: Vec<u8> = row.get(1)?;
                let hash = hash.try_into().map_err(|_| Error::Row("a hash does not have 32 bytes".into()))?;
                used.insert(tenant, row.get(0)?, hash, rows::id(&row, 2)?);
            }
        }
    }
    Ok(used)
}

/// Writes the keys of new requests.
pub(super) async fn insert_keys(
    connection: &mut Connection,
    requests: &[&CreateRequest],
) -> Result<(), Error> {
    let keyed: Vec<(&NewOrder, &Idempotency)> = requests
        .iter()
        .filter_map(|request| request.idempotency.as_ref().map(|key| (&request.orders[0], key)))
        .collect();
    for piece in bucketed_chunks(&keyed) {
        let mut sql = Statement::new(
            "INSERT INTO idempotency_keys (tenant_id, idempotency_key, request_hash, order_id, created_at, \
             expires_at) VALUES ",
        );
        sql.rows(piece.len(), "(?,?,?,?,?,?)");
        for (order, idempotency) in piece {
            sql.bind(order.tenant_id.as_str())
                .bind(idempotency.key.as_bytes())
                .bind(idempotency.request_hash.as_slice())
                .bind(order.id)
                .bind(order.created_at.as_micros())
                .bind(idempotency.expires_at.as_micros());
        }
        sql.execute(connection).await.map_err(|error| match error {
            // Another transaction has just used one of the keys. The repetition finds it.
            Error::Defect(error) if error.as_database_error().is_some_and(|e| e.is_unique_violation()) => {
                Error::Conflict(error)
            }
            other => other,
        })?;
    }
    Ok(())
}

/// Removes the keys of these orders. They are first read without a lock, so that this does not wait for creates in
/// progress.
pub(super) async fn delete_keys(connection: &mut Connection, orders: &[OrderId]) -> Result<(), Error> {
    for piece in bucketed_chunks(orders) {
        let mut sql =
            Statement::new("SELECT tenant_id, idempotency_key FROM idempotency_keys WHERE order_id");
        sql.push_in(piece.iter().copied());
        for (tenant, keys) in by_tenant(&sql.fetch(connection).await?)? {
            for keys in bucketed_chunks(&keys) {
                let mut sql =
                    Statement::new("DELETE FROM idempotency_keys WHERE tenant_id = ? AND idempotency_key");
                sql.bind(tenant.clone()).push_in(keys.iter().cloned()).push(" AND order_id");
                sql.push_in(piece.iter().copied());
                sql.execute(connection).await?;
            }
        }
    }
    Ok(())
}

/// Groups keys by their tenant, from rows of both columns.
fn by_tenant(rows: &[Row]) -> Result<BTreeMap<String, Vec<Vec<u8>>>, Error> {
    let mut keys: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for row in rows {
        keys.entry(row.get(0)?).or_default().push(row.get(1)?);
    }
    Ok(keys)
}

impl Shard {
    /// Removes the key of a create whose orders no longer exist, all or some of them.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn forget_key_of(&self, first: OrderId) -> Result<(), Error> {
        self.write(|connection| Box::pin(async move { delete_keys(connection, &[first]).await })).await
    }

    /// Returns those of the orders that exist as they were directly after their request, sorted by id.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn orders_as_created(
        &self,
        principal: &Principal,
        ids: &[OrderId],
    ) -> Result<FoundOrders, Error> {
        let mut found = self.find(principal, ids).await?;
        for order in &mut found.orders {
            order.status = Status::Pending;
            order.version = 1;
            order.attempt = 0;
            order.failures = 0;
            order.not_before = order.process_after.map_or(order.created_at, |at| at.max(order.created_at));
            order.reason = None;
            order.error_class = None;
            order.replaced_by = None;
            order.updated_at = order.created_at;
        }
        found.orders.sort_unstable_by_key(|order| order.id);
        Ok(found)
    }

    /// Removes a limited number of expired keys. Returns whether more may exist.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn prune_idempotency_keys(&self) -> Result<bool, Error> {
        let now = self.steady_now().await?.as_micros();
        self.write(|connection| {
            Box::pin(async move {
                let mut sql = Statement::new(
                    "SELECT tenant_id, idempotency_key FROM idempotency_keys WHERE expires_at <= ? LIMIT ?",
                );
                sql.bind(now).bind(PRUNED);
                let found = sql.fetch(connection).await?;
                for (tenant, keys) in by_tenant(&found)? {
                    for piece in bucketed_chunks(&keys) {
                        let mut sql = Statement::new(
                            "DELETE FROM idempotency_keys WHERE expires_at <= ? AND tenant_id = ? \
                             AND idempotency_key",
                        );
                        sql.bind(now).bind(tenant.clone()).push_in(piece.iter().cloned());
                        sql.execute(connection).await?;
                    }
                }
                Ok(found.len() as i64 == PRUNED)
            })
        })
        .await
    }
}
