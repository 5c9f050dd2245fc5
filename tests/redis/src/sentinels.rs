//! A primary, a replica and three sentinels.

use crate::server::{PASSWORD, Server, Setup, eventually};

/// The name of the primary at the sentinels.
pub const PRIMARY: &str = "shop";
/// The password of the sentinels.
const SENTINEL_PASSWORD: &str = "watch";

/// A primary with a replica, which three sentinels watch.
#[derive(Debug)]
pub struct Sentinels {
    servers: Vec<Server>,
    sentinels: Vec<Server>,
    has_tls: bool,
}

impl Sentinels {
    /// Starts all servers.
    ///
    /// # Panics
    /// If a server does not start.
    pub async fn start(setup: &Setup) -> Self {
        let options =
            ["--save", "", "--appendonly", "no", "--masterauth", PASSWORD, "--repl-diskless-sync-delay", "0"];
        let primary = Server::start("", &options, PASSWORD, setup).await;
        let port = primary.port.to_string();
        let replica_options = [&options[..], &["--replicaof", "127.0.0.1", &port]].concat();
        let replica = Server::start("", &replica_options, PASSWORD, setup).await;
        let file = format!(
            "sentinel monitor {PRIMARY} 127.0.0.1 {port} 2\nsentinel auth-pass {PRIMARY} {PASSWORD}\n\
             sentinel down-after-milliseconds {PRIMARY} 1000\nsentinel failover-timeout {PRIMARY} 5000\n\
             sentinel sentinel-pass {SENTINEL_PASSWORD}\n"
        );
        let start = || Server::start(&file, &["--sentinel"], SENTINEL_PASSWORD, setup);
        let (first, second, third) = tokio::join!(start(), start(), start());
        let all = Self {
            servers: vec![primary, replica],
            sentinels: vec![first, second, third],
            has_tls: setup.tls.is_some(),
        };
        for sentinel in &all.sentinels {
            eventually("the sentinel to know the others", async || {
                let state = sentinel.command(&["SENTINEL", "MASTER", PRIMARY]).await;
                let fields: Vec<&str> = state.lines().collect();
                let value = |name| fields.iter().position(|field| *field == name).map(|at| fields[at + 1]);
                value("num-other-sentinels") == Some("2") && value("num-slaves") == Some("1")
            })
            .await;
        }
        all
    }

    /// Returns the URL with all sentinels.
    pub fn url(&self) -> String {
        let hosts: Vec<String> =
            self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        let scheme = if self.has_tls { "rediss" } else { "redis" };
        format!(
            "{scheme}+sentinel://:{PASSWORD}@{}/{PRIMARY}?sentinel-password={SENTINEL_PASSWORD}",
            hosts.join(",")
        )
    }

    /// Returns the primary and the replica.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    async fn primary_port(&self) -> u16 {
        let sentinel = &self.sentinels[1];
        let answer = sentinel.command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", PRIMARY]).await;
        answer.lines().nth(1).and_then(|port| port.parse().ok()).unwrap_or_default()
    }

    /// Kills the primary and a sentinel, and waits until another server is the primary.
    ///
    /// # Panics
    /// If none takes over.
    pub async fn kill_primary(&mut self) {
        self.sentinels[0].kill().await;
        let port = self.primary_port().await;
        let primary = self.servers.iter_mut().find(|server| server.port == port).unwrap();
        primary.kill().await;
        self.wait_for_other_primary(port).await;
    }

    /// Makes the replica the primary, as an operator does. The previous primary becomes its replica.
    ///
    /// # Panics
    /// If it does not take over.
    pub async fn fail_over(&self) {
        let port = self.primary_port().await;
        eventually("the failover to begin", async || {
            self.sentinels[1].command(&["SENTINEL", "FAILOVER", PRIMARY]).await == "OK"
        })
        .await;
        self.wait_for_other_primary(port).await;
    }

    async fn wait_for_other_primary(&self, previous: u16) {
        eventually("another primary", async || {
            let port = self.primary_port().await;
            let Some(server) = self.servers.iter().find(|server| server.port == port) else { return false };
            port != previous && server.cli(&["ROLE"]).await.starts_with("master")
        })
        .await;
    }
}
