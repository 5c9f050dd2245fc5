//! Direct enqueue: pushes new orders to the queue right after their COMMIT.
//!
//! While dispatch finds no ready order, it publishes the free capacity of the queue (`queue_capacity`). New orders of the
//! default kind that can start immediately reserve it. They are written as if dispatch had claimed them (held until their visibility
//! timeout) and pushed after the response. This saves one search and one UPDATE per order. When the capacity is used
//! up, or an order waits in the table, new orders wait there as well. At most one batch therefore overtakes a waiting
//! order.
//!
//! When a push fails, its orders wait in the table. When the process is lost before a push, its orders wait for the
//! visibility timeout, like those of every lost job.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker::Job;
use domain::{Priority, TenantId};
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::dispatch_wake::Wake;
use crate::health_monitor::HealthMonitor;
use crate::lanes::Lanes;
use crate::queue_capacity::CapacityReservation;
use crate::queue_shares::Placement;
use gateway_store::Store;
use gateway_store::{CreateRequest, NewOrder};

/// Pushes new orders to the queue. Cheap to clone.
#[derive(Clone)]
pub(crate) struct DirectEnqueue {
    pub(crate) lanes: Lanes,
    pub(crate) store: Store,
    pub(crate) config: Arc<Config>,
    pub(crate) wake: Wake,
    pub(crate) health: HealthMonitor,
    pub(crate) tasks: TaskTracker,
}

/// Permits pushing the orders of one batch once they are committed.
pub(crate) struct EnqueuePermit {
    direct_enqueue: DirectEnqueue,
    reserved: CapacityReservation,
}

impl DirectEnqueue {
    /// Reserves capacity for the orders that can start immediately and are not started otherwise; `None` without enough
    /// capacity.
    pub(crate) fn reserve(
        &self,
        creations: &[CreateRequest],
        starts: impl Fn(&NewOrder) -> bool,
    ) -> Option<EnqueuePermit> {
        let orders = creations.iter().flat_map(|creation| &*creation.orders);
        let jobs = orders.filter(|order| order.is_enqueued_directly() && !starts(order)).count() as u64;
        let reserved = self.lanes.first().capacity.reserve(jobs)?;
        Some(EnqueuePermit { direct_enqueue: self.clone(), reserved })
    }
}

impl EnqueuePermit {
    /// Pushes the committed orders in a background task.
    pub(crate) fn push<'a>(self, orders: impl Iterator<Item = &'a NewOrder>) {
        let mut by_tenant: BTreeMap<&TenantId, [Vec<Job>; 2]> = BTreeMap::new();
        for order in orders.filter(|order| order.is_enqueued_directly()) {
            let [high, others] = by_tenant.entry(&order.tenant_id).or_default();
            let job = Job { order_id: order.id, quantity: order.quantity };
            match order.priority {
                Priority::High => high.push(job),
                Priority::Normal | Priority::Low => others.push(job),
            }
        }
        if by_tenant.is_empty() {
            return;
        }
        let length = self.direct_enqueue.known_length();
        let mut placement = Placement::default();
        for (tenant, [high, others]) in by_tenant {
            let jobs = (high.len() + others.len()) as u64;
            let overtakes = self.direct_enqueue.lanes.first().shares.add(tenant, jobs, length);
            placement.add_high(high);
            placement.add(others, overtakes);
        }
        let tasks = self.direct_enqueue.tasks.clone();
        tasks.spawn(async move {
            let Self { direct_enqueue, reserved } = self;
            let lane = direct_enqueue.lanes.first();
            let filled = placement.push(&*lane.queue).await;
            direct_enqueue.health.record_push(&filled);
            match filled {
                Ok(waiting) => {
                    let window = u64::from(direct_enqueue.config.max_queue_depth);
                    lane.shares.observe(waiting);
                    lane.capacity.set_free(window.saturating_sub(waiting));
                    metrics::counter!("orders_enqueued_total").increment(placement.len());
                }
                Err(error) => {
                    lane.capacity.close();
                    tracing::debug!(%error, "failed to enqueue new orders, dispatch enqueues them");
                    let ids = placement.jobs().map(|job| job.order_id).collect();
                    if let Err(error) = direct_enqueue.store.release_unstarted(ids).await {
                        tracing::debug!(%error, "failed to release new orders, they wait for the visibility timeout");
                    }
                    direct_enqueue.wake.due();
                }
            }
            drop(reserved);
        });
    }
}

impl DirectEnqueue {
    /// Returns the length of the queue at the last pass or push.
    fn known_length(&self) -> u64 {
        u64::from(self.config.max_queue_depth).saturating_sub(self.lanes.first().capacity.free())
    }
}
