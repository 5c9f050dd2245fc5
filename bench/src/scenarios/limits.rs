//! The limits of the parts of the product, and the product's share of them.
//!
//! No system accepts orders over HTTP faster than HTTP, or stores them faster than the database.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::pipeline::{self, Load, Shape};
use crate::limits::{self, Limit};
use crate::markdown::table_head;
use crate::report::Results;
use crate::servers::{Lab, Servers, System};

#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Duration of the measurement of each limit
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "5s")]
    limit_duration: Duration,
    #[command(flatten)]
    shape: Shape,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    shape: Shape,
    /// The product in the same run, in both forms.
    loads: Vec<Load>,
    limits: Vec<Limit>,
}

pub(crate) fn run(lab: &Lab, settings: &Settings) -> io::Result<Report> {
    let Settings { limit_duration, shape } = settings;
    let duration = *limit_duration;
    let mut limits = Vec::new();
    for connections in &shape.connections {
        limits.push(limits::http::measure(*connections, duration)?);
    }
    {
        let servers = Servers::start_databases(lab)?;
        servers.migrate(lab)?;
        for rows in [100, 256] {
            limits.push(limits::sql::measure(&servers, rows, duration)?);
        }
        limits.push(limits::queue::measure(&servers, duration)?);
    }
    {
        let servers = Servers::create_sqlite()?;
        servers.migrate(lab)?;
        for rows in [100, 256] {
            limits.push(limits::sql::measure(&servers, rows, duration)?);
        }
    }
    limits.push(limits::stream::measure(duration)?);
    let mut loads = pipeline::measure(lab, System::Orders, shape)?;
    loads.extend(pipeline::measure(lab, System::Embedded, shape)?);
    Ok(Report { shape: shape.clone(), loads, limits })
}

impl Results for Report {
    const SCENARIO: &'static str = "limits";

    fn tables(&self) -> String {
        let shares = self
            .loads
            .iter()
            .map(|load| format!("{}: accepted, completed at {} clients", load.system, load.connections));
        let headings = ["limit", "a second", "CPU of each, µs"].map(str::to_owned);
        let mut text = pipeline::loads_table(&self.loads);
        text.push('\n');
        text.push_str(&table_head(headings.into_iter().chain(shares)));
        for limit in &self.limits {
            // Writing to a String does not fail.
            let _ = write!(text, "| {} | {:.0} | {} |", limit.name, limit.per_s, limit.show_cpu());
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
            text.push('\n');
        }
        text
    }

    fn notes(&self) -> Vec<String> {
        vec![self.shape.tuning.describe()]
    }
}
