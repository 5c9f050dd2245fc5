//! The page that explains every error code, to which the `type` of problems links.

use std::fmt::Write as _;

use axum::Router;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use domain::{Api, ErrorCode};
use http::header;

use gateway_http::problem::status;

use crate::pages::{POLICY, PROBLEMS, html};

/// Returns the route of the page.
pub(crate) fn route(developer_tools: bool) -> Router {
    let page = page(developer_tools);
    let policy = [(header::CONTENT_SECURITY_POLICY, POLICY)];
    Router::new().route("/problems", get(move || async move { (policy, Html(page)).into_response() }))
}

fn page(developer_tools: bool) -> String {
    let mut rows = String::new();
    for &code in ErrorCode::ALL {
        let status = match code.apis().contains(&Api::Rest) {
            true => format!(" <span class=\"status\">{}</span>", status(code.kind()).as_u16()),
            false => String::new(),
        };
        // Writing to a String does not fail.
        let _ = write!(
            rows,
            "<dt id=\"{code}\"><a href=\"#{code}\"><code>{code}</code></a>{status}</dt><dd>{}.</dd><dd class=\"advice\">{}</dd>",
            code_marks(code.meaning()),
            code_marks(code.advice())
        );
    }
    html(PROBLEMS, "/problems", developer_tools).replace("@errors", &rows)
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

    #[test]
    fn page_is_complete() {
        let page = page(false);
        assert!(!page.contains('`') && !page.contains('@'), "{page}");
        assert!(page.contains("<main") && page.contains("<a href") && !page.contains("style="), "{page}");
        for &code in ErrorCode::ALL {
            assert!(page.contains(&format!("id=\"{code}\"")), "{code}");
        }
    }
}
