//! The files of the pages: compressed once, and served below a folder that is named after their contents.
//!
//! `/assets/<version>/app/main.js` never changes, so a browser keeps it without asking again. `version` is one hash of
//! all files, which keeps the relative imports of the modules. A page names the version of the program that sent it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, VARY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};

use gateway_http::fallback::nothing_at;

use crate::file_headers::{etag, is_fresh, media_type, takes_gzip};

/// The files of `web/`; licences and notes about the files are not served.
///
/// `x.html` is a page, `guide/x` is served as `/guide/x`, and every other file below [`folder`].
#[derive(rust_embed::Embed)]
#[folder = "../web"]
pub(crate) struct Web;

/// The folder of the guide, whose pages link to each other by their own paths.
pub(crate) const GUIDE: &str = "guide/";

/// The only files of the developer tools are these folders.
const TOOLS: [&str; 4] = ["reference/", "tools/", "vendor/graphiql/", "vendor/playground/"];

/// The icon, which pages of the guide request from its path in `web/`.
const ICON: &str = "icon.svg";

/// Lifetime of a file whose URL has the hash of its content.
const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// All files, which are the same in the whole process: compiled in, and compressed at the first use.
static ASSETS: LazyLock<Assets> = LazyLock::new(Assets::new);

/// The files and the name of their folder.
struct Assets {
    version: String,
    /// By path below `web/`, without `.gz`.
    files: BTreeMap<String, Asset>,
}

struct Asset {
    media_type: &'static str,
    /// `None` for a file that exists only compressed.
    plain: Option<Bytes>,
    /// `None` for a file that does not become shorter.
    gzip: Option<Bytes>,
    etag: HeaderValue,
    /// The modules that a module imports.
    imports: Vec<String>,
}

impl Assets {
    fn new() -> Self {
        let mut files = BTreeMap::new();
        let mut hash = Sha256::new();
        for path in Web::iter().filter(|path| !path.starts_with(GUIDE) && !path.ends_with(".html")) {
            let Some((name, asset)) = Asset::new(&path) else { continue };
            hash.update(name.as_bytes());
            hash.update(asset.etag.as_bytes());
            files.insert(name, asset);
        }
        let version = hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Self { version, files }
    }
}

impl Asset {
    /// Returns the file with its name; `None` if it is not served.
    fn new(path: &str) -> Option<(String, Self)> {
        let name = path.strip_suffix(".gz").unwrap_or(path);
        let media_type = media_type(name)?;
        let file = Web::get(path)?;
        let etag = etag(&file.metadata.sha256_hash());
        let bytes = Bytes::from(file.data.into_owned());
        let (plain, gzip) = match name == path {
            true => (Some(bytes.clone()), gzip(&bytes).filter(|packed| packed.len() < bytes.len())),
            false => (None, Some(bytes)),
        };
        let code = plain.as_deref().filter(|_| name.ends_with(".js")).unwrap_or_default();
        let imports = imports(name, &String::from_utf8_lossy(code));
        Some((name.to_owned(), Self { media_type, plain, gzip, etag, imports }))
    }
}

/// Compresses a file; `None` if it fails, which a writer in memory does not.
fn gzip(bytes: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(7));
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

/// Returns the route of the files.
///
/// Without `developer_tools`, the files of these tools are not served.
pub(crate) fn route<S: Clone + Send + Sync + 'static>(developer_tools: bool) -> Router<S> {
    LazyLock::force(&ASSETS);
    let answer = move |Path((version, path)): Path<(String, String)>, headers: HeaderMap| async move {
        answer(&version, &path, developer_tools, &headers)
    };
    let icon = |headers: HeaderMap| async move { self::answer("", ICON, false, &headers) };
    Router::new().route("/assets/{version}/{*path}", get(answer)).route("/icon.svg", get(icon))
}

/// Returns a file.
///
/// While gateways of two versions run, a page of one can ask the other for its files. It gets those of the other
/// version, which no cache keeps.
fn answer(version: &str, path: &str, developer_tools: bool, request: &HeaderMap) -> Response {
    let is_hidden = !developer_tools && TOOLS.iter().any(|folder| path.starts_with(folder));
    let Some(file) = ASSETS.files.get(path).filter(|_| !is_hidden) else {
        return nothing_at(&format!("/assets/{version}/{path}")).into_response();
    };
    let (bytes, is_gzip) = match (&file.gzip, &file.plain) {
        (Some(gzip), _) if takes_gzip(request) => (gzip, true),
        (_, Some(plain)) => (plain, false),
        _ => return needs_gzip(),
    };
    let mut response = match is_fresh(request, &file.etag) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => {
            let mut response = Response::new(Body::from(bytes.clone()));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(file.media_type));
            if is_gzip {
                response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
            response
        }
    };
    let headers = response.headers_mut();
    let is_current = version == ASSETS.version;
    headers.insert(CACHE_CONTROL, if is_current { FOREVER } else { HeaderValue::from_static("no-cache") });
    headers.insert(ETAG, file.etag.clone());
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Returns 406 for a client that does not accept gzip.
///
/// The large files exist only compressed. Every browser accepts gzip, so the server needs no decompression.
fn needs_gzip() -> Response {
    let vary = [(VARY, "accept-encoding")];
    (StatusCode::NOT_ACCEPTABLE, vary, "This file is kept compressed: send `Accept-Encoding: gzip`.\n")
        .into_response()
}

/// Returns the folder of the files, relative to the root of the pages.
pub(crate) fn folder() -> String {
    format!("assets/{}/", ASSETS.version)
}

/// Returns the modules that this one imports, directly and through others, itself included.
///
/// A page names them in its head: the browser then requests all of them at once instead of one level after the other.
pub(crate) fn modules(entry: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![entry.to_owned()];
    while let Some(path) = open.pop() {
        let Some(file) = ASSETS.files.get(&path) else { continue };
        if found.insert(path) {
            open.extend(file.imports.iter().cloned());
        }
    }
    found
}

/// Returns the paths in the `import` statements of a module, below `web/`.
fn imports(path: &str, code: &str) -> Vec<String> {
    let folder: Vec<&str> =
        path.rsplit_once('/').map_or(Vec::new(), |(folder, _)| folder.split('/').collect());
    let targets = code.lines().filter_map(|line| {
        let (_, target) = line.split_once(" from '").or_else(|| line.split_once("import '"))?;
        target.strip_suffix("';").filter(|target| target.starts_with('.'))
    });
    let resolve = |target: &str| {
        let mut parts = folder.clone();
        for part in target.split('/') {
            match part {
                "." => {}
                ".." => drop(parts.pop()),
                name => parts.push(name),
            }
        }
        parts.join("/")
    };
    targets.map(resolve).collect()
}

#[cfg(test)]
mod tests {
    use axum::http::Request;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    async fn ask(path: &str, headers: &[(&str, &str)], developer_tools: bool) -> Response {
        let mut request = Request::builder().uri(format!("/{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        route::<()>(developer_tools).oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    async fn body(response: Response) -> Bytes {
        response.into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn files_are_compressed_and_kept_forever() {
        let path = format!("{}style.css", folder());
        let packed = ask(&path, &[("accept-encoding", "gzip, br")], false).await;
        assert_eq!(packed.headers()[CONTENT_ENCODING], "gzip");
        assert_eq!(packed.headers()[CACHE_CONTROL], "public, max-age=31536000, immutable");
        assert_eq!(packed.headers()[CONTENT_TYPE], "text/css; charset=utf-8");
        let plain = ask(&path, &[], false).await;
        assert!(!plain.headers().contains_key(CONTENT_ENCODING));
        let plain = body(plain).await;
        assert_eq!(plain, Web::get("style.css").unwrap().data.as_ref());
        assert!(body(packed).await.len() * 2 < plain.len());
    }

    #[tokio::test]
    async fn files_of_another_version_are_not_kept() {
        let other = ask("assets/0123456789abcdef/style.css", &[], false).await;
        assert_eq!(other.status(), 200);
        assert_eq!(other.headers()[CACHE_CONTROL], "no-cache");
        let tag = other.headers()[ETAG].to_str().unwrap().to_owned();
        let again = ask("assets/0123456789abcdef/style.css", &[("if-none-match", &tag)], false).await;
        assert_eq!(again.status(), 304);
        assert!(body(again).await.is_empty());
    }

    #[tokio::test]
    async fn icon_is_served_to_the_guide() {
        let icon = ask("icon.svg", &[], false).await;
        assert_eq!(
            (icon.status().as_u16(), &icon.headers()[CACHE_CONTROL]),
            (200, &HeaderValue::from_static("no-cache"))
        );
    }

    #[tokio::test]
    async fn other_paths_and_the_tools_are_not_served_by_default() {
        for path in
            ["index.html", "guide/index.html", "../Cargo.toml", "tools/graphiql.js", "vendor/README.md"]
        {
            let path = format!("{}{path}", folder());
            assert_eq!(ask(&path, &[("accept-encoding", "gzip")], false).await.status(), 404, "{path}");
        }
        let path = format!("{}tools/graphiql.js", folder());
        assert_eq!(ask(&path, &[], true).await.status(), 200);
    }

    #[tokio::test]
    async fn large_files_require_a_client_that_accepts_gzip() {
        let path = format!("{}vendor/playground/middleware.js", folder());
        for (accepts, status) in [
            ("gzip", 200),
            ("br, GZIP;q=0.5", 200),
            ("*", 200),
            ("gzip;q=0, *", 406),
            ("br", 406),
            ("identity", 406),
            ("gzip;q=x", 406),
        ] {
            let response = ask(&path, &[("accept-encoding", accepts)], true).await;
            assert_eq!(response.status(), status, "{accepts}");
            assert_eq!(response.headers()[VARY], "accept-encoding");
            assert_eq!(response.headers().contains_key(CONTENT_ENCODING), status == 200);
        }
        assert_eq!(ask(&path, &[], true).await.status(), 406);
    }

    #[test]
    fn modules_import_only_modules_that_are_served() {
        for (path, file) in ASSETS.files.iter().filter(|(path, _)| path.ends_with(".js")) {
            for import in &file.imports {
                assert!(ASSETS.files.contains_key(import), "{path} imports {import}");
            }
        }
        let found = modules("app/main.js");
        for path in ["app/main.js", "app/html.js", "vendor/preact/preact.mjs", "vendor/htm/htm.module.js"] {
            assert!(found.contains(path), "{path}");
        }
    }
}
