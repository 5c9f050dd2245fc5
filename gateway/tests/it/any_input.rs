//! No string in any part of a request makes a handler panic.
//!
//! Every request over REST, GraphQL and gRPC gets a response other than 500. The strings are close to valid input.

use gateway::Config;
use http::HeaderValue;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config as RunnerConfig, RngAlgorithm, TestRng, TestRunner};
use proto::v1;
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use url::form_urlencoded::byte_serialize;

use crate::harness::{Backend, Gateway, On};

const CASES: usize = 60;

const PIECES: [&str; 50] = [
    "9999-12-31",
    "0000-01-01",
    "1970-01-01",
    "T",
    " ",
    "23:59:59",
    "23:59:60",
    ".",
    "Z",
    "+",
    "-",
    "00:01",
    "23:59",
    "99",
    "0",
    "1",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551616",
    "e-9999",
    "NaN",
    "USD",
    "JPY",
    "CLF",
    "pending",
    "failed",
    "high",
    "01890a5d-ac96-774b-bcce-b302099a8057",
    "{",
    "}",
    "[",
    "\"",
    "\\u",
    "ffffffffffffffff",
    "\u{0}",
    "\n",
    "é",
    "😀",
    "\u{feff}",
    "",
    "%",
    "&",
    "=",
    ":",
    "v2:-total:USD:",
    "djI6LXRvdGFsOlVTRDox",
    ",",
    ";q=",
    "text/event-stream",
    "*/*",
];

fn strings() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..7).prop_map(|pieces| pieces.concat()),
        1 => any::<String>(),
        1 => "[0-9.eE+-]{0,30}",
    ]
}

fn escaped(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

/// Requests with the string in every part that is parsed.
fn requests(gateway: &Gateway<'_>, id: &str, text: &str) -> Vec<(&'static str, RequestBuilder)> {
    let value = escaped(text);
    let get = |path: String| gateway.client.get(gateway.url(&path));
    let post = |path: &str, body: Value| {
        let request = gateway.client.post(gateway.url(path)).header("content-type", "application/json");
        request.body(body.to_string())
    };
    let mut requests = Vec::new();
    for name in [
        "status",
        "customer",
        "externalReference",
        "search",
        "customerPrefix",
        "referencePrefix",
        "waitsFor",
        "errorClass",
        "reason",
        "createdFrom",
        "createdBefore",
        "currency",
        "totalFrom",
        "totalTo",
        "itemContains",
        "sort",
        "limit",
        "after",
        "before",
        "cursor",
    ] {
        requests.push(("list", get(format!("/orders?{name}={value}"))));
    }
    requests.extend([
        ("raw query", get(format!("/orders?{}", value.replace("%26", "&").replace("%3D", "=")))),
        ("total cursor", get(format!("/orders?sort=-total&after={value}"))),
        ("dead letters", get(format!("/dead-letters?createdFrom={value}&after={value}"))),
        ("groups", get(format!("/dead-letters/groups?reason={value}&limit={value}"))),
        ("export", get(format!("/orders/export?format={value}&search={value}"))),
        ("order", get(format!("/orders/{value}"))),
        ("sequence", get(format!("/orders/{id}?waitForSequence={value}&timeout=0"))),
        ("events", get(format!("/orders/{id}/events?after={value}"))),
        ("graphql query", get(format!("/graphql?query={value}&variables={value}"))),
    ]);
    for field in [
        "item",
        "price",
        "currency",
        "customer",
        "externalReference",
        "priority",
        "processAfter",
        "maxAttempts",
    ] {
        let mut order = json!({"item": "x", "quantity": 1, "price": 1});
        order[field] = json!(text);
        requests.push(("create", post("/orders", order.clone())));
        requests.push(("bulk", post("/orders/bulk?errorPolicy=REJECT_FAILED_ROWS", json!([order, text, 1]))));
    }
    requests.extend([
        ("number", post("/orders", json!({"item": "x", "quantity": text.len(), "price": text}))),
        ("pause", post("/queue/pause", json!({"until": text, "requestedBy": text}))),
        ("redrive", post("/dead-letters/redrive", json!({"filter": {"createdFrom": text}, "dryRun": true}))),
        (
            "redrive",
            post(
                "/dead-letters/redrive",
                json!({"filter": {"totalFrom": text}, "startAt": text, "after": text}),
            ),
        ),
        (
            "cancel many",
            post("/orders/cancel", json!({"filter": {"search": text, "status": [text]}, "after": text})),
        ),
        ("cancel", post(&format!("/orders/{id}/cancel"), json!({"reason": 1, "requestedBy": text}))),
        ("raw body", post("/orders", Value::Null).body(text.to_owned())),
        (
            "raw rows",
            post("/orders/bulk", Value::Null)
                .header("content-type", "application/x-ndjson")
                .body(text.to_owned()),
        ),
        ("graphql body", post("/graphql", Value::Null).body(text.to_owned())),
        ("graphql document", post("/graphql", json!({"query": text, "operationName": text}))),
        (
            "graphql string",
            post(
                "/graphql",
                json!({"query": format!("{{ orders(after: {}) {{ nodes {{ id }} }} }}", json!(text))}),
            ),
        ),
    ]);
    for kind in ["DateTime", "Decimal", "ID", "String", "Int", "OrderStatus"] {
        let (name, field) = match kind {
            "DateTime" => ("createdFrom", "filter: {createdFrom: $v}"),
            "Decimal" => ("totalFrom", "filter: {totalFrom: $v}"),
            "Int" => ("first", "first: $v"),
            "OrderStatus" => ("statuses", "filter: {statuses: [$v]}"),
            _ => ("customer", "filter: {customer: $v}"),
        };
        let query = format!("query($v: {kind}) {{ orders({field}) {{ nodes {{ id }} }} }}");
        requests.push((name, post("/graphql", json!({"query": query, "variables": {"v": text}}))));
    }
    if let Ok(header) = HeaderValue::from_bytes(text.as_bytes()) {
        for name in [
            "accept",
            "last-event-id",
            "x-forwarded-for",
            "idempotency-key",
            "content-type",
            "origin",
            "x-request-id",
        ] {
            let path = if name == "idempotency-key" || name == "content-type" { "/orders" } else { "" };
            let request = match path {
                "" => get(format!("/orders/{id}/events")),
                path => post(path, json!({"item": "x", "quantity": 1, "price": 1})),
            };
            requests.push((name, request.header(name, header.clone())));
        }
    }
    requests
}

async fn over_grpc(gateway: &Gateway<'_>, id: &str, text: &str) {
    let mut workers = gateway.workers().await;
    for (order_id, lease_token, status) in [
        (text, "", "processing"),
        (id, text, "completed"),
        (id, "00000000000000ff", text),
        (text, text, text),
    ] {
        let request = v1::UpdateStatusRequest {
            worker_id: text.to_owned(),
            order_id: order_id.to_owned(),
            status: status.to_owned(),
            lease_token: lease_token.to_owned(),
            reason: text.to_owned(),
            error_class: text.to_owned(),
            result: Some(text.to_owned()),
        };
        if let Err(status) = workers.update_status(request).await {
            assert_ne!(status.code(), tonic::Code::Internal, "{text:?}: {status}");
            assert_ne!(status.code(), tonic::Code::Unknown, "{text:?}: {status}");
        }
    }
    let request = v1::GetOrderRequest { order_id: text.to_owned() };
    if let Err(status) = workers.get_order(request).await {
        assert!(matches!(status.code(), tonic::Code::InvalidArgument | tonic::Code::NotFound), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_string_in_a_request_causes_a_500() {
    let backend = Backend::new(On::Embedded).await;
    let mut config = Config::default();
    config.http.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let gateway = backend.gateway(config).await;
    let id = gateway.create_order().await;
    // The order is final, so that its event stream ends.
    let cancel = gateway.client.post(gateway.url(&format!("/orders/{id}/cancel"))).send().await.unwrap();
    assert_eq!(cancel.status(), 200);
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &rand::random::<[u8; 32]>());
    let mut runner = TestRunner::new_with_rng(RunnerConfig::default(), rng);
    for _ in 0..CASES {
        let text = strings().new_tree(&mut runner).unwrap().current();
        for (place, request) in requests(&gateway, &id, &text) {
            let response = request.send().await.unwrap_or_else(|error| panic!("{place} {text:?}: {error}"));
            let status = response.status();
            let body = response.text().await.unwrap();
            assert!(status.as_u16() < 500, "{place} {text:?}: {status} {body}");
            assert!(!body.contains("internal_error"), "{place} {text:?}: {body}");
        }
        over_grpc(&gateway, &id, &text).await;
    }
    gateway.stop().await;
}
