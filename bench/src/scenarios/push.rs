//! The way of a change from its commit to a subscriber on a websocket, while orders come at a fixed rate;
//! and beside it, in the same seconds, the way of a bare message through Redis.
//!
//! *Committed* is when the answer to the COMMIT of the event's transaction has left the database (see
//! `commits`). *Recorded* is the event's own time, before its transaction has written anything, so it holds the
//! writing and the fsync as well.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_stream::StreamExt;

use crate::commits::{Commits, EventKey};
use crate::histogram::Histogram;
use crate::load::{self, Socket, Target, on_this_thread};
use crate::report::{Machine, Quantiles};
use crate::servers::{Lab, Servers, Tuning};

/// How long events may come after the last request.
const AFTERWARDS: Duration = Duration::from_secs(4);
/// Bare messages in a second.
const MESSAGES: u64 = 100;
const CHANNEL: &str = "bench:channel";
const SUBSCRIPTION: &str = "subscription { orderEvents { ... on OrderStatusEvent { orderId sequence occurredAt } ... on OrderFeedLag { missed } } }";

#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Orders a second; several with commas
    #[arg(long, value_delimiter = ',', default_values_t = [60.0, 1_000.0])]
    rates: Vec<f64>,
    /// Seconds of each rate
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    seconds: u64,
    #[command(flatten)]
    tuning: Tuning,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    scenario: &'static str,
    machine: Machine,
    rates: Vec<Rate>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rate {
    orders_per_s: f64,
    accepted: u64,
    events: u64,
    /// Events that the subscriber was told to have missed.
    missed: u64,
    accepted_ms: Quantiles,
    /// From the time that the event bears, before its transaction, to the subscriber.
    recorded_ms: Quantiles,
    /// From the commit of an event to the subscriber.
    committed_ms: Quantiles,
    /// From PUBLISH to a bare subscriber of Redis.
    publish_ms: Quantiles,
}

/// What the subscriber has received.
#[derive(Default)]
struct Received {
    /// When each event came.
    events: Vec<(EventKey, Instant)>,
    recorded: Histogram,
    missed: u64,
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
    order_events: Item,
}
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    order_id: Option<String>,
    sequence: Option<u32>,
    occurred_at: Option<domain::Timestamp>,
    missed: Option<u64>,
}

pub(crate) fn run(lab: &Lab, settings: &Settings) -> io::Result<Report> {
    let (servers, commits) = Servers::start_watched(lab, &settings.tuning)?;
    load::closed(&Target::create(servers.http), 16, Duration::from_secs(2))?;
    std::thread::sleep(AFTERWARDS);
    let of = |rate: &f64| measure(&servers, &commits, *rate, Duration::from_secs(settings.seconds));
    let rates = settings.rates.iter().map(of).collect::<io::Result<_>>()?;
    Ok(Report { scenario: "push", machine: Machine::here(), rates })
}

fn measure(servers: &Servers, commits: &Commits, rate: f64, lasting: Duration) -> io::Result<Rate> {
    let (http, redis) = (servers.http, servers.redis_url.clone());
    let until = Instant::now() + lasting + AFTERWARDS;
    // Threads of their own: what they measure must not wait for the requests.
    let subscriber = std::thread::spawn(move || on_this_thread(subscribe(http, until)));
    let messages = std::thread::spawn(move || on_this_thread(publish(redis, until)));
    // Time to subscribe.
    std::thread::sleep(AFTERWARDS / 4);
    let tally = load::open(&Target::create(http), rate, lasting, 1_000)?;
    let panicked = |_| io::Error::other("a measuring thread has panicked");
    let received = subscriber.join().map_err(panicked)???;
    let publish = messages.join().map_err(panicked)??.map_err(io::Error::other)?;

    let mut committed = Histogram::default();
    for (event, at) in &received.events {
        let commit = commits.of(*event).ok_or_else(|| {
            io::Error::other(format!("nobody has seen the commit of event {} of {:032x}", event.1, event.0))
        })?;
        committed.record(at.saturating_duration_since(commit));
    }
    Ok(Rate {
        orders_per_s: rate,
        accepted: tally.accepted_latency.count(),
        events: received.recorded.count(),
        missed: received.missed,
        accepted_ms: (&tally.accepted_latency).into(),
        recorded_ms: (&received.recorded).into(),
        committed_ms: (&committed).into(),
        publish_ms: (&publish).into(),
    })
}

/// Follows all orders.
async fn subscribe(http: SocketAddr, until: Instant) -> io::Result<Received> {
    let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut socket = Socket::subscribe(from, http, json!({"query": SUBSCRIPTION})).await?;
    let mut received = Received::default();
    while let Ok(text) = tokio::time::timeout_at(until.into(), socket.text()).await {
        let (text, at, now) = (text?, Instant::now(), SystemTime::now());
        if !text.contains("\"next\"") {
            continue;
        }
        let message: Message =
            serde_json::from_str(&text).map_err(|error| io::Error::other(format!("{error}: {text}")))?;
        let event = message.payload.data.order_events;
        received.missed += event.missed.unwrap_or_default();
        if let (Some(id), Some(sequence), Some(recorded)) =
            (event.order_id, event.sequence, event.occurred_at)
        {
            let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
            let recorded = Duration::from_micros(u64::try_from(recorded.as_micros()).unwrap_or_default());
            received.recorded.record(now.saturating_sub(recorded));
            let id = uuid::Uuid::parse_str(&id).map_err(io::Error::other)?;
            received.events.push(((id.as_u128(), sequence), at));
        }
    }
    Ok(received)
}

/// Publishes at a fixed rate and listens to itself.
async fn publish(redis: String, until: Instant) -> redis::RedisResult<Histogram> {
    let client = redis::Client::open(redis)?;
    let mut listener = client.get_async_pubsub().await?;
    listener.subscribe(CHANNEL).await?;
    let mut sender = client.get_multiplexed_async_connection().await?;
    let began = Instant::now();
    let sending = tokio::task::spawn_local(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(1_000 / MESSAGES));
        while Instant::now() < until {
            ticks.tick().await;
            let sent = began.elapsed().as_micros() as u64;
            redis::cmd("PUBLISH").arg(CHANNEL).arg(sent).query_async::<()>(&mut sender).await?;
        }
        Ok::<_, redis::RedisError>(())
    });
    let mut latency = Histogram::default();
    let mut messages = listener.on_message();
    while let Ok(Some(message)) = tokio::time::timeout_at(until.into(), messages.next()).await {
        let sent: u64 = message.get_payload()?;
        latency.record(began.elapsed().saturating_sub(Duration::from_micros(sent)));
    }
    sending.await.map_err(io::Error::other)??;
    Ok(latency)
}

impl Report {
    pub(crate) fn table(&self) -> String {
        let mut text = String::from(
            "| orders/s | orders accepted | events | missed | 201: p50, p99 (ms) | committed to received | recorded to received | bare PUBLISH | committed against PUBLISH | recorded against PUBLISH |\n|---|---|---|---|---|---|---|---|---|---|---|\n",
        );
        for rate in &self.rates {
            let against = |ms: &Quantiles| {
                let ratio =
                    |ms: Option<f64>, bare: Option<f64>| ms.unwrap_or_default() / bare.unwrap_or(f64::NAN);
                let (p50, p99) = (ratio(ms.p50, rate.publish_ms.p50), ratio(ms.p99, rate.publish_ms.p99));
                format!("{p50:.1}×, {p99:.1}×")
            };
            // Writing to a String does not fail.
            let _ = writeln!(
                text,
                "| {:.0} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                rate.orders_per_s,
                rate.accepted,
                rate.events,
                rate.missed,
                rate.accepted_ms.show_precisely(),
                rate.committed_ms.show_precisely(),
                rate.recorded_ms.show_precisely(),
                rate.publish_ms.show_precisely(),
                against(&rate.committed_ms),
                against(&rate.recorded_ms)
            );
        }
        let _ = writeln!(text, "\nOpen loop; {}", self.machine.show());
        text
    }
}
