//! The systems that can be measured, and how each is started.

use std::fmt;
use std::io;
use std::path::Path;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::process::{bound, free_ports, is_ready, local};
use super::{Lab, Servers};
use crate::commits::Commits;

/// A system that accepts `POST /orders` and completes what it has accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum System {
    /// The product: `orders gateway` and `orders processor` on MariaDB and Redis
    Orders,
    /// The product in one process: `orders dev` on SQLite
    Embedded,
    /// peers/express: Express, Sequelize, a Redis list, workers over unary gRPC
    Express,
    /// peers/fastify: Fastify, mysql2, BullMQ, GraphQL Yoga
    Fastify,
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Orders => "orders",
            Self::Embedded => "orders (embedded)",
            Self::Express => "Express",
            Self::Fastify => "Fastify",
        };
        f.write_str(name)
    }
}

/// How the systems are set up; what is not said is left to the product's defaults.
#[derive(Debug, Clone, Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tuning {
    /// orders: orders that the processor works on at the same time; 0 leaves it to the product
    #[arg(long, default_value_t = 1_000)]
    pub(crate) concurrency: usize,
    /// orders: maximum number of orders in the queue; 0 uses the product's default
    #[arg(long, default_value_t = 4_000)]
    pub(crate) max_queue_depth: usize,
    /// Express, Fastify: orders that the workers work on at the same time
    #[arg(long, default_value_t = 16)]
    pub(crate) workers: usize,
}

impl Tuning {
    fn processor(&self) -> Vec<String> {
        setting("--concurrency", self.concurrency)
    }

    fn gateway(&self) -> Vec<String> {
        setting("--max-queue-depth", self.max_queue_depth)
    }

    /// For people.
    pub(crate) fn show(&self) -> String {
        let ours: Vec<_> = [self.processor(), self.gateway()].concat();
        let ours = if ours.is_empty() { "defaults".to_owned() } else { ours.join(" ") };
        format!("orders: {ours}; peers: {} workers", self.workers)
    }
}

fn setting(name: &str, value: usize) -> Vec<String> {
    if value == 0 { Vec::new() } else { vec![name.to_owned(), value.to_string()] }
}

/// The product's example handler, without its wait.
const NO_WORK: [&str; 4] = ["--simulate-min-delay", "0", "--simulate-max-delay", "0"];

impl Servers {
    /// Starts a system on a fresh database and waits until it accepts orders.
    pub(crate) fn start(lab: &Lab, system: System, tuning: &Tuning) -> io::Result<Self> {
        match system {
            System::Orders => {
                let mut servers = Self::without_processor(lab, tuning)?;
                servers.start_processor(lab, tuning)?;
                Ok(servers)
            }
            System::Embedded => Self::embedded(lab, tuning),
            System::Express => Self::peer_with_workers(lab, "express", tuning),
            System::Fastify => Self::peer_with_workers(lab, "fastify", tuning),
        }
    }

    /// Starts the product without a processor, so that orders stay as they are.
    pub(crate) fn without_processor(lab: &Lab, tuning: &Tuning) -> io::Result<Self> {
        let mut servers = Self::bare(lab)?;
        let url = servers.database_url.clone();
        servers.start_gateway(lab, tuning, &url)?;
        Ok(servers)
    }

    /// Starts the product and its processor, and notes when its transactions are committed.
    pub(crate) fn start_watched(lab: &Lab, tuning: &Tuning) -> io::Result<(Self, Commits)> {
        let mut servers = Self::bare(lab)?;
        let (commits, url) = Commits::watch(&servers.database_url)?;
        servers.start_gateway(lab, tuning, &url)?;
        servers.start_processor(lab, tuning)?;
        Ok((servers, commits))
    }

    fn start_gateway(&mut self, lab: &Lab, tuning: &Tuning, database_url: &str) -> io::Result<()> {
        let (http, grpc) = (self.http.to_string(), self.grpc.to_string());
        self.spawn(
            "gateway",
            bound(&lab.orders)
                .args(["gateway", "--http-addr", &http, "--grpc-addr", &grpc])
                .args(["--database-url", database_url, "--redis-url", &self.redis_url])
                // All clients of a measurement have one address.
                .args(["--max-connections-per-address", "20000", "--max-streams-per-address", "15000"])
                .args(tuning.gateway()),
        )?;
        let addr = self.http;
        self.wait("gateway", || is_ready(addr))
    }

    /// Starts the product's processor, whose handler takes no time.
    pub(crate) fn start_processor(&mut self, lab: &Lab, tuning: &Tuning) -> io::Result<()> {
        self.start_processor_with(lab, tuning, &NO_WORK)
    }

    /// The same with other settings of the handler.
    pub(crate) fn start_processor_with(
        &mut self,
        lab: &Lab,
        tuning: &Tuning,
        handler: &[&str],
    ) -> io::Result<()> {
        let [metrics] = free_ports()?;
        let metrics = local(metrics);
        self.spawn(
            "processor",
            bound(&lab.orders)
                .args(["processor", "--gateway-url", &format!("http://{}", self.grpc)])
                .args(["--metrics-addr", &metrics.to_string(), "--redis-url", &self.redis_url])
                .args(handler)
                .args(tuning.processor()),
        )?;
        self.wait("processor", || is_ready(metrics))
    }

    /// A folder for SQLite, and its URL; nothing runs.
    pub(crate) fn sqlite() -> io::Result<Self> {
        let mut servers = Self::nothing()?;
        let data = servers.folder.path().join("data");
        std::fs::create_dir(&data)?;
        servers.database_url = format!("sqlite:{}", data.join("orders.db").display());
        Ok(servers)
    }

    fn embedded(lab: &Lab, tuning: &Tuning) -> io::Result<Self> {
        let mut servers = Self::sqlite()?;
        let data = servers.folder.path().join("data");
        let (http, grpc) = (servers.http.to_string(), servers.grpc.to_string());
        servers.spawn(
            "orders",
            bound(&lab.orders)
                .args(["dev", "--http-addr", &http, "--grpc-addr", &grpc])
                .args(["--data-dir".as_ref(), data.as_os_str()])
                .args(NO_WORK)
                .args(tuning.processor())
                .args(tuning.gateway()),
        )?;
        let addr = servers.http;
        servers.wait("orders", || is_ready(addr))?;
        Ok(servers)
    }

    /// Starts a peer without its workers, so that orders stay as they are.
    pub(crate) fn peer(lab: &Lab, name: &str, tuning: &Tuning) -> io::Result<Self> {
        if !lab.peers.join("node_modules").is_dir() {
            let hint = format!("npm ci --prefix {}", lab.peers.display());
            return Err(io::Error::other(format!("the peers are not installed: {hint}")));
        }
        let mut servers = Self::bare(lab)?;
        servers.script("server", &lab.peers.join(name).join("server.mjs"), tuning)?;
        let addr = servers.http;
        servers.wait("server", || is_ready(addr))?;
        Ok(servers)
    }

    /// Starts the workers of a peer. They have no port to ask: what they complete shows that they are there.
    pub(crate) fn start_workers(&mut self, lab: &Lab, name: &str, tuning: &Tuning) -> io::Result<()> {
        self.script("worker", &lab.peers.join(name).join("worker.mjs"), tuning)
    }

    fn peer_with_workers(lab: &Lab, name: &str, tuning: &Tuning) -> io::Result<Self> {
        let mut servers = Self::peer(lab, name, tuning)?;
        servers.start_workers(lab, name, tuning)?;
        Ok(servers)
    }

    fn script(&mut self, name: &'static str, script: &Path, tuning: &Tuning) -> io::Result<()> {
        let mut command = bound(Path::new("node"));
        command
            .arg(script)
            .env("NODE_ENV", "production")
            .env("HTTP_PORT", self.http.port().to_string())
            .env("GRPC_PORT", self.grpc.port().to_string())
            .env("MYSQL_URL", &self.database_url)
            .env("REDIS_URL", &self.redis_url)
            .env("WORKERS", tuning.workers.to_string());
        self.spawn(name, &mut command)
    }
}
