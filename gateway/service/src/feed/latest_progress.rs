//! The latest progress of each running order, for readers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{OrderEvent, OrderId, OrderMap, Progress, Status};

/// Maximum number of orders in one of two generations; the older one is dropped when the younger one is full.
const GENERATION: usize = 4_096;

/// At most two generations of progress.
#[derive(Default)]
pub(super) struct LatestProgress(Mutex<Generations>);

#[derive(Default)]
struct Generations {
    young: OrderMap<Arc<Progress>>,
    old: OrderMap<Arc<Progress>>,
}

impl LatestProgress {
    /// Records progress. Returns false if a later one of the order is known: the bus repeats those of this gateway.
    pub(super) fn record(&self, progress: &Arc<Progress>) -> bool {
        let mut generations = self.lock();
        let latest = generations.get(progress.order_id);
        if latest.is_some_and(|latest| {
            (latest.attempt, latest.reported_at) >= (progress.attempt, progress.reported_at)
        }) {
            return false;
        }
        if generations.young.len() >= GENERATION {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(progress.order_id, progress.clone());
        true
    }

    /// Removes the progress of orders whose attempts have ended.
    pub(super) fn end(&self, events: &[Arc<OrderEvent>]) {
        let mut generations = self.lock();
        if generations.young.is_empty() && generations.old.is_empty() {
            return;
        }
        for event in events.iter().filter(|event| event.status != Status::Processing) {
            let is_over = |latest: &Arc<Progress>| latest.attempt <= event.attempt;
            if generations.get(event.order_id).is_some_and(is_over) {
                generations.young.remove(&event.order_id);
                generations.old.remove(&event.order_id);
            }
        }
    }

    /// Returns the latest progress of an order.
    pub(super) fn get(&self, id: OrderId) -> Option<Arc<Progress>> {
        self.lock().get(id).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn get(&self, id: OrderId) -> Option<&Arc<Progress>> {
        self.young.get(&id).or_else(|| self.old.get(&id))
    }
}

#[cfg(test)]
mod tests {
    use domain::{TenantId, Timestamp};

    use super::*;

    fn progress(order: u16, attempt: u32, at: i64) -> Arc<Progress> {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&order.to_be_bytes());
        Arc::new(Progress {
            order_id: OrderId::from_bytes(id),
            tenant_id: TenantId::default(),
            attempt,
            percent: Some(50),
            note: None,
            reported_at: Timestamp::from_micros(at),
        })
    }

    fn event(order: u16, attempt: u32, status: Status) -> Arc<OrderEvent> {
        Arc::new(OrderEvent {
            tenant_id: TenantId::default(),
            order_id: progress(order, 1, 0).order_id,
            sequence: 3,
            status,
            previous_status: None,
            attempt,
            reason: None,
            error_class: None,
            worker: None,
            occurred_at: Timestamp::from_micros(0),
        })
    }

    #[test]
    fn latest_progress_is_kept_until_the_end_of_its_attempt() {
        let latest = LatestProgress::default();
        assert!(latest.record(&progress(1, 1, 5)));
        assert!(!latest.record(&progress(1, 1, 5)), "a repetition");
        assert!(!latest.record(&progress(1, 1, 4)), "an earlier one");
        assert!(latest.record(&progress(1, 2, 3)), "of a later attempt");
        let id = progress(1, 1, 0).order_id;
        latest.end(&[event(1, 2, Status::Processing), event(1, 1, Status::Pending)]);
        assert_eq!(latest.get(id), Some(progress(1, 2, 3)));
        latest.end(&[event(1, 2, Status::Completed)]);
        assert_eq!(latest.get(id), None);
    }

    #[test]
    fn number_of_orders_is_limited() {
        let latest = LatestProgress::default();
        assert!((0..20_000).all(|order| latest.record(&progress(order, 1, 1))));
        let generations = latest.lock();
        assert!(generations.young.len() + generations.old.len() <= 2 * GENERATION);
        drop(generations);
        assert!(latest.get(progress(19_999, 1, 1).order_id).is_some());
        limits_page::row("orders with a latest progress", &limits_page::count(2 * GENERATION));
    }
}
