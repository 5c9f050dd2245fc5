//! The body of a call: limits the length of its messages, their read timeout, and the memory that they occupy.
//!
//! A message of gRPC is a byte of flags, four bytes with its length, and the message. tonic reserves memory for the
//! announced length, and keeps an incomplete message without a timeout. Therefore this body passes on complete messages
//! only, and buffers an incomplete one in [`ChunkedBuffer`].

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use domain::ErrorCode;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep_until};
use tonic::Status;

use crate::status::{invalid, refuse, to_status};
use gateway_http::buffer_limits::{Budget, ReadDeadline};
use gateway_http::chunked_buffer::ChunkedBuffer;
use gateway_service::Error;

/// Length of the flags and the length field, in bytes.
const PREFIX: usize = 5;

/// The limits of the messages of a call.
#[derive(Debug, Clone, Copy)]
pub(super) struct MessageLimits {
    /// Maximum length of a message, in bytes.
    pub(super) message_bytes: usize,
    /// Whether the body is one message and its end. The messages of a stream arrive at any time.
    pub(super) unary: bool,
    /// The read timeout of a part of a message, see [`ReadDeadline`].
    pub(super) step: Duration,
}

/// The bytes of a call in memory: incomplete messages, and messages that are being processed.
#[derive(Debug)]
pub(super) struct HeldBytes {
    budget: Arc<Budget>,
    bytes: AtomicUsize,
}

impl HeldBytes {
    pub(super) fn new(budget: &Arc<Budget>) -> Arc<Self> {
        Arc::new(Self { budget: Arc::clone(budget), bytes: AtomicUsize::new(0) })
    }

    fn grow(&self, bytes: usize) -> bool {
        let fits = self.budget.take(bytes, self.bytes.load(Ordering::Relaxed));
        if fits {
            self.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        fits
    }

    /// Moves the bytes to the task that processes the message. They are released with the returned value.
    pub(super) fn hand_over(&self) -> Arc<Self> {
        let bytes = self.bytes.swap(0, Ordering::Relaxed);
        Arc::new(Self { budget: Arc::clone(&self.budget), bytes: AtomicUsize::new(bytes) })
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.budget.release(*self.bytes.get_mut());
    }
}

/// A body that passes on complete messages within the limits.
pub(super) struct MessageBody {
    body: Body,
    limits: MessageLimits,
    held: Arc<HeldBytes>,
    prefix: [u8; PREFIX],
    /// The number of bytes of the prefix that have arrived.
    prefix_length: usize,
    /// The number of bytes of the message that have not arrived.
    missing: usize,
    /// The part of an incomplete message that has arrived.
    incomplete: ChunkedBuffer,
    /// Whether a message was passed on.
    has_message: bool,
    read_deadline: Option<ReadDeadline>,
    /// Runs while the body expects bytes.
    timer: Option<Pin<Box<Sleep>>>,
}

impl MessageBody {
    pub(super) fn new(body: Body, limits: MessageLimits, held: &Arc<HeldBytes>) -> Self {
        let held = Arc::clone(held);
        Self {
            body,
            limits,
            held,
            prefix: [0; PREFIX],
            prefix_length: 0,
            missing: 0,
            incomplete: ChunkedBuffer::default(),
            has_message: false,
            read_deadline: None,
            timer: None,
        }
    }

    /// Returns whether bytes must arrive before the deadline.
    fn expects_bytes(&self) -> bool {
        self.limits.unary || self.prefix_length > 0 || self.missing > 0
    }

    /// Counts the next bytes. Returns how many of them belong to complete messages.
    fn advance(&mut self, data: &[u8]) -> Result<usize, Status> {
        let (mut bytes, mut complete) = (data, 0);
        if !self.held.grow(bytes.len()) {
            return Err(to_status(Error::overloaded()));
        }
        if let Some(read_deadline) = &mut self.read_deadline {
            read_deadline.received(bytes.len());
        }
        while !bytes.is_empty() {
            if self.missing > 0 {
                let taken = self.missing.min(bytes.len());
                self.missing -= taken;
                bytes = &bytes[taken..];
                if self.missing == 0 {
                    complete = data.len() - bytes.len();
                }
                continue;
            }
            let taken = (PREFIX - self.prefix_length).min(bytes.len());
            self.prefix[self.prefix_length..self.prefix_length + taken].copy_from_slice(&bytes[..taken]);
            self.prefix_length += taken;
            bytes = &bytes[taken..];
            if self.prefix_length == PREFIX {
                let [_flags, length @ ..] = self.prefix;
                self.missing = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                self.prefix_length = 0;
                if self.missing > self.limits.message_bytes {
                    return Err(too_long(self.limits.message_bytes));
                }
                if self.missing == 0 {
                    complete = data.len() - bytes.len();
                }
            }
        }
        if !self.expects_bytes() {
            self.read_deadline = None;
            self.timer = None;
        }
        Ok(complete)
    }

    /// Returns the complete messages of the next bytes, and buffers the rest.
    fn take_complete(&mut self, mut data: Bytes) -> Result<Option<Bytes>, Status> {
        let mut complete = data.split_to(self.advance(&data)?);
        if !complete.is_empty() && !self.incomplete.is_empty() {
            self.incomplete.push(&complete);
            complete = self.incomplete.joined().into();
        }
        self.incomplete.push(&data);
        Ok(Some(complete).filter(|complete| !complete.is_empty()))
    }

    /// Completes when the expected bytes have not arrived in time.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.expects_bytes() {
            return Poll::Pending;
        }
        let step = self.limits.step;
        let deadline = self.read_deadline.get_or_insert_with(|| ReadDeadline::begin(step)).deadline();
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx)
    }
}

fn too_long(max: usize) -> Status {
    metrics::counter!("orders_http_rejections_total", "reason" => "body").increment(1);
    refuse(ErrorCode::BodyTooLarge, format!("a message of this call may have at most {max} bytes"))
}

fn timed_out() -> Status {
    metrics::counter!("orders_http_rejections_total", "reason" => "body_timeout").increment(1);
    refuse(ErrorCode::BodyTimeout, "the message did not arrive in time")
}

impl hyper::body::Body for MessageBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        loop {
            return match Pin::new(&mut this.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => match this.take_complete(data).transpose() {
                        Some(complete) => {
                            this.has_message = true;
                            Poll::Ready(Some(complete.map(Frame::data)))
                        }
                        None => continue,
                    },
                    Err(trailers) => Poll::Ready(Some(Ok(trailers))),
                },
                Poll::Ready(Some(Err(error))) => {
                    Poll::Ready(Some(Err(Status::from_error(error.into_inner()))))
                }
                // tonic would report an internal error.
                Poll::Ready(None) if !this.incomplete.is_empty() => {
                    this.incomplete = ChunkedBuffer::default();
                    Poll::Ready(Some(Err(invalid("the body ended in the middle of a message"))))
                }
                Poll::Ready(None) if this.limits.unary && !std::mem::replace(&mut this.has_message, true) => {
                    Poll::Ready(Some(Err(invalid("the call has no message"))))
                }
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => {
                    ready!(this.poll_deadline(cx));
                    Poll::Ready(Some(Err(timed_out())))
                }
            };
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incomplete.is_empty() && (self.has_message || !self.limits.unary) && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};
    use http_body_util::BodyExt;
    use tonic::Code;

    use super::*;

    const LIMITS: MessageLimits =
        MessageLimits { message_bytes: 100, unary: false, step: Duration::from_secs(10) };

    fn message(length: u8) -> Vec<u8> {
        [vec![0, 0, 0, 0, length], vec![7; usize::from(length)]].concat()
    }

    /// Returns a body that sends these pieces and does not end.
    fn body(pieces: Vec<Vec<u8>>) -> Body {
        let pieces = stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
        Body::from_stream(pieces.chain(stream::pending()))
    }

    async fn outcome(body: Body, limits: MessageLimits, budget: &Arc<Budget>) -> Option<Code> {
        let mut messages = MessageBody::new(body, limits, &HeldBytes::new(budget));
        let end = async {
            loop {
                if let Err(status) = messages.frame().await.expect("the body does not end") {
                    return status.code();
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(600), end).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn only_an_incomplete_message_has_a_deadline() {
        let budget = Budget::new("test", 1_000);
        let unary = MessageLimits { unary: true, ..LIMITS };
        let half = message(9)[..8].to_vec();
        for (pieces, limits, code) in [
            (vec![], LIMITS, None),
            (vec![message(9), message(0)], LIMITS, None),
            (vec![message(9), half.clone()], LIMITS, Some(Code::DeadlineExceeded)),
            (vec![vec![0]], LIMITS, Some(Code::DeadlineExceeded)),
            (vec![], unary, Some(Code::DeadlineExceeded)),
            (vec![message(9)], unary, Some(Code::DeadlineExceeded)),
            (vec![message(100)], LIMITS, None),
            (vec![message(101)], LIMITS, Some(Code::ResourceExhausted)),
        ] {
            assert_eq!(outcome(body(pieces.clone()), limits, &budget).await, code, "{pieces:?} {limits:?}");
            assert_eq!(budget.used(), 0);
        }
        assert_eq!(outcome(body(vec![message(100); 20]), LIMITS, &budget).await, Some(Code::Unavailable));
    }

    #[tokio::test]
    async fn complete_messages_are_passed_on_at_once() {
        let budget = Budget::new("test", 1_000);
        let all = [message(3), message(0), message(50), message(2)].concat();
        for piece in [1, 4, 7, all.len()] {
            let pieces: Vec<Vec<u8>> = all.chunks(piece).map(<[u8]>::to_vec).collect();
            let mut messages = MessageBody::new(body(pieces), LIMITS, &HeldBytes::new(&budget));
            let mut seen = Vec::new();
            while seen.len() < all.len() {
                let data = messages.frame().await.unwrap().unwrap().into_data().unwrap();
                assert!(piece > 1 || [8, 5, 55, 7].contains(&data.len()), "{}", data.len());
                seen.extend_from_slice(&data);
            }
            assert_eq!(seen, all, "in pieces of {piece}");
        }
        // A complete message is passed on while the next one is incomplete.
        let begun = [message(3), vec![0, 0]].concat();
        let mut messages = MessageBody::new(body(vec![begun.clone()]), LIMITS, &HeldBytes::new(&budget));
        assert_eq!(messages.frame().await.unwrap().unwrap().into_data().unwrap(), message(3));
        // When the client ends the body, the incomplete message is an error, as is a unary call without one.
        let unary = MessageLimits { unary: true, ..LIMITS };
        for (bytes, limits) in [(begun, LIMITS), (vec![0, 0, 0, 0, 50], unary), (Vec::new(), unary)] {
            let messages = MessageBody::new(Body::from(bytes), limits, &HeldBytes::new(&budget));
            assert_eq!(messages.collect().await.unwrap_err().code(), Code::InvalidArgument);
        }
        let messages = MessageBody::new(Body::from(message(3)), unary, &HeldBytes::new(&budget));
        assert_eq!(messages.collect().await.unwrap().to_bytes(), message(3));
    }

    #[tokio::test(start_paused = true)]
    async fn single_bytes_do_not_move_the_deadline() {
        let budget = Budget::new("test", 1_000);
        let bytes = stream::iter(message(100)).then(|byte| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok::<_, std::io::Error>(vec![byte])
        });
        let began = tokio::time::Instant::now();
        let code = outcome(Body::from_stream(bytes), LIMITS, &budget).await;
        assert_eq!(code, Some(Code::DeadlineExceeded));
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    }
}
