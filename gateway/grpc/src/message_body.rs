//! The body of a call, watched as it arrives: the length of its messages, the time they take, and the bytes that
//! are held.
//!
//! A message of gRPC is a byte of flags, four bytes with its length, and the message. tonic reserves the announced
//! length and keeps what has arrived of a message until it is complete, for as long as the client likes. So it gets
//! complete messages only, see [`Chunks`].

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

use crate::status::{refuse, to_status};
use gateway_http::chunks::Chunks;
use gateway_http::inflight::{Arrival, Budget};
use gateway_service::Error;

/// Flags and length.
const PREFIX: usize = 5;

/// What a body may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct MessageLimits {
    /// Longest message, in bytes.
    pub(super) message_bytes: usize,
    /// One message and the end have to arrive, instead of any number of messages at any time.
    pub(super) unary: bool,
    /// See [`Arrival`].
    pub(super) step: Duration,
}

/// The bytes of a call that are held: those of messages that are not complete, or not done.
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

    /// Hands what is held over to the work on a message that has arrived.
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

/// See the module.
pub(super) struct MessageBody {
    body: Body,
    rule: MessageLimits,
    held: Arc<HeldBytes>,
    prefix: [u8; PREFIX],
    /// How much of the prefix has arrived.
    begun: usize,
    /// How much of the message is still to come.
    rest: usize,
    /// What has arrived of an unfinished message.
    unfinished: Chunks,
    arrival: Option<Arrival>,
    /// Runs while a message is awaited.
    timer: Option<Pin<Box<Sleep>>>,
}

impl MessageBody {
    pub(super) fn new(body: Body, rule: MessageLimits, held: &Arc<HeldBytes>) -> Self {
        let held = Arc::clone(held);
        Self {
            body,
            rule,
            held,
            prefix: [0; PREFIX],
            begun: 0,
            rest: 0,
            unfinished: Chunks::default(),
            arrival: None,
            timer: None,
        }
    }

    /// Whether something has to arrive.
    fn is_due(&self) -> bool {
        self.rule.unary || self.begun > 0 || self.rest > 0
    }

    /// Takes note of the next bytes; returns how many of them belong to complete messages.
    fn advance(&mut self, data: &[u8]) -> Result<usize, Status> {
        let (mut bytes, mut complete) = (data, 0);
        if !self.held.grow(bytes.len()) {
            return Err(to_status(Error::overloaded()));
        }
        if let Some(arrival) = &mut self.arrival {
            arrival.received(bytes.len());
        }
        while !bytes.is_empty() {
            if self.rest > 0 {
                let taken = self.rest.min(bytes.len());
                self.rest -= taken;
                bytes = &bytes[taken..];
                if self.rest == 0 {
                    complete = data.len() - bytes.len();
                }
                continue;
            }
            let taken = (PREFIX - self.begun).min(bytes.len());
            self.prefix[self.begun..self.begun + taken].copy_from_slice(&bytes[..taken]);
            self.begun += taken;
            bytes = &bytes[taken..];
            if self.begun == PREFIX {
                let [_flags, length @ ..] = self.prefix;
                self.rest = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                self.begun = 0;
                if self.rest > self.rule.message_bytes {
                    return Err(too_long(self.rule.message_bytes));
                }
                if self.rest == 0 {
                    complete = data.len() - bytes.len();
                }
            }
        }
        if !self.is_due() {
            self.arrival = None;
            self.timer = None;
        }
        Ok(complete)
    }

    /// Passes on what is complete of the next bytes, and keeps the rest.
    fn passed_on(&mut self, mut data: Bytes) -> Result<Option<Bytes>, Status> {
        let mut complete = data.split_to(self.advance(&data)?);
        if !complete.is_empty() && !self.unfinished.is_empty() {
            self.unfinished.push(&complete);
            complete = self.unfinished.joined().into();
        }
        self.unfinished.push(&data);
        Ok(Some(complete).filter(|complete| !complete.is_empty()))
    }

    /// Ready when what is due has not arrived in time.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_due() {
            return Poll::Pending;
        }
        let step = self.rule.step;
        let deadline = self.arrival.get_or_insert_with(|| Arrival::begin(step)).deadline();
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        timer.as_mut().poll(cx)
    }
}

fn too_long(most: usize) -> Status {
    metrics::counter!("orders_http_rejections_total", "reason" => "body").increment(1);
    refuse(ErrorCode::BodyTooLarge, format!("a message of this call may have at most {most} bytes"))
}

fn late() -> Status {
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
                    Ok(data) => match this.passed_on(data).transpose() {
                        Some(passed_on) => Poll::Ready(Some(passed_on.map(Frame::data))),
                        None => continue,
                    },
                    Err(trailers) => Poll::Ready(Some(Ok(trailers))),
                },
                Poll::Ready(Some(Err(error))) => {
                    Poll::Ready(Some(Err(Status::from_error(error.into_inner()))))
                }
                // tonic says that a message is unfinished.
                Poll::Ready(None) if !this.unfinished.is_empty() => {
                    Poll::Ready(Some(Ok(Frame::data(this.unfinished.joined().into()))))
                }
                Poll::Ready(None) => Poll::Ready(None),
                Poll::Pending => {
                    ready!(this.poll_late(cx));
                    Poll::Ready(Some(Err(late())))
                }
            };
        }
    }

    fn is_end_stream(&self) -> bool {
        self.unfinished.is_empty() && self.body.is_end_stream()
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

    const RULE: MessageLimits =
        MessageLimits { message_bytes: 100, unary: false, step: Duration::from_secs(10) };

    fn message(length: u8) -> Vec<u8> {
        [vec![0, 0, 0, 0, length], vec![7; usize::from(length)]].concat()
    }

    /// These pieces, and then nothing for ever.
    fn body(pieces: Vec<Vec<u8>>) -> Body {
        let pieces = stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
        Body::from_stream(pieces.chain(stream::pending()))
    }

    async fn outcome(body: Body, rule: MessageLimits, budget: &Arc<Budget>) -> Option<Code> {
        let mut messages = MessageBody::new(body, rule, &HeldBytes::new(budget));
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
    async fn only_an_unfinished_message_has_a_deadline() {
        let budget = Budget::new("test", 1_000);
        let unary = MessageLimits { unary: true, ..RULE };
        let half = message(9)[..8].to_vec();
        for (pieces, rule, code) in [
            (vec![], RULE, None),
            (vec![message(9), message(0)], RULE, None),
            (vec![message(9), half.clone()], RULE, Some(Code::DeadlineExceeded)),
            (vec![vec![0]], RULE, Some(Code::DeadlineExceeded)),
            (vec![], unary, Some(Code::DeadlineExceeded)),
            (vec![message(9)], unary, Some(Code::DeadlineExceeded)),
            (vec![message(100)], RULE, None),
            (vec![message(101)], RULE, Some(Code::ResourceExhausted)),
        ] {
            assert_eq!(outcome(body(pieces.clone()), rule, &budget).await, code, "{pieces:?} {rule:?}");
            assert_eq!(budget.used(), 0);
        }
        assert_eq!(outcome(body(vec![message(100); 20]), RULE, &budget).await, Some(Code::Unavailable));
    }

    #[tokio::test]
    async fn complete_messages_are_passed_on_at_once_and_in_whole() {
        let budget = Budget::new("test", 1_000);
        let all = [message(3), message(0), message(50), message(2)].concat();
        for piece in [1, 4, 7, all.len()] {
            let pieces: Vec<Vec<u8>> = all.chunks(piece).map(<[u8]>::to_vec).collect();
            let mut messages = MessageBody::new(body(pieces), RULE, &HeldBytes::new(&budget));
            let mut seen = Vec::new();
            while seen.len() < all.len() {
                let data = messages.frame().await.unwrap().unwrap().into_data().unwrap();
                assert!(piece > 1 || [8, 5, 55, 7].contains(&data.len()), "{}", data.len());
                seen.extend_from_slice(&data);
            }
            assert_eq!(seen, all, "in pieces of {piece}");
        }
        // The last message is passed on although the next one has begun.
        let begun = [message(3), vec![0, 0]].concat();
        let mut messages = MessageBody::new(body(vec![begun.clone()]), RULE, &HeldBytes::new(&budget));
        assert_eq!(messages.frame().await.unwrap().unwrap().into_data().unwrap(), message(3));
        // The end is that of the client.
        let messages = MessageBody::new(Body::from(begun), RULE, &HeldBytes::new(&budget));
        assert_eq!(messages.collect().await.unwrap().to_bytes().len(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_does_not_move_the_deadline() {
        let budget = Budget::new("test", 1_000);
        let bytes = stream::iter(message(100)).then(|byte| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok::<_, std::io::Error>(vec![byte])
        });
        let began = tokio::time::Instant::now();
        let code = outcome(Body::from_stream(bytes), RULE, &budget).await;
        assert_eq!(code, Some(Code::DeadlineExceeded));
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    }
}
