//! How many new orders may go into the queue without dispatch.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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
    pub(crate) fn reserve(&self, jobs: u64) -> Option<Reserved> {
        let mut state = self.lock();
        if !state.open || state.reserved + jobs > state.free {
            state.close();
            return None;
        }
        state.reserved += jobs;
        drop(state);
        Some(Reserved { room: self.clone(), jobs })
    }

    /// So many jobs fit into the queue.
    pub(crate) fn set_free(&self, free: u64) {
        self.lock().free = free;
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
pub(crate) struct Reserved {
    room: Room,
    jobs: u64,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.room.lock().reserved -= self.jobs;
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
