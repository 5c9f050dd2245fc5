//! Cursors work on every API, and invalid ones are rejected.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde_json::{Value, json};

use super::ids;
use crate::harness::{Backend, On, quick};
use crate::on_both;
use crate::rest::{link, problem};

on_both!(cursors_of_one_transport_work_on_the_other, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(quick()).await;
    let body = |n: usize| json!({"item": "x", "quantity": 1, "price": n % 2});
    gateway.create_all(&(0..6).map(body).collect::<Vec<_>>()).await;
    for (word, sort) in [("CREATED_AT_DESC", "-createdAt"), ("TOTAL_ASC", "total")] {
        let all = gateway.connection(json!({"sort": word})).await;
        let nodes = ids(&all["nodes"]);
        let next = link(&gateway.get(&format!("/orders?limit=2&sort={sort}")).await, "next").unwrap();
        let (_, cursor) = next.rsplit_once("after=").unwrap();
        let page = gateway.connection(json!({"after": cursor, "sort": word})).await;
        assert_eq!(ids(&page["nodes"]), nodes[2..]);
        let cursor = all["edges"][3]["cursor"].as_str().unwrap();
        assert_eq!(gateway.listed(&format!("/orders?sort={sort}&after={cursor}")).await, nodes[4..]);
        assert_eq!(gateway.listed(&format!("/orders?sort={sort}&before={cursor}")).await, nodes[..3]);
    }
    // Cursors of the first version: ids over REST, `v1` over GraphQL.
    let nodes = gateway.listed("/orders").await;
    assert_eq!(gateway.listed(&format!("/orders?after={}", nodes[1])).await, nodes[2..]);
    assert_eq!(gateway.listed(&format!("/orders?limit=1&before={}", nodes[2])).await, nodes[1..2]);
    let old = BASE64.encode(format!("v1:{}", nodes[1]));
    assert_eq!(ids(&gateway.connection(json!({"after": old})).await["nodes"]), nodes[2..]);
    // A removed order still has a position.
    let first = "00000000-0000-7000-8000-000000000000";
    assert_eq!(gateway.listed(&format!("/orders?sort=createdAt&after={first}")).await.len(), 6);
    assert_eq!(gateway.listed(&format!("/orders?after={first}")).await.len(), 0);
    assert_eq!(gateway.listed(&format!("/dead-letters?after={}", nodes[0])).await.len(), 0);
    gateway.stop().await;
});

on_both!(an_invalid_cursor_is_rejected, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(quick()).await;
    let id = gateway.create_order().await;
    let other_sort = BASE64.encode(format!("v2:-total:USD:1:{id}"));
    let texts = [
        String::new(),
        "%25".to_owned(),
        "x".to_owned(),
        "9".repeat(4_000),
        "-1".to_owned(),
        other_sort.clone(),
        BASE64.encode([0xff; 20]),
        BASE64.encode(format!("v9:{id}")),
        BASE64.encode("v2:-createdAt:-1"),
        BASE64.encode(format!("v2:-createdAt:{id}' OR 1=1 --")),
        format!("{}==", BASE64.encode(format!("v1:{id}"))),
    ];
    for text in &texts {
        for name in ["after", "before"] {
            let refused = problem(gateway.get(&format!("/orders?{name}={text}")).await).await;
            assert_eq!(
                (&refused["status"], &refused["code"]),
                (&json!(400), &json!("invalid_input")),
                "{text:.50}"
            );
            assert_eq!(refused["errors"][0]["parameter"], name);
            let message = gateway.refused_connection(json!({name: text})).await;
            assert!(message.starts_with(&format!("{name} is ")), "{message}");
        }
    }
    let message = gateway.refused_connection(json!({"after": other_sort})).await;
    assert!(message.contains("sorted by -total, this one is sorted by -createdAt"), "{message}");
    let yen = BASE64.encode(format!("v2:total:JPY:1:{id}"));
    let message = gateway.refused_connection(json!({"after": yen, "sort": "TOTAL_ASC"})).await;
    assert!(message.contains("totals in JPY, this list is about USD"), "{message}");
    // The largest and the smallest possible positions.
    for total in [0, i64::MAX] {
        for end in ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"] {
            let cursor = BASE64.encode(format!("v2:-total:USD:{total}:{end}"));
            for variables in [
                json!({"after": cursor, "sort": "TOTAL_DESC"}),
                json!({"last": 1, "before": cursor, "sort": "TOTAL_DESC"}),
            ] {
                gateway.connection(variables).await;
            }
        }
    }
    gateway.stop().await;
});

#[tokio::test(flavor = "multi_thread")]
async fn arguments_that_contradict_each_other_are_refused() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(quick()).await;
    for (variables, says) in [
        (json!({"first": 1, "last": 1}), "first and last contradict each other"),
        (json!({"first": 0}), "first must be 1 to 100, is 0"),
        (json!({"last": 101}), "last must be 1 to 100, is 101"),
        (json!({"last": -1}), "last must be 1 to 100, is -1"),
        (json!({"filter": {"customer": ""}}), "filter.customer must not be empty"),
        (json!({"filter": {"customer": "x".repeat(201)}}), "filter.customer must have at most 200"),
        (json!({"filter": {"itemContains": "x".repeat(201)}}), "filter.itemContains must have at most 200"),
        (json!({"filter": {"totalFrom": "-1"}}), "filter.totalFrom must not be negative"),
        (json!({"filter": {"totalTo": "1.999"}}), "filter.totalTo has more than 2 decimals"),
        (json!({"filter": {"totalTo": "1e30"}}), "filter.totalTo is too large"),
        (json!({"filter": {"currency": "usd"}}), "filter.currency is not an ISO 4217"),
    ] {
        let message = gateway.refused_connection(variables).await;
        assert!(message.starts_with(says), "{message}");
    }
    let redrive = "mutation($filter: OrderFilter!) { redriveOrders(input: {filter: $filter}) {
        count userErrors { code message field } } }";
    let (_, json) = gateway.graphql(redrive, json!({"filter": {"totalFrom": "x"}})).await;
    let error = json!([{"code": "invalid_input", "message": "totalFrom must be a plain decimal number such as 1299.99",
        "field": ["input", "filter", "totalFrom"]}]);
    assert_eq!(json["data"]["redriveOrders"], json!({"count": 0, "userErrors": error}));
    let (_, json) = gateway.graphql(redrive, json!({"filter": {"totalFrom": 1, "itemContains": "x"}})).await;
    assert_eq!(json["data"]["redriveOrders"], json!({"count": 0, "userErrors": Value::Array(vec![])}));
    gateway.stop().await;
}
