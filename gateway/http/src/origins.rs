//! Decides which pages of other sites can use the interface.
//!
//! By default none can: their responses have no CORS headers, and their changes and websockets are rejected, whatever
//! their content type. Listed sites can read and change everything. `*` lets every site read.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use domain::ErrorCode;
use http::header::{ALLOW, LINK, LOCATION, ORIGIN, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use tower_http::cors::{AllowHeaders, AllowOrigin, Any, CorsLayer};
use url::Url;

use super::hosts;
use super::problem::Problem;
use super::quota;

/// Time for which a browser can cache the response to a preflight request.
const MAX_AGE: Duration = Duration::from_secs(600);
/// The path at which a POST request can be a read.
const GRAPHQL: &str = "/graphql";

/// The other sites whose pages can use the interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origins {
    /// The listed sites, with cookies and other credentials.
    Exactly(Arc<[String]>),
    /// All sites, for reading only and without credentials.
    Any,
}

impl Default for Origins {
    fn default() -> Self {
        Self::Exactly(Arc::new([]))
    }
}

impl Origins {
    /// Parses a list of origins such as `https://shop.example`, or `*`.
    ///
    /// # Errors
    /// Returns the entry that is not an origin.
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

    /// Returns whether pages of this origin can use the interface.
    pub fn allows(&self, given: &HeaderValue) -> bool {
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

/// Returns an origin as browsers format it, without the default port.
fn origin(text: &str) -> Option<String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let anonymous = url.username().is_empty() && url.password().is_none();
    (bare && anonymous && !text.ends_with('/') && !text.contains('*'))
        .then(|| url.origin().ascii_serialization())
}

/// The access of a request, by the page that sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Full access: a page of this host, a page of an allowed site, or a program.
    Full,
    /// Read access, because every site has it.
    ReadOnly,
    /// Read requests without access to the response: the site of the page is not allowed.
    Foreign,
}

/// Marks a GraphQL request that is not allowed to change anything.
#[derive(Debug, Clone, Copy)]
pub struct ReadOnly;

/// Determines the access by `Origin` and `Sec-Fetch-Site`.
///
/// Pages cannot set these headers, and programs send neither.
pub fn access(uri: &Uri, headers: &HeaderMap, allowed: &Origins) -> Access {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let own = match headers.get(ORIGIN) {
        // A proxy can change the host, but not `Sec-Fetch-Site` of the browser.
        Some(origin) => site == Some(b"same-origin") || is_same_host(origin, uri, headers),
        // Browsers send `Origin` with every change, except in rare cases, which have `Sec-Fetch-Site`.
        None => !matches!(site, Some(b"cross-site" | b"same-site")),
    };
    match (allowed, headers.get(ORIGIN)) {
        _ if own => Access::Full,
        (Origins::Any, _) => Access::ReadOnly,
        (Origins::Exactly(_), Some(origin)) if allowed.allows(origin) => Access::Full,
        (Origins::Exactly(_), _) => Access::Foreign,
    }
}

/// Returns whether an origin has the host of the request.
///
/// The ports are compared only if the request has one, because some proxies forward a host without its port.
fn is_same_host(origin: &HeaderValue, uri: &Uri, headers: &HeaderMap) -> bool {
    let read = || {
        let origin = Url::parse(origin.to_str().ok()?).ok()?;
        let (host, port) = hosts::of(uri, headers)?;
        let origin_host = origin.host_str()?.trim_matches(['[', ']']);
        Some(
            origin_host.eq_ignore_ascii_case(host)
                && port.is_none_or(|port| origin.port_or_known_default() == Some(port)),
        )
    };
    read().unwrap_or(false)
}

/// Builds the layer that responds to preflight requests and lets allowed pages read responses.
///
/// The middleware does not apply it to the metrics.
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
            quota::RATE_LIMIT_POLICY,
            quota::RATE_LIMIT,
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

/// Rejects changes by pages of other sites.
///
/// A GraphQL request of a site with read access is marked [`ReadOnly`] instead, because only its document states
/// whether it changes anything.
pub(super) fn check<B>(request: &mut http::Request<B>, allowed: &Origins) -> Result<(), Problem> {
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    match access(request.uri(), request.headers(), allowed) {
        Access::Full => Ok(()),
        Access::ReadOnly if request.method() == Method::POST && request.uri().path() == GRAPHQL => {
            request.extensions_mut().insert(ReadOnly);
            Ok(())
        }
        Access::ReadOnly | Access::Foreign => {
            metrics::counter!("orders_http_rejections_total", "reason" => "origin").increment(1);
            Err(cross_origin_problem())
        }
    }
}

/// Returns the rejection of a page of another site.
pub fn cross_origin_problem() -> Problem {
    Problem::new(
        ErrorCode::OriginNotAllowed,
        "pages of other sites may not do this; the operators can allow a site by its name with --cors-origins",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    fn access_of(pairs: &[(&'static str, &'static str)], allowed: &str) -> Access {
        access(&Uri::from_static("/orders"), &headers(pairs), &allowed.parse().unwrap())
    }

    #[test]
    fn only_pages_of_the_same_host_have_access() {
        for (host, origin, same) in [
            ("localhost:3000", "http://localhost:3000", true),
            ("LOCALHOST:3000", "http://localhost:3000", true),
            ("shop.example", "https://shop.example", true),
            ("shop.example", "http://shop.example:80", true),
            ("shop.example:443", "https://shop.example", true),
            ("[::1]:3000", "http://[::1]:3000", true),
            // A proxy that forwards the host name without the port.
            ("127.0.0.1", "http://127.0.0.1:18081", true),
            ("[::1]", "http://[::1]:3000", true),
            ("localhost:3000", "http://localhost:4000", false),
            ("localhost:3000", "http://localhost", false),
            ("localhost:3000", "http://evil.example:3000", false),
            ("localhost:3000", "http://localhost.evil.example:3000", false),
            ("shop.example", "https://evil.example", false),
            ("shop.example", "null", false),
            ("shop.example", "file://", false),
            ("shop.example", "", false),
        ] {
            let pairs = [("host", host), ("origin", origin)];
            let (own, other) = (Access::Full, Access::Foreign);
            assert_eq!(access_of(&pairs, ""), if same { own } else { other }, "{host} {origin}");
            assert_eq!(access_of(&pairs, "*"), if same { own } else { Access::ReadOnly }, "{host} {origin}");
        }
        let absolute = Uri::from_static("http://shop.example/orders");
        let named = headers(&[("host", "evil.example"), ("origin", "http://evil.example")]);
        assert_eq!(access(&absolute, &named, &Origins::default()), Access::Foreign);
    }

    #[test]
    fn sec_fetch_site_decides_the_access() {
        let behind_a_proxy =
            [("host", "inside"), ("origin", "https://out"), ("sec-fetch-site", "same-origin")];
        assert_eq!(access_of(&behind_a_proxy, ""), Access::Full);
        for (site, access) in [
            ("cross-site", Access::Foreign),
            ("same-site", Access::Foreign),
            ("same-origin", Access::Full),
            ("none", Access::Full),
        ] {
            assert_eq!(access_of(&[("host", "inside"), ("sec-fetch-site", site)], ""), access, "{site}");
        }
        assert_eq!(access_of(&[], ""), Access::Full, "a program");
    }

    #[test]
    fn listed_sites_have_full_access_and_the_wildcard_gives_read_access() {
        let page = [("host", "inside"), ("origin", "https://out")];
        assert_eq!(access_of(&page, "https://out"), Access::Full);
        assert_eq!(access_of(&page, "https://other"), Access::Foreign);
        assert_eq!(access_of(&page, "*"), Access::ReadOnly);
        assert_eq!(
            access_of(&[("host", "inside"), ("sec-fetch-site", "cross-site")], "https://out"),
            Access::Foreign
        );
    }

    #[test]
    fn changes_by_other_sites_are_rejected_for_any_content_type() {
        let send = |method: &str, path: &str, allowed: &str| {
            let mut request = http::Request::builder()
                .method(method)
                .uri(path)
                .header("host", "shop.example")
                .header("origin", "https://evil.example")
                .header("content-type", "application/json")
                .body(())
                .unwrap();
            let outcome = check(&mut request, &allowed.parse().unwrap()).map_err(|problem| problem.code());
            (outcome, request.extensions().get::<ReadOnly>().is_some())
        };
        let refused = (Err(ErrorCode::OriginNotAllowed), false);
        for method in ["POST", "PUT", "DELETE", "BREW"] {
            assert_eq!(send(method, "/orders", ""), refused, "{method}");
            assert_eq!(send(method, "/orders", "*"), refused, "{method}");
        }
        assert_eq!(send("POST", "/graphql", ""), refused);
        assert_eq!(send("POST", "/graphql", "*"), (Ok(()), true));
        assert_eq!(send("POST", "/graphql", "https://evil.example"), (Ok(()), false));
        assert_eq!(send("GET", "/orders", ""), (Ok(()), false));
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
}
