//! The sending half of one subscription: bounded, never waits, and never drops anything in silence.

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::Signal;

/// How many messages wait for a subscriber before it counts as having fallen behind.
pub const SUBSCRIPTION_BUFFER: usize = 256;

/// One subscriber, seen from the bus.
///
/// One place of the channel is kept as a spare, for the [`Signal::Connected`] that says that events
/// are missing. When an event finds no room, it is dropped and `Connected` takes the spare place; from
/// then on the first place that becomes free is the new spare, and events are dropped until there is
/// one. So whenever an event is dropped, an unread `Connected` is the last signal in the channel, and
/// the subscriber, who reads the database after it, finds the dropped event there.
pub(crate) struct Subscriber {
    signals: mpsc::Sender<Signal>,
    spare: Option<mpsc::OwnedPermit<Signal>>,
}

impl Subscriber {
    /// A subscriber and the half that it reads from.
    pub(crate) fn new() -> (Self, mpsc::Receiver<Signal>) {
        let (signals, receiver) = mpsc::channel(SUBSCRIPTION_BUFFER + 1);
        (Self { signals, spare: None }, receiver)
    }

    /// Hands the signal over, or marks that something is missing here.
    pub(crate) fn deliver(&mut self, signal: Signal) {
        if self.spare.is_none() {
            match self.signals.clone().try_reserve_owned() {
                Ok(permit) => self.spare = Some(permit),
                // Full, and an unread `Connected` comes last; or nobody reads any more.
                Err(_) => return,
            }
        }
        if let Err(TrySendError::Full(_)) = self.signals.try_send(signal)
            && let Some(spare) = self.spare.take()
        {
            spare.send(Signal::Connected);
        }
    }

    /// Whether the receiver has been dropped.
    pub(crate) fn is_gone(&self) -> bool {
        self.signals.is_closed()
    }

    /// A handle whose `closed()` resolves when the receiver has been dropped.
    pub(crate) fn departure(&self) -> mpsc::Sender<Signal> {
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
                Signal::Events(_) => messages += 1,
            }
        }
        (connected, messages)
    }

    #[test]
    fn a_full_channel_ends_with_exactly_one_connected() {
        let (mut subscriber, mut receiver) = Subscriber::new();
        for _ in 0..3 * SUBSCRIPTION_BUFFER {
            subscriber.deliver(events());
        }
        assert_eq!(receiver.len(), SUBSCRIPTION_BUFFER + 1);
        assert_eq!(drain(&mut receiver), (1, SUBSCRIPTION_BUFFER));

        subscriber.deliver(events());
        assert_eq!(drain(&mut receiver), (0, 1), "it goes on as if nothing had happened");
    }

    #[test]
    fn the_first_free_place_is_the_spare_again() {
        let (mut subscriber, mut receiver) = Subscriber::new();
        for _ in 0..=SUBSCRIPTION_BUFFER {
            subscriber.deliver(events());
        }
        // One place becomes free: it is kept, so the next event is dropped and marked by it.
        receiver.try_recv().unwrap();
        subscriber.deliver(events());
        assert_eq!(drain(&mut receiver), (2, SUBSCRIPTION_BUFFER - 1));
    }

    #[test]
    fn a_reconnect_is_told_even_to_a_full_channel() {
        let (mut subscriber, mut receiver) = Subscriber::new();
        for _ in 0..SUBSCRIPTION_BUFFER {
            subscriber.deliver(events());
        }
        subscriber.deliver(Signal::Connected);
        assert_eq!(drain(&mut receiver), (1, SUBSCRIPTION_BUFFER));
    }

    #[test]
    fn a_dropped_receiver_is_noticed() {
        let (mut subscriber, receiver) = Subscriber::new();
        subscriber.deliver(Signal::Connected);
        assert!(!subscriber.is_gone());
        drop(receiver);
        assert!(subscriber.is_gone());
        subscriber.deliver(events());
    }
}
