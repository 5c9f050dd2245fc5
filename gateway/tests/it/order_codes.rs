//! The codes of orders, on both databases.

use std::time::Duration;

use domain::{Content, Currency, LineItem, Money, OrderCode, OrderId, TenantId};
use gateway::Config;
use gateway::store::{CreateRequest, NewOrder};
use serde_json::{Value, json};

use crate::harness::{Backend, Gateway};
use crate::on_both;

async fn get(gateway: &Gateway<'_>, path: &str) -> Value {
    gateway.client.get(gateway.url(path)).send().await.unwrap().json().await.unwrap()
}

async fn found(gateway: &Gateway<'_>, text: &str) -> Vec<String> {
    let page = get(gateway, &format!("/orders?search={text}")).await;
    let orders = page.as_array().unwrap_or_else(|| panic!("{page}")).iter();
    orders.map(|order| order["id"].as_str().unwrap().to_owned()).collect()
}

on_both!(an_order_is_found_by_its_code, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let create = async || gateway.create(json!({"item": "Tea", "quantity": 1, "price": 1})).await;
    let ids = [create().await, create().await, create().await];
    for id in &ids {
        let code = OrderCode::of(id.parse().unwrap()).to_string();
        assert_eq!(get(&gateway, &format!("/orders/{id}")).await["code"], json!(code));
        for text in [code.clone(), code.to_lowercase(), format!("{}-{}", &code[..4], &code[4..])] {
            assert_eq!(found(&gateway, &text).await, std::slice::from_ref(id), "{text}");
        }
        let query = json!({"query": "query($s: String) { orders(filter: {search: $s}) { nodes { id code } } }",
            "variables": {"s": code}});
        let response = gateway.client.post(gateway.url("/graphql")).json(&query).send().await.unwrap();
        let response: Value = response.json().await.unwrap();
        assert_eq!(response["data"]["orders"]["nodes"], json!([{"id": id, "code": code}]));
    }
    let other = OrderCode::of(OrderId::new(backend.store.now())).to_string();
    assert!(found(&gateway, &other).await.is_empty());
    gateway.stop().await;
});

on_both!(an_old_order_is_found_by_its_code_in_its_tenant, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let price = Money::from_minor(100, Currency::USD);
    let content = Content::new(vec![LineItem { item: "Tea".into(), quantity: 1, price }], price);
    let old = backend.store.now() - Duration::from_secs(250 * 24 * 60 * 60);
    let (id, of_other) = (OrderId::new(old), OrderId::new(old));
    let other: TenantId = "other".parse().unwrap();
    let order = |id, tenant| CreateRequest::from(NewOrder::new(id, tenant, content.clone(), old));
    let orders = [order(id, TenantId::default()), order(of_other, other)];
    backend.store.insert(orders.into()).await.unwrap();
    assert_eq!(found(&gateway, &OrderCode::of(id).to_string()).await, [id.to_string()]);
    assert!(found(&gateway, &OrderCode::of(of_other).to_string()).await.is_empty());
    gateway.stop().await;
});
