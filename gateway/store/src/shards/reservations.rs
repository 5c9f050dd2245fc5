//! Unique references in a database with shards: a reference is reserved in the shard that it hashes to, before its order is
//! written in another one, and released if no order follows.
//!
//! A reservation is a row of `order_references`, as the reference of an order is. A gateway that ends between the two leaves a
//! reservation without an order. The next create with the reference then finds that the order does not exist, and takes the
//! reservation over once its transaction must have ended ([`ABANDONED_AFTER`]).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use domain::{OrderId, Slot, TenantId, Timestamp};

use super::reserved::{Reservations, Row};
use super::{index_of, shard_of};
use crate::connection::Connection;
use crate::create_request::CreateRequest;
use crate::statement::Statement;
use crate::{Error, Shard, Shards, references};

/// Time after which an order that does not exist will not be written: far longer than the deadlines of its transaction.
const ABANDONED_AFTER: Duration = Duration::from_secs(60);

impl Shard {
    fn siblings(&self) -> Option<Arc<Shards>> {
        self.inner.siblings.get()?.upgrade()
    }

    /// Reserves the references of requests whose tenants want unique ones. `replaced` may have one of them, and keeps it.
    ///
    /// # Errors
    /// [`Error`] of this shard.
    pub(crate) async fn reserve(
        &self,
        requests: &[CreateRequest],
        replaced: Option<OrderId>,
    ) -> Result<Reservations, Error> {
        let mut reserved = Reservations::default();
        let Some(siblings) = self.siblings() else { return Ok(reserved) };
        let with_references = requests
            .iter()
            .filter(|request| request.orders.iter().any(|order| order.external_reference.is_some()));
        let with_references: Vec<&CreateRequest> = with_references.collect();
        let tenants: HashSet<&TenantId> = with_references.iter().map(|request| request.tenant()).collect();
        for tenant in tenants {
            if self.wants_unique_references(tenant).await? {
                reserved.tenants.insert(tenant.clone());
            }
        }
        if reserved.tenants.is_empty() {
            return Ok(reserved);
        }
        let all = siblings.all();
        let mut rows: BTreeMap<usize, Vec<Row>> = BTreeMap::new();
        let mut seen: HashMap<(&TenantId, &str), OrderId> = HashMap::new();
        let unique = reserved.tenants.clone();
        for request in with_references.iter().filter(|request| unique.contains(request.tenant())) {
            for (index, order) in request.orders.iter().enumerate() {
                let Some(reference) = order.external_reference.as_deref() else { continue };
                if let Some(earlier) = seen.insert((request.tenant(), reference), order.id) {
                    // Of the same request, or of another one in this transaction.
                    let is_same = request.orders.iter().any(|order| order.id == earlier);
                    reserved.refuse_row(request.id(), index, (!is_same).then_some(earlier));
                    seen.insert((request.tenant(), reference), earlier);
                    continue;
                }
                let row = Row {
                    tenant: request.tenant().clone(),
                    reference: reference.to_owned(),
                    order: order.id,
                    request: request.id(),
                    index,
                };
                rows.entry(index_of(&all, Slot::of(reference.as_bytes()))).or_default().push(row);
            }
        }
        for (shard, rows) in rows {
            match reserve_in(&all, &all[shard], &rows, replaced).await {
                Ok(holders) => {
                    for (row, holder) in rows.into_iter().zip(holders) {
                        match holder {
                            Some(holder) if Some(holder) == replaced => {}
                            Some(holder) => reserved.refuse_row(row.request, row.index, Some(holder)),
                            None => reserved.rows.push(row),
                        }
                    }
                }
                Err(error) => {
                    tracing::debug!(shard = all[shard].inner.shard_name, %error, "failed to reserve references");
                    reserved.refused.extend(rows.into_iter().map(|row| (row.request, None)));
                }
            }
        }
        Ok(reserved)
    }

    /// Releases the reservations of requests for which `is_written` is false. What cannot be released is taken over later.
    pub(crate) async fn release(&self, reserved: &Reservations, is_written: impl Fn(OrderId) -> bool) {
        let rows = reserved.rows.iter().filter(|row| !is_written(row.request)).cloned();
        self.at_references(rows.collect(), |connection, rows| {
            Box::pin(async move {
                for row in &rows {
                    let mut sql = Statement::new(
                        "DELETE FROM order_references WHERE tenant_id = ? AND reference = ? AND order_id = ?",
                    );
                    sql.bind(row.tenant.as_str().to_owned())
                        .bind(row.reference.as_bytes().to_vec())
                        .bind(row.order);
                    sql.execute(connection).await?;
                }
                Ok(())
            })
        })
        .await;
    }

    /// Gives the references of a replaced order to its successor, and removes those that the successor does not have.
    pub(crate) async fn pass_references(&self, old: OrderId, new: &CreateRequest) {
        let orders = new.orders.iter().enumerate();
        let rows = orders.filter_map(|(index, order)| {
            let (tenant, reference) = (order.tenant_id.clone(), order.external_reference.clone()?);
            Some(Row { tenant, reference, order: order.id, request: new.id(), index })
        });
        self.at_references(rows.collect(), move |connection, rows| {
            Box::pin(async move {
                for row in &rows {
                    take_over(connection, row, old).await?;
                }
                Ok(())
            })
        })
        .await;
        self.forget_references(&[old]).await;
    }

    /// Removes the references of removed orders from the other shards.
    pub(crate) async fn forget_references(&self, orders: &[OrderId]) {
        let Some(siblings) = self.siblings() else { return };
        for shard in &*siblings.all() {
            let removed = shard.write(|connection| {
                let orders = orders.to_vec();
                Box::pin(async move { references::delete(connection, &orders).await })
            });
            if let Err(error) = removed.await {
                tracing::debug!(shard = shard.inner.shard_name, %error, "failed to remove references, the next orders take them over");
            }
        }
    }

    /// Runs `work` in the shards of references, and only logs a failure.
    async fn at_references(
        &self,
        rows: Vec<Row>,
        work: impl for<'c> Fn(&'c mut Connection, Vec<Row>) -> crate::Work<'c, ()> + Send + Sync,
    ) {
        let Some(siblings) = self.siblings() else { return };
        let all = siblings.all();
        let mut by_shard: BTreeMap<usize, Vec<Row>> = BTreeMap::new();
        for row in rows {
            by_shard.entry(index_of(&all, Slot::of(row.reference.as_bytes()))).or_default().push(row);
        }
        for (shard, rows) in by_shard {
            if let Err(error) = all[shard].write(|connection| work(connection, rows.clone())).await {
                tracing::debug!(shard = all[shard].inner.shard_name, %error, "failed to change references");
            }
        }
    }

    /// Returns whether a tenant wants unique references, as far as this gateway knows.
    async fn wants_unique_references(&self, tenant: &TenantId) -> Result<bool, Error> {
        let rules = self.inner.reference_rules.clone();
        if let Some((is_unique, _)) = rules.fresh(tenant) {
            return Ok(is_unique);
        }
        let (dialect, tenant) = (self.inner.dialect, tenant.clone());
        self.write(|connection| {
            let (rules, tenant) = (rules.clone(), tenant.clone());
            Box::pin(async move { rules.read(connection, dialect, &tenant).await })
        })
        .await
    }
}

/// Reserves references in their shard. Returns the order that has each, if it is another one.
async fn reserve_in(
    all: &[Shard],
    shard: &Shard,
    rows: &[Row],
    replaced: Option<OrderId>,
) -> Result<Vec<Option<OrderId>>, Error> {
    let found = shard.write(|connection| {
        let rows = rows.to_vec();
        Box::pin(async move {
            let mut by_tenant: BTreeMap<&TenantId, Vec<&Row>> = BTreeMap::new();
            rows.iter().for_each(|row| by_tenant.entry(&row.tenant).or_default().push(row));
            let mut holders: HashMap<OrderId, OrderId> = HashMap::new();
            for (tenant, rows) in by_tenant {
                let names: Vec<&str> = rows.iter().map(|row| row.reference.as_str()).collect();
                let taken = references::holders_of(connection, tenant, &names).await?;
                let mut new = Vec::new();
                for row in rows {
                    match taken.get(&row.reference) {
                        Some(holder) => drop(holders.insert(row.order, *holder)),
                        None => new.push((tenant, row.reference.as_str(), row.order)),
                    }
                }
                references::insert(connection, &new).await?;
            }
            Ok(rows.iter().map(|row| holders.get(&row.order).copied()).collect::<Vec<_>>())
        })
    });
    let mut holders = found.await?;
    let before = shard.now() - ABANDONED_AFTER;
    for (row, holder) in rows.iter().zip(&mut holders) {
        match *holder {
            // An earlier try of this create.
            Some(order) if order == row.order => *holder = None,
            Some(order) if Some(order) != replaced && is_abandoned(all, order, before).await? => {
                let taken = shard.write(|connection| {
                    let row = row.clone();
                    Box::pin(async move { take_over(connection, &row, order).await })
                });
                if taken.await? {
                    *holder = None;
                }
            }
            Some(_) | None => {}
        }
    }
    Ok(holders)
}

/// Returns whether an order does not exist and will not be written.
async fn is_abandoned(all: &[Shard], order: OrderId, before: Timestamp) -> Result<bool, Error> {
    Ok(order.time() < before && shard_of(all, order.slot()).versions(&[order]).await?.is_empty())
}

/// Gives a reference to another order. Returns whether the first one had it.
async fn take_over(connection: &mut Connection, row: &Row, from: OrderId) -> Result<bool, Error> {
    let mut sql = Statement::new(
        "UPDATE order_references SET order_id = ? WHERE tenant_id = ? AND reference = ? AND order_id = ?",
    );
    sql.bind(row.order)
        .bind(row.tenant.as_str().to_owned())
        .bind(row.reference.as_bytes().to_vec())
        .bind(from);
    Ok(sql.execute(connection).await? == 1)
}
