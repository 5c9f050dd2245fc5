//! Results, checkpoints and the progress of attempts, on every interface and both databases.

use domain::Status;
use gateway::Config;
use proto::v1;
use proto::v1::claim_request::Message as Request;
use proto::v1::report::Outcome;
use serde_json::{Value, json};

use crate::claims::{Claimer, id, lease, nothing_waits};
use crate::harness::{Backend, Gateway, On, eventually, quick};
use crate::on_both;

/// Digits and a sequence of members that a value in memory would not keep.
const RESULT: &str = r#"{"total":1.10,"parcel":"1Z","big":123456789012345678901234567890}"#;

fn completed(result: &str) -> Outcome {
    Outcome::Completed(v1::Completed { result: Some(result.to_owned()) })
}

async fn text(gateway: &Gateway<'_>, path: &str) -> String {
    gateway.client.get(gateway.url(path)).send().await.unwrap().text().await.unwrap()
}

async fn rest(gateway: &Gateway<'_>, order: &str) -> Value {
    serde_json::from_str(&text(gateway, &format!("/orders/{order}")).await).unwrap()
}

async fn graphql(gateway: &Gateway<'_>, query: String) -> Value {
    let body = json!({ "query": query });
    let response = gateway.client.post(gateway.url("/graphql")).json(&body).send().await.unwrap();
    response.json::<Value>().await.unwrap()["data"].clone()
}

on_both!(a_result_is_on_every_interface, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let mut worker = Claimer::connect(&gateway, 3).await;
    nothing_waits(&gateway).await;
    let order = gateway.create_order().await;
    let job = worker.job().await;
    assert_eq!(worker.report(lease(&job), completed(&format!(" {RESULT}\n"))).await, []);
    // A repetition is no error, also with another result, which is not stored.
    assert_eq!(worker.report(lease(&job), completed("1")).await, []);

    let shown = text(&gateway, &format!("/orders/{order}")).await;
    assert!(shown.ends_with(&format!(r#","result":{RESULT}}}"#)), "{shown}");
    assert!(!text(&gateway, "/orders").await.contains("parcel"), "lists have no results");
    assert_eq!(gateway.order(&order).await.result.as_deref(), Some(RESULT));
    let query = format!(r#"{{ order(id: "{order}") {{ result checkpoint progress {{ percent }} }} }}"#);
    let shown = graphql(&gateway, query).await["order"].clone();
    assert_eq!((&shown["result"]["total"], &shown["result"]["parcel"]), (&json!(1.1), &json!("1Z")));
    assert_eq!((&shown["checkpoint"], &shown["progress"]), (&Value::Null, &Value::Null));
    let events = eventually("the event in the log", || async {
        let events = text(&gateway, "/events?types=order.completed").await;
        events.contains("order.completed").then_some(events)
    })
    .await;
    assert!(events.contains(&format!(r#""result":{RESULT},"order":"#)), "{events}");

    // Orders without a result have no such members.
    let plain = gateway.create_order().await;
    let job = worker.job().await;
    assert_eq!(worker.complete(&job).await, []);
    let shown = rest(&gateway, &plain).await;
    assert!(shown.get("result").is_none() && shown.get("checkpoint").is_none(), "{shown}");
    drop(worker);
    gateway.stop().await;
});

on_both!(invalid_results_are_refused, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(quick()).await;
    let mut worker = Claimer::connect(&gateway, 1).await;
    nothing_waits(&gateway).await;
    let order = gateway.create_order().await;
    let job = worker.job().await;
    let long = format!("\"{}\"", "x".repeat(64 * 1024));
    for result in ["{", "", long.as_str()] {
        let refused = worker.report(lease(&job), completed(result)).await;
        assert_eq!(refused.iter().map(|one| one.reason.as_str()).collect::<Vec<_>>(), ["invalid_input"]);
    }
    // The attempt ends with its lease.
    eventually("the end of the lease", || async {
        let order = gateway.order(&order).await;
        (order.error_class.as_deref() == Some("lease_expired")).then_some(())
    })
    .await;
    drop(worker);
    gateway.stop().await;
});

on_both!(update_status_has_a_result, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let order = gateway.create_order().await;
    let lease_token = gateway.report(&order, "processing", "").await.unwrap().lease_token;
    let request = |result: &str| v1::UpdateStatusRequest {
        order_id: order.clone(),
        status: "completed".to_owned(),
        lease_token: lease_token.clone(),
        result: Some(result.to_owned()),
        ..Default::default()
    };
    let error = gateway.workers().await.update_status(request("nul")).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::InvalidArgument);
    assert!(error.message().starts_with("result: must be JSON"), "{error}");
    // The longest result with the longest text that the gateway reads.
    let longest = format!("\"{}\"", "x".repeat(64 * 1024 - 2));
    gateway.workers().await.update_status(request(&longest)).await.unwrap();
    assert_eq!(gateway.order(&order).await.result, Some(longest));
    gateway.stop().await;
});

on_both!(the_next_attempt_continues_from_the_checkpoint, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(quick()).await;
    let mut worker = Claimer::connect(&gateway, 2).await;
    nothing_waits(&gateway).await;
    let order = gateway.create_order().await;
    let first = worker.job().await;
    assert_eq!(first.checkpoint, None);
    assert_eq!(worker.save(&first, r#"{"step": 1}"#).await, None);
    assert_eq!(worker.save(&first, r#"{"step": 2}"#).await, None);
    let refused = worker.save(&first, "{").await.unwrap();
    assert_eq!(refused.reason, "invalid_input");
    assert_eq!(rest(&gateway, &order).await["checkpoint"], json!({"step": 2}));
    assert_eq!(gateway.order(&order).await.checkpoint.as_deref(), Some(r#"{"step":2}"#));
    let retry = Outcome::Retry(v1::Retry { reason: "later".into(), ..Default::default() });
    assert_eq!(worker.report(lease(&first), retry).await, []);
    let second = worker.job().await;
    assert_eq!((id(&second), second.order.as_ref().unwrap().attempt), (order.as_str(), 2));
    assert_eq!(second.checkpoint.as_deref(), Some(r#"{"step":2}"#));
    // An attempt that has ended saves nothing.
    assert_eq!(worker.save(&first, "3").await.unwrap().reason, "stale_lease");
    assert_eq!(worker.report(lease(&second), completed("\"done\"")).await, []);
    let shown = rest(&gateway, &order).await;
    assert_eq!((&shown["result"], shown.get("checkpoint")), (&json!("done"), None), "{shown}");
    let timeline = gateway.timeline(&order).await;
    use Status::{Completed, Pending, Processing};
    assert_eq!(timeline, [Pending, Processing, Pending, Processing, Completed], "checkpoints are no events");
    drop(worker);
    gateway.stop().await;
});

fn progress(job: &v1::Attempt, percent: u32, note: &str) -> Request {
    Request::Progress(v1::Progress { lease: Some(lease(job)), percent: Some(percent), note: note.into() })
}

on_both!(progress_is_live_and_takes_no_sequence, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let mut worker = Claimer::connect(&gateway, 1).await;
    nothing_waits(&gateway).await;
    let order = gateway.create_order().await;
    let job = worker.job().await;
    let subscribe = async |fields: &str| {
        let query = format!(r#"subscription {{ orderStatus(orderId: "{order}", after: 0) {{ {fields} }} }}"#);
        let request = gateway.client.post(gateway.url("/graphql")).header("accept", "text/event-stream");
        request.json(&json!({ "query": query })).send().await.unwrap()
    };
    let with = subscribe("sequence status progress { attempt percent note }").await;
    let without = subscribe("sequence").await;
    let path = format!("/orders/{order}/events");
    let events = |query: &str| {
        let request = gateway.client.get(gateway.url(&format!("{path}{query}")));
        request.header("accept", "text/event-stream").send()
    };
    let (named, plain) = (events("?progress=true").await.unwrap(), events("").await.unwrap());
    worker.send(progress(&job, 40, "packing"), 0).await;
    eventually("the progress", || async {
        (rest(&gateway, &order).await["progress"]["percent"] == 40).then_some(())
    })
    .await;
    // Late subscribers receive the latest progress.
    let late = subscribe("sequence progress { percent }").await;
    // The second one within a second waits, and the third one replaces it.
    worker.send(progress(&job, 50, "packing"), 0).await;
    worker.send(progress(&job, 300, "x".repeat(500).as_str()), 0).await;
    let latest = eventually("the latest progress", || async {
        let progress = gateway.order(&order).await.progress.unwrap();
        (progress.percent != Some(40)).then_some(progress)
    })
    .await;
    assert_eq!((latest.percent, latest.note.unwrap().len(), latest.attempt), (Some(100), 200, 1));
    assert_eq!(worker.complete(&job).await, []);

    let data = |text: &str| -> Vec<Value> {
        let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
        lines.filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let items = |text: &str| -> Vec<Value> {
        data(text).iter().map(|item| item["data"]["orderStatus"].clone()).collect()
    };
    let with = items(&with.text().await.unwrap());
    let sequences: Vec<u64> = with.iter().map(|item| item["sequence"].as_u64().unwrap()).collect();
    assert_eq!(sequences, [1, 2, 2, 2, 3]);
    let shown = json!({"attempt": 1, "percent": 40, "note": "packing"});
    assert_eq!((&with[1]["progress"], &with[2]["progress"]), (&Value::Null, &shown));
    assert_eq!((&with[3]["progress"]["percent"], &with[4]["progress"]), (&json!(100), &Value::Null));
    let without = items(&without.text().await.unwrap());
    assert_eq!(without, [json!({"sequence": 1}), json!({"sequence": 2}), json!({"sequence": 3})]);
    let late = items(&late.text().await.unwrap());
    assert_eq!(late[2]["progress"]["percent"], 40, "{late:?}");
    let named = named.text().await.unwrap();
    assert_eq!(named.matches("event: progress\n").count(), 2, "{named}");
    assert_eq!(named.matches("id: ").count(), 3, "{named}");
    assert_eq!(data(&plain.text().await.unwrap()).len(), 3);
    assert!(rest(&gateway, &order).await.get("progress").is_none(), "it ends with the attempt");
    drop(worker);
    gateway.stop().await;
});

/// Two gateways share the back ends, which must be servers.
#[tokio::test(flavor = "multi_thread")]
async fn progress_reaches_subscribers_of_other_gateways() {
    let backend = Backend::new(On::Servers).await;
    let (a, b) = (backend.gateway(Config::default()).await, backend.gateway(Config::default()).await);
    let mut worker = Claimer::connect(&a, 1).await;
    let order = b.create_order().await;
    let job = worker.job().await;
    worker.send(progress(&job, 7, ""), 0).await;
    let shown =
        eventually("progress at the other gateway", || async { b.order(&order).await.progress }).await;
    assert_eq!((shown.percent, shown.note), (Some(7), None));
    worker.complete(&job).await;
    drop(worker);
    a.stop().await;
    b.stop().await;
}
