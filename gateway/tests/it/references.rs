//! Lookups by the external reference of an order, on both databases.

use gateway::Config;
use serde_json::{Value, json};

use crate::harness::{Backend, Gateway};
use crate::on_both;

async fn get(gateway: &Gateway<'_>, reference: &str) -> (u16, Value) {
    let path = format!("/orders/by-reference/{reference}");
    let response = gateway.client.get(gateway.url(&path)).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn graphql(gateway: &Gateway<'_>, reference: &str) -> Value {
    let query = "query($r: String!) { orderByReference(reference: $r) { id } }";
    let body = json!({"query": query, "variables": {"r": reference}});
    let response = gateway.client.post(gateway.url("/graphql")).json(&body).send().await.unwrap();
    response.json::<Value>().await.unwrap()["data"]["orderByReference"].clone()
}

on_both!(the_newest_order_with_a_reference_is_found, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let create = async |reference: &str| {
        gateway
            .create(json!({"item": "Tea", "quantity": 1, "price": 1, "externalReference": reference}))
            .await
    };
    create("WEB-1").await;
    let newest = create("WEB-1").await;
    let slash = create("a/ä b").await;
    let events = create("events").await;
    for (path, reference, id) in
        [("WEB-1", "WEB-1", &newest), ("a%2F%C3%A4%20b", "a/ä b", &slash), ("events", "events", &events)]
    {
        let (status, order) = get(&gateway, path).await;
        assert_eq!((status, order["id"].as_str()), (200, Some(id.as_str())), "{order}");
        assert_eq!(graphql(&gateway, reference).await["id"], id.as_str());
    }
    for unknown in ["web-1", "WEB-1%20", "WEB", "%ff"] {
        let (status, refused) = get(&gateway, unknown).await;
        assert_eq!((status, &refused["code"]), (404, &json!("order_not_found")), "{unknown}");
    }
    assert_eq!(graphql(&gateway, "web-1").await, Value::Null);
    gateway.stop().await;
});
