//! The metadata of orders, over REST and GraphQL, on both databases.

use gateway::Config;
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::harness::{Backend, Gateway, check_invariants};
use crate::on_both;

async fn send(gateway: &Gateway<'_>, method: Method, path: &str, body: Value) -> Response {
    gateway.client.request(method, gateway.url(path)).json(&body).send().await.unwrap()
}

async fn patch(gateway: &Gateway<'_>, id: &str, version: Option<&str>, body: Value) -> (u16, Value, String) {
    let request = gateway.client.patch(gateway.url(&format!("/orders/{id}/metadata")));
    let request = match version {
        Some(version) => request.header("if-match", version),
        None => request,
    };
    let request = request.header("content-type", "application/merge-patch+json").body(body.to_string());
    let response = request.send().await.unwrap();
    let etag = response.headers().get("etag").map(|etag| etag.to_str().unwrap().to_owned());
    (response.status().as_u16(), response.json().await.unwrap(), etag.unwrap_or_default())
}

async fn get(gateway: &Gateway<'_>, path: &str) -> Value {
    gateway.client.get(gateway.url(path)).send().await.unwrap().json().await.unwrap()
}

async fn graphql(gateway: &Gateway<'_>, query: &str, variables: Value) -> Value {
    let body = json!({"query": query, "variables": variables});
    let response = send(gateway, Method::POST, "/graphql", body).await;
    response.json().await.unwrap()
}

fn order(metadata: Value) -> Value {
    json!({"item": "Tea", "quantity": 1, "price": 1, "processAfter": "2099-01-01T00:00:00Z", "metadata": metadata})
}

on_both!(metadata_is_stored_and_changed_at_any_time, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let plain = gateway.create(order(Value::Null)).await;
    let id = gateway.create(order(json!({"channel": "web", "note": "\"ä\" \\ 😀"}))).await;
    let shown = get(&gateway, &format!("/orders/{id}")).await;
    assert_eq!(shown["metadata"], json!({"channel": "web", "note": "\"ä\" \\ 😀"}));
    assert_eq!(get(&gateway, &format!("/orders/{plain}")).await["metadata"], json!({}));

    let (status, changed, first) = patch(&gateway, &id, None, json!({"note": null, "gift": "yes"})).await;
    assert_eq!((status, changed), (200, json!({"channel": "web", "gift": "yes"})));
    let (status, changed, second) = patch(&gateway, &id, Some(&first), json!({"gift": ""})).await;
    assert_eq!((status, changed), (200, json!({"channel": "web", "gift": ""})));
    assert_ne!(first, second);
    let (status, refused, _) = patch(&gateway, &id, Some(&first), json!({"gift": "no"})).await;
    assert_eq!((status, &refused["code"]), (412, &json!("metadata_changed")));
    assert_eq!(format!("\"{}\"", refused["version"].as_str().unwrap()), second);
    let (status, _, same) = patch(&gateway, &id, Some("*"), json!({})).await;
    assert_eq!((status, &same), (200, &second));
    let (status, refused, _) = patch(&gateway, &id, None, json!({"a b": "c"})).await;
    assert_eq!((status, &refused["code"]), (422, &json!("invalid_order")));
    let unknown = "01890a5d-ac96-774b-bcce-b302099a8057";
    assert_eq!(patch(&gateway, unknown, None, json!({})).await.0, 404);

    // A final order has metadata too, and a change is no event.
    let cancelled = send(&gateway, Method::POST, &format!("/orders/{id}/cancel"), json!({})).await;
    let cancelled: Value = cancelled.json().await.unwrap();
    assert_eq!(cancelled["metadata"], json!({"channel": "web", "gift": ""}));
    let (status, changed, _) = patch(&gateway, &id, None, json!({"channel": null, "gift": null})).await;
    assert_eq!((status, changed), (200, json!({})));
    let shown = get(&gateway, &format!("/orders/{id}")).await;
    assert_eq!((&shown["sequence"], &shown["updatedAt"]), (&json!(2), &cancelled["updatedAt"]));

    let log = backend.store.audit_log(None, None, 10).await.unwrap();
    let actions: Vec<&str> = log.iter().map(|entry| entry.action.as_str()).collect();
    assert_eq!(actions, ["order.metadata", "order.cancel", "order.metadata", "order.metadata"]);
    check_invariants(&backend.store).await;
    gateway.stop().await;
});

on_both!(concurrent_changes_of_metadata_lose_nothing, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let id = gateway.create(order(Value::Null)).await;
    let keys: Vec<String> = (0..20).map(|n| format!("k{n}")).collect();
    let changes = keys.iter().map(|key| patch(&gateway, &id, None, json!({key: "x"})));
    for (status, body, _) in futures_util::future::join_all(changes).await {
        assert_eq!(status, 200, "{body}");
    }
    let metadata = get(&gateway, &format!("/orders/{id}/metadata")).await;
    assert_eq!(metadata.as_object().unwrap().len(), keys.len());

    // Of changes for the same version, one is made.
    let (_, _, version) = patch(&gateway, &id, None, json!({})).await;
    let changes = keys.iter().map(|key| patch(&gateway, &id, Some(&version), json!({key: "y"})));
    let answers = futures_util::future::join_all(changes).await;
    assert_eq!(answers.iter().filter(|(status, ..)| *status == 200).count(), 1);
    assert_eq!(answers.iter().filter(|(status, ..)| *status == 412).count(), keys.len() - 1);
    gateway.stop().await;
});

on_both!(lists_select_by_metadata, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let web = gateway.create(order(json!({"channel": "web", "a.b": "1"}))).await;
    let shop = gateway.create(order(json!({"channel": "shop"}))).await;
    gateway.create(order(Value::Null)).await;
    let ids = async |query: &str| -> Vec<String> {
        let page = get(&gateway, &format!("/orders?{query}")).await;
        let orders = page.as_array().unwrap_or_else(|| panic!("{page}"));
        orders.iter().map(|order| order["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids("metadata.channel=web").await, std::slice::from_ref(&web));
    assert_eq!(ids("metadata.channel=web&metadata.a.b=1&status=pending").await, std::slice::from_ref(&web));
    assert_eq!(ids("metadata.channel=web&metadata.a.b=2").await, [""; 0]);
    assert_eq!(ids("metadata.channel=WEB").await, [""; 0]);
    let page = get(&gateway, "/orders?metadata=x").await;
    assert_eq!(page["code"], "invalid_input");
    for bad in ["metadata.=x", "metadata.a%20b=x", "metadata.a=1&metadata.a=2"] {
        assert_eq!(get(&gateway, &format!("/orders?{bad}")).await["code"], "invalid_input", "{bad}");
    }
    let export = gateway.client.get(gateway.url("/orders/export?format=ndjson&metadata.channel=shop"));
    let export = export.send().await.unwrap().text().await.unwrap();
    assert!(export.lines().count() == 1 && export.contains(&shop), "{export}");
    let found = graphql(
        &gateway,
        "query($f: OrderFilter) { orders(filter: $f) { nodes { id metadata { key value } metadataVersion } } }",
        json!({"f": {"metadata": [{"key": "channel", "value": "shop"}]}}),
    )
    .await;
    let [found] = &found["data"]["orders"]["nodes"].as_array().unwrap()[..] else { panic!("{found}") };
    assert_eq!(
        (&found["id"], &found["metadata"]),
        (&json!(shop), &json!([{"key": "channel", "value": "shop"}]))
    );

    let change =
        "mutation($i: UpdateMetadataInput!) { updateMetadata(input: $i) { order { metadata { key value } }
        userErrors { code field } } }";
    let input = |version: &Value| {
        json!({"i": {"orderId": shop, "ifVersion": version, "metadata": [
            {"key": "channel", "value": null}, {"key": "till", "value": "4"}]}})
    };
    let version = found["metadataVersion"].clone();
    let changed = graphql(&gateway, change, input(&version)).await;
    let changed = &changed["data"]["updateMetadata"];
    assert_eq!(changed["order"]["metadata"], json!([{"key": "till", "value": "4"}]), "{changed}");
    let refused = graphql(&gateway, change, input(&version)).await;
    let errors = &refused["data"]["updateMetadata"]["userErrors"];
    assert_eq!(errors[0]["code"], "metadata_changed", "{refused}");

    let body = json!({"filter": {"metadata": {"channel": "web"}}});
    let cancelled = send(&gateway, Method::POST, "/orders/cancel", body).await;
    let cancelled: Value = cancelled.json().await.unwrap();
    assert_eq!(cancelled["orderIds"], json!([web]));
    gateway.stop().await;
});

on_both!(metadata_is_a_part_of_an_idempotent_create, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let create = async |metadata: Value| {
        let request = gateway.client.post(gateway.url("/orders")).header("idempotency-key", "k");
        let response = request.json(&order(metadata)).send().await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let (status, first) = create(json!({"a": "1", "b": "2"})).await;
    assert_eq!(status, 201, "{first}");
    assert_eq!(create(json!({"b": "2", "a": "1"})).await, (201, first.clone()));
    assert_eq!(create(json!({"a": "1"})).await.1["code"], "idempotency_key_reused");
    // The repetition of a create has the present metadata.
    let (_, changed, _) = patch(&gateway, first["id"].as_str().unwrap(), None, json!({"a": null})).await;
    assert_eq!(create(json!({"a": "1", "b": "2"})).await.1["metadata"], changed);

    // In one statement with orders without metadata.
    let rows = json!([order(Value::Null), order(json!({"a": "1"}))]);
    let rows = send(&gateway, Method::POST, "/orders/bulk", rows).await;
    let rows: Value = rows.json().await.unwrap();
    let orders = rows["results"].as_array().unwrap_or_else(|| panic!("{rows}"));
    assert_eq!(orders.len(), 2, "{rows}");
    let with = get(&gateway, "/orders?metadata.a=1").await;
    assert_eq!(with.as_array().unwrap().len(), 1);
    gateway.stop().await;
});
