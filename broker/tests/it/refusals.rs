//! Servers that answer, and refuse what is needed of them.

use broker::redis::Redis;
use broker::{Queue, QueueEnd};

use crate::backend::{eventually, jobs};
use crate::server::Server;

async fn client(server: &Server) -> Option<redis::aio::MultiplexedConnection> {
    redis::Client::open(server.url()).unwrap().get_multiplexed_async_connection().await.ok()
}

/// What an attempt results in, once it does.
async fn seen<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let mut found = None;
    eventually(what, async || {
        found = attempt().await;
        found.is_some()
    })
    .await;
    found.unwrap()
}

/// What a server says that answers reads and takes no jobs, without anything being pushed.
async fn refuses(setup: &[&str], over: &[&str], word: &str, meaning: &str) {
    let server = Server::start();
    let redis = Redis::new(&server.url(), "test").unwrap();
    let queue = redis.queue();
    seen("an answer", async || queue.len().await.ok()).await;
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
    let said = seen("a refusal", async || queue.len().await.err()).await.to_string();
    assert!(said.contains(word) && said.contains(meaning), "{said}");
    let said = redis.check().await.unwrap_err().to_string();
    assert!(said.contains(word) && said.contains(meaning), "{said}");
    command(over).exec_async(&mut admin).await.unwrap();
    seen("the server to take jobs", async || queue.len().await.ok()).await;
    redis.check().await.unwrap();
}

#[tokio::test]
async fn a_replica_is_noticed_without_a_push() {
    let words = ["REPLICAOF", "127.0.0.1", "1"];
    refuses(&words, &["REPLICAOF", "NO", "ONE"], "READONLY", "is a replica").await;
}

#[tokio::test]
async fn a_full_server_is_noticed_without_a_push() {
    let words = ["CONFIG", "SET", "maxmemory", "1"];
    refuses(&words, &["CONFIG", "SET", "maxmemory", "0"], "OOM", "used up its memory").await;
}

#[tokio::test]
async fn a_cluster_is_noticed() {
    let server = Server::start_with(&["--cluster-enabled", "yes"]);
    let redis = Redis::new(&server.url(), "test").unwrap();
    let said = seen("a refusal", async || {
        redis
            .queue()
            .len()
            .await
            .err()
            .map(|error| error.to_string())
            .filter(|error| error.contains("CLUSTERDOWN"))
    })
    .await;
    assert!(said.contains("node of a cluster"), "{said}");
    // A node that has the key works, until another one has it.
    let mut admin = client(&server).await.unwrap();
    redis::cmd("CLUSTER").arg("ADDSLOTSRANGE").arg(0).arg(16383).exec_async(&mut admin).await.unwrap();
    let info = seen("the slots", async || redis.check().await.ok()).await;
    assert!(info.warnings.iter().any(|warning| warning.contains("node of a cluster")), "{:?}", info.warnings);
}

/// With the commands that are documented, and without the one that only notices such servers early.
#[tokio::test]
async fn a_restricted_user_is_enough() {
    let server = Server::start();
    let mut admin = seen("an answer", async || client(&server).await).await;
    let commands = "+info +ping +unwatch +lpush +rpush +llen +lmpop +blmpop +publish +subscribe +setrange +time +zadd +zrem \
                    +zremrangebyscore +zcount +pexpire +select";
    for (user, commands) in [("some", commands.to_owned()), ("less", commands.replace("+setrange", ""))] {
        let mut rights = redis::cmd("ACL");
        rights.arg("SETUSER").arg(user).arg(&[
            "on",
            ">secret",
            "resetkeys",
            "~test:*",
            "resetchannels",
            "&test:*",
            "-@all",
        ]);
        rights.arg(commands.split_whitespace().collect::<Vec<_>>()).exec_async(&mut admin).await.unwrap();
        let url = format!("{}?user={user}&pass=secret&db=1", server.url());
        let redis = Redis::new(&url, "test").unwrap();
        redis.check().await.unwrap();
        let queue = redis.queue();
        queue.push(&jobs(0..1), QueueEnd::Back).await.unwrap();
        assert_eq!(queue.len().await.unwrap(), 1);
        assert_eq!(queue.pull(1, std::time::Duration::ZERO).await.unwrap().len(), 1);
        queue.register_worker("worker").await.unwrap();
        queue.register_installation(b"installation").await.unwrap();
    }
}
