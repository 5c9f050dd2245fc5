//! The orders in hand. Each takes one slot, whatever happens to it:
//!
//! - *starting* from its hint to the gateway's answer,
//! - *waiting* while as many handlers run as may,
//! - *running* until its handler ends,
//! - *abandoned* when the result is no longer wanted while it is starting or its handler winds down.
//!
//! There is one entry for an order, so an order never has two handlers in one processor.
//!
//! There are as many slots as handlers may run, and some more while handlers are short: as many as end in the
//! time that a Start takes. Those are started ahead, so that handlers that take no time do not wait for the
//! gateway, and handlers that take long leave the orders to other processors.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use domain::{LeaseToken, OrderId};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client::Lease;
use crate::metrics::Meters;
use crate::{Attempt, OrderHandler, Outcome, attempt};

/// At most so many times the concurrency is started ahead, so an order never waits for longer than so many
/// handlers take, also when they take longer all of a sudden.
const MOST_AHEAD: usize = 16;
/// Of a Start that takes longer no more than this counts: then the gateway or its database has trouble, which
/// is no reason to hold more orders, whose leases may run out.
const LONGEST_START: Duration = Duration::from_millis(100);
/// How much of an average is made of the values before the latest one.
const MEMORY: f64 = 0.9;

pub(crate) struct Slots {
    handler: Arc<dyn OrderHandler>,
    concurrency: usize,
    attempt_timeout: Duration,
    orders: HashMap<OrderId, Held>,
    /// Those that wait for a handler's end, oldest first; some of them may be gone.
    waiting: VecDeque<Lease>,
    running: usize,
    /// Dropping it stops them all.
    handlers: JoinSet<(Lease, Option<Outcome>, Duration)>,
    /// Averages of late: how long a handler takes, and how long a Start takes.
    handler_takes: Option<Duration>,
    start_takes: Option<Duration>,
    meters: Meters,
}

struct Held {
    token: LeaseToken,
    state: State,
}

enum State {
    Starting,
    Waiting(Box<Attempt>),
    Running {
        cancel: CancellationToken,
        abort: AbortHandle,
    },
    /// Without a task when it was still starting.
    Abandoned(Option<AbortHandle>),
}

/// How a task of `handlers` ended.
pub(crate) type Ended = Result<(Lease, Option<Outcome>, Duration), JoinError>;

impl Slots {
    /// At most `concurrency` handlers run at the same time.
    pub(crate) fn new(
        handler: Arc<dyn OrderHandler>,
        concurrency: usize,
        attempt_timeout: Duration,
        meters: Meters,
    ) -> Self {
        Self {
            handler,
            concurrency,
            attempt_timeout,
            orders: HashMap::new(),
            waiting: VecDeque::new(),
            running: 0,
            handlers: JoinSet::new(),
            handler_takes: None,
            start_takes: None,
            meters,
        }
    }

    pub(crate) fn taken(&self) -> usize {
        self.orders.len()
    }

    /// How many more orders may be taken.
    pub(crate) fn room(&self) -> usize {
        (self.concurrency + self.ahead()).saturating_sub(self.taken())
    }

    /// As many handlers as end in the time that a Start takes.
    fn ahead(&self) -> usize {
        let (Some(handler), Some(start)) = (self.handler_takes, self.start_takes) else { return 0 };
        let most = self.concurrency * MOST_AHEAD;
        let ends = start.as_secs_f64() / handler.as_secs_f64().max(1e-6) * self.concurrency as f64;
        most.min(ends as usize)
    }

    /// A Start was answered after so long.
    pub(crate) fn start_took(&mut self, took: Duration) {
        average(&mut self.start_takes, took.min(LONGEST_START));
    }

    pub(crate) fn running(&self) -> usize {
        self.running
    }

    /// The attempts whose handler runs, or waits for its turn.
    pub(crate) fn leases(&self) -> impl Iterator<Item = Lease> {
        let started = |held: &Held| matches!(held.state, State::Running { .. } | State::Waiting(_));
        let running = self.orders.iter().filter(move |(_, held)| started(held));
        running.map(|(order_id, held)| Lease { order_id: *order_id, token: held.token })
    }

    /// Takes a slot for an order that is to be started, under this lease token. `None` when it is in
    /// hand already: a repeated hint has nothing new to say.
    pub(crate) fn take(&mut self, order_id: OrderId, token: LeaseToken) -> Option<Lease> {
        let Entry::Vacant(slot) = self.orders.entry(order_id) else { return None };
        slot.insert(Held { token, state: State::Starting });
        Some(Lease { order_id, token })
    }

    /// Frees the slot of an attempt that has not come to run.
    pub(crate) fn free(&mut self, lease: Lease) {
        if let Entry::Occupied(held) = self.orders.entry(lease.order_id)
            && held.get().token == lease.token
            && matches!(held.get().state, State::Starting | State::Abandoned(None))
        {
            held.remove();
        }
    }

    /// Whether the gateway's answer to this Start is still waited for.
    pub(crate) fn is_starting(&self, lease: Lease) -> bool {
        self.orders
            .get(&lease.order_id)
            .is_some_and(|held| held.token == lease.token && matches!(held.state, State::Starting))
    }

    /// Runs the handler for an attempt that [`is_starting`](Self::is_starting), or lets it wait for its turn.
    pub(crate) fn run(&mut self, attempt: Attempt) {
        // Handlers that wind down count: they still do something.
        if self.handlers.len() < self.concurrency {
            return self.spawn(attempt);
        }
        let lease = Lease { order_id: attempt.order.id, token: attempt.lease };
        let held = Held { token: lease.token, state: State::Waiting(Box::new(attempt)) };
        self.orders.insert(lease.order_id, held);
        self.waiting.push_back(lease);
    }

    /// Whose turn has come.
    fn run_waiting(&mut self) {
        while self.handlers.len() < self.concurrency
            && let Some(lease) = self.waiting.pop_front()
        {
            let Entry::Occupied(held) = self.orders.entry(lease.order_id) else { continue };
            if held.get().token != lease.token || !matches!(held.get().state, State::Waiting(_)) {
                continue;
            }
            if let State::Waiting(attempt) = held.remove().state {
                self.spawn(*attempt);
            }
        }
    }

    fn spawn(&mut self, attempt: Attempt) {
        let lease = Lease { order_id: attempt.order.id, token: attempt.lease };
        let cancel = CancellationToken::new();
        let run = attempt::run(self.handler.clone(), attempt, cancel.clone(), self.attempt_timeout);
        let abort = self.handlers.spawn(async move {
            let began = Instant::now();
            let outcome = run.await;
            (lease, outcome, began.elapsed())
        });
        let held = Held { token: lease.token, state: State::Running { cancel, abort } };
        self.orders.insert(lease.order_id, held);
        self.meters.started();
        self.count(self.running + 1);
    }

    /// The result of this attempt is not wanted any more. False when it is not in hand.
    pub(crate) fn abandon(&mut self, lease: Lease) -> bool {
        let Some(held) = self.orders.get_mut(&lease.order_id).filter(|held| held.token == lease.token) else {
            return false;
        };
        match &held.state {
            State::Running { cancel, abort } => {
                cancel.cancel();
                held.state = State::Abandoned(Some(abort.clone()));
                self.count(self.running - 1);
                true
            }
            State::Starting => {
                held.state = State::Abandoned(None);
                true
            }
            State::Waiting(_) => {
                self.orders.remove(&lease.order_id);
                self.meters.abandoned();
                true
            }
            State::Abandoned(_) => false,
        }
    }

    /// The next handler that ends, for [`Slots::ended`]. `None` when none runs.
    pub(crate) async fn next(&mut self) -> Option<Ended> {
        self.handlers.join_next().await
    }

    /// The same without waiting.
    pub(crate) fn try_next(&mut self) -> Option<Ended> {
        self.handlers.try_join_next()
    }

    /// Frees the slot of a handler that ended, and runs the next one that waits. The outcome, if it is wanted.
    pub(crate) fn ended(&mut self, ended: Ended) -> Option<(Lease, Outcome)> {
        let outcome = self.free_ended(ended);
        self.run_waiting();
        outcome
    }

    fn free_ended(&mut self, ended: Ended) -> Option<(Lease, Outcome)> {
        let (lease, outcome) = match ended {
            Ok((lease, outcome, took)) => {
                average(&mut self.handler_takes, took);
                (lease, outcome)
            }
            // Dropping the handler's future panicked; or the shutdown stopped it, and then its order
            // is not in hand any more.
            Err(error) => (
                self.lease_of(&error)?,
                Some(Outcome::retry("the handler panicked at its end").with_class("handler_panicked")),
            ),
        };
        let Entry::Occupied(held) = self.orders.entry(lease.order_id) else { return None };
        if held.get().token != lease.token {
            return None;
        }
        match held.remove().state {
            State::Running { .. } => {
                self.count(self.running - 1);
                let outcome =
                    outcome.unwrap_or_else(|| Outcome::retry("the handler cancelled its own token"));
                Some((lease, outcome))
            }
            State::Abandoned(_) => {
                self.meters.abandoned();
                None
            }
            State::Starting | State::Waiting(_) => None,
        }
    }

    /// Stops every handler at once and frees their slots. What ran or waited; what is starting stays.
    pub(crate) fn stop(&mut self) -> Vec<Lease> {
        let running = self.leases().collect();
        self.orders.retain(|_, held| match &held.state {
            State::Starting => true,
            State::Abandoned(_) | State::Waiting(_) => false,
            State::Running { cancel, abort: _ } => {
                cancel.cancel();
                false
            }
        });
        self.handlers.abort_all();
        self.count(0);
        running
    }

    fn lease_of(&self, error: &JoinError) -> Option<Lease> {
        let of_task = |held: &Held| match &held.state {
            State::Running { abort, .. } | State::Abandoned(Some(abort)) => abort.id() == error.id(),
            State::Starting | State::Waiting(_) | State::Abandoned(None) => false,
        };
        let (order_id, held) = self.orders.iter().find(|(_, held)| of_task(held))?;
        Some(Lease { order_id: *order_id, token: held.token })
    }

    fn count(&mut self, running: usize) {
        self.running = running;
        self.meters.running(running);
    }
}

fn average(of: &mut Option<Duration>, latest: Duration) {
    let before = of.unwrap_or(latest);
    *of = Some(before.mul_f64(MEMORY) + latest.mul_f64(1.0 - MEMORY));
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    #[crate::async_trait]
    impl OrderHandler for Nothing {
        async fn handle(&self, _: Attempt, _: CancellationToken) -> Outcome {
            Outcome::Completed
        }
    }

    #[test]
    fn as_many_are_started_ahead_as_end_during_a_start() {
        let millis = Duration::from_millis;
        let ahead = |handler, start| {
            let mut slots = Slots::new(Arc::new(Nothing), 64, millis(1_000), Meters::find());
            (slots.handler_takes, slots.start_takes) = (handler, start);
            slots.ahead()
        };
        assert_eq!(ahead(None, Some(millis(10))), 0, "nothing is known");
        assert_eq!(ahead(Some(millis(10)), None), 0, "nothing is known");
        assert_eq!(ahead(Some(millis(1_000)), Some(millis(10))), 0);
        assert_eq!(ahead(Some(millis(100)), Some(millis(10))), 6);
        assert_eq!(ahead(Some(millis(10)), Some(millis(10))), 64);
        assert_eq!(ahead(Some(Duration::ZERO), Some(millis(10))), 16 * 64);
    }

    #[test]
    fn averages_follow_what_is_seen() {
        let mut takes = None;
        average(&mut takes, Duration::from_secs(1));
        assert_eq!(takes, Some(Duration::from_secs(1)));
        for _ in 0..100 {
            average(&mut takes, Duration::ZERO);
        }
        assert!(takes < Some(Duration::from_millis(1)));
    }

    #[test]
    fn a_gateway_in_trouble_is_no_reason_to_hold_more() {
        let mut slots = Slots::new(Arc::new(Nothing), 64, Duration::from_secs(1), Meters::find());
        slots.handler_takes = Some(Duration::from_secs(1));
        slots.start_took(Duration::from_secs(10));
        assert_eq!(slots.ahead(), 6);
    }
}
