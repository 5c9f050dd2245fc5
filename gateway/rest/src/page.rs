//! Pages of lists that are sorted by id: keys and the audit log.

use axum::http::{HeaderMap, HeaderValue, header};
use gateway_http::query::Query;
use url::form_urlencoded;

/// Reads the maximum number of items on a page.
pub(super) fn limit(query: &mut Query<'_>, default: u32, max: u32) -> u32 {
    let Some(limit) = query.one("limit") else { return default };
    match limit.parse() {
        Ok(limit) if (1..=max).contains(&limit) => limit,
        _ => {
            query.add("limit", format!("must be a whole number from 1 to {max}"));
            default
        }
    }
}

/// Returns the `Link` header of the next page, which begins after the item with the id `last`.
pub(super) fn next_link(path: &str, limit: u32, cursor: &str, last: Option<&str>) -> HeaderMap {
    next_link_keeping(path, &[], limit, cursor, last)
}

/// Returns the same for a list with these other parameters.
pub(super) fn next_link_keeping(
    path: &str,
    kept: &[(&str, &str)],
    limit: u32,
    cursor: &str,
    last: Option<&str>,
) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(last) = last {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(kept).append_pair("limit", &limit.to_string()).append_pair(cursor, last);
        let link = format!("<{path}?{}>; rel=\"next\"", query.finish());
        headers.extend(HeaderValue::try_from(link).map(|link| (header::LINK, link)));
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_have_a_limit_and_a_next_page() {
        let mut query = Query::new(Some("limit=0"), &["limit"]);
        assert_eq!(limit(&mut query, 100, 500), 100);
        assert!(query.finish().is_err());
        assert_eq!(limit(&mut Query::new(Some("limit=500"), &["limit"]), 100, 500), 500);
        assert!(next_link("/api-keys", 5, "after", None).is_empty());
        let headers = next_link("/api-keys", 5, "after", Some("a&b"));
        assert_eq!(headers["link"], "</api-keys?limit=5&after=a%26b>; rel=\"next\"");
        let headers = next_link_keeping("/x", &[("outcome", "failed")], 5, "before", Some("a"));
        assert_eq!(headers["link"], "</x?outcome=failed&limit=5&before=a>; rel=\"next\"");
    }
}
