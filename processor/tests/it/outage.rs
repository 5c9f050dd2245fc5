//! What happens to orders while a gateway or the queue is away.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use processor::{Config, Outcome};
use proto::v1::{self, gateway_message};
use tokio::sync::Semaphore;

use crate::gateway::FakeGateway;
use crate::harness::{Processor, config, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_start_without_an_answer_is_sent_again_with_the_same_token() {
    let mut gateway = FakeGateway::start();
    gateway.mind().mute = true;
    let processor = Processor::start(config(&gateway), |attempt, _| async move {
        assert_eq!(attempt.number(), 1);
        Outcome::Completed
    });
    let ids = gateway.add_orders(5);
    processor.queue.add(&ids);
    eventually("the start arrives", || !gateway.mind().starts().is_empty()).await;
    gateway.kill();
    gateway.mind().mute = false;
    gateway.restart();
    eventually("all are reported", || gateway.mind().reports.len() == 5).await;
    let starts = gateway.mind().starts();
    let [(first, before), (second, after)] = &starts[..] else { panic!("{starts:?}") };
    assert!(first < second);
    assert_eq!(before, after);
    processor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_go_on_while_the_gateway_is_dead() {
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
    eventually("all run", || gateway.mind().orders.values().all(|(_, lease)| lease.is_some())).await;
    gate.add_permits(1);
    eventually("one is reported", || gateway.mind().reports.len() == 1).await;
    gateway.kill();
    gate.add_permits(2);
    eventually("the others ended", || gate.available_permits() == 0).await;
    gateway.restart();
    eventually("the others are reported", || gateway.mind().reports.len() == 3).await;
    assert_eq!(gateway.mind().streams, 2);
    processor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_does_not_answer_is_given_up() {
    let gateway = FakeGateway::start();
    gateway.mind().mute = true;
    let config = Config { response_timeout: Duration::from_millis(50), ..config(&gateway) };
    let processor = Processor::start(config, |_, _| async { Outcome::Completed });
    processor.queue.add(&gateway.add_orders(1));
    eventually("a third stream is tried", || gateway.mind().streams >= 3).await;
    gateway.mind().mute = false;
    eventually("it is reported", || gateway.mind().reports.len() == 1).await;
    processor.stop().await;
}

/// Long before its answers are late: the leases of what runs would be over by then.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_does_not_renew_leases_is_given_up_at_once() {
    let gateway = FakeGateway::start();
    gateway.mind().heartbeat_interval = Some(Duration::from_millis(50));
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
    eventually("it runs", || !gateway.mind().heartbeats().is_empty()).await;
    gateway.mind().mute = true;
    eventually("another stream is tried", || gateway.mind().streams >= 2).await;
    gateway.mind().mute = false;
    gateway.mind().try_again = 1;
    let before = gateway.mind().streams;
    eventually("yet another stream is tried", || gateway.mind().streams > before).await;
    gate.add_permits(1);
    eventually("it is reported", || gateway.mind().reports.len() == 1).await;
    assert_eq!(gateway.mind().outcome(ids[0]), Some(processor::Outcome::Completed));
    processor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn try_again_means_the_same_request_again() {
    let gateway = FakeGateway::start();
    gateway.mind().try_again = 2;
    let processor = Processor::start(config(&gateway), |_, _| async { Outcome::Completed });
    let ids = gateway.add_orders(1);
    processor.queue.add(&ids);
    eventually("it is reported", || gateway.mind().reports.len() == 1).await;
    let starts = gateway.mind().starts();
    assert_eq!(starts.len(), 3);
    assert!(starts.iter().all(|start| *start == starts[0]));
    processor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_locked_is_asked_for_again_and_holds_up_nothing_else() {
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
    gateway.mind().locked = Some(ids[0]);
    processor.queue.add(&ids);
    let held = |n: usize| gateway.mind().orders[&ids[n]].1.is_some();
    eventually("the free one is started", || held(1)).await;
    assert!(!held(0));
    gateway.mind().locked = None;
    eventually("the other one is started", || held(0)).await;
    gateway.mind().locked = Some(ids[1]);
    go.close();
    eventually("the free one is reported", || gateway.mind().outcome(ids[0]).is_some()).await;
    assert_eq!(gateway.mind().outcome(ids[1]), None);
    gateway.mind().locked = None;
    eventually("both are reported", || gateway.mind().reports.len() == 2).await;
    processor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_drains_is_left_for_another() {
    let first = FakeGateway::start();
    let gateways = [first.twin(), first];
    let config =
        Config { gateway_urls: gateways.iter().map(FakeGateway::url).collect(), ..Config::default() };
    let processor = Processor::start(config, |_, _| async { Outcome::Completed });
    // An answer first, so that the stream was of use.
    processor.queue.add(&gateways[0].add_orders(1));
    eventually("it is reported", || gateways[0].mind().reports.len() == 1).await;
    gateways[0].say(gateway_message::Message::Drain(v1::Drain {}));
    eventually("both were used", || gateways.iter().all(|gateway| gateway.streams() == 1)).await;
    // Whichever stream it starts on: the other one may be on its way still.
    processor.queue.add(&gateways[0].add_orders(1));
    eventually("it is reported", || gateways[0].mind().reports.len() == 2).await;
    processor.queue.add(&gateways[0].add_orders(1));
    eventually("it is reported", || gateways[0].mind().reports.len() == 3).await;
    assert_eq!(gateways[0].mind().streams, 2);
    processor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_drains_is_used_until_there_is_another() {
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
    eventually("one runs", || gateway.mind().orders[&ids[0]].1.is_some()).await;
    gateway.mind().closed = true;
    gateway.say(gateway_message::Message::Drain(v1::Drain {}));
    eventually("another stream is wanted", || gateway.mind().turned_away > 0).await;
    let pulls = || processor.queue.pulls.lock().unwrap().len();
    let before = pulls();
    gate.add_permits(2);
    eventually("the report arrives", || gateway.mind().reports.len() == 1).await;
    eventually("it is looked for another stream", || gateway.mind().turned_away > 2).await;
    assert_eq!((gateway.mind().finishes()[0].0, pulls()), (1, before));
    gateway.mind().closed = false;
    eventually("the next order is reported", || gateway.mind().reports.len() == 2).await;
    assert_eq!(gateway.mind().finishes()[1].0, 2);
    processor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_gateway_among_several_does_no_harm() {
    let mut gateways = [FakeGateway::start(), FakeGateway::start()];
    gateways[0].kill();
    let mut urls: Vec<_> = gateways.iter().map(FakeGateway::url).collect();
    urls.push("http://name.invalid:1".to_owned());
    let config = Config { gateway_urls: urls, ..Config::default() };
    let processor = Processor::start(config, |_, _| async { Outcome::Completed });
    processor.queue.add(&gateways[1].add_orders(1));
    eventually("it is reported", || gateways[1].mind().reports.len() == 1).await;
    processor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_may_go_and_come_back() {
    let gateway = FakeGateway::start();
    let processor = Processor::start(config(&gateway), |_, _| async { Outcome::Completed });
    processor.queue.away.store(true, Ordering::SeqCst);
    processor.queue.add(&gateway.add_orders(1));
    eventually("some pulls failed", || processor.queue.pulls.lock().unwrap().len() >= 3).await;
    processor.queue.away.store(false, Ordering::SeqCst);
    processor.queue.add(&gateway.add_orders(1));
    eventually("both are reported", || gateway.mind().reports.len() == 2).await;
    processor.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_run_as_the_parts_of_an_answer_come_and_the_rest_is_asked_for_again() {
    let gateway = FakeGateway::start();
    gateway.mind().parts = Some(2);
    let processor = Processor::start(config(&gateway), |_, _| async { Outcome::Completed });
    let ids = gateway.add_orders(5);
    gateway.mind().locked = Some(ids[4]);
    processor.queue.add(&ids);
    eventually("all but the locked one are reported", || gateway.mind().reports.len() == 4).await;
    gateway.mind().locked = None;
    eventually("the locked one is reported", || gateway.mind().reports.len() == 5).await;
    let starts = gateway.mind().starts();
    assert!(starts.len() >= 3, "{starts:?}");
    let lengths: Vec<_> = starts.iter().map(|(_, leases)| leases.len()).collect();
    assert_eq!(lengths[..3], [5, 3, 1], "what was answered before the stream ended is not asked for again");
    assert_eq!(gateway.mind().streams, 2);
    processor.stop().await;
}
