//! External references that are unique within a tenant, for the tenants that want it.
//!
//! A row of `order_references` is written in the transaction of its order, so its primary key refuses a second order. Other
//! tenants have no rows, and their orders cost nothing: a gateway remembers for [`FRESH`] that a tenant does not want it.
//!
//! A gateway that remembers this must not miss a switch. The switch therefore waits for longer than [`FRESH`], and then
//! reads the orders with a lock, which waits for transactions in progress. An insert checks after its last statement that
//! what it remembers is still fresh; otherwise it reads the tenant with a lock. So each order is seen by the switch, or
//! sees it.
//!
//! A row states a fact about an existing order, also after the tenant has switched the rule off. Removals and erasures of
//! orders remove it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::{OrderId, TenantId};

use super::connection::Connection;
use super::create_request::{CreateRequest, InsertOutcome, TakenReference};
use super::shards::Reservations;
use super::statement::{Statement, bucketed_chunks};
use super::{Dialect, Error, rows};

/// The time for which a gateway remembers whether a tenant wants unique references.
pub(super) const FRESH: Duration = Duration::from_secs(2);

/// Maximum number of tenants of which a gateway remembers this. The next one makes it forget all.
const MAX_KNOWN: usize = 10_000;

/// What a gateway remembers of tenants: whether each wants unique references, and since when this is known.
#[derive(Clone, Default)]
pub(super) struct ReferenceRules(Arc<Mutex<HashMap<TenantId, (bool, Instant)>>>);

impl ReferenceRules {
    pub(super) fn fresh(&self, tenant: &TenantId) -> Option<(bool, Instant)> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(tenant).copied().filter(|(_, since)| since.elapsed() < FRESH)
    }

    /// Forgets what is known of a tenant.
    pub(super) fn forget(&self, tenant: &TenantId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }

    fn remember(&self, tenant: &TenantId, is_unique: bool, since: Instant) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(tenant.clone(), (is_unique, since));
    }

    /// Reads whether a tenant wants unique references, and keeps its row from changing until the transaction ends.
    pub(super) async fn read(
        &self,
        connection: &mut Connection,
        dialect: Dialect,
        tenant: &TenantId,
    ) -> Result<bool, Error> {
        let since = Instant::now();
        let mut sql = Statement::new("SELECT unique_references FROM tenants WHERE tenant_id = ?");
        sql.bind(tenant.as_str().to_owned()).push(dialect.for_share());
        let found = sql.fetch(connection).await?;
        let is_unique = found.first().map_or(Ok(0), |row| rows::number::<u8>(row, 0))? > 0;
        self.remember(tenant, is_unique, since);
        Ok(is_unique)
    }
}

/// The tenants of one transaction whose new orders have references.
#[derive(Default)]
pub(super) struct Checked {
    unique: HashSet<TenantId>,
    /// What was remembered, which has to be fresh after the last statement.
    remembered: Vec<(TenantId, bool, Instant)>,
}

impl Checked {
    /// Determines which tenants of these requests want unique references.
    pub(super) async fn new(
        connection: &mut Connection,
        dialect: Dialect,
        rules: &ReferenceRules,
        requests: &[CreateRequest],
    ) -> Result<Self, Error> {
        let mut checked = Self::default();
        let mut seen: HashSet<&TenantId> = HashSet::new();
        for request in requests {
            let has_reference = request.orders.iter().any(|order| order.external_reference.is_some());
            if !has_reference || !seen.insert(request.tenant()) {
                continue;
            }
            let tenant = request.tenant();
            let is_unique = match rules.fresh(tenant) {
                Some((is_unique, since)) => {
                    checked.remembered.push((tenant.clone(), is_unique, since));
                    is_unique
                }
                None => rules.read(connection, dialect, tenant).await?,
            };
            if is_unique {
                checked.unique.insert(tenant.clone());
            }
        }
        Ok(checked)
    }

    /// Fails, so that references are reserved again, if those of a tenant were not. Nothing else is checked here then.
    pub(super) fn rely_on(mut self, reserved: &Reservations) -> Result<Self, Error> {
        match self.unique.iter().all(|tenant| reserved.has(tenant)) {
            true => {
                self.unique.clear();
                Ok(self)
            }
            false => Err(Error::Outdated),
        }
    }

    /// Refuses the new requests with a reference that another order has.
    pub(super) async fn refuse(
        &self,
        connection: &mut Connection,
        requests: &[CreateRequest],
        committed: &HashSet<OrderId>,
        outcomes: &mut [InsertOutcome],
    ) -> Result<(), Error> {
        if self.unique.is_empty() {
            return Ok(());
        }
        let is_new = |request: &CreateRequest, outcome: &InsertOutcome| {
            *outcome == InsertOutcome::Inserted
                && !committed.contains(&request.id())
                && self.unique.contains(request.tenant())
        };
        let new = requests.iter().zip(&*outcomes).filter(|(request, outcome)| is_new(request, outcome));
        let mut taken = holders(connection, new.map(|(request, _)| request)).await?;
        for (request, outcome) in requests.iter().zip(outcomes) {
            if !is_new(request, outcome) {
                continue;
            }
            let of_tenant = taken.entry(request.tenant()).or_default();
            let mut within: HashSet<&str> = HashSet::new();
            let mut refused = Vec::new();
            for (index, order) in request.orders.iter().enumerate() {
                let Some(reference) = order.external_reference.as_deref() else { continue };
                let holder = of_tenant.get(reference).copied();
                if holder.is_some() || !within.insert(reference) {
                    refused.push(TakenReference { index, order: holder });
                }
            }
            if refused.is_empty() {
                let orders = request.orders.iter();
                of_tenant.extend(orders.filter_map(|order| {
                    order.external_reference.clone().map(|reference| (reference, order.id))
                }));
            } else {
                *outcome = InsertOutcome::ReferenceTaken(refused);
            }
        }
        Ok(())
    }

    /// Writes the references of new orders.
    pub(super) async fn insert(
        &self,
        connection: &mut Connection,
        requests: &[&CreateRequest],
    ) -> Result<(), Error> {
        if self.unique.is_empty() {
            return Ok(());
        }
        let new = requests.iter().filter(|request| self.unique.contains(request.tenant()));
        let orders = new.flat_map(|request| &*request.orders);
        let rows: Vec<_> = orders
            .filter_map(|order| Some((&order.tenant_id, order.external_reference.as_deref()?, order.id)))
            .collect();
        insert(connection, &rows).await
    }

    /// Fails, so that the transaction is repeated, when a tenant has switched the rule on while its orders were written.
    pub(super) async fn confirm(
        &self,
        connection: &mut Connection,
        dialect: Dialect,
        rules: &ReferenceRules,
    ) -> Result<(), Error> {
        for (tenant, was_unique, since) in &self.remembered {
            if since.elapsed() >= FRESH && rules.read(connection, dialect, tenant).await? && !was_unique {
                let message = "references have become unique".to_owned();
                return Err(Error::Conflict(sqlx::Error::Protocol(message)));
            }
        }
        Ok(())
    }
}

/// Returns the orders that have the references of these requests, by tenant.
async fn holders<'r>(
    connection: &mut Connection,
    requests: impl Iterator<Item = &'r CreateRequest>,
) -> Result<HashMap<&'r TenantId, HashMap<String, OrderId>>, Error> {
    let mut references: BTreeMap<&TenantId, Vec<&str>> = BTreeMap::new();
    for order in requests.flat_map(|request| &*request.orders) {
        references.entry(&order.tenant_id).or_default().extend(order.external_reference.as_deref());
    }
    let mut taken = HashMap::new();
    for (tenant, references) in references {
        taken.insert(tenant, holders_of(connection, tenant, &references).await?);
    }
    Ok(taken)
}

/// Returns the orders that have these references of a tenant.
pub(super) async fn holders_of(
    connection: &mut Connection,
    tenant: &TenantId,
    references: &[&str],
) -> Result<HashMap<String, OrderId>, Error> {
    let mut holders = HashMap::new();
    for piece in bucketed_chunks(references) {
        let mut sql = Statement::new(
            "SELECT reference, order_id FROM order_references WHERE tenant_id = ? AND reference",
        );
        sql.bind(tenant.as_str().to_owned()).push_in(piece.iter().map(|reference| reference.as_bytes()));
        for row in sql.fetch(connection).await? {
            let reference = String::from_utf8(row.get(0)?);
            let reference = reference.map_err(|_| Error::Row("a reference is not UTF-8".into()))?;
            holders.insert(reference, rows::id(&row, 1)?);
        }
    }
    Ok(holders)
}

/// Writes references with their orders.
pub(super) async fn insert(
    connection: &mut Connection,
    references: &[(&TenantId, &str, OrderId)],
) -> Result<(), Error> {
    for piece in bucketed_chunks(references) {
        let mut sql = Statement::new("INSERT INTO order_references (tenant_id, reference, order_id) VALUES ");
        sql.rows(piece.len(), "(?,?,?)");
        for (tenant, reference, order) in piece {
            sql.bind(tenant.as_str()).bind(reference.as_bytes()).bind(*order);
        }
        sql.execute(connection).await.map_err(|error| match error {
            // Another transaction has just used one of them. The repetition finds it.
            Error::Defect(error) if error.as_database_error().is_some_and(|e| e.is_unique_violation()) => {
                Error::Conflict(error)
            }
            other => other,
        })?;
    }
    Ok(())
}

/// Removes the references of these orders.
///
/// They are first read without a lock, so that this does not wait for creates in progress.
pub(super) async fn delete(connection: &mut Connection, orders: &[OrderId]) -> Result<(), Error> {
    for piece in bucketed_chunks(orders) {
        let mut sql = Statement::new("SELECT tenant_id, reference FROM order_references WHERE order_id");
        sql.push_in(piece.iter().copied());
        for row in sql.fetch(connection).await? {
            let (tenant, reference): (String, Vec<u8>) = (row.get(0)?, row.get(1)?);
            let mut sql = Statement::new(
                "DELETE FROM order_references WHERE tenant_id = ? AND reference = ? AND order_id",
            );
            sql.bind(tenant).bind(reference).push_in(piece.iter().copied());
            sql.execute(connection).await?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_documented() {
        limits_page::row(
            "tenants of which a gateway remembers whether references are unique; time",
            &format!("{}; {} s", limits_page::count(MAX_KNOWN), FRESH.as_secs()),
        );
    }
}
