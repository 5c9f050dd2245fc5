//! The short way of a new order: into the queue right after its COMMIT.
//!
//! While dispatch finds nothing that waits, it says how much room the queue has, and orders that can be
//! started at once take it: they are written as if dispatch had just taken them (due only when their
//! guard runs out) and pushed behind the answer to the client. That saves the database a search and a
//! change for each of them. As soon as there is no room, or anything waits in the table, new orders
//! wait there as well, so that nobody is overtaken by more than a batch.
//!
//! A push that does not get through lets its orders wait. One that is lost together with this
//! process costs the guard, as any lost job does.

use std::sync::Arc;

use broker::{Job, Queue, QueueEnd};
use domain::Priority;
use tokio_util::task::TaskTracker;

use crate::config::Config;
use crate::health_monitor::Vitals;
use crate::queue_capacity::{Reserved, Room};
use crate::wake::Wake;
use gateway_store::Store;
use gateway_store::{Creation, NewOrder};

/// The way into the queue. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Shortcut {
    pub(crate) room: Room,
    pub(crate) store: Store,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) config: Arc<Config>,
    pub(crate) wake: Wake,
    pub(crate) vitals: Vitals,
    pub(crate) tasks: TaskTracker,
}

/// Orders that go the short way once they are committed.
pub(crate) struct Passage {
    shortcut: Shortcut,
    reserved: Reserved,
}

impl Shortcut {
    /// The short way for those of the creations that can be started at once, if it is open.
    pub(crate) fn reserve(&self, creations: &[Creation]) -> Option<Passage> {
        let orders = creations.iter().flat_map(|creation| &*creation.orders);
        let jobs = orders.filter(|order| order.starts_at_once()).count() as u64;
        let reserved = self.room.reserve(jobs)?;
        Some(Passage { shortcut: self.clone(), reserved })
    }
}

impl Passage {
    /// Pushes the committed orders, behind the back of the caller.
    pub(crate) fn push<'a>(self, orders: impl Iterator<Item = &'a NewOrder>) {
        let (mut ahead, mut behind) = (Vec::new(), Vec::new());
        for order in orders.filter(|order| order.starts_at_once()) {
            let job = Job { order_id: order.id, quantity: order.quantity };
            match order.priority {
                Priority::High => ahead.push(job),
                Priority::Normal | Priority::Low => behind.push(job),
            }
        }
        if ahead.is_empty() && behind.is_empty() {
            return;
        }
        let tasks = self.shortcut.tasks.clone();
        tasks.spawn(async move {
            let Self { shortcut, reserved } = self;
            let filled = shortcut.fill(&ahead, &behind).await;
            shortcut.vitals.pushed(&filled);
            match filled {
                Ok(waiting) => {
                    let window = u64::from(shortcut.config.max_queue_depth);
                    shortcut.room.set_free(window.saturating_sub(waiting));
                    metrics::counter!("orders_enqueued_total").increment((ahead.len() + behind.len()) as u64);
                }
                Err(error) => {
                    shortcut.room.close();
                    tracing::debug!(%error, "failed to enqueue new orders, dispatch enqueues them");
                    let ids = ahead.iter().chain(&behind).map(|job| job.order_id).collect();
                    if let Err(error) = shortcut.store.drop_guards_of(ids).await {
                        tracing::debug!(%error, "failed to release new orders, they wait for the visibility timeout");
                    }
                    shortcut.wake.due();
                }
            }
            drop(reserved);
        });
    }
}

impl Shortcut {
    /// Fills the queue; answers how many jobs wait there.
    async fn fill(&self, ahead: &[Job], behind: &[Job]) -> Result<u64, broker::Error> {
        let waiting = self.queue.push(ahead, QueueEnd::Front).await?;
        Ok(self.queue.push(behind, QueueEnd::Back).await?.max(waiting))
    }
}
