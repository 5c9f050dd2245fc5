//! The number of SQL statements of a page does not depend on its number of orders.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Backend, Gateway, quick};
use crate::on_both;

/// The minimum number of measurements. Background statements, about two a second, add to some of them.
const COUNTED: usize = 12;
/// The time during which a higher count is measured again: on a busy machine each request may overlap with a
/// background statement.
const PATIENCE: Duration = Duration::from_secs(60);

/// The number of statements of a document, `expected` if one measurement is that low, and its response.
async fn cost(gateway: &Gateway<'_>, store: &gateway::Store, document: &str, expected: u64) -> (u64, Value) {
    let mut least = u64::MAX;
    let mut answer = Value::Null;
    let mut counted = 0;
    let began = Instant::now();
    while counted < COUNTED || (least > expected && began.elapsed() < PATIENCE) {
        counted += 1;
        let before = store.statements();
        let (_, json) = gateway.graphql(document, Value::Null).await;
        least = least.min(store.statements() - before);
        answer = json;
    }
    assert_eq!(answer["errors"], Value::Null, "{document}");
    (least, answer)
}

on_both!(a_page_costs_the_same_statements_for_any_number_of_orders, |on| async move {
    let backend = Backend::new(on).await;
    let store = backend.gateway_store().await;
    // No order is dispatched, so there are few background statements.
    let mut config = quick();
    config.service.max_queue_depth = 1;
    let gateway = backend.gateway_with(store.clone(), config).await;
    let body = |n: usize| json!({"item": format!("x{n}"), "quantity": 1, "price": n});
    let created = gateway.create_all(&(0..60).map(body).collect::<Vec<_>>()).await;
    for id in &created {
        gateway.post(&format!("/orders/{id}/cancel"), "").await;
    }
    for (of, most) in [
        ("id lineItems { item total }", 1),
        ("events { sequence status }", 2),
        ("lineItems { item } events { sequence } late: events(after: 1) { sequence }", 2),
        ("events { sequence order { id status } }", 3),
    ] {
        let page =
            |size| format!("{{ orders(first: {size}) {{ nodes {{ {of} }} edges {{ node {{ {of} }} }} }} }}");
        let (few, small) = cost(&gateway, &store, &page(5), most).await;
        let (many, large) = cost(&gateway, &store, &page(50), most).await;
        assert_eq!((few, many), (most, most), "{of}");
        assert_eq!(small["data"]["orders"]["nodes"].as_array().unwrap().len(), 5);
        let nodes = large["data"]["orders"]["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), 50);
        for node in nodes.iter().filter(|_| of.contains("events {")) {
            let sequences: Vec<_> =
                node["events"].as_array().unwrap().iter().map(|event| event["sequence"].as_u64()).collect();
            assert_eq!(sequences, [Some(1), Some(2)], "{of}");
        }
        if of.contains("late") {
            assert_eq!(nodes[0]["late"], json!([{"sequence": 2}]));
        }
    }
    // A page in the middle also checks whether a previous page exists.
    let (_, first) = cost(&gateway, &store, "{ orders(first: 5) { pageInfo { endCursor } } }", 1).await;
    let cursor = first["data"]["orders"]["pageInfo"]["endCursor"].as_str().unwrap();
    for size in [5, 50] {
        let page = format!(
            "{{ orders(first: {size}, after: \"{cursor}\") {{ nodes {{ id }} pageInfo {{ hasPreviousPage }} }} }}"
        );
        assert_eq!(cost(&gateway, &store, &page, 2).await.0, 2);
    }
    gateway.stop().await;
});
