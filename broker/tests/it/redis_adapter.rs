//! Tests of the Redis adapter only: its wire format, and faults of the server.

use std::time::Duration;

use broker::redis::{BusKey, DEFAULT_PREFIX, Redis};
use broker::{Bus, Error, Job, Queue, QueueEnd, Signal};
use futures_util::StreamExt;
use redis::AsyncCommands;
use tokio::time::Instant;

use crate::adapters::{DEADLINE, events, eventually, jobs, key, random_prefix, redis_url, within_deadline};
use crate::bus::{expect_connected, expect_events};
use crate::redis_server::RedisServer;

/// Connects a client that does not use the adapter.
async fn plain_client() -> redis::aio::MultiplexedConnection {
    redis::Client::open(redis_url()).unwrap().get_multiplexed_async_connection().await.unwrap()
}

fn unavailable<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    match result {
        Err(Error::Unavailable(message)) => message,
        other => panic!("expected Unavailable, got {other:?}"),
    }
}

#[tokio::test]
async fn job_has_the_documented_json() {
    let prefix = random_prefix();
    let job = Job { order_id: "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap(), quantity: 2 };
    Redis::new(&redis_url(), &prefix).unwrap().queue().push(&[job], QueueEnd::Back).await.unwrap();
    let entry: String = plain_client().await.rpop(format!("{prefix}:queue"), None).await.unwrap();
    assert_eq!(entry, r#"{"orderId":"01890a5d-ac96-774b-bcce-b302099a8057","quantity":2}"#);
    assert_eq!(DEFAULT_PREFIX, "orders");
}

#[tokio::test]
async fn invalid_entries_are_skipped() {
    let prefix = random_prefix();
    let queue = Redis::new(&redis_url(), &prefix).unwrap().queue();
    let mut foreign = plain_client().await;
    let key = format!("{prefix}:queue");
    let id = "01890a5d-ac96-774b-bcce-b302099a8057";
    let invalid: [&[u8]; 5] = [b"", b"\xff\xfe", b"{}", br#"{"orderId":17,"quantity":2}"#, b"[1,2,3]"];
    for entry in invalid {
        let _: () = foreign.lpush(&key, entry).await.unwrap();
    }
    assert_eq!(queue.pull(10, Duration::ZERO).await.unwrap(), [], "all entries are invalid");
    assert_eq!(queue.len().await.unwrap(), 0, "invalid entries do not return to the queue");

    let _: () = foreign.lpush(&key, "invalid").await.unwrap();
    let spaced = format!(r#"{{ "quantity": 3, "orderId": "{id}", "priority": "added later" }}"#);
    let _: () = foreign.lpush(&key, spaced).await.unwrap();
    let expected = Job { order_id: id.parse().unwrap(), quantity: 3 };
    // The pull continues after the invalid entry.
    assert_eq!(queue.pull(1, DEADLINE).await.unwrap(), [expected]);
}

#[tokio::test]
async fn invalid_messages_are_skipped() {
    let prefix = random_prefix();
    let bus = Redis::new(&redis_url(), &prefix).unwrap().bus(key());
    let mut subscription = bus.subscribe().await;
    expect_connected(&mut subscription).await;
    let mut foreign = plain_client().await;
    for invalid in ["", "{}", "[1]", "\u{1}invalid"] {
        let _: () = foreign.publish(format!("{prefix}:events"), invalid).await.unwrap();
    }
    let all = events(1..3);
    bus.publish(&all).await.unwrap();
    assert_eq!(expect_events(&mut subscription).await, all);
}

#[tokio::test]
async fn waiting_pulls_do_not_block_other_commands() {
    let queue = Redis::new(&redis_url(), &random_prefix()).unwrap().queue();
    let all = jobs(0..30);
    let pullers: Vec<_> = all
        .iter()
        .map(|_| {
            let queue = queue.clone();
            tokio::spawn(async move { queue.pull(1, Duration::MAX).await.unwrap() })
        })
        .collect();
    assert_eq!(queue.len().await.unwrap(), 0);
    queue.push(&all, QueueEnd::Back).await.unwrap();
    let mut got = Vec::new();
    for puller in pullers {
        got.extend(within_deadline("a waiting pull", puller).await.unwrap());
    }
    got.sort_by_key(|job| job.quantity);
    assert_eq!(got, all);
}

#[tokio::test]
async fn check_returns_the_server_version() {
    let info = Redis::new(&redis_url(), &random_prefix()).unwrap().check().await.unwrap();
    assert!(info.version.starts_with("Redis ") || info.version.starts_with("Valkey "), "{info:?}");
}

#[tokio::test]
async fn eviction_policy_gives_a_warning() {
    let server = RedisServer::start();
    let redis = Redis::new(&server.url(), DEFAULT_PREFIX).unwrap();
    eventually("the server answers", async || redis.check().await.is_ok()).await;
    let mut admin =
        redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.unwrap();
    let _: () = redis::cmd("CONFIG")
        .arg(&["SET", "maxmemory-policy", "allkeys-lru"])
        .query_async(&mut admin)
        .await
        .unwrap();
    let warnings = redis.check().await.unwrap().warnings;
    assert!(warnings.iter().any(|warning| warning.contains("noeviction")), "{warnings:?}");
}

#[tokio::test]
async fn calls_without_a_server_fail_in_time_and_hide_the_password() {
    // The port of a listener that is closed, so no server listens on it.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("redis://user:hunter2@127.0.0.1:{port}/0");
    let redis = Redis::new(&url, DEFAULT_PREFIX).expect("the server need not be there yet");
    let (queue, bus) = (redis.queue(), redis.bus(key()));
    let started = Instant::now();
    let messages = [
        unavailable(redis.check().await),
        unavailable(queue.push(&jobs(0..1), QueueEnd::Back).await),
        unavailable(queue.pull(1, Duration::MAX).await),
        unavailable(queue.len().await),
        unavailable(bus.publish(&events(1..2)).await),
        format!("{redis:?} {queue:?} {bus:?}"),
    ];
    assert!(started.elapsed() < DEADLINE, "{:?}", started.elapsed());
    for message in messages {
        assert!(message.contains(&format!("redis://user:***@127.0.0.1:{port}/0")), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[tokio::test]
async fn rejected_password_is_not_in_the_error() {
    let server = RedisServer::start();
    let open = Redis::new(&server.url(), DEFAULT_PREFIX).unwrap();
    eventually("the server answers", async || open.check().await.is_ok()).await;
    let redis = Redis::new(&format!("{}?user=me&pass=hunter2", server.url()), DEFAULT_PREFIX).unwrap();
    let message = unavailable(redis.check().await);
    assert!(message.contains("password") && !message.contains("hunter2"), "{message}");
}

#[tokio::test]
async fn restarted_server_is_used_again() {
    let mut server = RedisServer::start();
    let redis = Redis::new(&server.url(), DEFAULT_PREFIX).unwrap();
    let (queue, bus) = (redis.queue(), redis.bus(key()));
    let mut subscription = bus.subscribe().await;
    expect_connected(&mut subscription).await;
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { queue.pull(1, Duration::MAX).await }
    });
    // Pooled connections exist before the crash.
    bus.publish(&events(1..2)).await.unwrap();
    assert_eq!(expect_events(&mut subscription).await[0].sequence, 1);

    server.kill();
    unavailable(within_deadline("the pull during the crash", waiting).await.unwrap());
    unavailable(bus.publish(&events(2..3)).await);
    unavailable(queue.push(&jobs(0..1), QueueEnd::Back).await);

    server.restart();
    expect_connected(&mut subscription).await;
    bus.publish(&events(3..4)).await.unwrap();
    assert_eq!(expect_events(&mut subscription).await[0].sequence, 3);
    let all = jobs(0..1);
    queue.push(&all, QueueEnd::Back).await.unwrap();
    assert_eq!(queue.pull(1, DEADLINE).await.unwrap(), all);
}

#[tokio::test]
async fn frozen_server_is_detected_and_used_again() {
    let server = RedisServer::start();
    let redis = Redis::new(&server.url(), DEFAULT_PREFIX).unwrap();
    let (queue, bus) = (redis.queue(), redis.bus(key()));
    let mut subscription = bus.subscribe().await;
    expect_connected(&mut subscription).await;
    assert_eq!(queue.pull(1, Duration::ZERO).await.unwrap(), []);

    server.freeze();
    let message = unavailable(within_deadline("a pull without answer", queue.pull(1, Duration::MAX)).await);
    assert!(message.contains("no response within"), "{message}");
    unavailable(within_deadline("a push without answer", queue.push(&jobs(0..1), QueueEnd::Back)).await);
    // The subscription detects the freeze and replaces its connection. A thaw before that keeps the old connection
    // usable, so each freeze is longer than the one before, until one is long enough.
    let mut signal = None;
    for seconds in [0, 5, 10, 20] {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        server.thaw();
        signal = tokio::time::timeout(Duration::from_secs(3), subscription.recv()).await.ok();
        if signal.is_some() {
            break;
        }
        server.freeze();
    }
    assert!(matches!(signal, Some(Some(Signal::Connected))), "{signal:?}");
    bus.publish(&events(1..2)).await.unwrap();
    assert_eq!(crate::bus::expect_events(&mut subscription).await[0].sequence, 1);
    eventually("the queue works", async || queue.len().await.is_ok()).await;
}

/// Subscribes to the raw messages, as any client with permission can.
async fn recorder(prefix: &str) -> redis::aio::PubSub {
    let mut recorder = redis::Client::open(redis_url()).unwrap().get_async_pubsub().await.unwrap();
    recorder.subscribe(format!("{prefix}:events")).await.unwrap();
    recorder
}

async fn recorded(recorder: &mut redis::aio::PubSub) -> Vec<u8> {
    let message = within_deadline("a recorded message", recorder.on_message().next()).await.unwrap();
    message.get_payload_bytes().to_vec()
}

#[tokio::test]
async fn forged_foreign_and_repeated_messages_are_dropped() {
    let prefix = random_prefix();
    let redis = Redis::new(&redis_url(), &prefix).unwrap();
    let mut subscription = redis.bus(key()).subscribe().await;
    expect_connected(&mut subscription).await;
    let mut recorder = recorder(&prefix).await;
    let genuine = redis.bus(key());
    genuine.publish(&events(1..3)).await.unwrap();
    assert_eq!(expect_events(&mut subscription).await.len(), 2);
    genuine.publish_gap().await.unwrap();
    expect_connected(&mut subscription).await;
    let (first, loss) = (recorded(&mut recorder).await, recorded(&mut recorder).await);

    let other_secret = redis.bus(BusKey::new([1; 16], b"not the secret of the tests"));
    let other_installation = redis.bus(BusKey::new([2; 16], b"the secret of the tests"));
    for other in [other_secret, other_installation] {
        other.publish(&events(7..9)).await.unwrap();
        other.publish_gap().await.unwrap();
    }
    let mut foreign = plain_client().await;
    let mut longer = first.clone();
    longer.push(0);
    // Version 1 of the format, which has no signature: order, sequence, status, attempt, time, reason.
    let old = [&[1_u8][..], &[7; 16], &[0, 0, 0, 2, 4, 1], &[0; 12], &[0, 0, 0, 0]].concat();
    for forged in [&first[..], &loss, &first[..first.len() - 1], &first[..40], &longer, &old, &[1], &[2], b""]
    {
        let _: () = foreign.publish(format!("{prefix}:events"), forged).await.unwrap();
    }
    // The next received message is the next authentic one.

    let all = events(3..5);
    genuine.publish(&all).await.unwrap();
    assert_eq!(expect_events(&mut subscription).await, all);
}
