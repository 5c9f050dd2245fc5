//! A panic in one operation is an error of that operation only.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use broker::{Job, Queue, QueueEnd};
use serde_json::{Value, json};

use super::{MODERN, Socket, config};
use crate::harness::{Backend, On};

/// A queue that panics on request.
#[derive(Default)]
struct Faulty(AtomicBool);

#[async_trait]
impl Queue for Faulty {
    fn of_kind(&self, _: &domain::Kind) -> std::sync::Arc<dyn Queue> {
        unreachable!("this queue has one kind")
    }

    async fn push(&self, _: &[Job], _: QueueEnd) -> Result<u64, broker::Error> {
        Ok(0)
    }

    async fn pull(&self, _: usize, _: Duration) -> Result<Vec<Job>, broker::Error> {
        Ok(Vec::new())
    }

    async fn len(&self) -> Result<u64, broker::Error> {
        assert!(!self.0.load(Ordering::Relaxed), "the queue is faulty");
        Ok(0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_affects_only_its_operation() {
    gateway::metrics::install();
    let queue = Arc::new(Faulty::default());
    let mut backend = Backend::new(On::Embedded).await;
    backend.queue = queue.clone();
    let mut config = config();
    config.graphql.max_batch_size = 3;
    let gateway = backend.gateway(config).await;
    queue.0.store(true, Ordering::Relaxed);
    let (faulty, fine) = (json!({"query": "{ queue { jobs } }"}), json!({"query": "{ __typename }"}));
    let is_internal = |result: &Value| {
        let error = &result["errors"][0];
        assert_eq!(error["extensions"]["code"], "internal_error", "{result}");
        assert!(
            error["extensions"]["errorId"].is_string() && !result.to_string().contains("faulty"),
            "{result}"
        );
    };
    let json = ("content-type", "application/json");
    let (status, results) = gateway.graphql_raw(&[json], json!([fine, faulty, fine]).to_string()).await;
    assert_eq!(status, 200, "{results}");
    is_internal(&results[1]);
    for n in [0, 2] {
        assert_eq!(results[n]["data"]["__typename"], "Query", "{results}");
    }

    let mut socket = Socket::ready(&gateway, MODERN).await;
    let watch = json!({"query": "subscription { orderEvents { ... on OrderStatusEvent { status } } }"});
    for (id, payload) in [("watch", &watch), ("faulty", &faulty), ("fine", &fine)] {
        socket.say(json!({"type": "subscribe", "id": id, "payload": payload})).await;
    }
    let mut answered = Vec::new();
    while answered.len() < 3 {
        let message = socket.hear().await;
        match message["id"].as_str().unwrap() {
            "faulty" => is_internal(&json!({"errors": message["payload"]})),
            "fine" => {}
            other => panic!("{other}: {message}"),
        }
        answered.push(message["type"].as_str().unwrap().to_owned());
    }
    answered.sort();
    assert_eq!(answered, ["complete", "error", "next"]);
    queue.0.store(false, Ordering::Relaxed);
    gateway.create_order().await;
    let event = socket.hear().await;
    assert_eq!((&event["id"], &event["type"]), (&json!("watch"), &json!("next")), "{event}");
    let text = gateway.client.get(gateway.url("/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(text.contains(r#"orders_panics_total{component="graphql"}"#), "{text}");
    gateway.stop().await;
}
