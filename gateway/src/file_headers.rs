//! The headers of files: media types, tags, and the encodings that a client accepts.

use axum::http::header::{ACCEPT_ENCODING, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// Returns the media type by the extension; `None` for files that are not served.
pub(crate) fn media_type(path: &str) -> Option<&'static str> {
    Some(match path.rsplit_once('.')?.1 {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "webp" => "image/webp",
        _ => return None,
    })
}

/// Returns the tag of a content with this hash.
///
/// It is weak, because the compressed form of a file has the same one.
pub(crate) fn etag(hash: &[u8; 32]) -> HeaderValue {
    let hash = BASE64_URL_SAFE_NO_PAD.encode(&hash[..12]);
    HeaderValue::try_from(format!("W/\"{hash}\"")).expect("base64 in quotes is visible ASCII")
}

/// Returns whether the client has the content with this tag.
pub(crate) fn is_fresh(request: &HeaderMap, etag: &HeaderValue) -> bool {
    let own = etag.to_str().unwrap_or_default().trim_start_matches("W/");
    request.get_all(IF_NONE_MATCH).iter().filter_map(|tags| tags.to_str().ok()).any(|tags| {
        tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == own)
    })
}

/// Returns whether `Accept-Encoding` allows gzip.
pub(crate) fn takes_gzip(request: &HeaderMap) -> bool {
    let offers = request.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut any = false;
    for offer in offers.flat_map(|value| value.split(',')) {
        let mut parts = offer.split(';').map(str::trim);
        let coding = parts.next().unwrap_or_default();
        let weight =
            parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse::<f32>().ok());
        let allowed = weight.is_some_and(|weight| weight > 0.0);
        if coding.eq_ignore_ascii_case("gzip") {
            return allowed;
        }
        any |= coding == "*" && allowed;
    }
    any
}
