//! The event log over GraphQL: the pages and bytes of REST, filters, errors, and the subscription.

use std::time::Duration;

use domain::{Limits, Scopes};
use gateway::Config;
use gateway::store::{Options, Store};
use serde_json::{Value, json};

use super::{MODERN, Socket, config};
use crate::access::{key, with_keys};
use crate::harness::{Backend, Gateway, eventually};
use crate::on_both;
use crate::quotas::tenant;

const PAGE: &str = "query($after: String, $first: Int, $types: [String!], $customer: String, $currency: String) { \
    events(after: $after, first: $first, types: $types, customer: $customer, currency: $currency) { \
    nodes { id type timestamp cursor orderId json order { id customer } } next } }";

/// Reads a page and returns its nodes and its cursor.
async fn page(gateway: &Gateway<'_>, arguments: Value) -> (Vec<Value>, String) {
    let (status, json) = gateway.graphql(PAGE, arguments).await;
    assert_eq!((status.as_u16(), &json["errors"]), (200, &Value::Null), "{json}");
    let page = &json["data"]["events"];
    (page["nodes"].as_array().unwrap().clone(), page["next"].as_str().unwrap().to_owned())
}

/// Waits until the log has numbered this number of events.
async fn numbered(gateway: &Gateway<'_>, count: usize) -> (Vec<Value>, String) {
    eventually("numbered events", async || {
        let (nodes, next) = page(gateway, json!({"first": 100})).await;
        (nodes.len() == count).then_some((nodes, next))
    })
    .await
}

fn strings<'v>(nodes: &'v [Value], field: &str) -> Vec<&'v str> {
    nodes.iter().map(|node| node[field].as_str().unwrap()).collect()
}

async fn create(gateway: &Gateway<'_>, customer: &str, currency: &str) -> String {
    let order = json!({"item": "Say \"Tea\" \\ é", "quantity": 1, "price": 1, "customer": customer,
        "currency": currency});
    gateway.create(order).await
}

on_both!(events_have_the_ids_and_bytes_of_rest, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let id = create(&gateway, "ann", "USD").await;
    gateway.complete(&id).await;
    let (nodes, next) = numbered(&gateway, 3).await;
    let response = gateway.client.get(gateway.url("/events")).send().await.unwrap().text().await.unwrap();
    let expected = format!(r#"{{"events":[{}],"next":"{next}"}}"#, strings(&nodes, "json").join(","));
    assert_eq!(response, expected);
    for node in &nodes {
        let event: Value = serde_json::from_str(node["json"].as_str().unwrap()).unwrap();
        for field in ["id", "type", "timestamp"] {
            assert_eq!(node[field], event[field], "{node}");
        }
        assert_eq!((&node["orderId"], &node["order"]["id"]), (&json!(id), &json!(id)), "{node}");
    }
    // Pages continue after `next` and after the cursor of an event.
    let (first, after) = page(&gateway, json!({"first": 2})).await;
    assert_eq!((first.as_slice(), json!(after)), (&nodes[..2], nodes[1]["cursor"].clone()));
    assert_eq!(page(&gateway, json!({"after": after})).await, (nodes[2..].to_vec(), next.clone()));
    assert_eq!(page(&gateway, json!({"after": next})).await, (Vec::new(), next));
    gateway.stop().await;
});

on_both!(events_are_filtered, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    for (customer, currency) in [("ann", "USD"), ("bob", "EUR"), ("ann", "EUR")] {
        let id = create(&gateway, customer, currency).await;
        gateway.client.post(gateway.url(&format!("/orders/{id}/cancel"))).send().await.unwrap();
    }
    let (every, end) = numbered(&gateway, 6).await;
    for (filter, positions) in [
        (json!({"types": ["order.*"]}), &[0, 1, 2, 3, 4, 5][..]),
        (json!({"types": "order.created"}), &[0, 2, 4]),
        (json!({"types": ["order.cancelled", "order.failed"]}), &[1, 3, 5]),
        (json!({"customer": "ann", "currency": "EUR"}), &[4, 5]),
        (json!({"customer": "eve"}), &[]),
    ] {
        let expected: Vec<Value> = positions.iter().map(|n| every[*n].clone()).collect();
        assert_eq!(page(&gateway, filter.clone()).await, (expected, end.clone()), "{filter}");
    }
    gateway.stop().await;
});

on_both!(errors_of_the_event_log_have_the_codes_of_rest, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    create(&gateway, "ann", "USD").await;
    let (_, next) = numbered(&gateway, 1).await;
    for (arguments, name) in [
        (json!({"after": "7"}), "after"),
        (json!({"first": 0}), "first"),
        (json!({"first": 101}), "first"),
        (json!({"types": ["order.paid"]}), "types"),
        (json!({"types": []}), "types"),
        (json!({"currency": "dollars"}), "currency"),
    ] {
        let (_, json) = gateway.graphql(PAGE, arguments.clone()).await;
        let error = &json["errors"][0];
        assert_eq!(error["extensions"]["code"], "invalid_input", "{arguments}: {json}");
        assert!(error["message"].as_str().unwrap().starts_with(name), "{json}");
        assert_eq!(json["data"], json!({"events": null}));
    }
    // A cursor of another database; `oldest` is one of this database.
    let other = Backend::new(on).await;
    let elsewhere = other.gateway(config()).await;
    let (_, json) = elsewhere.graphql(PAGE, json!({"after": next})).await;
    let extensions = &json["errors"][0]["extensions"];
    assert_eq!(extensions["code"], "cursor_expired", "{json}");
    let oldest = extensions["oldest"].clone();
    assert_eq!(
        page(&elsewhere, json!({"after": oldest})).await,
        (Vec::new(), oldest.as_str().unwrap().into())
    );
    // The subscription fails in the same way, before its first result.
    let mut socket = Socket::ready(&elsewhere, MODERN).await;
    socket.subscribe("1", &format!("subscription {{ eventLog(after: \"{next}\") {{ next }} }}")).await;
    let error = socket.hear().await;
    assert_eq!(
        (&error["type"], &error["payload"][0]["extensions"]),
        (&json!("error"), extensions),
        "{error}"
    );
    elsewhere.stop().await;
    // A gateway without the log.
    let (url, _folder) = Backend::empty_database(on).await;
    let store = Store::connect(&url, &Options { event_log: false, ..Options::default() }).await.unwrap();
    store.migrate().await.unwrap();
    let without = other.gateway_with(store, config()).await;
    let (_, json) = without.graphql(PAGE, json!({})).await;
    assert_eq!(json["errors"][0]["extensions"]["code"], "event_log_disabled", "{json}");
    without.stop().await;
    gateway.stop().await;
});

on_both!(the_subscription_continues_after_a_cursor, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(config()).await;
    let other = backend.gateway(config()).await;
    create(&gateway, "ann", "USD").await;
    create(&gateway, "bob", "USD").await;
    let (stored, next) = numbered(&gateway, 2).await;
    let fields = "{ nodes { id type timestamp cursor orderId json order { id customer } } next }";
    let mut socket = Socket::ready(&gateway, MODERN).await;
    let result = async |socket: &mut Socket| {
        let message = socket.hear().await;
        assert_eq!(
            (&message["type"], &message["payload"]["errors"]),
            (&json!("next"), &Value::Null),
            "{message}"
        );
        message["payload"]["data"]["eventLog"].clone()
    };
    // Without a cursor it begins with the oldest event; `first` limits each page.
    socket.subscribe("1", &format!("subscription {{ eventLog(first: 1) {fields} }}")).await;
    assert_eq!(result(&mut socket).await, json!({"nodes": stored[..1], "next": stored[0]["cursor"]}));
    assert_eq!(result(&mut socket).await, json!({"nodes": stored[1..], "next": next}));
    socket.say(json!({"type": "complete", "id": "1"})).await;
    // At the end of the log, the first page is empty and has the cursor. The events of every gateway follow.
    let arguments = format!("after: \"{next}\", types: [\"order.created\"], customer: \"ann\"");
    socket.subscribe("2", &format!("subscription {{ eventLog({arguments}) {fields} }}")).await;
    assert_eq!(result(&mut socket).await, json!({"nodes": [], "next": next}));
    for creating in [&gateway, &other] {
        create(creating, "bob", "USD").await;
        let id = create(creating, "ann", "USD").await;
        let page = result(&mut socket).await;
        assert_eq!(strings(page["nodes"].as_array().unwrap(), "orderId"), [id]);
    }
    other.stop().await;
    gateway.stop().await;
});

on_both!(a_reader_over_graphql_sees_the_events_of_its_tenant, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let [shop, _] = tenant(&backend, "shop", Limits::default()).await;
    let [cafe, _] = tenant(&backend, "cafe", Limits::default()).await;
    for (key, count) in [(&shop, 3), (&cafe, 2)] {
        for _ in 0..count {
            let order = json!({"item": "Tea", "quantity": 1, "price": 1});
            let create = gateway.client.post(gateway.url("/orders")).bearer_auth(key).json(&order);
            assert_eq!(create.send().await.unwrap().status(), 201);
        }
    }
    let operator = key(&backend, Scopes::ALL, Duration::from_secs(60)).await;
    for (key, count) in [(&shop, 3), (&cafe, 2), (&operator.key.expose().to_owned(), 5)] {
        eventually("the events of a tenant", async || {
            let query = json!({"query": "{ events { nodes { id } } }"});
            let request = gateway.client.post(gateway.url("/graphql")).bearer_auth(key).json(&query);
            let json: Value = request.send().await.unwrap().json().await.unwrap();
            let found = json["data"]["events"]["nodes"].as_array().unwrap().len();
            assert!(found <= count, "{json}");
            (found == count).then_some(())
        })
        .await;
    }
    gateway.stop().await;
});
