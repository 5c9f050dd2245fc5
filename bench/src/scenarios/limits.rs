//! What the parts below the product can do by themselves, and the product's share of it: nothing that
//! accepts orders over HTTP is faster than HTTP, nothing that stores them faster than the database.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::pipeline::{self, Load, Shape};
use crate::limits::{self, Limit};
use crate::report::Machine;
use crate::servers::{Lab, Servers, System};

#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Seconds of each measurement of a limit
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    limit_s: u64,
    #[command(flatten)]
    shape: Shape,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    scenario: &'static str,
    machine: Machine,
    shape: Shape,
    /// The product in the same run, in both its forms.
    loads: Vec<Load>,
    limits: Vec<Limit>,
}

pub(crate) fn run(lab: &Lab, settings: &Settings) -> io::Result<Report> {
    let Settings { limit_s, shape } = settings;
    let lasting = Duration::from_secs(*limit_s);
    let mut limits = Vec::new();
    for connections in &shape.connections {
        limits.push(limits::http::measure(*connections, lasting)?);
    }
    {
        let servers = Servers::bare(lab)?;
        servers.migrate(lab)?;
        for rows in [100, 256] {
            limits.push(limits::sql::measure(&servers, rows, lasting)?);
        }
        limits.push(limits::queue::measure(&servers, lasting)?);
    }
    {
        let servers = Servers::sqlite()?;
        servers.migrate(lab)?;
        for rows in [100, 256] {
            limits.push(limits::sql::measure(&servers, rows, lasting)?);
        }
    }
    limits.push(limits::stream::measure(lasting)?);
    let mut loads = pipeline::measure(lab, System::Orders, shape)?;
    loads.extend(pipeline::measure(lab, System::Embedded, shape)?);
    Ok(Report { scenario: "limits", machine: Machine::here(), shape: shape.clone(), loads, limits })
}

impl Report {
    pub(crate) fn table(&self) -> String {
        let mut text = pipeline::HEADING.to_owned();
        self.loads.iter().for_each(|load| text.push_str(&load.row()));
        text.push_str("\n| limit | a second | CPU of each, µs |");
        for load in &self.loads {
            let _ = write!(text, " {}: accepted, completed at {} clients |", load.system, load.connections);
        }
        text.push_str("\n|---|---|---|");
        text.push_str(&"---|".repeat(self.loads.len()));
        for limit in &self.limits {
            // Writing to a String does not fail.
            let _ = write!(text, "\n| {} | {:.0} | {} |", limit.name, limit.per_s, limit.show_cpu());
            for load in &self.loads {
                let share = |rate: f64| 100.0 * rate / limit.per_s;
                let matches = limit.connections.is_none_or(|connections| connections == load.connections)
                    && limit.systems.contains(&load.system);
                let (accepted, completed) = (share(load.accepted_per_s), share(load.completed_per_s));
                let _ = match matches {
                    true => write!(text, " {accepted:.1} %, {completed:.1} % |"),
                    false => write!(text, " |"),
                };
            }
        }
        let _ = writeln!(text, "\n\n{}; {}", self.machine.show(), self.shape.tuning.show());
        text
    }
}
