//! A subscription. Its sending half is bounded, never waits, and never drops events without a signal.

use std::future::poll_fn;
use std::task::Poll;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::signal::Signal;

/// The number of messages that the channel of a subscriber holds; a subscriber with more has fallen behind.
pub const SUBSCRIPTION_BUFFER: usize = 256;

/// Receives the signals of one or several channels of a bus.
#[derive(Debug)]
pub struct Subscription {
    channels: Vec<mpsc::Receiver<Signal>>,
    /// The channel that is asked first, so that a busy one delays no other.
    first: usize,
}

impl Subscription {
    /// Receives the next signal; `None` after the end of the bus.
    ///
    /// Dropping the future before it is ready loses no signal.
    pub async fn recv(&mut self) -> Option<Signal> {
        poll_fn(|context| {
            let count = self.channels.len();
            let mut ended = 0;
            for index in (0..count).map(|offset| (self.first + offset) % count) {
                match self.channels[index].poll_recv(context) {
                    Poll::Ready(Some(signal)) => {
                        self.first = index + 1;
                        return Poll::Ready(Some(signal));
                    }
                    Poll::Ready(None) => ended += 1,
                    Poll::Pending => {}
                }
            }
            if ended == count { Poll::Ready(None) } else { Poll::Pending }
        })
        .await
    }

    /// Returns whether a channel can take no further signal before the next one is received.
    pub fn is_full(&self) -> bool {
        self.channels.iter().any(|channel| channel.len() == channel.max_capacity())
    }

    /// Merges subscriptions to several channels.
    pub(crate) fn merge(subscriptions: impl IntoIterator<Item = Self>) -> Self {
        let channels = subscriptions.into_iter().flat_map(|subscription| subscription.channels).collect();
        Self { channels, first: 0 }
    }
}

impl From<mpsc::Receiver<Signal>> for Subscription {
    fn from(channel: mpsc::Receiver<Signal>) -> Self {
        Self { channels: vec![channel], first: 0 }
    }
}

/// One subscriber, as the bus sees it.
///
/// One slot of the channel is reserved for the [`Signal::Connected`] that reports missing events. If the channel is full,
/// the event is dropped and `Connected` takes the reserved slot. The next slot that becomes free is reserved again, and
/// events are dropped until then. Therefore an unread `Connected` is the last signal in the channel whenever an event is
/// dropped. The subscriber reads the database after it and finds the dropped event there.
pub(crate) struct Subscriber {
    signals: mpsc::Sender<Signal>,
    overflow_permit: Option<mpsc::OwnedPermit<Signal>>,
}

impl Subscriber {
    /// Creates a subscriber and its receiver.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Signal>) {
        let (signals, receiver) = mpsc::channel(SUBSCRIPTION_BUFFER + 1);
        (Self { signals, overflow_permit: None }, receiver)
    }

    /// Sends the signal, or marks the gap.
    pub(crate) fn deliver(&mut self, signal: Signal) {
        if self.overflow_permit.is_none() {
            match self.signals.clone().try_reserve_owned() {
                Ok(permit) => self.overflow_permit = Some(permit),
                // The channel is full and ends with an unread `Connected`, or the receiver was dropped.
                Err(_) => return,
            }
        }
        if let Err(TrySendError::Full(_)) = self.signals.try_send(signal)
            && let Some(permit) = self.overflow_permit.take()
        {
            permit.send(Signal::Connected);
        }
    }

    /// Returns whether the receiver has been dropped.
    pub(crate) fn is_closed(&self) -> bool {
        self.signals.is_closed()
    }

    /// Returns a handle whose `closed()` resolves when the receiver has been dropped.
    pub(crate) fn unsubscribe_signal(&self) -> mpsc::Sender<Signal> {
        self.signals.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn events() -> Signal {
        Signal::Events(Arc::from([]))
    }

    fn drain(receiver: &mut mpsc::Receiver<Signal>) -> (usize, usize) {
        let (mut connected, mut messages) = (0, 0);
        while let Ok(signal) = receiver.try_recv() {
            match signal {
                Signal::Connected => connected += 1,
                Signal::Events(_) | Signal::Progress(_) | Signal::Gateway(_) => messages += 1,
            }
        }
        (connected, messages)
    }

    #[test]
    fn full_channel_ends_with_one_connected() {
        let (mut subscriber, mut receiver) = Subscriber::new();
        for _ in 0..3 * SUBSCRIPTION_BUFFER {
            subscriber.deliver(events());
        }
        assert_eq!(receiver.len(), SUBSCRIPTION_BUFFER + 1);
        assert_eq!(drain(&mut receiver), (1, SUBSCRIPTION_BUFFER));

        subscriber.deliver(events());
        assert_eq!(drain(&mut receiver), (0, 1), "delivery continues after the drain");
    }

    #[test]
    fn first_free_slot_is_reserved_again() {
        let (mut subscriber, mut receiver) = Subscriber::new();
        for _ in 0..=SUBSCRIPTION_BUFFER {
            subscriber.deliver(events());
        }
        // One slot becomes free and is reserved, so the next event is dropped and marked by it.
        receiver.try_recv().unwrap();
        subscriber.deliver(events());
        assert_eq!(drain(&mut receiver), (2, SUBSCRIPTION_BUFFER - 1));
    }

    #[test]
    fn full_channel_receives_a_reconnect() {
        let (mut subscriber, mut receiver) = Subscriber::new();
        for _ in 0..SUBSCRIPTION_BUFFER {
            subscriber.deliver(events());
        }
        subscriber.deliver(Signal::Connected);
        assert_eq!(drain(&mut receiver), (1, SUBSCRIPTION_BUFFER));
    }

    #[test]
    fn dropped_receiver_closes_the_subscriber() {
        let (mut subscriber, receiver) = Subscriber::new();
        subscriber.deliver(Signal::Connected);
        assert!(!subscriber.is_closed());
        drop(receiver);
        assert!(subscriber.is_closed());
        subscriber.deliver(events());
    }
}
