//! Few orders per second, as on an ordinary day: the latency of an order, and what it costs.
//!
//! At such rates each order is processed alone, so wake-ups of threads and round trips determine the cost.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::io;
use std::time::{Duration, Instant};

use clap::Args;
use serde::{Serialize, Serializer};

use crate::completions::Completions;
use crate::delay_proxy::ResponseDelay;
use crate::latency::LatencyHistogram;
use crate::load::{Target, run_arrivals};
use crate::markdown::table_head;
use crate::report::{Quantiles, Results, as_seconds, print_progress, round, show_each};
use crate::servers::{Counters, Lab, Servers, System, Tuning};

/// Timeout for a system to complete the accepted orders.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Settings {
    /// Systems to measure, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [System::Orders, System::Fastify, System::Restate])]
    systems: Vec<System>,
    /// Orders per second, separated by commas
    #[arg(long, value_delimiter = ',', default_values_t = [50.0, 300.0, 1_000.0])]
    rates: Vec<f64>,
    /// Delay of each response of MariaDB and Redis in further measurements
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    #[serde(rename = "delayMs", serialize_with = "as_milliseconds")]
    delay: Option<Duration>,
    /// Duration of the same load before each measurement
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "3s")]
    #[serde(rename = "warmUpS", serialize_with = "as_seconds")]
    warm_up: Duration,
    /// Duration without orders whose counts are subtracted, in proportion to the time
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "5s")]
    #[serde(rename = "idleS", serialize_with = "as_seconds")]
    idle: Duration,
    /// Duration of each measurement
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "15s")]
    #[serde(rename = "seconds", serialize_with = "as_seconds")]
    duration: Duration,
    #[command(flatten)]
    tuning: Tuning,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    settings: Settings,
    loads: Vec<Load>,
}

/// The results of one rate on one system.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Load {
    system: System,
    rate: f64,
    /// The delay of each response of MariaDB and Redis; 0 is the proxy without a delay, and `None` no proxy.
    delay_ms: Option<f64>,
    /// The responses that an order waits for one after the other, from a delay.
    sequential_responses: Option<f64>,
    /// Completed orders per second, until the last one was completed.
    completed_per_s: f64,
    /// From the time of the request to its response.
    created_ms: Quantiles,
    /// From the time of the request to the completion.
    completed_ms: Quantiles,
    /// CPU time of each process per order.
    cpu_us: BTreeMap<String, f64>,
    servers_cpu_us: f64,
    /// Voluntary context switches of each process per order, without those of the idle period.
    wake_ups: BTreeMap<String, f64>,
    servers_wake_ups: f64,
    /// Counters of MariaDB per order, without those of the idle period. `requests` counts statements, also those that
    /// were sent together, and other requests.
    sql: BTreeMap<String, f64>,
    redis_commands: f64,
    /// Round trips to MariaDB and Redis per order, without those of the idle period, if they passed a proxy.
    round_trips: BTreeMap<String, f64>,
    /// The counts of the idle period per second.
    idle_per_s: Idle,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Idle {
    wake_ups: BTreeMap<String, f64>,
    sql: BTreeMap<String, f64>,
    redis_commands: f64,
}

pub(crate) fn run(lab: &Lab, settings: &Settings) -> io::Result<Report> {
    let mut loads = Vec::new();
    for system in &settings.systems {
        let running = Running::start(lab, *system, settings)?;
        for rate in &settings.rates {
            loads.push(measure_load(&running, *rate, None, settings)?);
        }
        drop(running);
        // Restate uses no MariaDB, and Redis only for the observer.
        if let Some(delay) = settings.delay.filter(|_| *system != System::Restate) {
            loads.extend(measure_delayed(lab, *system, delay, settings)?);
        }
    }
    Ok(Report { settings: settings.clone(), loads })
}

/// A system and its observer.
struct Running {
    system: System,
    servers: Servers,
    target: Target,
    completions: Completions,
}

impl Running {
    fn start(lab: &Lab, system: System, settings: &Settings) -> io::Result<Self> {
        let servers = Servers::start(lab, system, &settings.tuning)?;
        let target = if system == System::Restate {
            let seconds = (settings.warm_up + settings.duration).as_secs_f64();
            let orders = settings.rates.iter().map(|rate| (rate * seconds).ceil() as usize + 2).sum();
            Target::create_on_restate(servers.http, orders)
        } else {
            Target::create(servers.http).with_key(servers.key.as_deref())
        };
        let target = Target { returns_ids: true, ..target };
        let completions = Completions::observe(&servers.redis_url)?;
        Ok(Self { system, servers, target, completions })
    }
}

/// Measures each rate behind a proxy, first without and then with a delay.
fn measure_delayed(lab: &Lab, system: System, delay: Duration, settings: &Settings) -> io::Result<Vec<Load>> {
    let proxies = ResponseDelay::default();
    let running = Running::start(&lab.with_response_delay(proxies.clone()), system, settings)?;
    let mut loads = Vec::new();
    for rate in &settings.rates {
        proxies.set(Duration::ZERO);
        let without = measure_load(&running, *rate, Some(Duration::ZERO), settings)?;
        proxies.set(delay);
        let mut with = measure_load(&running, *rate, Some(delay), settings)?;
        with.sequential_responses =
            sequential_responses(without.completed_ms.p50, with.completed_ms.p50, delay);
        loads.extend([without, with]);
    }
    Ok(loads)
}

/// Returns how many delays make the difference of two latencies in milliseconds.
fn sequential_responses(without: Option<f64>, with: Option<f64>, delay: Duration) -> Option<f64> {
    let delay_ms = as_ms(delay);
    (delay_ms > 0.0).then(|| Some(round((with? - without?) / delay_ms)))?
}

fn as_ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

fn measure_load(
    running: &Running,
    rate: f64,
    delay: Option<Duration>,
    settings: &Settings,
) -> io::Result<Load> {
    let servers = &running.servers;
    let mut database = if servers.database_url.is_empty() { None } else { Some(servers.database()?) };
    let mut read = || Counters::read(servers, database.as_mut());
    run_and_complete(running, rate, settings.warm_up)?;

    let before = read()?;
    std::thread::sleep(settings.idle);
    let idle = read()?.since(&before);

    let before = read()?;
    let began = Instant::now();
    let (created, created_ms, times) = run_and_complete(running, rate, settings.duration)?;
    let seconds = began.elapsed().as_secs_f64();
    let counted = read()?.since(&before);

    let completed = completion_latencies(&created, &times);
    let orders = created.len().max(1) as f64;
    let idle_seconds = settings.idle.as_secs_f64().max(f64::MIN_POSITIVE);
    let each = counted.without_idle(&idle, seconds / idle_seconds).per(orders);
    let cpu_us = rounded(&each.cpu, 1e6);
    let idle = idle.per(idle_seconds);
    let load = Load {
        system: running.system,
        rate,
        delay_ms: delay.map(|delay| round(as_ms(delay))),
        sequential_responses: None,
        completed_per_s: round(completed.count() as f64 / seconds),
        created_ms,
        completed_ms: (&completed).into(),
        servers_cpu_us: round(cpu_us.values().sum()),
        cpu_us,
        servers_wake_ups: round(each.wake_ups.values().sum()),
        wake_ups: rounded(&each.wake_ups, 1.0),
        sql: rounded(&each.sql, 1.0),
        redis_commands: round(each.redis_commands),
        round_trips: rounded(&each.round_trips, 1.0),
        idle_per_s: Idle {
            wake_ups: rounded(&idle.wake_ups, 1.0),
            sql: rounded(&idle.sql, 1.0),
            redis_commands: round(idle.redis_commands),
        },
    };
    print_progress(&load.summary());
    Ok(load)
}

type Created = Vec<(String, Instant)>;

/// Runs a load, and waits until all of its orders are completed.
fn run_and_complete(
    running: &Running,
    rate: f64,
    duration: Duration,
) -> io::Result<(Created, Quantiles, HashMap<String, Instant>)> {
    let Running { system, target, completions, .. } = running;
    let totals = run_arrivals(target, rate, duration)?;
    let accepted = totals.created.len();
    if accepted == 0 || totals.rejected_latency.count() > 0 {
        let responses = show_each(&totals.responses, |count| count.to_string());
        return Err(io::Error::other(format!(
            "{system} did not accept each of {rate} orders/s: {responses}"
        )));
    }
    let all = completions.wait_for(accepted, DRAIN_TIMEOUT);
    let times = completions.take();
    if !all {
        let seen = times.len();
        return Err(io::Error::other(format!("{system} completed {seen} of {accepted} orders in time")));
    }
    Ok((totals.created, (&totals.accepted_latency).into(), times))
}

/// Returns the times from the start of the requests to the completions of their orders.
fn completion_latencies(created: &Created, times: &HashMap<String, Instant>) -> LatencyHistogram {
    let mut latencies = LatencyHistogram::default();
    for (id, start) in created {
        if let Some(at) = times.get(id) {
            latencies.record(at.saturating_duration_since(*start));
        }
    }
    latencies
}

fn rounded(counts: &BTreeMap<String, f64>, factor: f64) -> BTreeMap<String, f64> {
    counts.iter().map(|(name, count)| (name.clone(), round(count * factor))).collect()
}

/// Serializes an optional duration as its number of milliseconds.
fn as_milliseconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(as_ms).serialize(serializer)
}

fn show_or_dash(number: Option<f64>) -> String {
    number.map_or_else(|| "–".to_owned(), |number| format!("{number:.1}"))
}

impl Load {
    /// Returns the main results as one line.
    fn summary(&self) -> String {
        let Self { system, rate, servers_cpu_us, servers_wake_ups, redis_commands, .. } = self;
        let delay = self.delay_ms.map_or_else(String::new, |ms| format!(", responses delayed by {ms} ms"));
        format!(
            "{system}, {rate} orders/s{delay}: completed after {} ms (p50, p90, p99), {servers_cpu_us:.0} µs of CPU, \
             {servers_wake_ups:.1} wake-ups, {:.1} SQL statements and {redis_commands:.1} Redis commands per order",
            self.completed_ms.show_with_p90(),
            self.sql_count("requests"),
        )
    }

    fn sql_count(&self, name: &str) -> f64 {
        self.sql.get(name).copied().unwrap_or_default()
    }
}

impl Results for Report {
    const SCENARIO: &'static str = "everyday";

    fn tables(&self) -> String {
        let mut text = table_head([
            "system",
            "orders/s",
            "completed/s",
            "created: p50, p90, p99 (ms)",
            "completed: p50, p90, p99 (ms)",
            "CPU per order (µs)",
            "of which (µs)",
            "wake-ups per order",
            "of which",
            "SQL statements, COMMITs",
            "Redis commands",
        ]);
        for load in self.loads.iter().filter(|load| load.delay_ms.is_none()) {
            let _ = writeln!(
                text,
                "| {} | {} | {:.0} | {} | {} | {:.0} | {} | {:.1} | {} | {:.1}, {:.1} | {:.1} |",
                load.system,
                load.rate,
                load.completed_per_s,
                load.created_ms.show_with_p90(),
                load.completed_ms.show_with_p90(),
                load.servers_cpu_us,
                show_each(&load.cpu_us, |us| format!("{us:.0}")),
                load.servers_wake_ups,
                show_each(&load.wake_ups, |count| format!("{count:.1}")),
                load.sql_count("requests"),
                load.sql_count("Com_commit"),
                load.redis_commands,
            );
        }
        if self.settings.delay.is_none() {
            return text;
        }
        text.push('\n');
        text.push_str(&table_head([
            "system",
            "orders/s",
            "delay of each response (ms)",
            "created: p50, p90, p99 (ms)",
            "completed: p50, p90, p99 (ms)",
            "round trips per order",
            "sequential responses",
        ]));
        for load in self.loads.iter().filter(|load| load.delay_ms.is_some()) {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} |",
                load.system,
                load.rate,
                show_or_dash(load.delay_ms),
                load.created_ms.show_with_p90(),
                load.completed_ms.show_with_p90(),
                show_each(&load.round_trips, |count| format!("{count:.1}")),
                show_or_dash(load.sequential_responses),
            );
        }
        text
    }

    fn notes(&self) -> Vec<String> {
        let duration = humantime::format_duration(self.settings.duration);
        vec![format!("{duration} each"), self.settings.tuning.describe()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_is_from_the_time_of_the_request_to_the_completion() {
        let start = Instant::now();
        let created = ["a", "b"].map(|id| (id.to_owned(), start)).to_vec();
        let at = |id: &str, ms| (id.to_owned(), start + Duration::from_millis(ms));
        let latencies = completion_latencies(&created, &HashMap::from([at("a", 8), at("other", 90)]));
        assert_eq!(latencies.count(), 1);
        let ms = as_ms(latencies.quantile(1.0).unwrap());
        assert!((8.0..8.01).contains(&ms), "{ms}");
    }

    #[test]
    fn responses_are_the_delays_in_the_difference() {
        let delay = Duration::from_millis(2);
        assert_eq!(sequential_responses(Some(3.0), Some(19.0), delay), Some(8.0));
        assert_eq!(sequential_responses(Some(3.0), Some(19.0), Duration::ZERO), None);
        assert_eq!(sequential_responses(None, Some(19.0), delay), None);
    }

    #[test]
    fn counts_are_rounded_after_their_unit() {
        let counts = BTreeMap::from([("gateway".to_owned(), 0.001_234_567_8)]);
        assert_eq!(rounded(&counts, 1e6)["gateway"], 1_234.568);
    }
}
