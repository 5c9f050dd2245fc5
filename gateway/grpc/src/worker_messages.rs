//! The messages to one worker, in two channels.
//!
//! The first channel has priority: responses, cancellations and small orders. The second one contains one message with
//! large orders, which is sent when the first channel is empty. On a slow connection, large orders therefore delay only
//! each other. A large order starts when the connection has taken the previous message, so its lease does not expire
//! before it is sent.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{BoxStream, PollNext, StreamExt, select_with_strategy};
use proto::v1::gateway_message::Message;
use proto::v1::{Attempt, GatewayMessage, Refused, Started};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

/// Maximum number of queued messages without large orders.
pub(super) const MAX_QUEUED: usize = 64;
/// Maximum size of a small order ([`domain::Order::approximate_bytes`]).
///
/// A full batch of small orders fits into the 4 MiB that gRPC clients accept by default.
pub(super) const LARGE_ORDER_BYTES: usize = 3 * 1024;
/// Maximum size of a message with several large orders.
pub(super) const LARGE_MESSAGE_BYTES: usize = 64 * 1024;
/// Time after which a connection that has not taken a message with large orders is busy.
pub(super) const BUSY_AFTER: Duration = Duration::from_millis(250);

type Outgoing = Result<GatewayMessage, Status>;

/// Sends messages to the worker. The stream ends when every clone is dropped.
#[derive(Clone)]
pub(super) struct Sender {
    first: mpsc::Sender<Outgoing>,
    large: mpsc::Sender<Outgoing>,
    /// When the latest message with large orders was sent.
    sent_large_at: Arc<Mutex<Instant>>,
}

/// Creates the stream of messages and its sender.
pub(super) fn channel() -> (Sender, BoxStream<'static, Outgoing>) {
    let (first, first_out) = mpsc::channel(MAX_QUEUED);
    let (large, large_out) = mpsc::channel(1);
    let sent_large_at = Arc::new(Mutex::new(Instant::now()));
    let stream =
        select_with_strategy(ReceiverStream::new(first_out), ReceiverStream::new(large_out), |_: &mut ()| {
            PollNext::Left
        });
    (Sender { first, large, sent_large_at }, stream.boxed())
}

impl Sender {
    /// Sends a response or a notification. A disconnected worker repeats its request on its next stream.
    pub(super) async fn send(&self, request_id: u64, message: Message) {
        let _ = self.first.send(Ok(GatewayMessage { request_id, message: Some(message) })).await;
    }

    /// Sends the results of some entries of a Start, if there are any.
    pub(super) async fn send_started(&self, request_id: u64, attempts: Vec<Attempt>, refused: Vec<Refused>) {
        if attempts.len() + refused.len() > 0 {
            self.send(request_id, Message::Started(Started { attempts, refused, more: true })).await;
        }
    }

    /// Sends a message after the large orders.
    pub(super) async fn send_after_large(&self, request_id: u64, message: Message) {
        let _ = self.large.send(Ok(GatewayMessage { request_id, message: Some(message) })).await;
    }

    /// Ends the stream with an error.
    pub(super) async fn fail(&self, status: Status) {
        let _ = self.first.send(Err(status)).await;
    }

    /// Completes when the worker has disconnected.
    pub(super) async fn closed(&self) {
        self.first.closed().await;
    }

    /// Returns a permit for one message with large orders.
    ///
    /// `None` if the connection is closed, or busy with the previous message.
    pub(super) async fn large_permit(&self) -> Option<LargePermit<'_>> {
        loop {
            let sent_at = self.sent_large_at();
            match timeout_at(sent_at + BUSY_AFTER, self.large.reserve()).await {
                Ok(permit) => return permit.ok().map(|permit| LargePermit { sender: self, permit }),
                // The connection is not busy if another Start has sent a message in the meantime.
                Err(_) if self.sent_large_at() == sent_at => return None,
                Err(_) => {}
            }
        }
    }

    fn sent_large_at(&self) -> Instant {
        *self.sent_large_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A permit for one message with large orders, see [`Sender::large_permit`].
pub(super) struct LargePermit<'a> {
    sender: &'a Sender,
    permit: mpsc::Permit<'a, Outgoing>,
}

impl LargePermit<'_> {
    pub(super) fn send(self, request_id: u64, attempts: Vec<Attempt>) {
        *self.sender.sent_large_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        let started = Message::Started(Started { attempts, refused: Vec::new(), more: true });
        self.permit.send(Ok(GatewayMessage { request_id, message: Some(started) }));
    }
}

#[cfg(test)]
mod tests {
    use proto::v1::Drain;

    use super::*;
    use limits_page::{bytes, row};

    async fn next(messages: &mut BoxStream<'static, Outgoing>) -> u64 {
        messages.next().await.expect("a message").expect("no error").request_id
    }

    #[tokio::test(start_paused = true)]
    async fn large_orders_follow_all_other_messages() {
        let (sender, mut messages) = channel();
        sender.large_permit().await.expect("free").send(1, Vec::new());
        sender.send(2, Message::Drain(Drain::default())).await;
        sender.send(3, Message::Drain(Drain::default())).await;
        let order = [next(&mut messages).await, next(&mut messages).await, next(&mut messages).await];
        assert_eq!(order, [2, 3, 1]);
        drop(sender);
        assert!(messages.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn connection_is_busy_until_it_takes_the_previous_message() {
        let (sender, mut messages) = channel();
        sender.large_permit().await.expect("free").send(1, Vec::new());
        let before = Instant::now();
        assert!(sender.large_permit().await.is_none());
        assert_eq!(before.elapsed(), BUSY_AFTER);
        assert!(sender.large_permit().await.is_none());
        assert_eq!(before.elapsed(), BUSY_AFTER, "known to be busy");
        assert_eq!(next(&mut messages).await, 1);
        assert!(sender.large_permit().await.is_some());
    }

    #[test]
    fn the_limits_are_documented() {
        row("messages queued for a worker", &MAX_QUEUED.to_string());
        row("order sent to a worker in the message of its batch", &bytes(LARGE_ORDER_BYTES));
        row("message to a worker with larger orders", &bytes(LARGE_MESSAGE_BYTES));
        row("write timeout of a message with larger orders", &format!("{} ms", BUSY_AFTER.as_millis()));
    }
}
