//! What happens to orders while everything is in its place.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::{OrderId, Outcome};
use processor::{Attempt, Config};
use proto::v1::{self, gateway_message};
use tokio::sync::{Semaphore, mpsc};

use crate::gateway::FakeGateway;
use crate::harness::{Processor, config, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn many_orders_are_completed_in_few_messages() {
    let gateway = FakeGateway::start();
    let processor = Processor::start(config(&gateway), |attempt, _| async move {
        assert_eq!(attempt.number(), 1);
        assert_eq!(attempt.idempotency_key(), attempt.order.id.to_string());
        Outcome::Completed
    });
    let ids = gateway.add_orders(2_000);
    processor.queue.add(&ids);
    eventually("all are reported", || gateway.mind().reports.len() == ids.len()).await;
    processor.stop().await;
    let mind = gateway.mind();
    assert!(ids.iter().all(|id| mind.outcome(*id) == Some(Outcome::Completed)));
    // The concurrency and sixteen times as many ahead.
    assert!(mind.starts().iter().all(|(_, leases)| leases.len() <= 17 * 64));
    assert!(mind.seen.len() < ids.len(), "{} messages for {} orders", mind.seen.len(), ids.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_pulled_than_can_run() {
    let gateway = FakeGateway::start();
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let gate = Arc::new(Semaphore::new(0));
    let handler = {
        let (running, most, gate) = (running.clone(), most.clone(), gate.clone());
        move |_, _| {
            let (running, most, gate) = (running.clone(), most.clone(), gate.clone());
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                running.fetch_sub(1, Ordering::SeqCst);
                Outcome::Completed
            }
        }
    };
    let processor = Processor::start(Config { concurrency: 3, ..config(&gateway) }, handler);
    let ids = gateway.add_orders(20);
    processor.queue.add(&ids);
    eventually("three run", || running.load(Ordering::SeqCst) == 3).await;
    assert_eq!(gateway.mind().starts().iter().map(|(_, leases)| leases.len()).sum::<usize>(), 3);
    gate.add_permits(1);
    eventually("a fourth was started", || gateway.mind().reports.len() == 1).await;
    gate.add_permits(19);
    eventually("all are reported", || gateway.mind().reports.len() == 20).await;
    assert_eq!(most.load(Ordering::SeqCst), 3);
    // The concurrency and sixteen times as many ahead.
    assert!(processor.queue.pulls.lock().unwrap().iter().all(|max| (1..=17 * 3).contains(max)));
    processor.stop().await;
}

/// A processor whose short handlers have let it start orders ahead, and whose handlers now take until the
/// gate opens: two run, the others wait.
struct Ahead {
    processor: Processor,
    gate: Arc<Semaphore>,
    most: Arc<AtomicUsize>,
    /// The orders whose handlers were called, in that order.
    called: Arc<Mutex<Vec<OrderId>>>,
    ids: Vec<OrderId>,
}

impl Ahead {
    /// More than can be started at once.
    const LONG: usize = 60;
    async fn reach(gateway: &FakeGateway, config: Config) -> Self {
        const SHORT: usize = 500;
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (gate, called) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
        let handler = {
            let (most, gate, called) = (most.clone(), gate.clone(), called.clone());
            move |attempt: Attempt, _| {
                let (running, most, gate) = (running.clone(), most.clone(), gate.clone());
                let nth = {
                    let mut called = called.lock().unwrap();
                    called.push(attempt.order.id);
                    called.len()
                };
                async move {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    if nth > SHORT {
                        gate.acquire().await.unwrap().forget();
                    }
                    running.fetch_sub(1, Ordering::SeqCst);
                    Outcome::Completed
                }
            }
        };
        let processor = Processor::start(Config { concurrency: 2, ..config }, handler);
        let short = gateway.add_orders(SHORT);
        processor.queue.add(&short);
        eventually("the short ones are reported", || gateway.mind().reports.len() == SHORT).await;
        let ids = gateway.add_orders(Self::LONG);
        processor.queue.add(&ids);
        let ahead = Self { processor, gate, most, called, ids };
        eventually("some are started ahead", || {
            ahead.started(gateway).len() > 2 && ahead.called.lock().unwrap().len() == SHORT + 2
        })
        .await;
        ahead
    }

    fn started(&self, gateway: &FakeGateway) -> Vec<OrderId> {
        let mind = gateway.mind();
        self.ids.iter().filter(|id| mind.orders[id].1.is_some()).copied().collect()
    }

    /// An order that is started and has no handler.
    fn waiting(&self, gateway: &FakeGateway) -> OrderId {
        let called = self.called.lock().unwrap();
        self.started(gateway).into_iter().rfind(|id| !called.contains(id)).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_started_ahead_of_short_handlers_and_no_more_handlers_run() {
    let gateway = FakeGateway::start();
    gateway.mind().heartbeat_interval = Some(Duration::from_millis(20));
    let ahead = Ahead::reach(&gateway, config(&gateway)).await;
    let started = ahead.started(&gateway).len();
    assert!(started <= 2 + 16 * 2, "{started}");
    let waiting = ahead.waiting(&gateway);
    let renewed = || gateway.mind().heartbeats().iter().any(|lease| lease.order_id == waiting.to_string());
    eventually("the lease of one that waits is renewed", renewed).await;
    ahead.gate.add_permits(Ahead::LONG);
    eventually("all are reported", || gateway.mind().reports.len() == 500 + Ahead::LONG).await;
    assert_eq!(ahead.most.load(Ordering::SeqCst), 2);
    ahead.processor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_is_cancelled_while_it_waits_gets_no_handler() {
    let gateway = FakeGateway::start();
    let ahead = Ahead::reach(&gateway, config(&gateway)).await;
    let waiting = ahead.waiting(&gateway);
    let token = gateway.mind().orders[&waiting].1.unwrap();
    let leases = vec![v1::Lease::new(waiting, token)];
    gateway.say(gateway_message::Message::Cancel(v1::Cancel { leases }));
    // Its slot is free for one that was not started before.
    let before = ahead.started(&gateway).len();
    eventually("another one is started", || ahead.started(&gateway).len() > before).await;
    ahead.gate.add_permits(Ahead::LONG);
    eventually("the others are reported", || gateway.mind().reports.len() == 499 + Ahead::LONG).await;
    ahead.processor.stop().await;
    assert!(!ahead.called.lock().unwrap().contains(&waiting));
    assert_eq!(gateway.mind().outcome(waiting), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_at_the_end_is_finished_or_given_back() {
    for (grace, opens, expected) in [
        (Duration::from_secs(60), true, Outcome::Completed),
        (Duration::from_millis(50), false, Outcome::Released),
    ] {
        let gateway = FakeGateway::start();
        let config = Config { shutdown_timeout: grace, ..config(&gateway) };
        let ahead = Ahead::reach(&gateway, config).await;
        let waiting = ahead.waiting(&gateway);
        let gate = ahead.gate.clone();
        let task = ahead.processor.shut_down().await;
        if opens {
            gate.add_permits(Ahead::LONG);
        }
        task.await.unwrap().unwrap();
        assert_eq!(gateway.mind().outcome(waiting), Some(expected));
        let mind = gateway.mind();
        let started = ahead.ids.iter().filter(|id| mind.orders[id].1.is_some());
        assert!(started.into_iter().all(|id| mind.outcome(*id).is_some()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_outcome_is_reported() {
    let gateway = FakeGateway::start();
    let ids = gateway.add_orders(7);
    gateway.mind().orders.get_mut(&ids[5]).unwrap().0.total =
        domain::Money::from_minor(-1, domain::Currency::USD);
    let of: Vec<OrderId> = ids.clone();
    let processor = Processor::start(config(&gateway), move |attempt, _| {
        let which = of.iter().position(|id| *id == attempt.order.id);
        assert_ne!(which, Some(3), "before any await: {}", "three");
        async move {
            match which {
                Some(0) => Outcome::Completed,
                Some(1) => Outcome::Retry {
                    reason: "busy".to_owned(),
                    class: Some("busy".to_owned()),
                    after: Some(Duration::from_millis(1_500)),
                },
                Some(2) => Outcome::failed("x".repeat(5_000)),
                Some(6) => Outcome::Released,
                _ => {
                    tokio::task::yield_now().await;
                    panic!("after an await")
                }
            }
        }
    });
    processor.queue.add(&ids);
    eventually("all are reported", || gateway.mind().reports.len() == 7).await;
    let outcome = |at: usize| gateway.mind().outcome(ids[at]).unwrap();
    assert_eq!(outcome(0), Outcome::Completed);
    let after = Some(Duration::from_millis(1_500));
    assert_eq!(
        outcome(1),
        Outcome::Retry { reason: "busy".to_owned(), class: Some("busy".to_owned()), after }
    );
    assert_eq!(outcome(2), Outcome::Failed { reason: "x".repeat(500), class: None });
    for (at, expected, expected_class) in [
        (3, "before any await: three", "handler_panicked"),
        (4, "the handler panicked: after an await", "handler_panicked"),
        (5, "the processor cannot read the order: total: ", "unreadable_order"),
        (6, "the handler gave the order back", "handler_released"),
    ] {
        let Outcome::Retry { reason, class, after: None } = outcome(at) else {
            panic!("{at}: {:?}", outcome(at))
        };
        assert!(reason.contains(expected), "{reason}");
        assert_eq!(class.as_deref(), Some(expected_class));
    }
    processor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_and_repeated_hints_cost_nothing() {
    let gateway = FakeGateway::start();
    let gate = Arc::new(Semaphore::new(0));
    let permits = gate.clone();
    let processor = Processor::start(Config { concurrency: 2, ..config(&gateway) }, move |_, _| {
        let permits = permits.clone();
        async move {
            permits.acquire().await.unwrap().forget();
            Outcome::Completed
        }
    });
    let ids = gateway.add_orders(2);
    let unknown: Vec<_> = std::iter::repeat_with(|| crate::gateway::order().id).take(5).collect();
    processor.queue.add(&unknown);
    processor.queue.add(&[ids[0], ids[0]]);
    eventually("the first runs", || gateway.mind().orders[&ids[0]].1.is_some()).await;
    processor.queue.add(&[ids[0], ids[1]]);
    eventually("the second runs", || gateway.mind().orders[&ids[1]].1.is_some()).await;
    gate.add_permits(2);
    eventually("both are reported", || gateway.mind().reports.len() == 2).await;
    processor.stop().await;
    let mind = gateway.mind();
    let started = mind.starts().into_iter().flat_map(|(_, leases)| leases);
    assert_eq!(started.filter(|lease| lease.order_id == ids[0].to_string()).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn running_attempts_are_kept_alive_until_their_lease_is_lost() {
    let gateway = FakeGateway::start();
    gateway.mind().heartbeat_interval = Some(Duration::from_millis(20));
    let (stopped, mut was_stopped) = mpsc::channel(1);
    let processor = Processor::start(config(&gateway), move |_, cancelled| {
        let stopped = stopped.clone();
        async move {
            cancelled.cancelled().await;
            stopped.send(()).await.unwrap();
            Outcome::Completed
        }
    });
    let ids = gateway.add_orders(1);
    processor.queue.add(&ids);
    eventually("three heartbeats", || gateway.mind().heartbeats().len() >= 3).await;
    let token = gateway.mind().orders[&ids[0]].1.unwrap();
    assert!(gateway.mind().heartbeats().iter().all(|lease| *lease == v1::Lease::new(ids[0], token)));
    gateway.lose(ids[0]);
    was_stopped.recv().await.unwrap();
    processor.stop().await;
    assert_eq!(gateway.mind().finishes(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_order_stops_its_handler_and_frees_the_slot() {
    let gateway = FakeGateway::start();
    let (step, mut steps) = mpsc::channel(1);
    let processor = Processor::start(Config { concurrency: 1, ..config(&gateway) }, move |_, cancelled| {
        let step = step.clone();
        async move {
            step.send("runs").await.unwrap();
            cancelled.cancelled().await;
            step.send("stopped").await.unwrap();
            Outcome::failed("stopped")
        }
    });
    let ids = gateway.add_orders(2);
    processor.queue.add(&ids);
    for id in ids {
        assert_eq!(steps.recv().await, Some("runs"));
        let token = gateway.mind().orders[&id].1.unwrap();
        let other = domain::LeaseToken::random();
        for token in [other, token] {
            let leases = vec![v1::Lease::new(id, token)];
            gateway.say(gateway_message::Message::Cancel(v1::Cancel { leases }));
        }
        assert_eq!(steps.recv().await, Some("stopped"));
    }
    processor.stop().await;
    assert_eq!(gateway.mind().finishes(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_takes_too_long_is_stopped() {
    let gateway = FakeGateway::start();
    let config = Config { attempt_timeout: Duration::from_millis(30), ..config(&gateway) };
    let processor = Processor::start(config, |attempt, cancelled| async move {
        cancelled.cancelled().await;
        match attempt.order.customer {
            Some(_) => Outcome::failed("not the reason that counts"),
            None => Outcome::Completed,
        }
    });
    let ids = gateway.add_orders(2);
    gateway.mind().orders.get_mut(&ids[1]).unwrap().0.customer = None;
    processor.queue.add(&ids);
    eventually("both are reported", || gateway.mind().reports.len() == 2).await;
    let reason = "the attempt took longer than 30ms and was stopped".to_owned();
    assert_eq!(
        gateway.mind().outcome(ids[0]),
        Some(Outcome::Retry { reason, class: Some("attempt_timeout".to_owned()), after: None })
    );
    // Done while it was told to stop is done.
    assert_eq!(gateway.mind().outcome(ids[1]), Some(Outcome::Completed));
    processor.stop().await;
}

#[tokio::test]
async fn settings_that_cannot_work_are_named() {
    let queue = Arc::new(crate::harness::TestQueue::default());
    for (config, expected) in [
        (Config { concurrency: 0, ..Config::default() }, "concurrency must be from 1"),
        (Config { attempt_timeout: Duration::ZERO, ..Config::default() }, "attempt_timeout must be"),
        (Config { gateway_urls: vec!["nonsense".to_owned()], ..Config::default() }, "gateway_urls must be"),
    ] {
        let handler = Arc::new(processor::handlers::Simulate::default());
        let error = processor::run(config, queue.clone(), handler, async {}).await.unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}
