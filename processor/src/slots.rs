//! The orders in hand. Each takes one slot, whatever happens to it:
//!
//! - *starting* from its hint to the gateway's answer,
//! - *running* until its handler ends,
//! - *abandoned* when the result is no longer wanted while it is starting or its handler winds down.
//!
//! There is one entry for an order, so an order never has two handlers in one processor.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use domain::{LeaseToken, OrderId};
use tokio::task::{AbortHandle, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::client::Lease;
use crate::{Attempt, OrderHandler, Verdict, attempt, metrics};

pub(crate) struct Slots {
    handler: Arc<dyn OrderHandler>,
    attempt_timeout: Duration,
    orders: HashMap<OrderId, Held>,
    running: usize,
    /// Dropping it stops them all.
    handlers: JoinSet<(Lease, Option<Verdict>)>,
}

struct Held {
    token: LeaseToken,
    state: State,
}

enum State {
    Starting,
    Running {
        cancel: CancellationToken,
        abort: AbortHandle,
    },
    /// Without a task when it was still starting.
    Abandoned(Option<AbortHandle>),
}

/// How a task of `handlers` ended.
pub(crate) type Ended = Result<(Lease, Option<Verdict>), JoinError>;

impl Slots {
    pub(crate) fn new(handler: Arc<dyn OrderHandler>, attempt_timeout: Duration) -> Self {
        Self { handler, attempt_timeout, orders: HashMap::new(), running: 0, handlers: JoinSet::new() }
    }

    pub(crate) fn taken(&self) -> usize {
        self.orders.len()
    }

    pub(crate) fn running(&self) -> usize {
        self.running
    }

    /// The attempts whose handler runs.
    pub(crate) fn leases(&self) -> impl Iterator<Item = Lease> {
        let running = self.orders.iter().filter(|(_, held)| matches!(held.state, State::Running { .. }));
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

    /// Runs the handler for an attempt that [`is_starting`](Self::is_starting).
    pub(crate) fn run(&mut self, attempt: Attempt) {
        let lease = Lease { order_id: attempt.order.id, token: attempt.lease };
        let cancel = CancellationToken::new();
        let run = attempt::run(self.handler.clone(), attempt, cancel.clone(), self.attempt_timeout);
        let abort = self.handlers.spawn(async move { (lease, run.await) });
        let held = Held { token: lease.token, state: State::Running { cancel, abort } };
        self.orders.insert(lease.order_id, held);
        metrics::started();
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

    /// Frees the slot of a handler that ended. The verdict, if it is wanted.
    pub(crate) fn ended(&mut self, ended: Ended) -> Option<(Lease, Verdict)> {
        let (lease, verdict) = match ended {
            Ok(ended) => ended,
            // Dropping the handler's future panicked; or the shutdown stopped it, and then its order
            // is not in hand any more.
            Err(error) => (
                self.lease_of(&error)?,
                Some(Verdict::retry("the handler panicked at its end").with_class("handler_panicked")),
            ),
        };
        let Entry::Occupied(held) = self.orders.entry(lease.order_id) else { return None };
        if held.get().token != lease.token {
            return None;
        }
        match held.remove().state {
            State::Running { .. } => {
                self.count(self.running - 1);
                let verdict =
                    verdict.unwrap_or_else(|| Verdict::retry("the handler cancelled its own token"));
                Some((lease, verdict))
            }
            State::Abandoned(_) => {
                metrics::abandoned();
                None
            }
            State::Starting => None,
        }
    }

    /// Stops every handler at once and frees their slots. What ran; what is starting stays.
    pub(crate) fn stop(&mut self) -> Vec<Lease> {
        let running = self.leases().collect();
        self.orders.retain(|_, held| match &held.state {
            State::Starting => true,
            State::Abandoned(_) => false,
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
            State::Starting | State::Abandoned(None) => false,
        };
        let (order_id, held) = self.orders.iter().find(|(_, held)| of_task(held))?;
        Some(Lease { order_id: *order_id, token: held.token })
    }

    fn count(&mut self, running: usize) {
        self.running = running;
        metrics::running(running);
    }
}
