//! The figures of a run, as a table and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};

use serde::Serialize;

use crate::histogram::Histogram;
use crate::load::Tally;

/// All of a run.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    pub(crate) scenario: &'static str,
    pub(crate) machine: Machine,
    pub(crate) phases: Vec<Phase>,
    /// 201 answers in the whole run, the warm-up included.
    pub(crate) accepted: u64,
    /// Orders in the database at the end: never fewer.
    pub(crate) stored: u64,
}

/// Where it was measured.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Machine {
    cores: usize,
    /// Processes that were running or waiting for a core in the last minute.
    load_average: f64,
}

/// One stretch of load.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Phase {
    pub(crate) name: String,
    pub(crate) seconds: f64,
    pub(crate) offered_per_s: f64,
    pub(crate) accepted_per_s: f64,
    /// Orders that the processor completed.
    pub(crate) completed_per_s: f64,
    /// Answers of each kind in a second.
    pub(crate) answers_per_s: BTreeMap<String, f64>,
    /// Answers, of any kind, that came only after the phase had ended.
    pub(crate) late: u64,
    pub(crate) accepted_ms: Quantiles,
    pub(crate) refused_ms: Quantiles,
    pub(crate) accepted_by_second: Vec<u64>,
    pub(crate) connections: u64,
    /// Cores that each process kept busy.
    pub(crate) cores: BTreeMap<String, f64>,
}

/// Latencies in milliseconds.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Quantiles {
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) max: Option<f64>,
}

impl Machine {
    pub(crate) fn here() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load_average = load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default();
        Self { cores, load_average }
    }

    pub(crate) fn show(&self) -> String {
        let Self { cores, load_average } = self;
        format!("{cores} cores, shared by load and servers; load average at the end {load_average}")
    }
}

impl From<&Histogram> for Quantiles {
    fn from(histogram: &Histogram) -> Self {
        let ms = |share| histogram.quantile(share).map(|latency| round(latency.as_secs_f64() * 1_000.0));
        Self { p50: ms(0.5), p99: ms(0.99), max: ms(1.0) }
    }
}

impl Phase {
    /// `cpu` are the seconds of CPU that each process has used meanwhile.
    pub(crate) fn new(name: &str, tally: &Tally, completed: u64, cpu: BTreeMap<String, f64>) -> Self {
        let seconds = tally.lasted.as_secs_f64();
        let per_s = |count: u64| round(count as f64 / seconds);
        Self {
            name: name.to_owned(),
            seconds,
            offered_per_s: per_s(tally.offered),
            accepted_per_s: per_s(tally.accepted),
            completed_per_s: per_s(completed),
            answers_per_s: tally.answers.iter().map(|(kind, n)| (kind.clone(), per_s(*n))).collect(),
            late: tally.late,
            accepted_ms: (&tally.accepted_latency).into(),
            refused_ms: (&tally.refused_latency).into(),
            accepted_by_second: tally.by_second.clone(),
            connections: tally.connections,
            cores: cpu.into_iter().map(|(name, used)| (name, round(used / seconds))).collect(),
        }
    }
}

/// A report for programs.
pub(crate) fn json(report: &impl Serialize) -> String {
    // Structs of texts and numbers always have a JSON text.
    let mut text = serde_json::to_string_pretty(report).unwrap_or_default();
    text.push('\n');
    text
}

impl Report {
    /// For people, in Markdown.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from(
            "| phase | offered/s | accepted/s | of the peak | completed/s | refused/s | answered late | accepted p50, p99 (ms) | refused p50, p99 (ms) | connections | cores in use |\n\
             |---|---|---|---|---|---|---|---|---|---|---|\n",
        );
        let peak = self.phases.first().map_or(0.0, |phase| phase.accepted_per_s);
        for phase in &self.phases {
            let refused = phase.answers_per_s.iter().filter(|(kind, _)| *kind != "201");
            let refused: Vec<_> = refused.map(|(kind, rate)| format!("`{kind}` {rate:.0}")).collect();
            let cores: Vec<_> =
                phase.cores.iter().map(|(name, cores)| format!("{name} {cores:.2}")).collect();
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
                if refused.is_empty() { "0".to_owned() } else { refused.join(", ") },
                phase.late,
                phase.accepted_ms.show(),
                phase.refused_ms.show(),
                phase.connections,
                cores.join(", "),
            );
        }
        let machine = self.machine.show();
        let _ =
            writeln!(text, "\n{} orders answered with 201, {} stored; {machine}", self.accepted, self.stored);
        text
    }
}

impl Quantiles {
    pub(crate) fn show(&self) -> String {
        match (self.p50, self.p99) {
            (Some(p50), Some(p99)) => format!("{p50:.1}, {p99:.1}"),
            _ => "–".to_owned(),
        }
    }

    /// For latencies below a millisecond.
    pub(crate) fn show_precisely(&self) -> String {
        match (self.p50, self.p99) {
            (Some(p50), Some(p99)) => format!("{p50:.3}, {p99:.3}"),
            _ => "–".to_owned(),
        }
    }
}

/// Tells whoever waits for the report what has been measured so far.
pub(crate) fn progress(line: &str) {
    // Nobody may be looking.
    let _ = writeln!(io::stderr(), "{line}");
}

pub(crate) fn round(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}
