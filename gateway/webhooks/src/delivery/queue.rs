//! The messages that are ready to be sent: one at a time for each order, and the orders in turn.

use std::collections::{HashMap, HashSet, VecDeque};

use domain::OrderId;

use crate::body::Message;

/// Where a message comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The reader of the endpoint.
    Live,
    /// The second reader.
    Replay,
}

/// An event that is to be sent.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) source: Source,
    pub(super) order: OrderId,
    pub(super) sequence: u32,
    pub(super) position: u64,
    pub(super) message: Message,
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: HashMap<OrderId, VecDeque<Item>>,
    /// The orders with a message that can be sent, in turn.
    ready: VecDeque<OrderId>,
    /// The orders whose message is being sent, or was sent and is not saved.
    busy: HashSet<OrderId>,
    bytes: usize,
    length: usize,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Returns the bytes of the bodies.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn push(&mut self, item: Item) {
        let order = item.order;
        self.bytes += item.message.body.len();
        self.length += 1;
        let items = self.waiting.entry(order).or_default();
        items.push_back(item);
        if items.len() == 1 && !self.busy.contains(&order) {
            self.ready.push_back(order);
        }
    }

    /// Takes the next message of an order for which `is_wanted` holds. The order is then busy.
    pub(super) fn pop(&mut self, is_wanted: impl Fn(&OrderId) -> bool) -> Option<Item> {
        let place = self.ready.iter().position(is_wanted)?;
        let order = self.ready.remove(place)?;
        let items = self.waiting.get_mut(&order)?;
        let item = items.pop_front()?;
        if items.is_empty() {
            self.waiting.remove(&order);
        }
        self.bytes -= item.message.body.len();
        self.length -= 1;
        self.busy.insert(order);
        Some(item)
    }

    /// Returns whether a message of the order is being sent, or was sent and is not saved.
    pub(super) fn is_busy(&self, order: &OrderId) -> bool {
        self.busy.contains(order)
    }

    /// Makes an order busy whose message does not come from the queue.
    pub(super) fn occupy(&mut self, order: OrderId) {
        self.busy.insert(order);
        self.ready.retain(|ready| *ready != order);
    }

    /// Lets the next message of an order be sent.
    pub(super) fn release(&mut self, order: &OrderId) {
        if self.busy.remove(order) && self.waiting.contains_key(order) {
            self.ready.push_back(*order);
        }
    }

    /// Takes all messages of an order.
    pub(super) fn take(&mut self, order: &OrderId) -> VecDeque<Item> {
        let items = self.waiting.remove(order).unwrap_or_default();
        self.ready.retain(|ready| ready != order);
        self.bytes -= items.iter().map(|item| item.message.body.len()).sum::<usize>();
        self.length -= items.len();
        items
    }

    /// Drops all messages. Busy orders stay busy.
    pub(super) fn clear(&mut self) {
        let busy = std::mem::take(&mut self.busy);
        *self = Self { busy, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(order: u8, position: u64) -> Item {
        let message = Message {
            id: position.to_string(),
            kind: String::new(),
            body: "123".into(),
            content_type: "",
            trace: None,
        };
        let order = OrderId::from_bytes([order; 16]);
        Item { source: Source::Live, order, sequence: 1, position, message }
    }

    #[test]
    fn one_message_of_an_order_is_sent_at_a_time() {
        let mut queue = Queue::default();
        for (order, position) in [(1, 1), (1, 2), (2, 3), (1, 4)] {
            queue.push(item(order, position));
        }
        let pop = |queue: &mut Queue| queue.pop(|_| true).map(|item| item.position);
        assert_eq!((pop(&mut queue), pop(&mut queue), pop(&mut queue)), (Some(1), Some(3), None));
        assert_eq!((queue.len(), queue.bytes()), (2, 6));
        let [one, two] = [1, 2].map(|n| OrderId::from_bytes([n; 16]));
        queue.release(&two);
        assert_eq!(pop(&mut queue), None);
        queue.release(&one);
        queue.release(&one);
        assert_eq!((pop(&mut queue), pop(&mut queue)), (Some(2), None));
        queue.push(item(2, 5));
        queue.occupy(two);
        assert_eq!(pop(&mut queue), None);
        assert_eq!(queue.take(&one).len(), 1);
        queue.release(&one);
        queue.release(&two);
        assert_eq!((pop(&mut queue), queue.len(), queue.bytes()), (Some(5), 0, 0));
        assert!(queue.is_busy(&two) && !queue.is_busy(&one));
    }

    #[test]
    fn unwanted_orders_keep_their_place() {
        let mut queue = Queue::default();
        queue.push(item(1, 1));
        queue.push(item(2, 2));
        let one = OrderId::from_bytes([1; 16]);
        assert_eq!(queue.pop(|order| *order != one).map(|item| item.position), Some(2));
        assert!(queue.pop(|order| *order != one).is_none());
        queue.clear();
        assert!(queue.pop(|_| true).is_none() && queue.len() == 0);
    }
}
