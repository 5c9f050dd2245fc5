//! Detects HTTP/2 clients that stall their streams while the connection looks active.
//!
//! The limits of the socket do not detect a client that opens no flow-control window for its responses, or that sends
//! and resets requests repeatedly. Each response is therefore passed to hyper in small pieces, and the connection
//! records since when each one has waited for its window.

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

/// Maximum size of a piece, in bytes.
///
/// hyper holds one piece of a response while the flow-control window has no room.
const PIECE: usize = 16 * 1024;
/// Maximum size of the last piece, in bytes.
const LAST_PIECE: usize = 1024;
/// Maximum number of resets in excess of the number of responses.
pub(super) const MAX_ABANDONED: usize = 200;

/// The stalled streams and reset requests of one connection.
#[derive(Debug)]
pub(super) struct Http2Watch {
    slow_client: SlowClientLimits,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// The deadline by which the client must open the window, for each response.
    waiting: BTreeMap<u64, Instant>,
    /// Number of reset requests minus the number of responses, at least 0.
    abandoned: usize,
}

impl Http2Watch {
    pub(super) fn new(slow_client: SlowClientLimits) -> Self {
        Self { slow_client, state: Mutex::default(), changed: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the client exceeds a limit, and returns the name of the limit.
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

    /// Registers a request.
    pub(super) fn asked(self: &Arc<Self>, activity: &Arc<Activity>) -> RequestGuard {
        RequestGuard { watch: Arc::clone(self), running: Some(Running::new(activity)) }
    }
}

/// A request in progress. A drop without a response counts as a reset by the client.
pub(super) struct RequestGuard {
    watch: Arc<Http2Watch>,
    /// `None` when it has its response.
    running: Option<Running>,
}

impl RequestGuard {
    /// Wraps the body of the response; `None` if its bytes exceed the budget.
    ///
    /// The trailers end a streamed response that exceeds the budget later.
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

/// A response body in pieces. hyper polls the next one when the flow-control window has room for it.
struct WatchedBody {
    body: Body,
    rest: Bytes,
    id: u64,
    watch: Arc<Http2Watch>,
    /// The pending write, while there is something to send.
    waiting: Option<PendingWrite>,
    /// Memory of the complete response, or of the current frame of a streamed one.
    held: Reservation,
    /// Whether the complete response is reserved.
    counted: bool,
    /// Trailers of a stream that exceeds the budget; without them, the stream is aborted.
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

    /// Returns the last frame of a stream that exceeds the budget.
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
                // A stream without data to send is not slow.
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
        // When hyper has the last piece, its delivery is not tracked any more, so this piece is small.
        if length == this.rest.len() && length > LAST_PIECE && this.body.is_end_stream() {
            length -= LAST_PIECE;
        }
        let piece = this.rest.split_to(length);
        let mut waiting = this.waiting.unwrap_or_else(PendingWrite::begin);
        this.waits(waiting);
        // hyper polls the next piece only after it has sent this one.
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
        // A stream that waits for data and not for its window.
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
    async fn resets_are_limited_relative_to_responses() {
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
