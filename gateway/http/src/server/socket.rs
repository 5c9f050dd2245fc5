//! A socket that detects slow clients and replaces hyper's error responses.
//!
//! It holds the slot of its connection until it is closed, also as a websocket. It fails if the client does not read
//! what is written.
//!
//! hyper rejects a head that it cannot parse with a status and no body. The socket recognises such a response by its
//! exact bytes and sends a problem instead.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use domain::ErrorCode;
use metrics::{counter, gauge};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::connections::Connection;
use super::frames::{Frames, Protocol};
use super::slow_client::{PendingWrite, SlowClientLimits};
use crate::buffer_limits::{ReadDeadline, Reservation};
use crate::problem::{self, OVERLOADED, Problem};

/// Maximum time for which a rejected client can continue to send. An earlier close would lose the response.
const LINGER: Duration = Duration::from_secs(1);
/// Maximum number of bytes that are read in this time.
const LINGER_BYTES: usize = 4 * 1024 * 1024;

/// The connection preface of HTTP/2.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Error message of a read whose frame, or websocket message, misses its deadline.
pub const LATE: &str = "a frame did not arrive in time";

/// Value of `greeting` for a connection of HTTP/1, which does not start with the preface.
const HTTP1: usize = usize::MAX;

/// A socket whose drop releases its slot. An upgrade takes over the whole socket from hyper.
pub(super) struct Socket<T> {
    io: T,
    slow_client: SlowClientLimits,
    /// The pending write, while bytes wait for the client.
    waiting: Option<PendingWrite>,
    /// The timer of the pending write, while the client does not read.
    stalled: Option<Pin<Box<Sleep>>>,
    /// The frames that the client sends over HTTP/2 or a websocket.
    frames: Option<Unfinished>,
    /// The problem that replaces hyper's response, as far as it is not sent yet.
    explanation: Bytes,
    /// Whether a rejected client may still be sending.
    linger: Arc<AtomicBool>,
    linger_left: usize,
    lingering: Option<Pin<Box<Sleep>>>,
    /// `None` for a rejected connection, which holds no slot.
    connection: Option<Connection>,
    /// Number of bytes of the HTTP/2 preface that have arrived.
    greeting: usize,
}

impl<T> Socket<T> {
    pub(super) fn new(io: T, slow_client: SlowClientLimits, connection: Option<Connection>) -> Self {
        gauge!("orders_open_connections").increment(1);
        Self {
            io,
            slow_client,
            waiting: None,
            stalled: None,
            frames: None,
            explanation: Bytes::new(),
            linger: Arc::default(),
            linger_left: LINGER_BYTES,
            lingering: None,
            connection,
            greeting: 0,
        }
    }

    /// Returns the switch that makes a close wait until the client has stopped sending.
    pub(super) fn linger(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.linger)
    }

    /// Returns the outcome of a write, or an error if the client reads too slowly.
    fn watched<V>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<V>>,
        written: impl Fn(&V) -> usize,
    ) -> Poll<io::Result<V>> {
        if let Poll::Ready(Ok(value)) = &outcome
            && let Some(waiting) = &mut self.waiting
        {
            waiting.took(written(value));
        }
        if outcome.is_ready() {
            return outcome;
        }
        let deadline = self.waiting.get_or_insert_with(PendingWrite::begin).deadline(&self.slow_client);
        let sleep = self.stalled.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        ready!(sleep.as_mut().poll(cx));
        counter!("orders_http_rejections_total", "reason" => "write_stall").increment(1);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client reads too slowly")))
    }

    /// Records that the kernel has taken all bytes.
    fn flushed(&mut self) {
        self.waiting = None;
        self.stalled = None;
        if let Some(connection) = &self.connection {
            connection.activity.flushed();
        }
    }

    /// Follows the bytes that the client has sent.
    fn received(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(connection) = &self.connection else { return Ok(()) };
        if self.frames.is_none() {
            let protocol = match self.greeting {
                _ if connection.activity.is_upgraded() => Protocol::Websocket,
                HTTP1 => return Ok(()),
                _ => return self.greet(bytes),
            };
            self.frames = Some(Unfinished::new(protocol, connection));
        }
        self.frames.as_mut().map_or(Ok(()), |frames| frames.received(bytes))
    }

    /// Checks whether the connection starts with the preface of HTTP/2.
    fn greet(&mut self, bytes: &[u8]) -> io::Result<()> {
        let expected = PREFACE.get(self.greeting..).unwrap_or_default();
        let length = bytes.len().min(expected.len());
        if bytes[..length] != expected[..length] {
            self.greeting = HTTP1;
            return Ok(());
        }
        self.greeting += length;
        if self.greeting == PREFACE.len()
            && let Some(connection) = &self.connection
        {
            connection.activity.greeted();
            let mut frames = Unfinished::new(Protocol::Http2, connection);
            let outcome = frames.received(&bytes[length..]);
            self.frames = Some(frames);
            return outcome;
        }
        Ok(())
    }

    /// Replaces a response of hyper itself with a problem, and returns whether it did.
    fn explain(&mut self, bytes: &[u8]) -> bool {
        let Some(problem) = bare_refusal(bytes) else { return false };
        counter!("orders_http_rejections_total", "reason" => problem.code().as_str()).increment(1);
        self.explanation = as_text(problem);
        self.linger.store(true, Ordering::Relaxed);
        true
    }
}

impl<T: AsyncWrite + Unpin> Socket<T> {
    fn poll_explanation(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.explanation.is_empty() {
            let outcome = Pin::new(&mut self.io).poll_write(cx, &self.explanation);
            let written = ready!(self.watched(cx, outcome, |written| *written))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.explanation.advance(written);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + Unpin> Socket<T> {
    /// Reads and drops what the client still sends, until [`LINGER`] or [`LINGER_BYTES`].
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.linger.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        let sleep = self.lingering.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + LINGER)));
        let mut space = [0; 4 * 1024];
        while sleep.as_mut().poll(cx).is_pending() {
            let mut buffer = ReadBuf::new(&mut space);
            if ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer)).is_err() {
                break;
            }
            match self.linger_left.checked_sub(buffer.filled().len()) {
                Some(rest) if !buffer.filled().is_empty() => self.linger_left = rest,
                _ => break,
            }
        }
        self.linger.store(false, Ordering::Relaxed);
        Poll::Ready(())
    }
}

impl<T> Drop for Socket<T> {
    fn drop(&mut self) {
        gauge!("orders_open_connections").decrement(1);
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Socket<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if Pin::new(&mut self.io).poll_read(cx, buffer)?.is_pending() {
            if let Some(frames) = &mut self.frames {
                ready!(frames.poll_late(cx));
                counter!("orders_http_rejections_total", "reason" => "frame_timeout").increment(1);
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, LATE)));
            }
            return Poll::Pending;
        }
        Poll::Ready(self.received(&buffer.filled()[before..]))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.explain(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        let outcome = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.watched(cx, outcome, |written| *written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_explanation(cx))?;
        let outcome = Pin::new(&mut self.io).poll_flush(cx);
        ready!(self.watched(cx, outcome, |()| 0))?;
        self.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_explanation(cx))?;
        let outcome = Pin::new(&mut self.io).poll_shutdown(cx);
        ready!(self.watched(cx, outcome, |()| 0))?;
        self.poll_linger(cx).map(Ok)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [bytes] = slices
            && self.explain(bytes)
        {
            return Poll::Ready(Ok(bytes.len()));
        }
        let outcome = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.watched(cx, outcome, |written| *written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

/// The unfinished frame or message of a client over HTTP/2 or a websocket.
struct Unfinished {
    frames: Frames,
    step: Duration,
    read_deadline: Option<ReadDeadline>,
    late: Option<Pin<Box<Sleep>>>,
    /// Memory of an unfinished websocket message. HTTP/2 bodies reserve theirs when they are read.
    held: Option<Reservation>,
}

impl Unfinished {
    fn new(protocol: Protocol, connection: &Connection) -> Self {
        let held = (protocol == Protocol::Websocket).then(|| connection.activity.buffers.bodies.reserve(0));
        Self {
            frames: Frames::new(protocol),
            step: connection.message_timeout(),
            read_deadline: None,
            late: None,
            held: held.flatten(),
        }
    }

    fn received(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.frames.advance(bytes) {
            self.read_deadline = None;
            self.late = None;
            if let Some(held) = &mut self.held {
                held.clear();
            }
        }
        if !self.frames.is_unfinished() {
            return Ok(());
        }
        let step = self.step;
        self.read_deadline.get_or_insert_with(|| ReadDeadline::begin(step)).received(bytes.len());
        match self.held.as_mut().is_none_or(|held| held.grow(bytes.len())) {
            true => Ok(()),
            false => Err(io::Error::other(OVERLOADED)),
        }
    }

    /// Completes when the unfinished frame or message has missed its deadline.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(read_deadline) = &self.read_deadline else { return Poll::Pending };
        let deadline = read_deadline.deadline();
        let late = self.late.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if late.deadline() != deadline {
            late.as_mut().reset(deadline);
        }
        late.as_mut().poll(cx)
    }
}

/// Returns the problem for a complete error response of hyper itself.
///
/// Such a response has a status, three headers and nothing else. No response of ours has only these three headers.
fn bare_refusal(bytes: &[u8]) -> Option<Problem> {
    let text = std::str::from_utf8(bytes.get(..bytes.len().min(200))?).ok()?;
    let (line, headers) = text.strip_prefix("HTTP/1.1 ")?.split_once("\r\n")?;
    let headers = headers.strip_prefix("connection: close\r\ncontent-length: 0\r\ndate: ")?;
    let (_date, rest) = headers.split_once("\r\n")?;
    if rest != "\r\n" {
        return None;
    }
    Some(match line.get(..3)? {
        "400" => Problem::new(ErrorCode::MalformedRequest, "the head of the request is not HTTP"),
        "414" => Problem::new(ErrorCode::UriTooLong, "the path with its query string is too long"),
        "431" => Problem::new(
            ErrorCode::HeadTooLarge,
            "the head of the request is too large, or has more than 100 headers",
        ),
        _ => return None,
    })
}

fn as_text(problem: Problem) -> Bytes {
    let status = problem.status();
    let reason = status.canonical_reason().unwrap_or_default();
    let body = problem.to_json();
    let head = format!(
        "HTTP/1.1 {} {reason}\r\ncontent-type: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        status.as_u16(),
        problem::MEDIA_TYPE,
        body.len()
    );
    Bytes::from([head.into_bytes(), body].concat())
}
