//! A cluster of three primaries with one replica each.

use std::process::Stdio;

use tokio::process::Command;

use crate::server::{PASSWORD, Server, Setup, eventually, tls_of_client};

/// The number of primaries.
const PRIMARIES: usize = 3;

/// A cluster.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Server>,
    setup: Setup,
}

impl Cluster {
    /// Starts all nodes.
    ///
    /// # Panics
    /// If a node does not start, or the cluster is not complete.
    pub async fn start(setup: &Setup) -> Self {
        let mut options = vec!["--save", "", "--appendonly", "no", "--masterauth", PASSWORD];
        options.extend([
            "--repl-diskless-sync-delay",
            "0",
            "--cluster-enabled",
            "yes",
            "--cluster-port",
            "{bus}",
        ]);
        options.extend(["--cluster-node-timeout", "2000", "--cluster-replica-validity-factor", "0"]);
        if setup.tls.is_some() {
            options.extend(["--tls-cluster", "yes"]);
        }
        let mut nodes = Vec::new();
        for _ in 0..2 * PRIMARIES {
            nodes.push(Server::start("", &options, PASSWORD, setup).await);
        }
        let addresses: Vec<String> = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        let mut create = Command::new("redis-cli");
        create.args(tls_of_client(setup.tls.as_ref())).args(["--cluster", "create"]).args(&addresses);
        create.args(["--cluster-replicas", "1", "--cluster-yes"]).env("REDISCLI_AUTH", PASSWORD);
        let output = create.stdin(Stdio::null()).output().await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let cluster = Self { nodes, setup: setup.clone() };
        for node in &cluster.nodes {
            eventually("the node to know the cluster", async || {
                let info = node.command(&["CLUSTER", "INFO"]).await;
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:6")
            })
            .await;
        }
        eventually("every replica to be connected", async || cluster.connected_replicas().await == PRIMARIES)
            .await;
        cluster
    }

    async fn connected_replicas(&self) -> usize {
        let mut count = 0;
        for node in &self.nodes {
            let role = node.command(&["ROLE"]).await;
            count += usize::from(role.lines().any(|line| line.trim() == "connected"));
        }
        count
    }

    /// Returns the URL with two of the nodes.
    pub fn url(&self) -> String {
        let hosts: Vec<String> =
            self.nodes.iter().take(2).map(|node| format!("127.0.0.1:{}", node.port)).collect();
        let scheme = if self.setup.tls.is_some() { "rediss" } else { "redis" };
        format!("{scheme}+cluster://:{PASSWORD}@{}", hosts.join(","))
    }

    /// Returns all nodes.
    pub fn nodes(&self) -> &[Server] {
        &self.nodes
    }

    /// Returns the node that has a key.
    async fn owner(&self, key: &str) -> Option<usize> {
        for (at, node) in self.nodes.iter().enumerate() {
            // Every node that responds to this and does not redirect it is the primary of the key.
            let answer = node.cli(&["TYPE", key]).await;
            if !answer.contains("MOVED")
                && !answer.contains("CLUSTERDOWN")
                && !answer.contains("Could not connect")
            {
                return Some(at);
            }
        }
        None
    }

    /// Kills the node that has a key, and waits until its replica has the key.
    ///
    /// # Panics
    /// If no node takes over.
    pub async fn kill_owner(&mut self, key: &str) {
        let owner = self.owner(key).await.unwrap();
        self.nodes[owner].kill().await;
        eventually("another node to have the key", async || {
            self.owner(key).await.is_some_and(|present| present != owner)
        })
        .await;
    }

    /// Makes the replica of the node that has a key the primary, as an operator does.
    ///
    /// # Panics
    /// If it does not take over.
    pub async fn fail_over(&self, key: &str) {
        let owner = self.owner(key).await.unwrap();
        let id = self.nodes[owner].command(&["CLUSTER", "MYID"]).await;
        // A node that was a primary a moment ago is not yet known as a replica.
        eventually("the failover to begin", async || {
            let nodes = self.nodes[owner].command(&["CLUSTER", "NODES"]).await;
            let Some(replica) = nodes.lines().find(|line| line.split(' ').nth(3) == Some(&id)) else {
                return false;
            };
            let address = replica.split(' ').nth(1).and_then(|address| address.split('@').next());
            let port = address.and_then(|address| address.rsplit(':').next()?.parse().ok());
            let Some(replica) = self.nodes.iter().find(|node| Some(node.port) == port) else { return false };
            replica.command(&["CLUSTER", "FAILOVER"]).await == "OK"
        })
        .await;
        eventually("another node to have the key", async || {
            self.owner(key).await.is_some_and(|present| present != owner)
        })
        .await;
    }

    /// Moves the slot of a key to another primary.
    ///
    /// # Panics
    /// If that fails.
    pub async fn move_slot(&self, key: &str) {
        let owner = &self.nodes[self.owner(key).await.unwrap()];
        let slot = owner.command(&["CLUSTER", "KEYSLOT", key]).await;
        let mut target = None;
        for node in &self.nodes {
            if node.port != owner.port && node.command(&["ROLE"]).await.starts_with("master") {
                target = Some(node);
            }
        }
        let target = target.unwrap();
        let (from, to) =
            (owner.command(&["CLUSTER", "MYID"]).await, target.command(&["CLUSTER", "MYID"]).await);
        target.command(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from]).await;
        owner.command(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to]).await;
        let port = target.port.to_string();
        let keys = owner.command(&["CLUSTER", "GETKEYSINSLOT", &slot, "10"]).await;
        for key in keys.lines().filter(|key| !key.is_empty()) {
            let moved = ["MIGRATE", "127.0.0.1", &port, key, "0", "5000", "AUTH", PASSWORD];
            let answer = owner.command(&moved).await;
            assert!(answer == "OK" || answer == "NOKEY", "{answer}");
        }
        target.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &to]).await;
        owner.command(&["CLUSTER", "SETSLOT", &slot, "NODE", &to]).await;
    }
}
