//! Starts each of the systems that can be measured.

use std::fmt;
use std::io;
use std::path::Path;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::lab::Lab;
use super::process::{find_free_ports, is_ready, killed_with_parent, local_address};
use super::running::Servers;
use super::vitess::VitessServers;
use crate::commit_proxy::CommitTimes;

/// A system that accepts `POST /orders` and completes the orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum System {
    /// The product: `orders gateway` and `orders processor` on MariaDB and Redis
    Orders,
    /// The same with --auth keys: each request and the processor have a key
    OrdersWithKeys,
    /// The product in one process: `orders dev` on SQLite
    Embedded,
    /// The product on one of the MySQL servers of scripts/vitess.sh, without Vitess
    Mysql,
    /// The product on Vitess: vtgate and the two shards of scripts/vitess.sh
    Vitess,
    /// peers/express: Express, Sequelize, a Redis list, workers over unary gRPC
    Express,
    /// peers/fastify: Fastify, mysql2, BullMQ, GraphQL Yoga
    Fastify,
    /// peers/restate: the Restate server and a worker in Node; only for `everyday`
    Restate,
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Orders => "orders",
            Self::OrdersWithKeys => "orders (keys)",
            Self::Embedded => "orders (embedded)",
            Self::Mysql => "orders (MySQL)",
            Self::Vitess => "orders (Vitess)",
            Self::Express => "Express",
            Self::Fastify => "Fastify",
            Self::Restate => "Restate",
        };
        f.write_str(name)
    }
}

/// The settings of the systems; all others have the product's defaults.
#[derive(Debug, Clone, Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tuning {
    /// orders: concurrent orders of the processor; 0 uses the product's default
    #[arg(long, default_value_t = 1_000)]
    pub(crate) concurrency: usize,
    /// orders: maximum number of orders in the queue; 0 uses the product's default
    #[arg(long, default_value_t = 4_000)]
    pub(crate) max_queue_depth: usize,
    /// Express, Fastify: concurrent orders of the workers
    #[arg(long, default_value_t = 16)]
    pub(crate) workers: usize,
}

impl Tuning {
    pub(super) fn processor_flags(&self) -> Vec<String> {
        flag("--concurrency", self.concurrency)
    }

    pub(super) fn gateway_flags(&self) -> Vec<String> {
        flag("--max-queue-depth", self.max_queue_depth)
    }

    /// Describes the settings for readers.
    pub(crate) fn describe(&self) -> String {
        let flags: Vec<_> = [self.processor_flags(), self.gateway_flags()].concat();
        let flags = if flags.is_empty() { "defaults".to_owned() } else { flags.join(" ") };
        format!("orders: {flags}; peers: {} workers", self.workers)
    }
}

fn flag(name: &str, value: usize) -> Vec<String> {
    if value == 0 { Vec::new() } else { vec![name.to_owned(), value.to_string()] }
}

/// The simulate handler without a delay.
pub(super) const NO_WORK: [&str; 4] = ["--simulate-min-delay", "0", "--simulate-max-delay", "0"];

impl Servers {
    /// Starts a system on a fresh database and waits until it accepts orders.
    pub(crate) fn start(lab: &Lab, system: System, tuning: &Tuning) -> io::Result<Self> {
        match system {
            System::Orders => {
                let mut servers = Self::start_without_processor(lab, tuning)?;
                servers.start_processor(lab, tuning)?;
                Ok(servers)
            }
            System::OrdersWithKeys => Self::start_with_keys(lab, tuning),
            System::Embedded => Self::start_embedded(lab, tuning),
            System::Mysql => Self::start_on(VitessServers::one_mysql, lab, tuning),
            System::Vitess => Self::start_on(VitessServers::all, lab, tuning),
            System::Express => Self::start_peer_with_workers(lab, "express", tuning),
            System::Fastify => Self::start_peer_with_workers(lab, "fastify", tuning),
            System::Restate => Self::start_restate(lab),
        }
    }

    /// Starts the product on servers of Vitess, which run already.
    fn start_on(servers: fn() -> io::Result<VitessServers>, lab: &Lab, tuning: &Tuning) -> io::Result<Self> {
        let vitess = servers()?;
        let mut servers = Self::start_only_redis()?;
        servers.database_url = vitess.url.clone();
        servers.system_database_url = vitess.url.clone();
        servers.vitess = Some(vitess);
        let url = servers.system_database_url.clone();
        servers.start_gateway(lab, tuning, &url)?;
        servers.start_processor(lab, tuning)?;
        Ok(servers)
    }

    /// Starts the product with authentication. The first start creates the keys of the clients and of the processor.
    fn start_with_keys(lab: &Lab, tuning: &Tuning) -> io::Result<Self> {
        let mut servers = Self::start_databases(lab)?;
        let file = |name: &str| servers.folder.path().join(name).display().to_string();
        let (admin, worker) = (file("admin.key"), file("worker.key"));
        let flags =
            ["--auth", "keys", "--bootstrap-key-file", &admin, "--bootstrap-worker-key-file", &worker];
        let url = servers.system_database_url.clone();
        servers.start_gateway_with(lab, tuning, &url, &flags)?;
        servers.key = Some(std::fs::read_to_string(&admin)?.trim_end().to_owned());
        let flags = [&NO_WORK[..], &["--token-file", &worker]].concat();
        servers.start_processor_with(lab, tuning, &flags)?;
        Ok(servers)
    }

    /// Starts the product without a processor, so that orders do not change.
    pub(crate) fn start_without_processor(lab: &Lab, tuning: &Tuning) -> io::Result<Self> {
        let mut servers = Self::start_databases(lab)?;
        let url = servers.system_database_url.clone();
        servers.start_gateway(lab, tuning, &url)?;
        Ok(servers)
    }

    /// Starts the product without a processor, with a key for the secrets of webhook endpoints.
    pub(crate) fn start_with_webhooks(lab: &Lab, tuning: &Tuning) -> io::Result<Self> {
        let mut servers = Self::start_databases(lab)?;
        let keys = servers.folder.path().join("secret.key");
        // 32 bytes in base64.
        std::fs::write(&keys, format!("{}=\n", "A".repeat(43)))?;
        let url = servers.system_database_url.clone();
        servers.start_gateway_with(lab, tuning, &url, &["--secret-key-file", &keys.display().to_string()])?;
        Ok(servers)
    }

    /// Starts the product and its processor, and records the commit times of its transactions.
    pub(crate) fn start_with_commit_times(lab: &Lab, tuning: &Tuning) -> io::Result<(Self, CommitTimes)> {
        let mut servers = Self::start_databases(lab)?;
        let (commits, url) = CommitTimes::start_proxy(&servers.database_url)?;
        servers.start_gateway(lab, tuning, &url)?;
        servers.start_processor(lab, tuning)?;
        Ok((servers, commits))
    }

    fn start_gateway(&mut self, lab: &Lab, tuning: &Tuning, database_url: &str) -> io::Result<()> {
        self.start_gateway_with(lab, tuning, database_url, &[])
    }

    fn start_gateway_with(
        &mut self,
        lab: &Lab,
        tuning: &Tuning,
        database_url: &str,
        flags: &[&str],
    ) -> io::Result<()> {
        let (http, grpc) = (self.http.to_string(), self.grpc.to_string());
        self.spawn(
            "gateway",
            killed_with_parent(&lab.orders)
                .args(["gateway", "--http-addr", &http, "--grpc-addr", &grpc])
                .args(["--database-url", database_url, "--redis-url", &self.system_redis_url])
                // All clients of a measurement have the same address.
                .args(["--max-connections-per-address", "20000", "--max-streams-per-address", "15000"])
                .args(flags)
                .args(tuning.gateway_flags()),
        )?;
        let addr = self.http;
        self.wait_until_ready("gateway", || is_ready(addr))
    }

    /// Starts the product's processor with a handler that takes no time.
    pub(crate) fn start_processor(&mut self, lab: &Lab, tuning: &Tuning) -> io::Result<()> {
        self.start_processor_with(lab, tuning, &NO_WORK)
    }

    /// Starts the product's processor with other settings of the handler.
    pub(crate) fn start_processor_with(
        &mut self,
        lab: &Lab,
        tuning: &Tuning,
        handler: &[&str],
    ) -> io::Result<()> {
        let [metrics] = find_free_ports()?;
        let metrics = local_address(metrics);
        self.spawn(
            "processor",
            killed_with_parent(&lab.orders)
                .args(["processor", "--gateway-url", &format!("http://{}", self.grpc)])
                .args(["--metrics-addr", &metrics.to_string(), "--redis-url", &self.system_redis_url])
                .args(handler)
                .args(tuning.processor_flags()),
        )?;
        self.wait_until_ready("processor", || is_ready(metrics))
    }

    /// Creates a folder for SQLite; no process runs.
    pub(crate) fn create_sqlite() -> io::Result<Self> {
        let mut servers = Self::without_processes()?;
        let data = servers.folder.path().join("data");
        std::fs::create_dir(&data)?;
        servers.database_url = format!("sqlite:{}", data.join("orders.db").display());
        Ok(servers)
    }

    fn start_embedded(lab: &Lab, tuning: &Tuning) -> io::Result<Self> {
        let mut servers = Self::create_sqlite()?;
        let data = servers.folder.path().join("data");
        let (http, grpc) = (servers.http.to_string(), servers.grpc.to_string());
        servers.spawn(
            "orders",
            killed_with_parent(&lab.orders)
                .args(["dev", "--http-addr", &http, "--grpc-addr", &grpc])
                .args(["--data-dir".as_ref(), data.as_os_str()])
                .args(NO_WORK)
                .args(tuning.processor_flags())
                .args(tuning.gateway_flags()),
        )?;
        let addr = servers.http;
        servers.wait_until_ready("orders", || is_ready(addr))?;
        Ok(servers)
    }

    /// Starts a peer without its workers, so that orders do not change.
    pub(crate) fn start_peer(lab: &Lab, name: &str, tuning: &Tuning) -> io::Result<Self> {
        if !lab.peers.join("node_modules").is_dir() {
            let hint = format!("npm ci --prefix {}", lab.peers.display());
            return Err(io::Error::other(format!("the peers are not installed: {hint}")));
        }
        let mut servers = Self::start_databases(lab)?;
        servers.start_script("server", &lab.peers.join(name).join("server.mjs"), tuning)?;
        let addr = servers.http;
        servers.wait_until_ready("server", || is_ready(addr))?;
        Ok(servers)
    }

    /// Starts the workers of a peer. They have no port; the orders that they complete show that they run.
    pub(crate) fn start_workers(&mut self, lab: &Lab, name: &str, tuning: &Tuning) -> io::Result<()> {
        self.start_script("worker", &lab.peers.join(name).join("worker.mjs"), tuning)
    }

    fn start_peer_with_workers(lab: &Lab, name: &str, tuning: &Tuning) -> io::Result<Self> {
        let mut servers = Self::start_peer(lab, name, tuning)?;
        servers.start_workers(lab, name, tuning)?;
        Ok(servers)
    }

    fn start_script(&mut self, name: &'static str, script: &Path, tuning: &Tuning) -> io::Result<()> {
        let mut command = killed_with_parent(Path::new("node"));
        command
            .arg(script)
            .env("NODE_ENV", "production")
            .env("HTTP_PORT", self.http.port().to_string())
            .env("GRPC_PORT", self.grpc.port().to_string())
            .env("MYSQL_URL", &self.system_database_url)
            .env("REDIS_URL", &self.system_redis_url)
            .env("WORKERS", tuning.workers.to_string());
        self.spawn(name, &mut command)
    }
}
