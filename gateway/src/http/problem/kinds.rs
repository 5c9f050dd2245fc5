//! The table of all errors, and the page that shows it.

use std::fmt::Write as _;

use axum::response::{Html, IntoResponse, Response};
use http::header;

/// One kind of error.
#[derive(Debug)]
pub struct Kind {
    /// Stable and machine-readable.
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What it is, in a few words.
    pub title: &'static str,
    /// What the client can do.
    pub advice: &'static str,
}

/// Every kind of error there is, the use cases' own ([`crate::Error::code`]) and HTTP's own.
pub const KINDS: &[Kind] = &[
    kind(
        "malformed_json",
        400,
        "The body is not JSON",
        "Mend the body where line and column in `detail` point.",
    ),
    kind(
        "malformed_request",
        400,
        "The request is not HTTP",
        "Send a request line and headers as RFC 9112 says.",
    ),
    kind(
        "websocket_handshake",
        400,
        "The websocket cannot be opened",
        "`detail` says what the handshake lacks.",
    ),
    kind(
        "origin_not_allowed",
        403,
        "Pages of that site may not do this",
        "Operators: allow the site by its name with `--cors-origins`; `*` allows reads only.",
    ),
    kind(
        "host_not_allowed",
        421,
        "The gateway does not answer for that host",
        "Use the host name that the operators gave you. Operators: add the name with `--allowed-hosts`.",
    ),
    kind("body_incomplete", 400, "The body broke off", "Send it again; a proxy between may have cut it."),
    kind(
        "invalid_body",
        400,
        "The body has the wrong shape",
        "Each of `errors` names, with a JSON pointer, a field that is unknown, repeated or of the wrong type.",
    ),
    kind(
        "invalid_query",
        400,
        "The query string is wrong",
        "Each of `errors` names a parameter that is unknown, repeated or has an unusable value.",
    ),
    kind("invalid_header", 400, "A header has an unusable value", "`detail` names the header."),
    kind("invalid_id", 400, "The path holds no order id", "An order id is a UUID with hyphens."),
    kind("not_found", 404, "There is nothing at this path", "`/docs` lists every path."),
    kind(
        "order_not_found",
        404,
        "There is no such order",
        "Check the id. A final order may have been removed after the time that this installation keeps them.",
    ),
    kind("method_not_allowed", 405, "The path does not know this method", "The `Allow` header lists them."),
    kind("body_timeout", 408, "The body did not arrive in time", "Send it again, faster."),
    kind("order_final", 409, "The order is final already", "Nothing can be changed any more."),
    kind("order_not_failed", 409, "The order has not failed", "Only failed orders can be redriven."),
    kind("already_started", 409, "The order is being processed already", "Nothing is to be done."),
    kind("not_yet", 409, "The order waits for its time", "Try again later."),
    kind(
        "queue_paused",
        409,
        "The queue is paused",
        "Drop the job: it comes again when the queue is resumed.",
    ),
    kind("stale_lease", 409, "The lease is not valid", "Drop the work: somebody else has it."),
    kind("lease_not_expired", 409, "The lease has not expired", "Nothing is to be done."),
    kind(
        "order_unreadable",
        409,
        "What is stored of the order cannot be used",
        "Tell the operators the id. Operators: `orders doctor` says why, `orders repair` repairs it or marks it as \
         failed.",
    ),
    kind("body_too_large", 413, "The body is too large", "`detail` says how much is allowed."),
    kind(
        "uri_too_long",
        414,
        "The path with its query string is too long",
        "`detail` says how much is allowed.",
    ),
    kind("unsupported_media_type", 415, "The body is not JSON", "Send `Content-Type: application/json`."),
    kind(
        "invalid_order",
        422,
        "The order breaks a rule",
        "Each of `errors` names, with a JSON pointer, a field and what to change.",
    ),
    kind(
        "idempotency_key_reused",
        422,
        "The idempotency key belongs to another order",
        "Use a new key for a new order, and the same body with the same key.",
    ),
    kind(
        "order_refused",
        422,
        "The database refuses the order",
        "Tell the operators. Operators: a constraint or a trigger that was added to the tables refuses it; the log has \
         its message.",
    ),
    kind("invalid_row_count", 422, "There are too many orders, or none", "Send 1 to 1,000 orders at once."),
    kind(
        "too_many_connections",
        429,
        "The address has too many open connections",
        "Close some, or use one connection for several requests.",
    ),
    kind(
        "too_many_streams",
        429,
        "The address has too many open streams",
        "Close some websockets, event streams or long polls: one websocket carries many subscriptions.",
    ),
    kind("head_too_large", 431, "The head of the request is too large", "Send fewer or shorter headers."),
    kind("internal_error", 500, "Something broke on our side", "Tell the operators the `X-Request-Id`."),
    kind(
        "streams_exhausted",
        503,
        "All streams are taken",
        "Try again after `Retry-After`, or use another gateway.",
    ),
    kind(
        "overloaded",
        503,
        "Too many requests are waiting",
        "Nothing was changed; try again after `Retry-After`.",
    ),
    kind(
        "database_unavailable",
        503,
        "The database cannot be reached",
        "Nothing was changed; try again after `Retry-After`.",
    ),
    kind(
        "database_pool_exhausted",
        503,
        "Every connection to the database is in use",
        "Nothing was changed; try again after `Retry-After`.",
    ),
    kind(
        "database_connection_limit",
        503,
        "The database takes no more connections",
        "Nothing was changed; try again after `Retry-After`. Operators: allow more, or run fewer gateways.",
    ),
    kind(
        "database_read_only",
        503,
        "The database takes no changes",
        "Nothing was changed; try again after `Retry-After`. It usually ends with a failover.",
    ),
    kind(
        "database_full",
        503,
        "The database has no space left",
        "Nothing was changed; try again after `Retry-After`. Operators: make space.",
    ),
    kind(
        "database_access_denied",
        503,
        "The database refuses the gateway's user",
        "Nothing was changed; try again after `Retry-After`. Operators: the log names the missing privilege.",
    ),
    kind(
        "database_statement_limit",
        503,
        "The database prepares no more statements",
        "Nothing was changed; try again after `Retry-After`. Operators: raise `max_prepared_stmt_count`.",
    ),
    kind(
        "database_statement_timeout",
        503,
        "The database ended a statement that took too long",
        "Nothing was changed; try again after `Retry-After`. Operators: raise `max_statement_time` or \
         `max_execution_time`.",
    ),
    kind(
        "database_packet_limit",
        503,
        "The database does not accept a statement of this length",
        "Nothing was changed; send fewer or smaller orders. Operators: raise `max_allowed_packet`.",
    ),
    kind(
        "database_misconfigured",
        503,
        "The database is not set up for orders",
        "Nothing was changed; try again after `Retry-After`. Operators: the log names the setting or the table.",
    ),
    kind(
        "starting",
        503,
        "The gateway is starting",
        "Nothing was changed; try again after `Retry-After`, or at another gateway.",
    ),
    kind(
        "shutting_down",
        503,
        "This gateway is going away",
        "Nothing was changed; try again, another one will answer.",
    ),
    kind(
        "outcome_unknown",
        503,
        "It is not known whether the change was made",
        "Send it again with the same `Idempotency-Key`, which answers the order or makes it; without a key look for \
         `orderId` first.",
    ),
    kind(
        "query_timeout",
        503,
        "There are too many orders to read through",
        "Ask for fewer of them, such as those of one customer, of one status or of a shorter time.",
    ),
    kind(
        "request_timeout",
        503,
        "The answer took too long",
        "A change may have been made all the same; look before sending the request again.",
    ),
];

pub(super) fn find(code: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.code == code)
}

const fn kind(code: &'static str, status: u16, title: &'static str, advice: &'static str) -> Kind {
    Kind { code, status, title, advice }
}

/// The page that `type` points at.
pub(in crate::http) async fn page() -> Response {
    let mut rows = String::new();
    for Kind { code, status, title, advice } in KINDS {
        let _ = write!(
            rows,
            "<dt id=\"{code}\"><code>{code}</code> ({status})<dd>{}. {}",
            code_marks(title),
            code_marks(advice)
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

/// The text with what stands between backticks marked as code. The texts are constants without HTML.
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
    async fn the_page_shows_no_backticks() {
        let body = axum::body::to_bytes(page().await.into_body(), usize::MAX).await.unwrap();
        let page = String::from_utf8(body.to_vec()).unwrap();
        assert!(!page.contains('`') && page.contains("<main") && page.contains("<a href"), "{page}");
    }

    #[test]
    fn the_readme_lists_every_code() {
        let readme = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md"));
        let missing =
            KINDS.iter().map(|kind| kind.code).filter(|code| !readme.contains(&format!("`{code}`")));
        assert_eq!(missing.collect::<Vec<_>>(), [""; 0]);
    }
}
