//! Reads request bodies within limits of size and time.
//!
//! A client that is still sending when we answer and close loses the answer, because its own
//! unread bytes make the kernel reset the connection. So the rest of a body that is too large is
//! read and dropped, up to a bound, before the refusal is sent.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use domain::ErrorCode;
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use tokio::time::timeout_at;

use super::buffer_limits::{Budget, ReadDeadline, Reservation};
use super::chunked_buffer::ChunkedBuffer;
use super::media::{is_json, without_bom};
use super::problem::Problem;
use crate::Config;

/// How much of a body that is too large is read to let the client see the refusal, in bytes.
const DRAIN_BYTES: usize = 4 * 1024 * 1024;
/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// A body that must be there and be JSON.
pub async fn json(request: Request, limits: &Config, budget: &Arc<Budget>) -> Result<Received, Problem> {
    check_encoding(request.headers())?;
    if !is_json(request.headers()) {
        return Err(Problem::new(
            ErrorCode::UnsupportedMediaType,
            "the body must be sent as `Content-Type: application/json`, in UTF-8",
        ));
    }
    read(request, limits, limits.max_body_size, budget).await
}

/// A JSON body, or `None` for no body and for `null`.
pub async fn optional_json(
    request: Request,
    limits: &Config,
    budget: &Arc<Budget>,
) -> Result<Option<Received>, Problem> {
    check_encoding(request.headers())?;
    let named = request.headers().contains_key(header::CONTENT_TYPE);
    if named && is_json(request.headers()) {
        let body = read(request, limits, limits.max_body_size, budget).await?;
        // `null` is the same as absent, as everywhere.
        return Ok(Some(body).filter(|body| !body.is_empty() && body.trim_ascii() != b"null"));
    }
    // Clients name all sorts of types for a body that is empty; what counts is what comes.
    match read(request, limits, limits.max_body_size, budget).await?.is_empty() {
        true => Ok(None),
        false => Err(Problem::new(
            ErrorCode::UnsupportedMediaType,
            "a body must be sent as `Content-Type: application/json`, in UTF-8",
        )),
    }
}

/// Bodies are taken as they are. Nothing is unpacked, so that a small body cannot become a large one.
pub fn check_encoding(headers: &HeaderMap) -> Result<(), Problem> {
    let is_identity = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    match headers.get_all(header::CONTENT_ENCODING).iter().all(is_identity) {
        true => Ok(()),
        false => Err(Problem::new(
            ErrorCode::UnsupportedMediaType,
            "the body must be sent without `Content-Encoding`",
        )),
    }
}

/// Reads a body of at most this many bytes.
pub async fn read(
    request: Request,
    limits: &Config,
    bytes: usize,
    budget: &Arc<Budget>,
) -> Result<Received, Problem> {
    // Such a client waits for our word before it sends anything, so there is nothing to drain.
    let waits = request.headers().contains_key(header::EXPECT);
    // Without its head the request is small enough to be moved about.
    let rule = Rule { bytes, step: limits.request_read_timeout, drain: !waits };
    receive(request.into_body(), rule, budget).await.map_err(|failure| match failure {
        Failure::TooLarge => {
            Problem::new(ErrorCode::BodyTooLarge, format!("a body may have at most {bytes} bytes"))
        }
        Failure::Broken => {
            Problem::new(ErrorCode::BodyIncomplete, "the body broke off or is not framed as HTTP wants it")
        }
        Failure::Late => Problem::new(ErrorCode::BodyTimeout, "the body did not arrive in time"),
        Failure::Overloaded => Problem::overloaded(),
    })
}

/// A body that has arrived. Its bytes count as held until this is dropped.
#[derive(Debug)]
pub struct Received {
    bytes: Bytes,
    held: Reservation,
}

impl Received {
    /// Drops the bytes, which are a part of the connection's buffer, and counts what was made of them.
    pub fn into_held(self) -> Reservation {
        self.held
    }
}

impl Deref for Received {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

/// How a body is read.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Longest body.
    pub bytes: usize,
    /// See [`ReadDeadline`].
    pub step: Duration,
    /// Whether the rest of a body that is too large is read, so that the client sees the refusal.
    pub drain: bool,
}

/// Why a body is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// It has too many bytes.
    TooLarge,
    /// It broke off.
    Broken,
    /// It did not arrive in time.
    Late,
    /// All requests together hold too many bytes.
    Overloaded,
}

/// Reads a body, without a byte order mark. Its bytes are reserved as they arrive.
pub async fn receive(mut body: Body, rule: Rule, budget: &Arc<Budget>) -> Result<Received, Failure> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > rule.bytes {
        return Err(too_large(&mut body, rule).await);
    }
    let mut read_deadline = ReadDeadline::begin(rule.step);
    let mut held = budget.reserve(0).ok_or(Failure::Overloaded)?;
    let mut collected = ChunkedBuffer::default();
    loop {
        let frame = match timeout_at(read_deadline.deadline(), body.frame()).await {
            Ok(Some(frame)) => frame.map_err(|_| Failure::Broken)?,
            Ok(None) => return Ok(Received { bytes: without_bom(collected.joined().into()), held }),
            Err(_) => return Err(Failure::Late),
        };
        let Ok(data) = frame.into_data() else { continue };
        if collected.len() + data.len() > rule.bytes {
            return Err(too_large(&mut body, rule).await);
        }
        if !held.grow(data.len()) {
            return Err(Failure::Overloaded);
        }
        if collected.is_empty() && body.is_end_stream() {
            // Nearly every body comes in one piece.
            return Ok(Received { bytes: without_bom(data), held });
        }
        read_deadline.received(data.len());
        collected.push(&data);
    }
}

async fn too_large(body: &mut Body, rule: Rule) -> Failure {
    metrics::counter!("orders_http_rejections_total", "reason" => "body").increment(1);
    if rule.drain {
        drain(body).await;
    }
    Failure::TooLarge
}

async fn drain(body: &mut Body) {
    let rest = async {
        let mut left = DRAIN_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(length) {
                Some(rest) => left = rest,
                None => break,
            }
        }
    };
    // A client that takes longer does not get to see the refusal.
    let _ = tokio::time::timeout(DRAIN_TIME, rest).await;
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn budget() -> Arc<Budget> {
        Budget::new("test", 1_000)
    }

    fn limits() -> Config {
        Config { max_body_size: 10, request_read_timeout: Duration::from_secs(5), ..crate::Config::default() }
    }

    fn request(content_type: &str, body: Body) -> Request {
        Request::builder().header(header::CONTENT_TYPE, content_type).body(body).unwrap()
    }

    #[tokio::test]
    async fn only_json_in_utf8_is_taken() {
        for (kind, taken) in [
            ("application/json", true),
            ("application/json; charset=utf-8", true),
            ("APPLICATION/JSON;charset=\"UTF-8\"", true),
            ("application/json; charset=latin1", false),
            ("text/plain", false),
        ] {
            let outcome = json(request(kind, Body::from("{}")), &limits(), &budget()).await;
            assert_eq!(outcome.is_ok(), taken, "{kind}");
        }
    }

    #[tokio::test]
    async fn an_empty_body_needs_no_type() {
        let none = optional_json(Request::new(Body::empty()), &limits(), &budget()).await.unwrap();
        assert!(none.is_none());
        let untyped = optional_json(Request::new(Body::from("{}")), &limits(), &budget()).await.unwrap_err();
        assert_eq!(untyped.code(), ErrorCode::UnsupportedMediaType);
    }

    #[tokio::test]
    async fn size_is_limited_whether_announced_or_not() {
        assert_eq!(
            json(request("application/json", Body::from("1234567890")), &limits(), &budget())
                .await
                .unwrap()
                .len(),
            10
        );
        let chunks = || stream::iter((0..6).map(|_| Ok::<_, std::io::Error>("12")));
        let error = json(request("application/json", Body::from_stream(chunks())), &limits(), &budget())
            .await
            .unwrap_err();
        assert_eq!(error.code(), ErrorCode::BodyTooLarge);
        let mut announced = request("application/json", Body::from("12345678901"));
        announced.headers_mut().insert(header::CONTENT_LENGTH, http::HeaderValue::from_static("11"));
        assert_eq!(json(announced, &limits(), &budget()).await.unwrap_err().code(), ErrorCode::BodyTooLarge);
    }

    #[tokio::test]
    async fn a_packed_body_is_refused_as_such() {
        for (encoding, taken) in [("identity", true), ("gzip", false), ("identity, br", false)] {
            let mut packed = request("application/json", Body::from("{}"));
            packed.headers_mut().insert(header::CONTENT_ENCODING, http::HeaderValue::from_static(encoding));
            let outcome = json(packed, &limits(), &budget()).await.map_err(|problem| problem.code());
            assert_eq!(outcome.err(), (!taken).then_some(ErrorCode::UnsupportedMediaType), "{encoding}");
        }
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_not_called_late() {
        let broken = stream::iter([Ok("{"), Err(std::io::Error::other("reset"))]);
        let error = json(request("application/json", Body::from_stream(broken)), &limits(), &budget())
            .await
            .unwrap_err();
        assert_eq!(error.code(), ErrorCode::BodyIncomplete);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_is_given_up() {
        let stalled = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let error = json(request("application/json", stalled), &limits(), &budget()).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::BodyTimeout);
    }
}
