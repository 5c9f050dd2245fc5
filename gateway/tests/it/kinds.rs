//! Kinds route orders to the workers that process them, on both back ends.

use std::time::Duration;

use domain::{Currency, Draft, OrderId, Status, TenantId};
use gateway::Config;
use gateway::store::NewOrder;
use serde_json::{Value, json};

use crate::claims::{Claimer, id, nothing_waits};
use crate::harness::{Backend, Gateway, eventually};
use crate::on_both;

async fn create(gateway: &Gateway<'_>, kind: &str) -> String {
    gateway.create(json!({"item": "Tea", "quantity": 1, "price": 1, "kind": kind})).await
}

async fn list(gateway: &Gateway<'_>, query: &str) -> Vec<String> {
    let orders = gateway.client.get(gateway.url(&format!("/orders{query}"))).send().await.unwrap();
    let orders: Value = orders.json().await.unwrap();
    let orders = orders["orders"].as_array().or(orders.as_array()).unwrap_or_else(|| panic!("{orders}"));
    orders.iter().map(|order| order["id"].as_str().unwrap().to_owned()).collect()
}

on_both!(an_order_has_a_kind_on_every_interface, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let (refund, plain) = (create(&gateway, "refund").await, gateway.create_order().await);
    for (order, kind) in [(&refund, "refund"), (&plain, "default")] {
        assert_eq!(gateway.order(order).await.kind, kind);
        let shown = gateway.client.get(gateway.url(&format!("/orders/{order}"))).send().await.unwrap();
        assert_eq!(shown.json::<Value>().await.unwrap()["kind"], kind);
        assert_eq!(list(&gateway, &format!("?kind={kind}")).await, [order.as_str()]);
    }
    assert_eq!(list(&gateway, "?kind=other").await, [""; 0]);
    let query = "mutation { createOrder(input: {item: \"Tea\", quantity: 1, price: 1, kind: \"gift\"}) { order { id kind } } \
                 orders: cancelOrder(input: {orderId: \"x\"}) { userErrors { code } } }";
    let body = json!({ "query": query });
    let response = gateway.client.post(gateway.url("/graphql")).json(&body).send().await.unwrap();
    let response: Value = response.json().await.unwrap();
    let gift =
        response["data"]["createOrder"]["order"]["id"].as_str().unwrap_or_else(|| panic!("{response}"));
    let query = r#"{ orders(filter: {kind: "gift"}) { nodes { id kind } } }"#;
    let body = json!({ "query": query });
    let response = gateway.client.post(gateway.url("/graphql")).json(&body).send().await.unwrap();
    let response: Value = response.json().await.unwrap();
    assert_eq!(response["data"]["orders"]["nodes"], json!([{"id": gift, "kind": "gift"}]), "{response}");
    for kind in ["Refund", "", "a b", &"x".repeat(33)] {
        let body = json!({"item": "Tea", "quantity": 1, "price": 1, "kind": kind});
        let response = gateway.client.post(gateway.url("/orders")).json(&body).send().await.unwrap();
        assert_eq!(response.status(), 422, "{kind}");
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["errors"][0]["pointer"], "/kind", "{problem}");
    }
    gateway.stop().await;
});

on_both!(workers_get_only_their_kinds, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    // These wait in the queues of their kinds.
    let (first, plain) = (create(&gateway, "refund").await, gateway.create_order().await);
    let mut tagged = Claimer::connect_for(&gateway, 2, &["refund", "unused"]).await;
    let job = tagged.job().await;
    assert_eq!((id(&job), job.order.as_ref().unwrap().kind.as_str()), (first.as_str(), "refund"));
    assert_eq!(tagged.complete(&job).await, []);
    assert_eq!(gateway.order(&plain).await.status, "pending", "a worker with kinds gets no other orders");
    let mut untagged = Claimer::connect(&gateway, 1).await;
    let job = untagged.job().await;
    assert_eq!(id(&job), plain);
    assert_eq!(untagged.complete(&job).await, []);
    drop(untagged);
    // New orders are started with their creation.
    nothing_waits(&gateway).await;
    let second = create(&gateway, "refund").await;
    let job = tagged.job().await;
    assert_eq!(id(&job), second);
    assert_eq!(tagged.complete(&job).await, []);
    drop(tagged);
    let (gift, refund) = (create(&gateway, "gift").await, create(&gateway, "refund").await);
    let mut any = Claimer::connect_for(&gateway, 5, &["*"]).await;
    let mut jobs = any.jobs().await;
    while jobs.len() < 2 {
        jobs.extend(any.jobs().await);
    }
    let mut got = Vec::new();
    for job in &jobs {
        got.push(id(job).to_owned());
        assert_eq!(any.complete(job).await, []);
    }
    got.sort_unstable();
    let mut expected = vec![gift, refund];
    expected.sort_unstable();
    assert_eq!(got, expected);
    let timeline = gateway.timeline(&second).await;
    assert_eq!(timeline, [Status::Pending, Status::Processing, Status::Completed]);
    drop(any);
    gateway.stop().await;
});

on_both!(orders_without_a_worker_delay_no_others, |on| async move {
    let backend = Backend::new(on).await;
    let mut config = Config::default();
    config.service.max_queue_depth = 3;
    let gateway = backend.gateway(config).await;
    for _ in 0..10 {
        create(&gateway, "unserved").await;
    }
    eventually("the queue of the kind is full", || async {
        let lane = backend.queue.of_kind(&"unserved".parse().unwrap());
        (lane.len().await.unwrap() == 3).then_some(())
    })
    .await;
    let mut worker = Claimer::connect(&gateway, 1).await;
    for _ in 0..5 {
        let order = gateway.create_order().await;
        let job = worker.job().await;
        assert_eq!(id(&job), order);
        assert_eq!(worker.complete(&job).await, []);
        worker.grant(1).await;
    }
    drop(worker);
    gateway.stop().await;
});

on_both!(the_list_of_workers_has_their_kinds, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let kinds = async |gateway: &Gateway<'_>| {
        let workers = gateway.client.get(gateway.url("/workers")).send().await.unwrap();
        workers.json::<Value>().await.unwrap()["workers"][0]["kinds"].clone()
    };
    for (named, shown) in [
        (&[][..], json!(["default"])),
        (&["*"], json!(["*"])),
        (&["refund", "exchange"], json!(["exchange", "refund"])),
    ] {
        let worker = Claimer::connect_for(&gateway, 1, named).await;
        assert_eq!(kinds(&gateway).await, shown);
        drop(worker);
    }
    // Another gateway reads the row that this one writes at its end.
    gateway.stop().await;
    let other = backend.gateway(Config::default()).await;
    assert_eq!(kinds(&other).await, json!(["exchange", "refund"]));
    let query = json!({"query": "{ workers { name kinds } }"});
    let response = other.client.post(other.url("/graphql")).json(&query).send().await.unwrap();
    let response: Value = response.json().await.unwrap();
    assert_eq!(response["data"]["workers"], json!([{"name": "test", "kinds": ["exchange", "refund"]}]));
    other.stop().await;
});

on_both!(invalid_kinds_of_a_worker_end_its_stream, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let error = Claimer::refused_for(&gateway, &["Refund"]).await;
    assert_eq!(error.code(), tonic::Code::InvalidArgument);
    assert!(error.message().contains("ClaimHello.kinds: must be 1 to 32 characters"), "{error}");
    gateway.stop().await;
});

on_both!(a_kind_without_a_worker_is_visible_in_the_health, |on| async move {
    let backend = Backend::new(on).await;
    let draft = Draft {
        item: Some("Tea".into()),
        quantity: Some(1),
        price: Some("1".into()),
        kind: Some("forgotten".into()),
        ..Draft::default()
    };
    let content = draft.check(Currency::USD).unwrap();
    let now = backend.store.now();
    let old = NewOrder::new(OrderId::new(now), TenantId::default(), content, now - Duration::from_secs(90));
    backend.store.insert([old.into()].into()).await.unwrap();
    let gateway = backend.gateway(Config::default()).await;
    let mut worker = Claimer::connect(&gateway, 1).await;
    let check = async || {
        let ready = gateway.client.get(gateway.url("/readyz?verbose")).send().await.ok()?;
        let ready: Value = ready.json().await.ok()?;
        let checks = ready["checks"].as_array()?.clone();
        checks.into_iter().find(|check| check["name"] == "kinds")
    };
    eventually("the kind is reported", async || {
        let kinds = check().await?;
        (kinds["status"] == "degraded")
            .then(|| assert!(kinds["detail"].as_str().unwrap().contains("forgotten")))
    })
    .await;
    let health: Value =
        gateway.client.get(gateway.url("/health")).send().await.unwrap().json().await.unwrap();
    let codes: Vec<_> = health["reasons"].as_array().unwrap().iter().map(|reason| &reason["code"]).collect();
    assert!(codes.contains(&&json!("unserved_kind")), "{health}");
    let mut tagged = Claimer::connect_for(&gateway, 1, &["forgotten"]).await;
    let job = tagged.job().await;
    eventually("its order is processed", async || (check().await?["status"] == "ok").then_some(())).await;
    assert_eq!(tagged.complete(&job).await, []);
    worker.grant(0).await;
    drop((worker, tagged));
    gateway.stop().await;
});

on_both!(number_of_kinds_is_limited, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let rows: Vec<Value> = (0..110)
        .map(|n| json!({"item": "Tea", "quantity": 1, "price": 1, "kind": format!("kind-{n:03}")}))
        .collect();
    let url = gateway.url("/orders/bulk?errorPolicy=REJECT_FAILED_ROWS");
    let response = gateway.client.post(url).json(&rows).send().await.unwrap();
    let response: Value = response.json().await.unwrap();
    let results = response["results"].as_array().unwrap_or_else(|| panic!("{response}"));
    let created = results.iter().filter(|row| row["status"] == "created").count();
    assert_eq!(created, 99, "and the default one: {response}");
    let refused = results.iter().find(|row| row["status"] == "invalid").unwrap();
    assert_eq!(refused["errors"][0]["pointer"], "/kind", "{refused}");
    gateway.create_order().await;
    gateway.stop().await;
});
