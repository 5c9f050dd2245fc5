//! How fast waiting orders are worked off while none are accepted: few, many, and by a worker that
//! reports each status by itself. And what memory that takes, beside a peer with fewer orders waiting.

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

use crate::load::{self, ORDER, Target, on_this_thread};
use crate::plain;
use crate::report::{Machine, round};
use crate::servers::{Database, Lab, Memory, Servers, Stock, Tuning, used};

/// How often to look how many are completed.
const LOOK: Duration = Duration::from_millis(25);
/// How long the measured orders may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// Orders that one pull of the simple workers takes.
const PULL: usize = 256;
/// Connections of the simple workers to the gateway.
const CONNECTIONS: usize = 4;

#[derive(Debug, Clone, Args)]
pub(crate) struct Settings {
    /// Orders that wait; several with commas
    #[arg(long, value_delimiter = ',', default_values_t = [20_000, 200_000])]
    waiting: Vec<u64>,
    /// Orders whose completion is measured, of all that wait
    #[arg(long, default_value_t = 18_000)]
    measured: u64,
    /// Orders that the workers with single reports work on at the same time
    #[arg(long, default_value_t = 1_000)]
    unary_concurrency: usize,
    /// Fastify, for its memory, gets the last number of waiting orders divided by this; 0 leaves it out
    #[arg(long, default_value_t = 10)]
    peer_share: u64,
    #[command(flatten)]
    tuning: Tuning,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    scenario: &'static str,
    machine: Machine,
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
    /// Before there were orders.
    empty: Memory,
    /// While nobody works on those that wait.
    full: Memory,
    /// The most that each process had while they were worked off.
    most: Memory,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum Reports {
    /// The product's processor.
    Batched,
    /// `UpdateStatus` twice for each order.
    Single,
    /// The workers of Fastify: one UPDATE for each status.
    Fastify,
}

pub(crate) fn run(lab: &Lab, settings: &Settings) -> io::Result<Report> {
    let mut runs = Vec::new();
    for waiting in &settings.waiting {
        runs.push(work_off(lab, settings, *waiting, Reports::Batched)?);
    }
    if let Some(waiting) = settings.waiting.first() {
        runs.push(work_off(lab, settings, *waiting, Reports::Single)?);
    }
    let peer = match settings.waiting.last().filter(|_| settings.peer_share > 0) {
        Some(waiting) => Some(peer(lab, settings, waiting / settings.peer_share)?),
        None => None,
    };
    Ok(Report { scenario: "backlog", machine: Machine::here(), runs, peer })
}

fn work_off(lab: &Lab, settings: &Settings, waiting: u64, reports: Reports) -> io::Result<Run> {
    let mut servers = Servers::without_processor(lab, &settings.tuning)?;
    let mut database = servers.database()?;
    let mut stock = Stock::new(&servers)?;
    plain::post(servers.http, "/queue/pause", "{}")?;
    if reports == Reports::Batched {
        servers.start_processor(lab, &settings.tuning)?;
    }
    let empty = servers.memory_of_all()?;
    stock.fill_with_waiting(&mut database, waiting)?;
    let full = servers.memory_of_all()?;
    plain::post(servers.http, "/queue/resume", "{}")?;
    let measured = settings.measured.min(waiting * 9 / 10);
    let (completed_per_s, cpu_us, most) = if reports == Reports::Batched {
        rate(&servers, &mut database, measured)?
    } else {
        let (redis, grpc) = (servers.redis_url.clone(), format!("http://{}", servers.grpc));
        let at_once = settings.unary_concurrency;
        // Ends with the process: it never runs out of work to wait for.
        let worker = std::thread::spawn(move || on_this_thread(simple_workers(redis, grpc, at_once)));
        let rate = rate(&servers, &mut database, measured);
        if worker.is_finished() {
            let ended = worker.join().map_err(|_| io::Error::other("the worker has panicked"))?;
            ended?.map_err(io::Error::other)?;
        }
        rate?
    };
    Ok(Run { waiting, reports, completed_per_s, cpu_us, empty, full, most })
}

/// The same with Fastify, whose orders are accepted over HTTP while it has no workers.
fn peer(lab: &Lab, settings: &Settings, waiting: u64) -> io::Result<Run> {
    let mut servers = Servers::peer(lab, "fastify", &settings.tuning)?;
    let mut database = servers.database()?;
    servers.start_workers(lab, "fastify", &settings.tuning)?;
    plain::post(servers.http, "/orders", ORDER)?;
    reach(&mut database, 1, || Ok(()))?;
    let empty = servers.memory_of_all()?;
    servers.stop("worker")?;
    while database.stored()? < waiting {
        load::closed(&Target::create(servers.http), 64, Duration::from_secs(1))?;
    }
    let full = servers.memory_of_all()?;
    servers.start_workers(lab, "fastify", &settings.tuning)?;
    let measured = settings.measured.min(waiting * 9 / 10);
    let (completed_per_s, cpu_us, most) = rate(&servers, &mut database, measured)?;
    Ok(Run { waiting, reports: Reports::Fastify, completed_per_s, cpu_us, empty, full, most })
}

/// Completed orders in a second, without the first and the last of those that are measured; what CPU each
/// took, and the most memory that each process had meanwhile.
fn rate(
    servers: &Servers,
    database: &mut Database,
    measured: u64,
) -> io::Result<(f64, BTreeMap<String, f64>, Memory)> {
    let mut most = Memory::new();
    let mut look = || {
        for (name, bytes) in servers.memory_of_all()? {
            let most = most.entry(name).or_default();
            *most = bytes.max(*most);
        }
        Ok(())
    };
    let (from, first) = reach(database, measured / 10, &mut look)?;
    let before = servers.cpu()?;
    let (to, last) = reach(database, measured, &mut look)?;
    let cpu = used(&before, &servers.cpu()?);
    let count = (last - first) as f64;
    let cpu_us = cpu.into_iter().map(|(name, seconds)| (name, round(seconds * 1e6 / count))).collect();
    Ok((round(count / to.duration_since(from).as_secs_f64()), cpu_us, most))
}

/// When so many were completed, and how many that were.
fn reach(
    database: &mut Database,
    count: u64,
    mut look: impl FnMut() -> io::Result<()>,
) -> io::Result<(Instant, u64)> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (at, completed) = (Instant::now(), database.completed()?);
        if completed >= count {
            return Ok((at, completed));
        }
        if at > deadline {
            return Err(io::Error::other(format!("{completed} of {count} orders are completed")));
        }
        look()?;
        std::thread::sleep(LOOK);
    }
}

/// Workers of the simplest kind: they pop jobs and report `processing` and `completed` of each.
async fn simple_workers(redis: String, grpc: String, at_once: usize) -> Result<(), redis::RedisError> {
    let failed = |error: tonic::transport::Error| io::Error::other(error);
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(OrderServiceClient::connect(grpc.clone()).await.map_err(failed)?);
    }
    let mut queue = redis::Client::open(redis)?.get_multiplexed_async_connection().await?;
    let slots = Arc::new(Semaphore::new(at_once));
    let mut pop = redis::cmd("BLMPOP");
    pop.arg(0.1).arg(1).arg("orders:queue").arg("RIGHT").arg("COUNT").arg(PULL);
    let mut turns = clients.iter().cycle();
    loop {
        let popped: Option<(String, Vec<String>)> = pop.query_async(&mut queue).await?;
        for job in popped.map(|(_, jobs)| jobs).unwrap_or_default() {
            let job: serde_json::Value = serde_json::from_str(&job).map_err(io::Error::other)?;
            let id = job["orderId"].as_str().unwrap_or_default().to_owned();
            let slot = slots.clone().acquire_owned().await.map_err(io::Error::other)?;
            let Some(client) = turns.next().cloned() else { return Ok(()) };
            tokio::task::spawn_local(async move {
                // An order that is refused, or whose gateway is gone, is not completed, which is what counts.
                let _ = complete(client, id).await;
                drop(slot);
            });
        }
    }
}

async fn complete(mut client: OrderServiceClient<Channel>, id: String) -> Result<(), tonic::Status> {
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

impl Report {
    pub(crate) fn table(&self) -> String {
        let mut text = String::from(
            "| orders waiting | reports | completed/s | of the first | CPU for each (µs) |\n|---|---|---|---|---|\n",
        );
        let first = self.runs.first().map_or(f64::NAN, |run| run.completed_per_s);
        let runs = || self.runs.iter().chain(&self.peer);
        for Run { waiting, reports, completed_per_s, cpu_us, .. } in runs() {
            let cpu: Vec<_> = cpu_us.iter().map(|(name, us)| format!("{name} {us:.0}")).collect();
            // Writing to a String does not fail.
            let _ = writeln!(
                text,
                "| {waiting} | {} | {completed_per_s:.0} | {:.2}× | {} |",
                reports.show(),
                completed_per_s / first,
                cpu.join(", ")
            );
        }
        text.push_str(
            "\n| orders waiting | reports | memory (MiB): empty | while they wait | at most while they are worked off |\n|---|---|---|---|---|\n",
        );
        let show = |memory: &Memory| {
            let of = |(name, bytes): (&String, &u64)| format!("{name} {:.0}", *bytes as f64 / 1_048_576.0);
            memory.iter().filter(|(name, _)| *name != "mariadb").map(of).collect::<Vec<_>>().join(", ")
        };
        for Run { waiting, reports, empty, full, most, .. } in runs() {
            let (empty, full, most) = (show(empty), show(full), show(most));
            let _ = writeln!(text, "| {waiting} | {} | {empty} | {full} | {most} |", reports.show());
        }
        let product = self.runs.iter().rev().find(|run| run.reports == Reports::Batched);
        if let (Some(product), Some(peer)) = (product, &self.peer) {
            let sum = |run: &Run, names: [&str; 2]| {
                names.iter().filter_map(|name| run.most.get(*name)).sum::<u64>() as f64
            };
            let _ = writeln!(
                text,
                "| {} against {} | gateway and processor against server and worker | | | {:.2}× |",
                product.waiting,
                peer.waiting,
                sum(product, ["gateway", "processor"]) / sum(peer, ["server", "worker"])
            );
        }
        let _ = writeln!(text, "\n{}", self.machine.show());
        text
    }
}

impl Reports {
    fn show(self) -> &'static str {
        match self {
            Self::Batched => "in batches on a stream",
            Self::Single => "one `UpdateStatus` for each status",
            Self::Fastify => "Fastify, its own workers",
        }
    }
}
