//! Commands of operators: redrive failed orders, pause and resume the queue.

use std::time::Duration;

use domain::Status;
use gateway::Config;
use serde_json::{Value, json};

use crate::harness::{Backend, Gateway, On, check_invariants, eventually, quick};
use crate::on_both;

impl Gateway<'_> {
    pub(crate) async fn ask(&self, path: &str) -> Value {
        let response = self.client.get(self.url(path)).send().await.unwrap();
        serde_json::from_str(&response.text().await.unwrap()).unwrap()
    }

    pub(crate) async fn command(&self, path: &str, body: Value) -> Value {
        let request = self.client.post(self.url(path)).header("content-type", "application/json");
        let response = request.body(body.to_string()).send().await.unwrap();
        serde_json::from_str(&response.text().await.unwrap()).unwrap()
    }

    /// An order that failed permanently.
    async fn dead_letter(&self, class: &str) -> String {
        let id = self.create_order().await;
        self.fail(&id, class, "it broke").await;
        id
    }

    /// Lets an order fail permanently.
    pub(crate) async fn fail(&self, id: &str, class: &str, reason: &str) {
        let lease_token = self.report(id, "processing", "").await.unwrap().lease_token;
        let request = proto::v1::UpdateStatusRequest {
            worker_id: String::new(),
            order_id: id.to_owned(),
            status: "failed".to_owned(),
            lease_token,
            reason: reason.to_owned(),
            error_class: class.to_owned(),
            result: None,
        };
        self.workers().await.update_status(request).await.unwrap();
    }

    /// The last event of an order.
    pub(crate) async fn last_event(&self, id: &str) -> domain::OrderEvent {
        let events = self
            .backend
            .store
            .events_after(&domain::Principal::anonymous(), &[(id.parse().unwrap(), 0)])
            .await
            .unwrap();
        (**events.last().unwrap()).clone()
    }
}

fn ids(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|order| order["id"].as_str().unwrap()).collect()
}

on_both!(dead_letters_are_found_and_redriven_by_filter, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let (busy, declined) =
        (gateway.dead_letter("http_503").await, gateway.dead_letter("card declined").await);
    let done = gateway.create_order().await;
    gateway.report(&done, "processing", "").await.unwrap();
    gateway.report(&done, "completed", "").await.unwrap();

    let all = gateway.ask("/dead-letters").await;
    assert_eq!(ids(&all), [&declined, &busy]);
    assert_eq!((&all[0]["errorClass"], &all[0]["reason"]), (&json!("card_declined"), &json!("it broke")));
    assert_eq!((&all[0]["attempt"], &all[0]["failures"]), (&json!(1), &json!(1)));
    assert_eq!(ids(&gateway.ask("/dead-letters?errorClass=http_503").await), [&busy]);
    let query = "query($class: String) { orders(filter: {statuses: [FAILED], errorClass: $class}) { nodes { id errorClass } } }";
    let (_, json) = gateway.graphql(query, json!({"class": "http_503"})).await;
    assert_eq!(json["data"]["orders"]["nodes"], json!([{"id": busy, "errorClass": "http_503"}]));

    let filter = json!({"errorClass": "http_503"});
    let looked = gateway.command("/dead-letters/redrive", json!({"filter": filter, "dryRun": true})).await;
    assert_eq!((&looked["count"], &looked["orderIds"]), (&json!(1), &json!([busy])));
    assert_eq!(gateway.last_event(&busy).await.status, Status::Failed, "a dry run changes nothing");

    let who = json!({"filter": filter, "requestedBy": "ann", "reason": "the carrier is back"});
    let redriven = gateway.command("/dead-letters/redrive", who.clone()).await;
    assert_eq!((&redriven["count"], &redriven["next"]), (&json!(1), &json!(null)));
    let event = gateway.last_event(&busy).await;
    assert_eq!((event.status, event.previous_status), (Status::Pending, Some(Status::Failed)));
    assert_eq!(event.reason.as_deref(), Some("redriven by ann: the carrier is back"));
    assert_eq!(gateway.command("/dead-letters/redrive", who).await["count"], 0, "it has not failed again");
    let order = gateway.ask(&format!("/orders/{busy}")).await;
    assert_eq!((&order["failures"], &order["errorClass"]), (&json!(0), &json!(null)));

    let mutation = "mutation($input: RedriveOrdersInput!) { redriveOrders(input: $input) {
        count orderIds next userErrors { code field } } }";
    let (_, json) = gateway.graphql(mutation, json!({"input": {"filter": {}, "ratePerSecond": 0}})).await;
    let errors = &json["data"]["redriveOrders"]["userErrors"];
    assert_eq!(errors, &json!([{"code": "invalid_input", "field": ["input", "ratePerSecond"]}]), "{json}");
    let (_, json) = gateway.graphql(mutation, json!({"input": {"filter": {}}})).await;
    assert_eq!(json["data"]["redriveOrders"]["orderIds"], json!([declined]));
    assert_eq!(gateway.last_event(&declined).await.reason.as_deref(), Some("redriven over GraphQL"));
    check_invariants(&backend.store).await;
    gateway.stop().await;
});

on_both!(a_redrive_records_who_requested_it, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    for (body, said) in [
        (json!({}), "redriven over REST"),
        (json!({"reason": "fixed"}), "redriven over REST: fixed"),
        (json!({"requestedBy": "ann"}), "redriven by ann"),
    ] {
        let id = gateway.dead_letter("").await;
        let order = gateway.command(&format!("/orders/{id}/redrive"), body).await;
        assert_eq!((&order["status"], &order["reason"]), (&json!("pending"), &json!(said)));
    }
    let id = gateway.dead_letter("").await;
    let mutation = "mutation($id: ID!, $by: String) { redriveOrder(input: {orderId: $id, requestedBy: $by}) {
        order { reason } userErrors { code } } }";
    let (_, json) = gateway.graphql(mutation, json!({"id": id, "by": "\n"})).await;
    assert_eq!(json["data"]["redriveOrder"]["userErrors"][0]["code"], "invalid_input");
    let (_, json) = gateway.graphql(mutation, json!({"id": id, "by": "bob"})).await;
    assert_eq!(json["data"]["redriveOrder"]["order"]["reason"], "redriven by bob");
    gateway.stop().await;
});

on_both!(a_redrive_rate_spreads_the_starts, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let mut dead = Vec::new();
    for _ in 0..5 {
        dead.push(gateway.dead_letter("").await);
    }
    // Two requests, of three and of two orders.
    let far = backend.store.now() + Duration::from_secs(3_600);
    let first = json!({"filter": {}, "limit": 3, "ratePerSecond": 10, "startAt": far});
    let answer = gateway.command("/dead-letters/redrive", first).await;
    assert_eq!(answer["count"], 3);
    assert_eq!(answer["nextStartAt"], json!(far + Duration::from_millis(300)));
    let rest = json!({"filter": {}, "limit": 3, "ratePerSecond": 10, "after": answer["next"], "startAt": answer["nextStartAt"]});
    let answer = gateway.command("/dead-letters/redrive", rest).await;
    assert_eq!((&answer["count"], &answer["next"]), (&json!(2), &json!(null)));
    // Newest first, at intervals of 100 ms: no order starts before its time.
    for (n, id) in dead.iter().rev().enumerate() {
        let refused = gateway.report(id, "processing", "").await.unwrap_err();
        let at = far + Duration::from_millis(100) * u32::try_from(n).unwrap();
        assert!(refused.message().contains(&at.to_string()), "{n}: {}", refused.message());
    }
    gateway.stop().await;
});

on_both!(the_first_of_cancel_and_finish_wins_and_both_get_an_answer, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let (mut cancelled, mut completed) = (0, 0);
    // Each command is sent first in half of the rounds; the database decides which one wins.
    for round in 0..20 {
        let id = gateway.create_order().await;
        let lease = gateway.report(&id, "processing", "").await.unwrap().lease_token;
        let cancel = async {
            if round % 2 == 0 {
                tokio::task::yield_now().await;
            }
            gateway.command(&format!("/orders/{id}/cancel"), json!({})).await
        };
        let (cancel, finish) = tokio::join!(cancel, gateway.report(&id, "completed", &lease));
        let last = gateway.last_event(&id).await.status;
        match finish {
            Ok(answer) => {
                completed += 1;
                assert_eq!(answer.order.unwrap().status, "completed");
                assert_eq!(
                    (&cancel["code"], &cancel["orderStatus"]),
                    (&json!("order_final"), &json!("completed"))
                );
                assert_eq!(last, Status::Completed);
            }
            Err(refused) => {
                cancelled += 1;
                assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
                assert!(refused.message().contains("cancelled"), "{}", refused.message());
                assert_eq!((&cancel["status"], last), (&json!("cancelled"), Status::Cancelled));
                // A second one gets the same response.
                assert_eq!(gateway.command(&format!("/orders/{id}/cancel"), json!({})).await, cancel);
            }
        }
        assert_eq!(gateway.timeline(&id).await.len(), 3, "one of them, once");
    }
    assert_eq!(cancelled + completed, 20);
    gateway.stop().await;
});

on_both!(the_queue_is_paused_over_every_interface, |on| async move {
    let backend = Backend::new(on).await;
    let a = backend.gateway(Config::default()).await;
    let b = backend.gateway(Config::default()).await;
    let idle = json!({"paused": false, "pausedAt": null, "pausedUntil": null, "pausedBy": null});
    let state = || async {
        let mut queue = a.ask("/queue").await;
        assert!(queue["counts"].is_object(), "see the tests of the counts");
        let fields = queue.as_object_mut().unwrap();
        for name in ["counts", "length", "oldestReadySeconds", "jobs", "workers"] {
            assert!(fields.remove(name).is_some(), "{name}");
        }
        queue
    };
    assert_eq!(state().await, idle);
    let until = backend.store.now() + Duration::from_secs(3_600);
    let paused = a.command("/queue/pause", json!({"until": until, "requestedBy": "ann"})).await;
    assert_eq!(
        (&paused["paused"], &paused["pausedUntil"], &paused["pausedBy"]),
        (&json!(true), &json!(until), &json!("ann"))
    );
    let id = a.create_order().await;
    let (_, json) = b.graphql("{ queue { paused pausedBy pausedUntil jobs } }", Value::Null).await;
    let expected = json!({"paused": true, "pausedBy": "ann", "pausedUntil": until, "jobs": 0});
    assert_eq!(json["data"]["queue"], expected);

    let (_, json) =
        b.graphql("mutation { resumeQueue { queue { paused } userErrors { code } } }", Value::Null).await;
    assert_eq!(json["data"]["resumeQueue"], json!({"queue": {"paused": false}, "userErrors": []}));
    assert_eq!(b.next_job().await, id);
    eventually("the first gateway to see it", || async { (state().await == idle).then_some(()) }).await;

    let pause = "mutation($until: DateTime) { pauseQueue(input: {until: $until}) { queue { paused } userErrors { field } } }";
    let (_, json) = b.graphql(pause, json!({"until": "2020-01-01T00:00:00Z"})).await;
    assert_eq!(json["data"]["pauseQueue"]["userErrors"][0]["field"], json!(["input", "until"]), "{json}");
    let (_, json) = b.graphql("mutation { pauseQueue { queue { paused pausedUntil } } }", Value::Null).await;
    assert_eq!(json["data"]["pauseQueue"]["queue"], json!({"paused": true, "pausedUntil": null}));
    let refused = a.command("/queue/pause", json!({"until": "2020-01-01T00:00:00Z"})).await;
    assert_eq!(
        (&refused["code"], &refused["errors"][0]["pointer"]),
        (&json!("invalid_input"), &json!("/until"))
    );
    assert_eq!(a.command("/queue/resume", Value::Null).await["paused"], false);
    b.stop().await;
    a.stop().await;
});

// Readiness turns off before the gateway rejects requests.
on_both!(a_gateway_serves_requests_during_the_shutdown_delay, |on| async move {
    let backend = Backend::new(on).await;
    let config = Config { shutdown_delay: Duration::from_secs(6), ..quick() };
    let mut gateway = backend.gateway(config).await;
    let readiness = async || gateway.client.get(gateway.url("/readyz")).send().await.unwrap().status();
    assert_eq!(readiness().await, 200);
    gateway.begin_stop();
    let readiness = async || gateway.client.get(gateway.url("/readyz")).send().await.unwrap().status();
    eventually("readiness to turn off", || async { (readiness().await == 503).then_some(()) }).await;
    gateway.create_order().await;
    gateway.stop().await;
});

/// The batches end with the last clone of the use cases, so an idle shutdown uses none of their 5 s.
#[tokio::test]
async fn an_idle_gateway_stops_without_waiting_for_writes() {
    let backend = Backend::new(On::Embedded).await;
    let gateway = backend.gateway(quick()).await;
    gateway.create_order().await;
    let began = std::time::Instant::now();
    gateway.stop().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
