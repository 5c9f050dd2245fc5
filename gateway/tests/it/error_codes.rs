//! The same condition has the same error code on REST, GraphQL and gRPC.

use gateway::Config;
use proto::v1;
use serde_json::{Value, json};

use crate::harness::{Backend, Gateway};
use crate::on_both;

const UNKNOWN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

async fn rest(gateway: &Gateway<'_>, method: &str, path: &str, key: Option<&str>, body: &str) -> String {
    let method = method.parse().unwrap();
    let mut request = gateway.client.request(method, gateway.url(path));
    if !body.is_empty() {
        request = request.header("content-type", "application/json").body(body.to_owned());
    }
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let response = request.send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/problem+json", "{path}");
    let problem: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    problem["code"].as_str().unwrap().to_owned()
}

/// The code in `errors`, or else the first one in `userErrors` of the first field.
fn graphql_code(json: &Value) -> String {
    let code = match &json["errors"][0]["extensions"]["code"] {
        Value::Null => {
            json["data"].as_object().unwrap().values().next().unwrap()["userErrors"][0]["code"].clone()
        }
        code => code.clone(),
    };
    code.as_str().unwrap_or_else(|| panic!("there is no code in {json}")).to_owned()
}

async fn graphql(gateway: &Gateway<'_>, query: &str) -> String {
    let (_, json) = gateway.graphql(query, json!({})).await;
    graphql_code(&json)
}

async fn raw_graphql(gateway: &Gateway<'_>, media: &str, body: String) -> String {
    let request = gateway.client.post(gateway.url("/graphql")).header("content-type", media).body(body);
    let text = request.send().await.unwrap().text().await.unwrap();
    graphql_code(&serde_json::from_str(&text).unwrap())
}

fn grpc<T: std::fmt::Debug>(result: Result<T, tonic::Status>) -> String {
    result.unwrap_err().metadata().get(proto::ERROR_METADATA).unwrap().to_str().unwrap().to_owned()
}

on_both!(every_api_has_the_same_code_for_an_order_id, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let mut workers = gateway.workers().await;
    for (id, code) in
        [(UNKNOWN, "order_not_found"), ("nonsense", "invalid_order_id"), ("1", "invalid_order_id")]
    {
        for path in [format!("/orders/{id}"), format!("/orders/{id}/events")] {
            assert_eq!(rest(&gateway, "GET", &path, None, "").await, code, "{path}");
        }
        for command in ["cancel", "redrive"] {
            let path = format!("/orders/{id}/{command}");
            assert_eq!(rest(&gateway, "POST", &path, None, "").await, code, "{path}");
            let query = format!(
                "mutation {{ {command}Order(input: {{orderId: \"{id}\"}}) {{ userErrors {{ code }} }} }}"
            );
            assert_eq!(graphql(&gateway, &query).await, code, "{query}");
        }
        let request = v1::GetOrderRequest { order_id: id.to_owned() };
        assert_eq!(grpc(workers.get_order(request).await), code);
        let request = v1::WatchOrderRequest { order_id: id.to_owned(), after_sequence: None };
        assert_eq!(grpc(workers.watch_order(request).await), code);
        assert_eq!(grpc(gateway.report(id, "processing", "").await), code);
    }
    gateway.stop().await;
});

on_both!(every_api_has_the_same_code_for_the_state_of_an_order, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let id = gateway.create_order().await;
    gateway.report(&id, "processing", "").await.unwrap();
    gateway.report(&id, "completed", "").await.unwrap();

    let mutation = |name: &str| {
        format!("mutation {{ {name}Order(input: {{orderId: \"{id}\"}}) {{ userErrors {{ code }} }} }}")
    };
    assert_eq!(rest(&gateway, "POST", &format!("/orders/{id}/cancel"), None, "").await, "order_final");
    assert_eq!(graphql(&gateway, &mutation("cancel")).await, "order_final");
    assert_eq!(grpc(gateway.report(&id, "processing", "").await), "order_final");
    assert_eq!(rest(&gateway, "POST", &format!("/orders/{id}/redrive"), None, "").await, "order_not_failed");
    assert_eq!(graphql(&gateway, &mutation("redrive")).await, "order_not_failed");
    gateway.stop().await;
});

on_both!(every_api_has_the_same_code_for_a_wrong_value, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let id = gateway.create_order().await;
    // Values outside their range, and values of the wrong type.
    for (path, query) in [
        ("/orders?limit=0", "{ orders(first: 0) { nodes { id } } }"),
        ("/orders?after=x", "{ orders(after: \"x\") { nodes { id } } }"),
        ("/orders?totalFrom=x", "{ orders(filter: {totalFrom: \"x\"}) { nodes { id } } }"),
        ("/orders?createdFrom=x", "{ orders(filter: {createdFrom: \"x\"}) { nodes { id } } }"),
    ] {
        assert_eq!(rest(&gateway, "GET", path, None, "").await, "invalid_input", "{path}");
        assert_eq!(graphql(&gateway, query).await, "invalid_input", "{query}");
    }
    let redrive = "mutation { redriveOrders(input: {filter: {}, ratePerSecond: 0}) { userErrors { code } } }";
    assert_eq!(graphql(&gateway, redrive).await, "invalid_input");
    let body = r#"{"filter":{},"ratePerSecond":0}"#;
    assert_eq!(rest(&gateway, "POST", "/dead-letters/redrive", None, body).await, "invalid_input");
    assert_eq!(grpc(gateway.report(&id, "nonsense", "").await), "invalid_input");
    assert_eq!(grpc(gateway.report(&id, "processing", "nonsense").await), "invalid_input");
    gateway.stop().await;
});

on_both!(every_api_has_the_same_code_for_a_create, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let order = r#"{"item":"x","quantity":1,"price":1}"#;
    let create =
        |arguments: &str| format!("mutation {{ createOrder({arguments}) {{ userErrors {{ code }} }} }}");

    let none = r#"{"item":"x","quantity":0,"price":1}"#;
    assert_eq!(rest(&gateway, "POST", "/orders", None, none).await, "invalid_order");
    let query = create("input: {item: \"x\", quantity: 0, price: 1}");
    assert_eq!(graphql(&gateway, &query).await, "invalid_order");

    assert_eq!(rest(&gateway, "POST", "/orders", Some(""), order).await, "invalid_idempotency_key");
    let query = create("input: {item: \"x\", quantity: 1, price: 1}, idempotencyKey: \"\"");
    assert_eq!(graphql(&gateway, &query).await, "invalid_idempotency_key");

    let key = "the-same";
    let request = gateway.client.post(gateway.url("/orders")).header("idempotency-key", key);
    let created = request.header("content-type", "application/json").body(order).send().await.unwrap();
    assert_eq!(created.status(), 201);
    let other = r#"{"item":"y","quantity":1,"price":1}"#;
    assert_eq!(rest(&gateway, "POST", "/orders", Some(key), other).await, "idempotency_key_reused");
    let query = create("input: {item: \"y\", quantity: 1, price: 1}, idempotencyKey: \"the-same\"");
    assert_eq!(graphql(&gateway, &query).await, "idempotency_key_reused");

    assert_eq!(rest(&gateway, "POST", "/orders/bulk", None, "[]").await, "invalid_row_count");
    let query = "mutation { createOrders(input: {orders: []}) { userErrors { code } } }";
    assert_eq!(graphql(&gateway, query).await, "invalid_row_count");
    gateway.stop().await;
});

on_both!(every_api_has_the_same_code_for_a_body, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    assert_eq!(rest(&gateway, "POST", "/orders", None, "{").await, "malformed_json");
    assert_eq!(raw_graphql(&gateway, "application/json", "{".to_owned()).await, "malformed_json");
    let long = " ".repeat(300_000);
    assert_eq!(rest(&gateway, "POST", "/orders", None, &long).await, "body_too_large");
    assert_eq!(raw_graphql(&gateway, "application/json", long.clone()).await, "body_too_large");
    let wrong = gateway.client.post(gateway.url("/orders")).header("content-type", "text/plain").body("{}");
    let problem: Value = serde_json::from_str(&wrong.send().await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(problem["code"], "unsupported_media_type");
    assert_eq!(raw_graphql(&gateway, "text/plain", "{}".to_owned()).await, "unsupported_media_type");
    // A message of a unary call has the limit of a body.
    let report = gateway.report(UNKNOWN, &"x".repeat(300_000), "").await;
    assert_eq!(grpc(report), "body_too_large");
    gateway.stop().await;
});
