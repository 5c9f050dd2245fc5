//! The end of a processor.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use domain::Outcome;
use processor::Config;
use tokio::sync::{Semaphore, mpsc};

use crate::gateway::FakeGateway;
use crate::harness::{Processor, config, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn running_handlers_may_end_and_nothing_new_is_started() {
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
    let mind = gateway.mind();
    assert_eq!(mind.reports.len(), 2);
    assert!(mind.reports.iter().all(|(_, _, outcome)| *outcome == Outcome::Completed));
    assert_eq!(mind.starts().iter().map(|(_, leases)| leases.len()).sum::<usize>(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_end_in_time_is_given_back() {
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
    eventually("all run", || gateway.mind().orders.values().all(|(_, lease)| lease.is_some())).await;
    processor.stop().await;
    assert!(ids.iter().all(|id| gateway.mind().outcome(*id) == Some(Outcome::Released)));
    // Every handler is gone when every sender is.
    assert_eq!(was_dropped.recv().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_were_just_starting_are_finished() {
    let gateway = FakeGateway::start();
    gateway.mind().mute = true;
    let config = Config {
        response_timeout: Duration::from_millis(200),
        shutdown_timeout: Duration::from_secs(60),
        ..config(&gateway)
    };
    let processor = Processor::start(config, |_, _| async { Outcome::Completed });
    let ids = gateway.add_orders(2);
    processor.queue.add(&ids);
    eventually("the start arrives", || !gateway.mind().starts().is_empty()).await;
    let task = processor.shut_down().await;
    gateway.mind().mute = false;
    task.await.unwrap().unwrap();
    assert!(ids.iter().all(|id| gateway.mind().outcome(*id) == Some(Outcome::Completed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_whose_start_is_answered_too_late_are_given_back() {
    let gateway = FakeGateway::start();
    gateway.mind().mute = true;
    let config = Config {
        response_timeout: Duration::from_millis(200),
        shutdown_timeout: Duration::ZERO,
        report_timeout: Duration::from_secs(60),
        ..config(&gateway)
    };
    let processor = Processor::start(config, |_, _| async { Outcome::Completed });
    let ids = gateway.add_orders(2);
    processor.queue.add(&ids);
    eventually("the start arrives", || !gateway.mind().starts().is_empty()).await;
    let task = processor.shut_down().await;
    eventually("the start is repeated", || gateway.mind().starts().len() > 1).await;
    gateway.mind().mute = false;
    task.await.unwrap().unwrap();
    assert!(ids.iter().all(|id| gateway.mind().outcome(*id) == Some(Outcome::Released)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_away_does_not_hold_up_the_end() {
    let mut gateway = FakeGateway::start();
    let config = Config {
        shutdown_timeout: Duration::from_millis(10),
        report_timeout: Duration::from_millis(50),
        ..config(&gateway)
    };
    let processor = Processor::start(config.clone(), |_, _| std::future::pending());
    let ids = gateway.add_orders(1);
    processor.queue.add(&ids);
    eventually("it runs", || gateway.mind().orders[&ids[0]].1.is_some()).await;
    gateway.kill();
    processor.stop().await;

    // Nor does one that was never there.
    Processor::start(config, |_, _| std::future::pending()).stop().await;
}
