//! Watches the clients of HTTP/2, where a connection can be busy while its streams stand still.
//!
//! A client that opens no window for what it asked for, or that asks and takes back without end, is
//! not seen by the limits of the socket. So each answer is handed over in small pieces, and the
//! connection notes since when it waits for room.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Body as _, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::connections::{Activity, Running};
use super::port::OverloadedTrailers;
use super::slow_client::{PendingWrite, SlowClientLimits};
use crate::buffer_limits::Reservation;
use crate::problem::OVERLOADED;

/// Most bytes of one answer that are handed over without room for them.
const PIECE: usize = 16 * 1024;
/// Most bytes of the last piece.
const LAST_PIECE: usize = 1024;
/// Most requests that a client may take back beyond those that were answered.
pub(super) const MAX_ABANDONED: usize = 200;

/// What is noted about one connection.
#[derive(Debug)]
pub(super) struct Http2Watch {
    slow_client: SlowClientLimits,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// Until when the client has to make room for each answer.
    waiting: BTreeMap<u64, Instant>,
    /// Requests taken back, less those answered.
    abandoned: usize,
}

impl Http2Watch {
    pub(super) fn new(slow_client: SlowClientLimits) -> Self {
        Self { slow_client, state: Mutex::default(), changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends with the name of the limit when a client goes too far.
    pub(super) async fn exceeded(&self) -> &'static str {
        loop {
            let deadline = {
                let state = self.state();
                if state.abandoned > MAX_ABANDONED {
                    return "resets";
                }
                state.waiting.values().min().copied()
            };
            match deadline {
                Some(deadline) if deadline <= Instant::now() => return "stream_stall",
                Some(deadline) => tokio::select! {
                    () = sleep_until(deadline) => {}
                    () = self.changed.notified() => {}
                },
                None => self.changed.notified().await,
            }
        }
    }

    /// A request has come.
    pub(super) fn asked(self: &Arc<Self>, activity: &Arc<Activity>) -> RequestGuard {
        RequestGuard { watch: Arc::clone(self), running: Some(Running::new(activity)) }
    }
}

/// A request that is being worked on. Dropped without an answer, it was taken back.
pub(super) struct RequestGuard {
    watch: Arc<Http2Watch>,
    /// `None` once it is answered.
    running: Option<Running>,
}

impl RequestGuard {
    /// Wraps the answer; `None` when its bytes do not fit. The trailers end a stream that grows too large.
    pub(super) fn answered(mut self, body: Body, trailers: Option<OverloadedTrailers>) -> Option<Body> {
        let running = self.running.take()?;
        let responses = &running.activity().buffers.responses;
        let exact = body.size_hint().exact().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let held = responses.reserve(exact.unwrap_or(0))?;
        let id = {
            let mut state = self.watch.state();
            state.abandoned = state.abandoned.saturating_sub(1);
            state.next += 1;
            state.next
        };
        let guard = WatchedBody {
            body,
            rest: Bytes::new(),
            id,
            watch: Arc::clone(&self.watch),
            waiting: None,
            held,
            counted: exact.is_some(),
            trailers,
            _running: running,
        };
        guard.waits(PendingWrite::begin());
        Some(Body::new(guard))
    }
}

impl Drop for RequestGuard {
    fn drop(&mut self) {
        if self.running.is_none() {
            return;
        }
        let mut state = self.watch.state();
        state.abandoned += 1;
        if state.abandoned > MAX_ABANDONED {
            self.watch.changed.notify_one();
        }
    }
}

/// An answer in pieces. hyper asks for the next one when there is room for it.
struct WatchedBody {
    body: Body,
    rest: Bytes,
    id: u64,
    watch: Arc<Http2Watch>,
    /// While there is something to send.
    waiting: Option<PendingWrite>,
    /// The whole answer, or the part of a stream that is on its way.
    held: Reservation,
    /// The whole answer is reserved.
    counted: bool,
    /// The end of a stream for which there is no memory; without it the stream breaks off.
    trailers: Option<OverloadedTrailers>,
    _running: Running,
}

impl WatchedBody {
    fn waits(&self, waiting: PendingWrite) {
        let mut state = self.watch.state();
        if state.waiting.is_empty() {
            self.watch.changed.notify_one();
        }
        state.waiting.insert(self.id, waiting.deadline(&self.watch.slow_client));
    }

    /// The end of a stream for which there is no room any more.
    fn overloaded(&mut self) -> Option<Result<Frame<Bytes>, axum::Error>> {
        self.body = Body::empty();
        self.rest = Bytes::new();
        match self.trailers {
            Some(trailers) => trailers().map(|trailers| Ok(Frame::trailers(trailers))),
            None => Some(Err(axum::Error::new(OVERLOADED))),
        }
    }
}

impl hyper::body::Body for WatchedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        this.watch.state().waiting.remove(&this.id);
        if this.rest.is_empty() {
            let Poll::Ready(next) = Pin::new(&mut this.body).poll_frame(cx) else {
                // A stream that has nothing to send is not slow.
                this.waiting = None;
                return Poll::Pending;
            };
            match next {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
            if !this.counted {
                this.held.clear();
                if !this.held.grow(this.rest.len()) {
                    return Poll::Ready(this.overloaded());
                }
            }
        }
        let mut length = this.rest.len().min(PIECE);
        // The last piece is not watched any more when hyper has it, so it is a small one.
        if length == this.rest.len() && length > LAST_PIECE && this.body.is_end_stream() {
            length -= LAST_PIECE;
        }
        let piece = this.rest.split_to(length);
        let mut waiting = this.waiting.unwrap_or_else(PendingWrite::begin);
        this.waits(waiting);
        // When the next piece is asked for, this one was taken.
        waiting.took(length);
        this.waiting = Some(waiting);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        let mut whole = SizeHint::new();
        whole.set_lower(hint.lower() + rest);
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper + rest);
        }
        whole
    }
}

impl Drop for WatchedBody {
    fn drop(&mut self) {
        self.watch.state().waiting.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http_body_util::BodyExt;

    use super::*;

    const STALL: Duration = Duration::from_secs(20);
    const LIMITS: SlowClientLimits =
        SlowClientLimits { stall: STALL, grace: Duration::from_secs(90), rate: 1_024 };

    #[tokio::test(start_paused = true)]
    async fn a_response_that_is_not_read_is_detected() {
        let (watch, activity) = (Arc::new(Http2Watch::new(LIMITS)), Activity::for_tests());
        let mut taken =
            watch.asked(&activity).answered(Body::from(vec![0; 3 * PIECE + LAST_PIECE]), None).unwrap();
        for _ in 0..3 {
            tokio::time::sleep(STALL / 2).await;
            assert_eq!(taken.frame().await.unwrap().unwrap().into_data().unwrap().len(), PIECE);
        }
        let last = taken.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(last.len(), LAST_PIECE, "the end is watched too");
        assert!(taken.frame().await.is_none());
        drop(taken);
        // One that waits for news and not for room.
        let mut silent = watch
            .asked(&activity)
            .answered(
                Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>()),
                None,
            )
            .unwrap();
        assert!(futures_util::poll!(silent.frame()).is_pending());
        assert!(tokio::time::timeout(STALL * 2, watch.exceeded()).await.is_err());
        let _left = watch.asked(&activity).answered(Body::from("x"), None).unwrap();
        assert_eq!(watch.exceeded().await, "stream_stall");
    }

    #[tokio::test]
    async fn taking_back_is_for_now_and_then() {
        let (watch, activity) = (Arc::new(Http2Watch::new(LIMITS)), Activity::for_tests());
        for _ in 0..=MAX_ABANDONED {
            drop(watch.asked(&activity));
            drop(watch.asked(&activity).answered(Body::empty(), None));
        }
        assert!(futures_util::poll!(Box::pin(watch.exceeded())).is_pending());
        for _ in 0..=MAX_ABANDONED {
            drop(watch.asked(&activity));
        }
        assert_eq!(watch.exceeded().await, "resets");
    }
}
