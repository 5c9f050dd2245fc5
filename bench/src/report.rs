//! The report of a scenario, as Markdown tables and as JSON.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::latency::LatencyHistogram;

/// The results of one scenario.
pub(crate) trait Results: Serialize {
    /// The name of the scenario.
    const SCENARIO: &'static str;

    /// Renders the tables for readers.
    fn tables(&self) -> String;

    /// Returns facts about the run for the last line; the machine follows them.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Results with the scenario's name and the machine.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report<R> {
    scenario: &'static str,
    machine: Machine,
    #[serde(flatten)]
    results: R,
}

impl<R: Results> Report<R> {
    pub(crate) fn new(results: R) -> Self {
        Self { scenario: R::SCENARIO, machine: Machine::current(), results }
    }

    /// Renders the tables and a last line.
    pub(crate) fn to_markdown(&self) -> String {
        let mut notes = self.results.notes();
        notes.push(self.machine.describe());
        format!("{}\n{}\n", self.results.tables(), notes.join("; "))
    }

    /// Renders JSON.
    pub(crate) fn to_json(&self) -> String {
        // Structs of strings and numbers always have a JSON form.
        let mut json = serde_json::to_string_pretty(self).unwrap_or_default();
        json.push('\n');
        json
    }
}

/// The machine of the measurement.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Machine {
    cores: usize,
    /// Processes that were running or waiting for a core in the last minute.
    load_average: f64,
}

impl Machine {
    fn current() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load_average = load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default();
        Self { cores, load_average }
    }

    fn describe(&self) -> String {
        let Self { cores, load_average } = self;
        format!("{cores} cores, shared by load and servers; load average at the end {load_average}")
    }
}

/// Latencies in milliseconds.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Quantiles {
    pub(crate) p50: Option<f64>,
    pub(crate) p90: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) max: Option<f64>,
}

impl From<&LatencyHistogram> for Quantiles {
    fn from(histogram: &LatencyHistogram) -> Self {
        let ms = |share| histogram.quantile(share).map(|latency| round(latency.as_secs_f64() * 1_000.0));
        Self { p50: ms(0.5), p90: ms(0.9), p99: ms(0.99), max: ms(1.0) }
    }
}

impl Quantiles {
    /// Shows p50 and p99.
    pub(crate) fn show(&self) -> String {
        match (self.p50, self.p99) {
            (Some(p50), Some(p99)) => format!("{p50:.1}, {p99:.1}"),
            _ => "–".to_owned(),
        }
    }

    /// Shows p50, p90 and p99.
    pub(crate) fn show_with_p90(&self) -> String {
        match (self.p50, self.p90, self.p99) {
            (Some(p50), Some(p90), Some(p99)) => format!("{p50:.1}, {p90:.1}, {p99:.1}"),
            _ => "–".to_owned(),
        }
    }

    /// Shows p50 and p99 to a microsecond, for latencies below a millisecond.
    pub(crate) fn show_precisely(&self) -> String {
        match (self.p50, self.p99) {
            (Some(p50), Some(p99)) => format!("{p50:.3}, {p99:.3}"),
            _ => "–".to_owned(),
        }
    }
}

/// Shows a map of named numbers: `gateway 12, mariadb 7`.
pub(crate) fn show_each<V: Copy>(values: &BTreeMap<String, V>, show: impl Fn(V) -> String) -> String {
    let mut shown = String::new();
    for (name, value) in values {
        let separator = if shown.is_empty() { "" } else { ", " };
        // Writing to a String does not fail.
        let _ = write!(shown, "{separator}{name} {}", show(*value));
    }
    shown
}

/// Prints a line to stderr while a scenario runs.
pub(crate) fn print_progress(line: &str) {
    // stderr may be closed.
    let _ = writeln!(io::stderr(), "{line}");
}

/// Rounds to three decimal places.
pub(crate) fn round(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// Serializes a duration as its number of seconds.
pub(crate) fn as_seconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}
