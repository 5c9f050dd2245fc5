//! The lease of the reader, and the mark of an event.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use subscriber::{Delivery, Event, EventHandler, Retry, async_trait};

use crate::fake_gateway::{Gateway, Recorder, Running, config, eventually, number};

#[tokio::test]
async fn one_process_works_and_the_other_takes_over() {
    let gateway = Gateway::with_events(2);
    let (url, _stop) = gateway.serve().await;
    let [first, second] = [(), ()].map(|()| Recorder::new(|_| async { Ok(()) }));
    let working = Running::start(config(&url), first.clone());
    eventually("commit", || gateway.state().committed == 2).await;
    let waiting = Running::start(config(&url), second.clone());
    gateway.add_events(2);
    eventually("commit", || gateway.state().committed == 4).await;
    working.stop().await;
    gateway.add_events(1);
    eventually("commit", || gateway.state().committed == 5).await;
    assert_eq!((first.seen(), second.seen()), (vec![1, 2, 3, 4], vec![5]));
    waiting.stop().await;
}

#[tokio::test]
async fn a_slow_handler_keeps_its_lease() {
    let gateway = Gateway::with_events(1);
    let (url, _stop) = gateway.serve().await;
    let handler = Recorder::new(|_| async {
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        Ok(())
    });
    let running = Running::start(config(&url), handler.clone());
    eventually("commit", || gateway.state().committed == 1).await;
    assert_eq!(handler.seen(), [1]);
    running.stop().await;
}

#[tokio::test]
async fn a_handler_is_stopped_when_the_lease_is_lost() {
    let gateway = Gateway::with_events(1);
    let (url, _stop) = gateway.serve().await;
    let ended = Arc::new(Mutex::new(0));
    let counted = ended.clone();
    let handler = Recorder::new(move |_| {
        let counted = counted.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            *counted.lock().unwrap() += 1;
            Ok(())
        }
    });
    let running = Running::start(config(&url), handler.clone());
    eventually("the handler", || handler.seen().len() == 1).await;
    // Another process has taken the lease: the next renewal learns it.
    gateway.state().holder = Some("another".to_owned());
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    assert_eq!((handler.seen().len(), *ended.lock().unwrap()), (1, 0));
    gateway.state().holder = None;
    eventually("commit", || gateway.state().committed == 1).await;
    assert_eq!((handler.seen(), *ended.lock().unwrap()), (vec![1, 1], 1));
    // Without an answer, the lease is lost at its end.
    gateway.add_events(1);
    eventually("the handler", || handler.seen().len() == 3).await;
    gateway.state().is_unavailable = true;
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    assert_eq!(*ended.lock().unwrap(), 1);
    // The gateway ends it as well.
    gateway.state().holder = None;
    gateway.state().is_unavailable = false;
    eventually("commit", || gateway.state().committed == 2).await;
    running.stop().await;
}

/// Marks each event, and hangs before the effect of the first delivery of event 2.
#[derive(Default)]
struct Mailer {
    effects: Mutex<Vec<usize>>,
    hangs: bool,
}

#[async_trait]
impl EventHandler for Mailer {
    async fn handle(&self, event: &Event, delivery: &Delivery) -> Result<(), Retry> {
        if delivery.is_marked() {
            return Ok(());
        }
        delivery.mark().await?;
        if number(event) == 2 && self.hangs {
            std::future::pending::<()>().await;
        }
        if number(event) == 3 && self.effects.lock().unwrap().len() == 1 {
            self.effects.lock().unwrap().push(33);
            delivery.clear_mark().await?;
            return Err(Retry::new("failed for certain"));
        }
        self.effects.lock().unwrap().push(number(event));
        Ok(())
    }
}

#[tokio::test]
async fn a_marked_event_is_not_repeated_by_the_next_process() {
    let gateway = Gateway::with_events(4);
    let (url, _stop) = gateway.serve().await;
    let first = Arc::new(Mailer { hangs: true, ..Mailer::default() });
    let running = tokio::spawn(subscriber::run(config(&url), first.clone(), std::future::pending()));
    eventually("the mark", || gateway.state().metadata.ends_with("2-1")).await;
    running.abort();
    let _ = running.await;
    assert_eq!(*first.effects.lock().unwrap(), [1]);
    gateway.state().holder = None;
    let second = Arc::new(Mailer::default());
    second.effects.lock().unwrap().push(0);
    let running = Running::start(config(&url), second.clone());
    eventually("commit", || gateway.state().committed == 4).await;
    // The second event has its mark; the third one has failed, and succeeds.
    assert_eq!(*second.effects.lock().unwrap(), [0, 33, 3, 4]);
    running.stop().await;
}
