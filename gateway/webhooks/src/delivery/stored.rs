//! The messages of an endpoint that are sent besides its readers: events that failed, the later events of their orders, and
//! notices.
//!
//! The events of an order are sent in their sequence: while one waits for its next attempt, the later ones wait behind it.

use std::collections::{BTreeMap, HashMap};

use domain::{OrderId, Timestamp};
use gateway_store::{MessageState, WebhookMessage};

/// Maximum number of messages of an endpoint that wait. Its readers then pause.
pub(super) const MAX_WAITING: usize = 1_000;

/// The messages.
#[derive(Debug, Default)]
pub(super) struct Stored {
    orders: HashMap<OrderId, BTreeMap<u32, WebhookMessage>>,
    notices: BTreeMap<String, WebhookMessage>,
    length: usize,
}

impl Stored {
    pub(super) fn new(messages: Vec<WebhookMessage>) -> Self {
        let mut stored = Self::default();
        messages.into_iter().for_each(|message| stored.insert(message));
        stored
    }

    pub(super) fn is_full(&self) -> bool {
        self.length >= MAX_WAITING
    }

    /// Returns whether a message of the order waits.
    pub(super) fn has_order(&self, order: &OrderId) -> bool {
        self.orders.contains_key(order)
    }

    /// Returns whether a message is here.
    pub(super) fn contains(&self, message: &WebhookMessage) -> bool {
        match message.event {
            Some((order, sequence, _)) => {
                self.orders.get(&order).is_some_and(|events| events.contains_key(&sequence))
            }
            None => self.notices.contains_key(&message.id),
        }
    }

    /// Adds a message, or replaces the one with its id.
    pub(super) fn insert(&mut self, message: WebhookMessage) {
        let before = match message.event {
            Some((order, sequence, _)) => self.orders.entry(order).or_default().insert(sequence, message),
            None => self.notices.insert(message.id.clone(), message),
        };
        self.length += usize::from(before.is_none());
    }

    /// Removes a message that was delivered or has failed. The next one of its order is due.
    pub(super) fn remove(&mut self, message: &WebhookMessage, now: Timestamp) {
        let removed = match message.event {
            Some((order, sequence, _)) => {
                let Some(events) = self.orders.get_mut(&order) else { return };
                let removed = events.remove(&sequence);
                if let Some(mut next) = events.first_entry() {
                    next.get_mut().due_at = now;
                } else {
                    self.orders.remove(&order);
                }
                removed
            }
            None => self.notices.remove(&message.id),
        };
        self.length -= usize::from(removed.is_some());
    }

    /// Makes every message due.
    pub(super) fn make_due(&mut self, now: Timestamp) {
        let events = self.orders.values_mut().flat_map(BTreeMap::values_mut);
        for message in events.chain(self.notices.values_mut()) {
            message.due_at = message.due_at.min(now);
        }
    }

    /// Returns the message that is due first: of each order the first one, and only of orders for which `is_free` holds.
    pub(super) fn next(&self, is_free: impl Fn(&OrderId) -> bool) -> Option<&WebhookMessage> {
        let free = self.orders.iter().filter(|(order, _)| is_free(order));
        let first = free.filter_map(|(_, events)| events.values().next());
        first.chain(self.notices.values()).min_by_key(|message| message.due_at)
    }
}

/// Returns the message of an event that waits.
pub(super) fn waiting(
    id: String,
    event: (OrderId, u32, u64),
    attempts: u32,
    last_error: Option<String>,
    due_at: Timestamp,
    now: Timestamp,
) -> WebhookMessage {
    WebhookMessage {
        id,
        event: Some(event),
        state: MessageState::Waiting,
        attempts,
        due_at,
        created_at: now,
        last_error,
        body: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(order: u8, sequence: u32, due_at: i64) -> WebhookMessage {
        let event = (OrderId::from_bytes([order; 16]), sequence, 1);
        let time = Timestamp::from_micros;
        waiting(format!("{order}-{sequence}"), event, 1, None, time(due_at), time(0))
    }

    #[test]
    fn events_of_an_order_are_sent_in_their_sequence() {
        let messages = vec![message(1, 4, 1), message(1, 3, 50), message(2, 1, 60)];
        let mut stored = Stored::new(messages);
        let next =
            |stored: &Stored| stored.next(|_| true).map(|message| (message.id.clone(), message.due_at));
        let at = Timestamp::from_micros;
        assert_eq!(next(&stored), Some(("1-3".to_owned(), at(50))));
        let busy = stored.next(|order| *order != OrderId::from_bytes([1; 16]));
        assert_eq!(busy.map(|message| message.id.as_str()), Some("2-1"));
        stored.remove(&message(1, 3, 50), at(55));
        assert_eq!(next(&stored), Some(("1-4".to_owned(), at(55))));
        stored.remove(&message(1, 4, 0), at(56));
        stored.remove(&message(1, 4, 0), at(56));
        assert!(!stored.has_order(&OrderId::from_bytes([1; 16])));
        assert_eq!(next(&stored), Some(("2-1".to_owned(), at(60))));
        stored.make_due(at(57));
        assert_eq!(next(&stored), Some(("2-1".to_owned(), at(57))));
        stored.insert(message(2, 1, 90));
        assert!(stored.contains(&message(2, 1, 0)) && !stored.contains(&message(2, 2, 0)));
        assert_eq!((next(&stored).map(|(_, due)| due), stored.length), (Some(at(90)), 1));
        limits_page::row("messages of a webhook endpoint that wait for another attempt", "1,000");
    }
}
