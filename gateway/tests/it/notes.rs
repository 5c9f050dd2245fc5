//! The notes of orders, over REST, GraphQL and the tracking page, on both databases.

use domain::{Status, TenantId};
use gateway::Config;
use gateway::store::Retention;
use serde_json::{Value, json};

use crate::harness::{Backend, Gateway, check_invariants, requester};
use crate::on_both;

async fn post(gateway: &Gateway<'_>, path: &str, body: &Value) -> (u16, Value) {
    let response = gateway.client.post(gateway.url(path)).json(body).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn get(gateway: &Gateway<'_>, path: &str) -> (u16, Value) {
    let response = gateway.client.get(gateway.url(path)).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

fn order() -> Value {
    json!({"item": "Tea", "quantity": 1, "price": 1, "customer": "Ann", "processAfter": "2099-01-01T00:00:00Z"})
}

on_both!(notes_are_kept_beside_the_status, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let id = gateway.create(order()).await;
    let path = format!("/orders/{id}/notes");
    assert_eq!(get(&gateway, &path).await, (200, json!([])));
    let packed = json!({"text": "in box 7", "milestone": "packed", "public": true, "requestedBy": "ann"});
    let (status, first) = post(&gateway, &path, &packed).await;
    assert_eq!((status, &first["number"], &first["author"]), (201, &json!(1), &json!("ann")), "{first}");
    assert_eq!((&first["milestone"], &first["public"]), (&json!("packed"), &json!(true)));
    let query = json!({"query": "mutation($id: ID!) { addNote(input: {orderId: $id, text: \"call ä\"}) { note { number \
        text milestone public author } userErrors { code } } }", "variables": {"id": id}});
    let (_, answer) = post(&gateway, "/graphql", &query).await;
    let second = &answer["data"]["addNote"]["note"];
    let expected =
        json!({"number": 2, "text": "call ä", "milestone": null, "public": false, "author": "anonymous"});
    assert_eq!(second, &expected, "{answer}");
    assert_eq!(post(&gateway, &path, &json!({"text": "x", "milestone": "No"})).await.0, 400);
    let unknown = "/orders/01890a5d-ac96-774b-bcce-b302099a8057/notes";
    assert_eq!(post(&gateway, unknown, &packed).await.0, 404);
    assert_eq!(get(&gateway, unknown).await.0, 404);

    // A final order has notes too, and a note is no event.
    assert_eq!(post(&gateway, &format!("/orders/{id}/cancel"), &json!({})).await.0, 200);
    assert_eq!(post(&gateway, &path, &json!({"text": "sorry", "public": true})).await.1["number"], 3);
    assert_eq!(get(&gateway, &format!("/orders/{id}")).await.1["sequence"], 2);
    let (_, notes) = get(&gateway, &path).await;
    let texts: Vec<&str> =
        notes.as_array().unwrap().iter().map(|note| note["text"].as_str().unwrap()).collect();
    assert_eq!(texts, ["in box 7", "call ä", "sorry"]);
    let query =
        json!({"query": "query($id: ID!) { orderNotes(orderId: $id) { number } }", "variables": {"id": id}});
    let (_, answer) = post(&gateway, "/graphql", &query).await;
    assert_eq!(answer["data"]["orderNotes"], json!([{"number": 1}, {"number": 2}, {"number": 3}]));

    let (_, tracked) = get(&gateway, &format!("/track/{id}/order")).await;
    let shown: Vec<&Value> = tracked["notes"].as_array().unwrap().iter().map(|note| &note["text"]).collect();
    assert_eq!(shown, [&json!("in box 7"), &json!("sorry")], "only public notes: {tracked}");
    assert_eq!(tracked["notes"][0].as_object().unwrap().len(), 3, "without the author");

    let erased = backend.store.erase_customer(&TenantId::default(), "Ann", &requester()).await.unwrap();
    assert_eq!(erased.orders, 1);
    assert_eq!(get(&gateway, &path).await.1[0]["text"], "erased");
    let retention = Retention { finished: Some(std::time::Duration::ZERO), failed: None };
    let pruned = backend.store.prune_orders(Status::Cancelled, retention, None).await.unwrap();
    assert_eq!((pruned.orders, get(&gateway, &path).await.0), (1, 404));
    check_invariants(&backend.store).await;
    gateway.stop().await;
});

on_both!(an_order_has_a_limited_number_of_notes, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let path = format!("/orders/{}/notes", gateway.create(order()).await);
    // Concurrent notes get different numbers.
    for _ in 0..10 {
        let body = json!({"text": "x"});
        let added = futures_util::future::join_all((0..10).map(|_| post(&gateway, &path, &body))).await;
        assert!(added.iter().all(|(status, _)| *status == 201), "{added:?}");
    }
    let (status, problem) = post(&gateway, &path, &json!({"text": "x"})).await;
    assert_eq!((status, &problem["code"]), (409, &json!("note_limit")));
    let (_, notes) = get(&gateway, &path).await;
    let numbers: Vec<u64> =
        notes.as_array().unwrap().iter().map(|note| note["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=100).collect::<Vec<u64>>());
    gateway.stop().await;
});
