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

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use broker::{Job, Place, Queue};
use domain::Priority;
use tokio_util::task::TaskTracker;

use crate::dispatch::Wake;
use crate::store::{Creation, NewOrder};
use crate::vitals::Vitals;
use crate::{Config, Store};

/// How much of the queue new orders may take. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Room(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    open: bool,
    /// How often it was closed.
    closings: u64,
    /// Jobs that fit into the queue, as last seen.
    free: u64,
    /// Jobs that are on their way into it.
    reserved: u64,
}

impl Room {
    /// A mark for [`Self::open`], from before somebody looks whether anything waits.
    pub(crate) fn mark(&self) -> u64 {
        self.lock().closings
    }

    /// Nothing waits, and so many jobs fit into the queue, unless the room was closed since the mark.
    pub(crate) fn open(&self, mark: u64, free: u64) {
        let mut state = self.lock();
        state.open = state.closings == mark;
        state.free = free;
    }

    /// New orders have to wait for dispatch.
    pub(crate) fn close(&self) {
        self.lock().close();
    }

    /// Takes room for so many jobs. When there is not enough the room is closed: who comes later must
    /// not find the place that this one did not get.
    fn reserve(&self, jobs: u64) -> Option<Reserved> {
        let mut state = self.lock();
        if !state.open || state.reserved + jobs > state.free {
            state.close();
            return None;
        }
        state.reserved += jobs;
        drop(state);
        Some(Reserved { room: self.clone(), jobs })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn close(&mut self) {
        self.open = false;
        self.closings += 1;
    }
}

/// Room that was taken. It is given back when the jobs are in the queue, and counted there from then on.
struct Reserved {
    room: Room,
    jobs: u64,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.room.lock().reserved -= self.jobs;
    }
}

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
                    let window = u64::from(shortcut.config.queue_window);
                    shortcut.room.lock().free = window.saturating_sub(waiting);
                    metrics::counter!("orders_enqueued_total").increment((ahead.len() + behind.len()) as u64);
                }
                Err(error) => {
                    shortcut.room.close();
                    tracing::debug!(%error, "new orders are left to dispatch");
                    let ids = ahead.iter().chain(&behind).map(|job| job.order_id).collect();
                    if let Err(error) = shortcut.store.drop_guards_of(ids).await {
                        tracing::debug!(%error, "new orders wait until their guard runs out");
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
        let waiting = self.queue.push(ahead, Place::Front).await?;
        Ok(self.queue.push(behind, Place::End).await?.max(waiting))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_until_the_queue_is_full_and_then_until_dispatch_says_so_again() {
        let room = Room::default();
        assert!(room.reserve(1).is_none(), "dispatch has not looked yet");
        room.open(room.mark(), 5);
        let first = room.reserve(3).unwrap();
        let second = room.reserve(2).unwrap();
        drop(first);
        assert!(room.reserve(4).is_none());
        drop(second);
        assert!(room.reserve(1).is_none(), "somebody waits in the table now");
        room.open(room.mark(), 5);
        assert!(room.reserve(5).is_some());
        let mark = room.mark();
        room.close();
        room.open(mark, 5);
        assert!(room.reserve(1).is_none(), "somebody has closed it since dispatch looked");
    }
}
