//! Pages of a list, with few orders in the table and with many.
//!
//! The pages are the newest orders, the middle, and a status that every tenth order has.

use std::fmt::Write as _;
use std::io;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use crate::load::{self, Target};
use crate::markdown::table_head;
use crate::report::{Quantiles, Results};
use crate::servers::{Database, Lab, Prefill, Servers, Tuning};

#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Numbers of orders in the table, separated by commas, in ascending order
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 1_000_000])]
    sizes: Vec<u64>,
    /// Duration of the load for each page, over one connection
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "3s")]
    duration: Duration,
    #[command(flatten)]
    tuning: Tuning,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    sizes: Vec<Size>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Size {
    orders: u64,
    /// The time to fill the table up to this number.
    filled_s: f64,
    newest_ms: Quantiles,
    middle_ms: Quantiles,
    status_ms: Quantiles,
    middle_of_status_ms: Quantiles,
}

pub(crate) fn run(lab: &Lab, settings: &Settings) -> io::Result<Report> {
    let servers = Servers::start_without_processor(lab, &settings.tuning)?;
    let mut database = servers.database()?;
    let mut prefill = Prefill::new(&servers)?;
    let mut sizes = Vec::new();
    for orders in &settings.sizes {
        let began = Instant::now();
        prefill.fill_with_final(&mut database, *orders)?;
        // MariaDB does this some seconds after a large INSERT; until then it can choose other indexes.
        database.execute("ANALYZE TABLE orders")?;
        let filled_s = began.elapsed().as_secs_f64();
        let middle = middle_id(&mut database, *orders)?;
        let page = |query: &str| -> io::Result<Quantiles> {
            let target = Target::get(servers.http, &format!("/orders?limit=50{query}"));
            // The first pages read rows that the database does not have in memory.
            load::run_closed_loop(&target, 1, Duration::from_millis(500))?;
            let totals = load::run_closed_loop(&target, 1, settings.duration)?;
            match totals.rejected_latency.count() {
                0 => Ok((&totals.accepted_latency).into()),
                _ => {
                    Err(io::Error::other(format!("unexpected responses to {query}: {:?}", totals.responses)))
                }
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
    Ok(Report { sizes })
}

/// Returns the id of the order in the middle.
fn middle_id(database: &mut Database, orders: u64) -> io::Result<String> {
    database
        .query_string(&format!("SELECT LOWER(HEX(id)) FROM orders ORDER BY id LIMIT 1 OFFSET {}", orders / 2))
        .and_then(|hex| uuid::Uuid::parse_str(&hex).map(|id| id.to_string()).map_err(io::Error::other))
}

impl Results for Report {
    const SCENARIO: &'static str = "listing";

    fn tables(&self) -> String {
        let mut text = table_head([
            "orders",
            "newest page: p50, p99 (ms)",
            "in the middle",
            "a status",
            "a status, in the middle",
            "filled in",
        ]);
        for size in &self.sizes {
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
        text
    }

    fn notes(&self) -> Vec<String> {
        vec!["Pages of 50 over one connection".to_owned()]
    }
}
