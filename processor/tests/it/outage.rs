//! Outages of gateways and of the queue.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use processor::{Config, Outcome};
use proto::v1::{self, gateway_message};
use tokio::sync::Semaphore;

use crate::fake_gateway::FakeGateway;
use crate::harness::{Processor, config, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn start_without_a_response_is_repeated_with_its_token() {
    let mut gateway = FakeGateway::start();
    gateway.state().silent = true;
    let processor = Processor::start(config(&gateway), |attempt, _| async move {
        assert_eq!(attempt.number(), 1);
        Outcome::Completed
    });
    let ids = gateway.add_orders(5);
    processor.queue.add(&ids);
    eventually("the start arrives", || !gateway.state().starts().is_empty()).await;
    gateway.kill();
    gateway.state().silent = false;
    gateway.restart();
    eventually("all are reported", || gateway.state().reports.len() == 5).await;
    let starts = gateway.state().starts();
    let [(first, before), (second, after)] = &starts[..] else { panic!("{starts:?}") };
    assert!(first < second);
    assert_eq!(before, after);
    processor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_continue_while_the_gateway_is_down() {
    let mut gateway = FakeGateway::start();
    let gate = Arc::new(Semaphore::new(0));
    let permits = gate.clone();
    let processor = Processor::start(config(&gateway), move |_, cancelled| {
        let permits = permits.clone();
        async move {
            permits.acquire().await.unwrap().forget();
            assert!(!cancelled.is_cancelled());
            Outcome::Completed
        }
    });
    let ids = gateway.add_orders(3);
    processor.queue.add(&ids);
    eventually("all run", || gateway.state().orders.values().all(|(_, lease)| lease.is_some())).await;
    gate.add_permits(1);
    eventually("one is reported", || gateway.state().reports.len() == 1).await;
    gateway.kill();
    gate.add_permits(2);
    eventually("the others ended", || gate.available_permits() == 0).await;
    gateway.restart();
    eventually("the others are reported", || gateway.state().reports.len() == 3).await;
    assert_eq!(gateway.state().streams, 2);
    processor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_gateway_is_replaced() {
    let gateway = FakeGateway::start();
    gateway.state().silent = true;
    let config = Config { response_timeout: Duration::from_millis(50), ..config(&gateway) };
    let processor = Processor::start(config, |_, _| async { Outcome::Completed });
    processor.queue.add(&gateway.add_orders(1));
    eventually("a third stream is tried", || gateway.state().streams >= 3).await;
    gateway.state().silent = false;
    eventually("it is reported", || gateway.state().reports.len() == 1).await;
    processor.stop().await;
}

/// The heartbeat timeout is shorter than the response timeout, after which the leases would have expired.
#[tokio::test(flavor = "multi_thread")]
async fn gateway_that_renews_no_leases_is_replaced_early() {
    let gateway = FakeGateway::start();
    gateway.state().heartbeat_interval = Some(Duration::from_millis(50));
    let gate = Arc::new(Semaphore::new(0));
    let permits = gate.clone();
    let config = Config { response_timeout: Duration::from_secs(3_600), ..config(&gateway) };
    let processor = Processor::start(config, move |_, cancelled| {
        let permits = permits.clone();
        async move {
            permits.acquire().await.unwrap().forget();
            assert!(!cancelled.is_cancelled());
            Outcome::Completed
        }
    });
    let ids = gateway.add_orders(1);
    processor.queue.add(&ids);
    eventually("it runs", || !gateway.state().heartbeats().is_empty()).await;
    gateway.state().silent = true;
    eventually("another stream is tried", || gateway.state().streams >= 2).await;
    gateway.state().silent = false;
    gateway.state().try_again = 1;
    let before = gateway.state().streams;
    eventually("yet another stream is tried", || gateway.state().streams > before).await;
    gate.add_permits(1);
    eventually("it is reported", || gateway.state().reports.len() == 1).await;
    assert_eq!(gateway.state().outcome(ids[0]), Some(processor::Outcome::Completed));
    processor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn try_again_repeats_the_request() {
    let gateway = FakeGateway::start();
    gateway.state().try_again = 2;
    let processor = Processor::start(config(&gateway), |_, _| async { Outcome::Completed });
    let ids = gateway.add_orders(1);
    processor.queue.add(&ids);
    eventually("it is reported", || gateway.state().reports.len() == 1).await;
    let starts = gateway.state().starts();
    assert_eq!(starts.len(), 3);
    assert!(starts.iter().all(|start| *start == starts[0]));
    processor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn undecided_entries_are_repeated_and_delay_no_others() {
    let gateway = FakeGateway::start();
    let go = Arc::new(Semaphore::new(0));
    let wait = go.clone();
    let processor = Processor::start(config(&gateway), move |_, _| {
        let go = wait.clone();
        async move {
            drop(go.acquire().await);
            Outcome::Completed
        }
    });
    let ids = gateway.add_orders(2);
    gateway.state().locked = Some(ids[0]);
    processor.queue.add(&ids);
    let held = |n: usize| gateway.state().orders[&ids[n]].1.is_some();
    eventually("the free one is started", || held(1)).await;
    assert!(!held(0));
    gateway.state().locked = None;
    eventually("the other one is started", || held(0)).await;
    gateway.state().locked = Some(ids[1]);
    go.close();
    eventually("the free one is reported", || gateway.state().outcome(ids[0]).is_some()).await;
    assert_eq!(gateway.state().outcome(ids[1]), None);
    gateway.state().locked = None;
    eventually("both are reported", || gateway.state().reports.len() == 2).await;
    processor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_gateway_is_replaced() {
    let first = FakeGateway::start();
    let gateways = [first.second_gateway(), first];
    let config =
        Config { gateway_urls: gateways.iter().map(FakeGateway::url).collect(), ..Config::default() };
    let processor = Processor::start(config, |_, _| async { Outcome::Completed });
    // A first response, so that the stream does not count as a failure.
    processor.queue.add(&gateways[0].add_orders(1));
    eventually("it is reported", || gateways[0].state().reports.len() == 1).await;
    gateways[0].push_message(gateway_message::Message::Drain(v1::Drain::default()));
    eventually("both were used", || gateways.iter().all(|gateway| gateway.streams() == 1)).await;
    // The order starts on either stream: the second one may not be open yet.
    processor.queue.add(&gateways[0].add_orders(1));
    eventually("it is reported", || gateways[0].state().reports.len() == 2).await;
    processor.queue.add(&gateways[0].add_orders(1));
    eventually("it is reported", || gateways[0].state().reports.len() == 3).await;
    assert_eq!(gateways[0].state().streams, 2);
    processor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_gateway_is_used_until_it_is_replaced() {
    let gateway = FakeGateway::start();
    let gate = Arc::new(Semaphore::new(0));
    let permits = gate.clone();
    let processor = Processor::start(Config { concurrency: 1, ..config(&gateway) }, move |_, _| {
        let permits = permits.clone();
        async move {
            permits.acquire().await.unwrap().forget();
            Outcome::Completed
        }
    });
    let ids = gateway.add_orders(2);
    processor.queue.add(&ids);
    eventually("one runs", || gateway.state().orders[&ids[0]].1.is_some()).await;
    gateway.state().closed = true;
    gateway.push_message(gateway_message::Message::Drain(v1::Drain::default()));
    eventually("another stream is wanted", || gateway.state().rejected_streams > 0).await;
    let pulls = || processor.queue.pulls.lock().unwrap().len();
    let before = pulls();
    gate.add_permits(2);
    eventually("the report arrives", || gateway.state().reports.len() == 1).await;
    eventually("further streams are tried", || gateway.state().rejected_streams > 2).await;
    assert_eq!((gateway.state().finishes()[0].0, pulls()), (1, before));
    gateway.state().closed = false;
    eventually("the next order is reported", || gateway.state().reports.len() == 2).await;
    assert_eq!(gateway.state().finishes()[1].0, 2);
    processor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_gateway_among_several_is_skipped() {
    let mut gateways = [FakeGateway::start(), FakeGateway::start()];
    gateways[0].kill();
    let mut urls: Vec<_> = gateways.iter().map(FakeGateway::url).collect();
    urls.push("http://name.invalid:1".to_owned());
    let config = Config { gateway_urls: urls, ..Config::default() };
    let processor = Processor::start(config, |_, _| async { Outcome::Completed });
    processor.queue.add(&gateways[1].add_orders(1));
    eventually("it is reported", || gateways[1].state().reports.len() == 1).await;
    processor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_outage_is_survived() {
    let gateway = FakeGateway::start();
    let processor = Processor::start(config(&gateway), |_, _| async { Outcome::Completed });
    processor.queue.unavailable.store(true, Ordering::SeqCst);
    processor.queue.add(&gateway.add_orders(1));
    eventually("some pulls failed", || processor.queue.pulls.lock().unwrap().len() >= 3).await;
    processor.queue.unavailable.store(false, Ordering::SeqCst);
    processor.queue.add(&gateway.add_orders(1));
    eventually("both are reported", || gateway.state().reports.len() == 2).await;
    processor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_part_of_a_response_runs_and_the_rest_is_repeated() {
    let gateway = FakeGateway::start();
    gateway.state().parts = Some(2);
    let processor = Processor::start(config(&gateway), |_, _| async { Outcome::Completed });
    let ids = gateway.add_orders(5);
    gateway.state().locked = Some(ids[4]);
    processor.queue.add(&ids);
    eventually("all but the locked one are reported", || gateway.state().reports.len() == 4).await;
    gateway.state().locked = None;
    eventually("the locked one is reported", || gateway.state().reports.len() == 5).await;
    let starts = gateway.state().starts();
    assert!(starts.len() >= 3, "{starts:?}");
    let lengths: Vec<_> = starts.iter().map(|(_, leases)| leases.len()).collect();
    assert_eq!(lengths[..3], [5, 3, 1], "entries answered before the end of the stream are not repeated");
    assert_eq!(gateway.state().streams, 2);
    processor.stop().await;
}
