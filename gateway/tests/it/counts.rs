//! The number of orders in each status, over REST and GraphQL.

use gateway::Config;
use gateway::service::orders::COUNTS_FRESH;
use gateway::store::COUNT_LIMIT;
use serde_json::{Value, json};

use crate::harness::{Backend, Gateway, eventually};
use crate::on_both;

const QUERY: &str = "{ queue { counts { pending processing completed failed cancelled limit countedAt } } }";

impl Gateway<'_> {
    async fn counts(&self) -> Value {
        let (_, json) = self.graphql(QUERY, json!({})).await;
        json["data"]["queue"]["counts"].clone()
    }
}

/// Returns the counts, sorted by the life cycle of an order.
fn numbers(counts: &Value) -> [u64; 5] {
    ["pending", "processing", "completed", "failed", "cancelled"].map(|name| counts[name].as_u64().unwrap())
}

on_both!(orders_are_counted_by_status, |on| async move {
    let backend = Backend::new(on).await;
    let mut config = Config::default();
    config.service.max_queue_depth = 0;
    let gateway = backend.gateway(config).await;
    assert_eq!(numbers(&gateway.counts().await), [0; 5]);
    for last in ["", "processing", "completed", "failed"] {
        let id = gateway.create_order().await;
        if !last.is_empty() {
            gateway.report(&id, "processing", "").await.unwrap();
        }
        if last != "processing" && !last.is_empty() {
            gateway.report(&id, last, "").await.unwrap();
        }
    }
    gateway.create_order().await;
    let cancelled = gateway.create_order().await;
    let url = gateway.url(&format!("/orders/{cancelled}/cancel"));
    assert_eq!(gateway.client.post(url).send().await.unwrap().status(), 200);

    let counts = eventually("the new counts", || async {
        let counts = gateway.counts().await;
        (numbers(&counts) == [2, 1, 1, 1, 1]).then_some(counts)
    })
    .await;
    assert_eq!(counts["limit"], COUNT_LIMIT);
    let queue: Value = {
        let answer = gateway.client.get(gateway.url("/queue")).send().await.unwrap();
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    };
    assert_eq!((numbers(&queue["counts"]), &queue["counts"]["limit"]), ([2, 1, 1, 1, 1], &counts["limit"]));
    assert_eq!(
        (&queue["paused"], &queue["length"]),
        (&json!(false), &json!(2)),
        "orders that wait for a worker"
    );
    gateway.stop().await;
});

on_both!(concurrent_count_requests_share_one_query, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let asked = std::time::Instant::now();
    let mut times = futures_util::future::join_all((0..50).map(|_| gateway.counts())).await;
    times.sort_by_key(|counts| counts["countedAt"].to_string());
    times.dedup_by_key(|counts| counts["countedAt"].to_string());
    // On a stalled machine the requests may span more than one such interval.
    let most = 1 + asked.elapsed().as_millis() / COUNTS_FRESH.as_millis();
    assert!(times.len() as u128 <= most, "counted {} times", times.len());
    gateway.stop().await;
});
