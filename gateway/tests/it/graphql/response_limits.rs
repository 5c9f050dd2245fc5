//! The maximum size of a response and the maximum number of errors, on each transport.

use serde_json::{Value, json};

use super::{LEGACY, MODERN, Socket, config};
use crate::harness::{Backend, Gateway, On};

const JSON: (&str, &str) = ("content-type", "application/json");
const LIMIT: usize = 64 * 1024;
const ORDERS: usize = 13;

/// A gateway whose responses have at most [`LIMIT`] bytes, with 13 orders of about 2 KB each.
async fn with_orders(backend: &Backend) -> Gateway<'_> {
    let mut config = config();
    config.http.max_response_size = LIMIT;
    config.graphql.max_batch_size = 5;
    let gateway = backend.gateway(config).await;
    let lines: Vec<Value> =
        (0..10).map(|_| json!({"item": "x".repeat(200), "quantity": 1, "price": "1"})).collect();
    let rows: Vec<Value> = (0..ORDERS).map(|_| json!({"lineItems": lines})).collect();
    let create = "mutation($rows: [CreateOrderInput!]!) { createOrders(input: {orders: $rows}) { results { outcome } } }";
    let (_, json) = gateway.graphql(create, json!({"rows": rows})).await;
    let results = json["data"]["createOrders"]["results"].as_array().unwrap();
    assert!(results.len() == ORDERS && results.iter().all(|row| row["outcome"] == "CREATED"), "{json}");
    gateway
}

fn page(fields: &str) -> String {
    format!("{{ orders(first: 20) {{ nodes {{ {fields} }} }} }}")
}

fn is_limit(json: &Value) -> bool {
    let error = &json["errors"][0]["extensions"];
    error["code"] == "limit_exceeded" && error["limit"] == "response" && json["data"] == Value::Null
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_response_is_an_error_on_every_transport() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = with_orders(&backend).await;
    let fits = page("lineItems { item }");
    let types: String = (0..8).map(|n| format!("a{n}: types {{ fields {{ name description }} }} ")).collect();
    let schema = format!("{{ __schema {{ {types} }} }}");
    let type_names: String = (0..25).map(|n| format!("a{n}: __typename ")).collect();
    for too_long in [
        page("a: lineItems { item } b: lineItems { item } c: lineItems { item }"),
        page("lineItems { item quantity a: item b: item }"),
        page(&format!("lineItems {{ {type_names} }}")),
        page("events { order { lineItems { item a: item b: item } } }"),
        schema,
    ] {
        let (status, json) = gateway.graphql(&too_long, Value::Null).await;
        assert!(status == 200 && is_limit(&json), "{too_long}: {status} {json}");
        let request = gateway.client.post(gateway.url("/graphql")).header("content-type", "application/json");
        let request = request.header("accept", "text/event-stream");
        let stream = request.body(json!({"query": too_long}).to_string()).send().await.unwrap();
        let text = stream.text().await.unwrap();
        assert!(text.len() < LIMIT && text.contains("\"limit\":\"response\""), "{text}");
        for protocol in [MODERN, LEGACY] {
            let mut socket = Socket::ready(&gateway, protocol).await;
            let kind = if protocol == MODERN { "subscribe" } else { "start" };
            for id in ["1", "2"] {
                socket.say(json!({"type": kind, "id": id, "payload": {"query": too_long}})).await;
                let message = socket.hear().await;
                assert_eq!(message["type"], "error", "{message}");
                assert!(message.to_string().contains("\"limit\":\"response\""), "{message}");
            }
            socket.say(json!({"type": kind, "id": "3", "payload": {"query": fits}})).await;
            assert_eq!(
                socket.hear().await["payload"]["data"]["orders"]["nodes"].as_array().unwrap().len(),
                ORDERS
            );
        }
    }
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operations_of_a_batch_share_the_response_limit() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = with_orders(&backend).await;
    // Less than half of the limit.
    let fits = json!({"query": page("lineItems { item }")});
    let create =
        r#"mutation { createOrder(input: {item: "late", quantity: 1, price: 1}) { idempotentReplay } }"#;
    let small = json!({"query": create});
    let (status, json) = gateway.graphql_raw(&[JSON], json!([fits, fits, fits, small]).to_string()).await;
    assert_eq!(status, 200);
    assert!(json.to_string().len() <= LIMIT + 1_024);
    assert_eq!(json[0]["data"]["orders"]["nodes"].as_array().unwrap().len(), ORDERS, "{json}");
    assert_eq!(json[1], json[0]);
    // The following operations do not run, because their results would not fit.
    assert!(is_limit(&json[2]) && is_limit(&json[3]), "{json}");
    let (_, json) =
        gateway.graphql("{ orders(filter: {itemContains: \"late\"}) { nodes { id } } }", Value::Null).await;
    assert_eq!(json["data"]["orders"]["nodes"], json!([]), "{json}");
    gateway.stop().await;
}

fn errors_of(json: &Value) -> usize {
    match json {
        Value::Array(items) => items.iter().map(errors_of).sum(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| match (name.as_str(), value) {
                ("userErrors" | "errors", Value::Array(errors)) => errors.len(),
                _ => errors_of(value),
            })
            .sum(),
        _ => 0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_has_at_most_a_hundred_errors() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config()).await;
    let bad: Vec<Value> = (0..60).map(|_| json!({"item": "", "quantity": 0, "price": "x"})).collect();
    let create = "createOrder(input: {lineItems: $l}) { order { id } userErrors { code message field } }";
    // One field with 180 errors.
    let one = format!("mutation($l: [LineItemInput!]) {{ {create} }}");
    let (_, json) = gateway.graphql(&one, json!({"l": bad})).await;
    assert_eq!(errors_of(&json), 100, "{json}");
    // Each of several fields has errors.
    let several = format!("mutation($l: [LineItemInput!]) {{ a: {create} b: {create} c: {create} }}");
    let (_, json) = gateway.graphql(&several, json!({"l": bad})).await;
    assert_eq!(errors_of(&json), 100, "{json}");
    for alias in ["a", "b", "c"] {
        assert!(!json["data"][alias]["userErrors"].as_array().unwrap().is_empty(), "{alias}");
    }
    // Rows of a bulk: each has a status, the first ones have reasons.
    let rows: Vec<Value> = (0..90)
        .map(|n| {
            if n == 80 {
                json!({"item": "x", "quantity": 1, "price": 1})
            } else {
                json!({"lineItems": bad[..1]})
            }
        })
        .collect();
    let bulk = "mutation($rows: [CreateOrderInput!]!) { createOrders(input: {orders: $rows, errorPolicy: REJECT_FAILED_ROWS}) {
        results { outcome order { id } userErrors { code field } } userErrors { code } } }";
    let (_, json) = gateway.graphql(bulk, json!({"rows": rows})).await;
    assert_eq!(errors_of(&json), 100, "{json}");
    let results = json["data"]["createOrders"]["results"].as_array().unwrap();
    for (n, row) in results.iter().enumerate() {
        assert_eq!(row["outcome"], if n == 80 { "CREATED" } else { "INVALID" }, "{n}: {row}");
        assert_eq!(row["order"].is_null(), n != 80);
    }
    assert_eq!(results[0]["userErrors"][0]["field"][2], "0");
    assert_eq!(results[89]["userErrors"], json!([]));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_use_of_a_variable_counts_towards_the_limit() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config()).await;
    let item = json!({"item": "x".repeat(200), "quantity": 1, "price": "1"});
    let variables = json!({"l": vec![item; 100]});
    let document = |rows: usize| {
        let rows = vec!["{lineItems:$l}"; rows].join(" ");
        format!(
            "mutation($l:[LineItemInput!]){{createOrders(input:{{orders:[{rows}]}}){{results{{order{{id}}}}}}}}"
        )
    };
    let (status, json) = gateway.graphql(&document(600), variables.clone()).await;
    assert_eq!(
        (status.as_u16(), &json["errors"][0]["extensions"]["limit"]),
        (400, &json!("variables")),
        "{json}"
    );
    let (_, json) = gateway.graphql(&document(2), variables).await;
    assert_eq!(json["data"]["createOrders"]["results"].as_array().unwrap().len(), 2, "{json}");
    gateway.stop().await;
}
