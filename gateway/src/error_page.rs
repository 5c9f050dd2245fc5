//! The page that explains every error code, to which the `type` of problems links.

use std::fmt::Write as _;

use axum::response::{Html, IntoResponse, Response};
use domain::{Api, ErrorCode};
use http::header;

use gateway_http::problem::status;

/// Returns the page.
pub(crate) async fn page() -> Response {
    let mut rows = String::new();
    for &code in ErrorCode::ALL {
        let status = match code.apis().contains(&Api::Rest) {
            true => format!(" ({})", status(code.kind()).as_u16()),
            false => String::new(),
        };
        // Writing to a String does not fail.
        let _ = write!(
            rows,
            "<dt id=\"{code}\"><code>{code}</code>{status}<dd>{}. {}",
            code_marks(code.meaning()),
            code_marks(code.advice())
        );
    }
    let policy = [(header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'self'")];
    let head = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\">\
        <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
        <meta name=\"color-scheme\" content=\"light dark\"><title>Errors</title>\
        <link rel=\"stylesheet\" href=\"base.css\"><link rel=\"stylesheet\" href=\"track.css\">\
        <main class=\"card\"><p><a href=\"./\">Back to the orders</a></p><h1>Errors</h1>";
    (policy, Html(format!("{head}<dl>{rows}</dl></main></html>"))).into_response()
}

/// Converts backticks to `<code>` elements. The strings are constants without HTML.
fn code_marks(text: &str) -> String {
    text.split('`').enumerate().fold(String::new(), |mut marked, (n, part)| {
        let _ = if n % 2 == 1 { write!(marked, "<code>{part}</code>") } else { write!(marked, "{part}") };
        marked
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn page_shows_no_backticks() {
        let body = axum::body::to_bytes(page().await.into_body(), usize::MAX).await.unwrap();
        let page = String::from_utf8(body.to_vec()).unwrap();
        assert!(!page.contains('`') && page.contains("<main") && page.contains("<a href"), "{page}");
    }
}
