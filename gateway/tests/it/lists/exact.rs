//! Filters by value compare bytes on every database: trailing blanks, case, accents and Unicode forms count.

use serde_json::{Value, json};

use super::ids;
use crate::harness::{Backend, Gateway};
use crate::on_both;
use crate::rest::value;

/// Each value equals another one under common collations.
const TEXTS: [&str; 7] = ["acme", "acme ", "acme  ", "Acme", "äcme", "a\u{308}cme", "ACME"];
/// A value that equals none of them.
const OTHERS: [&str; 3] = ["acme   ", "acm", "Äcme"];

async fn found(gateway: &Gateway<'_>, query: &[(&str, &str)]) -> Vec<String> {
    let mut url = url::Url::parse(&gateway.url("/orders")).unwrap();
    url.query_pairs_mut().extend_pairs(query);
    ids(&value(gateway.client.get(url).send().await.unwrap()).await)
}

on_both!(a_filter_by_value_compares_every_byte, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(gateway::Config::default()).await;
    let orders = TEXTS.map(
        |text| json!({"item": "x", "quantity": 1, "price": "1", "customer": text, "externalReference": text}),
    );
    let created = gateway.create_all(&orders).await;
    for (id, text) in created.iter().zip(TEXTS) {
        for filter in ["customer", "externalReference"] {
            // Each of these is parsed differently.
            for more in [&[][..], &[("status", "pending")], &[("sort", "-total"), ("currency", "USD")]] {
                let query = [&[(filter, text)][..], more].concat();
                assert_eq!(found(&gateway, &query).await, [id.as_str()], "{query:?}");
            }
            let page = gateway.connection(json!({"filter": {filter: text}})).await;
            assert_eq!(ids(&page["nodes"]), [id.as_str()], "{filter} {text:?}");
        }
    }
    for text in OTHERS {
        for filter in ["customer", "externalReference"] {
            assert_eq!(found(&gateway, &[(filter, text)]).await, [""; 0], "{filter} {text:?}");
        }
    }
    gateway.stop().await;
});

on_both!(idempotency_keys_that_differ_in_a_byte_are_different, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(gateway::Config::default()).await;
    let mut ids = Vec::new();
    for key in ["key", "Key", "KEY", "key.", "kéy"] {
        let mutation = "mutation ($key: String) { createOrder(input: {item: \"x\", quantity: 1, price: \"1\"}, \
                        idempotencyKey: $key) { order { id } } }";
        let (_, json) = gateway.graphql(mutation, json!({"key": key})).await;
        let id = &json["data"]["createOrder"]["order"]["id"];
        if key.is_ascii() {
            assert_ne!(id, &Value::Null, "{json}");
        }
        if id != &Value::Null {
            assert!(!ids.contains(id), "{key}");
            ids.push(id.clone());
        }
    }
    assert!(ids.len() >= 4);
    gateway.stop().await;
});
