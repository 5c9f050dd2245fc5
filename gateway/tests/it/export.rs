//! Exports of orders as CSV and as lines of JSON.

use std::sync::Arc;

use domain::query::Filter;
use domain::{ErrorCode, Principal};
use gateway::Config;
use gateway::service::orders::MAX_EXPORTS;
use serde_json::{Value, json};

use crate::harness::{Backend, On};
use crate::on_both;
use crate::tenants::service;

on_both!(all_matching_orders_are_exported, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let mut ids = Vec::new();
    for start in [0, 1_000] {
        let orders: Vec<Value> = (start..start + 600)
            .map(|n| json!({"item": "Tea, green", "quantity": 1, "price": 1.5, "customer": format!("=c{}", n % 2)}))
            .collect();
        let created = gateway.command("/orders/bulk", json!(orders)).await;
        let results = created["results"].as_array().unwrap();
        ids.extend(results.iter().map(|row| row["order"]["id"].as_str().unwrap().to_owned()));
    }
    ids.sort_unstable_by(|one, other| other.cmp(one));

    let response = gateway.get("/orders/export?format=ndjson").await;
    let header = |name| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "application/x-ndjson");
    let name = header("content-disposition");
    assert!(name.starts_with("attachment; filename=\"orders-20") && name.ends_with("Z.ndjson\""), "{name}");
    assert_eq!(header("cache-control"), "no-store");
    let text = response.text().await.unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let found: Vec<&str> = lines.iter().map(|order| order["id"].as_str().unwrap()).collect();
    assert_eq!(found, ids);
    assert_eq!(lines[0], gateway.ask(&format!("/orders/{}", ids[0])).await);

    // An index serves the customer; the search for an item reads every order. Both take several pages.
    for query in ["customer=%3Dc1", "itemContains=GREEN&customerPrefix=%3DC1"] {
        let text = gateway.get(&format!("/orders/export?{query}")).await.text().await.unwrap();
        let rows: Vec<&str> = text.split_terminator("\r\n").collect();
        assert!(rows[0].starts_with("id,createdAt,updatedAt,status,customer,"), "{}", rows[0]);
        assert_eq!(rows.len(), 601);
        assert!(
            rows[1..].iter().all(|row| row.contains(",pending,\"'=c1\",,1.50,USD,\"Tea, green\",1,")),
            "{}",
            rows[1]
        );
        let ids: Vec<&str> = rows[1..].iter().map(|row| row.split(',').next().unwrap()).collect();
        assert!(ids.is_sorted_by(|one, other| one > other), "{query}");
    }
    let none = gateway.get("/orders/export?status=failed&format=csv").await.text().await.unwrap();
    assert_eq!(none.lines().count(), 1);
    let refused = gateway.get("/orders/export?format=xml").await;
    assert_eq!(refused.status(), 400);
    gateway.stop().await;
});

/// An export that is not read on holds its place only until it is dropped.
#[tokio::test]
async fn few_exports_run_at_a_time() {
    let backend = Backend::new(On::Embedded).await;
    let service = service(&backend).await;
    let caller = Arc::new(Principal::anonymous());
    let begin = || service.orders.export(&caller, Filter::default());
    let mut exports: Vec<_> = (0..MAX_EXPORTS).map(|_| begin().unwrap()).collect();
    assert_eq!(begin().err().map(|error| error.code()), Some(ErrorCode::Overloaded));
    let first = &mut exports[0];
    assert!(first.next_page().await.unwrap().unwrap().is_empty());
    assert!(first.next_page().await.unwrap().is_none());
    exports.pop();
    assert!(begin().is_ok());
}
