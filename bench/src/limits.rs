//! What a pipeline is made of, each part by itself and as fast as it goes. Those that need a server that
//! is not there otherwise start this program again, so that its CPU is counted apart.

pub(crate) mod http;
pub(crate) mod queue;
pub(crate) mod sql;
pub(crate) mod stream;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use crate::report::round;
use crate::servers::{Cpu, Servers, System, used};

/// One limit.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Limit {
    pub(crate) name: String,
    /// For how many clients it holds, if that matters.
    pub(crate) connections: Option<usize>,
    /// Whose limit it is.
    pub(crate) systems: Vec<System>,
    pub(crate) per_s: f64,
    /// CPU of each process for one, `load` being the other side.
    pub(crate) cpu_us: BTreeMap<String, f64>,
}

impl Limit {
    fn new(
        name: impl Into<String>,
        connections: Option<usize>,
        count: u64,
        lasted: Duration,
        cpu: Cpu,
    ) -> Self {
        let each = |seconds: f64| round(seconds * 1e6 / count.max(1) as f64);
        // What did nothing is no part of it.
        let cpu = cpu.into_iter().filter(|(_, seconds)| *seconds > 0.05 * lasted.as_secs_f64());
        Self {
            name: name.into(),
            connections,
            systems: vec![System::Orders],
            per_s: round(count as f64 / lasted.as_secs_f64()),
            cpu_us: cpu.map(|(name, seconds)| (name, each(seconds))).collect(),
        }
    }

    fn of(self, systems: &[System]) -> Self {
        Self { systems: systems.to_vec(), ..self }
    }

    pub(crate) fn show_cpu(&self) -> String {
        let cpu: Vec<_> = self.cpu_us.iter().map(|(name, us)| format!("{name} {us:.2}")).collect();
        cpu.join(", ")
    }
}

/// The servers of the limits, each of them this program in another role.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Role {
    /// Parses JSON and answers 201
    Http { addr: SocketAddr },
    /// Answers reports on a gRPC stream
    Stream { addr: SocketAddr },
}

pub(crate) fn serve(role: &Role) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match role {
        Role::Http { addr } => runtime.block_on(http::serve(*addr)),
        Role::Stream { addr } => runtime.block_on(stream::serve(*addr)),
    }
}

/// CPU of everything that runs since `before`.
fn cpu_since(servers: &Servers, before: &Cpu) -> io::Result<Cpu> {
    Ok(used(before, &servers.cpu()?))
}
