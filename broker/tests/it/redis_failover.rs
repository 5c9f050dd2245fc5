//! Sentinels and clusters whose servers change.

use std::time::Duration;

use broker::redis::{Redis, RedisCertificates};
use broker::{Bus, Queue, QueueEnd, Signal, Subscription};
use test_certificates::{Authority, Leaf};
use test_redis::{Cluster, REDIS, Sentinels, Setup, Tls, VALKEY};

use crate::adapters::{events, eventually, jobs, key, within_deadline};

const PREFIX: &str = "orders";
const QUEUE: &str = "orders:queue";
const CHANNEL: &str = "orders:events";

/// Waits for `Connected`, unless the subscription was not interrupted, then for events that are published now.
async fn receives_events(bus: &impl Bus, signals: &mut Subscription, is_interrupted: bool) {
    within_deadline("an event after Connected", async {
        while is_interrupted && !matches!(signals.recv().await, Some(Signal::Connected)) {}
        // The publisher may still be connected to the previous server.
        while bus.publish(&events(1..2)).await.is_err() {
            tokio::task::yield_now().await;
        }
        loop {
            match signals.recv().await {
                Some(Signal::Events(_)) => return,
                Some(_) => {}
                None => panic!("the subscription has ended"),
            }
        }
    })
    .await;
}

/// Jobs are pushed and pulled, and a pull that began before is woken.
async fn moves_jobs(queue: &impl Queue) {
    eventually("a push", async || queue.push(&jobs(1..2), QueueEnd::Back).await.is_ok()).await;
    eventually("a pull", async || {
        queue.pull(10, Duration::from_millis(100)).await.is_ok_and(|jobs| !jobs.is_empty())
    })
    .await;
}

/// Runs `change`, which concerns the server of the channel, while a subscription and a pull wait.
async fn survives(url: &str, certificates: RedisCertificates, change: impl Future<Output = ()>) {
    survives_change(url, certificates, true, change).await;
}

/// The same for a change that may leave the server of the channel as it is.
async fn survives_change(
    url: &str,
    certificates: RedisCertificates,
    is_interrupted: bool,
    change: impl Future<Output = ()>,
) {
    let redis = Redis::with_certificates(url, PREFIX, certificates).unwrap();
    redis.check().await.unwrap();
    let (queue, bus) = (redis.queue(), redis.bus(key()));
    let mut signals = bus.subscribe().await;
    receives_events(&bus, &mut signals, true).await;
    moves_jobs(&queue).await;
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { queue.pull(1, Duration::from_secs(1)).await }
    });

    change.await;
    receives_events(&bus, &mut signals, is_interrupted).await;
    // It ends with an error if its server has ended, or without a job.
    if let Ok(jobs) = waiting.await.unwrap() {
        assert_eq!(jobs, []);
    }
    moves_jobs(&queue).await;
    redis.check().await.unwrap();
}

#[tokio::test]
async fn killed_primary_is_replaced() {
    let mut sentinels = Sentinels::start(&REDIS).await;
    survives(&sentinels.url(), RedisCertificates::default(), async { sentinels.kill_primary().await }).await;
}

#[tokio::test]
async fn primary_that_becomes_a_replica_is_left() {
    let sentinels = Sentinels::start(&REDIS).await;
    survives(&sentinels.url(), RedisCertificates::default(), async { sentinels.fail_over().await }).await;
}

#[tokio::test]
async fn killed_node_is_replaced() {
    for key in [QUEUE, CHANNEL] {
        let mut cluster = Cluster::start(&REDIS).await;
        let url = cluster.url();
        let change = async { cluster.kill_owner(key).await };
        // The subscription at another node continues.
        survives_change(&url, RedisCertificates::default(), key == CHANNEL, change).await;
    }
}

#[tokio::test]
async fn node_that_becomes_a_replica_is_left() {
    let cluster = Cluster::start(&REDIS).await;
    survives(&cluster.url(), RedisCertificates::default(), async { cluster.fail_over(CHANNEL).await }).await;
    let change = async { cluster.fail_over(QUEUE).await };
    survives_change(&cluster.url(), RedisCertificates::default(), false, change).await;
}

#[tokio::test]
async fn moved_slots_are_found() {
    let cluster = Cluster::start(&REDIS).await;
    survives(&cluster.url(), RedisCertificates::default(), async {
        cluster.move_slot(CHANNEL).await;
        cluster.move_slot(QUEUE).await;
    })
    .await;
}

#[tokio::test]
async fn valkey_fails_over() {
    let mut cluster = Cluster::start(&VALKEY).await;
    let url = cluster.url();
    let change = async { cluster.kill_owner(QUEUE).await };
    survives_change(&url, RedisCertificates::default(), false, change).await;
    let mut sentinels = Sentinels::start(&VALKEY).await;
    survives(&sentinels.url(), RedisCertificates::default(), async { sentinels.kill_primary().await }).await;
}

/// Servers and clients show certificates to each other.
#[tokio::test]
async fn several_servers_use_tls() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("Redis of a test");
    let issued = authority.issue(&Leaf::server().also_client());
    let file = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let (certificate, private_key) = (issued.pem(), issued.key_pem());
    let tls = Tls {
        authority: file("ca.pem", &authority.pem()),
        certificate: file("certificate.pem", &certificate),
        key: file("key.pem", &private_key),
    };
    let certificates = RedisCertificates {
        authorities: Some(authority.pem().into_bytes()),
        certificate_and_key: Some((certificate.into_bytes(), private_key.into_bytes())),
    };
    let setup = Setup { tls: Some(tls), ..REDIS };
    let cluster = Cluster::start(&setup).await;
    survives(&cluster.url(), certificates.clone(), async { cluster.fail_over(CHANNEL).await }).await;
    let sentinels = Sentinels::start(&setup).await;
    survives(&sentinels.url(), certificates, async { sentinels.fail_over().await }).await;
}
