//! The orders in the processor. Each occupies one slot, in one of these states:
//!
//! - *starting*: from its job to the gateway's response,
//! - *waiting*: while the maximum number of handlers run,
//! - *running*: until its handler ends,
//! - *abandoned*: its outcome is not needed, while it is starting or its handler is being stopped.
//!
//! An order has at most one slot, so it never has two handlers in one processor.
//!
//! There is one slot for each concurrent handler, and further slots to prefetch orders while handlers are short: as many
//! as handlers end during one Start. With prefetched orders, short handlers do not wait for the gateway. While handlers
//! are long, nothing is prefetched, and the orders stay available to other processors.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use domain::{LeaseToken, OrderId, Outcome};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::attempt_span;
use crate::handler::{Attempt, OrderHandler};
use crate::metrics::AttemptMetrics;
use crate::requests::LeaseKey;
use crate::run_handler::run_handler;

/// The maximum of prefetched orders, as a multiple of the concurrency.
/// An order never waits for more than this number of handlers, even if they suddenly take longer.
const MAX_PREFETCH: usize = 16;
/// The maximum duration of a Start in the average. A longer Start means that the gateway or its database has a problem.
/// More prefetched orders would not help then, and their leases might expire.
const MAX_START_SAMPLE: Duration = Duration::from_millis(100);
/// The weight of the earlier values in a moving average.
const AVERAGE_WEIGHT: f64 = 0.9;

pub(crate) struct Slots {
    handler: Arc<dyn OrderHandler>,
    worker: Arc<str>,
    concurrency: usize,
    attempt_timeout: Duration,
    orders: HashMap<OrderId, Slot>,
    /// The waiting orders, oldest first; some may have been removed from `orders`.
    waiting: VecDeque<LeaseKey>,
    running: usize,
    /// Dropping it stops all handlers.
    handlers: JoinSet<(LeaseKey, Option<Outcome>, Duration)>,
    /// Moving averages of the duration of a handler and of a Start.
    handler_duration: Option<Duration>,
    start_duration: Option<Duration>,
    metrics: AttemptMetrics,
}

struct Slot {
    token: LeaseToken,
    state: SlotState,
}

enum SlotState {
    Starting,
    Waiting(Box<Attempt>),
    Running {
        cancel: CancellationToken,
        abort: AbortHandle,
    },
    /// Without a task if the order was still starting.
    Abandoned(Option<AbortHandle>),
}

/// The end of a task of `handlers`.
pub(crate) type HandlerEnd = Result<(LeaseKey, Option<Outcome>, Duration), JoinError>;

impl Slots {
    /// Creates slots for at most `concurrency` concurrent handlers.
    pub(crate) fn new(
        handler: Arc<dyn OrderHandler>,
        worker: Arc<str>,
        concurrency: usize,
        attempt_timeout: Duration,
        metrics: AttemptMetrics,
    ) -> Self {
        Self {
            handler,
            worker,
            concurrency,
            attempt_timeout,
            orders: HashMap::new(),
            waiting: VecDeque::new(),
            running: 0,
            handlers: JoinSet::new(),
            handler_duration: None,
            start_duration: None,
            metrics,
        }
    }

    pub(crate) fn occupied(&self) -> usize {
        self.orders.len()
    }

    /// Returns the number of orders that can be pulled.
    pub(crate) fn free(&self) -> usize {
        (self.concurrency + self.prefetch()).saturating_sub(self.occupied())
    }

    /// Returns the number of handlers that end during one Start.
    fn prefetch(&self) -> usize {
        let (Some(handler), Some(start)) = (self.handler_duration, self.start_duration) else { return 0 };
        let max = self.concurrency * MAX_PREFETCH;
        let ends = start.as_secs_f64() / handler.as_secs_f64().max(1e-6) * self.concurrency as f64;
        max.min(ends as usize)
    }

    /// Records the response time of a Start.
    pub(crate) fn record_start(&mut self, duration: Duration) {
        update_average(&mut self.start_duration, duration.min(MAX_START_SAMPLE));
    }

    pub(crate) fn running(&self) -> usize {
        self.running
    }

    /// Returns the leases of running and waiting orders.
    pub(crate) fn started_leases(&self) -> impl Iterator<Item = LeaseKey> {
        let started = |slot: &Slot| matches!(slot.state, SlotState::Running { .. } | SlotState::Waiting(_));
        let orders = self.orders.iter().filter(move |(_, slot)| started(slot));
        orders.map(|(order_id, slot)| LeaseKey { order_id: *order_id, token: slot.token })
    }

    /// Returns the leases of all orders whose outcomes are needed.
    pub(crate) fn leases(&self) -> impl Iterator<Item = LeaseKey> {
        let orders = self.orders.iter().filter(|(_, slot)| !matches!(slot.state, SlotState::Abandoned(_)));
        orders.map(|(order_id, slot)| LeaseKey { order_id: *order_id, token: slot.token })
    }

    /// Occupies a slot for an order that is to be started with this lease token.
    /// `None` if the order already has one: a repeated job has no new information.
    pub(crate) fn occupy(&mut self, order_id: OrderId, token: LeaseToken) -> Option<LeaseKey> {
        let Entry::Vacant(slot) = self.orders.entry(order_id) else { return None };
        slot.insert(Slot { token, state: SlotState::Starting });
        Some(LeaseKey { order_id, token })
    }

    /// Frees the slot of an order that was not started.
    pub(crate) fn release_unstarted(&mut self, lease: LeaseKey) {
        if let Entry::Occupied(slot) = self.orders.entry(lease.order_id)
            && slot.get().token == lease.token
            && matches!(slot.get().state, SlotState::Starting | SlotState::Abandoned(None))
        {
            slot.remove();
        }
    }

    /// Returns whether the gateway's response to this Start is still expected.
    pub(crate) fn is_starting(&self, lease: LeaseKey) -> bool {
        self.orders
            .get(&lease.order_id)
            .is_some_and(|slot| slot.token == lease.token && matches!(slot.state, SlotState::Starting))
    }

    /// Runs the handler for an order that [`is_starting`](Self::is_starting), or queues it for a free handler.
    pub(crate) fn run_or_queue(&mut self, attempt: Box<Attempt>) {
        // Handlers that are being stopped count: they may still work.
        if self.handlers.len() < self.concurrency {
            return self.spawn_handler(attempt);
        }
        let lease = LeaseKey { order_id: attempt.order.id, token: attempt.lease };
        let slot = Slot { token: lease.token, state: SlotState::Waiting(attempt) };
        self.orders.insert(lease.order_id, slot);
        self.waiting.push_back(lease);
    }

    /// Runs handlers for waiting orders, up to the concurrency.
    fn run_waiting(&mut self) {
        while self.handlers.len() < self.concurrency
            && let Some(lease) = self.waiting.pop_front()
        {
            let Entry::Occupied(slot) = self.orders.entry(lease.order_id) else { continue };
            if slot.get().token != lease.token || !matches!(slot.get().state, SlotState::Waiting(_)) {
                continue;
            }
            if let SlotState::Waiting(attempt) = slot.remove().state {
                self.spawn_handler(attempt);
            }
        }
    }

    fn spawn_handler(&mut self, attempt: Box<Attempt>) {
        let lease = LeaseKey { order_id: attempt.order.id, token: attempt.lease };
        let cancel = CancellationToken::new();
        let (handler, limit, stop) = (self.handler.clone(), self.attempt_timeout, cancel.clone());
        let run = attempt_span::observed(attempt, &self.worker, move |attempt| {
            run_handler(handler, attempt, stop, limit)
        });
        let abort = self.handlers.spawn(async move {
            let started_at = Instant::now();
            let outcome = run.await;
            (lease, outcome, started_at.elapsed())
        });
        let slot = Slot { token: lease.token, state: SlotState::Running { cancel, abort } };
        self.orders.insert(lease.order_id, slot);
        self.metrics.count_started();
        self.set_running(self.running + 1);
    }

    /// Stops an attempt whose outcome is not needed. Returns false if it has no slot.
    pub(crate) fn abandon(&mut self, lease: LeaseKey) -> bool {
        let Some(slot) = self.orders.get_mut(&lease.order_id).filter(|slot| slot.token == lease.token) else {
            return false;
        };
        match &slot.state {
            SlotState::Running { cancel, abort } => {
                cancel.cancel();
                slot.state = SlotState::Abandoned(Some(abort.clone()));
                self.set_running(self.running - 1);
                true
            }
            SlotState::Starting => {
                slot.state = SlotState::Abandoned(None);
                true
            }
            SlotState::Waiting(_) => {
                self.orders.remove(&lease.order_id);
                self.metrics.count_abandoned();
                true
            }
            SlotState::Abandoned(_) => false,
        }
    }

    /// Waits for the end of a handler, for [`Slots::on_handler_end`]. `None` if none runs.
    pub(crate) async fn next_handler_end(&mut self) -> Option<HandlerEnd> {
        self.handlers.join_next().await
    }

    /// Returns the end of a handler, without waiting.
    pub(crate) fn try_next_handler_end(&mut self) -> Option<HandlerEnd> {
        self.handlers.try_join_next()
    }

    /// Frees the slot of a handler that ended, and runs the next waiting order. Returns the outcome if it is needed.
    pub(crate) fn on_handler_end(&mut self, end: HandlerEnd) -> Option<(LeaseKey, Outcome)> {
        let outcome = self.free_slot(end);
        self.run_waiting();
        outcome
    }

    fn free_slot(&mut self, end: HandlerEnd) -> Option<(LeaseKey, Outcome)> {
        let (lease, outcome) = match end {
            Ok((lease, outcome, duration)) => {
                update_average(&mut self.handler_duration, duration);
                (lease, outcome)
            }
            // The drop of the handler's future panicked. Or the shutdown stopped the handler; then its order has no slot.
            Err(error) => (
                self.lease_of_task(&error)?,
                Some(Outcome::retry("the handler panicked at its end").with_class("handler_panicked")),
            ),
        };
        let Entry::Occupied(slot) = self.orders.entry(lease.order_id) else { return None };
        if slot.get().token != lease.token {
            return None;
        }
        match slot.remove().state {
            SlotState::Running { .. } => {
                self.set_running(self.running - 1);
                let outcome =
                    outcome.unwrap_or_else(|| Outcome::retry("the handler cancelled its own token"));
                Some((lease, outcome))
            }
            SlotState::Abandoned(_) => {
                self.metrics.count_abandoned();
                None
            }
            SlotState::Starting | SlotState::Waiting(_) => None,
        }
    }

    /// Stops every handler immediately and frees the slots of all started orders. Returns their leases.
    pub(crate) fn stop_all(&mut self) -> Vec<LeaseKey> {
        let started = self.started_leases().collect();
        self.orders.retain(|_, slot| match &slot.state {
            SlotState::Starting => true,
            SlotState::Abandoned(_) | SlotState::Waiting(_) => false,
            SlotState::Running { cancel, abort: _ } => {
                cancel.cancel();
                false
            }
        });
        self.handlers.abort_all();
        self.set_running(0);
        started
    }

    fn lease_of_task(&self, error: &JoinError) -> Option<LeaseKey> {
        let is_task = |slot: &Slot| match &slot.state {
            SlotState::Running { abort, .. } | SlotState::Abandoned(Some(abort)) => abort.id() == error.id(),
            SlotState::Starting | SlotState::Waiting(_) | SlotState::Abandoned(None) => false,
        };
        let (order_id, slot) = self.orders.iter().find(|(_, slot)| is_task(slot))?;
        Some(LeaseKey { order_id: *order_id, token: slot.token })
    }

    fn set_running(&mut self, running: usize) {
        self.running = running;
        self.metrics.set_running(running);
    }
}

fn update_average(average: &mut Option<Duration>, latest: Duration) {
    let before = average.unwrap_or(latest);
    *average = Some(before.mul_f64(AVERAGE_WEIGHT) + latest.mul_f64(1.0 - AVERAGE_WEIGHT));
}

#[cfg(test)]
mod tests {
    use super::*;

    struct NoOp;

    #[async_trait::async_trait]
    impl OrderHandler for NoOp {
        async fn handle(&self, _: Attempt, _: CancellationToken) -> Outcome {
            Outcome::Completed
        }
    }

    #[test]
    fn prefetch_is_the_number_of_handlers_that_end_during_a_start() {
        let millis = Duration::from_millis;
        let prefetch = |handler, start| {
            let mut slots =
                Slots::new(Arc::new(NoOp), "packer".into(), 64, millis(1_000), AttemptMetrics::new(64));
            (slots.handler_duration, slots.start_duration) = (handler, start);
            slots.prefetch()
        };
        assert_eq!(prefetch(None, Some(millis(10))), 0, "the duration of a handler is unknown");
        assert_eq!(prefetch(Some(millis(10)), None), 0, "the duration of a Start is unknown");
        assert_eq!(prefetch(Some(millis(1_000)), Some(millis(10))), 0);
        assert_eq!(prefetch(Some(millis(100)), Some(millis(10))), 6);
        assert_eq!(prefetch(Some(millis(10)), Some(millis(10))), 64);
        assert_eq!(prefetch(Some(Duration::ZERO), Some(millis(10))), 16 * 64);
    }

    #[test]
    fn average_follows_the_latest_values() {
        let mut average = None;
        update_average(&mut average, Duration::from_secs(1));
        assert_eq!(average, Some(Duration::from_secs(1)));
        for _ in 0..100 {
            update_average(&mut average, Duration::ZERO);
        }
        assert!(average < Some(Duration::from_millis(1)));
    }

    #[test]
    fn slow_start_does_not_increase_the_prefetch() {
        let mut slots =
            Slots::new(Arc::new(NoOp), "packer".into(), 64, Duration::from_secs(1), AttemptMetrics::new(64));
        slots.handler_duration = Some(Duration::from_secs(1));
        slots.record_start(Duration::from_secs(10));
        assert_eq!(slots.prefetch(), 6);
    }
}
