//! Serves the web pages and the guide.
//!
//! These are the page at `/`, the console, the tracking page at `/track/{id}`, GraphQL Playground, GraphiQL and the REST
//! reference. The files that they use are in `assets.rs`.
//!
//! Every file of `web/` is compiled in, so a copied binary needs no folder, no network and no build step. Pages are
//! completed once, at the start: with the folder of their files and the names of their modules.

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use gateway_http::fallback::nothing_at;

use crate::assets::{self, GUIDE, Web};
use crate::file_headers::{etag, is_fresh, media_type};

/// The pages for developers.
const DEVELOPER_TOOLS: [&str; 3] = ["docs", "graphiql", "playground"];

/// The page of error codes, which `error_page.rs` completes.
pub(crate) const PROBLEMS: &str = "problems";

/// The tracking page for customers. Search engines must not index it.
const TRACK: &str = "track";
const X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");

/// Content security policy: only files of this server, no inline code, no framing.
pub(crate) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Content security policy of Playground, which inserts empty `<style>` elements and fills them by script.
///
/// The hash is that of the empty string and allows these elements.
const PLAYGROUND_POLICY: &str = "default-src 'none'; script-src 'self'; \
     style-src 'self' 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='; img-src 'self' data:; \
     font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Content security policy of mdBook, which sets styles on elements.
const GUIDE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// Returns the routes of the pages, their files and the guide.
///
/// The pages for developers send requests of their user to the APIs, and are served only with `developer_tools`. Axum
/// responds to HEAD as to GET, without the body.
pub(crate) fn routes(developer_tools: bool) -> Router {
    with_files(Router::new(), developer_tools)
}

fn with_files<S: Clone + Send + Sync + 'static>(router: Router<S>, developer_tools: bool) -> Router<S> {
    let router = router
        .merge(assets::route(developer_tools))
        .route("/guide", get(|| async { Redirect::permanent("/guide/") }))
        .route(
            "/guide/",
            get(move |headers: HeaderMap| async move { guide("index.html", developer_tools, &headers) }),
        )
        .route(
            "/guide/{*path}",
            get(move |Path(path): Path<String>, headers: HeaderMap| async move {
                guide(&path, developer_tools, &headers)
            }),
        );
    let is_shown = |name: &str| name != PROBLEMS && (developer_tools || !DEVELOPER_TOOLS.contains(&name));
    let names = Web::iter().filter_map(|path| path.strip_suffix(".html").map(str::to_owned));
    names.filter(|name| !name.starts_with(GUIDE) && is_shown(name)).fold(router, |router, name| {
        paths(&name).into_iter().fold(router, |router, path| {
            let page = Page::new(&name, &path, developer_tools);
            router.route(&path, get(move |headers: HeaderMap| async move { page.answer(&headers) }))
        })
    })
}

/// Returns the paths of a page. Those of the console are read by the page itself.
fn paths(name: &str) -> Vec<String> {
    let below: &[&str] = match name {
        "index" => return vec!["/".to_owned()],
        // The page reads the id from its URL and shows a message for customers if the order does not exist.
        TRACK => &["", "/", "/{id}"],
        "console" => &["", "/", "/{view}", "/{view}/", "/{view}/{id}"],
        _ => &[""],
    };
    below.iter().map(|path| format!("/{name}{path}")).collect()
}

/// Returns the HTML of a page at a path.
pub(crate) fn html(name: &str, path: &str, developer_tools: bool) -> String {
    let file = Web::get(&format!("{name}.html"));
    let source = file.map(|file| String::from_utf8_lossy(&file.data).into_owned()).unwrap_or_default();
    complete(&source, path, developer_tools)
}

/// Completes the HTML of a page at a path.
///
/// Its addresses are relative, so that a proxy can serve all pages below a path.
fn complete(source: &str, path: &str, developer_tools: bool) -> String {
    let up = "../".repeat(path.matches('/').count().saturating_sub(1));
    let folder = format!("{up}{}", assets::folder());
    let entry =
        source.split_once("type=\"module\" src=\"@assets/").and_then(|(_, rest)| rest.split('"').next());
    let modules = entry.map(assets::modules).unwrap_or_default();
    // The first paint needs the styles, and none of these.
    let preload = modules.iter().map(|path| {
        format!("<link rel=\"modulepreload\" href=\"{folder}{path}\" fetchpriority=\"low\">\n  ")
    });
    source
        .replace("@modules", preload.collect::<String>().trim_end())
        .replace("@assets/", &folder)
        .replace("@root/", if up.is_empty() { "./" } else { &up })
        .replace("@tools", if developer_tools { "true" } else { "false" })
}

/// Returns a file of the guide. Its pages link to each other by relative paths that end in `.html`.
fn guide(path: &str, developer_tools: bool, headers: &HeaderMap) -> Response {
    let path = format!("{GUIDE}{path}");
    let Some((media_type, file)) = media_type(&path).zip(Web::get(&path)) else {
        return nothing_at(&format!("/{path}")).into_response();
    };
    let (bytes, hash): (Bytes, _) = match path.ends_with(".html") {
        true => {
            let page = with_header(&file.data, &format!("/{path}"), developer_tools);
            let hash = Sha256::digest(&page).into();
            (page, hash)
        }
        false => (file.data.into_owned().into(), file.metadata.sha256_hash()),
    };
    let etag = etag(&hash);
    Page { bytes, media_type, policy: GUIDE_POLICY, is_indexed: true, etag }.answer(headers)
}

/// Completes the part of a page of the guide that is of the template. What the documents contain stays as it is.
fn with_header(page: &[u8], path: &str, developer_tools: bool) -> Bytes {
    let page = String::from_utf8_lossy(page);
    match page.split_once("</header>") {
        Some((head, rest)) => format!("{}</header>{rest}", complete(head, path, developer_tools)).into(),
        None => page.into_owned().into(),
    }
}

/// One page, or a file of the guide, with its headers.
#[derive(Clone)]
struct Page {
    bytes: Bytes,
    media_type: &'static str,
    policy: &'static str,
    is_indexed: bool,
    etag: HeaderValue,
}

impl Page {
    fn new(name: &str, path: &str, developer_tools: bool) -> Self {
        let html = html(name, path, developer_tools);
        let etag = etag(&Sha256::digest(&html).into());
        let policy = if name == "playground" { PLAYGROUND_POLICY } else { POLICY };
        let media_type = "text/html; charset=utf-8";
        Self { bytes: html.into(), media_type, policy, is_indexed: name != TRACK, etag }
    }

    /// Returns the page, or 304 if the client has it.
    ///
    /// With `no-cache`, a browser keeps the page but revalidates it each time. It then uses the files of that version.
    fn answer(&self, request: &HeaderMap) -> Response {
        let mut response = match is_fresh(request, &self.etag) {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => {
                let mut response = Response::new(Body::from(self.bytes.clone()));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(self.media_type));
                response
            }
        };
        let headers = response.headers_mut();
        headers.insert(ETAG, self.etag.clone());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(self.policy));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if !self.is_indexed {
            headers.insert(X_ROBOTS_TAG, HeaderValue::from_static("noindex, nofollow"));
        }
        response
    }
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
        for path in files_below(&web()).into_iter().filter(|path| path != "problems.html") {
            let served = !documents.contains(&path.rsplit('/').next().unwrap());
            let is_page = path.ends_with(".html") && !path.starts_with(GUIDE);
            let url = match path.strip_suffix(".html") {
                Some("index") => String::new(),
                Some(page) if is_page => page.to_owned(),
                _ if path.starts_with(GUIDE) => path.clone(),
                _ => format!("{}{}", assets::folder(), path.strip_suffix(".gz").unwrap_or(&path)),
            };
            let packed = path.ends_with(".gz").then_some(("accept-encoding", "gzip"));
            let response = ask(Method::GET, &format!("/{url}"), packed.as_slice()).await;
            assert_eq!(response.status(), if served { 200 } else { 404 }, "{path}");
            // Pages are completed.
            if served && !path.ends_with(".html") {
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
        assert_eq!(page.headers()[CONTENT_SECURITY_POLICY], GUIDE_POLICY);
        for path in ["/guide/nothing.html", "/guide/../index.html", "/guide/%2e%2e/index.html"] {
            assert_eq!(ask(Method::GET, path, &[]).await.status(), 404, "{path}");
        }
    }

    #[test]
    fn pages_of_the_guide_get_the_header_of_the_other_pages() {
        let source = "<html data-tools=\"@tools\"><link href=\"@assets/header.css\"><script type=\"module\" \
             src=\"@assets/app/static_header.js\"></script>@modules<header><a href=\"@root/\"></a></header>\
             <main>user@root/ of @tools</main>";
        let page = with_header(source.as_bytes(), "/guide/start/tutorial.html", false);
        let page = String::from_utf8(page.to_vec()).unwrap();
        let folder = format!("../../{}", assets::folder());
        assert!(page.contains("data-tools=\"false\"") && page.contains("<a href=\"../../\">"), "{page}");
        assert!(page.contains(&format!("href=\"{folder}header.css\"")), "{page}");
        assert!(
            page.contains(&format!("<link rel=\"modulepreload\" href=\"{folder}app/icons.js\"")),
            "{page}"
        );
        assert!(page.ends_with("<main>user@root/ of @tools</main>"), "{page}");
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
        let pages = [
            ("/", ""),
            ("/track", ""),
            ("/track/x", "../"),
            ("/console", ""),
            ("/console/", "../"),
            ("/console/orders", "../"),
            ("/console/orders/x", "../../"),
            ("/login", ""),
            ("/docs", ""),
            ("/playground", ""),
            ("/graphiql", ""),
        ];
        for (page, up) in pages {
            let html = String::from_utf8(body(ask(Method::GET, page, &[]).await).await.to_vec()).unwrap();
            assert!(
                !html.contains("<style") && !html.contains("style=") && !html.contains("<script>"),
                "{page}"
            );
            assert!(!html.contains('@'), "{page} is not complete: {html}");
            let links = html.split('"').skip(1).step_by(2).filter(|text| text.contains("assets/"));
            assert!(links.clone().count() > 1, "{page}");
            for link in links {
                let path = link.strip_prefix(up).unwrap();
                assert!(path.starts_with("assets/"), "{page} wants {link}");
                let response = ask(Method::GET, &format!("/{path}"), &[("accept-encoding", "gzip")]).await;
                assert_eq!(response.status(), 200, "{page} wants {link}");
            }
        }
    }

    #[tokio::test]
    async fn pages_have_their_media_types_and_policies() {
        for page in ["/", "/console/orders"] {
            let page = ask(Method::GET, page, &[]).await;
            assert_eq!(page.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
            assert_eq!(page.headers()[CONTENT_SECURITY_POLICY], POLICY);
            assert_eq!(page.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert_eq!(page.headers()[CACHE_CONTROL], "no-cache");
        }
        let playground = ask(Method::GET, "/playground", &[]).await;
        assert_eq!(playground.headers()[CONTENT_SECURITY_POLICY], PLAYGROUND_POLICY);
    }

    #[test]
    fn page_states_whether_the_tools_are_served() {
        assert!(html("console", "/console", true).contains("data-tools=\"true\""));
        assert!(html("console", "/console", false).contains("data-tools=\"false\""));
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
    async fn unchanged_page_is_not_sent_again() {
        let first = ask(Method::GET, "/console", &[]).await;
        let etag = first.headers()[ETAG].to_str().unwrap().to_owned();
        assert!(!body(first).await.is_empty());
        for tags in [etag.clone(), format!("\"other\", {etag}"), etag.replace("W/", ""), "*".to_owned()] {
            let again = ask(Method::GET, "/console", &[("if-none-match", &tags)]).await;
            assert_eq!(again.status(), 304, "{tags}");
            assert_eq!(again.headers()[ETAG].to_str().unwrap(), etag);
            assert!(body(again).await.is_empty());
        }
        assert_eq!(ask(Method::GET, "/console", &[("if-none-match", "\"other\"")]).await.status(), 200);
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
