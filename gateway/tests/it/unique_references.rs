//! External references that are unique for a tenant, on both databases.

use domain::{OrderId, Status, TenantId};
use gateway::Config;
use gateway::store::{KeyActor, ReferenceSwitch, Retention};
use serde_json::{Value, json};

use crate::harness::{Backend, Gateway, check_invariants, eventually, requester};
use crate::on_both;

fn actor() -> KeyActor {
    KeyActor { name: "test".to_owned(), tenant: None, request_id: None }
}

async fn switch(backend: &Backend, unique: bool) -> ReferenceSwitch {
    backend.store.set_unique_references(&TenantId::default(), unique, &actor()).await.unwrap()
}

fn order(reference: &str) -> Value {
    json!({"item": "Tea", "quantity": 1, "price": 1, "externalReference": reference, "customer": "Ann"})
}

async fn post(gateway: &Gateway<'_>, path: &str, key: Option<&str>, body: &Value) -> (u16, Value) {
    let mut request = gateway.client.post(gateway.url(path)).json(body);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn create(gateway: &Gateway<'_>, reference: &str) -> (u16, Value) {
    post(gateway, "/orders", None, &order(reference)).await
}

on_both!(a_second_order_with_a_reference_is_refused, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let first = gateway.create(order("A-1")).await;
    assert_eq!(switch(&backend, true).await, ReferenceSwitch::Done(1));

    let (status, refused) = create(&gateway, "A-1").await;
    assert_eq!((status, &refused["code"]), (409, &json!("reference_taken")), "{refused}");
    assert_eq!(refused["orderId"], json!(first));
    assert!(refused["detail"].as_str().unwrap().contains(&first), "{refused}");
    // References are compared byte by byte.
    for other in ["a-1", "A-1.", "A-2"] {
        assert_eq!(create(&gateway, other).await.0, 201, "{other}");
    }
    let (status, created) = post(&gateway, "/orders", Some("k"), &order("B-1")).await;
    assert_eq!(status, 201);
    let (status, again) = post(&gateway, "/orders", Some("k"), &order("B-1")).await;
    assert_eq!((status, &again["id"]), (201, &created["id"]), "a repetition is no second order");
    let (status, refused) = post(&gateway, "/orders", Some("k2"), &order("B-1")).await;
    assert_eq!((status, &refused["orderId"]), (409, &created["id"]));

    let query = json!({"query": "mutation($r: String!) { createOrder(input: {item: \"Tea\", quantity: 1, price: 1, \
        externalReference: $r}) { order { id } userErrors { code field message } } }", "variables": {"r": "B-1"}});
    let (_, answer) = post(&gateway, "/graphql", None, &query).await;
    let error = &answer["data"]["createOrder"]["userErrors"][0];
    assert_eq!(
        (&error["code"], &error["field"]),
        (&json!("reference_taken"), &json!(["input", "externalReference"]))
    );

    let path = gateway.url("/orders/by-reference/B-1");
    let found: Value = gateway.client.get(path).send().await.unwrap().json().await.unwrap();
    assert_eq!(found["id"], created["id"]);

    switch(&backend, false).await;
    eventually("references may repeat", async || (create(&gateway, "A-1").await.0 == 201).then_some(()))
        .await;
    check_invariants(&backend.store).await;
    gateway.stop().await;
});

on_both!(a_bulk_create_refuses_single_rows, |on| async move {
    let backend = Backend::new(on).await;
    switch(&backend, true).await;
    let gateway = backend.gateway(Config::default()).await;
    let taken = gateway.create(order("A-1")).await;
    let rows = json!([order("A-1"), order("B-1"), {"item": "Tea", "quantity": 1, "price": 1}, order("B-1"), order("C-1")]);

    let (status, refused) = post(&gateway, "/orders/bulk", Some("all"), &rows).await;
    assert_eq!((status, &refused["code"]), (409, &json!("reference_taken")), "{refused}");
    let statuses = |answer: &Value| -> Vec<String> {
        let rows = answer["results"].as_array().unwrap().iter();
        rows.map(|row| row["status"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(
        statuses(&refused),
        ["reference_taken", "not_created", "not_created", "reference_taken", "not_created"]
    );
    assert_eq!(refused["results"][0]["orderId"], json!(taken));
    let path = "/orders/bulk?errorPolicy=REJECT_FAILED_ROWS";
    let (status, created) = post(&gateway, path, Some("valid"), &rows).await;
    assert_eq!((status, &created["created"]), (207, &json!(3)), "{created}");
    let expected = ["reference_taken", "created", "created", "reference_taken", "created"];
    assert_eq!(statuses(&created), expected);
    let (status, again) = post(&gateway, path, Some("valid"), &rows).await;
    assert_eq!((status, statuses(&again)), (207, expected.map(str::to_owned).to_vec()));
    for row in [1, 2, 4] {
        assert_eq!(again["results"][row]["orderId"], created["results"][row]["orderId"]);
    }
    let (status, none) = post(&gateway, path, None, &json!([order("A-1"), order("B-1")])).await;
    assert_eq!((status, statuses(&none)), (409, vec!["reference_taken".to_owned(); 2]));

    let list = gateway.client.get(gateway.url("/orders")).send().await.unwrap();
    assert_eq!(list.json::<Value>().await.unwrap().as_array().unwrap().len(), 4);
    check_invariants(&backend.store).await;
    gateway.stop().await;
});

on_both!(duplicates_refuse_the_switch_and_are_named, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let [first, second] = [gateway.create(order("A-1")).await, gateway.create(order("A-1")).await];
    gateway.create(order("B-1")).await;
    let ReferenceSwitch::Duplicates(named) = switch(&backend, true).await else { panic!("refused") };
    assert_eq!(named.len(), 1);
    let ids = [first, second].map(|id| id.parse::<OrderId>().unwrap());
    assert_eq!((named[0].reference.as_str(), [named[0].order, named[0].other]), ("A-1", ids));
    assert!(!backend.store.tenant(&TenantId::default()).await.unwrap().unwrap().unique_references);
    assert_eq!(create(&gateway, "B-1").await.0, 201);
    let unknown: TenantId = "unknown".parse().unwrap();
    let switched = backend.store.set_unique_references(&unknown, true, &actor()).await.unwrap();
    assert_eq!(switched, ReferenceSwitch::NotFound);
    gateway.stop().await;
});

on_both!(removed_and_erased_orders_leave_their_references, |on| async move {
    let backend = Backend::new(on).await;
    switch(&backend, true).await;
    let gateway = backend.gateway(Config::default()).await;
    for reference in ["erased", "removed"] {
        let id = gateway.create(order(reference)).await;
        assert_eq!(post(&gateway, &format!("/orders/{id}/cancel"), None, &json!({})).await.0, 200);
        // A final order keeps its reference.
        assert_eq!(create(&gateway, reference).await.0, 409);
        if reference == "erased" {
            let erased =
                backend.store.erase_customer(&TenantId::default(), "Ann", &requester()).await.unwrap();
            assert_eq!(erased.orders, 1);
        } else {
            let retention = Retention { finished: Some(std::time::Duration::ZERO), failed: None };
            let pruned = backend.store.prune_orders(Status::Cancelled, retention, None).await.unwrap();
            assert_eq!(pruned.orders, 2);
        }
        assert_eq!(create(&gateway, reference).await.0, 201);
    }
    gateway.stop().await;
});

on_both!(no_order_is_missed_while_the_rule_is_switched_on, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    // The gateway remembers that references may repeat.
    gateway.create(order("A-0")).await;
    let mut count = 1;
    let mut switched = std::pin::pin!(switch(&backend, true));
    loop {
        let reference = format!("A-{count}");
        tokio::select! {
            biased;
            done = &mut switched => {
                assert!(matches!(done, ReferenceSwitch::Done(_)), "{done:?}");
                break;
            }
            created = create(&gateway, &reference) => {
                assert_eq!(created.0, 201);
                count += 1;
            }
        }
    }
    for n in 0..count {
        assert_eq!(create(&gateway, &format!("A-{n}")).await.0, 409, "A-{n} of {count}");
    }
    gateway.stop().await;
});
