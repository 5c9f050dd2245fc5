//! Batches, persisted queries, trusted documents, and introspection that is off.

use std::sync::Arc;

use gateway::Config;
use gateway::graphql::TrustedDocuments;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{MODERN, Socket, config};
use crate::harness::{Backend, Gateway, On};

const JSON: (&str, &str) = ("content-type", "application/json");

fn hash(document: &str) -> String {
    Sha256::digest(document).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn persisted(hash: &str) -> Value {
    json!({"persistedQuery": {"version": 1, "sha256Hash": hash}})
}

/// The status, and the code of the first error or the data.
async fn ask(gateway: &Gateway<'_>, body: Value) -> (u16, Value) {
    let (status, json) = gateway.graphql_raw(&[JSON], body.to_string()).await;
    let code = json.pointer("/errors/0/extensions/code").cloned();
    (status.as_u16(), code.unwrap_or_else(|| json["data"].clone()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graphql_batch_runs_in_order_as_one_request() {
    let backend = Backend::new(On::Embedded).await;
    let mut config = config();
    config.graphql.max_batch_size = 3;
    config.graphql.max_complexity = 300;
    let gateway = backend.gateway(config).await;
    let query = |text: &str| json!({"query": text});
    let create =
        r#"mutation { createOrder(input: {item: "x", quantity: 1, price: 1}) { order { item: currency } } }"#;
    let batch =
        json!([query(create), query("{ nonsense }"), query("{ orders(first: 2) { nodes { currency } } }")]);
    let (status, answers) = gateway.graphql_raw(&[JSON], batch.to_string()).await;
    assert_eq!(status, 200, "{answers}");
    assert_eq!(answers.as_array().unwrap().len(), 3, "{answers}");
    assert_eq!(answers[0]["data"]["createOrder"]["order"]["item"], "USD");
    assert_eq!(answers[1]["errors"][0]["extensions"]["code"], "GRAPHQL_VALIDATION_FAILED");
    assert_eq!(answers[2]["data"]["orders"]["nodes"], json!([{"currency": "USD"}]));

    let page = query("{ orders(first: 70) { nodes { id status } } }");
    assert_eq!(ask(&gateway, page.clone()).await.0, 200);
    for (batch, code, limit) in [
        (json!([page, page]), "limit_exceeded", json!("complexity")),
        (json!([query("{a}"), query("{a}"), query("{a}"), query("{a}")]), "limit_exceeded", json!("batch")),
        (json!([]), "invalid_input", Value::Null),
        (json!([query("{a}"), 5]), "invalid_input", Value::Null),
    ] {
        let (status, json) = gateway.graphql_raw(&[JSON], batch.to_string()).await;
        let extensions = &json["errors"][0]["extensions"];
        assert_eq!((status.as_u16(), &extensions["code"]), (400, &json!(code)), "{json}");
        assert_eq!(extensions["limit"], limit);
    }
    let feed = json!([query("subscription { orderEvents { __typename } }")]);
    let (_, json) = gateway.graphql_raw(&[JSON], feed.to_string()).await;
    assert_eq!(json[0]["errors"][0]["extensions"]["code"], "invalid_input", "{json}");
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_persisted_query_is_found_by_its_hash() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config()).await;
    let document = "query Q { __typename }";
    let hash = hash(document);
    let by_hash = json!({"extensions": persisted(&hash)});
    let with_text = |document: &str| json!({"query": document, "extensions": persisted(&hash)});

    let (status, json) = gateway.graphql_raw(&[JSON], by_hash.to_string()).await;
    assert_eq!(status, 200);
    assert_eq!(json["errors"][0]["message"], "PersistedQueryNotFound");
    assert_eq!(json["errors"][0]["extensions"]["code"], "PERSISTED_QUERY_NOT_FOUND");
    assert!(json.get("data").is_none(), "{json}");
    assert_eq!(ask(&gateway, with_text("{ other: __typename }")).await, (400, json!("invalid_input")));
    let version =
        json!({"query": document, "extensions": {"persistedQuery": {"version": 2, "sha256Hash": hash}}});
    assert_eq!(ask(&gateway, version).await, (400, json!("invalid_input")));
    assert_eq!(ask(&gateway, by_hash.clone()).await.1, "PERSISTED_QUERY_NOT_FOUND");

    let data = json!({"__typename": "Query"});
    assert_eq!(ask(&gateway, with_text(document)).await, (200, data.clone()));
    assert_eq!(ask(&gateway, by_hash.clone()).await, (200, data.clone()));
    assert_eq!(ask(&gateway, json!({"documentId": format!("sha256:{hash}")})).await, (200, data.clone()));

    let mut url = url::Url::parse(&gateway.url("/graphql")).unwrap();
    url.query_pairs_mut().append_pair("extensions", &persisted(&hash).to_string());
    let answer = gateway.client.get(url.clone()).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), r#"{"data":{"__typename":"Query"}}"#);
    let stream = gateway.client.get(url).header("accept", "text/event-stream").send().await.unwrap();
    assert!(stream.text().await.unwrap().contains(r#"data: {"data":{"__typename":"Query"}}"#));
    let mut socket = Socket::ready(&gateway, MODERN).await;
    socket.say(json!({"type": "subscribe", "id": "1", "payload": by_hash})).await;
    assert_eq!(socket.hear().await["payload"]["data"], data);

    // An invalid document is not stored.
    for bad in ["{ nonsense }", "{", "{ ...F } fragment F on Query { ...F }"] {
        let extensions = persisted(&self::hash(bad));
        ask(&gateway, json!({"query": bad, "extensions": extensions})).await;
        let again = ask(&gateway, json!({"extensions": extensions})).await;
        assert_eq!(again.1, "PERSISTED_QUERY_NOT_FOUND", "{bad}");
    }
    // A subscription is stored before its first result.
    let feed = "subscription { orderEvents { __typename } }";
    let extensions = persisted(&self::hash(feed));
    let mut socket = Socket::ready(&gateway, MODERN).await;
    let subscribe = json!({"query": feed, "extensions": extensions});
    socket.say(json!({"type": "subscribe", "id": "1", "payload": subscribe})).await;
    crate::harness::eventually("the subscription is known", async || {
        // 406: the document is known, and a subscription has no JSON response.
        let body = json!({"extensions": extensions}).to_string();
        let (status, _) = gateway.graphql_raw(&[JSON, ("accept", "application/json")], body).await;
        (status == 406).then_some(())
    })
    .await;
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn persisted_queries_can_be_switched_off() {
    let mut config = config();
    config.graphql.max_persisted_queries = 0;
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config).await;
    let (status, json) = gateway
        .graphql_raw(&[JSON], json!({"extensions": persisted(&hash("{ __typename }"))}).to_string())
        .await;
    assert_eq!(status, 200);
    assert_eq!(json["errors"][0]["message"], "PersistedQueryNotSupported");
    assert_eq!(ask(&gateway, json!({"query": "{ __typename }"})).await.0, 200);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_trusted_documents_run() {
    let listed = "query Home { __typename }";
    let list = json!({"home": listed, (hash("{ x: __typename }")): "{ x: __typename }"}).to_string();
    let mut config = config();
    let trusted = TrustedDocuments::read(&list, &Config::default().graphql).unwrap();
    config.graphql_hooks.trusted_documents = Some(Arc::new(trusted));
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config).await;
    let data = json!({"__typename": "Query"});
    for good in [
        json!({"documentId": "home"}),
        json!({"documentId": format!("sha256:{}", hash(listed))}),
        json!({"extensions": persisted(&hash(listed))}),
        json!({"query": listed}),
    ] {
        assert_eq!(ask(&gateway, good.clone()).await, (200, data.clone()), "{good}");
    }
    assert_eq!(ask(&gateway, json!({"documentId": hash("{ x: __typename }")})).await.0, 200);
    let other = "{ orders { nodes { id } } }";
    for bad in [
        json!({"documentId": "other"}),
        json!({"extensions": persisted(&hash(other))}),
        json!({"query": other, "extensions": persisted(&hash(other))}),
        json!({"query": other}),
    ] {
        assert_eq!(ask(&gateway, bad.clone()).await, (403, json!("document_not_trusted")), "{bad}");
    }
    let mut socket = Socket::ready(&gateway, MODERN).await;
    socket.subscribe("1", other).await;
    assert_eq!(socket.hear().await["payload"][0]["extensions"]["code"], "document_not_trusted");
    socket.say(json!({"type": "subscribe", "id": "1", "payload": {"documentId": "home"}})).await;
    assert_eq!(socket.hear().await["payload"]["data"], data);
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn introspection_can_be_disabled() {
    let mut config = config();
    config.graphql.introspection = false;
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(config).await;
    for query in ["{ __schema { types { name } } }", r#"{ __type(name: "Order") { name } }"#] {
        assert_eq!(ask(&gateway, json!({"query": query})).await, (400, json!("introspection_disabled")));
    }
    assert_eq!(ask(&gateway, json!({"query": "{ __typename }"})).await.0, 200);
    // Errors contain no suggestions either.
    let (_, json) = gateway.graphql("{ order { idd } ordres { nodes { id } } }", Value::Null).await;
    assert!(!json.to_string().contains("orders"), "{json}");
    gateway.stop().await;
}
