//! Cancels the orders that match a filter.

use domain::Status;
use gateway::Config;
use serde_json::{Value, json};

use crate::harness::{Backend, check_invariants};
use crate::on_both;

on_both!(matching_orders_that_are_not_final_are_cancelled, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let mut ids = Vec::new();
    for customer in ["ann", "ann", "ann", "ann", "bob"] {
        let order = json!({"item": "Tea", "quantity": 1, "price": 1, "customer": customer});
        ids.push(gateway.create(order).await);
    }
    let [pending, processing, completed, failed, of_bob] = &ids[..] else { panic!() };
    let lease = gateway.report(processing, "processing", "").await.unwrap().lease_token;
    gateway.report(completed, "processing", "").await.unwrap();
    gateway.report(completed, "completed", "").await.unwrap();
    gateway.fail(failed, "error", "it broke").await;

    let filter = json!({"customer": "ann"});
    let looked = gateway.command("/orders/cancel", json!({"filter": filter, "dryRun": true})).await;
    let expected = json!({"count": 2, "dryRun": true, "orderIds": [processing, pending], "next": null});
    assert_eq!(looked, expected);
    assert_eq!(gateway.last_event(pending).await.status, Status::Pending, "a dry run changes nothing");
    let waiting = json!({"filter": {"customer": "ann", "status": ["pending"]}, "dryRun": true});
    assert_eq!(gateway.command("/orders/cancel", waiting).await["orderIds"], json!([pending]));

    let who = json!({"filter": filter, "limit": 1, "requestedBy": "ann", "reason": "ordered twice"});
    let first = gateway.command("/orders/cancel", who.clone()).await;
    assert_eq!((&first["orderIds"], &first["next"]), (&json!([processing]), &json!(processing)));
    let refused = gateway.report(processing, "completed", &lease).await.unwrap_err();
    assert!(refused.message().contains("cancelled"), "{}", refused.message());
    let mut rest = who.clone();
    rest["after"] = first["next"].clone();
    let second = gateway.command("/orders/cancel", rest).await;
    assert_eq!((&second["orderIds"], &second["next"]), (&json!([pending]), &json!(null)));
    for id in [pending, processing] {
        let event = gateway.last_event(id).await;
        assert_eq!(event.status, Status::Cancelled);
        assert_eq!(event.reason.as_deref(), Some("cancelled by ann: ordered twice"));
    }
    assert_eq!(gateway.command("/orders/cancel", who).await["count"], 0, "the others are final");

    let mutation = "mutation($input: CancelOrdersInput!) { cancelOrders(input: $input) {
        count orderIds next userErrors { code field } } }";
    let cancel = async |input: Value| {
        let (_, json) = gateway.graphql(mutation, json!({"input": input})).await;
        json["data"]["cancelOrders"].clone()
    };
    let refused = cancel(json!({"filter": {"customer": ""}, "limit": 0, "after": "1"})).await;
    let fields: Vec<&Value> =
        refused["userErrors"].as_array().unwrap().iter().map(|error| &error["field"]).collect();
    assert_eq!(
        json!(fields),
        json!([["input", "limit"], ["input", "after"], ["input", "filter", "customer"]])
    );
    let none = cancel(json!({"filter": {"statuses": ["FAILED"]}})).await;
    assert_eq!(none, json!({"count": 0, "orderIds": [], "next": null, "userErrors": []}));
    let all = cancel(json!({"filter": {}, "dryRun": true})).await;
    assert_eq!(all["orderIds"], json!([of_bob]));
    assert_eq!(cancel(json!({"filter": {}})).await["orderIds"], json!([of_bob]));
    assert_eq!(gateway.last_event(of_bob).await.reason.as_deref(), Some("cancelled over GraphQL"));

    // Each cancelled order has one entry in the audit log.
    let entries = backend.store.audit_log(None, None, 100).await.unwrap();
    let mut targets: Vec<&str> = entries.iter().map(|entry| &*entry.target).collect();
    targets.sort_unstable();
    assert!(entries.iter().all(|entry| entry.action == "order.cancel"), "{entries:?}");
    assert_eq!(targets, [pending, processing, of_bob]);
    check_invariants(&backend.store).await;
    gateway.stop().await;
});

on_both!(more_orders_than_one_request_takes_are_cancelled_in_pages, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let order = json!({"item": "Tea", "quantity": 1, "price": 1});
    for _ in 0..3 {
        let orders = vec![order.clone(); 500];
        gateway.command("/orders/bulk", json!(orders)).await;
    }
    let first = gateway.command("/orders/cancel", json!({"filter": {}})).await;
    assert_eq!(first["count"], 1_000);
    let rest = gateway.command("/orders/cancel", json!({"filter": {}, "after": first["next"]})).await;
    assert_eq!((&rest["count"], &rest["next"]), (&json!(500), &json!(null)));
    assert_eq!(gateway.ask("/orders?status=pending").await, json!([]));
    gateway.stop().await;
});
