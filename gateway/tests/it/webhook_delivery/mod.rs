//! Events are delivered to webhook endpoints: each one, and those of an order in their sequence, whatever fails meanwhile.

mod receiver;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use domain::transition::{Command, Rules};
use domain::{
    DisabledReason, EndpointId, EndpointState, LeaseToken, OrderId, Outcome, Principal, WebhookFormat,
    WebhookPayload,
};
use gateway::Config;
use gateway::service::event_log::EventLog;
use gateway::service::{Service, ServiceParts};
use gateway::store::WebhookEndpoint;
use gateway::webhooks::{
    self, CreatedEndpoint, EndpointChanges, NewEndpoint, RecoveryRange, RotateSecret, SecretKeys, Webhooks,
};

use test_database::Database;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::receiver::{Receiver, Reply};
use crate::event_log::insert;
use crate::harness::{Backend, Gateway, On, PATIENCE, eventually};
use crate::on_both;

/// A backend, and the use cases of webhooks as another gateway has them.
struct Setup {
    backend: Backend,
    webhooks: Webhooks,
    config: Config,
    caller: Principal,
}

impl Setup {
    async fn new(on: On) -> Self {
        let backend = Backend::new(on).await;
        let config = Config {
            webhooks: webhooks::Config {
                allowed_networks: "127.0.0.0/8".parse().unwrap(),
                secret_keys: SecretKeys::generate_line().parse().unwrap(),
                ..webhooks::Config::default()
            },
            ..Config::default()
        };
        let store = backend.gateway_store().await;
        let log = EventLog::new(&store, &store.installation().await.unwrap());
        let webhooks = Webhooks::new(store, log, config.webhooks.clone()).unwrap();
        Self { backend, webhooks, config, caller: Principal::anonymous() }
    }

    async fn gateway(&self) -> Gateway<'_> {
        self.backend.gateway(self.config.clone()).await
    }

    async fn run_sql(&self, sql: &str) {
        let mut database = Database::connect(self.backend.url()).await.unwrap();
        assert!(database.run(sql).await.unwrap() > 0, "{sql}");
    }

    async fn create(&self, new: NewEndpoint) -> CreatedEndpoint {
        self.webhooks.create(&self.caller, new, None).await.unwrap()
    }

    async fn endpoint(&self, id: EndpointId) -> WebhookEndpoint {
        self.webhooks.get(&self.caller, id).await.unwrap().endpoint
    }

    /// Waits until an endpoint is in a state.
    async fn until(&self, id: EndpointId, state: EndpointState) -> WebhookEndpoint {
        eventually("the state of the endpoint", || async {
            Some(self.endpoint(id).await).filter(|endpoint| endpoint.state == state)
        })
        .await
    }

    /// Creates, starts and completes orders: three events each.
    async fn process(&self, count: usize) -> Vec<OrderId> {
        let ids = insert(&self.backend.store, count).await;
        self.complete(&ids).await;
        ids
    }

    async fn complete(&self, ids: &[OrderId]) {
        let store = &self.backend.store;
        let lease = LeaseToken::random();
        for command in [Command::start(lease), Command::Finish { lease, outcome: Outcome::Completed }] {
            let commands = ids.iter().map(|id| (*id, command.clone())).collect();
            store.apply(commands, Rules::default()).await.unwrap();
        }
    }
}

/// The events of orders that were created and completed.
fn events_of(ids: &[OrderId]) -> HashSet<(OrderId, u64)> {
    ids.iter().flat_map(|id| (1..=3).map(|sequence| (*id, sequence))).collect()
}

/// Waits until the receiver has accepted these events, and checks that each was accepted once.
async fn until_each_once(receiver: &Receiver, events: &HashSet<(OrderId, u64)>) {
    until_all(receiver, events).await;
    let ledger = receiver.ledger();
    let repeated: Vec<_> = ledger.iter().filter(|(_, count)| **count > 1).collect();
    assert!(repeated.is_empty(), "{repeated:?}");
    assert_eq!(ledger.len(), events.len());
}

async fn until_all(receiver: &Receiver, events: &HashSet<(OrderId, u64)>) -> HashMap<(OrderId, u64), usize> {
    eventually("all events", || async {
        let ledger = receiver.ledger();
        events.iter().all(|event| ledger.contains_key(event)).then_some(ledger)
    })
    .await
}

on_both!(events_arrive_signed_with_the_bytes_of_the_event_log, |on| async move {
    let setup = Setup::new(on).await;
    let (gateway, receiver) = (setup.gateway().await, Receiver::start().await);
    let before = setup.process(1).await;
    crate::event_log::number(&setup.backend.store).await;
    let created = setup.create(NewEndpoint::new(receiver.url())).await;
    let ids = setup.process(20).await;
    until_each_once(&receiver, &events_of(&ids)).await;
    let received = receiver.received();
    assert!(received.iter().all(|received| received.is_signed_with(&created.secret)));
    let page =
        gateway.client.get(gateway.url("/events?limit=1000")).send().await.unwrap().text().await.unwrap();
    for received in &received {
        assert_eq!(received.content_type, "application/json");
        let body = String::from_utf8(received.bytes.to_vec()).unwrap();
        assert!(page.contains(&body), "{body}");
        assert_eq!(received.body["id"], received.id.as_str());
    }
    assert!(before.iter().all(|id| !received.iter().any(|received| received.event().0 == *id)));
    gateway.stop().await;
});

on_both!(endpoints_select_events_and_the_form_of_bodies, |on| async move {
    let setup = Setup::new(on).await;
    let (gateway, receiver) = (setup.gateway().await, Receiver::start().await);
    let new = |format, payload, types: &str, currency: Option<&str>| NewEndpoint {
        format,
        payload,
        types: types.parse().unwrap(),
        currency: currency.map(|code| code.parse().unwrap()),
        ..NewEndpoint::new(receiver.url())
    };
    setup.create(new(WebhookFormat::Standard, WebhookPayload::Thin, "order.completed", None)).await;
    setup.create(new(WebhookFormat::CloudEvents, WebhookPayload::Full, "order.created", Some("USD"))).await;
    setup.create(new(WebhookFormat::Standard, WebhookPayload::Full, "order.*", Some("EUR"))).await;
    let id = setup.process(1).await[0];
    let received = eventually("two requests", || async {
        Some(receiver.received()).filter(|received| received.len() == 2)
    })
    .await;
    let of = |kind: &str| received.iter().find(|received| received.kind() == kind).unwrap().clone();
    let thin = of("order.completed");
    assert_eq!(thin.body["data"], serde_json::json!({"orderId": id.to_string(), "sequence": 3}));
    assert_eq!(thin.body["id"], format!("{id}-3"));
    let cloud = of("order.created");
    assert_eq!(cloud.content_type, "application/cloudevents+json");
    assert_eq!(cloud.body["specversion"], "1.0");
    assert_eq!(cloud.body["source"], "/tenants/default/orders");
    assert_eq!(cloud.body["subject"], id.to_string());
    assert_eq!(cloud.body["id"], cloud.id.as_str());
    assert_eq!(cloud.body["data"]["order"]["total"], 1.0);
    gateway.stop().await;
});

on_both!(
    /// The receiver is away, comes back, and has everything once.
    a_receiver_that_is_down_misses_nothing, |on| async move {
    let setup = Setup::new(on).await;
    let (gateway, receiver) = (setup.gateway().await, Receiver::start().await);
    let id = setup.create(NewEndpoint::new(receiver.url())).await.endpoint.endpoint.id;
    let mut ids = setup.process(5).await;
    until_each_once(&receiver, &events_of(&ids)).await;
    receiver.stop().await;
    ids.extend(setup.process(5).await);
    let failing = setup.until(id, EndpointState::Failing).await;
    assert!(failing.failing_since.is_some() && failing.last_error.unwrap().contains("onnect"));
    ids.extend(setup.process(200).await);
    receiver.resume().await;
    until_each_once(&receiver, &events_of(&ids)).await;
    let active = setup.until(id, EndpointState::Active).await;
    assert_eq!((active.failing_since, active.failures), (None, 0));
    eventually("the end of the log", || async {
        let status = setup.webhooks.get(&setup.caller, id).await.unwrap();
        (status.lag.events == 0 && status.messages.waiting == 0).then_some(())
    })
    .await;
    gateway.stop().await;
});

on_both!(
    /// The events of one order fail. Those of the others arrive, and its own wait in their sequence.
    a_poison_event_blocks_its_order_only, |on| async move {
    let setup = Setup::new(on).await;
    let (gateway, receiver) = (setup.gateway().await, Receiver::start().await);
    let id = setup.create(NewEndpoint::new(receiver.url())).await.endpoint.endpoint.id;
    let poison = insert(&setup.backend.store, 1).await[0];
    receiver.answer(move |received| Reply::Status(if received.event().0 == poison { 500 } else { 204 }));
    let ids = setup.process(20).await;
    until_each_once(&receiver, &events_of(&ids)).await;
    setup.complete(&[poison]).await;
    let waiting = eventually("the events of the order wait", || async {
        let messages = setup.webhooks.messages(&setup.caller, id, None, 100).await.unwrap();
        Some(messages).filter(|messages| messages.len() == 3)
    })
    .await;
    let attempts: Vec<u32> = waiting.iter().map(|message| message.attempts).collect();
    assert!(attempts[0] >= 1 && attempts[1..] == [0, 0], "{attempts:?}");
    assert_eq!(setup.endpoint(id).await.state, EndpointState::Active);
    assert_eq!(waiting[0].last_error.as_deref(), Some("the endpoint answered 500"));
    receiver.answer(|_| Reply::Status(200));
    let mut all = events_of(&ids);
    all.extend(events_of(&[poison]));
    until_each_once(&receiver, &all).await;
    let attempts = setup.webhooks.attempts(&setup.caller, id, Some(false), None, 10).await.unwrap();
    assert!(attempts.iter().all(|attempt| attempt.message_id == format!("{poison}-1")));
    assert_eq!(attempts.last().map(|attempt| (attempt.attempt, attempt.status)), Some((1, Some(500))));
    assert_eq!(attempts[0].response, b"as the test says");
    gateway.stop().await;
});

on_both!(
    /// A message that has used up its attempts has failed; the later events of its order are sent.
    a_message_fails_after_its_last_attempt, |on| async move {
    let setup = Setup::new(on).await;
    let (gateway, receiver) = (setup.gateway().await, Receiver::start().await);
    let id = setup.create(NewEndpoint::new(receiver.url())).await.endpoint.endpoint.id;
    let poison = insert(&setup.backend.store, 1).await[0];
    receiver.answer(move |received| Reply::Status(if received.event() == (poison, 1) { 400 } else { 204 }));
    let waiting = || async { setup.webhooks.messages(&setup.caller, id, None, 100).await.unwrap() };
    eventually("the message waits", || async { (waiting().await.len() == 1).then_some(()) }).await;
    gateway.stop().await;
    setup.run_sql("UPDATE webhook_messages SET attempts = 9, due_at = 0").await;
    let gateway = setup.gateway().await;
    eventually("the message has failed", || async {
        (waiting().await[0].state.as_str() == "failed").then_some(())
    })
    .await;
    setup.complete(&[poison]).await;
    until_each_once(&receiver, &[(poison, 2), (poison, 3)].into()).await;
    let attempt = setup.webhooks.resend(&setup.caller, id, &format!("{poison}-2")).await.unwrap();
    assert!(attempt.succeeded);
    gateway.stop().await;
});

on_both!(
    /// Every event is refused, as by a receiver without its route: nothing is lost, and everything arrives later.
    an_endpoint_that_refuses_everything_is_failing, |on| async move {
    let setup = Setup::new(on).await;
    let (gateway, receiver) = (setup.gateway().await, Receiver::start().await);
    receiver.answer(|_| Reply::Status(404));
    let id = setup.create(NewEndpoint::new(receiver.url())).await.endpoint.endpoint.id;
    let ids = setup.process(50).await;
    setup.until(id, EndpointState::Failing).await;
    let tried = receiver.received().len();
    assert!(tried < 40, "{tried} requests");
    receiver.answer(|_| Reply::Status(200));
    until_each_once(&receiver, &events_of(&ids)).await;
    gateway.stop().await;
});

on_both!(a_pause_that_the_receiver_requests_is_observed, |on| async move {
    let setup = Setup::new(on).await;
    let (gateway, receiver) = (setup.gateway().await, Receiver::start().await);
    receiver.answer(|_| Reply::Later(429, 600));
    let id = setup
        .create(NewEndpoint { concurrency: 1, ..NewEndpoint::new(receiver.url()) })
        .await
        .endpoint
        .endpoint
        .id;
    let ids = setup.process(5).await;
    let failing = setup.until(id, EndpointState::Failing).await;
    let pause = failing.due_at.since(setup.backend.store.now()).as_secs();
    assert!((550..=600).contains(&pause), "{pause}");
    assert_eq!(receiver.received().len(), 1);
    // A user who enables it does not wait.
    receiver.answer(|_| Reply::Status(200));
    setup.webhooks.enable(&setup.caller, id, None).await.unwrap();
    until_each_once(&receiver, &events_of(&ids)).await;
    gateway.stop().await;
});

on_both!(an_endpoint_that_is_gone_is_disabled_and_resumes, |on| async move {
    let setup = Setup::new(on).await;
    let (gateway, receiver) = (setup.gateway().await, Receiver::start().await);
    let notified = Receiver::start().await;
    let notices = NewEndpoint { types: "webhook.*".parse().unwrap(), ..NewEndpoint::new(notified.url()) };
    setup.create(notices).await;
    receiver.answer(|_| Reply::Status(410));
    let id = setup.create(NewEndpoint::new(receiver.url())).await.endpoint.endpoint.id;
    let mut ids = setup.process(3).await;
    let disabled = setup.until(id, EndpointState::Disabled).await;
    assert_eq!(disabled.disabled_reason, Some(DisabledReason::Gone));
    ids.extend(setup.process(3).await);
    let notice = eventually("a notice", || async { notified.received().first().cloned() }).await;
    assert_eq!(notice.kind(), "webhook.disabled");
    assert_eq!(notice.body["data"]["endpointId"], id.to_string());
    receiver.answer(|_| Reply::Status(200));
    setup.webhooks.enable(&setup.caller, id, None).await.unwrap();
    until_each_once(&receiver, &events_of(&ids)).await;
    gateway.stop().await;
});

on_both!(an_endpoint_that_fails_for_days_is_disabled_after_warnings, |on| async move {
    let setup = Setup::new(on).await;
    let (gateway, receiver) = (setup.gateway().await, Receiver::start().await);
    let notified = Receiver::start().await;
    let notices = NewEndpoint { types: "webhook.*".parse().unwrap(), ..NewEndpoint::new(notified.url()) };
    setup.create(notices).await;
    receiver.answer(|_| Reply::Later(503, 1));
    let id = setup.create(NewEndpoint::new(receiver.url())).await.endpoint.endpoint.id;
    setup.process(3).await;
    setup.until(id, EndpointState::Failing).await;
    let day = 24 * 60 * 60 * 1_000_000_i64;
    for (days, kind) in [(2, "webhook.failing"), (6, "webhook.disabled")] {
        let since = setup.backend.store.now().as_micros() - days * day;
        let sql = format!(
            "UPDATE webhook_endpoints SET failing_since = {since}, due_at = 0, version = version + 1, \
             changed_at = {} WHERE url LIKE '%{}%'",
            setup.backend.store.now().as_micros(),
            receiver.addr,
        );
        setup.run_sql(&sql).await;
        eventually(kind, || async {
            notified.received().iter().any(|notice| notice.kind() == kind).then_some(())
        })
        .await;
    }
    let disabled = setup.until(id, EndpointState::Disabled).await;
    assert_eq!(disabled.disabled_reason, Some(DisabledReason::Failures));
    gateway.stop().await;
});

on_both!(a_redirect_is_not_followed, |on| async move {
    let setup = Setup::new(on).await;
    let (gateway, receiver) = (setup.gateway().await, Receiver::start().await);
    receiver.answer(|_| Reply::Redirect("http://169.254.169.254/latest/meta-data/"));
    let id = setup.create(NewEndpoint::new(receiver.url())).await.endpoint.endpoint.id;
    setup.process(1).await;
    let attempts = eventually("an attempt", || async {
        let attempts = setup.webhooks.attempts(&setup.caller, id, None, None, 10).await.unwrap();
        Some(attempts).filter(|attempts| !attempts.is_empty())
    })
    .await;
    assert_eq!((attempts[0].status, attempts[0].outcome.as_str()), (Some(302), "rejected"));
    gateway.stop().await;
});

on_both!(
    /// The receiver replaces its secret while events arrive.
    secrets_are_rotated_in_mid_stream, |on| async move {
    let setup = Setup::new(on).await;
    let (gateway, receiver) = (setup.gateway().await, Receiver::start().await);
    let created = setup.create(NewEndpoint::new(receiver.url())).await;
    let (id, first) = (created.endpoint.endpoint.id, created.secret);
    let ids = setup.process(20).await;
    let overlap = Duration::from_secs(3600);
    let rotation = RotateSecret { secret: None, overlap };
    let second = setup.webhooks.rotate_secret(&setup.caller, id, &rotation, None).await.unwrap().secret;
    until_each_once(&receiver, &events_of(&ids)).await;
    // The gateway that delivers learns of the change within some seconds.
    eventually("both secrets sign", || async {
        setup.process(1).await;
        receiver.received().last().is_some_and(|last| last.is_signed_with(&second)).then_some(())
    })
    .await;
    assert!(receiver.received().iter().all(|received| received.is_signed_with(&first)));
    let rotation = RotateSecret { secret: None, overlap: Duration::ZERO };
    let third = setup.webhooks.rotate_secret(&setup.caller, id, &rotation, None).await.unwrap().secret;
    let attempt = setup.webhooks.test(&setup.caller, id).await.unwrap();
    assert!(attempt.succeeded);
    let ping = receiver.received().into_iter().find(|received| received.kind() == "webhook.ping").unwrap();
    assert!(ping.is_signed_with(&third) && !ping.is_signed_with(&second) && !ping.is_signed_with(&first));
    gateway.stop().await;
});

on_both!(
    /// A range is delivered again beside the new events, also by a gateway that starts in the middle.
    a_recovery_continues_after_the_end_of_a_gateway, |on| async move {
    let setup = Setup::new(on).await;
    let (gateway, receiver) = (setup.gateway().await, Receiver::start().await);
    let before = setup.process(300).await;
    let since = setup.backend.store.now();
    let missed = setup.process(300).await;
    let until = setup.backend.store.now();
    let later = setup.process(10).await;
    crate::event_log::number(&setup.backend.store).await;
    let id = setup.create(NewEndpoint { concurrency: 2, ..NewEndpoint::new(receiver.url()) }).await.endpoint.endpoint.id;
    let range = RecoveryRange { since, until: Some(until) };
    let dry = setup.webhooks.recover(&setup.caller, id, range, true, None).await.unwrap();
    assert_eq!((dry.events, dry.is_more, dry.endpoint.endpoint.replay), (900, false, None));
    let started = setup.webhooks.recover(&setup.caller, id, range, false, None).await.unwrap();
    assert_eq!(started.endpoint.endpoint.replay.unwrap().last - started.first, 900);
    eventually("some events", || async { (receiver.events().len() > 100).then_some(()) }).await;
    gateway.stop().await;
    assert!(setup.endpoint(id).await.replay.is_some(), "it has not ended");
    let gateway = setup.gateway().await;
    let new = setup.process(5).await;
    let mut wanted = events_of(&missed);
    wanted.extend(events_of(&new));
    until_each_once(&receiver, &wanted).await;
    eventually("its end", || async { setup.endpoint(id).await.replay.is_none().then_some(()) }).await;
    assert!(!before.iter().chain(&later).any(|id| receiver.events().iter().any(|(order, _)| order == id)));
    gateway.stop().await;
});

on_both!(
    /// The events that an endpoint has not received were removed from the log: it continues with those that are left.
    removed_events_do_not_stop_an_endpoint, |on| async move {
    let setup = Setup::new(on).await;
    let receiver = Receiver::start().await;
    let id = setup.create(NewEndpoint::new(receiver.url())).await.endpoint.endpoint.id;
    setup.process(5).await;
    let store = &setup.backend.store;
    crate::event_log::number(store).await;
    let none = gateway::store::LogRetention { age: None, bytes: Some(0) };
    while store.trim_event_log(none).await.unwrap() {}
    let gateway = setup.gateway().await;
    let ids = setup.process(3).await;
    until_all(&receiver, &events_of(&ids)).await;
    assert_eq!(setup.endpoint(id).await.state, EndpointState::Active);
    gateway.stop().await;
});

/// A gateway that delivers, and can be killed.
struct Deliverer {
    running: JoinHandle<()>,
    stop: CancellationToken,
}

impl Deliverer {
    async fn start(setup: &Setup) -> Self {
        let store = setup.backend.gateway_store().await;
        let parts = ServiceParts {
            config: setup.config.service.clone(),
            store: store.clone(),
            queue: setup.backend.queue.clone(),
            bus: setup.backend.bus.clone(),
        };
        let service = Service::start(parts).await.unwrap();
        let webhooks =
            Webhooks::new(store, service.event_log.clone(), setup.config.webhooks.clone()).unwrap();
        let stop = CancellationToken::new();
        service.background.spawn(&TaskTracker::new(), &stop, stop.clone());
        Self { running: tokio::spawn(webhooks.run(CancellationToken::new())), stop }
    }

    /// Ends the deliveries at once, as SIGKILL does.
    async fn kill(self) {
        self.running.abort();
        let _ = self.running.await;
        self.stop.cancel();
    }
}

on_both!(
    /// Each time some requests have arrived whose delivery is not saved: they are repeated, each the latest of its order.
    gateways_that_are_killed_repeat_little_and_nothing_goes_back,
    |on| async move {
        let setup = Setup::new(on).await;
        let receiver = Receiver::start().await;
        // An order's third event is being sent: its first two were delivered just before.
        let third = Arc::new(Notify::new());
        let seen = third.clone();
        receiver.answer(move |received| {
            if received.event().1 == 3 {
                seen.notify_waiters();
            }
            Reply::Slow(Duration::from_millis(5))
        });
        setup.create(NewEndpoint::new(receiver.url())).await;
        let (mut ids, kills) = (Vec::new(), 8);
        for _ in 0..kills {
            ids.extend(setup.process(3).await);
            let killed = third.notified();
            let deliverer = Deliverer::start(&setup).await;
            tokio::time::timeout(PATIENCE, killed).await.expect("a third event");
            deliverer.kill().await;
            setup.run_sql("UPDATE webhook_endpoints SET held_until = 0").await;
        }
        let deliverer = Deliverer::start(&setup).await;
        let ledger = until_all(&receiver, &events_of(&ids)).await;
        deliverer.kill().await;
        let repeated: usize = ledger.values().map(|count| count - 1).sum();
        assert!(repeated <= kills * 8, "{repeated} repeated");
    }
);

on_both!(
    /// Two gateways that start together deliver each event once, and one takes over what the other gives back.
    gateways_share_endpoints,
    |on| async move {
        let setup = Setup::new(on).await;
        let receivers = [Receiver::start().await, Receiver::start().await, Receiver::start().await];
        for receiver in &receivers {
            setup.create(NewEndpoint::new(receiver.url())).await;
        }
        let (first, second) = (setup.gateway().await, setup.gateway().await);
        let mut ids = setup.process(30).await;
        for receiver in &receivers {
            until_each_once(receiver, &events_of(&ids)).await;
        }
        first.stop().await;
        ids.extend(setup.process(30).await);
        for receiver in &receivers {
            until_each_once(receiver, &events_of(&ids)).await;
        }
        second.stop().await;
    }
);

on_both!(
    /// 30 requests take at least 29 intervals.
    a_rate_is_kept,
    |on| async move {
        let setup = Setup::new(on).await;
        let (gateway, receiver) = (setup.gateway().await, Receiver::start().await);
        let rate = Some(20);
        setup.create(NewEndpoint { rate_per_s: rate, ..NewEndpoint::new(receiver.url()) }).await;
        let start = std::time::Instant::now();
        let ids = setup.process(10).await;
        until_each_once(&receiver, &events_of(&ids)).await;
        assert!(start.elapsed() >= Duration::from_millis(29 * 50 - 100), "{:?}", start.elapsed());
        gateway.stop().await;
    }
);

on_both!(
    /// A save that waits while its delivery reads the endpoint again would keep the only writer of SQLite.
    changes_of_an_endpoint_delay_no_writes,
    |on| async move {
        let setup = Setup::new(on).await;
        let (gateway, receiver) = (setup.gateway().await, Receiver::start().await);
        let created = setup.create(NewEndpoint::new(receiver.url())).await;
        let id = created.endpoint.endpoint.id;
        let mut ids = Vec::new();
        for n in 0..60 {
            ids.extend(setup.process(2).await);
            let changes =
                EndpointChanges { description: Some(format!("change {n}")), ..EndpointChanges::default() };
            setup.webhooks.update(&setup.caller, id, &changes, None).await.unwrap();
        }
        until_each_once(&receiver, &events_of(&ids)).await;
        gateway.stop().await;
    }
);
