//! The watched orders and the latest events of each.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use domain::{OrderEvent, OrderId, OrderMap, Progress};
use tokio::sync::watch;

/// Maximum number of events in a topic. A subscriber that is further behind reads the database.
const MAX_TOPIC_EVENTS: usize = 16;

/// The latest events of one order, and the highest sequence that all subscribers have.
#[derive(Default)]
pub(super) struct TopicEvents {
    events: VecDeque<Arc<OrderEvent>>,
    position: u32,
    /// The latest progress that was reported since the topic exists.
    pub(super) progress: Option<Arc<Progress>>,
    /// Consecutive comparisons with the database that did not find the order.
    missing: u32,
}

/// Number of comparisons without the order after which it counts as removed.
///
/// A single one is not sufficient, because it can read a replica that is behind.
const GONE_AFTER: u32 = 2;

impl TopicEvents {
    /// Inserts an event by sequence. Returns whether it was new.
    fn add(&mut self, event: &Arc<OrderEvent>) -> bool {
        self.position = self.position.max(event.sequence);
        self.missing = 0;
        match self.events.binary_search_by_key(&event.sequence, |kept| kept.sequence) {
            Ok(_) => false,
            Err(place) => {
                self.events.insert(place, event.clone());
                if self.events.len() > MAX_TOPIC_EVENTS {
                    self.events.pop_front();
                }
                true
            }
        }
    }

    /// Returns whether the order has been removed.
    pub(super) fn is_gone(&self) -> bool {
        self.missing >= GONE_AFTER
    }

    /// Returns whether the latest event is after `sequence` and final.
    pub(super) fn is_final_since(&self, sequence: u32) -> bool {
        self.events.back().is_some_and(|event| event.sequence > sequence && event.status.is_final())
    }

    /// Returns the events that directly follow `last`, and whether a gap follows them.
    pub(super) fn after(&self, last: u32) -> (Vec<Arc<OrderEvent>>, bool) {
        let mut found = Vec::new();
        let mut expected = last;
        for event in self.events.iter().filter(|event| event.sequence > last) {
            // A later sequence is above `expected`, so the addition does not saturate.
            expected = expected.saturating_add(1);
            if event.sequence != expected {
                return (found, true);
            }
            found.push(event.clone());
        }
        (found, false)
    }
}

#[derive(Default)]
pub(super) struct Topics {
    topics: Mutex<OrderMap<watch::Sender<TopicEvents>>>,
}

impl Topics {
    /// Attaches a subscriber. The topic is removed with its last subscriber.
    pub(super) fn attach(&self, id: OrderId) -> watch::Receiver<TopicEvents> {
        self.lock().entry(id).or_insert_with(|| watch::Sender::new(TopicEvents::default())).subscribe()
    }

    /// Detaches a subscriber and drops its receiver.
    pub(super) fn detach(&self, id: OrderId, receiver: watch::Receiver<TopicEvents>) {
        let mut topics = self.lock();
        drop(receiver);
        if topics.get(&id).is_some_and(|topic| topic.receiver_count() == 0) {
            topics.remove(&id);
        }
    }

    /// Records that a subscriber has read the database up to this sequence. Ignored while there are other subscribers:
    /// they may still wait for these events, and the comparison with the database would not deliver them.
    pub(super) fn reached(&self, id: OrderId, sequence: u32) {
        if let Some(topic) = self.lock().get(&id).filter(|topic| topic.receiver_count() == 1) {
            topic.send_if_modified(|recent| {
                recent.position = recent.position.max(sequence);
                false
            });
        }
    }

    /// Delivers events to the existing topics.
    pub(super) fn deliver(&self, events: &[Arc<OrderEvent>]) {
        let topics = self.lock();
        if topics.is_empty() {
            return;
        }
        for event in events {
            if let Some(topic) = topics.get(&event.order_id) {
                topic.send_if_modified(|recent| recent.add(event));
            }
        }
    }

    /// Delivers progress to the topic of its order, if it exists.
    pub(super) fn deliver_progress(&self, progress: &Arc<Progress>) {
        if let Some(topic) = self.lock().get(&progress.order_id) {
            topic.send_modify(|recent| recent.progress = Some(progress.clone()));
        }
    }

    /// Records whether the database has the order. Subscribers of a removed order are notified.
    pub(super) fn record_existence(&self, id: OrderId, found: bool) {
        if let Some(topic) = self.lock().get(&id) {
            topic.send_if_modified(|recent| {
                recent.missing = if found { 0 } else { recent.missing.saturating_add(1) };
                recent.missing == GONE_AFTER
            });
        }
    }

    /// Returns the watched orders of a part, each with its highest delivered or read sequence, and the number of all watched
    /// orders. An order that was not found in the last comparison belongs to every part.
    pub(super) fn positions(&self, part: Option<(u8, u8)>) -> (Vec<(OrderId, u32)>, usize) {
        let topics = self.lock();
        let positions = topics.iter().filter_map(|(id, topic)| {
            let recent = topic.borrow();
            // The last byte is random.
            let is_part = part.is_none_or(|(part, parts)| id.as_bytes()[15] % parts == part);
            (is_part || recent.missing > 0).then_some((*id, recent.position))
        });
        (positions.collect(), topics.len())
    }

    fn lock(&self) -> MutexGuard<'_, OrderMap<watch::Sender<TopicEvents>>> {
        // No change under this lock can panic half-way.
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{Status, Timestamp};

    fn event(sequence: u32) -> Arc<OrderEvent> {
        Arc::new(OrderEvent {
            tenant_id: domain::TenantId::default(),
            order_id: OrderId::from_bytes([7; 16]),
            sequence,
            status: Status::Pending,
            previous_status: None,
            attempt: 0,
            reason: None,
            error_class: None,
            worker: None,
            occurred_at: Timestamp::from_micros(0),
        })
    }

    fn sequences(recent: &TopicEvents, last: u32) -> (Vec<u32>, bool) {
        let (events, hole) = recent.after(last);
        (events.iter().map(|event| event.sequence).collect(), hole)
    }

    #[test]
    fn events_are_kept_by_sequence_in_any_order_of_arrival() {
        let mut recent = TopicEvents::default();
        for sequence in [3, 1, 3, 2] {
            recent.add(&event(sequence));
        }
        assert_eq!(sequences(&recent, 0), (vec![1, 2, 3], false));
        assert_eq!(sequences(&recent, 2), (vec![3], false));
        assert_eq!(sequences(&recent, 3), (vec![], false));
    }

    #[test]
    fn last_possible_sequence_is_accepted() {
        let mut recent = TopicEvents::default();
        recent.add(&event(u32::MAX));
        assert_eq!(sequences(&recent, u32::MAX - 1), (vec![u32::MAX], false));
        assert_eq!(sequences(&recent, u32::MAX), (vec![], false));
    }

    #[test]
    fn missing_sequences_are_detected() {
        let mut recent = TopicEvents::default();
        recent.add(&event(2));
        recent.add(&event(5));
        assert_eq!(sequences(&recent, 0), (vec![], true));
        assert_eq!(sequences(&recent, 1), (vec![2], true));
        assert_eq!(sequences(&recent, 4), (vec![5], false));
    }

    #[test]
    fn number_of_kept_events_is_limited() {
        let mut recent = TopicEvents::default();
        for sequence in 1..=40 {
            recent.add(&event(sequence));
        }
        assert_eq!(recent.events.len(), MAX_TOPIC_EVENTS);
        assert_eq!(sequences(&recent, 0), (vec![], true));
    }

    #[test]
    fn read_of_one_subscriber_does_not_advance_another() {
        let topics = Topics::default();
        let id = event(1).order_id;
        let waiting = topics.attach(id);
        topics.reached(id, 1);
        assert_eq!(topics.positions(None).0, [(id, 1)]);
        let late = topics.attach(id);
        topics.reached(id, 2);
        assert_eq!(topics.positions(None).0, [(id, 1)], "event 2 was not delivered to the first subscriber");
        topics.detach(id, waiting);
        topics.detach(id, late);
    }

    #[test]
    fn topic_is_removed_with_its_last_subscriber() {
        let topics = Topics::default();
        let id = event(1).order_id;
        let (one, two) = (topics.attach(id), topics.attach(id));
        topics.detach(id, one);
        assert_eq!(topics.positions(None).0, [(id, 0)]);
        topics.detach(id, two);
        assert_eq!(topics.positions(None).0, []);
    }

    #[test]
    fn every_order_is_in_one_part_and_one_that_was_not_found_in_all() {
        let topics = Topics::default();
        let ids: Vec<OrderId> = (0..=255).map(|n| OrderId::from_bytes([n; 16])).collect();
        let _watchers: Vec<_> = ids.iter().map(|id| topics.attach(*id)).collect();
        let in_parts = || (0..15).flat_map(|part| topics.positions(Some((part, 15))).0).count();
        assert_eq!((in_parts(), topics.positions(None).0.len()), (256, 256));
        assert_eq!(topics.positions(Some((0, 15))).1, 256);
        topics.record_existence(ids[7], false);
        assert_eq!(in_parts(), 256 + 14);
        topics.record_existence(ids[7], true);
        assert_eq!(in_parts(), 256);
    }
}
