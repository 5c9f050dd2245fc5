//! The order of the events, failures of the handler and of gateways, and the end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use subscriber::{Error, OnExpired, Retry};

use crate::fake_gateway::{Gateway, Recorder, Running, config, eventually};

#[tokio::test]
async fn events_come_in_order_and_are_committed() {
    let gateway = Gateway::with_events(10);
    let (url, _stop) = gateway.serve().await;
    let handler = Recorder::new(|_| async { Ok(()) });
    let running = Running::start(config(&url), handler.clone());
    eventually("commit", || gateway.state().committed == 10).await;
    gateway.add_events(1);
    eventually("commit", || gateway.state().committed == 11).await;
    assert_eq!(handler.seen(), (1..=11).collect::<Vec<_>>());
    running.stop().await;
    assert_eq!(gateway.state().holder, None);
    // One commit for each page, one at the end, and renewals.
    assert!(gateway.state().commits < 11, "{}", gateway.state().commits);
}

#[tokio::test]
async fn a_failed_event_is_repeated_and_not_skipped() {
    let gateway = Gateway::with_events(3);
    let (url, _stop) = gateway.serve().await;
    let failures = AtomicUsize::new(0);
    let handler = Recorder::new(move |n| {
        let failure = if n == 2 { failures.fetch_add(1, Ordering::Relaxed) } else { 9 };
        async move {
            match failure {
                0 => Err(Retry::new("no")),
                1 => Err(std::io::Error::other("no"))?,
                2 => panic!("no"),
                3 => Err(Retry::new("later").after(Duration::from_millis(1))),
                _ => Ok(()),
            }
        }
    });
    let running = Running::start(config(&url), handler.clone());
    eventually("commit", || gateway.state().committed == 3).await;
    assert_eq!(handler.seen(), [1, 2, 2, 2, 2, 2, 3]);
    running.stop().await;
}

#[tokio::test]
async fn another_gateway_takes_over() {
    let gateway = Gateway::with_events(1);
    let (first, stop_first) = gateway.serve().await;
    let (second, _stop) = gateway.serve().await;
    let handler = Recorder::new(|_| async { Ok(()) });
    let mut config = config(&first);
    let running = Running::start(config.clone(), handler.clone());
    eventually("commit", || gateway.state().committed == 1).await;
    running.stop().await;
    config.gateway_urls.push(second);
    stop_first.cancel();
    gateway.add_events(1);
    let running = Running::start(config, handler.clone());
    eventually("commit", || gateway.state().committed == 2).await;
    assert_eq!(handler.seen(), [1, 2]);
    running.stop().await;
}

#[tokio::test]
async fn a_stopped_subscriber_commits_what_it_has_applied() {
    let gateway = Gateway::with_events(4);
    let (url, _stop) = gateway.serve().await;
    let handler = Recorder::new(|n| async move {
        if n == 3 {
            std::future::pending::<()>().await;
        }
        Ok(())
    });
    let mut config = config(&url);
    config.shutdown_timeout = Duration::from_millis(50);
    let running = Running::start(config, handler.clone());
    eventually("the third event", || handler.seen().len() == 3).await;
    running.stop().await;
    let state = gateway.state();
    assert_eq!((state.committed, &state.holder), (2, &None));
}

#[tokio::test]
async fn missing_events_end_the_subscriber_unless_it_may_continue() {
    let gateway = Gateway::with_events(4);
    gateway.state().oldest = 2;
    let (url, _stop) = gateway.serve().await;
    let handler = Recorder::new(|_| async { Ok(()) });
    let mut config = config(&url);
    let ended = Running::start(config.clone(), handler.clone()).end().await;
    assert!(matches!(ended, Err(Error::Expired { oldest }) if oldest == "2"));
    gateway.state().holder = None;
    config.on_expired = OnExpired::ContinueAtOldest;
    let running = Running::start(config, handler.clone());
    eventually("commit", || gateway.state().committed == 4).await;
    assert_eq!(handler.seen(), [3, 4]);
    // Events can also be removed while the subscriber runs.
    {
        let mut state = gateway.state();
        (state.events, state.oldest) = (8, 6);
    }
    eventually("commit", || gateway.state().committed == 8).await;
    assert_eq!(handler.seen(), [3, 4, 7, 8]);
    running.stop().await;
}

#[tokio::test]
async fn invalid_settings_are_errors() {
    for (change, name) in [
        ((|config| config.lease = Duration::ZERO) as fn(&mut subscriber::Config), "lease"),
        (|config| config.page = 0, "page"),
        (|config| config.gateway_urls.clear(), "gateway_urls"),
        (|config| config.response_timeout = Duration::ZERO, "response_timeout"),
    ] {
        let mut config = config("http://127.0.0.1:1");
        change(&mut config);
        let ended = Running::start(config, Recorder::new(|_| async { Ok(()) })).end().await;
        assert!(ended.unwrap_err().to_string().starts_with(name));
    }
}
