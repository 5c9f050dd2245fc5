//! Lists over all shards: each shard reads its part of a page, and the parts are merged in the sort of the list.
//!
//! Cursors name an order and not an offset, so one cursor serves every shard.

use std::cmp::Ordering;
use std::hash::RandomState;

use domain::query::{Filter, Position, Sort};
use domain::{Order, OrderId, Principal, TenantId, WorkerName};

use crate::audit::AuditEntry;
use crate::list::newest_first;
use crate::{
    DeadLetterGroups, Error, ExportPage, Listed, MAX_AUDIT_PAGE, MAX_WORKER_ORDERS, Scan, Scanned,
    SearchPass, Store, WorkerOrder,
};

impl Store {
    /// Returns up to `limit` readable orders of the caller's tenant that match, with ids below `after`, newest first.
    ///
    /// # Errors
    /// As [`Self::scan`].
    pub async fn list(
        &self,
        principal: &Principal,
        filter: &Filter,
        after: Option<OrderId>,
        limit: u32,
    ) -> Result<Vec<Order>, Error> {
        let Some(shards) = &self.shards else {
            return self.shard.list(principal, filter, after, limit).await;
        };
        let parts = self
            .each(shards, |shard| Box::pin(async move { shard.list(principal, filter, after, limit).await }));
        let mut orders: Vec<Order> = parts.await?.into_iter().flatten().collect();
        orders.sort_unstable_by_key(|order| std::cmp::Reverse(order.id));
        orders.truncate(limit as usize);
        Ok(orders)
    }

    /// Returns their ids.
    ///
    /// # Errors
    /// As [`Self::scan`].
    pub async fn list_ids(
        &self,
        principal: &Principal,
        filter: &Filter,
        after: Option<OrderId>,
        limit: u32,
    ) -> Result<Vec<OrderId>, Error> {
        let Some(shards) = &self.shards else {
            return self.shard.list_ids(principal, filter, after, limit).await;
        };
        let parts = self.each(shards, |shard| {
            Box::pin(async move { shard.list_ids(principal, filter, after, limit).await })
        });
        Ok(merged_ids(parts.await?, newest_first(filter, after, limit).sort, limit))
    }

    /// Reads orders of the caller's tenant in the sequence of a list, until they take about `bytes` bytes.
    ///
    /// The read begins at a position and returns at least one order, if there is any. A search may read a replica.
    ///
    /// # Errors
    /// [`Error::TooMuchToRead`] when the database answers and this takes too long all the same, and
    /// [`Error::TooManySearches`].
    pub async fn scan(
        &self,
        principal: &Principal,
        scan: Scan,
        bytes: usize,
        pass: &mut SearchPass,
    ) -> Result<Scanned, Error> {
        let Some(shards) = &self.shards else { return self.shard.scan(principal, scan, bytes, pass).await };
        let (sort, limit) = (scan.sort, scan.limit);
        let parts = self.each(shards, |shard| {
            let scan = scan.clone();
            Box::pin(async move { shard.scan(principal, scan, bytes, &mut SearchPass::default()).await })
        });
        Ok(merged(parts.await?, sort, limit, bytes))
    }

    /// Returns the ids of these orders.
    ///
    /// # Errors
    /// As [`Self::scan`].
    pub async fn scan_ids(
        &self,
        principal: &Principal,
        scan: Scan,
        pass: &mut SearchPass,
    ) -> Result<Vec<OrderId>, Error> {
        let Some(shards) = &self.shards else { return self.shard.scan_ids(principal, scan, pass).await };
        if scan.sort.is_by_total() {
            // Only the orders have the totals by which their ids are sorted.
            let scanned = self.scan(principal, scan, usize::MAX, pass).await?;
            return Ok(scanned.items.iter().map(|item| item.position().id).collect());
        }
        let (sort, limit) = (scan.sort, scan.limit);
        let parts = self.each(shards, |shard| {
            let scan = scan.clone();
            Box::pin(async move { shard.scan_ids(principal, scan, &mut SearchPass::default()).await })
        });
        Ok(merged_ids(parts.await?, sort, limit))
    }

    /// Reads the next orders of the caller's tenant that match, newest first: at most `limit`, of about `bytes` bytes.
    ///
    /// While other searches run, it waits up to the deadline of the store. A replica may be read.
    ///
    /// # Errors
    /// [`Error::TooManySearches`] when the wait was too short, and the errors of a read.
    pub async fn export_page(
        &self,
        principal: &Principal,
        filter: &Filter,
        after: Option<Position>,
        limit: u32,
        bytes: usize,
    ) -> Result<ExportPage, Error> {
        let Some(shards) = &self.shards else {
            return self.shard.export_page(principal, filter, after, limit, bytes).await;
        };
        let parts = self.each(shards, |shard| {
            Box::pin(async move { shard.export_page(principal, filter, after, limit, bytes).await })
        });
        Ok(merged_export(parts.await?, limit, bytes))
    }

    /// Groups the failed orders of the caller's tenant that match. The statuses of the filter are ignored. A replica may
    /// be read.
    ///
    /// # Errors
    /// [`Error::TooManySearches`], and the errors of a read.
    pub async fn dead_letter_groups(
        &self,
        principal: &Principal,
        filter: &Filter,
    ) -> Result<DeadLetterGroups, Error> {
        let Some(shards) = &self.shards else {
            return self.shard.dead_letter_groups(principal, filter).await;
        };
        let hasher = RandomState::new();
        let parts = self.each(shards, |shard| {
            let hasher = hasher.clone();
            Box::pin(async move { shard.unfinished_groups(principal, filter, hasher).await })
        });
        let parts = parts.await?;
        let complete = parts.iter().all(|(_, complete)| *complete);
        let merged = parts.into_iter().map(|(groups, _)| groups).reduce(|mut all, groups| {
            all.merge(groups);
            all
        });
        Ok(merged.unwrap_or_default().finish(complete))
    }

    /// Returns the attempts that a worker runs, of orders that the caller may see, oldest order first.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn worker_orders(
        &self,
        principal: &Principal,
        name: &WorkerName,
    ) -> Result<Vec<WorkerOrder>, Error> {
        let Some(shards) = &self.shards else { return self.shard.worker_orders(principal, name).await };
        let parts =
            self.each(shards, |shard| Box::pin(async move { shard.worker_orders(principal, name).await }));
        let mut orders: Vec<WorkerOrder> = parts.await?.into_iter().flatten().collect();
        orders.sort_unstable_by_key(|order| order.order_id);
        orders.truncate(MAX_WORKER_ORDERS as usize);
        Ok(orders)
    }

    /// Reads up to `limit` entries before the one with the id `before`, newest first; of one tenant or of all.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn audit_log(
        &self,
        tenant: Option<&TenantId>,
        before: Option<OrderId>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, Error> {
        let Some(shards) = &self.shards else { return self.shard.audit_log(tenant, before, limit).await };
        let parts =
            self.each(shards, |shard| Box::pin(async move { shard.audit_log(tenant, before, limit).await }));
        let mut entries: Vec<AuditEntry> = parts.await?.into_iter().flatten().collect();
        entries.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.id));
        entries.truncate(limit.min(MAX_AUDIT_PAGE) as usize);
        Ok(entries)
    }
}

fn in_order(sort: Sort, a: Position, b: Position) -> Ordering {
    let order = match sort.is_by_total() {
        true => (a.total_minor, a.id).cmp(&(b.total_minor, b.id)),
        false => a.id.cmp(&b.id),
    };
    if sort.is_descending() { order.reverse() } else { order }
}

fn merged_ids(parts: Vec<Vec<OrderId>>, sort: Sort, limit: u32) -> Vec<OrderId> {
    let mut ids: Vec<OrderId> = parts.into_iter().flatten().collect();
    let position = |id| Position { total_minor: 0, id };
    ids.sort_unstable_by(|a, b| in_order(sort, position(*a), position(*b)));
    ids.truncate(limit as usize);
    ids
}

/// Merges pages. Behind the last order of a page that was cut, orders of its shard are missing.
fn merged(parts: Vec<Scanned>, sort: Sort, limit: u32, mut bytes: usize) -> Scanned {
    let ends = parts.iter().filter(|part| part.cut).filter_map(|part| part.items.last());
    let end = ends.map(Listed::position).min_by(|a, b| in_order(sort, *a, *b));
    let mut items: Vec<Listed> = parts.into_iter().flat_map(|part| part.items).collect();
    items.sort_by(|a, b| in_order(sort, a.position(), b.position()));
    let mut all = Scanned::default();
    for item in items {
        if end.is_some_and(|end| in_order(sort, item.position(), end) == Ordering::Greater) {
            all.cut = true;
            break;
        }
        if all.items.len() >= limit as usize || !all.add(item, &mut bytes) {
            break;
        }
    }
    all.cut |= end.is_some() && all.items.len() < limit as usize;
    all
}

/// Merges pages of an export. A page with a next position has all orders before that position, and none after it.
fn merged_export(parts: Vec<ExportPage>, limit: u32, mut bytes: usize) -> ExportPage {
    let sort = Sort::default();
    let ends = parts.iter().filter_map(|part| part.next);
    let end = ends.min_by(|a, b| in_order(sort, *a, *b));
    let mut items: Vec<Listed> = parts.into_iter().flat_map(|part| part.items).collect();
    items.sort_by(|a, b| in_order(sort, a.position(), b.position()));
    let (mut all, mut next) = (Scanned::default(), end);
    for item in items {
        if end.is_some_and(|end| in_order(sort, item.position(), end) == Ordering::Greater) {
            break;
        }
        if all.items.len() >= limit as usize || !all.add(item, &mut bytes) {
            next = all.items.last().map(Listed::position);
            break;
        }
    }
    ExportPage { items: all.items, next }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unreadable::Unreadable;

    fn id(n: u8) -> OrderId {
        OrderId::from_bytes([n; 16])
    }

    fn listed(n: u8) -> Listed {
        let unreadable = Unreadable::new(id(n), &Error::Row(String::new()));
        Listed::Unreadable { position: Position { total_minor: 0, id: id(n) }, unreadable }
    }

    fn numbers(items: &[Listed]) -> Vec<u8> {
        items.iter().map(|item| item.position().id.as_bytes()[0]).collect()
    }

    #[test]
    fn pages_are_merged_up_to_the_first_that_was_cut() {
        let page = |numbers: &[u8], cut| Scanned { items: numbers.iter().map(|n| listed(*n)).collect(), cut };
        for (parts, limit, expected, cut) in [
            (vec![page(&[9, 5], false), page(&[8, 2], false)], 9, &[9, 8, 5, 2][..], false),
            (vec![page(&[9, 5], false), page(&[8, 2], false)], 3, &[9, 8, 5], false),
            (vec![page(&[9, 5], true), page(&[8, 2], false)], 9, &[9, 8, 5], true),
            (vec![page(&[9, 5], true), page(&[8, 6], true)], 9, &[9, 8, 6], true),
            (vec![page(&[9], true), page(&[], false)], 9, &[9], true),
        ] {
            let all = merged(parts, Sort::CreatedDescending, limit, usize::MAX);
            assert_eq!((numbers(&all.items), all.cut), (expected.to_vec(), cut));
        }
        let all = merged(vec![page(&[9, 5], false), page(&[8], false)], Sort::default(), 9, 700);
        assert_eq!((numbers(&all.items), all.cut), (vec![9], true), "the bytes of one order");
        let ascending = vec![page(&[1, 4], false), page(&[2, 3], false)];
        assert_eq!(numbers(&merged(ascending, Sort::CreatedAscending, 3, usize::MAX).items), [1, 2, 3]);
    }

    #[test]
    fn pages_of_an_export_continue_where_the_slowest_shard_ended() {
        let page = |numbers: &[u8], next: Option<u8>| ExportPage {
            items: numbers.iter().map(|n| listed(*n)).collect(),
            next: next.map(|n| Position { total_minor: 0, id: id(n) }),
        };
        for (parts, limit, expected, next) in [
            (vec![page(&[9, 5], None), page(&[8], None)], 9, &[9, 8, 5][..], None),
            (vec![page(&[9, 5], None), page(&[8], Some(7))], 9, &[9, 8], Some(7)),
            (vec![page(&[9, 5], Some(5)), page(&[8, 7], Some(7))], 9, &[9, 8, 7], Some(7)),
            (vec![page(&[9, 5], None), page(&[8, 7], None)], 2, &[9, 8], Some(8)),
            (vec![page(&[], Some(4)), page(&[3], None)], 2, &[], Some(4)),
        ] {
            let all = merged_export(parts, limit, usize::MAX);
            let found = all.next.map(|next| next.id.as_bytes()[0]);
            assert_eq!((numbers(&all.items), found), (expected.to_vec(), next));
        }
    }
}
