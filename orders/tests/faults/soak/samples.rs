//! Samples of the resources of every process, and the values that are judged.

use std::path::Path;
use std::time::Instant;

use super::trend::{Allowance, median, quantile};
use crate::ledger::Ledger;

/// Interval over which latencies are summarised, in seconds.
const LATENCY_INTERVAL_S: f64 = 5.0;

/// What one process uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) memory_bytes: f64,
    pub(crate) open_files: f64,
    pub(crate) threads: f64,
}

/// Returns what a process uses, unless it has ended.
pub(crate) fn usage(pid: u32) -> Option<Usage> {
    let folder = Path::new("/proc").join(pid.to_string());
    let status = std::fs::read_to_string(folder.join("status")).ok()?;
    let number = |line: &str| -> Option<f64> {
        let found = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':'))?;
        found.split_whitespace().next()?.parse().ok()
    };
    Some(Usage {
        memory_bytes: number("VmRSS")? * 1024.0,
        threads: number("Threads")?,
        open_files: std::fs::read_dir(folder.join("fd")).ok()?.count() as f64,
    })
}

/// One value over time.
pub(crate) struct Series {
    /// The process or the server, and the value with its unit.
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
    /// `None` for a value that is shown only: the processes that faults restart.
    pub(crate) allowance: Option<Allowance>,
}

/// The values in the order of their first sample.
#[derive(Default)]
pub(crate) struct Samples {
    pub(crate) series: Vec<Series>,
}

impl Samples {
    pub(crate) fn add(&mut self, name: &str, at: f64, value: f64, allowance: Option<Allowance>) {
        if let Some(series) = self.series.iter_mut().find(|series| series.name == name) {
            series.points.push((at, value));
        } else {
            self.series.push(Series { name: name.to_owned(), points: vec![(at, value)], allowance });
        }
    }

    /// Adds the latencies of the ledger: their median and 95th percentile in each interval.
    pub(crate) fn add_latencies(&mut self, ledger: &Ledger, start: Instant, [typical, slow]: [Allowance; 2]) {
        let creates = ledger.accepted.values().map(|create| (create.at, create.took)).collect();
        for (what, measured) in [("creates", creates), ("reads", ledger.reads.clone())] {
            let since = |(at, took): (Instant, std::time::Duration)| {
                (at.saturating_duration_since(start).as_secs_f64(), took.as_secs_f64() * 1e3)
            };
            let mut points: Vec<(f64, f64)> = measured.into_iter().map(since).collect();
            points.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
            let interval = |point: &(f64, f64)| (point.0 / LATENCY_INTERVAL_S) as u64;
            for chunk in points.chunk_by(|a, b| interval(a) == interval(b)) {
                let values: Vec<f64> = chunk.iter().map(|(_, value)| *value).collect();
                self.add(&format!("{what}, median in ms"), chunk[0].0, median(values.clone()), Some(typical));
                self.add(
                    &format!("{what}, 95th percentile in ms"),
                    chunk[0].0,
                    quantile(values, 0.95),
                    Some(slow),
                );
            }
        }
    }

    /// Returns all points as CSV: the value, the time in seconds and the number.
    pub(crate) fn to_csv(&self) -> String {
        let rows = self.series.iter().flat_map(|series| {
            series.points.iter().map(|(at, value)| format!("\"{}\",{at:.1},{value}\n", series.name))
        });
        std::iter::once("value,seconds,number\n".to_owned()).chain(rows).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};

    use super::*;

    #[test]
    fn usage_counts_open_files_threads_and_memory() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut child = std::process::Command::new("bash")
            .args(["-c", "exec 3<. 4<. 5<. 6<.; echo ready; read -r line"])
            .current_dir(folder.path())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("bash exists");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is piped"))
            .read_line(&mut line)
            .expect("bash writes it");
        let used = usage(child.id());
        drop(child.stdin.take());
        child.wait().expect("it ends with its input");
        assert_eq!(line, "ready\n", "the files are open from then on");
        let used = used.expect("it was running");
        assert!(used.open_files >= 7.0, "three standard streams and four folders: {used:?}");
        assert_eq!(used.threads, 1.0);
        assert!((1e5..1e8).contains(&used.memory_bytes), "{used:?}");
        assert!(usage(child.id()).is_none(), "it has ended");
    }
}
