//! Completed orders per second of a backlog, while no orders are accepted.
//!
//! The variants are few orders, many orders, and workers that report each status separately. Memory is compared with
//! that of a peer with fewer waiting orders.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use proto::v1;
use proto::v1::order_service_client::OrderServiceClient;
use serde::Serialize;
use tokio::sync::Semaphore;
use tonic::transport::Channel;

use crate::load::{self, ORDER, Target, run_on_this_thread};
use crate::markdown::table_head;
use crate::report::{Results, round, show_each};
use crate::servers::{Database, Lab, Memory, Prefill, Servers, Tuning, cpu_used};
use crate::simple_http;

/// Interval at which the completed orders are counted.
const POLL_INTERVAL: Duration = Duration::from_millis(25);
/// Timeout of the measured orders.
const BACKLOG_TIMEOUT: Duration = Duration::from_secs(180);
/// Orders in one pull of the unary workers.
const PULL_SIZE: usize = 256;
/// Connections of the unary workers to the gateway.
const CONNECTIONS: usize = 4;

#[derive(Debug, Clone, Args)]
pub(crate) struct Settings {
    /// Numbers of waiting orders, separated by commas
    #[arg(long, value_delimiter = ',', default_values_t = [20_000, 200_000])]
    waiting: Vec<u64>,
    /// Orders whose completion is measured
    #[arg(long, default_value_t = 18_000)]
    measured: u64,
    /// Concurrent orders of the workers with single reports
    #[arg(long, default_value_t = 1_000)]
    unary_concurrency: usize,
    /// Divisor of the last number of waiting orders for Fastify, whose memory is compared; 0 omits Fastify
    #[arg(long, default_value_t = 10)]
    peer_share: u64,
    #[command(flatten)]
    tuning: Tuning,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    runs: Vec<Run>,
    peer: Option<Run>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    waiting: u64,
    reports: Reports,
    completed_per_s: f64,
    /// CPU of each process for each completed order.
    cpu_us: BTreeMap<String, f64>,
    /// Before the first order.
    empty: Memory,
    /// While all orders wait.
    full: Memory,
    /// The maximum until the orders were completed.
    peak: Memory,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Reports {
    /// In batches, from the product's processor.
    Batched,
    /// `UpdateStatus` twice for each order.
    Single,
    /// The workers of Fastify: one UPDATE for each status.
    Fastify,
}

pub(crate) fn run(lab: &Lab, settings: &Settings) -> io::Result<Report> {
    let mut runs = Vec::new();
    for waiting in &settings.waiting {
        runs.push(process_backlog(lab, settings, *waiting, Reports::Batched)?);
    }
    if let Some(waiting) = settings.waiting.first() {
        runs.push(process_backlog(lab, settings, *waiting, Reports::Single)?);
    }
    let peer = match settings.waiting.last().filter(|_| settings.peer_share > 0) {
        Some(waiting) => Some(process_peer_backlog(lab, settings, waiting / settings.peer_share)?),
        None => None,
    };
    Ok(Report { runs, peer })
}

fn process_backlog(lab: &Lab, settings: &Settings, waiting: u64, reports: Reports) -> io::Result<Run> {
    let mut servers = Servers::start_without_processor(lab, &settings.tuning)?;
    let mut database = servers.database()?;
    let mut prefill = Prefill::new(&servers)?;
    simple_http::post(servers.http, "/queue/pause", "{}")?;
    if reports == Reports::Batched {
        servers.start_processor(lab, &settings.tuning)?;
    }
    let empty = servers.memory_of_all()?;
    prefill.fill_with_waiting(&mut database, waiting)?;
    let full = servers.memory_of_all()?;
    simple_http::post(servers.http, "/queue/resume", "{}")?;
    let measured = settings.measured.min(waiting * 9 / 10);
    let (completed_per_s, cpu_us, peak) = if reports == Reports::Batched {
        measure_rate(&servers, &mut database, measured)?
    } else {
        let (redis, grpc) = (servers.redis_url.clone(), format!("http://{}", servers.grpc));
        let concurrency = settings.unary_concurrency;
        // The thread ends with the process; it waits for jobs without end.
        let worker =
            std::thread::spawn(move || run_on_this_thread(run_unary_workers(redis, grpc, concurrency)));
        let rate = measure_rate(&servers, &mut database, measured);
        if worker.is_finished() {
            let ended = worker.join().map_err(|_| io::Error::other("a worker panicked"))?;
            ended?.map_err(io::Error::other)?;
        }
        rate?
    };
    Ok(Run { waiting, reports, completed_per_s, cpu_us, empty, full, peak })
}

/// Processes a backlog with Fastify.
///
/// It accepts the orders over HTTP while it has no workers.
fn process_peer_backlog(lab: &Lab, settings: &Settings, waiting: u64) -> io::Result<Run> {
    let mut servers = Servers::start_peer(lab, "fastify", &settings.tuning)?;
    let mut database = servers.database()?;
    servers.start_workers(lab, "fastify", &settings.tuning)?;
    simple_http::post(servers.http, "/orders", ORDER)?;
    wait_for_completed(&mut database, 1, || Ok(()))?;
    let empty = servers.memory_of_all()?;
    servers.stop("worker")?;
    while database.count_stored()? < waiting {
        load::run_closed_loop(&Target::create(servers.http), 64, Duration::from_secs(1))?;
    }
    let full = servers.memory_of_all()?;
    servers.start_workers(lab, "fastify", &settings.tuning)?;
    let measured = settings.measured.min(waiting * 9 / 10);
    let (completed_per_s, cpu_us, peak) = measure_rate(&servers, &mut database, measured)?;
    Ok(Run { waiting, reports: Reports::Fastify, completed_per_s, cpu_us, empty, full, peak })
}

/// Measures the rate of completed orders, their CPU time and the maximum memory.
///
/// The CPU time is that of each order, the memory that of each process. The first tenth of the measured orders and the
/// rest of the backlog do not count.
fn measure_rate(
    servers: &Servers,
    database: &mut Database,
    measured: u64,
) -> io::Result<(f64, BTreeMap<String, f64>, Memory)> {
    let mut peak = Memory::new();
    let mut record_memory = || {
        for (name, bytes) in servers.memory_of_all()? {
            let peak = peak.entry(name).or_default();
            *peak = bytes.max(*peak);
        }
        Ok(())
    };
    let (from, first) = wait_for_completed(database, measured / 10, &mut record_memory)?;
    let before = servers.cpu()?;
    let (to, last) = wait_for_completed(database, measured, &mut record_memory)?;
    let cpu = cpu_used(&before, &servers.cpu()?);
    let count = (last - first) as f64;
    let cpu_us = cpu.into_iter().map(|(name, seconds)| (name, round(seconds * 1e6 / count))).collect();
    Ok((round(count / to.duration_since(from).as_secs_f64()), cpu_us, peak))
}

/// Waits until at least `count` orders are completed, and returns the time and their number.
fn wait_for_completed(
    database: &mut Database,
    count: u64,
    mut poll: impl FnMut() -> io::Result<()>,
) -> io::Result<(Instant, u64)> {
    let deadline = Instant::now() + BACKLOG_TIMEOUT;
    loop {
        let (at, completed) = (Instant::now(), database.count_completed()?);
        if completed >= count {
            return Ok((at, completed));
        }
        if at > deadline {
            return Err(io::Error::other(format!("{completed} of {count} orders are completed")));
        }
        poll()?;
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Runs workers without the stream.
///
/// They pop jobs, and report `processing` and `completed` of each order.
async fn run_unary_workers(redis: String, grpc: String, concurrency: usize) -> Result<(), redis::RedisError> {
    let failed = |error: tonic::transport::Error| io::Error::other(error);
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(OrderServiceClient::connect(grpc.clone()).await.map_err(failed)?);
    }
    let mut queue = redis::Client::open(redis)?.get_multiplexed_async_connection().await?;
    let slots = Arc::new(Semaphore::new(concurrency));
    let mut pop = redis::cmd("BLMPOP");
    pop.arg(0.1).arg(1).arg("orders:queue").arg("RIGHT").arg("COUNT").arg(PULL_SIZE);
    let mut rotation = clients.iter().cycle();
    loop {
        let popped: Option<(String, Vec<String>)> = pop.query_async(&mut queue).await?;
        for job in popped.map(|(_, jobs)| jobs).unwrap_or_default() {
            let job: serde_json::Value = serde_json::from_str(&job).map_err(io::Error::other)?;
            let id = job["orderId"].as_str().unwrap_or_default().to_owned();
            let slot = slots.clone().acquire_owned().await.map_err(io::Error::other)?;
            let Some(client) = rotation.next().cloned() else { return Ok(()) };
            tokio::task::spawn_local(async move {
                // A rejected order is not completed, and only completed orders count.
                let _ = complete_order(client, id).await;
                drop(slot);
            });
        }
    }
}

async fn complete_order(mut client: OrderServiceClient<Channel>, id: String) -> Result<(), tonic::Status> {
    let report = |status: &str, lease_token: String| v1::UpdateStatusRequest {
        order_id: id.clone(),
        status: status.to_owned(),
        lease_token,
        ..Default::default()
    };
    let started = client.update_status(report("processing", String::new())).await?.into_inner();
    client.update_status(report("completed", started.lease_token)).await?;
    Ok(())
}

impl Results for Report {
    const SCENARIO: &'static str = "backlog";

    fn tables(&self) -> String {
        let mut text =
            table_head(["orders waiting", "reports", "completed/s", "of the first", "CPU for each (µs)"]);
        let first = self.runs.first().map_or(f64::NAN, |run| run.completed_per_s);
        let runs = || self.runs.iter().chain(&self.peer);
        for Run { waiting, reports, completed_per_s, cpu_us, .. } in runs() {
            let _ = writeln!(
                text,
                "| {waiting} | {} | {completed_per_s:.0} | {:.2}× | {} |",
                reports.describe(),
                completed_per_s / first,
                show_each(cpu_us, |us| format!("{us:.0}"))
            );
        }
        text.push('\n');
        text.push_str(&table_head([
            "orders waiting",
            "reports",
            "memory (MiB): empty",
            "while they wait",
            "maximum until they are completed",
        ]));
        let show = |memory: &Memory| {
            let of = |(name, bytes): (&String, &u64)| format!("{name} {:.0}", *bytes as f64 / 1_048_576.0);
            memory.iter().filter(|(name, _)| *name != "mariadb").map(of).collect::<Vec<_>>().join(", ")
        };
        for Run { waiting, reports, empty, full, peak, .. } in runs() {
            let (empty, full, peak) = (show(empty), show(full), show(peak));
            let _ = writeln!(text, "| {waiting} | {} | {empty} | {full} | {peak} |", reports.describe());
        }
        let product = self.runs.iter().rev().find(|run| run.reports == Reports::Batched);
        if let (Some(product), Some(peer)) = (product, &self.peer) {
            let sum = |run: &Run, names: [&str; 2]| {
                names.iter().filter_map(|name| run.peak.get(*name)).sum::<u64>() as f64
            };
            let _ = writeln!(
                text,
                "| {} against {} | gateway and processor against server and worker | | | {:.2}× |",
                product.waiting,
                peer.waiting,
                sum(product, ["gateway", "processor"]) / sum(peer, ["server", "worker"])
            );
        }
        text
    }
}

impl Reports {
    fn describe(self) -> &'static str {
        match self {
            Self::Batched => "in batches on a stream",
            Self::Single => "one `UpdateStatus` for each status",
            Self::Fastify => "Fastify, its own workers",
        }
    }
}
