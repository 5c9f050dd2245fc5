//! Reads request bodies within limits of size and time.
//!
//! If the server responds and closes while the client is still sending, the client loses the response: its own unread
//! bytes make the kernel reset the connection. The rest of a body that is too large is therefore read and dropped, up
//! to a limit, before the rejection is sent.

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
use super::media::{is_json, is_merge_patch, without_bom};
use super::problem::Problem;
use crate::Config;

/// Maximum number of bytes of a too large body that are drained before the rejection.
const DRAIN_BYTES: usize = 4 * 1024 * 1024;
/// Maximum duration of the drain.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// Reads a required JSON body.
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

/// Reads a required JSON merge patch.
pub async fn merge_patch(
    request: Request,
    limits: &Config,
    budget: &Arc<Budget>,
) -> Result<Received, Problem> {
    check_encoding(request.headers())?;
    if !is_merge_patch(request.headers()) {
        return Err(Problem::new(
            ErrorCode::UnsupportedMediaType,
            "the body must be sent as `Content-Type: application/merge-patch+json` or `application/json`, in UTF-8",
        ));
    }
    read(request, limits, limits.max_body_size, budget).await
}

/// Reads an optional JSON body; `None` for no body and for `null`.
pub async fn optional_json(
    request: Request,
    limits: &Config,
    budget: &Arc<Budget>,
) -> Result<Option<Received>, Problem> {
    check_encoding(request.headers())?;
    let named = request.headers().contains_key(header::CONTENT_TYPE);
    if named && is_json(request.headers()) {
        let body = read(request, limits, limits.max_body_size, budget).await?;
        // `null` means absent, as in all other inputs.
        return Ok(Some(body).filter(|body| !body.is_empty() && body.trim_ascii() != b"null"));
    }
    // Clients send various content types with an empty body, so the length decides.
    match read(request, limits, limits.max_body_size, budget).await?.is_empty() {
        true => Ok(None),
        false => Err(Problem::new(
            ErrorCode::UnsupportedMediaType,
            "a body must be sent as `Content-Type: application/json`, in UTF-8",
        )),
    }
}

/// Rejects a body with a content encoding.
///
/// Bodies are not decompressed, so a small body cannot become a large one.
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

/// Reads a body of at most `bytes` bytes.
pub async fn read(
    request: Request,
    limits: &Config,
    bytes: usize,
    budget: &Arc<Budget>,
) -> Result<Received, Problem> {
    // A client with `Expect` waits for `100 Continue` before it sends the body, so there is nothing to drain.
    let waits = request.headers().contains_key(header::EXPECT);
    // Only the body is passed on, because moving the whole request is expensive.
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

/// A complete body. Its bytes stay reserved until the drop.
#[derive(Debug)]
pub struct Received {
    bytes: Bytes,
    held: Reservation,
}

impl Received {
    /// Drops the bytes and keeps their reservation, for the value that was parsed from them.
    ///
    /// The bytes are a part of the buffer of the connection.
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

/// The rules for reading a body.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Maximum size of the body, in bytes.
    pub bytes: usize,
    /// Duration of a step of [`ReadDeadline`].
    pub step: Duration,
    /// Whether the rest of a too large body is drained, so that the rejection arrives.
    pub drain: bool,
}

/// The reason why a body was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The body is too large.
    TooLarge,
    /// The body is incomplete or invalid.
    Broken,
    /// The body missed its read deadline.
    Late,
    /// The memory for request bodies is exhausted.
    Overloaded,
}

/// Reads a body and removes its byte order mark. The bytes are reserved as they arrive.
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
            // Fast path: almost every body arrives in one frame.
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
    // A client that sends for longer may lose the rejection.
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
    async fn only_json_in_utf8_is_accepted() {
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
    async fn empty_body_needs_no_content_type() {
        let none = optional_json(Request::new(Body::empty()), &limits(), &budget()).await.unwrap();
        assert!(none.is_none());
        let untyped = optional_json(Request::new(Body::from("{}")), &limits(), &budget()).await.unwrap_err();
        assert_eq!(untyped.code(), ErrorCode::UnsupportedMediaType);
    }

    #[tokio::test]
    async fn size_is_limited_with_and_without_content_length() {
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
    async fn compressed_body_is_rejected() {
        for (encoding, taken) in [("identity", true), ("gzip", false), ("identity, br", false)] {
            let mut packed = request("application/json", Body::from("{}"));
            packed.headers_mut().insert(header::CONTENT_ENCODING, http::HeaderValue::from_static(encoding));
            let outcome = json(packed, &limits(), &budget()).await.map_err(|problem| problem.code());
            assert_eq!(outcome.err(), (!taken).then_some(ErrorCode::UnsupportedMediaType), "{encoding}");
        }
    }

    #[tokio::test]
    async fn incomplete_body_is_not_reported_as_late() {
        let broken = stream::iter([Ok("{"), Err(std::io::Error::other("reset"))]);
        let error = json(request("application/json", Body::from_stream(broken)), &limits(), &budget())
            .await
            .unwrap_err();
        assert_eq!(error.code(), ErrorCode::BodyIncomplete);
    }

    #[tokio::test(start_paused = true)]
    async fn stalled_body_times_out() {
        let stalled = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let error = json(request("application/json", stalled), &limits(), &budget()).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::BodyTimeout);
    }
}
