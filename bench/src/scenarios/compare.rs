//! The pipelines of several systems, in turns: what one system has in a good minute of the machine, the
//! others have as well.

use std::fmt::Write as _;
use std::io;

use clap::Args;
use serde::Serialize;

use super::pipeline::{self, HEADING, Load, Shape};
use crate::report::{Machine, progress};
use crate::servers::{Lab, System};

#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// The systems to compare; the ratios are those of the first to each of the others
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [System::Orders, System::Express, System::Fastify])]
    systems: Vec<System>,
    /// How often each system has its turn; the result is the median
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    #[command(flatten)]
    shape: Shape,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    scenario: &'static str,
    machine: Machine,
    shape: Shape,
    rounds: Vec<Vec<Load>>,
    medians: Vec<Load>,
    ratios: Vec<Ratio>,
}

/// The first system's figure against another one's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ratio {
    peer: System,
    connections: usize,
    /// How many times as many orders.
    accepted: f64,
    completed: f64,
    /// The other one's CPU per order is how many times this one's.
    cpu: f64,
    /// This one's latency is what part of the other one's.
    accepted_p99: f64,
}

pub(crate) fn run(lab: &Lab, settings: &Settings) -> io::Result<Report> {
    let mut rounds = Vec::new();
    let turns = settings.rounds.max(1);
    for turn in 1..=turns {
        let mut round = Vec::new();
        for system in &settings.systems {
            let loads = pipeline::measure(lab, *system, &settings.shape)?;
            for load in &loads {
                progress(&format!("round {turn} of {turns}: {}", load.line()));
            }
            round.extend(loads);
        }
        rounds.push(round);
    }
    let medians: Vec<Load> = (0..rounds[0].len())
        .map(|n| median(&rounds.iter().map(|round| &round[n]).collect::<Vec<_>>()))
        .collect();
    let (first, others) = medians.split_at(settings.shape.connections.len().min(medians.len()));
    let ratios = others.iter().filter_map(|peer| {
        let ours = first.iter().find(|ours| ours.connections == peer.connections)?;
        Some(ratio(ours, peer))
    });
    let ratios = ratios.collect();
    let machine = Machine::here();
    Ok(Report { scenario: "compare", machine, shape: settings.shape.clone(), rounds, medians, ratios })
}

/// Each figure is the middle one of all rounds by itself.
fn median(loads: &[&Load]) -> Load {
    let of = |figure: &dyn Fn(&Load) -> f64| {
        let mut figures: Vec<f64> = loads.iter().map(|load| figure(load)).collect();
        figures.sort_by(f64::total_cmp);
        figures[(figures.len() - 1) / 2]
    };
    let mut median = loads[0].clone();
    median.accepted_per_s = of(&|load| load.accepted_per_s);
    median.refused_per_s = of(&|load| load.refused_per_s);
    median.completed_per_s = of(&|load| load.completed_per_s);
    median.servers_cpu_us = of(&|load| load.servers_cpu_us);
    // What was not drained in time was drained last.
    median.drained_s = Some(of(&|load| load.drained_s.unwrap_or(f64::MAX))).filter(|s| *s < f64::MAX);
    let ms = |ms: Option<f64>| ms.unwrap_or_default();
    median.accepted_ms.p50 = Some(of(&|load| ms(load.accepted_ms.p50)));
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

fn ratio(ours: &Load, peer: &Load) -> Ratio {
    let p99 = |load: &Load| load.accepted_ms.p99.unwrap_or_default();
    Ratio {
        peer: peer.system,
        connections: peer.connections,
        accepted: ours.accepted_per_s / peer.accepted_per_s,
        completed: ours.completed_per_s / peer.completed_per_s,
        cpu: peer.servers_cpu_us / ours.servers_cpu_us,
        accepted_p99: p99(ours) / p99(peer),
    }
}

impl Report {
    pub(crate) fn table(&self) -> String {
        let mut text = HEADING.to_owned();
        self.medians.iter().for_each(|load| text.push_str(&load.row()));
        text.push_str(
            "\n| against | clients | accepted | completed | CPU per order | p99 of accepting |\n|---|---|---|---|---|---|\n",
        );
        for ratio in &self.ratios {
            let Ratio { peer, connections, accepted, completed, cpu, accepted_p99 } = ratio;
            // Writing to a String does not fail.
            let _ = writeln!(
                text,
                "| {peer} | {connections} | {accepted:.1}× | {completed:.1}× | 1/{cpu:.1} | {accepted_p99:.2}× |"
            );
        }
        let rounds = self.rounds.len();
        let _ = writeln!(
            text,
            "\nMedians of {rounds} rounds of {} s; {}; {}",
            self.shape.seconds,
            self.machine.show(),
            self.shape.tuning.show()
        );
        text
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
            accepted_ms: Quantiles { p50: Some(1.0), p99: Some(accepted), max: Some(3.0) },
            refused_per_s: 0.0,
            completed_per_s: accepted,
            drained_s,
            cpu_us: BTreeMap::from([("gateway".to_owned(), accepted)]),
            servers_cpu_us: 1_000.0 / accepted,
            memory_bytes: BTreeMap::new(),
        }
    }

    #[test]
    fn each_figure_has_its_own_median() {
        let loads = [load(3.0, None), load(1.0, Some(2.0)), load(2.0, None)];
        let median = median(&loads.iter().collect::<Vec<_>>());
        assert_eq!((median.accepted_per_s, median.accepted_ms.p99, median.drained_s), (2.0, Some(2.0), None));
        assert_eq!((median.cpu_us["gateway"], median.servers_cpu_us), (2.0, 500.0));
    }

    #[test]
    fn more_orders_for_less_work_are_better() {
        let ratio = ratio(&load(20.0, None), &load(2.0, None));
        assert_eq!(
            (ratio.accepted, ratio.completed, ratio.cpu, ratio.accepted_p99),
            (10.0, 10.0, 10.0, 10.0)
        );
    }
}
