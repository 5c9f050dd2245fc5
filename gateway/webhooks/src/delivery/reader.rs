//! The place of an endpoint in the event log: what was read, what is being delivered, and up to where everything is done.

use std::collections::BTreeSet;

use super::positions;

/// Maximum number of selected events between the cursor and the newest event that was read.
const WINDOW: usize = 1_000;
/// Maximum number of positions between them. The stored differences are then short.
const SPAN: u64 = 1 << 28;

/// A reader of the log.
#[derive(Debug)]
pub(super) struct Reader {
    /// Everything up to here is done.
    cursor: u64,
    /// Everything up to here was read.
    fetched: u64,
    /// The position of its last event, if it has an end.
    last: Option<u64>,
    /// Selected events that are not done.
    open: BTreeSet<u64>,
    /// Selected events after the cursor that are done.
    done: BTreeSet<u64>,
}

impl Reader {
    pub(super) fn new(cursor: u64, done: &[u8], last: Option<u64>) -> Self {
        let done = positions::decode(cursor, done);
        Self { cursor, fetched: cursor, last, open: BTreeSet::new(), done }
    }

    /// Returns the position after which to read.
    pub(super) fn fetched(&self) -> u64 {
        self.fetched
    }

    /// Returns the position up to which everything is done.
    pub(super) fn cursor(&self) -> u64 {
        self.cursor
    }

    /// Returns the events after the cursor that are done, as stored bytes.
    pub(super) fn done(&self) -> Vec<u8> {
        positions::encode(self.cursor, &self.done)
    }

    /// Returns whether more events may be read.
    pub(super) fn has_room(&self) -> bool {
        !self.is_read() && self.open.len() + self.done.len() < WINDOW && self.fetched - self.cursor < SPAN
    }

    /// Returns whether everything up to its end was read.
    fn is_read(&self) -> bool {
        self.last.is_some_and(|last| self.fetched >= last)
    }

    /// Returns whether everything up to its end is done.
    pub(super) fn is_finished(&self) -> bool {
        self.last.is_some_and(|last| self.cursor >= last)
    }

    /// Takes a selected event. Returns whether it is to be delivered: not if it was, or comes after the end.
    pub(super) fn select(&mut self, position: u64) -> bool {
        let is_new = !self.done.contains(&position) && self.last.is_none_or(|last| position <= last);
        if is_new {
            self.open.insert(position);
        }
        is_new
    }

    /// Reports that everything up to a position was read, and its selected events were taken.
    pub(super) fn read_up_to(&mut self, position: u64) {
        self.fetched = self.fetched.max(self.last.map_or(position, |last| position.min(last)));
        self.advance();
    }

    /// Reports that an event is done.
    pub(super) fn settle(&mut self, position: u64) {
        if self.open.remove(&position) {
            self.done.insert(position);
            self.advance();
        }
    }

    /// Reads again what is not done, except these events, which are being sent.
    pub(super) fn restart(&mut self) {
        self.open.clear();
        self.fetched = self.cursor;
    }

    fn advance(&mut self) {
        self.cursor = match self.open.first() {
            Some(first) => first - 1,
            None => self.fetched,
        };
        self.done = self.done.split_off(&(self.cursor + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_stays_before_the_oldest_event_that_is_not_done() {
        let mut reader = Reader::new(10, &[], None);
        for position in [12, 15, 20] {
            assert!(reader.select(position));
        }
        reader.read_up_to(25);
        assert_eq!(reader.cursor(), 11);
        reader.settle(15);
        assert_eq!(reader.cursor(), 11);
        reader.settle(12);
        assert_eq!(reader.cursor(), 19);
        assert!(reader.done().is_empty());
        reader.settle(20);
        assert_eq!((reader.cursor(), reader.fetched()), (25, 25));
    }

    #[test]
    fn events_that_are_done_are_not_selected_again() {
        let mut reader = Reader::new(10, &[], None);
        assert!(reader.select(11) && reader.select(12) && reader.select(14));
        reader.read_up_to(14);
        reader.settle(12);
        reader.settle(14);
        let stored = reader.done();
        for mut again in [Reader::new(reader.cursor(), &stored, None), {
            reader.restart();
            reader
        }] {
            assert_eq!(again.fetched(), 10);
            assert!(again.select(11) && !again.select(12) && again.select(13) && !again.select(14));
            again.read_up_to(14);
            again.settle(11);
            again.settle(13);
            assert_eq!(again.cursor(), 14);
        }
    }

    #[test]
    fn a_reader_with_an_end_finishes() {
        let mut reader = Reader::new(10, &[], Some(12));
        assert!(reader.select(12) && !reader.select(13));
        reader.read_up_to(20);
        assert!(!reader.has_room() && !reader.is_finished());
        reader.settle(12);
        assert!(reader.is_finished());
    }

    #[test]
    fn the_window_is_limited() {
        let mut reader = Reader::new(0, &[], None);
        for position in 1..=WINDOW as u64 {
            assert!(reader.has_room() && reader.select(position));
        }
        assert!(!reader.has_room());
        // The first one is not done: the others wait for it.
        (2..=WINDOW as u64).for_each(|position| reader.settle(position));
        assert!(!reader.has_room());
        reader.read_up_to(WINDOW as u64);
        reader.settle(1);
        assert!(reader.has_room());
        limits_page::row("events of a webhook endpoint after the oldest that is not delivered", "1,000");
    }
}
