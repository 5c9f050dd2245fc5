//! Groups of dead letters: the failed orders with one error class and one normal form of the reason.
//!
//! The groups are computed from a search, newest orders first. Its end by a limit is part of the result, not an error.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use domain::query::{Filter, Sort};
use domain::{OrderId, Principal, Status, Timestamp, normalize_reason};
use tokio::time::Instant;

use super::reader::{Reader, SEARCHED_FIRST, next_size};
use crate::columns::{Column, OrderRow};
use crate::connection::Connection;
use crate::replica::Freshness;
use crate::scan::{Scan, ScanStart};
use crate::search::{ReadPath, ResidualFilter};
use crate::search_pool::SearchPass;
use crate::{Error, Shard};

/// Maximum number of failed orders from which groups are computed.
pub const MAX_GROUPED: u32 = 100_000;
/// Maximum number of groups that are kept while they are computed.
const MAX_GROUPS: usize = 2_000;

/// The failed orders with one error class and one normal form of the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterGroup {
    /// The error class, if there is one.
    pub error_class: Option<String>,
    /// The normal form of the reason; empty without a reason.
    pub reason: String,
    /// The number of orders.
    pub count: u32,
    /// The number of different customers.
    pub customers: u32,
    /// The time of the first failure.
    pub first_failed_at: Timestamp,
    /// The time of the last failure.
    pub last_failed_at: Timestamp,
    /// The order that failed last.
    pub latest_order_id: OrderId,
}

/// The groups of the failed orders that match a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterGroups {
    /// The groups, largest first; of equal groups the one that failed last.
    pub groups: Vec<DeadLetterGroup>,
    /// The number of orders in all groups, also in those that are not kept.
    pub orders: u32,
    /// Whether the groups contain all orders that match.
    pub complete: bool,
}

impl Shard {
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
        let (groups, complete) = self.unfinished_groups(principal, filter, RandomState::new()).await?;
        Ok(groups.finish(complete))
    }

    /// Returns the groups before they are sorted, and whether they have all orders that match. Groups with equal hashers can be
    /// merged.
    pub(crate) async fn unfinished_groups(
        &self,
        principal: &Principal,
        filter: &Filter,
        hasher: RandomState,
    ) -> Result<(Groups, bool), Error> {
        let filter = Filter { statuses: vec![Status::Failed], ..filter.clone() };
        let rest = ResidualFilter::with_strings(&filter, self.queue_snapshot());
        let scan =
            Scan { filter, sort: Sort::default(), start: ScanStart::Begin, end: None, limit: MAX_GROUPED };
        let among = self.few_matches(&principal.tenant, &scan.filter).await?;
        let reader = Reader { rest: Some(rest), among, ..self.reader(&principal.tenant, &scan) };
        let permit = self.inner.lane.enter(&mut SearchPass::default())?;
        self.searching(ReadPath::Search(permit), Freshness::MayBeOlder, reader, move |reader, connection| {
            Box::pin(reader.groups(hasher, connection))
        })
        .await
    }
}

impl Reader {
    async fn groups(
        mut self,
        hasher: RandomState,
        connection: &mut Connection,
    ) -> Result<(Groups, bool), Error> {
        let mut groups = Groups { hasher, ..Groups::default() };
        let (mut size, mut seen) = (SEARCHED_FIRST, 0);
        let complete = loop {
            let size_now = size.min(self.scan.limit - seen);
            // An order that cannot be read is in no group.
            let read =
                self.piece(connection, size_now, &mut |place, row| _ = groups.add(place.id, row)).await?;
            seen += read;
            if read < size_now {
                break true;
            }
            if seen >= self.scan.limit || Instant::now() >= self.until {
                break false;
            }
            size = next_size(size);
        };
        Ok((groups, complete))
    }
}

/// The groups under construction.
#[derive(Default)]
pub(crate) struct Groups {
    groups: HashMap<(Option<String>, String), (DeadLetterGroup, HashSet<u64>)>,
    orders: u32,
    /// Orders of further groups were not kept.
    overflowed: bool,
    hasher: RandomState,
}

impl Groups {
    fn add(&mut self, id: OrderId, row: &OrderRow<'_>) -> Result<(), Error> {
        let failed_at = row.time(Column::UpdatedAt)?;
        let error_class = row.get::<Option<&str>>(Column::ErrorClass)?.map(str::to_owned);
        let reason = row.get::<Option<&str>>(Column::Reason)?.map(normalize_reason).unwrap_or_default();
        let customer: Option<&str> = row.get(Column::Customer)?;
        self.orders += 1;
        let key = (error_class, reason);
        if self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(&key) {
            self.overflowed = true;
            return Ok(());
        }
        let (group, customers) = self.groups.entry(key).or_insert_with_key(|(error_class, reason)| {
            let group = DeadLetterGroup {
                error_class: error_class.clone(),
                reason: reason.clone(),
                count: 0,
                customers: 0,
                first_failed_at: failed_at,
                last_failed_at: failed_at,
                latest_order_id: id,
            };
            (group, HashSet::new())
        });
        group.count += 1;
        group.first_failed_at = group.first_failed_at.min(failed_at);
        if failed_at > group.last_failed_at {
            (group.last_failed_at, group.latest_order_id) = (failed_at, id);
        }
        customers.extend(customer.map(|customer| self.hasher.hash_one(customer)));
        Ok(())
    }

    /// Adds the groups of another shard.
    pub(crate) fn merge(&mut self, other: Self) {
        self.orders += other.orders;
        self.overflowed |= other.overflowed;
        for (key, (group, customers)) in other.groups {
            if self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(&key) {
                self.overflowed = true;
                continue;
            }
            let Some((known, known_customers)) = self.groups.get_mut(&key) else {
                self.groups.insert(key, (group, customers));
                continue;
            };
            known.count += group.count;
            known.first_failed_at = known.first_failed_at.min(group.first_failed_at);
            if group.last_failed_at > known.last_failed_at {
                (known.last_failed_at, known.latest_order_id) = (group.last_failed_at, group.latest_order_id);
            }
            known_customers.extend(customers);
        }
    }

    pub(crate) fn finish(self, complete: bool) -> DeadLetterGroups {
        let mut groups: Vec<DeadLetterGroup> = self
            .groups
            .into_values()
            .map(|(group, customers)| DeadLetterGroup {
                customers: u32::try_from(customers.len()).unwrap_or(u32::MAX),
                ..group
            })
            .collect();
        groups.sort_by_key(|group| {
            std::cmp::Reverse((group.count, group.last_failed_at, group.latest_order_id))
        });
        DeadLetterGroups { groups, orders: self.orders, complete: complete && !self.overflowed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_documented() {
        use limits_page::{count, row};
        row(
            "failed orders from which groups are computed; groups",
            &format!("{}; {}", count(MAX_GROUPED as usize), count(MAX_GROUPS)),
        );
    }
}
