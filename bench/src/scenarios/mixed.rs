//! Clients of every kind at once, at fixed rates, for a while: creates over REST and GraphQL, pages of
//! lists, single orders, subscribers that follow an order from its creation to its end, and work that
//! fails now and then and is repeated. Is each kind still served, and does memory stay flat?

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

use super::pipeline::drained;
use crate::histogram::Histogram;
use crate::load::{self, Socket, Tally, Target, on_this_thread};
use crate::report::{Machine, Quantiles, round};
use crate::servers::{Lab, Memory, Servers, Tuning};
use crate::watchers::{create, from};

/// How long a followed order may take to its end: longer than its retries may wait.
const PATIENCE: Duration = Duration::from_secs(120);
/// Most connections of each kind.
const CONNECTIONS: usize = 200;
/// Orders that single reads ask for.
const KNOWN: usize = 1_000;
const SUBSCRIPTION: &str =
    "subscription($id: ID!) { orderStatus(orderId: $id) { sequence status occurredAt } }";

#[derive(Debug, Clone, Args, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Settings {
    /// Orders created over REST, a second
    #[arg(long, default_value_t = 200.0)]
    rest: f64,
    /// Orders created over GraphQL, a second
    #[arg(long, default_value_t = 100.0)]
    graphql: f64,
    /// Pages of 50 orders, a second
    #[arg(long, default_value_t = 50.0)]
    pages: f64,
    /// Single orders read, a second
    #[arg(long, default_value_t = 200.0)]
    reads: f64,
    /// Subscribers that come, a second; each creates an order and follows it to its end
    #[arg(long, default_value_t = 20.0)]
    followers: f64,
    /// Share of the attempts that fail and are repeated
    #[arg(long, default_value_t = 0.05)]
    failure_rate: f64,
    /// Seconds of the same load before the measurement
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    warm_up_s: u64,
    /// Seconds that are measured
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    seconds: u64,
    #[command(flatten)]
    tuning: Tuning,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    scenario: &'static str,
    machine: Machine,
    settings: Settings,
    kinds: Vec<Kind>,
    /// Memory of each process at the begin, in the middle and at the end, in bytes.
    memory_bytes: [Memory; 3],
    stored: u64,
    completed: u64,
    /// Attempts that failed and were repeated.
    retries: u64,
    /// From the last request until no order was waiting; nothing when that took too long.
    drained_s: Option<f64>,
}

/// What became of one kind of client.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    name: &'static str,
    offered_per_s: f64,
    served_per_s: f64,
    ms: Quantiles,
    /// How often each error was seen.
    errors: BTreeMap<String, u64>,
}

pub(crate) fn run(lab: &Lab, settings: &Settings) -> io::Result<Report> {
    let mut servers = Servers::without_processor(lab, &settings.tuning)?;
    let failure_rate = settings.failure_rate.to_string();
    let handler = ["--simulate-min-delay", "20ms", "--simulate-max-delay", "200ms"];
    let handler = [&handler[..], &["--simulate-failure-rate", &failure_rate]].concat();
    servers.start_processor_with(lab, &settings.tuning, &handler)?;
    let known = create(&servers, KNOWN)?;

    let lasting = Duration::from_secs(settings.warm_up_s);
    on_this_thread(everybody(&servers, settings, &known, lasting))??;
    let lasting = Duration::from_secs(settings.seconds);
    let (kinds, memory_bytes) = on_this_thread(everybody(&servers, settings, &known, lasting))??;

    let mut database = servers.database()?;
    let drained = drained(&mut database, Instant::now())?;
    Ok(Report {
        scenario: "mixed",
        machine: Machine::here(),
        settings: settings.clone(),
        kinds,
        memory_bytes,
        stored: database.stored()?,
        completed: database.completed()?,
        // No order of this load fails so often that it is not tried again.
        retries: database.number("SELECT CAST(COALESCE(SUM(failures), 0) AS SIGNED) FROM orders")?,
        drained_s: drained.map(|time| round(time.as_secs_f64())),
    })
}

/// All kinds of clients for so long, and the memory at the begin, in the middle and at the end.
async fn everybody(
    servers: &Servers,
    settings: &Settings,
    known: &[String],
    lasting: Duration,
) -> io::Result<(Vec<Kind>, [Memory; 3])> {
    let http = servers.http;
    let pages = ["", "&status=completed", "&status=pending", "&sort=-total"];
    let pages: Vec<_> = pages.iter().map(|filter| format!("/orders?limit=50{filter}")).collect();
    let reads: Vec<_> = known.iter().map(|id| format!("/orders/{id}")).collect();
    let targets = [
        ("create over REST", settings.rest, Target::create(http)),
        ("create over GraphQL", settings.graphql, Target::create_by_graphql(http)),
        ("page of 50 orders", settings.pages, Target::get_each(http, &pages)),
        ("one order", settings.reads, Target::get_each(http, &reads)),
    ];
    let begin = servers.memory_of_all()?;
    let crowds: Vec<(_, JoinHandle<_>)> = targets
        .into_iter()
        .map(|(name, rate, target)| {
            let crowd = async move { load::open_among_others(&target, rate, lasting, CONNECTIONS).await };
            (name, spawn_local(crowd))
        })
        .collect();
    let followers = spawn_local(come_and_follow(http, settings.followers, lasting));
    sleep(lasting / 2).await;
    let middle = servers.memory_of_all()?;
    sleep(lasting - lasting / 2).await;
    let end = servers.memory_of_all()?;
    let mut kinds = Vec::new();
    for (name, crowd) in crowds {
        kinds.push(Kind::of_requests(name, &crowd.await??));
    }
    kinds.extend(followers.await?.kinds(lasting));
    Ok((kinds, [begin, middle, end]))
}

/// What subscribers have seen.
#[derive(Default)]
struct Followed {
    came: u64,
    /// From the 201 to the first event, with the socket opened in between.
    subscribed: Histogram,
    /// From the time that an event bears, before its transaction, to the subscriber.
    events: Histogram,
    reached_end: u64,
    errors: BTreeMap<String, u64>,
}

/// Subscribers come at a fixed rate and stay until their order is final.
async fn come_and_follow(http: SocketAddr, rate: f64, lasting: Duration) -> Followed {
    let followed = Rc::new(RefCell::new(Followed::default()));
    let mut open = Vec::new();
    let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let began = Instant::now();
    for n in 0.. {
        ticks.tick().await;
        if began.elapsed() >= lasting {
            break;
        }
        followed.borrow_mut().came += 1;
        let followed = followed.clone();
        open.push(spawn_local(async move {
            let end = timeout(PATIENCE, follow(http, n, &followed)).await;
            let mut followed = followed.borrow_mut();
            let problem = match end {
                Ok(Ok(())) => {
                    followed.reached_end += 1;
                    return;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "the end of an order was not seen".to_owned(),
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

/// Creates an order and follows it to its end; every event has to come, in order.
async fn follow(http: SocketAddr, n: usize, followed: &RefCell<Followed>) -> io::Result<()> {
    let id = load::create_one(http).await?;
    let answered = Instant::now();
    let payload = json!({"query": SUBSCRIPTION, "variables": {"id": id}});
    let mut socket = Socket::subscribe(from(n), http, payload).await?;
    let mut latest = None;
    loop {
        let text = socket.text().await?;
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
            // The present state, whenever it was reached.
            None => followed.subscribed.record(answered.elapsed()),
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
    fn of_requests(name: &'static str, tally: &Tally) -> Self {
        let seconds = tally.lasted.as_secs_f64();
        let served = tally.accepted_latency.count();
        let mut errors = BTreeMap::new();
        if tally.refused_latency.count() > 0 {
            errors.extend(tally.answers.clone());
        }
        Self {
            name,
            offered_per_s: round(tally.offered as f64 / seconds),
            served_per_s: round(served as f64 / seconds),
            ms: (&tally.accepted_latency).into(),
            errors,
        }
    }
}

impl Followed {
    fn kinds(self, lasting: Duration) -> [Kind; 2] {
        let per_s = |count: u64| round(count as f64 / lasting.as_secs_f64());
        [
            Kind {
                name: "subscriber: from the 201 to the first event",
                offered_per_s: per_s(self.came),
                served_per_s: per_s(self.reached_end),
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

impl Report {
    pub(crate) fn table(&self) -> String {
        let mut text = String::from(
            "| client | offered/s | served/s | p50, p99 (ms) | longest | errors |\n|---|---|---|---|---|---|\n",
        );
        for Kind { name, offered_per_s, served_per_s, ms, errors } in &self.kinds {
            let errors: Vec<_> = errors.iter().map(|(kind, count)| format!("{count} `{kind}`")).collect();
            let errors = if errors.is_empty() { "0".to_owned() } else { errors.join(", ") };
            // Writing to a String does not fail.
            let _ = writeln!(
                text,
                "| {name} | {offered_per_s:.0} | {served_per_s:.0} | {} | {:.0} | {errors} |",
                ms.show(),
                ms.max.unwrap_or_default()
            );
        }
        text.push_str("\n| memory (MiB) | begin | middle | end |\n|---|---|---|---|\n");
        let [begin, middle, end] = &self.memory_bytes;
        for (name, bytes) in begin {
            let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
            let at = |when: &Memory| mib(when.get(name).copied().unwrap_or_default());
            let _ = writeln!(text, "| {name} | {:.1} | {:.1} | {:.1} |", mib(*bytes), at(middle), at(end));
        }
        let Self { stored, completed, retries, .. } = self;
        let drained = self.drained_s.map_or_else(|| "not in time".to_owned(), |s| format!("{s:.2} s"));
        let _ = writeln!(
            text,
            "\n{} s; {stored} orders, {completed} completed, {retries} attempts failed and were repeated, drained after {drained}; {}; {}",
            self.settings.seconds,
            self.machine.show(),
            self.settings.tuning.show()
        );
        text
    }
}
