//! The row cache: orders that this gateway has written last, as they were then.
//!
//! Most orders are started and finished over the gateway that wrote their previous event. The content of their rows is
//! then known, and the decision needs no read and no lock: the UPDATE names the version that it was decided for. When
//! the version has changed, another gateway was faster, and everything is decided again with locked rows. So an entry
//! may be wrong without harm; it only has to be right most of the time.
//!
//! Written by hand: entries are taken, not copied, and two generations bound the memory. Reading and locking the rows
//! first cost 5 to 12 µs of MariaDB's time for each order, and the decoding of 22 columns. `bench compare` measures orders
//! from the request to their end. The kind of cache was not compared with a library.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{Order, OrderId, OrderMap};

use super::rows::LockedRow;

/// Number of orders in one generation.
const GENERATION: usize = 4_096;
/// Maximum total length of the strings of a cached order, in bytes.
const MAX_STRING_BYTES: usize = 2_048;

/// A cached order: its state and, for commands that return it, all of it.
#[derive(Clone)]
pub(super) struct CachedOrder {
    pub(super) locked: LockedRow,
    pub(super) order: Option<Arc<Order>>,
}

/// At most two generations of orders. The older one is dropped when the younger one is full.
#[derive(Default)]
pub(super) struct RowCache(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    young: OrderMap<CachedOrder>,
    old: OrderMap<CachedOrder>,
}

impl RowCache {
    /// Removes and returns the entries of these orders: the caller is going to change them.
    pub(super) fn take<'a>(&self, ids: impl Iterator<Item = &'a OrderId>) -> OrderMap<CachedOrder> {
        let mut generations = self.lock();
        ids.filter_map(|id| Some((*id, generations.take(id)?))).collect()
    }

    /// Adds orders that were just written, without large ones.
    pub(super) fn put(&self, rows: impl Iterator<Item = CachedOrder>) {
        let mut generations = self.lock();
        for row in
            rows.filter(|row| row.order.as_ref().is_none_or(|order| string_bytes(order) <= MAX_STRING_BYTES))
        {
            if generations.young.len() >= GENERATION {
                generations.old = std::mem::take(&mut generations.young);
            }
            generations.young.insert(row.locked.id, row);
        }
    }

    /// Removes orders.
    pub(super) fn remove<'a>(&self, ids: impl Iterator<Item = &'a OrderId>) {
        let mut generations = self.lock();
        for id in ids {
            generations.take(id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn take(&mut self, id: &OrderId) -> Option<CachedOrder> {
        let old = self.old.remove(id);
        self.young.remove(id).or(old)
    }
}

fn string_bytes(order: &Order) -> usize {
    let items: usize = order.line_items.iter().map(|line| size_of_val(line) + line.item.len()).sum();
    items + order.string_bytes()
}

#[cfg(test)]
mod tests {
    use domain::transition::OrderState;
    use domain::{Status, Timestamp};

    use super::*;

    fn row(n: u16) -> CachedOrder {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&n.to_be_bytes());
        let at = Timestamp::from_micros(1);
        let state = OrderState {
            status: Status::Pending,
            version: 1,
            attempt: 0,
            failures: 0,
            max_attempts: 1,
            lease: None,
            due_at: None,
            not_before: at,
            process_after: None,
            updated_at: at,
        };
        CachedOrder {
            locked: LockedRow {
                id: OrderId::from_bytes(id),
                tenant: domain::TenantId::default(),
                state,
                worker: None,
                trace: None,
            },
            order: None,
        }
    }

    #[test]
    fn cache_keeps_the_latest_orders_of_two_generations() {
        let recent = RowCache::default();
        let count = u16::try_from(3 * GENERATION).unwrap();
        recent.put((0..count).map(row));
        let ids: Vec<_> = (0..count).map(|n| row(n).locked.id).collect();
        let known = recent.take(ids.iter());
        assert!((GENERATION..=2 * GENERATION).contains(&known.len()), "{}", known.len());
        assert!(ids[ids.len() - GENERATION..].iter().all(|id| known.contains_key(id)));
        assert!(recent.take(ids.iter()).is_empty());
        recent.put(known.into_values());
        recent.remove(ids.iter());
        assert!(recent.take(ids.iter()).is_empty());
    }
}
