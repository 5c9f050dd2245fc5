//! Processing without outages.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::{OrderId, Outcome};
use processor::{Attempt, Config};
use proto::v1::{self, gateway_message};
use tokio::sync::{Semaphore, mpsc};

use crate::fake_gateway::FakeGateway;
use crate::harness::{Processor, config, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn many_orders_complete_in_few_messages() {
    let gateway = FakeGateway::start();
    let processor = Processor::start(config(&gateway), |attempt, _| async move {
        assert_eq!(attempt.number(), 1);
        assert_eq!(attempt.idempotency_key(), attempt.order.id.to_string());
        Outcome::Completed
    });
    let ids = gateway.add_orders(2_000);
    processor.queue.add(&ids);
    eventually("all are reported", || gateway.state().reports.len() == ids.len()).await;
    processor.stop().await;
    let state = gateway.state();
    assert!(ids.iter().all(|id| state.outcome(*id) == Some(Outcome::Completed)));
    // The concurrency and sixteen times as many prefetched.
    assert!(state.starts().iter().all(|(_, leases)| leases.len() <= 17 * 64));
    assert!(state.received.len() < ids.len(), "{} messages for {} orders", state.received.len(), ids.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_are_limited_to_free_slots() {
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
    assert_eq!(gateway.state().starts().iter().map(|(_, leases)| leases.len()).sum::<usize>(), 3);
    gate.add_permits(1);
    eventually("a fourth was started", || gateway.state().reports.len() == 1).await;
    gate.add_permits(19);
    eventually("all are reported", || gateway.state().reports.len() == 20).await;
    assert_eq!(most.load(Ordering::SeqCst), 3);
    // The concurrency and sixteen times as many prefetched.
    assert!(processor.queue.pulls.lock().unwrap().iter().all(|max| (1..=17 * 3).contains(max)));
    processor.stop().await;
}

/// A processor whose short handlers caused a prefetch, and whose later handlers wait until the gate opens.
///
/// Two handlers run; the other orders wait.
struct Prefetched {
    processor: Processor,
    gate: Arc<Semaphore>,
    most: Arc<AtomicUsize>,
    /// The orders whose handlers were called, in the order of the calls.
    called: Arc<Mutex<Vec<OrderId>>>,
    ids: Vec<OrderId>,
}

impl Prefetched {
    /// More orders than the processor has slots.
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
        eventually("the short ones are reported", || gateway.state().reports.len() == SHORT).await;
        let ids = gateway.add_orders(Self::LONG);
        processor.queue.add(&ids);
        let prefetched = Self { processor, gate, most, called, ids };
        eventually("some are prefetched", || {
            prefetched.started(gateway).len() > 2 && prefetched.called.lock().unwrap().len() == SHORT + 2
        })
        .await;
        prefetched
    }

    fn started(&self, gateway: &FakeGateway) -> Vec<OrderId> {
        let state = gateway.state();
        self.ids.iter().filter(|id| state.orders[id].1.is_some()).copied().collect()
    }

    /// Returns an order that is started and has no handler.
    fn waiting(&self, gateway: &FakeGateway) -> OrderId {
        let called = self.called.lock().unwrap();
        self.started(gateway).into_iter().rfind(|id| !called.contains(id)).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn short_handlers_prefetch_orders_within_the_concurrency() {
    let gateway = FakeGateway::start();
    gateway.state().heartbeat_interval = Some(Duration::from_millis(20));
    let prefetched = Prefetched::reach(&gateway, config(&gateway)).await;
    let started = prefetched.started(&gateway).len();
    assert!(started <= 2 + 16 * 2, "{started}");
    let waiting = prefetched.waiting(&gateway);
    let renewed = || gateway.state().heartbeats().iter().any(|lease| lease.order_id == waiting.to_string());
    eventually("the lease of one that waits is renewed", renewed).await;
    prefetched.gate.add_permits(Prefetched::LONG);
    eventually("all are reported", || gateway.state().reports.len() == 500 + Prefetched::LONG).await;
    assert_eq!(prefetched.most.load(Ordering::SeqCst), 2);
    prefetched.processor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_waiting_order_gets_no_handler() {
    let gateway = FakeGateway::start();
    let prefetched = Prefetched::reach(&gateway, config(&gateway)).await;
    let waiting = prefetched.waiting(&gateway);
    let running = *prefetched.called.lock().unwrap().last().unwrap();
    let lease = |id| v1::Lease::new(id, gateway.state().orders[&id].1.unwrap());
    let leases = vec![lease(waiting), lease(running)];
    gateway.push_message(gateway_message::Message::Cancel(v1::Cancel { leases }));
    // The slot of the running one goes to the next one that waits.
    let called = || prefetched.called.lock().unwrap().len();
    eventually("another one is called", || called() == 503).await;
    prefetched.gate.add_permits(Prefetched::LONG);
    eventually("the others are reported", || gateway.state().reports.len() == 498 + Prefetched::LONG).await;
    prefetched.processor.stop().await;
    assert!(!prefetched.called.lock().unwrap().contains(&waiting));
    assert_eq!(gateway.state().outcome(waiting), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_orders_finish_or_are_released_at_shutdown() {
    for (grace, opens, expected) in [
        (Duration::from_secs(60), true, Outcome::Completed),
        (Duration::from_millis(50), false, Outcome::Released),
    ] {
        let gateway = FakeGateway::start();
        let config = Config { shutdown_timeout: grace, ..config(&gateway) };
        let prefetched = Prefetched::reach(&gateway, config).await;
        let waiting = prefetched.waiting(&gateway);
        let gate = prefetched.gate.clone();
        let task = prefetched.processor.shut_down().await;
        if opens {
            gate.add_permits(Prefetched::LONG);
        }
        task.await.unwrap().unwrap();
        assert_eq!(gateway.state().outcome(waiting), Some(expected));
        let state = gateway.state();
        let started = prefetched.ids.iter().filter(|id| state.orders[id].1.is_some());
        assert!(started.into_iter().all(|id| state.outcome(*id).is_some()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_outcome_is_reported() {
    let gateway = FakeGateway::start();
    let ids = gateway.add_orders(7);
    gateway.state().orders.get_mut(&ids[5]).unwrap().0.content.total =
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
    eventually("all are reported", || gateway.state().reports.len() == 7).await;
    let outcome = |at: usize| gateway.state().outcome(ids[at]).unwrap();
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
async fn refused_and_repeated_jobs_free_their_slots() {
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
    let unknown: Vec<_> = std::iter::repeat_with(|| crate::fake_gateway::order().id).take(5).collect();
    processor.queue.add(&unknown);
    processor.queue.add(&[ids[0], ids[0]]);
    eventually("the first runs", || gateway.state().orders[&ids[0]].1.is_some()).await;
    processor.queue.add(&[ids[0], ids[1]]);
    eventually("the second runs", || gateway.state().orders[&ids[1]].1.is_some()).await;
    gate.add_permits(2);
    eventually("both are reported", || gateway.state().reports.len() == 2).await;
    processor.stop().await;
    let state = gateway.state();
    let started = state.starts().into_iter().flat_map(|(_, leases)| leases);
    assert_eq!(started.filter(|lease| lease.order_id == ids[0].to_string()).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_are_renewed_until_they_are_lost() {
    let gateway = FakeGateway::start();
    gateway.state().heartbeat_interval = Some(Duration::from_millis(20));
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
    eventually("three heartbeats", || gateway.state().heartbeats().len() >= 3).await;
    let token = gateway.state().orders[&ids[0]].1.unwrap();
    assert!(gateway.state().heartbeats().iter().all(|lease| *lease == v1::Lease::new(ids[0], token)));
    gateway.revoke_lease(ids[0]);
    was_stopped.recv().await.unwrap();
    processor.stop().await;
    assert_eq!(gateway.state().finishes(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelled_order_stops_its_handler_and_frees_its_slot() {
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
        let token = gateway.state().orders[&id].1.unwrap();
        let other = domain::LeaseToken::random();
        for token in [other, token] {
            let leases = vec![v1::Lease::new(id, token)];
            gateway.push_message(gateway_message::Message::Cancel(v1::Cancel { leases }));
        }
        assert_eq!(steps.recv().await, Some("stopped"));
    }
    processor.stop().await;
    assert_eq!(gateway.state().finishes(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn attempt_over_its_time_limit_is_stopped() {
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
    gateway.state().orders.get_mut(&ids[1]).unwrap().0.content.customer = None;
    processor.queue.add(&ids);
    eventually("both are reported", || gateway.state().reports.len() == 2).await;
    let reason = "the attempt took longer than 30ms and was stopped".to_owned();
    assert_eq!(
        gateway.state().outcome(ids[0]),
        Some(Outcome::Retry { reason, class: Some("attempt_timeout".to_owned()), after: None })
    );
    // A completion after the stop signal is reported.
    assert_eq!(gateway.state().outcome(ids[1]), Some(Outcome::Completed));
    processor.stop().await;
}

#[tokio::test]
async fn invalid_settings_are_named() {
    let queue = Arc::new(crate::harness::TestQueue::default());
    for (config, expected) in [
        (Config { concurrency: 0, ..Config::default() }, "concurrency must be from 1"),
        (Config { attempt_timeout: Duration::ZERO, ..Config::default() }, "attempt_timeout must be"),
        (Config { gateway_urls: vec!["nonsense".to_owned()], ..Config::default() }, "gateway_urls must be"),
    ] {
        let handler = Arc::new(processor::handlers::Simulate::default());
        let error = processor::run(config, Some(queue.clone()), handler, async {}).await.unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}
