//! The body of a bulk create: a JSON array, or JSON values on separate lines.

use std::sync::Arc;

use axum::extract::Request;
use domain::ErrorCode;

use gateway_http::Config as HttpConfig;
use gateway_http::body::{self, Received};
use gateway_http::buffer_limits::{Budget, Reservation};
use gateway_http::media::{is_json, is_of_type};
use gateway_http::problem::Problem;

/// The body of a bulk create.
#[derive(Debug)]
pub(super) enum BulkBody {
    /// One JSON array.
    Array(Received),
    /// One JSON value on each line.
    Lines(Received),
}

impl BulkBody {
    /// Drops the bytes and returns their memory reservation.
    pub(super) fn into_held(self) -> Reservation {
        match self {
            Self::Array(body) | Self::Lines(body) => body.into_held(),
        }
    }

    /// Returns the length in bytes.
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Array(body) | Self::Lines(body) => body.len(),
        }
    }
}

/// The media types of one JSON value on each line.
const LINES: [&str; 3] = ["application/x-ndjson", "application/ndjson", "application/jsonl"];

/// Reads a body of at most `max_bytes`, a higher limit than that of other requests.
pub(super) async fn read(
    request: Request,
    limits: &HttpConfig,
    max_bytes: usize,
    budget: &Arc<Budget>,
) -> Result<BulkBody, Problem> {
    body::check_encoding(request.headers())?;
    let lines = LINES.iter().any(|kind| is_of_type(request.headers(), kind));
    if !lines && !is_json(request.headers()) {
        return Err(Problem::new(
            ErrorCode::UnsupportedMediaType,
            "the body must be sent as `Content-Type: application/json` (an array) or `application/x-ndjson` (one \
             order on each line), in UTF-8",
        ));
    }
    let body = body::read(request, limits, max_bytes, budget).await?;
    Ok(if lines { BulkBody::Lines(body) } else { BulkBody::Array(body) })
}
