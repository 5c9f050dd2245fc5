//! The event log over REST: pages, filters, waits, streams, and the tenants of callers.

use std::time::Duration;

use domain::{Limits, Scopes};
use futures_util::StreamExt;
use gateway::Config;
use gateway::store::LogRetention;
use serde_json::{Value, json};

use crate::access::{key, with_keys};
use crate::harness::{Backend, Gateway, eventually};
use crate::on_both;
use crate::quotas::tenant;

async fn get(gateway: &Gateway<'_>, key: &str, path: &str) -> (u16, Value) {
    let response = gateway.client.get(gateway.url(path)).bearer_auth(key).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn page(gateway: &Gateway<'_>, path: &str) -> (Vec<Value>, String) {
    let (status, body) = get(gateway, "", path).await;
    assert_eq!(status, 200, "{path}: {body}");
    (body["events"].as_array().unwrap().clone(), body["next"].as_str().unwrap().to_owned())
}

/// Reads all events in pages of `limit`, until there are `expected` of them.
async fn all(gateway: &Gateway<'_>, limit: usize, expected: usize) -> Vec<Value> {
    let mut events: Vec<Value> = Vec::new();
    let mut after = String::new();
    while events.len() < expected {
        let (more, next) = page(gateway, &format!("/events?limit={limit}&wait=10&after={after}")).await;
        assert!(!more.is_empty() && more.len() <= limit, "{events:?}");
        events.extend(more);
        after = next;
    }
    assert_eq!(page(gateway, &format!("/events?after={after}")).await, (Vec::new(), after));
    events
}

fn ids(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["id"].as_str().unwrap()).collect()
}

on_both!(events_are_read_in_pages, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let order = json!({"item": "Laptop", "quantity": 2, "price": 1299.99, "customer": "ann@example.com"});
    let id = gateway.create(order).await;
    gateway.report(&id, "processing", "").await.unwrap();
    gateway.report(&id, "completed", "").await.unwrap();
    let events = all(&gateway, 2, 3).await;
    assert_eq!(ids(&events), [1, 2, 3].map(|sequence| format!("{id}-{sequence}")));
    let types: Vec<&Value> = events.iter().map(|event| &event["type"]).collect();
    assert_eq!(types, ["order.created", "order.processing", "order.completed"]);
    // The event is that of the timeline, and has the content of the order.
    let (_, timeline) = get(&gateway, "", &format!("/orders/{id}/events")).await;
    for (event, stored) in events.iter().zip(timeline.as_array().unwrap()) {
        let mut data = event["data"].clone();
        let order = data.as_object_mut().unwrap().remove("order").unwrap();
        assert_eq!((&data, &event["timestamp"]), (stored, &stored["occurredAt"]));
        assert_eq!((&order["customer"], &order["total"]), (&json!("ann@example.com"), &json!(2599.98)));
        assert_eq!(order["lineItems"], json!([{"item": "Laptop", "quantity": 2, "price": 1299.99}]));
    }
    gateway.stop().await;
});

on_both!(a_reader_of_new_events_begins_at_the_end, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let order = json!({"item": "Laptop", "quantity": 2, "price": 1299.99});
    gateway.create(order.clone()).await;
    let (events, end) = page(&gateway, "/events?from=end").await;
    assert_eq!(events, Vec::<Value>::new());
    let id = gateway.create(order).await;
    let (events, _) = page(&gateway, &format!("/events?from=end&wait=10&after={end}")).await;
    assert_eq!(ids(&events), [format!("{id}-1")], "a cursor precedes");
    assert_eq!(page(&gateway, "/events?from=oldest").await.0.len(), 2);
    let (status, problem) = get(&gateway, "", "/events?from=now").await;
    assert_eq!((status, &problem["errors"][0]["detail"]), (400, &json!("must be oldest or end")));
    gateway.stop().await;
});

on_both!(events_are_filtered, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    for (customer, currency) in [("ann", "USD"), ("bob", "EUR"), ("ann", "EUR")] {
        let order =
            json!({"item": "Tea", "quantity": 1, "price": 1, "customer": customer, "currency": currency});
        let id = gateway.create(order).await;
        gateway.client.post(gateway.url(&format!("/orders/{id}/cancel"))).send().await.unwrap();
    }
    let every = all(&gateway, 100, 6).await;
    for (filter, positions) in [
        ("types=order.*", &[0, 1, 2, 3, 4, 5][..]),
        ("types=order.created", &[0, 2, 4]),
        ("types=order.cancelled,order.failed", &[1, 3, 5]),
        ("customer=ann", &[0, 1, 4, 5]),
        ("currency=EUR", &[2, 3, 4, 5]),
        ("customer=ann&currency=EUR&types=order.cancelled", &[5]),
        ("customer=eve", &[]),
        ("types=order.redriven", &[]),
    ] {
        let expected: Vec<Value> = positions.iter().map(|n| every[*n].clone()).collect();
        let (events, next) = page(&gateway, &format!("/events?{filter}")).await;
        assert_eq!(events, expected, "{filter}");
        // The position also passes what the filter removed.
        assert_eq!(page(&gateway, &format!("/events?after={next}")).await.0.len(), 0, "{filter}");
    }
    gateway.stop().await;
});

on_both!(invalid_parameters_and_cursors_are_refused, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    gateway.create(json!({"item": "Tea", "quantity": 1, "price": 1})).await;
    let (_, next) = page(&gateway, "/events?wait=10").await;
    for (query, name) in [
        ("after=7", "after"),
        (&format!("after={}", &next[1..]), "after"),
        ("types=order.paid", "types"),
        ("types=", "types"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("wait=61", "wait"),
        ("currency=dollars", "currency"),
        ("lastEventId=x", "lastEventId"),
        ("customer=%20", "customer"),
        ("kind=x", "kind"),
    ] {
        let (status, body) = get(&gateway, "", &format!("/events?{query}")).await;
        assert_eq!((status, &body["code"]), (400, &json!("invalid_input")), "{query}: {body}");
        assert_eq!(body["errors"][0]["parameter"], name, "{query}: {body}");
    }
    // A cursor of another database, and one that is older than the log.
    let other = Backend::new(on).await;
    let elsewhere = other.gateway(Config::default()).await;
    let (status, body) = get(&elsewhere, "", &format!("/events?after={next}")).await;
    assert_eq!((status, &body["code"]), (410, &json!("cursor_expired")), "{body}");
    elsewhere.stop().await;
    let begin = page(&gateway, "/events?types=order.redriven").await.1;
    assert_eq!(begin, next);
    for _ in 0..3 {
        gateway.create(json!({"item": "Tea", "quantity": 1, "price": 1})).await;
    }
    all(&gateway, 100, 4).await;
    let all_but_some = LogRetention { age: None, bytes: Some(100) };
    backend.store.trim_event_log(all_but_some).await.unwrap();
    let (status, body) = get(&gateway, "", &format!("/events?after={next}")).await;
    assert_eq!((status, &body["code"]), (410, &json!("cursor_expired")), "{body}");
    let oldest = body["oldest"].as_str().unwrap();
    assert_eq!(page(&gateway, &format!("/events?after={oldest}")).await, page(&gateway, "/events").await);
    gateway.stop().await;
});

on_both!(a_reader_waits_for_events_of_every_gateway, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let other = backend.gateway(Config::default()).await;
    let (_, start) = page(&gateway, "/events").await;
    for creating in [&gateway, &other] {
        let (_, after) = page(&gateway, "/events?types=order.redriven").await;
        let path = format!("/events?wait=30&after={after}");
        let wait = page(&gateway, &path);
        let create = creating.create(json!({"item": "Tea", "quantity": 1, "price": 1}));
        let ((events, _), id) = tokio::join!(wait, create);
        assert_eq!(ids(&events), [format!("{id}-1")]);
    }
    // Without events the wait ends with an empty page.
    let (events, _) = page(&gateway, "/events?types=order.redriven&wait=1").await;
    assert_eq!(events.len(), 0);
    assert_eq!(page(&gateway, &format!("/events?after={start}")).await.0.len(), 2);
    other.stop().await;
    gateway.stop().await;
});

/// Reads a stream until it has this number of events, and returns their ids and documents.
async fn stream(
    gateway: &Gateway<'_>,
    path: &str,
    header: Option<&str>,
    count: usize,
) -> Vec<(String, Value)> {
    let request = gateway.client.get(gateway.url(path)).header("accept", "text/event-stream");
    let request = match header {
        Some(id) => request.header("last-event-id", id),
        None => request,
    };
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    let mut body = response.bytes_stream();
    let mut text = String::new();
    loop {
        let blocks: Vec<&str> = text.split("\n\n").filter(|block| block.contains("\ndata: ")).collect();
        if text.ends_with("\n\n") && blocks.len() >= count {
            let event = |block: &&str| {
                let (id, data) = block.strip_prefix("id: ").unwrap().split_once("\ndata: ").unwrap();
                (id.to_owned(), serde_json::from_str(data).unwrap())
            };
            return blocks.iter().map(event).collect();
        }
        text.push_str(std::str::from_utf8(&body.next().await.unwrap().unwrap()).unwrap());
    }
}

on_both!(events_are_streamed, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    for _ in 0..2 {
        gateway.create(json!({"item": "Tea", "quantity": 1, "price": 1})).await;
    }
    let listed = all(&gateway, 100, 2).await;
    let both = stream(&gateway, "/events", None, 2).await;
    assert_eq!(both.iter().map(|(_, event)| event.clone()).collect::<Vec<_>>(), listed);
    // The id is a cursor for the stream and for pages, and the header has precedence.
    let (first, _) = &both[0];
    let after_first = page(&gateway, &format!("/events?after={first}")).await.0;
    assert_eq!(after_first, listed[1..]);
    for (path, header) in [
        (format!("/events?lastEventId={first}"), None),
        (format!("/events?after={}", both[1].0), Some(first.as_str())),
    ] {
        assert_eq!(stream(&gateway, &path, header, 1).await, both[1..], "{path}");
    }
    let path = format!("/events?after={}", both[1].0);
    let (stream, id) = tokio::join!(
        stream(&gateway, &path, None, 1),
        gateway.create(json!({"item": "Tea", "quantity": 1, "price": 1})),
    );
    assert_eq!(stream[0].1["id"], format!("{id}-1"));
    gateway.stop().await;
});

on_both!(a_reader_sees_the_events_of_its_tenant, |on| async move {
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
        eventually("the events of a tenant", || async {
            let (status, body) = get(&gateway, key, "/events").await;
            assert_eq!(status, 200, "{body}");
            let found = body["events"].as_array().unwrap().len();
            assert!(found <= count, "{body}");
            (found == count).then_some(())
        })
        .await;
    }
    gateway.stop().await;
});
