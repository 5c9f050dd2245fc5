//! What each further gateway costs, and how many machines a large installation needs.
//!
//! Up to eight real gateways on this machine show the costs of an order in each component, and how they grow with the number of
//! gateways. The simulation multiplies these costs: every figure of it is a product of measured ones.

mod gateway_load;
mod simulation;
mod units;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use crate::load::{Target, run_arrivals};
use crate::markdown::table_head;
use crate::report::{Results, as_seconds, print_progress, round};
use crate::servers::{Database, Fleet, Lab, MAX_GATEWAYS, ThreadCpu, Tuning};

use self::gateway_load::{Load, Spread};
use self::simulation::{Component, Installation, simulate};
use self::units::{Units, measure_sockets};

/// Timeout for the completion of the accepted orders.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Settings {
    /// Numbers of gateways to measure, 1 to 8, separated by commas; the first one must be 1
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4, 8])]
    gateways: Vec<usize>,
    /// Orders per second, while only the first gateway gets orders; the simulation uses their costs
    #[arg(long, default_value_t = 2_000.0)]
    rate: f64,
    /// Orders per second to each gateway, while all get orders
    #[arg(long, default_value_t = 250.0)]
    each_rate: f64,
    /// Duration of the same load before each measurement
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "3s")]
    #[serde(rename = "warmUpS", serialize_with = "as_seconds")]
    warm_up: Duration,
    /// Duration of each measurement, and of the measurement without load
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "20s")]
    #[serde(rename = "seconds", serialize_with = "as_seconds")]
    duration: Duration,
    /// Websockets that are opened to measure the costs of a subscriber
    #[arg(long, default_value_t = 5_000)]
    sockets: usize,
    #[command(flatten)]
    installation: Installation,
    #[command(flatten)]
    tuning: Tuning,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    settings: Settings,
    loads: Vec<Load>,
    units: Units,
    components: Vec<Component>,
    bottleneck: String,
}

pub(crate) fn run(lab: &Lab, settings: &Settings) -> io::Result<Report> {
    let is_measurable = settings.gateways.iter().all(|count| (1..=MAX_GATEWAYS).contains(count));
    if settings.gateways.first() != Some(&1) || settings.gateways.len() < 2 || !is_measurable {
        let message =
            format!("--gateways needs 1 first, then further numbers up to {MAX_GATEWAYS}, such as 1,2,4");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    let mut loads = Vec::new();
    for spread in [Spread::First, Spread::All] {
        for gateways in &settings.gateways {
            loads.push(measure_load(lab, settings, *gateways, spread)?);
        }
    }
    let sockets = measure_sockets(lab, &settings.tuning, settings.sockets)?;
    let units = Units::new(&loads, sockets)?;
    let (components, bottleneck) = simulate(&units, &settings.installation);
    Ok(Report { settings: settings.clone(), loads, units, components, bottleneck })
}

fn measure_load(lab: &Lab, settings: &Settings, gateways: usize, spread: Spread) -> io::Result<Load> {
    let (loaded, rate) = match spread {
        Spread::First => (1, settings.rate),
        Spread::All => (gateways, settings.each_rate),
    };
    let fleet = Fleet::start(lab, &settings.tuning, gateways, loaded)?;
    let mut database = fleet.servers.database()?;
    let targets = &fleet.http[..loaded];
    run_and_complete(targets, rate, settings.warm_up, &mut database)?;

    let before = Counts::read(&fleet, &mut database)?;
    std::thread::sleep(settings.duration);
    let idle = Counts::read(&fleet, &mut database)?.since(&before, settings.duration.as_secs_f64());

    let before = Counts::read(&fleet, &mut database)?;
    let began = Instant::now();
    let orders = run_and_complete(targets, rate, settings.duration, &mut database)?;
    let seconds = round(began.elapsed().as_secs_f64());
    let each = Counts::read(&fleet, &mut database)?.since(&before, orders as f64);
    let stored = database.count_stored()?;
    let load = Load {
        gateways,
        spread,
        orders,
        seconds,
        cpu_us: in_microseconds(&each.cpu),
        idle_us_per_s: in_microseconds(&idle.cpu),
        redis_sent_bytes: round(each.redis_sent),
        database_received_bytes: round(each.sql["BYTES_RECEIVED"]),
        database_sent_bytes: round(each.sql["BYTES_SENT"]),
        redo_bytes: round(each.sql["INNODB_OS_LOG_WRITTEN"]),
        stored_bytes: round(table_bytes(&mut database)? as f64 / stored.max(1) as f64),
        memory_bytes: fleet.servers.memory_of_all()?,
    };
    print_progress(&load.summary());
    Ok(load)
}

/// Sends orders to each of the gateways at a rate, and waits until all are completed. Returns their number.
fn run_and_complete(
    gateways: &[SocketAddr],
    rate: f64,
    duration: Duration,
    database: &mut Database,
) -> io::Result<u64> {
    let before = database.count_completed()?;
    let results: Vec<io::Result<(u64, u64)>> = std::thread::scope(|scope| {
        let load = |addr: SocketAddr| {
            let totals = run_arrivals(&Target::create(addr), rate, duration)?;
            Ok((totals.accepted, totals.rejected_latency.count()))
        };
        let loads: Vec<_> = gateways.iter().map(|addr| scope.spawn(move || load(*addr))).collect();
        let panicked = |_| Err(io::Error::other("a load generator has panicked"));
        loads.into_iter().map(|load| load.join().unwrap_or_else(panicked)).collect()
    });
    let mut accepted = 0;
    for result in results {
        let (created, rejected) = result?;
        accepted += created;
        if rejected > 0 {
            return Err(io::Error::other(format!("{rejected} orders were not accepted")));
        }
    }
    let deadline = Instant::now() + DRAIN_TIMEOUT;
    loop {
        let completed = database.count_completed()? - before;
        if completed >= accepted {
            return Ok(accepted);
        }
        if Instant::now() > deadline {
            return Err(io::Error::other(format!("{completed} of {accepted} orders were completed in time")));
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Readings of all counters, or the difference of two.
struct Counts {
    cpu: BTreeMap<String, f64>,
    sql: BTreeMap<String, f64>,
    redis_sent: f64,
}

impl Counts {
    fn read(fleet: &Fleet, database: &mut Database) -> io::Result<Self> {
        let sql = "SELECT VARIABLE_NAME, VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME IN \
                   ('Bytes_received', 'Bytes_sent', 'Innodb_os_log_written')";
        let sql =
            database.query_numbers(sql)?.into_iter().map(|(name, count)| (name, count as f64)).collect();
        let redis_sent = redis_sent_bytes(&fleet.servers.redis_url)?;
        Ok(Self { cpu: fleet.servers.thread_cpu()?, sql, redis_sent })
    }

    /// Returns what was counted since an earlier reading, divided by `number`.
    fn since(&self, before: &Self, number: f64) -> Self {
        let each = |ours: &ThreadCpu, before: &ThreadCpu| {
            let before = |name: &String| before.get(name).copied().unwrap_or_default();
            ours.iter().map(|(name, count)| (name.clone(), (count - before(name)) / number)).collect()
        };
        Self {
            cpu: each(&self.cpu, &before.cpu),
            sql: each(&self.sql, &before.sql),
            redis_sent: (self.redis_sent - before.redis_sent) / number,
        }
    }
}

fn redis_sent_bytes(url: &str) -> io::Result<f64> {
    let info = || -> redis::RedisResult<String> {
        let mut connection = redis::Client::open(url)?.get_connection()?;
        redis::cmd("INFO").arg("stats").query(&mut connection)
    };
    let info = info().map_err(io::Error::other)?;
    let line = info.lines().find_map(|line| line.strip_prefix("total_net_output_bytes:"));
    let bytes = line.and_then(|line| line.trim().parse().ok());
    bytes.ok_or_else(|| io::Error::other("INFO of Redis has no number of sent bytes"))
}

/// Returns the bytes of all tables with their indexes.
fn table_bytes(database: &mut Database) -> io::Result<u64> {
    database.execute("ANALYZE TABLE orders, order_events, event_log, idempotency_keys")?;
    database.query_number(
        "SELECT CAST(SUM(data_length + index_length) AS SIGNED) FROM information_schema.tables WHERE table_schema = 'orders'",
    )
}

fn in_microseconds(seconds: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    seconds.iter().map(|(name, seconds)| (name.clone(), round(seconds * 1e6))).collect()
}

impl Results for Report {
    const SCENARIO: &'static str = "scale";

    fn tables(&self) -> String {
        let mut text = table_head([
            "gateways",
            "orders go to",
            "CPU of the database per order (µs)",
            "for each further gateway",
            "CPU of a gateway per order that it gets (µs)",
            "for each further gateway",
            "CPU of a gateway without orders, per order of the others (µs)",
            "Redis: CPU (µs), sent (bytes)",
        ]);
        for load in &self.loads {
            let is_single = |one: &&Load| one.gateways == 1 && one.spread == load.spread;
            let Some(single) = self.loads.iter().find(is_single) else { continue };
            let growth = |single, cost| match load.gateways {
                1 => "–".to_owned(),
                _ => format!("{:+.1} %", load.growth_percent(single, cost)),
            };
            let where_to = match load.spread {
                Spread::All => format!("all, {}/s each", self.settings.each_rate),
                Spread::First => format!("the first, {}/s", self.settings.rate),
            };
            let idle = load.idle_gateway_us().map_or_else(|| "–".to_owned(), |us| format!("{us:.2}"));
            let _ = writeln!(
                text,
                "| {} | {where_to} | {:.1} | {} | {:.1} | {} | {idle} | {:.1}, {:.0} |",
                load.gateways,
                load.database_us(),
                growth(single.database_us(), load.database_us()),
                load.gateway_us(),
                growth(single.gateway_us(), load.gateway_us()),
                load.cpu_us.get("redis").copied().unwrap_or_default(),
                load.redis_sent_bytes,
            );
        }
        text.push('\n');
        text.push_str(&self.units.table());
        text.push('\n');
        text.push_str(&simulation::table(&self.settings.installation, &self.components));
        let _ = writeln!(text, "\nFirst bottleneck: {}.", self.bottleneck);
        text
    }

    fn notes(&self) -> Vec<String> {
        let duration = humantime::format_duration(self.settings.duration);
        vec![format!("{duration} each"), self.settings.tuning.describe()]
    }
}
