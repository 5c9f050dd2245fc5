//! Replacing an order that was never started, over REST and GraphQL, on both databases.

use domain::transition::{Command, Rules};
use domain::{LeaseToken, OrderId, TenantId};
use gateway::Config;
use gateway::store::{KeyActor, ReferenceSwitch};
use serde_json::{Value, json};

use crate::harness::{Backend, Gateway, check_invariants};
use crate::on_both;

const LATER: &str = "2099-01-01T00:00:00Z";

fn order(quantity: u32, reference: Option<&str>) -> Value {
    json!({"item": "Tea", "quantity": quantity, "price": 1, "processAfter": LATER, "externalReference": reference})
}

struct Answer(u16, Value);

async fn replace(gateway: &Gateway<'_>, id: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
    let mut request = gateway.client.post(gateway.url(&format!("/orders/{id}/replace"))).json(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.unwrap();
    Answer(response.status().as_u16(), response.json().await.unwrap())
}

async fn refused(gateway: &Gateway<'_>, id: &str, headers: &[(&str, &str)], body: &Value) -> (u16, String) {
    let Answer(status, problem) = replace(gateway, id, headers, body).await;
    (status, problem["code"].as_str().unwrap_or_else(|| panic!("{problem}")).to_owned())
}

async fn get(gateway: &Gateway<'_>, path: &str) -> Value {
    gateway.client.get(gateway.url(path)).send().await.unwrap().json().await.unwrap()
}

on_both!(an_order_is_replaced_in_one_transaction, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let old = gateway.create(order(1, Some("A-1"))).await;
    let refusal = |status: u16, code: &str| (status, code.to_owned());
    let body = order(2, Some("A-1"));
    assert_eq!(refused(&gateway, &old, &[("if-match", "\"2\"")], &body).await, refusal(412, "order_changed"));
    assert_eq!(refused(&gateway, &old, &[("if-match", "\"x\"")], &body).await, refusal(400, "invalid_input"));
    assert_eq!(refused(&gateway, &old, &[], &order(0, None)).await, refusal(422, "invalid_order"));
    let unknown = "01890a5d-ac96-774b-bcce-b302099a8057";
    assert_eq!(refused(&gateway, unknown, &[], &body).await, refusal(404, "order_not_found"));

    let headers = [("if-match", "\"7\", \"1\""), ("idempotency-key", "k")];
    let Answer(status, new) = replace(&gateway, &old, &headers, &body).await;
    assert_eq!((status, &new["quantity"], &new["status"]), (201, &json!(2), &json!("pending")), "{new}");
    assert_eq!((&new["replaces"], &new["replacedBy"]), (&json!(old), &Value::Null));
    let id = new["id"].as_str().unwrap();
    let cancelled = get(&gateway, &format!("/orders/{old}")).await;
    assert_eq!((&cancelled["status"], &cancelled["replacedBy"]), (&json!("cancelled"), &json!(id)));
    assert!(cancelled["reason"].as_str().unwrap().starts_with(&format!("replaced by order {id} ")));
    let events = |id: &str| format!("/orders/{id}/events");
    assert_eq!(get(&gateway, &events(&old)).await.as_array().unwrap().len(), 2);
    assert_eq!(get(&gateway, &events(id)).await.as_array().unwrap().len(), 1);

    // A repetition is no second replacement.
    let Answer(status, again) = replace(&gateway, &old, &headers, &body).await;
    assert_eq!((status, &again), (201, &new));
    let key = [("idempotency-key", "k")];
    assert_eq!(refused(&gateway, &old, &key, &order(3, None)).await, refusal(422, "idempotency_key_reused"));
    assert_eq!(refused(&gateway, id, &key, &body).await, refusal(422, "idempotency_key_reused"));
    assert_eq!(refused(&gateway, &old, &[], &body).await, refusal(409, "order_final"));

    let started: OrderId =
        gateway.create(json!({"item": "Tea", "quantity": 1, "price": 1})).await.parse().unwrap();
    let start = Command::start(LeaseToken::random());
    backend.store.apply([(started, start)].into(), Rules::default()).await.unwrap();
    let started = started.to_string();
    assert_eq!(refused(&gateway, &started, &[], &body).await, refusal(409, "order_started"));

    let query = json!({"query": "mutation($id: ID!, $if: Int) { replaceOrder(input: {orderId: $id, ifSequence: $if, \
        order: {item: \"Tea\", quantity: 4, price: 1}}) { order { id replaces } userErrors { code field } } }",
        "variables": {"id": id, "if": 2}});
    let send = async |query: &Value| -> Value {
        let response = gateway.client.post(gateway.url("/graphql")).json(query).send().await.unwrap();
        response.json::<Value>().await.unwrap()["data"]["replaceOrder"].clone()
    };
    let answer = send(&query).await;
    assert_eq!(answer["userErrors"], json!([{"code": "order_changed", "field": ["input", "ifSequence"]}]));
    let mut query = query;
    query["variables"]["if"] = json!(1);
    let answer = send(&query).await;
    assert_eq!((&answer["order"]["replaces"], &answer["userErrors"]), (&json!(id), &json!([])), "{answer}");

    let log = backend.store.audit_log(None, None, 10).await.unwrap();
    let actions: Vec<_> = log.iter().map(|entry| (entry.action.as_str(), entry.target.clone())).collect();
    assert_eq!(actions, [("order.replace", id.to_owned()), ("order.replace", old)]);
    check_invariants(&backend.store).await;
    gateway.stop().await;
});

on_both!(an_order_is_replaced_once, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let old = gateway.create(order(1, None)).await;
    let body = order(2, None);
    let answers = futures_util::future::join_all((0..8).map(|_| replace(&gateway, &old, &[], &body))).await;
    let count = |status| answers.iter().filter(|answer| answer.0 == status).count();
    assert_eq!((count(201), count(409)), (1, 7));
    let orders = get(&gateway, "/orders").await;
    assert_eq!(orders.as_array().unwrap().len(), 2);
    check_invariants(&backend.store).await;
    gateway.stop().await;
});

on_both!(a_unique_reference_moves_to_the_new_order, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let switch = async || {
        let actor = KeyActor { name: "test".to_owned(), tenant: None, request_id: None };
        backend.store.set_unique_references(&TenantId::default(), true, &actor).await.unwrap()
    };
    switch().await;
    let old = gateway.create(order(1, Some("A-1"))).await;
    let other = gateway.create(order(1, Some("B-1"))).await;
    let Answer(status, problem) = replace(&gateway, &old, &[], &order(2, Some("B-1"))).await;
    assert_eq!((status, &problem["orderId"]), (409, &json!(other)), "{problem}");
    assert_eq!(get(&gateway, &format!("/orders/{old}")).await["status"], "pending");
    let Answer(status, new) = replace(&gateway, &old, &[], &order(2, Some("A-1"))).await;
    assert_eq!((status, &new["externalReference"]), (201, &json!("A-1")));
    assert_eq!(get(&gateway, "/orders/by-reference/A-1").await["id"], new["id"]);
    let response = gateway.client.post(gateway.url("/orders")).json(&order(1, Some("A-1"))).send().await;
    let problem: Value = response.unwrap().json().await.unwrap();
    assert_eq!(problem["orderId"], new["id"]);
    // The replaced order is no duplicate.
    assert_eq!(switch().await, ReferenceSwitch::Done(2));
    check_invariants(&backend.store).await;
    gateway.stop().await;
});
