//! The stream of a worker that the gateway assigns jobs to.

use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::transition::{Command, Rules};
use domain::{LeaseToken, Limits, OrderId, Outcome, Status, TenantId, WorkerName};
use gateway::store::{CommandOutcome, CreateRequest, DirectStart, InsertPlan, NewOrder, Options};
use gateway::{Config, Store};
use proto::v1;
use proto::v1::claim_request::Message as Request;
use proto::v1::claim_response::Message as Response;
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::access::with_keys;
use crate::harness::{Backend, Gateway, On, PATIENCE, check_invariants, eventually, requester};
use crate::lost_commits::{LOSE_ANSWER, Way, sweep_elsewhere};
use crate::on_both;
use crate::quotas::tenant;

/// A worker whose messages the test writes.
pub(crate) struct Claimer {
    requests: mpsc::Sender<v1::ClaimRequest>,
    responses: tonic::Streaming<v1::ClaimResponse>,
    /// The number of the latest Jobs message.
    jobs: u64,
    results: u64,
}

impl Claimer {
    pub(crate) async fn open(gateway: &Gateway<'_>, key: Option<&str>) -> Self {
        let mut client = gateway.claimers().await;
        let (requests, outgoing) = mpsc::channel(16);
        let mut stream = tonic::Request::new(ReceiverStream::new(outgoing));
        if let Some(key) = key {
            stream.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        }
        let responses = client.claim(stream).await.unwrap().into_inner();
        Self { requests, responses, jobs: 0, results: 0 }
    }

    pub(crate) async fn connect(gateway: &Gateway<'_>, credits: u32) -> Self {
        let mut worker = Self::open(gateway, None).await;
        worker.hello(Vec::new(), credits).await;
        worker
    }

    /// Connects a worker for some kinds of orders.
    pub(crate) async fn connect_for(gateway: &Gateway<'_>, credits: u32, kinds: &[&str]) -> Self {
        let mut worker = Self::open(gateway, None).await;
        worker.hello_for(kinds, Vec::new(), credits).await;
        worker
    }

    /// Returns the error that ends the stream of a worker for these kinds.
    pub(crate) async fn refused_for(gateway: &Gateway<'_>, kinds: &[&str]) -> tonic::Status {
        let mut worker = Self::open(gateway, None).await;
        let kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        let hello = v1::ClaimHello { protocol: 1, kinds, ..Default::default() };
        worker.send(Request::Hello(hello), 1).await;
        worker.try_next().await.unwrap_err()
    }

    /// Grants further credits.
    pub(crate) async fn grant(&mut self, credits: u32) {
        self.send(Request::Heartbeat(v1::Heartbeat {}), credits).await;
    }

    /// Sends Hello and returns the lost leases.
    pub(crate) async fn hello(&mut self, running: Vec<v1::Lease>, credits: u32) -> Vec<v1::Refused> {
        self.hello_for(&[], running, credits).await
    }

    async fn hello_for(&mut self, kinds: &[&str], running: Vec<v1::Lease>, credits: u32) -> Vec<v1::Refused> {
        let hello = v1::ClaimHello {
            protocol: 1,
            worker_id: "test".into(),
            slots: credits,
            running,
            kinds: kinds.iter().map(|kind| (*kind).to_owned()).collect(),
            ..Default::default()
        };
        self.send(Request::Hello(hello), credits).await;
        let Response::Welcome(welcome) = self.next().await else { panic!("expected ClaimWelcome") };
        assert!(welcome.heartbeat_interval_ms * 3 <= welcome.lease_ms);
        welcome.lost
    }

    /// Sends a message that confirms all received jobs.
    pub(crate) async fn send(&mut self, message: Request, credits: u32) {
        let request = v1::ClaimRequest { received: self.jobs, credits, message: Some(message) };
        self.requests.send(request).await.unwrap();
    }

    /// Returns the next message, or the error that ends the stream; `None` at its end.
    pub(crate) async fn try_next(&mut self) -> Result<Option<Response>, tonic::Status> {
        Ok(self.responses.message().await?.map(|response| response.message.unwrap()))
    }

    pub(crate) async fn next(&mut self) -> Response {
        self.try_next().await.unwrap().expect("a message")
    }

    /// Returns the next jobs, without a confirmation.
    pub(crate) async fn jobs(&mut self) -> Vec<v1::Attempt> {
        loop {
            match self.next().await {
                Response::Jobs(jobs) => {
                    assert_eq!(jobs.number, self.jobs + 1);
                    self.jobs = jobs.number;
                    return jobs.jobs;
                }
                Response::Heartbeat(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn job(&mut self) -> v1::Attempt {
        let mut jobs = self.jobs().await;
        assert_eq!(jobs.len(), 1);
        jobs.remove(0)
    }

    pub(crate) async fn report(
        &mut self,
        lease: v1::Lease,
        outcome: v1::report::Outcome,
    ) -> Vec<v1::Refused> {
        self.results += 1;
        let report = v1::Report { lease: Some(lease), outcome: Some(outcome) };
        let number = self.results;
        self.send(Request::Results(v1::Results { number, reports: vec![report] }), 0).await;
        loop {
            match self.next().await {
                Response::ResultsRecorded(recorded) => {
                    assert_eq!(recorded.number, number);
                    return recorded.refused;
                }
                Response::Heartbeat(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn complete(&mut self, job: &v1::Attempt) -> Vec<v1::Refused> {
        self.report(lease(job), v1::report::Outcome::Completed(v1::Completed { result: None })).await
    }

    /// Saves a checkpoint, and returns its refusal.
    pub(crate) async fn save(&mut self, job: &v1::Attempt, json: &str) -> Option<v1::Refused> {
        self.results += 1;
        let number = self.results;
        let checkpoint = v1::Checkpoint { number, lease: Some(lease(job)), json: json.to_owned() };
        self.send(Request::Checkpoint(checkpoint), 0).await;
        loop {
            match self.next().await {
                Response::CheckpointRecorded(recorded) => {
                    assert_eq!(recorded.number, number);
                    return recorded.refused;
                }
                Response::Heartbeat(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

pub(crate) fn lease(job: &v1::Attempt) -> v1::Lease {
    let order = job.order.as_ref().unwrap();
    v1::Lease { order_id: order.order_id.clone(), lease_token: job.lease_token.clone() }
}

pub(crate) fn id(job: &v1::Attempt) -> &str {
    &job.order.as_ref().unwrap().order_id
}

/// Waits until a new order would go directly to a worker: dispatch has seen that no order waits.
pub(crate) async fn nothing_waits(gateway: &Gateway<'_>) {
    eventually("dispatch is idle", || async {
        let ready = gateway.client.get(gateway.url("/readyz")).send().await.ok()?;
        ready.status().is_success().then_some(())
    })
    .await;
}

on_both!(a_new_order_is_started_with_its_creation, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let mut worker = Claimer::connect(&gateway, 2).await;
    nothing_waits(&gateway).await;
    let created = gateway.create_full(json!({"item": "Vase", "quantity": 2, "price": 9.5})).await;
    assert_eq!((created["status"].as_str(), created["sequence"].as_u64()), (Some("pending"), Some(1)));
    let job = worker.job().await;
    let order = job.order.clone().unwrap();
    assert_eq!(Some(order.order_id.as_str()), created["id"].as_str());
    assert_eq!((order.status.as_str(), order.sequence, order.attempt), ("processing", 2, 1));
    assert_eq!(order.worker.as_deref(), Some("test"));
    let shown = gateway.order(id(&job)).await;
    assert_eq!((shown.status.as_str(), shown.worker.as_deref()), ("processing", Some("test")));
    assert_eq!(worker.complete(&job).await, []);
    assert_eq!(worker.complete(&job).await, [], "the same report again is no error");
    let timeline = gateway.timeline(id(&job)).await;
    assert_eq!(timeline, [Status::Pending, Status::Processing, Status::Completed]);
    drop(worker);
    gateway.stop().await;
    check_invariants(&backend.store).await;
});

on_both!(orders_wait_for_credits, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    // These wait in the queue, in any sequence: each is pushed in a separate task.
    let waiting = [gateway.create_order().await, gateway.create_order().await];
    let mut worker = Claimer::connect(&gateway, 1).await;
    let first = worker.job().await;
    assert!(waiting.iter().any(|order| order == id(&first)));
    worker.complete(&first).await;
    // A heartbeat is answered, and no job comes without a credit.
    worker.send(Request::Heartbeat(v1::Heartbeat {}), 0).await;
    assert!(matches!(worker.next().await, Response::Heartbeat(_)));
    worker.send(Request::Heartbeat(v1::Heartbeat {}), 1).await;
    let second = worker.job().await;
    assert!(waiting.iter().any(|order| order == id(&second)) && id(&first) != id(&second));
    worker.complete(&second).await;
    drop(worker);
    gateway.stop().await;
});

on_both!(unconfirmed_jobs_return_and_count_as_no_attempt, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let mut worker = Claimer::connect(&gateway, 5).await;
    nothing_waits(&gateway).await;
    let order = gateway.create_order().await;
    worker.job().await;
    drop(worker);
    eventually("the order is pending again", || async {
        let order = gateway.order(&order).await;
        (order.status == "pending").then_some(())
    })
    .await;
    let shown = gateway.order(&order).await;
    assert_eq!((shown.attempt, shown.failures), (0, 0));
    assert_eq!(shown.reason.as_deref(), Some("the job did not reach a worker"));
    let mut worker = Claimer::connect(&gateway, 5).await;
    let job = worker.job().await;
    assert_eq!((id(&job), job.order.as_ref().unwrap().attempt), (order.as_str(), 1));
    worker.complete(&job).await;
    drop(worker);
    gateway.stop().await;
    check_invariants(&backend.store).await;
});

on_both!(confirmed_jobs_are_resumed_at_another_gateway, |on| async move {
    let backend = Backend::new(on).await;
    let first = backend.gateway(Config::default()).await;
    let second = backend.gateway(Config::default()).await;
    let mut worker = Claimer::connect(&first, 2).await;
    nothing_waits(&first).await;
    first.create_order().await;
    let job = worker.job().await;
    worker.send(Request::Heartbeat(v1::Heartbeat {}), 0).await;
    assert!(matches!(worker.next().await, Response::Heartbeat(_)));
    drop(worker);
    let mut worker = Claimer::open(&second, None).await;
    let mut stale = lease(&job);
    stale.lease_token = "00000000000000ff".into();
    stale.order_id = first.create_order().await;
    let lost = worker.hello(vec![lease(&job), stale.clone()], 0).await;
    assert_eq!(lost.len(), 1);
    assert_eq!((lost[0].lease.as_ref(), lost[0].reason.as_str()), (Some(&stale), "stale_lease"));
    assert_eq!(worker.complete(&job).await, []);
    let timeline = first.timeline(id(&job)).await;
    assert_eq!(timeline, [Status::Pending, Status::Processing, Status::Completed]);
    drop(worker);
    first.stop().await;
    second.stop().await;
});

on_both!(heartbeats_renew_the_leases_of_the_stream, |on| async move {
    let backend = Backend::new(on).await;
    let lease_time = Duration::from_millis(1_500);
    let rules = Rules { lease: lease_time, ..Rules::default() };
    let mut config = Config::default();
    config.service.rules = rules;
    let gateway = backend.gateway(config).await;
    let mut worker = Claimer::connect(&gateway, 2).await;
    nothing_waits(&gateway).await;
    gateway.create_order().await;
    let job = worker.job().await;
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < 3 * lease_time {
        worker.send(Request::Heartbeat(v1::Heartbeat {}), 0).await;
        assert!(matches!(worker.next().await, Response::Heartbeat(_)));
        tokio::time::sleep(lease_time / 3).await;
    }
    assert_eq!(gateway.timeline(id(&job)).await, [Status::Pending, Status::Processing]);
    // Without heartbeats, the gateway ends the stream, and the lease expires.
    let ended = loop {
        match worker.try_next().await {
            Ok(message) => assert!(matches!(message, Some(Response::Heartbeat(_))), "{message:?}"),
            Err(status) => break status,
        }
    };
    assert_eq!(ended.code(), tonic::Code::DeadlineExceeded, "{ended:?}");
    assert!(ended.message().contains("send a Heartbeat every 500 ms"), "{ended:?}");
    eventually("the lease has expired", || async {
        (gateway.order(id(&job)).await.error_class.as_deref() == Some("lease_expired")).then_some(())
    })
    .await;
    gateway.stop().await;
});

on_both!(a_cancelled_order_is_announced, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let mut worker = Claimer::connect(&gateway, 2).await;
    nothing_waits(&gateway).await;
    gateway.create_order().await;
    let job = worker.job().await;
    let cancel = gateway.url(&format!("/orders/{}/cancel", id(&job)));
    assert!(gateway.client.post(cancel).send().await.unwrap().status().is_success());
    let Response::Cancel(cancel) = worker.next().await else { panic!("expected Cancel") };
    assert_eq!(cancel.leases, [lease(&job)]);
    let refused = worker.complete(&job).await;
    assert_eq!((refused[0].reason.as_str(), refused[0].status.as_str()), ("stale_lease", "cancelled"));
    drop(worker);
    gateway.stop().await;
});

on_both!(outcomes_are_recorded, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let mut worker = Claimer::connect(&gateway, 10).await;
    nothing_waits(&gateway).await;
    let retry = |after_ms| {
        v1::report::Outcome::Retry(v1::Retry {
            reason: "busy".into(),
            after_ms,
            error_class: "http_503".into(),
        })
    };
    let failed = v1::Failed { reason: "no such card".into(), error_class: "card_declined".into() };
    for (outcome, expected) in [
        (retry(Some(60_000)), ("pending", 1, 0, Some("http_503"))),
        (v1::report::Outcome::Failed(failed), ("failed", 1, 1, Some("card_declined"))),
        (v1::report::Outcome::Released(v1::Released {}), ("pending", 1, 0, None)),
    ] {
        gateway.create_order().await;
        let job = worker.job().await;
        assert_eq!(worker.report(lease(&job), outcome).await, []);
        let order = gateway.order(id(&job)).await;
        let shown = (order.status.as_str(), order.attempt, order.failures, order.error_class.as_deref());
        // A released order goes to the worker again at once.
        if expected.3.is_some() {
            assert_eq!(shown, expected);
        } else {
            let again = worker.job().await;
            assert_eq!((id(&again), again.order.as_ref().unwrap().attempt), (id(&job), 2));
        }
    }
    drop(worker);
    gateway.stop().await;
});

on_both!(a_paused_queue_starts_no_new_order, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let mut worker = Claimer::connect(&gateway, 2).await;
    nothing_waits(&gateway).await;
    let pause = gateway.client.post(gateway.url("/queue/pause")).json(&json!({})).send().await.unwrap();
    assert!(pause.status().is_success());
    let order = gateway.create_order().await;
    assert_eq!(gateway.timeline(&order).await, [Status::Pending]);
    let resume = gateway.client.post(gateway.url("/queue/resume")).send().await.unwrap();
    assert!(resume.status().is_success());
    assert_eq!(id(&worker.job().await), order);
    drop(worker);
    gateway.stop().await;
});

on_both!(invalid_streams_are_refused, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let hello = |protocol| Request::Hello(v1::ClaimHello { protocol, ..Default::default() });
    let results = |count| {
        let reports = vec![v1::Report::default(); count];
        Request::Results(v1::Results { number: 1, reports })
    };
    for (messages, code, words) in [
        (vec![Request::Heartbeat(v1::Heartbeat {})], tonic::Code::InvalidArgument, "must be ClaimHello"),
        (vec![hello(0)], tonic::Code::FailedPrecondition, "this gateway 1"),
        (vec![hello(2)], tonic::Code::FailedPrecondition, "protocol 2"),
        (vec![hello(1), hello(1)], tonic::Code::InvalidArgument, "only once"),
        (vec![hello(1), results(1_001)], tonic::Code::InvalidArgument, "at most 1000 entries"),
    ] {
        let mut worker = Claimer::open(&gateway, None).await;
        for message in messages {
            worker.send(message, 0).await;
        }
        let status = loop {
            match worker.try_next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the stream has ended without an error"),
                Err(status) => break status,
            }
        };
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(words), "{status:?}");
    }
    // An invalid report is refused alone.
    let mut worker = Claimer::connect(&gateway, 0).await;
    worker.send(results(2), 0).await;
    let Response::ResultsRecorded(recorded) = worker.next().await else { panic!("expected ResultsRecorded") };
    assert_eq!(recorded.refused.len(), 2);
    drop(worker);
    gateway.stop().await;
});

on_both!(a_draining_worker_gets_no_jobs, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(Config::default()).await;
    let mut worker = Claimer::connect(&gateway, 2).await;
    nothing_waits(&gateway).await;
    gateway.create_order().await;
    let job = worker.job().await;
    // It has not received the second job when it begins to drain.
    let unconfirmed = gateway.create_order().await;
    worker.job().await;
    worker.jobs = 1;
    worker.send(Request::Drain(v1::WorkerDrain {}), 5).await;
    let mut other = Claimer::connect(&gateway, 2).await;
    let returned = other.job().await;
    assert_eq!((id(&returned), returned.order.as_ref().unwrap().attempt), (unconfirmed.as_str(), 1));
    other.complete(&returned).await;
    assert_eq!(worker.complete(&job).await, []);
    let order = gateway.create_order().await;
    let job = other.job().await;
    assert_eq!(id(&job), order);
    other.complete(&job).await;
    // The gateway drains as well, and ends the stream when no job runs.
    let stopping = gateway.stop();
    tokio::pin!(stopping);
    let ends = async {
        while let Ok(Some(message)) = worker.try_next().await {
            assert!(matches!(message, Response::Drain(_) | Response::Heartbeat(_)), "{message:?}");
        }
        drop(worker);
        drop(other);
    };
    tokio::join!(stopping, ends);
});

on_both!(workers_of_a_tenant_get_its_orders, |on| async move {
    let backend = Backend::new(on).await;
    let gateway = backend.gateway(with_keys()).await;
    let [own, _] = tenant(&backend, "acme", Limits::default()).await;
    let [others, _] = tenant(&backend, "globex", Limits::default()).await;
    let mut worker = Claimer::open(&gateway, Some(&own)).await;
    worker.hello(Vec::new(), 4).await;
    let create = |key: &str| {
        let request = gateway.client.post(gateway.url("/orders")).bearer_auth(key);
        async move {
            let body = json!({"item": "Vase", "quantity": 1, "price": 1});
            let created = request.json(&body).send().await.unwrap();
            let created: serde_json::Value = created.json().await.unwrap();
            created["id"].as_str().unwrap().to_owned()
        }
    };
    create(&others).await;
    let mut expected = Vec::new();
    for _ in 0..4 {
        expected.push(create(&own).await);
    }
    let mut got = Vec::new();
    while got.len() < expected.len() {
        let jobs = worker.jobs().await;
        got.extend(jobs.iter().map(|job| id(job).to_owned()));
    }
    got.sort_unstable();
    expected.sort_unstable();
    assert_eq!(got, expected);
    drop(worker);
    gateway.stop().await;
});

on_both!(a_started_order_has_two_events_from_its_creation, |on| async move {
    let backend = Backend::new(on).await;
    let store = &backend.store;
    let create = |worker: Option<&str>| {
        let draft = domain::Draft {
            item: Some("Vase".into()),
            quantity: Some(1),
            price: Some("9.50".into()),
            ..domain::Draft::default()
        };
        let content = draft.check(domain::Currency::USD).unwrap();
        let now = store.now();
        let order = NewOrder::new(OrderId::new(now), TenantId::default(), content, now);
        let start = DirectStart {
            lease: LeaseToken::random(),
            until: now + Duration::from_secs(30),
            at: now,
            worker: worker.and_then(WorkerName::clean),
        };
        (order, start)
    };
    let insert = |order: &NewOrder, start: &DirectStart| {
        let starts = [(order.id, start.clone())].into_iter().collect();
        let plan = InsertPlan { starts, ..InsertPlan::default() };
        store.insert_planned([CreateRequest::from(order.clone())].into(), plan.into())
    };
    for worker in [Some("w-1"), None] {
        let (order, start) = create(worker);
        assert!(insert(&order, &start).await.unwrap().started);
        let events = store.timelines(&domain::Principal::anonymous(), &[(order.id, 0)]).await.unwrap().events;
        let expected = [order.event(), start.event(&order)];
        assert_eq!(events.iter().map(|event| (**event).clone()).collect::<Vec<_>>(), expected);
        let report = Command::Finish { lease: start.lease, outcome: Outcome::Completed };
        let outcomes = store.apply([(order.id, report)].into(), Rules::default()).await.unwrap();
        assert!(matches!(outcomes[0], CommandOutcome::Changed { .. }), "{outcomes:?}");
    }
    store.pause(None, None, &requester()).await.unwrap();
    let (order, start) = create(None);
    assert!(!insert(&order, &start).await.unwrap().started);
    assert_eq!(
        store.timelines(&domain::Principal::anonymous(), &[(order.id, 0)]).await.unwrap().events.len(),
        1
    );
    check_invariants(store).await;
});

/// Without the registration, a gateway without workers would report that there are none.
#[tokio::test(flavor = "multi_thread")]
async fn workers_are_counted_at_every_gateway() {
    let backend = Backend::new(On::Servers).await;
    let first = backend.gateway(Config::default()).await;
    let second = backend.gateway(Config::default()).await;
    let worker = Claimer::connect(&first, 1).await;
    let workers = async || {
        let queue = second.client.get(second.url("/queue")).send().await.ok()?;
        queue.json::<serde_json::Value>().await.ok()?["workers"].as_u64()
    };
    eventually("the worker is counted", || async { (workers().await == Some(1)).then_some(()) }).await;
    drop(worker);
    eventually("no worker is counted", || async { (workers().await == Some(0)).then_some(()) }).await;
    first.stop().await;
    second.stop().await;
}

/// The order is found by its id, and its worker gets it.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_response_to_commit_keeps_the_start() {
    let backend = Backend::new(On::Servers).await;
    sweep_elsewhere(&backend).await;
    let way = Way::to(backend.url()).await;
    let store = Store::connect(&way.url, &Options::default()).await.unwrap();
    let gateway = backend.gateway_with(store, Config::default()).await;
    let mut worker = Claimer::connect(&gateway, 1).await;
    nothing_waits(&gateway).await;
    way.mode.store(LOSE_ANSWER, Ordering::SeqCst);
    let order = gateway.create_order().await;
    assert_eq!(way.lost.load(Ordering::SeqCst), 1);
    let job = worker.job().await;
    assert_eq!(id(&job), order);
    assert_eq!(worker.complete(&job).await, []);
    let timeline = gateway.timeline(&order).await;
    assert_eq!(timeline, [Status::Pending, Status::Processing, Status::Completed]);
    drop(worker);
    gateway.stop().await;
    check_invariants(&backend.store).await;
}

/// The start of a job from the queue is repeated with its lease, which finds the first start.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_response_to_the_commit_of_a_queued_start_keeps_the_job() {
    let backend = Backend::new(On::Servers).await;
    sweep_elsewhere(&backend).await;
    let way = Way::to(backend.url()).await;
    let store = Store::connect(&way.url, &Options::default()).await.unwrap();
    let gateway = backend.gateway_with(store, Config::default()).await;
    let order = gateway.create_order().await;
    let mut worker = Claimer::open(&gateway, None).await;
    worker.hello(Vec::new(), 0).await;
    way.mode.store(LOSE_ANSWER, Ordering::SeqCst);
    worker.send(Request::Heartbeat(v1::Heartbeat {}), 1).await;
    let job = worker.job().await;
    assert_eq!(way.lost.load(Ordering::SeqCst), 1);
    assert_eq!(id(&job), order);
    assert_eq!(worker.complete(&job).await, []);
    let timeline = gateway.timeline(&order).await;
    assert_eq!(timeline, [Status::Pending, Status::Processing, Status::Completed]);
    drop(worker);
    gateway.stop().await;
    check_invariants(&backend.store).await;
}

/// A worker is sent to another gateway after a while, with its jobs, and only if there is one.
#[tokio::test(flavor = "multi_thread")]
async fn workers_move_when_gateways_are_added() {
    let backend = Backend::new(On::Servers).await;
    let mut config = Config::default();
    config.grpc.rebalance_after = Duration::from_millis(100);
    let gateway = backend.gateway(config).await;
    let id = gateway.create_order().await;
    let mut worker = Claimer::connect(&gateway, 5).await;
    let job = worker.job().await;
    // Several times the pause of a single gateway.
    let began = tokio::time::Instant::now();
    while began.elapsed() < Duration::from_secs(1) {
        worker.send(Request::Heartbeat(v1::Heartbeat {}), 0).await;
        assert!(matches!(worker.next().await, Response::Heartbeat(_)));
    }
    let other = backend.gateway(Config::default()).await;
    let drained = async {
        loop {
            match worker.next().await {
                Response::Drain(drain) => return drain.reason,
                message => assert!(matches!(message, Response::Heartbeat(_)), "{message:?}"),
            }
            worker.send(Request::Heartbeat(v1::Heartbeat {}), 0).await;
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, drained).await.as_deref(), Ok("rebalance"));
    let mut moved = Claimer::open(&other, None).await;
    assert_eq!(moved.hello(vec![lease(&job)], 0).await, []);
    assert_eq!(moved.complete(&job).await, []);
    assert_eq!(gateway.order(&id).await.status, "completed");
    drop((worker, moved));
    gateway.stop().await;
    other.stop().await;
}
