//! Media types of request bodies.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

/// The media type of JSON, which is always in UTF-8.
const JSON: &str = "application/json";
/// The media type of a JSON merge patch.
pub const MERGE_PATCH: &str = "application/merge-patch+json";
/// The labels of UTF-8 (WHATWG Encoding, section 4.2).
///
/// JSON has no other encoding, so a body with another label is rejected and the label is not ignored.
const UTF8: [&str; 6] =
    ["utf-8", "utf8", "unicode-1-1-utf-8", "unicode11utf8", "unicode20utf8", "x-unicode20utf8"];

/// Returns whether the body is JSON in UTF-8.
pub fn is_json(headers: &HeaderMap) -> bool {
    is_of_type(headers, JSON)
}

/// Returns whether the body is a JSON merge patch (RFC 7396), which is also accepted as JSON.
pub fn is_merge_patch(headers: &HeaderMap) -> bool {
    is_json(headers) || is_of_type(headers, MERGE_PATCH)
}

/// Returns whether the body has this media type and no charset other than UTF-8.
pub fn is_of_type(headers: &HeaderMap, kind: &str) -> bool {
    let Some(Ok(text)) = headers.get(CONTENT_TYPE).map(|value| value.to_str()) else {
        return false;
    };
    let mut parts = text.split(';').map(str::trim);
    let is_kind = parts.next().is_some_and(|named| named.eq_ignore_ascii_case(kind));
    is_kind && parts.all(is_utf8)
}

/// Returns whether a parameter of a media type is not a charset other than UTF-8.
pub fn is_utf8(parameter: &str) -> bool {
    match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            let value = value.trim().trim_matches(['"', '\'']).trim();
            UTF8.iter().any(|label| value.eq_ignore_ascii_case(label))
        }
        _ => true,
    }
}

/// Removes a byte order mark.
///
/// Some editors and libraries write one before UTF-8, and RFC 8259 allows parsers to ignore it.
pub fn without_bom(text: bytes::Bytes) -> bytes::Bytes {
    const MARK: &[u8] = b"\xef\xbb\xbf";
    if text.starts_with(MARK) { text.slice(MARK.len()..) } else { text }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderValue;

    use super::*;

    #[test]
    fn json_is_accepted_with_every_label_of_utf8() {
        for (value, good) in [
            ("application/json", true),
            ("Application/JSON", true),
            ("application/json; charset=utf-8", true),
            ("application/json;charset=utf8", true),
            ("application/json; charset=\"UTF-8\"", true),
            ("application/json; charset = UTF8 ", true),
            ("application/json; charset='utf-8'", true),
            ("application/json;charset=x-unicode20utf8", true),
            ("application/json; version=1", true),
            ("application/json;", true),
            ("application/json; charset=utf-16", false),
            ("application/json; charset=latin1", false),
            ("application/json; charset=", false),
            ("application/json; version=1; charset=ascii", false),
            ("application/jsonx", false),
            ("text/plain", false),
            ("text/plain; charset=utf-8", false),
            ("application/x-www-form-urlencoded", false),
            ("multipart/form-data; boundary=application/json", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(value))]);
            assert_eq!(is_json(&headers), good, "{value}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }

    #[test]
    fn one_byte_order_mark_is_removed() {
        for (sent, read) in [
            (&b"\xef\xbb\xbf{}"[..], &b"{}"[..]),
            (b"{}", b"{}"),
            (b"\xef\xbb\xbf", b""),
            (b"\xef\xbb", b"\xef\xbb"),
            (b"{\xef\xbb\xbf}", b"{\xef\xbb\xbf}"),
            (b"\xef\xbb\xbf\xef\xbb\xbf{}", b"\xef\xbb\xbf{}"),
        ] {
            assert_eq!(without_bom(Bytes::copy_from_slice(sent)), read);
        }
    }
}
