//! All kinds of clients at fixed rates.
//!
//! They create orders over REST and GraphQL, read pages of lists and single orders, and follow an order from its create
//! to its final status. A share of the attempts fails and is retried.
//!
//! The report shows the latencies and errors of each kind, and the memory over time.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::pipeline::wait_until_drained;
use crate::latency::LatencyHistogram;
use crate::load::{self, Target, Totals, Websocket, run_on_this_thread};
use crate::markdown::table_head;
use crate::report::{Quantiles, Results, as_seconds, round};
use crate::servers::{Lab, Memory, Servers, Tuning};
use crate::subscribers::{create_orders, source_address};

/// Timeout of a followed order; it exceeds the delays of its retries.
const ORDER_TIMEOUT: Duration = Duration::from_secs(120);
/// Maximum number of connections of each kind.
const MAX_CONNECTIONS: usize = 200;
/// Orders that are read individually.
const READ_ORDERS: usize = 1_000;
const SUBSCRIPTION: &str =
    "subscription($id: ID!) { orderStatus(orderId: $id) { sequence status occurredAt } }";

#[derive(Debug, Clone, Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Settings {
    /// Creates over REST per second
    #[arg(long, default_value_t = 200.0)]
    rest: f64,
    /// Creates over GraphQL per second
    #[arg(long, default_value_t = 100.0)]
    graphql: f64,
    /// Pages of 50 orders per second
    #[arg(long, default_value_t = 50.0)]
    pages: f64,
    /// Reads of single orders per second
    #[arg(long, default_value_t = 200.0)]
    reads: f64,
    /// New subscribers per second; each creates an order and follows it to its final status
    #[arg(long, default_value_t = 20.0)]
    followers: f64,
    /// Share of the attempts that fail and are retried
    #[arg(long, default_value_t = 0.05)]
    failure_rate: f64,
    /// Duration of the same load before the measurement
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "15s")]
    #[serde(rename = "warmUpS", serialize_with = "as_seconds")]
    warm_up: Duration,
    /// Duration of the measurement
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "2m")]
    #[serde(rename = "seconds", serialize_with = "as_seconds")]
    duration: Duration,
    #[command(flatten)]
    tuning: Tuning,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    settings: Settings,
    kinds: Vec<Kind>,
    /// Memory of each process at the start, in the middle and at the end, in bytes.
    memory_bytes: [Memory; 3],
    stored: u64,
    completed: u64,
    /// Attempts that failed and were retried.
    retries: u64,
    /// From the last request until all orders were final; `None` after a timeout.
    drained_s: Option<f64>,
}

/// The results of one kind of client.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    name: &'static str,
    offered_per_s: f64,
    served_per_s: f64,
    ms: Quantiles,
    /// The number of each error.
    errors: BTreeMap<String, u64>,
}

pub(crate) fn run(lab: &Lab, settings: &Settings) -> io::Result<Report> {
    let mut servers = Servers::start_without_processor(lab, &settings.tuning)?;
    let failure_rate = settings.failure_rate.to_string();
    let handler = ["--simulate-min-delay", "20ms", "--simulate-max-delay", "200ms"];
    let handler = [&handler[..], &["--simulate-failure-rate", &failure_rate]].concat();
    servers.start_processor_with(lab, &settings.tuning, &handler)?;
    let read_ids = create_orders(&servers, READ_ORDERS)?;

    run_on_this_thread(run_all_kinds(&servers, settings, &read_ids, settings.warm_up))??;
    let (kinds, memory_bytes) =
        run_on_this_thread(run_all_kinds(&servers, settings, &read_ids, settings.duration))??;

    let mut database = servers.database()?;
    let drained = wait_until_drained(&mut database, Instant::now())?;
    Ok(Report {
        settings: settings.clone(),
        kinds,
        memory_bytes,
        stored: database.count_stored()?,
        completed: database.count_completed()?,
        // No order of this load uses all of its attempts.
        retries: database.query_number("SELECT CAST(COALESCE(SUM(failures), 0) AS SIGNED) FROM orders")?,
        drained_s: drained.map(|time| round(time.as_secs_f64())),
    })
}

/// Runs all kinds of clients, and reads the memory during the run.
///
/// The readings are at the start, in the middle and at the end.
async fn run_all_kinds(
    servers: &Servers,
    settings: &Settings,
    read_ids: &[String],
    duration: Duration,
) -> io::Result<(Vec<Kind>, [Memory; 3])> {
    let http = servers.http;
    let pages = ["", "&status=completed", "&status=pending", "&sort=-total"];
    let pages: Vec<_> = pages.iter().map(|filter| format!("/orders?limit=50{filter}")).collect();
    let reads: Vec<_> = read_ids.iter().map(|id| format!("/orders/{id}")).collect();
    let targets = [
        ("create over REST", settings.rest, Target::create(http)),
        ("create over GraphQL", settings.graphql, Target::create_by_graphql(http)),
        ("page of 50 orders", settings.pages, Target::get_each(http, &pages)),
        ("one order", settings.reads, Target::get_each(http, &reads)),
    ];
    let start = servers.memory_of_all()?;
    let loops: Vec<(_, JoinHandle<_>)> = targets
        .into_iter()
        .map(|(name, rate, target)| {
            let open_loop = async move {
                load::run_open_loop_beside_others(&target, rate, duration, MAX_CONNECTIONS).await
            };
            (name, spawn_local(open_loop))
        })
        .collect();
    let followers = spawn_local(run_followers(http, settings.followers, duration));
    sleep(duration / 2).await;
    let middle = servers.memory_of_all()?;
    sleep(duration - duration / 2).await;
    let end = servers.memory_of_all()?;
    let mut kinds = Vec::new();
    for (name, open_loop) in loops {
        kinds.push(Kind::from_totals(name, &open_loop.await??));
    }
    kinds.extend(followers.await?.kinds(duration));
    Ok((kinds, [start, middle, end]))
}

/// The results of the subscribers.
#[derive(Default)]
struct Followed {
    started: u64,
    /// From the 201 to the first event; the socket connects in between.
    subscribed: LatencyHistogram,
    /// From the time in an event, which is before its transaction, to the subscriber.
    events: LatencyHistogram,
    completed: u64,
    errors: BTreeMap<String, u64>,
}

/// Starts subscribers at a fixed rate; each ends when its order is final.
async fn run_followers(http: SocketAddr, rate: f64, duration: Duration) -> Followed {
    let followed = Rc::new(RefCell::new(Followed::default()));
    let mut open = Vec::new();
    let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let began = Instant::now();
    for n in 0.. {
        ticks.tick().await;
        if began.elapsed() >= duration {
            break;
        }
        followed.borrow_mut().started += 1;
        let followed = followed.clone();
        open.push(spawn_local(async move {
            let result = timeout(ORDER_TIMEOUT, follow_order(http, n, &followed)).await;
            let mut followed = followed.borrow_mut();
            let problem = match result {
                Ok(Ok(())) => {
                    followed.completed += 1;
                    return;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no final status in time".to_owned(),
            };
            *followed.errors.entry(problem).or_default() += 1;
        }));
    }
    for follower in open {
        if let Err(error) = follower.await {
            *followed.borrow_mut().errors.entry(error.to_string()).or_default() += 1;
        }
    }
    followed.take()
}

#[derive(Deserialize)]
struct Message {
    payload: Payload,
}
#[derive(Deserialize)]
struct Payload {
    data: Data,
}
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    order_status: Event,
}
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    sequence: u32,
    status: String,
    occurred_at: domain::Timestamp,
}

/// Creates an order and follows it to its final status.
///
/// Every event must arrive, in order.
async fn follow_order(http: SocketAddr, n: usize, followed: &RefCell<Followed>) -> io::Result<()> {
    let id = load::create_order(http).await?;
    let created = Instant::now();
    let payload = json!({"query": SUBSCRIPTION, "variables": {"id": id}});
    let mut socket = Websocket::subscribe(source_address(n), http, payload).await?;
    let mut latest = None;
    loop {
        let text = socket.next_message().await?;
        if text.contains("\"error") {
            return Err(io::Error::other(text));
        }
        if !text.contains("\"next\"") {
            continue;
        }
        let message: Message = serde_json::from_str(&text).map_err(io::Error::other)?;
        let Event { sequence, status, occurred_at } = message.payload.data.order_status;
        let mut followed = followed.borrow_mut();
        match latest {
            // The present state can be of any time.
            None => followed.subscribed.record(created.elapsed()),
            Some(latest) if sequence == latest + 1 => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let micros = u64::try_from(occurred_at.as_micros()).unwrap_or_default();
                followed.events.record(now.saturating_sub(Duration::from_micros(micros)));
            }
            Some(latest) => {
                return Err(io::Error::other(format!("event {sequence} came after event {latest}")));
            }
        }
        latest = Some(sequence);
        if ["COMPLETED", "FAILED", "CANCELLED"].contains(&status.as_str()) {
            return Ok(());
        }
    }
}

impl Kind {
    fn from_totals(name: &'static str, totals: &Totals) -> Self {
        let seconds = totals.duration.as_secs_f64();
        let served = totals.accepted_latency.count();
        let mut errors = BTreeMap::new();
        if totals.rejected_latency.count() > 0 {
            errors.extend(totals.responses.clone());
        }
        Self {
            name,
            offered_per_s: round(totals.offered as f64 / seconds),
            served_per_s: round(served as f64 / seconds),
            ms: (&totals.accepted_latency).into(),
            errors,
        }
    }
}

impl Followed {
    fn kinds(self, duration: Duration) -> [Kind; 2] {
        let per_s = |count: u64| round(count as f64 / duration.as_secs_f64());
        [
            Kind {
                name: "subscriber: 201 to first event",
                offered_per_s: per_s(self.started),
                served_per_s: per_s(self.completed),
                ms: (&self.subscribed).into(),
                errors: self.errors,
            },
            Kind {
                name: "later events: recorded to received",
                offered_per_s: per_s(self.events.count()),
                served_per_s: per_s(self.events.count()),
                ms: (&self.events).into(),
                errors: BTreeMap::new(),
            },
        ]
    }
}

impl Results for Report {
    const SCENARIO: &'static str = "mixed";

    fn tables(&self) -> String {
        let mut text = table_head(["client", "offered/s", "served/s", "p50, p99 (ms)", "longest", "errors"]);
        for Kind { name, offered_per_s, served_per_s, ms, errors } in &self.kinds {
            let errors: Vec<_> = errors.iter().map(|(kind, count)| format!("{count} `{kind}`")).collect();
            let errors = if errors.is_empty() { "0".to_owned() } else { errors.join(", ") };
            let _ = writeln!(
                text,
                "| {name} | {offered_per_s:.0} | {served_per_s:.0} | {} | {:.0} | {errors} |",
                ms.show(),
                ms.max.unwrap_or_default()
            );
        }
        text.push('\n');
        text.push_str(&table_head(["memory (MiB)", "start", "middle", "end"]));
        let [start, middle, end] = &self.memory_bytes;
        for (name, bytes) in start {
            let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
            let at = |when: &Memory| mib(when.get(name).copied().unwrap_or_default());
            let _ = writeln!(text, "| {name} | {:.1} | {:.1} | {:.1} |", mib(*bytes), at(middle), at(end));
        }
        text
    }

    fn notes(&self) -> Vec<String> {
        let Self { stored, completed, retries, .. } = self;
        let drained = self.drained_s.map_or_else(|| "not in time".to_owned(), |s| format!("{s:.2} s"));
        vec![
            humantime::format_duration(self.settings.duration).to_string(),
            format!(
                "{stored} orders, {completed} completed, {retries} attempts failed and were retried, \
                 drained after {drained}"
            ),
            self.settings.tuning.describe(),
        ]
    }
}
