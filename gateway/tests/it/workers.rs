//! The gRPC interface of workers.

use std::time::Duration;

use domain::{LeaseToken, Status};
use gateway::Config;
use proto::v1;
use proto::v1::gateway_message::Message as Answer;
use proto::v1::order_service_client::OrderServiceClient;
use proto::v1::worker_message::Message as Request;
use test_database::Database;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use crate::harness::{Backend, Gateway, On, eventually, quick};
use crate::on_both;

/// A worker whose messages the test writes.
pub(crate) struct Worker {
    requests: mpsc::Sender<v1::WorkerMessage>,
    answers: tonic::Streaming<v1::GatewayMessage>,
    next_id: u64,
}

impl Worker {
    pub(crate) async fn connect(gateway: &Gateway<'_>) -> Self {
        Self::connect_over(gateway.workers().await).await
    }

    async fn connect_over(client: OrderServiceClient<Channel>) -> Self {
        Self::connect_with(client, None).await
    }

    /// Connects with an API key.
    pub(crate) async fn connect_with(mut client: OrderServiceClient<Channel>, key: Option<&str>) -> Self {
        let (requests, outgoing) = mpsc::channel(16);
        let hello = Request::Hello(v1::Hello {
            worker_id: "test".into(),
            repeats_entries: true,
            ..Default::default()
        });
        requests.send(v1::WorkerMessage { request_id: 1, message: Some(hello) }).await.unwrap();
        let mut stream = tonic::Request::new(ReceiverStream::new(outgoing));
        if let Some(key) = key {
            stream.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        }
        let answers = client.work(stream).await.unwrap().into_inner();
        let mut worker = Self { requests, answers, next_id: 1 };
        let Answer::Welcome(welcome) = worker.next().await else { panic!("expected Welcome") };
        assert!(welcome.heartbeat_interval_ms * 3 <= welcome.lease_ms);
        worker
    }

    async fn next(&mut self) -> Answer {
        self.try_next().await.unwrap()
    }

    /// Returns the next message, or the error that ends the stream.
    pub(crate) async fn try_next(&mut self) -> Result<Answer, tonic::Status> {
        Ok(self.answers.message().await?.expect("a message").message.unwrap())
    }

    /// Renews a lease.
    pub(crate) async fn renew(&mut self, lease: &v1::Lease) -> v1::Renewed {
        match self.ask(Request::Heartbeats(v1::Heartbeats { leases: vec![lease.clone()] })).await {
            Answer::Renewed(renewed) => renewed,
            other => panic!("{other:?}"),
        }
    }

    async fn ask(&mut self, message: Request) -> Answer {
        self.next_id += 1;
        let request = v1::WorkerMessage { request_id: self.next_id, message: Some(message) };
        self.requests.send(request).await.unwrap();
        let answer = self.answers.message().await.unwrap().unwrap();
        assert_eq!(answer.request_id, self.next_id);
        answer.message.unwrap()
    }

    pub(crate) async fn start(&mut self, leases: &[v1::Lease]) -> v1::Started {
        let mut all = v1::Started::default();
        let mut answer = self.ask(Request::Start(v1::Start { leases: leases.to_vec() })).await;
        loop {
            let Answer::Started(started) = answer else { panic!("{answer:?}") };
            all.attempts.extend(started.attempts);
            all.refused.extend(started.refused);
            if !started.more {
                return all;
            }
            answer = self.next().await;
        }
    }

    /// `None` when the gateway answers TryAgain for all leases.
    pub(crate) async fn try_start(&mut self, leases: &[v1::Lease]) -> Option<v1::Started> {
        match self.ask(Request::Start(v1::Start { leases: leases.to_vec() })).await {
            Answer::Started(started) => Some(started),
            Answer::TryAgain(_) => None,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn finish(&mut self, lease: &v1::Lease) -> v1::Finished {
        let report = v1::Report {
            lease: Some(lease.clone()),
            outcome: Some(v1::report::Outcome::Completed(v1::Completed { result: None })),
        };
        match self.ask(Request::Finish(v1::Finish { reports: vec![report] })).await {
            Answer::Finished(finished) => finished,
            other => panic!("{other:?}"),
        }
    }
}

pub(crate) fn lease(id: &str) -> v1::Lease {
    v1::Lease::new(id.parse().unwrap(), LeaseToken::random())
}

fn reasons(refused: &[v1::Refused]) -> Vec<&str> {
    refused.iter().map(|refused| refused.reason.as_str()).collect()
}

on_both!(a_batch_is_started_and_finished, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let mut leases = Vec::new();
    for _ in 0..5 {
        leases.push(lease(&gateway.create_order().await));
    }
    let mut worker = Worker::connect(&gateway).await;
    let mut asked = leases.clone();
    asked.push(lease("01890a5d-ac96-774b-bcce-b302099a8057"));
    asked.push(v1::Lease { order_id: "x".into(), lease_token: String::new() });
    let started = worker.start(&asked).await;
    assert_eq!(started.attempts.len(), 5);
    let order = started.attempts[0].order.as_ref().unwrap();
    assert_eq!((order.status.as_str(), order.total.as_str(), order.attempt), ("processing", "2599.98", 1));
    assert_eq!(reasons(&started.refused), ["invalid_order_id", "order_not_found"]);
    // A repeated Start is the same attempt; the Start of another worker is rejected.
    assert_eq!(worker.start(&leases[..1]).await.attempts.len(), 1);
    let other = lease(&leases[0].order_id);
    assert_eq!(reasons(&worker.start(&[other]).await.refused), ["already_started"]);
    for lease in &leases {
        assert_eq!(worker.finish(lease).await.refused, []);
        assert_eq!(worker.finish(lease).await.refused, [], "the same report again is no error");
        let timeline = gateway.timeline(&lease.order_id).await;
        assert_eq!(timeline, [Status::Pending, Status::Processing, Status::Completed]);
    }
    drop(worker);
    gateway.stop().await;
});

/// The receive window of a worker on a slow connection.
const WINDOW_BYTES: u32 = 64 * 1024;

async fn create_large(gateway: &Gateway<'_>, count: usize) -> Vec<v1::Lease> {
    let line = serde_json::json!({"item": "x".repeat(200), "quantity": 1, "price": 1});
    let order = serde_json::json!({"lineItems": vec![line; 200]});
    let mut leases = Vec::new();
    for _ in 0..count {
        leases.push(lease(&gateway.create(order.clone()).await));
    }
    leases
}

on_both!(large_orders_follow_the_small_orders_of_a_batch, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let mut leases = create_large(&gateway, 80).await;
    let small = lease(&gateway.create_order().await);
    leases.insert(40, small.clone());
    let mut worker = Worker::connect(&gateway).await;
    // Together more than 4 MiB, the limit of tonic's and other clients.
    let first = worker.ask(Request::Start(v1::Start { leases: leases.clone() })).await;
    let Answer::Started(first) = first else { panic!("{first:?}") };
    assert_eq!(
        first.attempts.iter().map(|attempt| &attempt.lease_token).collect::<Vec<_>>(),
        [&small.lease_token]
    );
    assert!(first.more);
    let mut large = 0;
    loop {
        let Answer::Started(started) = worker.next().await else { panic!("expected Started") };
        large += started.attempts.len();
        assert_eq!(reasons(&started.refused), [""; 0], "the worker reads what it gets");
        if !started.more {
            break;
        }
    }
    assert_eq!(large, 80);
    // Also for orders that are started already.
    assert_eq!(worker.start(&leases).await.attempts.len(), 81);
    assert_eq!(gateway.timeline(&leases[0].order_id).await, [Status::Pending, Status::Processing]);
    drop(worker);
    gateway.stop().await;
});

on_both!(large_orders_that_the_connection_cannot_take_are_not_started, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let leases = create_large(&gateway, 40).await;
    let small = lease(&gateway.create_order().await);
    let endpoint = Endpoint::from_shared(gateway.grpc.clone()).unwrap();
    let channel = endpoint.initial_stream_window_size(WINDOW_BYTES).connect().await.unwrap();
    let mut worker = Worker::connect_over(OrderServiceClient::new(channel)).await;
    for (request_id, leases) in [(2, leases.clone()), (3, vec![small.clone()])] {
        let start = Request::Start(v1::Start { leases });
        worker.requests.send(v1::WorkerMessage { request_id, message: Some(start) }).await.unwrap();
    }
    let (mut started, mut refused, mut answered) = (Vec::new(), Vec::new(), Vec::new());
    while !(answered.contains(&2) && answered.contains(&3)) {
        // A slow reader: the connection accepts one receive window.
        sleep(Duration::from_millis(300)).await;
        let message = worker.answers.message().await.unwrap().unwrap();
        let Some(Answer::Started(answer)) = message.message else { panic!("{message:?}") };
        started.extend(answer.attempts.into_iter().map(|attempt| attempt.lease_token));
        refused.extend(answer.refused);
        if !answer.more {
            answered.push(message.request_id);
        }
    }
    assert!(started.contains(&small.lease_token));
    assert_eq!(started.len() + refused.len(), 41, "each order is answered once");
    assert!(reasons(&refused).iter().all(|reason| *reason == "connection_busy"), "{refused:?}");
    assert!((20..40).contains(&refused.len()), "{} refused", refused.len());
    for refused in refused {
        let order = gateway.order(&refused.lease.unwrap().order_id).await;
        assert_eq!((order.status.as_str(), order.attempt), ("pending", 0));
    }
    drop(worker);
    gateway.stop().await;
});

on_both!(a_report_needs_the_token_of_its_own_order, |on| async move {
    let backend = Backend::new(on).await;
    let mut config = Config::default();
    config.grpc.tokenless_reports = Some(false);
    let gateway = backend.gateway(config).await;
    let (first, second) = (gateway.create_order().await, gateway.create_order().await);
    let token = gateway.report(&first, "processing", "").await.unwrap().lease_token;
    let other = gateway.report(&second, "processing", "").await.unwrap().lease_token;
    for status in ["completed", "failed", "pending"] {
        let refused = gateway.report(&first, status, "").await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
        assert_eq!(refused.metadata().get(proto::ERROR_METADATA).unwrap(), "lease_token_required");
        assert!(refused.message().contains("--allow-tokenless-reports"), "{refused}");
        let stale = gateway.report(&first, status, &other).await.unwrap_err();
        assert_eq!(stale.metadata().get(proto::ERROR_METADATA).unwrap(), "stale_lease");
    }
    let stale = gateway.report(&first, "processing", &other).await.unwrap_err();
    assert_eq!(stale.metadata().get(proto::ERROR_METADATA).unwrap(), "stale_lease");
    assert_eq!(gateway.order(&first).await.status, "processing");
    gateway.report(&first, "processing", &token).await.unwrap();
    gateway.report(&first, "completed", &token).await.unwrap();
    gateway.report(&first, "completed", &token).await.unwrap();
    gateway.report(&second, "completed", &other).await.unwrap();
    gateway.stop().await;
});

/// By default the address decides: a worker on another machine needs its token.
#[tokio::test(flavor = "multi_thread")]
async fn reports_without_a_token_are_accepted_on_loopback_only() {
    for (address, accepted) in [("127.0.0.1:0", true), ("0.0.0.0:0", false)] {
        let backend = Backend::new(On::Embedded).await;
        let gateway = backend.gateway_listening(address).await;
        let id = gateway.create_order().await;
        gateway.report(&id, "processing", "").await.unwrap();
        assert_eq!(gateway.report(&id, "completed", "").await.is_ok(), accepted, "{address}");
        gateway.stop().await;
    }
}

on_both!(a_heartbeat_is_acknowledged_and_reports_lost_leases, |on| async move {
    let backend = Backend::new(on).await;
    let mut config = quick();
    config.service.rules.lease = std::time::Duration::from_secs(3);
    let gateway = backend.gateway(config).await;
    let lease = lease(&gateway.create_order().await);
    let mut worker = Worker::connect(&gateway).await;
    worker.start(std::slice::from_ref(&lease)).await;
    let heartbeat = || Request::Heartbeats(v1::Heartbeats { leases: vec![lease.clone()] });
    assert_eq!(worker.ask(heartbeat()).await, Answer::Renewed(v1::Renewed { lost: vec![] }));
    // Without heartbeats the lease expires.
    eventually("the expiry", || async { (gateway.order(&lease.order_id).await.failures == 1).then_some(()) })
        .await;
    match worker.ask(heartbeat()).await {
        Answer::Renewed(renewed) => assert_eq!(reasons(&renewed.lost), ["stale_lease"]),
        other => panic!("{other:?}"),
    }
    assert_eq!(reasons(&worker.finish(&lease).await.refused), ["stale_lease"]);
    drop(worker);
    gateway.stop().await;
});

on_both!(a_cancellation_reaches_the_worker, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let lease = lease(&gateway.create_order().await);
    let mut worker = Worker::connect(&gateway).await;
    worker.start(std::slice::from_ref(&lease)).await;
    let response =
        gateway.client.post(gateway.url(&format!("/orders/{}/cancel", lease.order_id))).send().await.unwrap();
    assert_eq!(response.status(), 200);
    match worker.next().await {
        Answer::Cancel(cancel) => assert_eq!(cancel.leases, std::slice::from_ref(&lease)),
        other => panic!("{other:?}"),
    }
    assert_eq!(reasons(&worker.finish(&lease).await.refused), ["stale_lease"]);
    drop(worker);
    gateway.stop().await;
});

on_both!(a_worker_is_told_to_drain_and_may_still_report, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let (running, waiting) = (lease(&gateway.create_order().await), lease(&gateway.create_order().await));
    let mut worker = Worker::connect(&gateway).await;
    worker.start(std::slice::from_ref(&running)).await;
    let draining = async {
        assert_eq!(worker.next().await, Answer::Drain(v1::Drain { reason: "shutting_down".to_owned() }));
        let start = Request::Start(v1::Start { leases: vec![waiting.clone()] });
        assert!(matches!(worker.ask(start).await, Answer::TryAgain(_)));
        assert_eq!(worker.finish(&running).await.refused, []);
        assert!(worker.answers.message().await.unwrap().is_none(), "the stream ends by itself");
    };
    tokio::join!(gateway.stop(), draining);
    let orders = backend
        .store
        .list(&domain::Principal::anonymous(), &domain::query::Filter::default(), None, 10)
        .await
        .unwrap();
    let mut statuses: Vec<Status> = orders.iter().map(|order| order.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [Status::Pending, Status::Completed]);
});

on_both!(a_protocol_violation_ends_the_stream, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(quick()).await;
    let (requests, outgoing) = mpsc::channel(4);
    let start = Request::Start(v1::Start { leases: vec![] });
    requests.send(v1::WorkerMessage { request_id: 1, message: Some(start) }).await.unwrap();
    let mut answers = gateway.workers().await.work(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap_err().code(), tonic::Code::InvalidArgument);

    let mut worker = Worker::connect(&gateway).await;
    let leases = vec![v1::Lease::default(); proto::MAX_BATCH + 1];
    let request = v1::WorkerMessage { request_id: 2, message: Some(Request::Start(v1::Start { leases })) };
    worker.requests.send(request).await.unwrap();
    assert_eq!(worker.answers.message().await.unwrap_err().code(), tonic::Code::InvalidArgument);
    drop((requests, worker));
    gateway.stop().await;
});

on_both!(update_status_reports_one_order_at_a_time, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let id = gateway.create_order().await;
    let reason = |result: Result<v1::UpdateStatusResponse, tonic::Status>| {
        let status = result.unwrap_err();
        (status.code(), status.metadata().get("orders-error").unwrap().to_str().unwrap().to_owned())
    };
    let failed = |reason: &str| (tonic::Code::FailedPrecondition, reason.to_owned());
    let invalid = || (tonic::Code::InvalidArgument, "invalid_input".to_owned());
    let invalid_id = (tonic::Code::InvalidArgument, "invalid_order_id".to_owned());
    assert_eq!(reason(gateway.report(&id, "completed", "").await), failed("order_not_processing"));
    assert_eq!(reason(gateway.report(&id, "PROCESSING", "").await), invalid());
    // Repeated in full it would exceed the size of a header, and the client would see a broken stream.
    assert_eq!(reason(gateway.report(&id, &"x".repeat(60_000), "").await), invalid());
    assert_eq!(reason(gateway.report("1", "processing", "").await), invalid_id);
    assert_eq!(reason(gateway.report(&id, "processing", "zz").await), invalid());

    let started = gateway.report(&id, "processing", "").await.unwrap();
    assert_eq!(started.order.unwrap().status, "processing");
    assert_eq!(reason(gateway.report(&id, "processing", "").await), failed("already_started"));
    // With the token the report is a heartbeat.
    assert_eq!(gateway.report(&id, "processing", &started.lease_token).await.unwrap().lease_ms, 30_000);
    let wrong = LeaseToken::random().to_string();
    assert_eq!(reason(gateway.report(&id, "completed", &wrong).await), failed("stale_lease"));
    for token in ["", &started.lease_token, ""] {
        let done = gateway.report(&id, "completed", token).await.unwrap();
        assert_eq!(done.order.unwrap().status, "completed");
    }
    assert_eq!(reason(gateway.report(&id, "processing", "").await), failed("order_final"));
    assert_eq!(gateway.timeline(&id).await, [Status::Pending, Status::Processing, Status::Completed]);
    gateway.stop().await;
});

on_both!(a_report_of_pending_is_a_retry, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(quick()).await;
    let id =
        gateway.create(serde_json::json!({"item": "x", "quantity": 1, "price": 1, "maxAttempts": 2})).await;
    for (attempt, expected) in [(1, "pending"), (2, "failed")] {
        let started =
            eventually("the attempt", || async { gateway.report(&id, "processing", "").await.ok() }).await;
        let ended = gateway.report(&id, "pending", &started.lease_token).await.unwrap().order.unwrap();
        assert_eq!((ended.status.as_str(), ended.attempt, ended.failures), (expected, attempt, attempt));
    }
    gateway.stop().await;
});

/// A gateway that froze in a transaction locks one order; the others are processed.
#[tokio::test(flavor = "multi_thread")]
async fn only_the_locked_order_is_answered_try_again() {
    let backend = Backend::new(On::Servers).await;
    let gateway = backend.gateway(Config::default()).await;
    let leases = [lease(&gateway.create_order().await), lease(&gateway.create_order().await)];
    let mut worker = Worker::connect(&gateway).await;
    let mut frozen = Database::connect(backend.url()).await.unwrap();
    let id: domain::OrderId = leases[1].order_id.parse().unwrap();
    let lock = async |frozen: &mut Database| {
        frozen.run("START TRANSACTION").await.unwrap();
        let id = id.to_string().replace('-', "");
        frozen.run(format!("SELECT id FROM orders WHERE id = x'{id}' FOR UPDATE")).await.unwrap();
    };
    let try_again = vec![v1::Refused {
        lease: Some(leases[1].clone()),
        reason: "try_again".into(),
        ..v1::Refused::default()
    }];

    lock(&mut frozen).await;
    let started = worker.start(&leases).await;
    assert_eq!((started.attempts.len(), started.refused), (1, try_again.clone()));
    frozen.run("ROLLBACK").await.unwrap();
    assert_eq!(worker.start(&leases[1..]).await.attempts.len(), 1);

    lock(&mut frozen).await;
    let report = |lease: &v1::Lease| v1::Report {
        lease: Some(lease.clone()),
        outcome: Some(v1::report::Outcome::Completed(v1::Completed { result: None })),
    };
    let finish = Request::Finish(v1::Finish { reports: leases.iter().map(report).collect() });
    assert_eq!(worker.ask(finish).await, Answer::Finished(v1::Finished { refused: try_again }));
    frozen.run("ROLLBACK").await.unwrap();
    assert_eq!(worker.finish(&leases[1]).await.refused, []);
    drop(worker);
    gateway.stop().await;
}
