//! Which pages of other sites may use the interface.
//!
//! Unless configured none may: browsers get no CORS headers, websockets of other sites are refused,
//! and so is every change that a browser would send for them without asking first.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE, HOST, LINK, LOCATION, ORIGIN, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tower_http::cors::{AllowHeaders, AllowOrigin, Any, CorsLayer};
use url::Url;

use super::problem::Problem;

/// How long a browser may remember the answer to a preflight request.
const MAX_AGE: Duration = Duration::from_secs(600);
/// What browsers send without asking first.
const SIMPLE_TYPES: [&str; 3] = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"];

/// The sites whose pages may use the interface besides its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// These, with cookies and other credentials.
    Exactly(Arc<[String]>),
    /// All, without credentials.
    Any,
}

impl Default for Origins {
    fn default() -> Self {
        Self::Exactly(Arc::new([]))
    }
}

impl Origins {
    /// From a list as `https://shop.example`, or `*` alone.
    ///
    /// # Errors
    /// The entry that is no origin.
    pub fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut origins = Vec::new();
        for entry in entries {
            if entry == "*" {
                return Ok(Self::Any);
            }
            origins.push(origin(entry).ok_or_else(|| entry.to_owned())?);
        }
        Ok(Self::Exactly(origins.into()))
    }

    /// Whether pages of this origin may use the interface.
    pub(crate) fn allows(&self, given: &HeaderValue) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(origins) => origins.iter().any(|origin| origin.as_bytes() == given.as_bytes()),
        }
    }

    fn is_closed(&self) -> bool {
        matches!(self, Self::Exactly(origins) if origins.is_empty())
    }
}

impl FromStr for Origins {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text.split(',').map(str::trim).filter(|entry| !entry.is_empty()))
    }
}

/// An origin as browsers write it, without the default port.
fn origin(text: &str) -> Option<String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let anonymous = url.username().is_empty() && url.password().is_none();
    (bare && anonymous && !text.ends_with('/') && !text.contains('*'))
        .then(|| url.origin().ascii_serialization())
}

/// Whether a request comes from a page of another site that nobody has allowed. Programs that are no
/// browsers say nothing about sites.
pub(crate) fn is_foreign(headers: &HeaderMap, allowed: &Origins) -> bool {
    let Some(origin) = headers.get(ORIGIN) else { return false };
    // A proxy may have changed the host, but nobody changes what the browser found out.
    let own = headers.get("sec-fetch-site").is_some_and(|value| value == "same-origin");
    !own && !is_same_host(origin, headers) && !allowed.allows(origin)
}

fn is_same_host(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let read = || {
        let origin = Url::parse(origin.to_str().ok()?).ok()?;
        let host = format!("{}://{}", origin.scheme(), headers.get(HOST)?.to_str().ok()?);
        let host = Url::parse(&host).ok()?;
        Some(
            origin.host_str()? == host.host_str()?
                && origin.port_or_known_default() == host.port_or_known_default(),
        )
    };
    read().unwrap_or(false)
}

/// Answers preflight requests of the allowed sites and lets their pages read answers. The metrics are
/// not for pages.
pub(super) fn cors(allowed: &Origins) -> Option<CorsLayer> {
    if allowed.is_closed() {
        return None;
    }
    let layer = CorsLayer::new()
        .allow_methods([Method::GET, Method::HEAD, Method::POST])
        .expose_headers([
            ALLOW,
            LINK,
            LOCATION,
            RETRY_AFTER,
            HeaderName::from_static("idempotent-replayed"),
            HeaderName::from_static("x-request-id"),
        ])
        .max_age(MAX_AGE);
    Some(match allowed {
        Origins::Any => layer.allow_origin(Any).allow_headers(AllowHeaders::mirror_request()),
        Origins::Exactly(_) => {
            let allowed = allowed.clone();
            layer
                .allow_origin(AllowOrigin::predicate(move |origin, _| allowed.allows(origin)))
                .allow_headers(AllowHeaders::mirror_request())
                .allow_credentials(true)
        }
    })
}

/// Refuses changes that a page of another site has a browser send without asking: forms, text, and
/// requests without a body.
pub(super) fn check<B>(request: &http::Request<B>, allowed: &Origins) -> Result<(), Problem> {
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if changes && is_simple(request.headers()) && is_foreign(request.headers(), allowed) {
        metrics::counter!("http_refusals_total", "limit" => "origin").increment(1);
        return Err(foreign());
    }
    Ok(())
}

/// The refusal of a page of another site.
pub(crate) fn foreign() -> Problem {
    Problem::new(
        "origin_not_allowed",
        "pages of other sites may not do this; the operators can allow a site with --cors-origins",
    )
}

/// Whether a browser sends this for any page without asking us first.
fn is_simple(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(CONTENT_TYPE) else { return true };
    let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    kind.is_empty() || SIMPLE_TYPES.iter().any(|simple| kind.eq_ignore_ascii_case(simple))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_pages_of_the_same_host_get_in() {
        for (host, origin, same) in [
            ("localhost:3000", "http://localhost:3000", true),
            ("LOCALHOST:3000", "http://localhost:3000", true),
            ("shop.example", "https://shop.example", true),
            ("shop.example", "http://shop.example:80", true),
            ("[::1]:3000", "http://[::1]:3000", true),
            ("localhost:3000", "http://localhost:4000", false),
            ("localhost:3000", "http://evil.example:3000", false),
            ("localhost:3000", "http://localhost.evil.example:3000", false),
            ("shop.example", "null", false),
            ("shop.example", "file://", false),
            ("shop.example", "", false),
        ] {
            let headers = headers(&[("host", host), ("origin", origin)]);
            assert_eq!(is_foreign(&headers, &Origins::default()), !same, "{host} {origin}");
            assert!(!is_foreign(&headers, &Origins::Any));
        }
        assert!(!is_foreign(&HeaderMap::new(), &Origins::default()));
        let behind_a_proxy =
            headers(&[("host", "inside"), ("origin", "https://out"), ("sec-fetch-site", "same-origin")]);
        assert!(!is_foreign(&behind_a_proxy, &Origins::default()));
        let named: Origins = "https://out".parse().unwrap();
        assert!(!is_foreign(&headers(&[("host", "inside"), ("origin", "https://out")]), &named));
    }

    #[test]
    fn origins_are_exact() {
        for (text, read) in [
            ("", Some(Origins::default())),
            ("*", Some(Origins::Any)),
            ("https://a.example, http://b:8080", Origins::parse(["https://a.example", "http://b:8080"]).ok()),
            ("HTTPS://A.example:443", Origins::parse(["https://a.example"]).ok()),
            ("https://a.example/", None),
            ("https://a.example/x", None),
            ("a.example", None),
            ("ftp://a.example", None),
            ("https://u:p@a.example", None),
            ("https://*.example", None),
        ] {
            assert_eq!(text.parse::<Origins>().ok(), read, "{text}");
        }
    }

    #[test]
    fn browsers_ask_before_they_send_json() {
        for (kind, simple) in [
            (None, true),
            (Some("text/plain"), true),
            (Some("Multipart/Form-Data; boundary=x"), true),
            (Some("application/x-www-form-urlencoded"), true),
            (Some("application/json"), false),
            (Some("application/x-ndjson"), false),
        ] {
            let headers = kind.map_or_else(HeaderMap::new, |kind| headers(&[("content-type", kind)]));
            assert_eq!(is_simple(&headers), simple, "{kind:?}");
        }
    }
}
