//! The rule of unique references in every shard. Each shard has a copy of it, which its creates read.

use std::collections::{BTreeMap, HashMap};

use domain::{OrderId, Slot, TenantId};

use super::{index_of, shard_of};
use crate::api_keys::KeyActor;
use crate::unique_references::{RecordedPage, SETTLED, record};
use crate::{DuplicateReference, Error, MAX_NAMED_DUPLICATES, ReferenceSwitch, Store};

impl Store {
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
        let Some(shards) = &self.shards else {
            return self.shard.set_unique_references(id, unique, actor).await;
        };
        if self.shard.tenant(id).await?.is_none() {
            return Ok(ReferenceSwitch::NotFound);
        }
        if unique {
            let (_, duplicates) = self.record_references(id).await?;
            if !duplicates.is_empty() {
                return Ok(ReferenceSwitch::Duplicates(duplicates));
            }
        }
        let write = |unique| async move {
            if !self.shard.write_unique_references(id, unique, actor).await? {
                return Ok(false);
            }
            for shard in shards.all().iter().skip(1) {
                shard.copy_unique_references(id, unique).await?;
            }
            Ok::<_, Error>(true)
        };
        if !write(unique).await? {
            return Ok(ReferenceSwitch::NotFound);
        }
        if !unique {
            return Ok(ReferenceSwitch::Done(0));
        }
        tokio::time::sleep(SETTLED).await;
        // Orders that gateways have accepted meanwhile by what they remembered.
        let (orders, duplicates) = self.record_references(id).await?;
        if duplicates.is_empty() {
            return Ok(ReferenceSwitch::Done(orders));
        }
        write(false).await?;
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
        let Some(shards) = &self.shards else {
            return self.shard.unique_reference_holders(tenant, references).await;
        };
        let all = shards.all();
        let mut by_shard: BTreeMap<usize, Vec<&str>> = BTreeMap::new();
        for reference in references {
            by_shard.entry(index_of(&all, Slot::of(reference.as_bytes()))).or_default().push(*reference);
        }
        let mut holders = HashMap::new();
        for (shard, references) in by_shard {
            holders.extend(all[shard].unique_reference_holders(tenant, &references).await?);
        }
        Ok(holders)
    }

    /// Writes the references of all orders of a tenant. Returns the number of orders, and some duplicates.
    async fn record_references(&self, id: &TenantId) -> Result<(u64, Vec<DuplicateReference>), Error> {
        let (mut orders, mut duplicates) = (0, Vec::new());
        for store in self.shards() {
            let mut after = None;
            loop {
                let page = store.shard.referenced_orders(id, after).await?;
                orders += page.orders.len() as u64;
                let mut by_shard: BTreeMap<u8, Vec<(String, OrderId)>> = BTreeMap::new();
                for (reference, order) in page.orders {
                    let slot = Slot::of(reference.as_bytes());
                    by_shard.entry(slot.0).or_default().push((reference, order));
                }
                for (slot, found) in by_shard {
                    duplicates.extend(self.record_in(Slot(slot), id, found).await?);
                }
                duplicates.truncate(MAX_NAMED_DUPLICATES);
                after = page.next;
                if after.is_none() || duplicates.len() == MAX_NAMED_DUPLICATES {
                    break;
                }
            }
        }
        Ok((orders, duplicates))
    }

    async fn record_in(
        &self,
        slot: Slot,
        tenant: &TenantId,
        found: Vec<(String, OrderId)>,
    ) -> Result<Vec<DuplicateReference>, Error> {
        let Some(shards) = &self.shards else { return Ok(Vec::new()) };
        let all = shards.all();
        shard_of(&all, slot)
            .write(|connection| {
                let (tenant, found) = (tenant.clone(), found.clone());
                Box::pin(async move {
                    Ok(record(connection, &tenant, RecordedPage { orders: found, next: None }).await?.1)
                })
            })
            .await
    }
}
