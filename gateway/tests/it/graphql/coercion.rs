//! Values that cannot be coerced, and their effect on sibling fields.

use serde_json::{Value, json};

use super::{MODERN, Socket, config};
use crate::harness::{Backend, Gateway, On};

const JSON: (&str, &str) = ("content-type", "application/json");
const NEW: (&str, &str) = ("accept", "application/graphql-response+json");

async fn orders(gateway: &Gateway<'_>) -> Value {
    let (_, json) = gateway.graphql("{ orders { nodes { lineItems { item } } } }", Value::Null).await;
    json["data"]["orders"]["nodes"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_operation_runs_when_coercion_fails() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config()).await;
    let create = |more: &str| {
        format!(
            "{{a: createOrder(input: {{item: \"pp-1\", quantity: 1, price: \"1\"}}) {{order {{id}}}} {more}}}"
        )
    };
    let second = |field: &str| {
        create(&format!(
            "b: createOrder(input: {{item: \"pp-2\", quantity: 1, price: \"1\", {field}}}) {{order {{id}}}}"
        ))
    };
    let priced = create("b: createOrder(input: {item: \"pp-2\", quantity: 1, price: $p}) {order {id}}");
    for (document, variables) in [
        (format!("mutation($p: Decimal) {priced}"), json!({"p": 1_299.990_000_000_000_2})),
        (format!("mutation($p: Decimal) {priced}"), json!({"p": {"a": 1}})),
        (format!("mutation($t: DateTime) {}", second("processAfter: $t")), json!({"t": "nonsense"})),
        (format!("mutation {}", second("processAfter: \"nonsense\"")), json!({})),
        (format!("mutation {}", second("maxAttempts: 2147483648")), json!({})),
        (format!("mutation($n: Int) {}", second("maxAttempts: $n")), json!({"n": 3_000_000_000_i64})),
        (format!("mutation($n: Int) {}", second("maxAttempts: $n")), json!({"n": 1.5})),
        (format!("mutation {}", second("priority: \"HIGH\"")), json!({})),
        (format!("mutation($c: String) {}", second("currency: $c")), json!({"c": 5})),
        (
            format!(
                "mutation {}",
                create("b: redriveOrders(input: {filter: {}, limit: 3000000000}) {count}")
            ),
            json!({}),
        ),
    ] {
        let body = json!({"query": document, "variables": variables});
        let (status, json) = gateway.graphql_raw(&[JSON, NEW], body.to_string()).await;
        assert_eq!(status, 400, "{document}: {json}");
        let code = json["errors"][0]["extensions"]["code"].as_str().unwrap();
        assert!(["invalid_input", "GRAPHQL_VALIDATION_FAILED"].contains(&code), "{document}: {json}");
        assert!(json.get("data").is_none(), "{document}: {json}");
        let mut socket = Socket::ready(&gateway, MODERN).await;
        socket.say(json!({"type": "subscribe", "id": "1", "payload": body})).await;
        assert_eq!(socket.hear().await["type"], "error", "{document}");
    }
    assert_eq!(orders(&gateway).await, json!([]));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_operation_of_a_document_runs_alone() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config()).await;
    let document =
        "mutation Create($input: CreateOrderInput!) {createOrder(input: $input) {order {id status}}}
        mutation Cancel($input: CancelOrderInput!) {cancelOrder(input: $input) {order {status}}}
        query List($filter: OrderFilter) {orders(filter: $filter) {nodes {...Shown}}}
        subscription Feed($filter: OrderEventFilter) {orderEvents(filter: $filter) {__typename}}
        fragment Shown on Order {id}";
    let run = async |name: &str, variables: Value| {
        let body = json!({"query": document, "operationName": name, "variables": variables});
        gateway.graphql_raw(&[JSON], body.to_string()).await.1
    };
    let input = json!({"item": "x", "quantity": 1, "price": "1"});
    let created = run("Create", json!({"input": input})).await;
    let id = &created["data"]["createOrder"]["order"]["id"];
    let listed = run("List", json!({"filter": {"statuses": "PENDING"}})).await;
    assert_eq!(listed["data"]["orders"]["nodes"], json!([{"id": id}]), "{listed}");
    let cancelled = run("Cancel", json!({"input": {"orderId": id}})).await;
    assert_eq!(cancelled["data"]["cancelOrder"]["order"]["status"], "CANCELLED", "{cancelled}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_is_selected_twice_runs_once() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config()).await;
    let field = |selected: &str| {
        format!("createOrder(input: {{item: \"once\", quantity: 1, price: 1}}) {{order {{{selected}}}}}")
    };
    let document = format!("mutation {{{} {}}}", field("status"), field("quantity"));
    let (_, json) = gateway.graphql(&document, Value::Null).await;
    let expected = json!({"createOrder": {"order": {"status": "PENDING", "quantity": 1}}});
    assert_eq!(json["data"], expected, "{json}");
    assert_eq!(orders(&gateway).await.as_array().unwrap().len(), 1);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn directives_at_the_root_of_a_subscription_use_variable_defaults() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config()).await;
    let id = gateway.create_over_graphql().await;
    let document = format!(
        "subscription($b: Boolean = true) {{ orderStatus(orderId: \"{id}\", after: 0) @include(if: $b) {{ status }} }}"
    );
    let mut socket = Socket::ready(&gateway, MODERN).await;
    socket.subscribe("1", &document).await;
    assert_eq!(socket.hear().await["payload"]["data"], json!({"orderStatus": {"status": "PENDING"}}));
    let body = json!({"query": document, "variables": {"b": false}});
    socket.say(json!({"type": "subscribe", "id": "2", "payload": body})).await;
    assert_eq!(socket.hear().await, json!({"type": "complete", "id": "2"}));
    gateway.stop().await;
}
