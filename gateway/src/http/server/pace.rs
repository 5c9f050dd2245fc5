//! Watches the clients of HTTP/2, where a connection can be busy while its streams stand still.
//!
//! A client that opens no window for what it asked for, or that asks and takes back without end, is
//! not seen by the limits of the socket. So each answer is handed over in small pieces, and the
//! connection notes since when it waits for room.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::connections::{Activity, Running};

/// Most bytes of one answer that are handed over without room for them.
const PIECE: usize = 16 * 1024;
/// Most requests that a client may take back beyond those that were answered.
const ABANDONED: usize = 200;

/// What is noted about one connection.
#[derive(Debug, Default)]
pub(super) struct Pace {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// Since when each answer waits for room.
    waiting: BTreeMap<u64, Instant>,
    /// Requests taken back, less those answered.
    abandoned: usize,
}

impl Pace {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends with the name of the limit when a client goes too far.
    pub(super) async fn exceeded(&self, stall: Duration) -> &'static str {
        loop {
            let deadline = {
                let state = self.state();
                if state.abandoned > ABANDONED {
                    return "resets";
                }
                state.waiting.values().min().map(|since| *since + stall)
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
    pub(super) fn asked(self: &Arc<Self>, activity: &Arc<Activity>) -> Asked {
        Asked { pace: Arc::clone(self), running: Some(Running::new(activity)) }
    }
}

/// A request that is being worked on. Dropped without an answer, it was taken back.
pub(super) struct Asked {
    pace: Arc<Pace>,
    /// `None` once it is answered.
    running: Option<Running>,
}

impl Asked {
    /// Wraps the answer.
    pub(super) fn answered(mut self, body: Body) -> Body {
        let running = self.running.take();
        let id = {
            let mut state = self.pace.state();
            state.abandoned = state.abandoned.saturating_sub(1);
            state.next += 1;
            state.next
        };
        let paced = Paced { body, rest: Bytes::new(), id, pace: Arc::clone(&self.pace), _running: running };
        paced.waits();
        Body::new(paced)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if self.running.is_none() {
            return;
        }
        let mut state = self.pace.state();
        state.abandoned += 1;
        if state.abandoned > ABANDONED {
            self.pace.changed.notify_one();
        }
    }
}

/// An answer in pieces. hyper asks for the next one when there is room for it.
struct Paced {
    body: Body,
    rest: Bytes,
    id: u64,
    pace: Arc<Pace>,
    _running: Option<Running>,
}

impl Paced {
    fn waits(&self) {
        let mut state = self.pace.state();
        if state.waiting.is_empty() {
            self.pace.changed.notify_one();
        }
        state.waiting.insert(self.id, Instant::now());
    }
}

impl hyper::body::Body for Paced {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        this.pace.state().waiting.remove(&this.id);
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        this.waits();
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

impl Drop for Paced {
    fn drop(&mut self) {
        self.pace.state().waiting.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_nobody_takes_is_noticed_and_one_that_is_taken_is_not() {
        const STALL: Duration = Duration::from_secs(20);
        let (pace, activity) = (Arc::new(Pace::default()), Activity::for_tests());
        let mut taken = pace.asked(&activity).answered(Body::from(vec![0; 3 * PIECE]));
        for _ in 0..3 {
            tokio::time::sleep(STALL / 2).await;
            assert_eq!(taken.frame().await.unwrap().unwrap().into_data().unwrap().len(), PIECE);
        }
        assert!(taken.frame().await.is_none());
        drop(taken);
        // One that waits for news and not for room.
        let mut silent = pace
            .asked(&activity)
            .answered(Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>()));
        assert!(futures_util::poll!(silent.frame()).is_pending());
        assert!(tokio::time::timeout(STALL * 2, pace.exceeded(STALL)).await.is_err());
        let _left = pace.asked(&activity).answered(Body::from("x"));
        assert_eq!(pace.exceeded(STALL).await, "stream_stall");
    }

    #[tokio::test]
    async fn taking_back_is_for_now_and_then() {
        let (pace, activity) = (Arc::new(Pace::default()), Activity::for_tests());
        for _ in 0..=ABANDONED {
            drop(pace.asked(&activity));
            drop(pace.asked(&activity).answered(Body::empty()));
        }
        assert!(futures_util::poll!(Box::pin(pace.exceeded(Duration::MAX / 4))).is_pending());
        for _ in 0..=ABANDONED {
            drop(pace.asked(&activity));
        }
        assert_eq!(pace.exceeded(Duration::from_secs(1)).await, "resets");
    }
}
