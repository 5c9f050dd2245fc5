//! Serves the web pages and their files.
//!
//! These are the page at `/`, the tracking page at `/track/{id}`, GraphQL Playground, GraphiQL and the REST reference.
//!
//! Every file of `web/` is compiled in, so a copied binary needs no folder, no network and no build step. No file is
//! read and no template is filled at run time. Only the caching and encoding headers depend on the request.

use std::borrow::Cow;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;

use gateway_http::fallback::nothing_at;

/// The files of `web/`; licences and notes about the files are not served.
///
/// `index.html` is served as `/`, `track.html` as `/track/{id}`, another `x.html` as `/x`, `x.gz` as `/x` with
/// `Content-Encoding: gzip`, and `guide/x` as `/guide/x`.
#[derive(rust_embed::Embed)]
#[folder = "../web"]
struct Web;

/// The folder of the guide, which mdBook builds from `docs/`.
const GUIDE: &str = "guide/";

/// The pages for developers.
const DEVELOPER_TOOLS: [&str; 3] = ["docs.html", "graphiql.html", "playground.html"];

/// The tracking page for customers. Search engines must not index it.
const TRACK: &str = "track";
const X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");

/// Content security policy: only files of this server, no inline code, no framing.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Content security policy of Playground, which inserts empty `<style>` elements and fills them by script.
///
/// The hash is that of the empty string and allows these elements.
const PLAYGROUND_POLICY: &str = "default-src 'none'; script-src 'self'; \
     style-src 'self' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='; img-src 'self' data:; \
     font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Content security policy of Swagger UI and mdBook, which set styles on elements.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// Returns a route for every file, and one for the guide.
///
/// The pages for developers send requests of their user to the APIs, and are served only with `developer_tools`. Axum
/// responds to HEAD as to GET, without the body.
pub(crate) fn routes(developer_tools: bool) -> Router {
    with_files(Router::new(), developer_tools)
}

fn with_files<S: Clone + Send + Sync + 'static>(router: Router<S>, developer_tools: bool) -> Router<S> {
    let router = router
        .route("/guide", get(|| async { Redirect::permanent("/guide/") }))
        .route("/guide/", get(|headers: HeaderMap| guide(Path("index.html".to_owned()), headers)))
        .route("/guide/{*path}", get(guide));
    let is_shown = |path: &str| developer_tools || !DEVELOPER_TOOLS.contains(&path);
    let paths = Web::iter().filter(|path| !path.starts_with(GUIDE) && is_shown(path));
    paths.filter_map(|path| File::new(&path)).fold(router, |router, file| {
        file.routes().into_iter().fold(router, |router, route| {
            let file = file.clone();
            router.route(&route, get(move |headers: HeaderMap| async move { file.answer(&headers) }))
        })
    })
}

/// Returns a file of the guide. Its pages link to each other by relative paths that end in `.html`.
async fn guide(Path(path): Path<String>, headers: HeaderMap) -> Response {
    match File::new(&format!("{GUIDE}{path}")) {
        Some(file) => file.answer(&headers),
        None => nothing_at(&format!("/{GUIDE}{path}")).into_response(),
    }
}

/// One file with its headers.
#[derive(Clone)]
struct File {
    /// Its path, without `.gz`.
    path: String,
    bytes: Bytes,
    media_type: &'static str,
    gzip: bool,
    etag: HeaderValue,
}

impl File {
    /// Returns the file with this path in `web/`; `None` if it is not served.
    fn new(path: &str) -> Option<Self> {
        let gzip = path.ends_with(".gz");
        let served = path.strip_suffix(".gz").unwrap_or(path);
        let media_type = media_type(served)?;
        let file = Web::get(path)?;
        let hash = BASE64_URL_SAFE_NO_PAD.encode(&file.metadata.sha256_hash()[..12]);
        let etag = HeaderValue::try_from(format!("\"{hash}\"")).expect("base64 in quotes is visible ASCII");
        let bytes = match file.data {
            Cow::Borrowed(bytes) => Bytes::from_static(bytes),
            Cow::Owned(bytes) => Bytes::from(bytes),
        };
        Some(Self { path: served.to_owned(), bytes, media_type, gzip, etag })
    }

    fn routes(&self) -> Vec<String> {
        match self.path.strip_suffix(".html") {
            Some("index") => vec!["/".to_owned()],
            // The page reads the id from its URL and shows a message for customers if the order does not exist.
            Some(TRACK) => vec![format!("/{TRACK}"), format!("/{TRACK}/"), format!("/{TRACK}/{{id}}")],
            Some(page) => vec![format!("/{page}")],
            None => vec![format!("/{}", self.path)],
        }
    }

    fn policy(&self) -> &'static str {
        match self.path.as_str() {
            "playground.html" => PLAYGROUND_POLICY,
            "docs.html" => DOCS_POLICY,
            path if path.starts_with(GUIDE) => DOCS_POLICY,
            _ => POLICY,
        }
    }

    /// Returns the file, or 304 if the client has it.
    ///
    /// With `no-cache`, a browser keeps the file but revalidates it each time. A page therefore mixes the files of two
    /// versions for at most one load, and an unchanged file costs one 304.
    fn answer(&self, request: &HeaderMap) -> Response {
        if self.gzip && !takes_gzip(request) {
            return needs_gzip();
        }
        let fresh = request.get_all(IF_NONE_MATCH).iter().any(|tags| names(tags, &self.etag));
        let mut response = if fresh {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            Response::new(Body::from(self.bytes.clone()))
        };
        let headers = response.headers_mut();
        headers.insert(ETAG, self.etag.clone());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(self.policy()));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.path.strip_suffix(".html") == Some(TRACK) {
            headers.insert(X_ROBOTS_TAG, HeaderValue::from_static("noindex, nofollow"));
        }
        if self.gzip {
            headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        }
        if !fresh {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.media_type));
            if self.gzip {
                headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
        }
        response
    }
}

/// Returns the media type by the extension; `None` for files that are not served.
fn media_type(path: &str) -> Option<&'static str> {
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

/// Returns 406 for a client that does not accept gzip.
///
/// The large files exist only compressed. Every browser accepts gzip, so the server needs no decompression.
fn needs_gzip() -> Response {
    let vary = [(VARY, "accept-encoding")];
    (StatusCode::NOT_ACCEPTABLE, vary, "This file is kept compressed: send `Accept-Encoding: gzip`.\n")
        .into_response()
}

/// Returns whether `Accept-Encoding` allows gzip.
fn takes_gzip(request: &HeaderMap) -> bool {
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

/// Returns whether a value of `If-None-Match` has this tag, weak or strong, or is `*`.
fn names(tags: &HeaderValue, etag: &HeaderValue) -> bool {
    tags.to_str().is_ok_and(|tags| {
        tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use axum::http::{Method, Request};
    use http_body_util::BodyExt as _;
    use sha2::{Digest as _, Sha256};
    use tower::ServiceExt as _;

    use super::*;

    fn web() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../web")
    }

    /// Returns the paths of all files below `folder`, relative to it.
    fn files_below(folder: &std::path::Path) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in std::fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.insert(path.strip_prefix(folder).unwrap().to_str().unwrap().replace('\\', "/"));
                }
            }
        }
        found
    }

    async fn ask(method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        with_files(Router::<()>::new(), true).oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    async fn body(response: Response) -> Bytes {
        response.into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn every_file_of_the_folder_is_served() {
        let documents = ["LICENSE", "LICENSE.bundled", "LICENSE.react", "NOTICE", "README.md", "SHA256SUMS"];
        for path in files_below(&web()) {
            let served = !documents.contains(&path.rsplit('/').next().unwrap());
            let url = match path.strip_suffix(".html") {
                Some("index") => String::new(),
                Some(page) if !path.starts_with(GUIDE) => page.to_owned(),
                _ => path.strip_suffix(".gz").unwrap_or(&path).to_owned(),
            };
            let response = ask(Method::GET, &format!("/{url}"), &[("accept-encoding", "gzip")]).await;
            assert_eq!(response.status(), if served { 200 } else { 404 }, "{path}");
            if served {
                let expected = std::fs::read(web().join(&path)).unwrap();
                assert!(body(response).await == expected, "{path} is not the file of the folder");
            }
        }
    }

    #[tokio::test]
    async fn guide_is_served_below_its_folder() {
        let folder = ask(Method::GET, "/guide", &[]).await;
        assert_eq!(folder.status(), 308);
        assert_eq!(folder.headers()["location"], "/guide/");
        let page = ask(Method::GET, "/guide/", &[]).await;
        assert_eq!(page.status(), 200);
        assert_eq!(page.headers()[CONTENT_SECURITY_POLICY], DOCS_POLICY);
        for path in ["/guide/nothing.html", "/guide/../index.html", "/guide/%2e%2e/index.html"] {
            assert_eq!(ask(Method::GET, path, &[]).await.status(), 404, "{path}");
        }
    }

    #[test]
    fn vendored_files_are_unchanged() {
        let vendor = web().join("vendor");
        let sums = std::fs::read_to_string(vendor.join("SHA256SUMS")).unwrap();
        let mut listed = BTreeSet::from(["README.md".to_owned(), "SHA256SUMS".to_owned()]);
        for line in sums.lines() {
            let (sum, path) = line.split_once("  ").unwrap();
            let found: String = Sha256::digest(std::fs::read(vendor.join(path)).unwrap())
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect();
            assert_eq!(found, sum, "{path}");
            listed.insert(path.to_owned());
        }
        assert_eq!(files_below(&vendor), listed);
    }

    /// The policy would block references to other hosts and inline code.
    #[tokio::test]
    async fn pages_refer_only_to_files_that_are_served() {
        for page in ["/", "/track/x", "/playground", "/graphiql"] {
            let html = String::from_utf8(body(ask(Method::GET, page, &[]).await).await.to_vec()).unwrap();
            assert!(
                !html.contains("<style") && !html.contains("style=") && !html.contains("<script>"),
                "{page}"
            );
            let links = html.split('"').skip(1).step_by(2);
            for link in
                links.filter(|text| text.contains('/') && (text.ends_with("js") || text.ends_with("css")))
            {
                let path = link.strip_prefix("../").unwrap_or(link);
                assert_eq!(link != path, page.starts_with("/track/"), "{page} wants {link}");
                let response = ask(Method::GET, &format!("/{path}"), &[("accept-encoding", "gzip")]).await;
                assert_eq!(response.status(), 200, "{page} wants {link}");
            }
        }
    }

    #[tokio::test]
    async fn modules_import_only_modules_that_are_served() {
        for path in Web::iter().filter(|path| path.starts_with("app/")) {
            let file = Web::get(&path).unwrap();
            let text = std::str::from_utf8(&file.data).unwrap();
            for import in text.lines().filter_map(|line| line.split(" from '").nth(1)) {
                let target = import.trim_end_matches("';");
                let target = match target.strip_prefix("../") {
                    Some(above) => above.to_owned(),
                    None => format!("app/{}", target.strip_prefix("./").unwrap()),
                };
                assert!(Web::get(&target).is_some(), "{path} imports {target}");
            }
        }
    }

    #[tokio::test]
    async fn files_have_their_media_types_and_policies() {
        let page = ask(Method::GET, "/", &[]).await;
        assert_eq!(page.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(page.headers()[CONTENT_SECURITY_POLICY], POLICY);
        assert_eq!(page.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
        let playground = ask(Method::GET, "/playground", &[]).await;
        assert_eq!(playground.headers()[CONTENT_SECURITY_POLICY], PLAYGROUND_POLICY);
        for (path, media_type) in [
            ("/style.css", "text/css; charset=utf-8"),
            ("/icon.svg", "image/svg+xml"),
            ("/app/main.js", "text/javascript; charset=utf-8"),
            ("/vendor/preact/preact.mjs", "text/javascript; charset=utf-8"),
        ] {
            assert_eq!(ask(Method::GET, path, &[]).await.headers()[CONTENT_TYPE], media_type, "{path}");
        }
    }

    #[tokio::test]
    async fn every_tracking_url_shows_the_page_and_is_not_indexed() {
        for path in ["/track", "/track/", "/track/01a21350-c2de-7da6-b8ed-e61509e83ca9", "/track/%3Cb%3E"] {
            let page = ask(Method::GET, path, &[]).await;
            assert_eq!(page.status(), 200, "{path}");
            assert_eq!(page.headers()[CONTENT_SECURITY_POLICY], POLICY);
            assert_eq!(page.headers()["x-robots-tag"], "noindex, nofollow");
        }
        assert!(!ask(Method::GET, "/", &[]).await.headers().contains_key("x-robots-tag"));
    }

    #[tokio::test]
    async fn compressed_files_require_a_client_that_accepts_gzip() {
        let path = "/vendor/playground/middleware.js";
        for (accepts, status) in [
            ("gzip", 200),
            ("br, GZIP;q=0.5", 200),
            ("*", 200),
            ("gzip;q=0, *", 406),
            ("br", 406),
            ("identity", 406),
            ("gzip;q=x", 406),
        ] {
            let response = ask(Method::GET, path, &[("accept-encoding", accepts)]).await;
            assert_eq!(response.status(), status, "{accepts}");
            assert_eq!(response.headers()[VARY], "accept-encoding");
            assert_eq!(response.headers().contains_key(CONTENT_ENCODING), status == 200);
        }
        assert_eq!(ask(Method::GET, path, &[]).await.status(), 406);
    }

    #[tokio::test]
    async fn unchanged_file_is_not_sent_again() {
        let first = ask(Method::GET, "/style.css", &[]).await;
        let etag = first.headers()[ETAG].to_str().unwrap().to_owned();
        assert!(!body(first).await.is_empty());
        for tags in [etag.clone(), format!("\"other\", W/{etag}"), "*".to_owned()] {
            let again = ask(Method::GET, "/style.css", &[("if-none-match", &tags)]).await;
            assert_eq!(again.status(), 304, "{tags}");
            assert_eq!(again.headers()[ETAG].to_str().unwrap(), etag);
            assert!(body(again).await.is_empty());
        }
        assert_eq!(ask(Method::GET, "/style.css", &[("if-none-match", "\"other\"")]).await.status(), 200);
    }

    #[tokio::test]
    async fn head_returns_the_headers_of_get_without_a_body() {
        let get = ask(Method::GET, "/", &[]).await;
        let head = ask(Method::HEAD, "/", &[]).await;
        assert_eq!(head.status(), 200);
        assert_eq!(head.headers()[ETAG], get.headers()[ETAG]);
        assert_eq!(head.headers()["content-length"].to_str().unwrap(), body(get).await.len().to_string());
        assert!(body(head).await.is_empty());
    }
}
