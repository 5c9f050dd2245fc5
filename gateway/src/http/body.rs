//! Reads request bodies within limits of size and time.
//!
//! A client that is still sending when we answer and close loses the answer, because its own
//! unread bytes make the kernel reset the connection. So the rest of a body that is too large is
//! read and dropped, up to a bound, before the refusal is sent.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::Body as _;

use super::media::{is_json, is_of_type, without_bom};
use super::problem::Problem;
use crate::config::HttpLimits;

/// How much of a body that is too large is read to let the client see the refusal, in bytes.
const DRAIN_BYTES: usize = 4 * 1024 * 1024;
/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// A body that must be there and be JSON.
pub(super) async fn json(request: Request, limits: &HttpLimits) -> Result<Bytes, Problem> {
    plain(request.headers())?;
    if !is_json(request.headers()) {
        return Err(Problem::new(
            "unsupported_media_type",
            "the body must be sent as `Content-Type: application/json`, in UTF-8",
        ));
    }
    read(request, limits, limits.body_bytes).await.map(without_bom)
}

/// A body of many rows.
#[derive(Debug)]
pub(super) enum Rows<T> {
    /// One JSON array.
    Array(T),
    /// One JSON value on each line.
    Lines(T),
}

/// The media types of one JSON value on each line.
const LINES: [&str; 3] = ["application/x-ndjson", "application/ndjson", "application/jsonl"];

/// A body of many rows, which may be longer than others.
pub(super) async fn rows(request: Request, limits: &HttpLimits) -> Result<Rows<Bytes>, Problem> {
    plain(request.headers())?;
    let lines = LINES.iter().any(|kind| is_of_type(request.headers(), kind));
    if !lines && !is_json(request.headers()) {
        return Err(Problem::new(
            "unsupported_media_type",
            "the body must be sent as `Content-Type: application/json` (an array) or `application/x-ndjson` (one \
             order on each line), in UTF-8",
        ));
    }
    let body = without_bom(read(request, limits, limits.bulk_body_bytes).await?);
    Ok(if lines { Rows::Lines(body) } else { Rows::Array(body) })
}

/// A JSON body, or `None` for no body at all.
pub(super) async fn optional_json(request: Request, limits: &HttpLimits) -> Result<Option<Bytes>, Problem> {
    plain(request.headers())?;
    let named = request.headers().contains_key(header::CONTENT_TYPE);
    if named && is_json(request.headers()) {
        let body = without_bom(read(request, limits, limits.body_bytes).await?);
        return Ok((!body.is_empty()).then_some(body));
    }
    // Clients name all sorts of types for a body that is empty; what counts is what comes.
    match read(request, limits, limits.body_bytes).await?.is_empty() {
        true => Ok(None),
        false => Err(Problem::new(
            "unsupported_media_type",
            "a body must be sent as `Content-Type: application/json`, in UTF-8",
        )),
    }
}

/// Bodies are taken as they are. Nothing is unpacked, so that a small body cannot become a large one.
fn plain(headers: &HeaderMap) -> Result<(), Problem> {
    let is_identity = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    match headers.get_all(header::CONTENT_ENCODING).iter().all(is_identity) {
        true => Ok(()),
        false => {
            Err(Problem::new("unsupported_media_type", "the body must be sent without `Content-Encoding`"))
        }
    }
}

async fn read(request: Request, limits: &HttpLimits, bytes: usize) -> Result<Bytes, Problem> {
    let headers = request.headers();
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<usize>().ok());
    // Such a client waits for our word before it sends anything, so there is nothing to drain.
    let waits = headers.contains_key(header::EXPECT);
    // Without its head the request is small enough to be moved about.
    let body = request.into_body();
    match tokio::time::timeout(limits.header_read_timeout, collect(body, announced, waits, bytes)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Problem::new("body_timeout", "the body did not arrive in time")),
    }
}

async fn collect(
    mut body: Body,
    announced: Option<usize>,
    waits: bool,
    limit: usize,
) -> Result<Bytes, Problem> {
    if announced.is_some_and(|length| length > limit) {
        if !waits {
            drain(&mut body).await;
        }
        return Err(too_large(limit));
    }
    let mut collected = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| {
            Problem::new("body_incomplete", "the body broke off or is not framed as HTTP wants it")
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if collected.len() + data.len() > limit {
            drain(&mut body).await;
            return Err(too_large(limit));
        }
        if collected.is_empty() && body.is_end_stream() {
            // Nearly every body comes in one piece.
            return Ok(data);
        }
        collected.extend_from_slice(&data);
    }
    Ok(collected.freeze())
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

fn too_large(limit: usize) -> Problem {
    metrics::counter!("http_refusals_total", "limit" => "body").increment(1);
    Problem::new("body_too_large", format!("a body may have at most {limit} bytes"))
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn limits() -> HttpLimits {
        HttpLimits {
            body_bytes: 10,
            header_read_timeout: Duration::from_secs(5),
            ..crate::Config::default().http
        }
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
            let outcome = json(request(kind, Body::from("{}")), &limits()).await;
            assert_eq!(outcome.is_ok(), taken, "{kind}");
        }
    }

    #[tokio::test]
    async fn an_empty_body_needs_no_type() {
        let none = optional_json(Request::new(Body::empty()), &limits()).await.unwrap();
        assert_eq!(none, None);
        let untyped = optional_json(Request::new(Body::from("{}")), &limits()).await.unwrap_err();
        assert_eq!(untyped.code(), "unsupported_media_type");
    }

    #[tokio::test]
    async fn size_is_limited_whether_announced_or_not() {
        assert_eq!(
            json(request("application/json", Body::from("1234567890")), &limits()).await.unwrap().len(),
            10
        );
        let chunks = || stream::iter((0..6).map(|_| Ok::<_, std::io::Error>("12")));
        let error =
            json(request("application/json", Body::from_stream(chunks())), &limits()).await.unwrap_err();
        assert_eq!(error.code(), "body_too_large");
        let mut announced = request("application/json", Body::from("12345678901"));
        announced.headers_mut().insert(header::CONTENT_LENGTH, http::HeaderValue::from_static("11"));
        assert_eq!(json(announced, &limits()).await.unwrap_err().code(), "body_too_large");
    }

    #[tokio::test]
    async fn a_packed_body_is_refused_as_such() {
        for (encoding, taken) in [("identity", true), ("gzip", false), ("identity, br", false)] {
            let mut packed = request("application/json", Body::from("{}"));
            packed.headers_mut().insert(header::CONTENT_ENCODING, http::HeaderValue::from_static(encoding));
            let outcome = json(packed, &limits()).await.map_err(|problem| problem.code());
            assert_eq!(outcome.err(), (!taken).then_some("unsupported_media_type"), "{encoding}");
        }
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_not_called_late() {
        let broken = stream::iter([Ok("{"), Err(std::io::Error::other("reset"))]);
        let error =
            json(request("application/json", Body::from_stream(broken)), &limits()).await.unwrap_err();
        assert_eq!(error.code(), "body_incomplete");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stalls_is_given_up() {
        let stalled = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let error = json(request("application/json", stalled), &limits()).await.unwrap_err();
        assert_eq!(error.code(), "body_timeout");
    }
}
