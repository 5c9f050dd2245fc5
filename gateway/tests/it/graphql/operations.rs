//! Queries and mutations.

use serde_json::{Value, json};

use super::config;
use crate::harness::{Backend, On};
use crate::on_both;

on_both!(an_order_is_created_read_and_cancelled, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(config()).await;
    let create = "mutation($input: CreateOrderInput!) { createOrder(input: $input) {
        order { id lineItems { item quantity price total } total currency quantity customer externalReference
                status sequence attempt failures maxAttempts reason }
        userErrors { code message field } } }";
    let input = json!({
        "lineItems": [
            {"item": "Tea", "quantity": 3, "price": "0.10"},
            {"item": "Pot", "quantity": 1, "price": 19.99},
        ],
        "currency": "EUR", "customer": "Ann", "externalReference": "A-1", "maxAttempts": 7,
    });
    let (_, json) = gateway.graphql(create, json!({"input": input})).await;
    let order = &json["data"]["createOrder"]["order"];
    let id = order["id"].clone();
    assert_eq!(
        *order,
        json!({
            "id": id,
            "lineItems": [
                {"item": "Tea", "quantity": 3, "price": "0.10", "total": "0.30"},
                {"item": "Pot", "quantity": 1, "price": "19.99", "total": "19.99"},
            ],
            "total": "20.29", "currency": "EUR", "quantity": 4, "customer": "Ann", "externalReference": "A-1",
            "status": "PENDING", "sequence": 1, "attempt": 0, "failures": 0, "maxAttempts": 7, "reason": null,
        })
    );

    let cancel = "mutation($id: ID!) { cancelOrder(input: {orderId: $id, reason: \"changed my mind\"}) {
        order { status reason events { sequence status previousStatus reason order { id } } }
        userErrors { code } } }";
    let (_, json) = gateway.graphql(cancel, json!({"id": id})).await;
    let cancelled = &json["data"]["cancelOrder"]["order"];
    assert_eq!(
        (&cancelled["status"], &cancelled["reason"]),
        (&json!("CANCELLED"), &json!("changed my mind"))
    );
    assert_eq!(
        cancelled["events"],
        json!([
            {"sequence": 1, "status": "PENDING", "previousStatus": null, "reason": null, "order": {"id": id}},
            {"sequence": 2, "status": "CANCELLED", "previousStatus": "PENDING", "reason": "changed my mind",
             "order": {"id": id}},
        ])
    );

    let read = "query($id: ID!) { order(id: $id) { id status } node(id: $id) { __typename id } }";
    let (_, json) = gateway.graphql(read, json!({"id": id})).await;
    let expected = json!({"data": {
        "order": {"id": id, "status": "CANCELLED"}, "node": {"__typename": "Order", "id": id},
    }});
    assert_eq!(json, expected);
    let (_, json) = gateway.graphql(read, json!({"id": "nonsense"})).await;
    assert_eq!(json, json!({"data": {"order": null, "node": null}}));
    gateway.stop().await;
});

#[tokio::test(flavor = "multi_thread")]
async fn rejected_mutations_return_user_errors() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config()).await;
    let create = "mutation($input: CreateOrderInput!) { createOrder(input: $input) {
        order { id } userErrors { code field } } }";
    let input = json!({"lineItems": [{"item": "x", "quantity": 0, "price": "abc"}], "currency": "XXX"});
    let (status, json) = gateway.graphql(create, json!({"input": input})).await;
    assert_eq!(status, 200);
    let problem = |field: Value| json!({"code": "invalid_order", "field": field});
    let expected = json!({"order": null, "userErrors": [
        problem(json!(["input", "currency"])),
        problem(json!(["input", "lineItems", "0", "quantity"])),
        problem(json!(["input", "lineItems", "0", "price"])),
    ]});
    assert_eq!(json["data"]["createOrder"], expected, "{json}");

    let done = gateway.create_over_graphql().await;
    gateway.complete(&done).await;
    let nobody = "01890a5d-ac96-774b-bcce-b302099a8057";
    for (mutation, id, code) in [
        ("cancelOrder", done.as_str(), "order_final"),
        ("redriveOrder", done.as_str(), "order_not_failed"),
        ("cancelOrder", nobody, "order_not_found"),
        ("redriveOrder", nobody, "order_not_found"),
        ("cancelOrder", "nonsense", "invalid_order_id"),
    ] {
        let text = format!(
            "mutation {{ {mutation}(input: {{orderId: \"{id}\"}}) {{ order {{ id }} userErrors {{ code }} }} }}"
        );
        let (_, json) = gateway.graphql(&text, Value::Null).await;
        let expected = json!({"data": {mutation: {"order": null, "userErrors": [{"code": code}]}}});
        assert_eq!(json, expected);
    }
    gateway.stop().await;
}

on_both!(lists_are_read_page_by_page, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(config()).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(gateway.create_over_graphql().await);
    }
    ids.sort_unstable();
    ids.reverse();
    // `$first` is omitted once: an optional argument may be an unset variable.
    let list = "query($first: Int, $after: String) { orders(first: $first, after: $after) {
        edges { cursor node { id } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }";
    let (mut seen, mut after) = (Vec::new(), Value::Null);
    loop {
        let (_, json) = gateway.graphql(list, json!({"first": 2, "after": after})).await;
        let page = &json["data"]["orders"];
        let edges = page["edges"].as_array().unwrap();
        seen.extend(edges.iter().map(|edge| edge["node"]["id"].as_str().unwrap().to_owned()));
        assert_eq!(page["pageInfo"]["endCursor"], edges[edges.len() - 1]["cursor"]);
        after = page["pageInfo"]["endCursor"].clone();
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    assert_eq!(seen, ids);
    let (_, json) = gateway.graphql(list, json!({})).await;
    assert_eq!(json["data"]["orders"]["edges"].as_array().unwrap().len(), 5);

    gateway.complete(&ids[1]).await;
    let filtered = "{ orders(filter: {statuses: [COMPLETED]}) { nodes { id } } }";
    let (_, json) = gateway.graphql(filtered, Value::Null).await;
    assert_eq!(json["data"]["orders"]["nodes"], json!([{"id": ids[1]}]));

    for variables in [json!({"first": 0}), json!({"first": 101}), json!({"after": "nonsense"})] {
        let (_, json) = gateway.graphql(list, variables.clone()).await;
        assert_eq!(json["errors"][0]["extensions"]["code"], "invalid_input", "{variables} {json}");
        assert_eq!(json["data"], json!({"orders": null}));
    }
    gateway.stop().await;
});

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_field_does_not_affect_its_siblings() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config()).await;
    let id = gateway.create_over_graphql().await;
    let text = format!(
        "{{ bad: orders(first: 0) {{ nodes {{ id }} }} good: order(id: \"{id}\") {{ id events(after: -1) {{ status }} }} }}"
    );
    let (status, json) = gateway.graphql(&text, Value::Null).await;
    assert_eq!(status, 200);
    assert_eq!(json["data"], json!({"bad": null, "good": {"id": id, "events": null}}));
    let mut paths: Vec<_> =
        json["errors"].as_array().unwrap().iter().map(|error| error["path"].to_string()).collect();
    paths.sort();
    assert_eq!(paths, [r#"["bad"]"#, r#"["good","events"]"#]);
    gateway.stop().await;
}
