//! Compares `docs/reference/limits.md` with the default settings.
//!
//! It also finds rows that no test compares with the code.

use std::path::Path;

use limits_page::{bytes, count, row, rows, time};

use crate::Config;
use gateway_http::server::Port;

#[test]
fn every_row_of_the_page_is_tested() {
    // The crates of the gateway are in subfolders. The processor tests its limits from the outside.
    let mut sources = String::new();
    for folder in [
        "",
        "../broker/src",
        "../telemetry",
        "../tls",
        "../webhook/src",
        "../orders/src",
        "../processor/tests",
        "../subscriber/email/src",
    ] {
        collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut sources);
    }
    let untested: Vec<_> =
        rows().into_iter().filter(|(limit, _)| !sources.contains(&format!("\"{limit}\""))).collect();
    assert!(untested.is_empty(), "no test compares these with the code: {untested:#?}");
}

fn collect(folder: &Path, sources: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("tests") {
            continue;
        } else if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn settings_have_the_defaults_of_the_page() {
    let config = Config::default();
    let (http, graphql) = (&config.http, &config.graphql);
    row("open connections on all ports", &count(http.max_connections));
    row("open connections from one client address", "a tenth of all");
    assert_eq!(http.max_connections_per_address(), http.max_connections / 10);
    row(
        "open streams: websockets, event streams (REST and GraphQL), long polls and gRPC streams together",
        &count(http.max_streams),
    );
    row("open streams from one client address", "a tenth of all");
    assert_eq!(http.max_streams_per_address(), http.max_streams / 10);
    let (web, workers) = (Port::HTTP, crate::grpc::PORT);
    let requests = |port: &Port| count(port.max_concurrent_requests as usize);
    row(
        "HTTP/2: concurrent requests on a connection",
        &format!("{}; {} on the gRPC port", requests(&web), requests(&workers)),
    );
    let ping = |port: &Port| format!("{}, every {}", time(port.ping_timeout), time(port.ping_interval));
    row("HTTP/2: ping timeout", &format!("{}; {} on the gRPC port", ping(&web), ping(&workers)));
    row("HTTP/2: idle time", &time(http.idle_timeout));
    row("read timeout of a request head", &time(http.request_read_timeout));
    row("path and query", &bytes(http.max_target_size));
    row("body", &bytes(http.max_body_size));
    row("body of a bulk create", &bytes(config.rest.max_bulk_body_size));
    row("text of one order: item names, customer and reference together", &bytes(domain::MAX_CONTENT_BYTES));
    row("response", &bytes(http.max_response_size));
    row(
        "time to the response head; the creation of one order has a timeout for each step instead",
        &format!(
            "{}; {} for a bulk create",
            time(http.request_read_timeout + config.service.request_timeout),
            time(http.request_read_timeout + config.service.request_timeout + gateway_rest::MAX_BULK_WAIT)
        ),
    );
    row("write timeout (client not reading)", &time(http.write_timeout));
    row(
        &format!("minimum average read rate of a client, after {}", time(http.slow_client_grace)),
        &format!("{}/s", bytes(http.min_read_rate)),
    );
    // The name of the row above, for the test that searches for it:
    // "minimum average read rate of a client, after 30 s"
    row("state changes from other origins", "refused");
    row(
        "hosts in `Host`, `:authority` or an absolute target",
        "every host; loopback names on a loopback address",
    );
    row("commands and new orders queued for a transaction", &count(config.service.batch_backlog));
    row("line items of an order", &count(domain::MAX_LINE_ITEMS));
    row("item, customer, reference", &format!("{} characters each", domain::strings::MAX_ITEM));
    assert_eq!(
        [domain::strings::MAX_CUSTOMER, domain::strings::MAX_EXTERNAL_REFERENCE],
        [domain::strings::MAX_ITEM; 2]
    );
    row(
        "reason; error class; requester",
        &format!(
            "{}; {}; {} characters",
            domain::strings::MAX_REASON,
            domain::strings::MAX_ERROR_CLASS,
            domain::strings::MAX_REQUESTED_BY
        ),
    );
    row("idempotency key", &format!("{} characters", domain::MAX_IDEMPOTENCY_KEY));
    row("orders of a bulk create", &count(gateway_service::MAX_ROWS));
    row(
        "orders of one redrive by filter; starts per second",
        &format!(
            "{}; {}",
            count(gateway_service::orders::MAX_REDRIVEN as usize),
            count(gateway_service::orders::MAX_RATE as usize)
        ),
    );
    row(
        "concurrent exports; orders of an export; orders in one read of it",
        &format!(
            "{}; {}; {}",
            count(gateway_service::orders::MAX_EXPORTS),
            count(gateway_service::orders::MAX_EXPORTED as usize),
            count(gateway_service::orders::EXPORT_PAGE as usize)
        ),
    );
    row("orders of one cancellation by filter", &count(gateway_service::orders::MAX_CANCELLED as usize));
    let at_most = |max: u32| format!("none, at most {}", count(max as usize));
    row("rate of a key; of a tenant, in requests per second", &at_most(domain::MAX_RATE));
    row(
        "requests at once within a rate",
        &format!("the rate, at most {}", count(domain::MAX_BURST as usize)),
    );
    row("open streams of a key; of a tenant", &at_most(domain::MAX_STREAM_LIMIT));
    row("orders of a tenant that are not final", &at_most(crate::store::COUNT_LIMIT));
    row("count of orders in each status", &count(crate::store::COUNT_LIMIT as usize));
    row("document", &bytes(graphql.max_document_size));
    row("tokens", &count(graphql.max_tokens));
    row("selections, fragments expanded", &count(graphql.max_selections));
    row("aliases", &count(graphql.max_aliases));
    row("fields at the root", &format!("{}; 1 in a subscription", graphql.max_root_fields));
    row("directives", &count(graphql.max_directives));
    row(
        "complexity: fields times page sizes; those of `lineItems` count twice",
        &format!("{}, of a batch together", count(graphql.max_complexity)),
    );
    row("fragments that contain themselves", "none");
    row("operations in one request", "no batches");
    assert_eq!(graphql.max_batch_size, 0);
    row(
        "length of the response, counted while it is built",
        &format!("{}, of a batch together", bytes(http.max_response_size)),
    );
    row("execution timeout of a query, a mutation or a batch", &time(graphql.execution_timeout));
    row("introspection", "on");
    assert!(graphql.introspection);
    row(
        "automatic persisted queries",
        &format!(
            "{}, of {} together",
            count(graphql.max_persisted_queries),
            bytes(graphql.max_persisted_query_bytes)
        ),
    );
    row("trusted documents", "all documents run");
    row("handshakes from other origins", "refused; with `--cors-origins '*'` they may not run mutations");
    row("no supported subprotocol", "");
    row("timeout of `connection_init`", &time(graphql.connection_init_timeout));
    row("a `connection_init` rejected by the embedding program", "none");
    row("operations before `connection_ack`; a second init; an id in use; a malformed message", "");
    row("length of a message", &bytes(graphql.max_message_size));
    row("concurrent operations", &count(graphql.max_operations_per_socket));
    row(
        &format!("silence after a ping (every {})", time(graphql.ping_interval)),
        &time(graphql.pong_timeout),
    );
    // "silence after a ping (every 12 s)"
    row("write timeout (client does not read)", &time(graphql.pong_timeout));
    row("shutdown", "");
}
