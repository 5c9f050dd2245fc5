//! Keeps responses out of caches.

use axum::response::Response;
use http::{HeaderValue, header};

/// Adds `Cache-Control: no-store`, unless the response has a `Cache-Control` already.
pub(super) fn forbid_storing(response: &mut Response) {
    let caching = response.headers_mut().entry(header::CACHE_CONTROL);
    caching.or_insert(HeaderValue::from_static("no-store"));
}
