//! A multiple of the capacity for a minute.
//!
//! First the peak: clients that wait for their responses send as many requests as the product accepts. Then clients
//! that do not wait send a multiple of that rate. Then the first load again. Orders count as accepted during their
//! phase; at the end each 201 must be a row in the database.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use crate::load::{self, Target, Totals};
use crate::markdown::table_head;
use crate::report::{Quantiles, Results, round, show_each};
use crate::servers::{Lab, Servers, System, Tuning, cpu_used};

#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Connections of the phases that measure the peak
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Duration of the load before the measurement
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "3s")]
    warm_up: Duration,
    /// Duration of each phase that measures the peak
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "15s")]
    peak_duration: Duration,
    /// Duration of the overload
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "1m")]
    overload_duration: Duration,
    /// Offered rate as a multiple of the peak
    #[arg(long, default_value_t = 3.0)]
    factor: f64,
    /// Offered requests per second, instead of a multiple of the peak
    #[arg(long)]
    rate: Option<f64>,
    /// Maximum number of connections of the overload; further requests wait in the client, and their wait counts
    #[arg(long, default_value_t = 8_000)]
    crowd: usize,
    #[command(flatten)]
    tuning: Tuning,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    phases: Vec<Phase>,
    /// Responses with 201 in the whole run, with the warm-up.
    accepted: u64,
    /// Orders in the database at the end: never fewer.
    stored: u64,
}

/// The results of one phase.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Phase {
    name: String,
    seconds: f64,
    offered_per_s: f64,
    accepted_per_s: f64,
    /// Orders that the processor completed.
    completed_per_s: f64,
    /// Responses of each kind per second.
    #[serde(rename = "answersPerS")]
    responses_per_s: BTreeMap<String, f64>,
    /// Responses of any kind after the end of the phase.
    late: u64,
    accepted_ms: Quantiles,
    #[serde(rename = "refusedMs")]
    rejected_ms: Quantiles,
    accepted_by_second: Vec<u64>,
    connections: u64,
    /// Cores that each process used.
    cores: BTreeMap<String, f64>,
}

pub(crate) fn run(lab: &Lab, settings: &Settings) -> io::Result<Report> {
    let servers = Servers::start(lab, System::Orders, &settings.tuning)?;
    let target = Target::create(servers.http);
    let closed_loop = |duration| load::run_closed_loop(&target, settings.connections, duration);

    let mut accepted = closed_loop(settings.warm_up)?.accepted_latency.count();
    let mut phases = Vec::new();
    let mut measure = |name: &str, load: &dyn Fn() -> io::Result<Totals>| -> io::Result<f64> {
        let (_, completed) = servers.count_orders()?;
        let before = servers.cpu()?;
        let totals = load()?;
        let cpu = cpu_used(&before, &servers.cpu()?);
        let completed = servers.count_orders()?.1 - completed;
        accepted += totals.accepted_latency.count();
        let phase = Phase::new(name, &totals, completed, cpu);
        let rate = phase.accepted_per_s;
        phases.push(phase);
        Ok(rate)
    };
    let peak = measure("peak", &|| closed_loop(settings.peak_duration))?;
    let rate = settings.rate.unwrap_or(peak * settings.factor);
    let overload = settings.overload_duration;
    measure("overload", &|| load::run_open_loop(&target, rate, overload, settings.crowd))?;
    measure("afterwards", &|| closed_loop(settings.peak_duration))?;

    let (stored, _) = servers.count_orders()?;
    Ok(Report { phases, accepted, stored })
}

impl Phase {
    /// `cpu` are the CPU seconds of each process during the phase.
    fn new(name: &str, totals: &Totals, completed: u64, cpu: BTreeMap<String, f64>) -> Self {
        let seconds = totals.duration.as_secs_f64();
        let per_s = |count: u64| round(count as f64 / seconds);
        Self {
            name: name.to_owned(),
            seconds,
            offered_per_s: per_s(totals.offered),
            accepted_per_s: per_s(totals.accepted),
            completed_per_s: per_s(completed),
            responses_per_s: totals.responses.iter().map(|(kind, n)| (kind.clone(), per_s(*n))).collect(),
            late: totals.late,
            accepted_ms: (&totals.accepted_latency).into(),
            rejected_ms: (&totals.rejected_latency).into(),
            accepted_by_second: totals.accepted_by_second.clone(),
            connections: totals.connections,
            cores: cpu.into_iter().map(|(name, used)| (name, round(used / seconds))).collect(),
        }
    }

    fn show_rejections(&self) -> String {
        let rejections = self.responses_per_s.iter().filter(|(kind, _)| *kind != "201");
        let shown: Vec<_> = rejections.map(|(kind, rate)| format!("`{kind}` {rate:.0}")).collect();
        if shown.is_empty() { "0".to_owned() } else { shown.join(", ") }
    }
}

impl Results for Report {
    const SCENARIO: &'static str = "overload";

    fn tables(&self) -> String {
        let mut text = table_head([
            "phase",
            "offered/s",
            "accepted/s",
            "of the peak",
            "completed/s",
            "rejected/s",
            "late responses",
            "accepted p50, p99 (ms)",
            "rejected p50, p99 (ms)",
            "connections",
            "cores in use",
        ]);
        let peak = self.phases.first().map_or(0.0, |phase| phase.accepted_per_s);
        for phase in &self.phases {
            // Writing to a String does not fail.
            let _ = writeln!(
                text,
                "| {} ({:.0} s) | {:.0} | {:.0} | {:.0} % | {:.0} | {} | {} | {} | {} | {} | {} |",
                phase.name,
                phase.seconds,
                phase.offered_per_s,
                phase.accepted_per_s,
                100.0 * phase.accepted_per_s / peak,
                phase.completed_per_s,
                phase.show_rejections(),
                phase.late,
                phase.accepted_ms.show(),
                phase.rejected_ms.show(),
                phase.connections,
                show_each(&phase.cores, |cores| format!("{cores:.2}")),
            );
        }
        text
    }

    fn notes(&self) -> Vec<String> {
        vec![format!("{} orders answered with 201, {} stored", self.accepted, self.stored)]
    }
}
