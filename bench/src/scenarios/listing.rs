//! Pages of a list: the newest, one in the middle, those of a status that one in ten has; in a table with few
//! orders and in the same one with many.

use std::fmt::Write as _;
use std::io;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use crate::load::{self, Target};
use crate::report::{Machine, Quantiles};
use crate::servers::{Database, Lab, Servers, Stock, Tuning};

#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Orders in the table, first so many and then so many
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 1_000_000])]
    sizes: Vec<u64>,
    /// Seconds for each page, asked for over one connection
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    seconds: u64,
    #[command(flatten)]
    tuning: Tuning,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    scenario: &'static str,
    machine: Machine,
    sizes: Vec<Size>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Size {
    orders: u64,
    /// How long it took to fill the table up to here.
    filled_s: f64,
    newest_ms: Quantiles,
    middle_ms: Quantiles,
    status_ms: Quantiles,
    middle_of_status_ms: Quantiles,
}

pub(crate) fn run(lab: &Lab, settings: &Settings) -> io::Result<Report> {
    let servers = Servers::without_processor(lab, &settings.tuning)?;
    let mut database = servers.database()?;
    let mut stock = Stock::new(&servers)?;
    let mut sizes = Vec::new();
    for orders in &settings.sizes {
        let began = Instant::now();
        stock.fill_with_final(&mut database, *orders)?;
        // MariaDB does that by itself some seconds after so many rows; until then it may choose other indexes.
        database.execute("ANALYZE TABLE orders")?;
        let filled_s = began.elapsed().as_secs_f64();
        let middle = middle(&mut database, *orders)?;
        let page = |query: &str| -> io::Result<Quantiles> {
            let target = Target::get(servers.http, &format!("/orders?limit=50{query}"));
            // The first pages read what the database has not in memory yet.
            load::closed(&target, 1, Duration::from_millis(500))?;
            let tally = load::closed(&target, 1, Duration::from_secs(settings.seconds))?;
            match tally.refused_latency.count() {
                0 => Ok((&tally.accepted_latency).into()),
                _ => Err(io::Error::other(format!("{query} is answered {:?}", tally.answers))),
            }
        };
        sizes.push(Size {
            orders: *orders,
            filled_s,
            newest_ms: page("")?,
            middle_ms: page(&format!("&after={middle}"))?,
            status_ms: page("&status=failed")?,
            middle_of_status_ms: page(&format!("&status=failed&after={middle}"))?,
        });
    }
    Ok(Report { scenario: "listing", machine: Machine::here(), sizes })
}

/// The id of the order in the middle.
fn middle(database: &mut Database, orders: u64) -> io::Result<String> {
    database
        .text(&format!("SELECT LOWER(HEX(id)) FROM orders ORDER BY id LIMIT 1 OFFSET {}", orders / 2))
        .and_then(|hex| uuid::Uuid::parse_str(&hex).map(|id| id.to_string()).map_err(io::Error::other))
}

impl Report {
    pub(crate) fn table(&self) -> String {
        let mut text = String::from(
            "| orders | newest page: p50, p99 (ms) | in the middle | a status | a status, in the middle | filled in |\n|---|---|---|---|---|---|\n",
        );
        for size in &self.sizes {
            // Writing to a String does not fail.
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {:.0} s |",
                size.orders,
                size.newest_ms.show(),
                size.middle_ms.show(),
                size.status_ms.show(),
                size.middle_of_status_ms.show(),
                size.filled_s
            );
        }
        if let [few, .., many] = self.sizes.as_slice() {
            let ratio = |of: fn(&Size) -> &Quantiles| {
                format!("{:.2}×", of(many).p50.unwrap_or_default() / of(few).p50.unwrap_or(f64::NAN))
            };
            let _ = writeln!(
                text,
                "| p50 with many against few | {} | {} | {} | {} | |",
                ratio(|size| &size.newest_ms),
                ratio(|size| &size.middle_ms),
                ratio(|size| &size.status_ms),
                ratio(|size| &size.middle_of_status_ms)
            );
        }
        let _ = writeln!(text, "\nPages of 50 over one connection; {}", self.machine.show());
        text
    }
}
