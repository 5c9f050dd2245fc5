//! Servers that respond but reject required commands.

use broker::redis::Redis;
use broker::{Bus, Queue, QueueEnd, Signal};
use test_redis::{Cluster, PASSWORD, REDIS, Sentinels};

use crate::adapters::{eventually, jobs, key, within_deadline};
use crate::redis_server::RedisServer;

async fn client(server: &RedisServer) -> Option<redis::aio::MultiplexedConnection> {
    redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.ok()
}

/// Polls until there is a result, and returns it.
async fn poll_until_some<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let mut found = None;
    eventually(what, async || {
        found = attempt().await;
        found.is_some()
    })
    .await;
    found.unwrap()
}

/// Checks that a server that responds to reads and rejects jobs is detected without a push.
async fn expect_rejection(setup: &[&str], reset: &[&str], code: &str, description: &str) {
    let server = RedisServer::start();
    let redis = Redis::new(&server.url(), "test").unwrap();
    let queue = redis.queue();
    poll_until_some("an answer", async || queue.len().await.ok()).await;
    queue.push(&jobs(0..1), QueueEnd::Back).await.unwrap();
    assert_eq!(queue.len().await.unwrap(), 1);
    let mut admin = client(&server).await.unwrap();
    let command = |words: &[&str]| {
        words.iter().skip(1).fold(redis::cmd(words[0]), |mut cmd, word| {
            cmd.arg(*word);
            cmd
        })
    };
    command(setup).exec_async(&mut admin).await.unwrap();
    let error = poll_until_some("a rejection", async || queue.len().await.err()).await.to_string();
    assert!(error.contains(code) && error.contains(description), "{error}");
    let error = redis.check().await.unwrap_err().to_string();
    assert!(error.contains(code) && error.contains(description), "{error}");
    command(reset).exec_async(&mut admin).await.unwrap();
    poll_until_some("the server to take jobs", async || queue.len().await.ok()).await;
    redis.check().await.unwrap();
}

#[tokio::test]
async fn replica_is_detected_without_a_push() {
    let words = ["REPLICAOF", "127.0.0.1", "1"];
    expect_rejection(&words, &["REPLICAOF", "NO", "ONE"], "READONLY", "is a replica").await;
}

#[tokio::test]
async fn full_server_is_detected_without_a_push() {
    let words = ["CONFIG", "SET", "maxmemory", "1"];
    expect_rejection(&words, &["CONFIG", "SET", "maxmemory", "0"], "OOM", "used up its memory").await;
}

#[tokio::test]
async fn cluster_node_is_detected() {
    let server = RedisServer::start_with(&["--cluster-enabled", "yes"]);
    let redis = Redis::new(&server.url(), "test").unwrap();
    let error = poll_until_some("a rejection", async || {
        redis
            .queue()
            .len()
            .await
            .err()
            .map(|error| error.to_string())
            .filter(|error| error.contains("CLUSTERDOWN"))
    })
    .await;
    assert!(error.contains("node of a cluster that is down"), "{error}");
    // A node works while it has the key; a warning states that another node may get it.
    let mut admin = client(&server).await.unwrap();
    redis::cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(0).arg(16383).exec_async(&mut admin).await.unwrap();
    let info = poll_until_some("the slots", async || redis.check().await.ok()).await;
    assert!(info.warnings.iter().any(|warning| warning.contains("node of a cluster")), "{:?}", info.warnings);
}

/// Uses the documented commands, and then without the command that only detects such servers early.
#[tokio::test]
async fn restricted_user_has_sufficient_permissions() {
    let server = RedisServer::start();
    let mut admin = poll_until_some("an answer", async || client(&server).await).await;
    let commands = format!("{COMMANDS} +publish +subscribe +select");
    for (user, commands) in [("some", commands.clone()), ("less", commands.replace("+setrange", ""))] {
        let rights = rights_of(user, &commands);
        redis::cmd("ACL").arg(&rights[1..]).exec_async(&mut admin).await.unwrap();
        uses_every_command(&format!("{}?user={user}&pass=secret&db=1", server.url())).await;
    }
}

#[tokio::test]
async fn restricted_user_has_sufficient_permissions_behind_sentinels() {
    let sentinels = Sentinels::start(&REDIS).await;
    for server in sentinels.servers() {
        let commands = format!("{COMMANDS} +publish +subscribe +role");
        assert_eq!(server.command(&rights_of("some", &commands)).await, "OK");
    }
    uses_every_command(&sentinels.url().replace(&format!(":{PASSWORD}@"), "some:secret@")).await;
}

#[tokio::test]
async fn restricted_user_has_sufficient_permissions_in_a_cluster() {
    let cluster = Cluster::start(&REDIS).await;
    for node in cluster.nodes() {
        let commands = format!("{COMMANDS} +spublish +ssubscribe +cluster|info +cluster|slots");
        assert_eq!(node.command(&rights_of("some", &commands)).await, "OK");
    }
    uses_every_command(&cluster.url().replace(&format!(":{PASSWORD}@"), "some:secret@")).await;
}

/// The documented commands of every topology.
const COMMANDS: &str = "+info +ping +unwatch +lpush +rpush +llen +lmpop +blmpop +setrange +time +zadd +zrem \
                        +zremrangebyscore +zcount +pexpire";

/// Returns the command that creates a user with the documented rights.
fn rights_of<'t>(user: &'t str, commands: &'t str) -> Vec<&'t str> {
    let rights = ["on", ">secret", "resetkeys", "~test:*", "resetchannels", "&test:*", "-@all"];
    [&["ACL", "SETUSER", user], &rights[..], &commands.split_whitespace().collect::<Vec<_>>()].concat()
}

async fn uses_every_command(url: &str) {
    let redis = Redis::new(url, "test").unwrap();
    redis.check().await.unwrap();
    let queue = redis.queue();
    queue.push(&jobs(0..1), QueueEnd::Back).await.unwrap();
    assert_eq!(queue.len().await.unwrap(), 1);
    assert_eq!(queue.pull(1, std::time::Duration::ZERO).await.unwrap().len(), 1);
    queue.register_worker("worker").await.unwrap();
    queue.register_installation(b"installation").await.unwrap();
    let bus = redis.bus(key());
    let mut signals = bus.subscribe().await;
    assert!(matches!(within_deadline("a subscription", signals.recv()).await, Some(Signal::Connected)));
    bus.publish_gap().await.unwrap();
    assert!(matches!(within_deadline("a message", signals.recv()).await, Some(Signal::Connected)));
}
