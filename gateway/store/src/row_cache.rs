//! Orders that this gateway has written last, as they were then.
//!
//! Most orders are started and finished over the gateway that wrote their previous event. Then what the
//! rows say is known, and the decision can be made without reading and locking them first: the UPDATE
//! names the version it was made for. A version that has moved on means that somebody else was faster,
//! and everything is done again with the rows as they are. So nothing here has to be right; it only has
//! to be right most of the time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::OrderMap;
use domain::{Order, OrderId};

use super::rows::LockedRow;

/// Orders in one generation.
const GENERATION: usize = 4_096;
/// Longest texts of an order that is kept, together.
const TEXTS: usize = 2_048;

/// What is known about an order: its state and, where somebody is going to want it, all of it.
#[derive(Clone)]
pub(super) struct CachedOrder {
    pub(super) locked: LockedRow,
    pub(super) order: Option<Arc<Order>>,
}

/// At most two generations of orders, the older of which goes when the younger is full.
#[derive(Default)]
pub(super) struct RowCache(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    young: OrderMap<CachedOrder>,
    old: OrderMap<CachedOrder>,
}

impl RowCache {
    /// What is known of these orders, and forgets it: whoever asks is going to change them.
    pub(super) fn take<'a>(&self, ids: impl Iterator<Item = &'a OrderId>) -> OrderMap<CachedOrder> {
        let mut generations = self.lock();
        ids.filter_map(|id| Some((*id, generations.take(id)?))).collect()
    }

    /// Remembers orders that were just written. One that is large is left out.
    pub(super) fn put(&self, rows: impl Iterator<Item = CachedOrder>) {
        let mut generations = self.lock();
        for row in rows.filter(|row| row.order.as_ref().is_none_or(|order| texts(order) <= TEXTS)) {
            if generations.young.len() >= GENERATION {
                generations.old = std::mem::take(&mut generations.young);
            }
            generations.young.insert(row.locked.id, row);
        }
    }

    /// Forgets orders.
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

fn texts(order: &Order) -> usize {
    let optional = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let items: usize = order.line_items.iter().map(|line| size_of_val(line) + line.item.len()).sum();
    items + optional(&order.customer) + optional(&order.external_reference) + optional(&order.reason)
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
        CachedOrder { locked: LockedRow { id: OrderId::from_bytes(id), state }, order: None }
    }

    #[test]
    fn the_latest_orders_are_remembered_and_no_more_than_two_generations() {
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
