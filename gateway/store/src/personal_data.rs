//! Personal data of a customer: erases it from final orders, and records each use of it.
//!
//! An order that is not final needs its customer for its processing, so it is not changed.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use domain::{OrderId, Requester, TenantId, Timestamp};
use sha2::{Digest, Sha256};

use super::audit::{self, AuditEntry};
use super::connection::Connection;
use super::statement::Statement;
use super::{Error, Shard, references, rows};

/// Maximum number of orders that one transaction changes.
const BATCH: u32 = 256;
/// Length of the hash in a pseudonym, in bytes.
const HASH_BYTES: usize = 12;
/// What replaces the reasons of events.
const ERASED: &str = "erased";

/// The outcome of an erasure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Erasure {
    /// Orders that were changed.
    pub orders: u64,
    /// Orders of the customer that are not final, and were not changed.
    pub open: u64,
}

impl Shard {
    /// Replaces the customer of final orders by a pseudonym, and removes their external reference, their metadata,
    /// their reasons and what their notes say.
    ///
    /// Each transaction writes an entry to the audit log. Orders that were changed before an error stay changed;
    /// repeating the call continues.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn erase_customer(
        &self,
        tenant: &TenantId,
        customer: &str,
        requester: &Requester,
    ) -> Result<Erasure, Error> {
        let pseudonym = self.pseudonym(tenant, customer).await?;
        let mut erasure = Erasure::default();
        loop {
            let batch = self.erase_batch(tenant, customer, &pseudonym, requester).await?;
            erasure.orders += batch;
            if batch < u64::from(BATCH) {
                break;
            }
        }
        erasure.open = self.count_of_customer(tenant, customer).await?;
        Ok(erasure)
    }

    /// Writes an entry about an export of the data of a customer to the audit log.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn record_export(
        &self,
        tenant: &TenantId,
        customer: &str,
        orders: u64,
        requester: &Requester,
    ) -> Result<(), Error> {
        let pseudonym = self.pseudonym(tenant, customer).await?;
        let entry = entry("customer.export", tenant, &pseudonym, orders, requester, self.now());
        self.write(|connection| {
            let entry = entry.clone();
            Box::pin(async move { audit::record(connection, &entry).await })
        })
        .await
    }

    async fn erase_batch(
        &self,
        tenant: &TenantId,
        customer: &str,
        pseudonym: &str,
        requester: &Requester,
    ) -> Result<u64, Error> {
        let (now, for_update) = (self.now(), self.inner.dialect.for_update());
        let erased = self.write(|connection| {
            let (tenant, customer, pseudonym) = (tenant.clone(), customer.to_owned(), pseudonym.to_owned());
            let requester = requester.clone();
            Box::pin(async move {
                let mut sql = Statement::new(
                    "SELECT id FROM orders WHERE tenant_id = ? AND customer = ? AND status IN ('completed', 'failed', \
                     'cancelled') ORDER BY id LIMIT ?",
                );
                sql.bind(tenant.as_str().to_owned()).bind(customer).bind(i64::from(BATCH)).push(for_update);
                let found = sql.fetch(connection).await?;
                let ids = found.iter().map(|row| rows::id(row, 0)).collect::<Result<Vec<_>, _>>()?;
                if ids.is_empty() {
                    return Ok(ids);
                }
                erase(connection, &ids, &pseudonym).await?;
                let orders = ids.len() as u64;
                let entry = entry("customer.erase", &tenant, &pseudonym, orders, &requester, now);
                audit::record(connection, &entry).await?;
                Ok(ids)
            })
        });
        let erased = erased.await?;
        self.forget_references(&erased).await;
        Ok(erased.len() as u64)
    }

    async fn count_of_customer(&self, tenant: &TenantId, customer: &str) -> Result<u64, Error> {
        let (tenant, customer) = (tenant.as_str().to_owned(), customer.to_owned());
        self.read(move |connection| {
            Box::pin(async move {
                let mut sql =
                    Statement::new("SELECT COUNT(*) FROM orders WHERE tenant_id = ? AND customer = ?");
                sql.bind(tenant).bind(customer);
                let found = sql.fetch(connection).await?;
                found.first().map_or(Ok(0), |row| rows::number(row, 0))
            })
        })
        .await
    }

    /// Returns the pseudonym of a customer. It does not reveal the name, and differs in each installation.
    async fn pseudonym(&self, tenant: &TenantId, customer: &str) -> Result<String, Error> {
        let secret = self.installation().await?.secret;
        Ok(pseudonym(&secret, tenant, customer))
    }
}

fn entry(
    action: &str,
    tenant: &TenantId,
    pseudonym: &str,
    orders: u64,
    requester: &Requester,
    at: Timestamp,
) -> AuditEntry {
    AuditEntry {
        id: OrderId::new(at),
        tenant: tenant.clone(),
        at,
        actor: requester.name.to_string(),
        action: action.to_owned(),
        target: pseudonym.to_owned(),
        request_id: requester.request_id.clone(),
        detail: Some(format!("{orders} orders")),
    }
}

fn pseudonym(secret: &[u8; 32], tenant: &TenantId, customer: &str) -> String {
    let mut hash = Sha256::new();
    for part in [&secret[..], b"customer", tenant.as_str().as_bytes(), customer.as_bytes()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    format!("erased:{}", BASE64_URL_SAFE_NO_PAD.encode(&hash.finalize()[..HASH_BYTES]))
}

async fn erase(connection: &mut Connection, ids: &[OrderId], pseudonym: &str) -> Result<(), Error> {
    let mut sql = Statement::new(
        "UPDATE orders SET customer = ?, external_reference = NULL, metadata = NULL, \
         reason = CASE WHEN reason IS NULL THEN NULL ELSE ? END, \
         previous_reason = CASE WHEN previous_reason IS NULL THEN NULL ELSE ? END WHERE id",
    );
    sql.bind(pseudonym.to_owned()).bind(ERASED.to_owned()).bind(ERASED.to_owned());
    sql.push_in_padded(ids.iter().copied());
    sql.execute(connection).await?;
    references::delete(connection, ids).await?;
    let mut sql = Statement::new("UPDATE order_events SET reason = ? WHERE reason IS NOT NULL AND order_id");
    sql.bind(ERASED.to_owned()).push_in_padded(ids.iter().copied());
    sql.execute(connection).await?;
    let mut sql = Statement::new("DELETE FROM order_outputs WHERE order_id");
    sql.push_in_padded(ids.iter().copied());
    sql.execute(connection).await?;
    let mut sql = Statement::new("UPDATE order_notes SET body = ? WHERE order_id");
    sql.bind(ERASED.to_owned()).push_in_padded(ids.iter().copied());
    sql.execute(connection).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_belongs_to_an_installation_and_a_tenant() {
        let (default, shop) = (TenantId::default(), "shop".parse().unwrap());
        let ann = pseudonym(&[1; 32], &default, "Ann");
        assert_eq!(ann, pseudonym(&[1; 32], &default, "Ann"));
        assert!(ann.starts_with("erased:") && ann.len() == "erased:".len() + 16, "{ann}");
        for other in [
            pseudonym(&[2; 32], &default, "Ann"),
            pseudonym(&[1; 32], &shop, "Ann"),
            pseudonym(&[1; 32], &default, "Bob"),
        ] {
            assert_ne!(ann, other);
        }
    }
}
