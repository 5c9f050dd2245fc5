//! From the request to the completed order, with workers that do nothing: what a system accepts and
//! completes at the same time, and what that costs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use crate::load::{self, Target};
use crate::report::{Machine, Quantiles, round};
use crate::servers::{Database, LOAD, Lab, Servers, System, Tuning, used};

/// How often to look whether the last order is completed.
const LOOK: Duration = Duration::from_millis(25);
/// How long a system may need to complete what it has accepted.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// The system to measure
    #[arg(long, value_enum, default_value_t = System::Orders)]
    system: System,
    #[command(flatten)]
    pub(crate) shape: Shape,
}

/// How a pipeline is loaded.
#[derive(Debug, Clone, Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shape {
    /// Connections, each of which sends the next order when the last one is answered; several with commas,
    /// one load after the other
    #[arg(long, value_delimiter = ',', default_values_t = [64, 256])]
    pub(crate) connections: Vec<usize>,
    /// Seconds of load before each measurement
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    pub(crate) warm_up_s: u64,
    /// Seconds of load that are measured
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub(crate) seconds: u64,
    #[command(flatten)]
    pub(crate) tuning: Tuning,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    scenario: &'static str,
    machine: Machine,
    shape: Shape,
    loads: Vec<Load>,
}

/// What came of one load on one system.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Load {
    pub(crate) system: System,
    pub(crate) connections: usize,
    pub(crate) accepted_per_s: f64,
    pub(crate) accepted_ms: Quantiles,
    /// Answers that were not 201, in a second.
    pub(crate) refused_per_s: f64,
    /// Orders that were completed while orders were being accepted.
    pub(crate) completed_per_s: f64,
    /// From the last answer until no order was waiting; nothing when that took too long.
    pub(crate) drained_s: Option<f64>,
    /// CPU of each process from the first request until no order was waiting, for each completed order.
    pub(crate) cpu_us: BTreeMap<String, f64>,
    /// The same of all servers together, without the load generator.
    pub(crate) servers_cpu_us: f64,
    /// Memory in use of each process at the end, in bytes.
    pub(crate) memory_bytes: BTreeMap<String, u64>,
}

pub(crate) fn run(lab: &Lab, settings: &Settings) -> io::Result<Report> {
    let loads = measure(lab, settings.system, &settings.shape)?;
    Ok(Report { scenario: "pipeline", machine: Machine::here(), shape: settings.shape.clone(), loads })
}

/// Starts the system and puts each load on it.
pub(crate) fn measure(lab: &Lab, system: System, shape: &Shape) -> io::Result<Vec<Load>> {
    let servers = Servers::start(lab, system, &shape.tuning)?;
    let of = |connections: &usize| load(&servers, system, *connections, shape);
    shape.connections.iter().map(of).collect()
}

fn load(servers: &Servers, system: System, connections: usize, shape: &Shape) -> io::Result<Load> {
    let target = Target::create(servers.http);
    let mut database = servers.database()?;
    load::closed(&target, connections, Duration::from_secs(shape.warm_up_s))?;
    if drained(&mut database, Instant::now())?.is_none() || database.completed()? == 0 {
        return Err(io::Error::other(format!("{system} does not complete the orders of the warm-up")));
    }

    let (stored_before, completed_before) = (database.stored()?, database.completed()?);
    let before = servers.cpu()?;
    let tally = load::closed(&target, connections, Duration::from_secs(shape.seconds))?;
    let ended = Instant::now();
    let during = database.completed()? - completed_before;
    let drained = drained(&mut database, ended)?;
    let cpu = used(&before, &servers.cpu()?);

    let (stored, completed) = (database.stored()? - stored_before, database.completed()? - completed_before);
    let answered = tally.accepted_latency.count();
    if stored < answered {
        return Err(io::Error::other(format!(
            "{system} answered 201 {answered} times and stored {stored} orders"
        )));
    }
    let seconds = tally.lasted.as_secs_f64();
    let us_each = |seconds: f64| round(seconds * 1e6 / completed.max(1) as f64);
    let cpu_us: BTreeMap<_, _> = cpu.into_iter().map(|(name, used)| (name, us_each(used))).collect();
    Ok(Load {
        system,
        connections,
        accepted_per_s: round(tally.accepted as f64 / seconds),
        accepted_ms: (&tally.accepted_latency).into(),
        refused_per_s: round(tally.refused_latency.count() as f64 / seconds),
        completed_per_s: round(during as f64 / seconds),
        drained_s: drained.map(|time| round(time.as_secs_f64())),
        servers_cpu_us: round(cpu_us.iter().filter(|(name, _)| *name != LOAD).map(|(_, us)| us).sum()),
        cpu_us,
        memory_bytes: servers.memory_of_all()?,
    })
}

/// Waits until no order is waiting, and says how long after `ended` that was.
pub(crate) fn drained(database: &mut Database, ended: Instant) -> io::Result<Option<Duration>> {
    while !database.is_drained()? {
        if ended.elapsed() > PATIENCE {
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
    Ok(Some(ended.elapsed()))
}

/// The heading of the rows of [`Load::row`].
pub(crate) const HEADING: &str = "| system | clients | accepted/s | p50, p99 (ms) | refused/s | completed/s | drained after | CPU of all servers per order (µs) | of which (µs) | memory (MiB) |\n\
     |---|---|---|---|---|---|---|---|---|---|\n";

impl Load {
    /// The most important of it, for whoever waits.
    pub(crate) fn line(&self) -> String {
        let Self { system, connections, accepted_per_s, completed_per_s, servers_cpu_us, .. } = self;
        format!(
            "{system}, {connections} clients: accepted {accepted_per_s:.0}/s (p50, p99: {} ms), \
             completed {completed_per_s:.0}/s, {servers_cpu_us:.0} µs of CPU per order",
            self.accepted_ms.show()
        )
    }

    /// A line of a Markdown table.
    pub(crate) fn row(&self) -> String {
        let cpu = self.cpu_us.iter().map(|(name, us)| format!("{name} {us:.0}"));
        let memory = self.memory_bytes.iter().map(|(name, bytes)| format!("{name} {}", bytes >> 20));
        let drained = self.drained_s.map_or_else(|| "not in time".to_owned(), |s| format!("{s:.2} s"));
        format!(
            "| {} | {} | {:.0} | {} | {:.0} | {:.0} | {} | {:.0} | {} | {} |\n",
            self.system,
            self.connections,
            self.accepted_per_s,
            self.accepted_ms.show(),
            self.refused_per_s,
            self.completed_per_s,
            drained,
            self.servers_cpu_us,
            cpu.collect::<Vec<_>>().join(", "),
            memory.collect::<Vec<_>>().join(", "),
        )
    }
}

impl Report {
    pub(crate) fn table(&self) -> String {
        let mut text = HEADING.to_owned();
        self.loads.iter().for_each(|load| text.push_str(&load.row()));
        // Writing to a String does not fail.
        let _ = writeln!(text, "\n{}; {}", self.machine.show(), self.shape.tuning.show());
        text
    }
}
