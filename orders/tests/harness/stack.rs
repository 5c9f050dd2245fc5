//! A whole system: `orders dev` on the embedded parts, or two gateways and two processors on MariaDB
//! and Redis. It can be stopped and started again on the same data.

use serde_json::Value;
use tempfile::TempDir;

use super::process::run;
use super::{Api, Process, Servers, command};

/// Quick, so that many orders are in flight and done within a test; a worker that dies is noticed soon.
const QUICK_WORK: [&str; 8] = [
    "--simulate-min-delay",
    "20ms",
    "--simulate-max-delay",
    "300ms",
    "--concurrency",
    "16",
    "--attempt-timeout",
    "20s",
];
const QUICK_RULES: [&str; 4] = ["--lease", "2s", "--visibility-timeout", "2s"];

/// How a system is stopped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// SIGTERM, to everything at once.
    Terminate,
    /// SIGKILL, to everything at once.
    Kill,
}

pub(crate) struct Stack {
    data: Data,
    folder: TempDir,
    processes: Vec<Process>,
    /// Flags of the processors besides the usual ones.
    work: &'static [&'static str],
    /// The gateways of the running system: one when embedded, else two.
    pub(crate) gateways: Vec<Api>,
    /// Where each of them speaks gRPC: `host:port`.
    pub(crate) grpc: Vec<String>,
}

enum Data {
    Embedded,
    Servers(Servers),
}

impl Stack {
    /// Everything in one process.
    pub(crate) async fn embedded() -> Self {
        Self::embedded_with(&[]).await
    }

    /// The same with these flags of a processor besides the usual ones.
    pub(crate) async fn embedded_with(work: &'static [&'static str]) -> Self {
        Self::new(Data::Embedded, work).await
    }

    /// Two gateways and two processors.
    pub(crate) async fn on_servers() -> Self {
        Self::on_servers_with(&[]).await
    }

    /// The same with these flags of a processor besides the usual ones.
    pub(crate) async fn on_servers_with(work: &'static [&'static str]) -> Self {
        Self::new(Data::Servers(Servers::new().await), work).await
    }

    async fn new(data: Data, work: &'static [&'static str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut stack =
            Self { data, folder, processes: Vec::new(), work, gateways: Vec::new(), grpc: Vec::new() };
        stack.start().await;
        stack
    }

    /// Starts it, again on the data that it had.
    pub(crate) async fn start(&mut self) {
        self.gateways.clear();
        self.grpc.clear();
        match &self.data {
            Data::Embedded => {
                let arguments = [
                    &["--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0"][..],
                    &QUICK_WORK,
                    &QUICK_RULES,
                    self.work,
                ]
                .concat();
                let command = command(self.folder.path(), &arguments, &[]);
                let mut process = Process::start(command, "orders dev");
                self.gateways.push(Api::new(base_url(&mut process).await));
                self.grpc.push(grpc_addr(&mut process).await);
                self.processes.push(process);
            }
            Data::Servers(servers) => {
                for number in 1..=2 {
                    let (process, api, addr) = gateway(&self.folder, servers, number).await;
                    self.processes.push(process);
                    self.gateways.push(api);
                    self.grpc.push(addr);
                }
                let urls =
                    self.grpc.iter().map(|addr| format!("http://{addr}")).collect::<Vec<_>>().join(",");
                let work =
                    [&["processor", "--metrics-addr", "127.0.0.1:0"][..], &QUICK_WORK, self.work].concat();
                for number in 1..=2 {
                    let variables = [
                        ("REDIS_URL", servers.redis_url.as_str()),
                        ("ORDERS_REDIS_PREFIX", &servers.prefix),
                        ("ORDERS_GATEWAY_URL", &urls),
                    ];
                    let command = command(self.folder.path(), &work, &variables);
                    self.processes.push(Process::start(command, format!("processor {number}")));
                }
            }
        }
    }

    /// Stops all of it at once and waits for the end of every process.
    pub(crate) async fn stop(&mut self, how: Stop) {
        for process in &mut self.processes {
            match how {
                Stop::Terminate => process.terminate(),
                Stop::Kill => process.kill(),
            }
        }
        for mut process in self.processes.drain(..) {
            match how {
                Stop::Terminate => process.ended_well().await,
                Stop::Kill => drop(process.ended().await),
            }
        }
    }

    /// What `orders doctor` prints about the data of a stopped system. Panics unless it finds it sound.
    pub(crate) async fn doctor(&self) -> String {
        let variables = match &self.data {
            Data::Embedded => vec![],
            Data::Servers(servers) => vec![
                ("DATABASE_URL", servers.database_url.as_str()),
                ("REDIS_URL", &servers.redis_url),
                ("ORDERS_REDIS_PREFIX", &servers.prefix),
            ],
        };
        let output = run(self.folder.path(), &["doctor"], &variables).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    /// The gateway that the i-th client speaks to.
    pub(crate) fn gateway(&self, i: usize) -> &Api {
        &self.gateways[i % self.gateways.len()]
    }

    /// Waits until every one of these orders is completed.
    pub(crate) async fn completes(&self, accepted: &[String]) -> Vec<Value> {
        let mut orders = Vec::new();
        for (i, id) in accepted.iter().enumerate() {
            orders.push(self.gateway(i).reaches(id, "completed").await);
        }
        orders
    }
}

/// A gateway on these servers, its REST and its gRPC address.
pub(crate) async fn gateway(folder: &TempDir, servers: &Servers, number: u32) -> (Process, Api, String) {
    let arguments = [
        &["gateway", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--log-format", "json"][..],
        &QUICK_RULES,
    ]
    .concat();
    let variables = [
        ("DATABASE_URL", servers.database_url.as_str()),
        ("REDIS_URL", &servers.redis_url),
        ("ORDERS_REDIS_PREFIX", &servers.prefix),
    ];
    let mut process =
        Process::start(command(folder.path(), &arguments, &variables), format!("gateway {number}"));
    let (http, grpc) = process
        .logged("its addresses", |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            Some((line["http"].as_str()?.to_owned(), line["grpc"].as_str()?.to_owned()))
        })
        .await;
    (process, Api::new(format!("http://{http}")), grpc)
}

/// The address in the banner of `orders dev`.
pub(crate) async fn base_url(process: &mut Process) -> String {
    in_banner(process, "Page").await.trim_end_matches('/').to_owned()
}

/// Where `orders dev` speaks gRPC: `host:port`.
pub(crate) async fn grpc_addr(process: &mut Process) -> String {
    in_banner(process, "gRPC").await
}

/// What the line of this name says in the banner of `orders dev`.
async fn in_banner(process: &mut Process, name: &str) -> String {
    process.printed("its banner", |line| Some(line.trim().strip_prefix(name)?.trim().to_owned())).await
}
