//! Long polls.

use std::future::Future;

use gateway::Config;
use serde_json::{Value, json};

use crate::harness::{Backend, Gateway, On, quick};
use crate::on_both;

impl Gateway<'_> {
    /// Status and body of a long poll.
    fn poll(&self, path: &str) -> impl Future<Output = (u16, Value)> + Send + use<> {
        let request = self.client.get(self.url(path));
        async move {
            let response = request.send().await.unwrap();
            let status = response.status().as_u16();
            (status, serde_json::from_str(&response.text().await.unwrap()).unwrap())
        }
    }
}

on_both!(a_long_poll_waits_for_the_sequence, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let id = gateway.create_order().await;
    let path = |sequence| format!("/orders/{id}?waitForSequence={sequence}&timeout=30");
    // An event that exists is returned immediately.
    let (status, order) = gateway.poll(&path(1)).await;
    assert_eq!((status, &order["sequence"]), (200, &json!(1)));

    let list = format!("/orders/{id}/events?after=1&timeout=30");
    let [second, third, list] = [path(2), path(3), list].map(|path| tokio::spawn(gateway.poll(&path)));
    gateway.report(&id, "processing", "").await.unwrap();
    let ((_, second), (_, list)) = (second.await.unwrap(), list.await.unwrap());
    assert!(!third.is_finished(), "the third event has not happened");
    gateway.report(&id, "completed", "").await.unwrap();
    let (_, third) = third.await.unwrap();
    assert_eq!(second["sequence"], 2, "{second}");
    assert_eq!((&third["sequence"], &third["status"]), (&json!(3), &json!("completed")));
    assert_eq!((&list[0]["sequence"], &list[0]["status"]), (&json!(2), &json!("processing")));

    // No event follows a final status, so the request does not wait.
    let (status, order) = gateway.poll(&path(9)).await;
    assert_eq!((status, &order["sequence"]), (200, &json!(3)));
    let (_, none) = gateway.poll(&format!("/orders/{id}/events?after=3&timeout=30")).await;
    assert_eq!(none, json!([]));
    gateway.stop().await;
});

on_both!(a_long_poll_returns_the_current_state, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(quick()).await;
    let id = gateway.create_order().await;
    for wait in [0, 1] {
        let (status, order) = gateway.poll(&format!("/orders/{id}?waitForSequence=2&timeout={wait}")).await;
        assert_eq!((status, &order["sequence"]), (200, &json!(1)));
        let (status, events) = gateway.poll(&format!("/orders/{id}/events?after=1&timeout={wait}")).await;
        assert_eq!((status, &events), (200, &json!([])));
    }
    gateway.stop().await;
});

on_both!(shutdown_answers_a_long_poll_with_the_current_state, |on| async move {
    gateway::metrics::install();
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(quick()).await;
    let id = gateway.create_order().await;
    let path = gateway.url(&format!("/orders/{id}?waitForSequence=2&timeout=60"));
    let asked = tokio::spawn(gateway.client.get(path).send());
    crate::harness::eventually("the wait", || async {
        let metrics = gateway.client.get(gateway.url("/metrics")).send().await.ok()?.text().await.ok()?;
        metrics
            .lines()
            .any(|line| line.starts_with("orders_subscribed ") && !line.ends_with(" 0"))
            .then_some(())
    })
    .await;
    gateway.stop().await;
    let order: Value = serde_json::from_str(&asked.await.unwrap().unwrap().text().await.unwrap()).unwrap();
    assert_eq!(order["sequence"], 1);
});

#[tokio::test(flavor = "multi_thread")]
async fn a_long_poll_without_a_condition_is_rejected() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(quick()).await;
    let unknown = "/orders/01890a5d-ac96-774b-bcce-b302099a8057";
    for path in ["?waitForSequence=2", "/events?timeout=30"] {
        let (status, problem) = gateway.poll(&format!("{unknown}{path}")).await;
        assert_eq!((status, &problem["code"]), (404, &json!("order_not_found")), "{path}");
    }
    let id = gateway.create_order().await;
    for query in ["waitForSequence=x", "waitForSequence=2&timeout=61", "timeout=61", "sequence=2"] {
        let (status, problem) = gateway.poll(&format!("/orders/{id}?{query}")).await;
        assert_eq!((status, &problem["code"]), (400, &json!("invalid_input")), "{query}");
    }
    gateway.stop().await;
}
