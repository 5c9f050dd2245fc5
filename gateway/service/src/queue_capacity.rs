//! The number of new orders that can be pushed to the queue without dispatch.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The capacity of the queue for new orders. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct QueueCapacity(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    open: bool,
    /// Number of closes, by which [`QueueCapacity::open`] detects a close since its mark.
    closings: u64,
    /// Number of jobs that fitted into the queue at the last check.
    free: u64,
    /// Number of jobs that are being pushed.
    reserved: u64,
}

impl QueueCapacity {
    /// Returns a mark for [`Self::open`]; taken before dispatch searches for ready orders.
    pub(crate) fn mark(&self) -> u64 {
        self.lock().closings
    }

    /// Permits pushing `free` jobs, unless the capacity was closed since the mark.
    pub(crate) fn open(&self, mark: u64, free: u64) {
        let mut state = self.lock();
        state.open = state.closings == mark;
        state.free = free;
    }

    /// Closes the capacity: new orders wait for dispatch.
    pub(crate) fn close(&self) {
        self.lock().close();
    }

    /// Returns whether no order waits in the table, as far as this gateway knows.
    pub(crate) fn is_open(&self) -> bool {
        self.lock().open
    }

    /// Reserves capacity for `jobs`. Without enough capacity it is closed: a later, smaller batch must not overtake
    /// this one.
    pub(crate) fn reserve(&self, jobs: u64) -> Option<CapacityReservation> {
        let mut state = self.lock();
        if !state.open || state.reserved + jobs > state.free {
            state.close();
            return None;
        }
        state.reserved += jobs;
        drop(state);
        Some(CapacityReservation { capacity: self.clone(), jobs })
    }

    /// Sets the number of jobs that fit into the queue.
    pub(crate) fn set_free(&self, free: u64) {
        self.lock().free = free;
    }

    /// Returns the number of jobs that fitted into the queue at the last check.
    pub(crate) fn free(&self) -> u64 {
        self.lock().free
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

/// Reserved capacity. It is released when the jobs are in the queue, where they count from then on.
pub(crate) struct CapacityReservation {
    capacity: QueueCapacity,
    jobs: u64,
}

impl Drop for CapacityReservation {
    fn drop(&mut self) {
        self.capacity.lock().reserved -= self.jobs;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserve_fails_when_queue_is_full() {
        let capacity = QueueCapacity::default();
        assert!(capacity.reserve(1).is_none(), "dispatch has not searched yet");
        capacity.open(capacity.mark(), 5);
        let first = capacity.reserve(3).unwrap();
        let second = capacity.reserve(2).unwrap();
        drop(first);
        assert!(capacity.reserve(4).is_none());
        drop(second);
        assert!(capacity.reserve(1).is_none(), "an order waits in the table now");
        capacity.open(capacity.mark(), 5);
        assert!(capacity.reserve(5).is_some());
        let mark = capacity.mark();
        capacity.close();
        capacity.open(mark, 5);
        assert!(capacity.reserve(1).is_none(), "closed after dispatch took its mark");
    }
}
