//! An HTTP/1 response whose length is not known in advance.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use super::connections::{Activity, Running};

/// A streamed body that marks its connection as active and reserves its unsent bytes.
pub(super) struct Http1Stream {
    body: Body,
    running: Running,
}

impl Http1Stream {
    /// Takes over the request that [`Activity::begin`] started.
    pub(super) fn new(body: Body, activity: &Arc<Activity>) -> Self {
        Self { body, running: Running::begun(activity) }
    }
}

impl hyper::body::Body for Http1Stream {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let bytes = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()).map_or(0, Bytes::len);
        if !self.running.activity().hold(bytes) {
            return Poll::Ready(Some(Err(axum::Error::new(crate::problem::OVERLOADED))));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
