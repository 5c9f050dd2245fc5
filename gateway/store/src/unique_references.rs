//! Switches the rule that external references are unique within a tenant, and finds the order of one.
//!
//! `references` describes the rule and why the switch waits.

use std::collections::HashMap;
use std::time::Duration;

use domain::{OrderId, TenantId, Timestamp};

use super::api_keys::KeyActor;
use super::connection::Connection;
use super::references::{self, FRESH};
use super::statement::Statement;
use super::{Dialect, Error, Shard, audit, rows, tenants};

/// Orders of one transaction of the switch.
const PAGE: u32 = 1_000;
/// Maximum number of duplicates that a refusal names.
pub const MAX_NAMED_DUPLICATES: usize = 10;
/// The time after which no gateway remembers that a tenant had no unique references. Clocks of processes differ in speed.
pub(super) const SETTLED: Duration = Duration::from_millis(FRESH.as_millis() as u64 * 5 / 4);

/// Two orders with one reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DuplicateReference {
    /// The reference.
    pub reference: String,
    /// An order that has it.
    pub order: OrderId,
    /// Another one.
    pub other: OrderId,
}

/// The outcome of a switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReferenceSwitch {
    /// The rule is as requested. With the rule on, this number of orders has a reference.
    Done(u64),
    /// Orders have the same reference; some of them. The rule is off.
    Duplicates(Vec<DuplicateReference>),
    /// There is no such tenant.
    NotFound,
}

impl Shard {
    /// Switches the rule that external references are unique within a tenant, with an entry in the audit log.
    ///
    /// Switching it on reads all orders of the tenant with a reference, page by page and twice, and takes at least two
    /// seconds. Creates continue meanwhile. A switch that is interrupted has to be repeated.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn set_unique_references(
        &self,
        id: &TenantId,
        unique: bool,
        actor: &KeyActor,
    ) -> Result<ReferenceSwitch, Error> {
        if self.tenant(id).await?.is_none() {
            return Ok(ReferenceSwitch::NotFound);
        }
        if !unique {
            let exists = self.write_unique_references(id, false, actor).await?;
            return Ok(if exists { ReferenceSwitch::Done(0) } else { ReferenceSwitch::NotFound });
        }
        let (_, duplicates) = self.record_references(id).await?;
        if !duplicates.is_empty() {
            return Ok(ReferenceSwitch::Duplicates(duplicates));
        }
        if !self.write_unique_references(id, true, actor).await? {
            return Ok(ReferenceSwitch::NotFound);
        }
        match self.dialect() {
            Dialect::MySql => tokio::time::sleep(SETTLED).await,
            // No other process uses the file, and its transactions wait for each other.
            Dialect::Sqlite => {}
        }
        // Orders that gateways have accepted meanwhile by what they remembered.
        let (orders, duplicates) = self.record_references(id).await?;
        if duplicates.is_empty() {
            return Ok(ReferenceSwitch::Done(orders));
        }
        self.write_unique_references(id, false, actor).await?;
        Ok(ReferenceSwitch::Duplicates(duplicates))
    }

    /// Finds the orders that have these references of a tenant, as far as they are recorded as unique.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn unique_reference_holders(
        &self,
        tenant: &TenantId,
        references: &[&str],
    ) -> Result<HashMap<String, OrderId>, Error> {
        let tenant = tenant.clone();
        let references: Vec<String> = references.iter().map(|&reference| reference.to_owned()).collect();
        self.read(move |connection| {
            Box::pin(async move {
                let references: Vec<&str> = references.iter().map(String::as_str).collect();
                references::holders_of(connection, &tenant, &references).await
            })
        })
        .await
    }

    /// Returns the orders of this shard with references after a position.
    pub(super) async fn referenced_orders(
        &self,
        id: &TenantId,
        after: Option<(String, OrderId)>,
    ) -> Result<RecordedPage, Error> {
        let for_share = self.inner.dialect.for_share();
        self.write(|connection| {
            let (id, after) = (id.clone(), after.clone());
            Box::pin(async move { page(connection, &id, after, for_share).await })
        })
        .await
    }

    /// Writes the rule to a shard that is not the first one.
    pub(super) async fn copy_unique_references(&self, id: &TenantId, unique: bool) -> Result<(), Error> {
        let now = self.now().as_micros();
        let written = self.write(|connection| {
            let id = id.clone();
            Box::pin(async move {
                let mut sql = Statement::new(
                    "INSERT INTO tenants (tenant_id, name, created_at, changed_at, unique_references) \
                     VALUES (?, '', ?, ?, ?) ON DUPLICATE KEY UPDATE unique_references = VALUES(unique_references)",
                );
                sql.bind(id.as_str().to_owned()).bind(now).bind(now).bind(i64::from(unique));
                sql.execute(connection).await.map(drop)
            })
        });
        written.await?;
        self.inner.reference_rules.forget(id);
        Ok(())
    }

    /// Returns whether the tenant exists.
    pub(super) async fn write_unique_references(
        &self,
        id: &TenantId,
        unique: bool,
        actor: &KeyActor,
    ) -> Result<bool, Error> {
        let now = self.now();
        let for_update = self.inner.dialect.for_update();
        let written = self
            .write(|connection| {
                let (id, actor) = (id.clone(), actor.clone());
                Box::pin(async move {
                    let mut sql = Statement::new("SELECT unique_references FROM tenants WHERE tenant_id = ?");
                    sql.bind(id.as_str().to_owned()).push(for_update);
                    let found = sql.fetch(connection).await?;
                    let Some(row) = found.first() else { return Ok(false) };
                    if (rows::number::<u8>(row, 0)? > 0) != unique {
                        set(connection, &id, unique, now).await?;
                        let detail = Some(format!("unique references {}", if unique { "on" } else { "off" }));
                        let entry = tenants::entry(&id, actor, "tenant.update", detail, now);
                        audit::record(connection, &entry).await?;
                    }
                    Ok(true)
                })
            })
            .await;
        self.inner.reference_rules.forget(id);
        written
    }

    /// Writes the references of all orders of a tenant. Returns the number of orders, and some duplicates.
    async fn record_references(&self, id: &TenantId) -> Result<(u64, Vec<DuplicateReference>), Error> {
        let for_share = self.inner.dialect.for_share();
        let (mut orders, mut duplicates) = (0, Vec::new());
        let mut after: Option<(String, OrderId)> = None;
        loop {
            let page = self.write(|connection| {
                let (id, after) = (id.clone(), after.clone());
                Box::pin(async move {
                    let page = page(connection, &id, after, for_share).await?;
                    record(connection, &id, page).await
                })
            });
            let (page, found) = page.await?;
            orders += page.orders.len() as u64;
            duplicates.extend(found);
            duplicates.truncate(MAX_NAMED_DUPLICATES);
            if page.next.is_none() || duplicates.len() == MAX_NAMED_DUPLICATES {
                return Ok((orders, duplicates));
            }
            after = page.next;
        }
    }
}

async fn set(connection: &mut Connection, id: &TenantId, unique: bool, now: Timestamp) -> Result<(), Error> {
    let mut sql =
        Statement::new("UPDATE tenants SET unique_references = ?, changed_at = ? WHERE tenant_id = ?");
    sql.bind(i64::from(unique)).bind(now.as_micros()).bind(id.as_str().to_owned());
    sql.execute(connection).await.map(drop)
}

/// Orders with references.
pub(super) struct RecordedPage {
    pub(super) orders: Vec<(String, OrderId)>,
    /// The last order, if more may follow.
    pub(super) next: Option<(String, OrderId)>,
}

/// Reads the references of the orders after a position. A replaced order has given its reference to its successor. The read
/// waits for creates in progress.
async fn page(
    connection: &mut Connection,
    tenant: &TenantId,
    after: Option<(String, OrderId)>,
    for_share: &str,
) -> Result<RecordedPage, Error> {
    let mut sql = Statement::new(
        "SELECT external_reference, id FROM orders WHERE tenant_id = ? AND replaced_by IS NULL",
    );
    sql.bind(tenant.as_str().to_owned());
    match after {
        Some((reference, id)) => {
            sql.push(" AND external_reference >= ? AND (external_reference > ? OR id > ?)");
            sql.bind(reference.clone()).bind(reference).bind(id);
        }
        None => {
            sql.push(" AND external_reference IS NOT NULL");
        }
    }
    sql.push(" ORDER BY external_reference, id LIMIT ?").bind(i64::from(PAGE)).push(for_share);
    let found = sql.fetch(connection).await?;
    let found = found.iter().map(|row| Ok((row.get::<String>(0)?, rows::id(row, 1)?)));
    let orders: Vec<(String, OrderId)> = found.collect::<Result<_, Error>>()?;
    let next = orders.last().filter(|_| orders.len() == PAGE as usize).cloned();
    Ok(RecordedPage { orders, next })
}

/// Writes the references of these orders. Returns the page and the duplicates.
pub(super) async fn record(
    connection: &mut Connection,
    tenant: &TenantId,
    page: RecordedPage,
) -> Result<(RecordedPage, Vec<DuplicateReference>), Error> {
    let names: Vec<&str> = page.orders.iter().map(|(reference, _)| reference.as_str()).collect();
    let mut holders = references::holders_of(connection, tenant, &names).await?;
    let (mut new, mut duplicates) = (Vec::new(), Vec::new());
    for (reference, id) in &page.orders {
        match holders.get(reference) {
            Some(holder) if holder == id => {}
            Some(holder) => duplicates.push(DuplicateReference {
                reference: reference.clone(),
                order: *holder,
                other: *id,
            }),
            None => {
                holders.insert(reference.clone(), *id);
                new.push((tenant, reference.as_str(), *id));
            }
        }
    }
    references::insert(connection, &new).await?;
    Ok((page, duplicates))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_documented() {
        limits_page::row(
            "duplicates that a switch to unique references names",
            &limits_page::count(MAX_NAMED_DUPLICATES),
        );
    }
}
