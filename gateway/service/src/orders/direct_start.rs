//! New orders that are started in the transaction of their creation, for workers that wait for jobs of this gateway.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use domain::{Kind, LeaseToken, OrderId, OrderMap, TenantId, Timestamp};
use gateway_store::{CommandOutcome, CreateRequest, DirectStart, InsertPlan, NewOrder};

use crate::claims::{AssignedJob, Claims, Origin, Slots};
use crate::error::Error;
use crate::lanes::Lanes;

/// The credits that are reserved for the starts of one batch.
#[derive(Default)]
pub(super) struct DirectStarts(Vec<Slots>);

impl DirectStarts {
    /// Reserves credits for orders that can be started at once, in their sequence, while no order of their kind waits.
    /// Returns the starts.
    pub(super) fn reserve(
        claims: &Claims,
        lanes: &Lanes,
        creations: &[CreateRequest],
        now: Timestamp,
        lease: Duration,
    ) -> (OrderMap<DirectStart>, Self) {
        let mut by_worker: BTreeMap<(&TenantId, &Kind), Vec<&NewOrder>> = BTreeMap::new();
        let orders = creations.iter().flat_map(|creation| &*creation.orders);
        for order in orders.filter(|order| order.starts_at_once()) {
            by_worker.entry((&order.tenant_id, &order.kind)).or_default().push(order);
        }
        by_worker.retain(|(_, kind), _| lanes.of(kind).capacity.is_open());
        let mut starts = OrderMap::default();
        let mut reserved = Vec::new();
        for ((tenant, kind), orders) in by_worker {
            let mut orders = orders.into_iter();
            for slots in claims.reserve(Some(tenant), kind, orders.len()) {
                for order in orders.by_ref().take(slots.len()) {
                    let start = DirectStart {
                        lease: slots.lease,
                        until: now + lease,
                        at: now,
                        worker: slots.worker.clone(),
                    };
                    starts.insert(order.id, start);
                }
                reserved.push(slots);
            }
        }
        (starts, Self(reserved))
    }

    /// Sends the started orders to their workers. Returns the leases of workers that have disconnected; unused credits
    /// return.
    pub(super) fn send(
        self,
        started: Vec<Result<CommandOutcome, Error>>,
        plan: &InsertPlan,
    ) -> Vec<(OrderId, LeaseToken)> {
        let mut jobs: BTreeMap<LeaseToken, Vec<AssignedJob>> = BTreeMap::new();
        for outcome in started {
            let Ok(CommandOutcome::Changed { order: Some(order), trace, .. }) = outcome else { continue };
            let Some(DirectStart { lease, .. }) = plan.starts.get(&order.id) else { continue };
            let order = Box::new(Arc::unwrap_or_clone(order));
            jobs.entry(*lease).or_default().push(AssignedJob {
                order,
                lease: *lease,
                trace,
                checkpoint: None,
            });
        }
        let sent = self.0.into_iter().filter_map(|slots| {
            let jobs = jobs.remove(&slots.lease)?;
            slots.send(jobs, Origin::Creation).err()
        });
        sent.flatten().collect()
    }
}

/// Returns the started ones of these new orders, as the outcomes of their starts.
pub(super) fn outcomes<'o, 'p>(
    new: impl Iterator<Item = &'o NewOrder>,
    start_of: impl Fn(&NewOrder) -> Option<&'p DirectStart>,
) -> Vec<Result<CommandOutcome, Error>> {
    let started = new.filter_map(|order| Some((order, start_of(order)?)));
    let outcomes = started.map(|(order, start)| {
        let event = start.event(order);
        Ok(CommandOutcome::Changed {
            elapsed: Some(event.occurred_at.since(order.not_before)),
            event: Arc::new(event),
            order: Some(Arc::new(start.order(order))),
            error_class: None,
            worker: start.worker.clone(),
            trace: order.trace,
        })
    });
    outcomes.collect()
}
