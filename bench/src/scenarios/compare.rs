//! The pipelines of several systems, alternating.
//!
//! Changes of the machine therefore affect all systems alike.

use std::fmt::Write as _;
use std::io;

use clap::Args;
use serde::Serialize;

use super::pipeline::{self, Load, Shape, loads_table};
use crate::markdown::table_head;
use crate::report::{Results, print_progress};
use crate::servers::{Lab, System};

#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Systems to compare, separated by commas; the ratios are of the first to each of the others
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [System::Orders, System::Express, System::Fastify])]
    systems: Vec<System>,
    /// Runs of each system; the result is the median
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    #[command(flatten)]
    shape: Shape,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    shape: Shape,
    rounds: Vec<Vec<Load>>,
    medians: Vec<Load>,
    ratios: Vec<Ratio>,
}

/// The ratios of the first system to another one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ratio {
    peer: System,
    connections: usize,
    /// Accepted orders per second.
    accepted: f64,
    completed: f64,
    /// The CPU time per order of the other system, divided by that of the first.
    cpu: f64,
    /// The latency of the first system, divided by that of the other.
    accepted_p99: f64,
}

pub(crate) fn run(lab: &Lab, settings: &Settings) -> io::Result<Report> {
    let mut rounds = Vec::new();
    let count = settings.rounds.max(1);
    for number in 1..=count {
        let mut round = Vec::new();
        for system in &settings.systems {
            let loads = pipeline::measure(lab, *system, &settings.shape)?;
            for load in &loads {
                print_progress(&format!("round {number} of {count}: {}", load.summary()));
            }
            round.extend(loads);
        }
        rounds.push(round);
    }
    let medians: Vec<Load> = (0..rounds[0].len())
        .map(|n| median_load(&rounds.iter().map(|round| &round[n]).collect::<Vec<_>>()))
        .collect();
    let (first, others) = medians.split_at(settings.shape.connections.len().min(medians.len()));
    let ratios = others.iter().filter_map(|peer| {
        let ours = first.iter().find(|ours| ours.connections == peer.connections)?;
        Some(Ratio::new(ours, peer))
    });
    let ratios = ratios.collect();
    Ok(Report { shape: settings.shape.clone(), rounds, medians, ratios })
}

/// Returns a load in which each figure is the median of all rounds.
fn median_load(loads: &[&Load]) -> Load {
    let of = |figure: &dyn Fn(&Load) -> f64| {
        let mut figures: Vec<f64> = loads.iter().map(|load| figure(load)).collect();
        figures.sort_by(f64::total_cmp);
        figures[(figures.len() - 1) / 2]
    };
    let mut median = loads[0].clone();
    median.accepted_per_s = of(&|load| load.accepted_per_s);
    median.rejected_per_s = of(&|load| load.rejected_per_s);
    median.completed_per_s = of(&|load| load.completed_per_s);
    median.servers_cpu_us = of(&|load| load.servers_cpu_us);
    // A backlog that was not completed in time counts as the longest.
    median.drained_s = Some(of(&|load| load.drained_s.unwrap_or(f64::MAX))).filter(|s| *s < f64::MAX);
    let ms = |ms: Option<f64>| ms.unwrap_or_default();
    median.accepted_ms.p50 = Some(of(&|load| ms(load.accepted_ms.p50)));
    median.accepted_ms.p90 = Some(of(&|load| ms(load.accepted_ms.p90)));
    median.accepted_ms.p99 = Some(of(&|load| ms(load.accepted_ms.p99)));
    median.accepted_ms.max = Some(of(&|load| ms(load.accepted_ms.max)));
    for (name, us) in &mut median.cpu_us {
        *us = of(&|load| load.cpu_us.get(name).copied().unwrap_or_default());
    }
    for (name, bytes) in &mut median.memory_bytes {
        *bytes = of(&|load| load.memory_bytes.get(name).copied().unwrap_or_default() as f64) as u64;
    }
    median
}

impl Ratio {
    fn new(ours: &Load, peer: &Load) -> Self {
        let p99 = |load: &Load| load.accepted_ms.p99.unwrap_or_default();
        Self {
            peer: peer.system,
            connections: peer.connections,
            accepted: ours.accepted_per_s / peer.accepted_per_s,
            completed: ours.completed_per_s / peer.completed_per_s,
            cpu: peer.servers_cpu_us / ours.servers_cpu_us,
            accepted_p99: p99(ours) / p99(peer),
        }
    }
}

impl Results for Report {
    const SCENARIO: &'static str = "compare";

    fn tables(&self) -> String {
        let mut text = loads_table(&self.medians);
        text.push('\n');
        text.push_str(&table_head([
            "against",
            "clients",
            "accepted",
            "completed",
            "CPU per order",
            "p99 of accepting",
        ]));
        for ratio in &self.ratios {
            let Ratio { peer, connections, accepted, completed, cpu, accepted_p99 } = ratio;
            let _ = writeln!(
                text,
                "| {peer} | {connections} | {accepted:.1}× | {completed:.1}× | 1/{cpu:.1} | {accepted_p99:.2}× |"
            );
        }
        text
    }

    fn notes(&self) -> Vec<String> {
        let (rounds, duration) = (self.rounds.len(), humantime::format_duration(self.shape.duration));
        vec![format!("Medians of {rounds} rounds of {duration}"), self.shape.tuning.describe()]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::report::Quantiles;

    fn load(accepted: f64, drained_s: Option<f64>) -> Load {
        Load {
            system: System::Orders,
            connections: 64,
            accepted_per_s: accepted,
            accepted_ms: Quantiles { p50: Some(1.0), p90: Some(2.0), p99: Some(accepted), max: Some(3.0) },
            rejected_per_s: 0.0,
            completed_per_s: accepted,
            drained_s,
            cpu_us: BTreeMap::from([("gateway".to_owned(), accepted)]),
            servers_cpu_us: 1_000.0 / accepted,
            memory_bytes: BTreeMap::new(),
        }
    }

    #[test]
    fn median_is_of_each_figure() {
        let loads = [load(3.0, None), load(1.0, Some(2.0)), load(2.0, None)];
        let median = median_load(&loads.iter().collect::<Vec<_>>());
        assert_eq!((median.accepted_per_s, median.accepted_ms.p99, median.drained_s), (2.0, Some(2.0), None));
        assert_eq!((median.cpu_us["gateway"], median.servers_cpu_us), (2.0, 500.0));
    }

    #[test]
    fn ratio_is_above_one_for_the_faster_system() {
        let ratio = Ratio::new(&load(20.0, None), &load(2.0, None));
        assert_eq!(
            (ratio.accepted, ratio.completed, ratio.cpu, ratio.accepted_p99),
            (10.0, 10.0, 10.0, 10.0)
        );
    }
}
