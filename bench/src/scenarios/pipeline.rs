//! Accepted and completed orders per second of a system, and the cost of each.
//!
//! The workers do no work.

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use crate::load::{self, Target};
use crate::markdown::table_head;
use crate::report::{Quantiles, Results, as_seconds, round, show_each};
use crate::servers::{Database, LOAD, Lab, Servers, System, Tuning, cpu_used};

/// Interval at which the remaining orders are counted.
const POLL_INTERVAL: Duration = Duration::from_millis(25);
/// Timeout for a system to complete the accepted orders.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(120);

#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// System to measure
    #[arg(long, value_enum, default_value_t = System::Orders)]
    system: System,
    #[command(flatten)]
    pub(crate) shape: Shape,
}

/// The load of a pipeline.
#[derive(Debug, Clone, Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shape {
    /// Numbers of connections, separated by commas; each connection sends the next order after the response to the
    /// last one
    #[arg(long, value_delimiter = ',', default_values_t = [64, 256])]
    pub(crate) connections: Vec<usize>,
    /// Duration of the load before each measurement
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "3s")]
    #[serde(rename = "warmUpS", serialize_with = "as_seconds")]
    pub(crate) warm_up: Duration,
    /// Duration of the measured load
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "10s")]
    #[serde(rename = "seconds", serialize_with = "as_seconds")]
    pub(crate) duration: Duration,
    #[command(flatten)]
    pub(crate) tuning: Tuning,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    shape: Shape,
    loads: Vec<Load>,
}

/// The results of one load on one system.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Load {
    pub(crate) system: System,
    pub(crate) connections: usize,
    pub(crate) accepted_per_s: f64,
    pub(crate) accepted_ms: Quantiles,
    /// Responses other than 201 per second.
    #[serde(rename = "refusedPerS")]
    pub(crate) rejected_per_s: f64,
    /// Completed orders per second during the load.
    pub(crate) completed_per_s: f64,
    /// From the last response until all orders were final; `None` after a timeout.
    pub(crate) drained_s: Option<f64>,
    /// CPU time of each process per completed order.
    ///
    /// It counts from the first request until all orders were final.
    pub(crate) cpu_us: BTreeMap<String, f64>,
    /// The sum of all servers, without the load generator.
    pub(crate) servers_cpu_us: f64,
    /// Resident memory of each process at the end, in bytes.
    pub(crate) memory_bytes: BTreeMap<String, u64>,
}

pub(crate) fn run(lab: &Lab, settings: &Settings) -> io::Result<Report> {
    let loads = measure(lab, settings.system, &settings.shape)?;
    Ok(Report { shape: settings.shape.clone(), loads })
}

/// Starts the system and runs each load.
pub(crate) fn measure(lab: &Lab, system: System, shape: &Shape) -> io::Result<Vec<Load>> {
    if system == System::Restate {
        return Err(io::Error::other("Restate has no table of orders to count: use the scenario everyday"));
    }
    let servers = Servers::start(lab, system, &shape.tuning)?;
    let measure_one = |connections: &usize| measure_load(&servers, system, *connections, shape);
    shape.connections.iter().map(measure_one).collect()
}

fn measure_load(servers: &Servers, system: System, connections: usize, shape: &Shape) -> io::Result<Load> {
    let target = Target::create(servers.http).with_key(servers.key.as_deref());
    let mut database = servers.database()?;
    load::run_closed_loop(&target, connections, shape.warm_up)?;
    if wait_until_drained(&mut database, Instant::now())?.is_none() || database.count_completed()? == 0 {
        return Err(io::Error::other(format!("{system} does not complete the orders of the warm-up")));
    }

    let (stored_before, completed_before) = (database.count_stored()?, database.count_completed()?);
    let before = servers.cpu()?;
    let totals = load::run_closed_loop(&target, connections, shape.duration)?;
    let ended = Instant::now();
    let during = database.count_completed()? - completed_before;
    let drained = wait_until_drained(&mut database, ended)?;
    let cpu = cpu_used(&before, &servers.cpu()?);

    let (stored, completed) =
        (database.count_stored()? - stored_before, database.count_completed()? - completed_before);
    let acknowledged = totals.accepted_latency.count();
    if stored < acknowledged {
        return Err(io::Error::other(format!(
            "{system} responded {acknowledged} times with 201 and stored {stored} orders"
        )));
    }
    let seconds = totals.duration.as_secs_f64();
    let us_each = |seconds: f64| round(seconds * 1e6 / completed.max(1) as f64);
    let cpu_us: BTreeMap<_, _> = cpu.into_iter().map(|(name, used)| (name, us_each(used))).collect();
    Ok(Load {
        system,
        connections,
        accepted_per_s: round(totals.accepted as f64 / seconds),
        accepted_ms: (&totals.accepted_latency).into(),
        rejected_per_s: round(totals.rejected_latency.count() as f64 / seconds),
        completed_per_s: round(during as f64 / seconds),
        drained_s: drained.map(|time| round(time.as_secs_f64())),
        servers_cpu_us: round(cpu_us.iter().filter(|(name, _)| *name != LOAD).map(|(_, us)| us).sum()),
        cpu_us,
        memory_bytes: servers.memory_of_all()?,
    })
}

/// Waits until all orders are final, and returns the time since `ended`.
pub(crate) fn wait_until_drained(database: &mut Database, ended: Instant) -> io::Result<Option<Duration>> {
    while !database.is_drained()? {
        if ended.elapsed() > DRAIN_TIMEOUT {
            return Ok(None);
        }
        std::thread::sleep(POLL_INTERVAL);
    }
    Ok(Some(ended.elapsed()))
}

/// Renders the table of several loads.
pub(crate) fn loads_table(loads: &[Load]) -> String {
    let head = table_head([
        "system",
        "clients",
        "accepted/s",
        "p50, p99 (ms)",
        "rejected/s",
        "completed/s",
        "drained after",
        "CPU of all servers per order (µs)",
        "of which (µs)",
        "memory (MiB)",
    ]);
    loads.iter().fold(head, |table, load| table + &load.row())
}

impl Load {
    /// Returns the main results as one line.
    pub(crate) fn summary(&self) -> String {
        let Self { system, connections, accepted_per_s, completed_per_s, servers_cpu_us, .. } = self;
        format!(
            "{system}, {connections} clients: accepted {accepted_per_s:.0}/s (p50, p99: {} ms), \
             completed {completed_per_s:.0}/s, {servers_cpu_us:.0} µs of CPU per order",
            self.accepted_ms.show()
        )
    }

    /// Returns a row of [`loads_table`].
    fn row(&self) -> String {
        let drained = self.drained_s.map_or_else(|| "not in time".to_owned(), |s| format!("{s:.2} s"));
        format!(
            "| {} | {} | {:.0} | {} | {:.0} | {:.0} | {} | {:.0} | {} | {} |\n",
            self.system,
            self.connections,
            self.accepted_per_s,
            self.accepted_ms.show(),
            self.rejected_per_s,
            self.completed_per_s,
            drained,
            self.servers_cpu_us,
            show_each(&self.cpu_us, |us| format!("{us:.0}")),
            show_each(&self.memory_bytes, |bytes| (bytes >> 20).to_string()),
        )
    }
}

impl Results for Report {
    const SCENARIO: &'static str = "pipeline";

    fn tables(&self) -> String {
        loads_table(&self.loads)
    }

    fn notes(&self) -> Vec<String> {
        vec![self.shape.tuning.describe()]
    }
}
