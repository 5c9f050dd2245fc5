//! A complete system: `orders dev`, or two gateways and two processors on MariaDB and Redis. The first processor takes jobs
//! from Redis, and gateways assign jobs to the second one. A system can be stopped and started again with the same data.

use serde_json::Value;
use tempfile::TempDir;

use super::process::run;
use super::{Api, Process, Servers, command};

/// Short work, so that many orders are in flight and completed within a test, and short timeouts.
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

/// The signal that stops a system.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// SIGTERM to all processes at once.
    Terminate,
    /// SIGKILL to all processes at once.
    Kill,
}

/// A complete system.
pub(crate) struct Stack {
    data: Data,
    folder: TempDir,
    processes: Vec<Process>,
    /// Additional flags of the processors.
    work: &'static [&'static str],
    /// The gateways of the running system: one if embedded, else two.
    pub(crate) gateways: Vec<Api>,
    /// The gRPC address of each gateway: `host:port`.
    pub(crate) grpc: Vec<String>,
}

enum Data {
    Embedded,
    Servers(Servers),
}

impl Stack {
    /// Starts `orders dev`.
    pub(crate) async fn embedded() -> Self {
        Self::embedded_with(&[]).await
    }

    /// The same with additional flags of the processors.
    pub(crate) async fn embedded_with(work: &'static [&'static str]) -> Self {
        Self::new(Data::Embedded, work).await
    }

    /// Starts two gateways and two processors.
    pub(crate) async fn on_servers() -> Self {
        Self::on_servers_with(&[]).await
    }

    /// The same with additional flags of the processors.
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

    /// Starts the processes, with the data of the last run.
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
                    let (process, api, addr) = start_gateway(&self.folder, servers, number).await;
                    self.processes.push(process);
                    self.gateways.push(api);
                    self.grpc.push(addr);
                }
                let urls =
                    self.grpc.iter().map(|addr| format!("http://{addr}")).collect::<Vec<_>>().join(",");
                let work =
                    [&["processor", "--metrics-addr", "127.0.0.1:0"][..], &QUICK_WORK, self.work].concat();
                for number in 1..=2 {
                    let mut variables = vec![("ORDERS_GATEWAY_URL", urls.as_str())];
                    if number == 1 {
                        variables.extend([
                            ("ORDERS_JOB_SOURCE", "queue"),
                            ("REDIS_URL", servers.redis_url.as_str()),
                            ("ORDERS_REDIS_PREFIX", &servers.prefix),
                        ]);
                    }
                    let command = command(self.folder.path(), &work, &variables);
                    self.processes.push(Process::start(command, format!("processor {number}")));
                }
            }
        }
    }

    /// Stops all processes at once, and waits until they have ended.
    pub(crate) async fn stop(&mut self, how: Stop) {
        for process in &mut self.processes {
            match how {
                Stop::Terminate => process.terminate(),
                Stop::Kill => process.kill(),
            }
        }
        for mut process in self.processes.drain(..) {
            match how {
                Stop::Terminate => process.wait_for_success().await,
                Stop::Kill => drop(process.wait().await),
            }
        }
    }

    /// Returns the output of `orders doctor` for the data of a stopped system. Panics if there are findings.
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

    /// Returns the gateway of the i-th client.
    pub(crate) fn gateway(&self, i: usize) -> &Api {
        &self.gateways[i % self.gateways.len()]
    }

    /// Waits until all of these orders are completed.
    pub(crate) async fn wait_until_completed(&self, accepted: &[String]) -> Vec<Value> {
        let mut orders = Vec::new();
        for (i, id) in accepted.iter().enumerate() {
            orders.push(self.gateway(i).wait_for_status(id, "completed").await);
        }
        orders
    }
}

/// Starts a gateway on these servers, and returns a client and its gRPC address.
pub(crate) async fn start_gateway(
    folder: &TempDir,
    servers: &Servers,
    number: u32,
) -> (Process, Api, String) {
    start_gateway_with(folder, servers, number, &[]).await
}

/// The same with additional variables.
pub(crate) async fn start_gateway_with(
    folder: &TempDir,
    servers: &Servers,
    number: u32,
    additional: &[(&str, &str)],
) -> (Process, Api, String) {
    let arguments = [
        &["gateway", "--http-addr", "127.0.0.1:0", "--grpc-addr", "127.0.0.1:0", "--log-format", "json"][..],
        &QUICK_RULES,
    ]
    .concat();
    let of_servers = [
        ("DATABASE_URL", servers.database_url.as_str()),
        ("REDIS_URL", &servers.redis_url),
        ("ORDERS_REDIS_PREFIX", &servers.prefix),
    ];
    let variables = [&of_servers, additional].concat();
    let mut process =
        Process::start(command(folder.path(), &arguments, &variables), format!("gateway {number}"));
    let (http, grpc) = process
        .wait_for_log("its addresses", |line| {
            let line: Value = serde_json::from_str(line).ok()?;
            Some((line["http"].as_str()?.to_owned(), line["grpc"].as_str()?.to_owned()))
        })
        .await;
    (process, Api::new(format!("http://{http}")), grpc)
}

/// Waits for the banner of `orders dev`, and returns its address.
pub(crate) async fn base_url(process: &mut Process) -> String {
    banner_line(process, "Page").await.trim_end_matches('/').to_owned()
}

/// Waits for the banner of `orders dev`, and returns its gRPC address: `host:port`.
pub(crate) async fn grpc_addr(process: &mut Process) -> String {
    banner_line(process, "gRPC").await
}

/// Waits for the banner of `orders dev`, and returns the URL of its metrics.
pub(crate) async fn metrics_url(process: &mut Process) -> String {
    banner_line(process, "Metrics").await
}

/// Returns the value of a line of the banner of `orders dev`.
async fn banner_line(process: &mut Process, name: &str) -> String {
    process
        .wait_for_stdout("its banner", |line| Some(line.trim().strip_prefix(name)?.trim().to_owned()))
        .await
}
