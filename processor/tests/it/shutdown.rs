//! The shutdown of a processor.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use domain::Outcome;
use processor::Config;
use tokio::sync::{Semaphore, mpsc};

use crate::fake_gateway::FakeGateway;
use crate::harness::{Processor, config, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn running_handlers_finish_and_no_order_is_started() {
    let gateway = FakeGateway::start();
    let (gate, running) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (permits, entered) = (gate.clone(), running.clone());
    let config = Config { concurrency: 2, shutdown_timeout: Duration::from_secs(60), ..config(&gateway) };
    let processor = Processor::start(config, move |_, _| {
        let permits = permits.clone();
        entered.fetch_add(1, Ordering::SeqCst);
        async move {
            permits.acquire().await.unwrap().forget();
            Outcome::Completed
        }
    });
    let ids = gateway.add_orders(4);
    let queue = processor.queue.clone();
    queue.add(&ids);
    eventually("two run", || running.load(Ordering::SeqCst) == 2).await;
    let task = processor.shut_down().await;
    gate.add_permits(4);
    task.await.unwrap().unwrap();
    let state = gateway.state();
    assert_eq!(state.reports.len(), 2);
    assert!(state.reports.iter().all(|(_, _, outcome)| *outcome == Outcome::Completed));
    assert_eq!(state.starts().iter().map(|(_, leases)| leases.len()).sum::<usize>(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_of_slow_handlers_are_released() {
    let gateway = FakeGateway::start();
    let config = Config { shutdown_timeout: Duration::from_millis(50), ..config(&gateway) };
    let (dropped, mut was_dropped) = mpsc::channel::<()>(1);
    let processor = Processor::start(config, move |_, _| {
        let dropped = dropped.clone();
        async move {
            std::future::pending::<()>().await;
            drop(dropped);
            Outcome::Completed
        }
    });
    let ids = gateway.add_orders(3);
    processor.queue.add(&ids);
    eventually("all run", || gateway.state().orders.values().all(|(_, lease)| lease.is_some())).await;
    processor.stop().await;
    assert!(ids.iter().all(|id| gateway.state().outcome(*id) == Some(Outcome::Released)));
    // `recv` returns `None` after all handlers have dropped their senders.
    assert_eq!(was_dropped.recv().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_being_started_are_finished() {
    let gateway = FakeGateway::start();
    gateway.state().silent = true;
    let config = Config {
        response_timeout: Duration::from_millis(200),
        shutdown_timeout: Duration::from_secs(60),
        ..config(&gateway)
    };
    let processor = Processor::start(config, |_, _| async { Outcome::Completed });
    let ids = gateway.add_orders(2);
    processor.queue.add(&ids);
    eventually("the start arrives", || !gateway.state().starts().is_empty()).await;
    let task = processor.shut_down().await;
    gateway.state().silent = false;
    task.await.unwrap().unwrap();
    assert!(ids.iter().all(|id| gateway.state().outcome(*id) == Some(Outcome::Completed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_started_too_late_are_released() {
    let gateway = FakeGateway::start();
    gateway.state().silent = true;
    let config = Config {
        response_timeout: Duration::from_millis(200),
        shutdown_timeout: Duration::ZERO,
        report_timeout: Duration::from_secs(60),
        ..config(&gateway)
    };
    let processor = Processor::start(config, |_, _| async { Outcome::Completed });
    let ids = gateway.add_orders(2);
    processor.queue.add(&ids);
    eventually("the start arrives", || !gateway.state().starts().is_empty()).await;
    let task = processor.shut_down().await;
    eventually("the start is repeated", || gateway.state().starts().len() > 1).await;
    gateway.state().silent = false;
    task.await.unwrap().unwrap();
    assert!(ids.iter().all(|id| gateway.state().outcome(*id) == Some(Outcome::Released)));
}

#[tokio::test(flavor = "multi_thread")]
async fn unavailable_gateway_does_not_delay_the_shutdown() {
    let mut gateway = FakeGateway::start();
    let config = Config {
        shutdown_timeout: Duration::from_millis(10),
        report_timeout: Duration::from_millis(50),
        ..config(&gateway)
    };
    let processor = Processor::start(config.clone(), |_, _| std::future::pending());
    let ids = gateway.add_orders(1);
    processor.queue.add(&ids);
    eventually("it runs", || gateway.state().orders[&ids[0]].1.is_some()).await;
    gateway.kill();
    processor.stop().await;

    // The same applies to a gateway that was never reachable.
    Processor::start(config, |_, _| std::future::pending()).stop().await;
}
