//! One limit and its result.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use serde::Serialize;

use crate::report::{round, show_each};
use crate::servers::{Cpu, Servers, System, cpu_used};

/// The result of one limit.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Limit {
    pub(crate) name: String,
    /// The number of clients, if it matters.
    pub(crate) connections: Option<usize>,
    /// The systems that it limits.
    pub(crate) systems: Vec<System>,
    pub(crate) per_s: f64,
    /// CPU of each process per operation; `load` is the load generator.
    pub(crate) cpu_us: BTreeMap<String, f64>,
}

impl Limit {
    pub(super) fn new(
        name: impl Into<String>,
        connections: Option<usize>,
        count: u64,
        duration: Duration,
        cpu: Cpu,
    ) -> Self {
        let us_each = |seconds: f64| round(seconds * 1e6 / count.max(1) as f64);
        // Idle processes are not part of the limit.
        let cpu = cpu.into_iter().filter(|(_, seconds)| *seconds > 0.05 * duration.as_secs_f64());
        Self {
            name: name.into(),
            connections,
            systems: vec![System::Orders],
            per_s: round(count as f64 / duration.as_secs_f64()),
            cpu_us: cpu.map(|(name, seconds)| (name, us_each(seconds))).collect(),
        }
    }

    /// Replaces the systems that the limit applies to.
    pub(super) fn for_systems(self, systems: &[System]) -> Self {
        Self { systems: systems.to_vec(), ..self }
    }

    pub(crate) fn show_cpu(&self) -> String {
        show_each(&self.cpu_us, |us| format!("{us:.2}"))
    }
}

/// Returns the CPU time of all processes since `before`.
pub(super) fn cpu_since(servers: &Servers, before: &Cpu) -> io::Result<Cpu> {
    Ok(cpu_used(before, &servers.cpu()?))
}
