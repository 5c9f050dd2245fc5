//! Latency of a change from its commit to a subscriber on a websocket, while orders are created at a fixed rate. In the
//! same seconds a plain message through Redis is measured.
//!
//! *Committed* is the time of the database's response to the COMMIT of the event's transaction (see `commit_proxy`).
//! *Recorded* is the time in the event. It is before the transaction writes, so the latency includes the writes and the
//! fsync.

use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_stream::StreamExt;

use crate::commit_proxy::{CommitTimes, EventKey};
use crate::latency::LatencyHistogram;
use crate::load::{self, Target, Websocket, run_on_this_thread};
use crate::markdown::table_head;
use crate::report::{Quantiles, Results};
use crate::servers::{Lab, Servers, Tuning};

/// Time for events after the last request.
const SETTLE_TIME: Duration = Duration::from_secs(4);
/// Plain messages per second.
const MESSAGES_PER_SECOND: u64 = 100;
const CHANNEL: &str = "bench:channel";
const SUBSCRIPTION: &str = "subscription { orderEvents { ... on OrderStatusEvent { orderId sequence occurredAt } ... on OrderFeedLag { missed } } }";

#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Orders per second; separated by commas
    #[arg(long, value_delimiter = ',', default_values_t = [60.0, 1_000.0])]
    rates: Vec<f64>,
    /// Duration of each rate
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration, default_value = "20s")]
    duration: Duration,
    #[command(flatten)]
    tuning: Tuning,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    rates: Vec<Rate>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Rate {
    orders_per_s: f64,
    accepted: u64,
    events: u64,
    /// Events that the gateway reported as missed.
    missed: u64,
    accepted_ms: Quantiles,
    /// From the time in an event, which is before its transaction, to the subscriber.
    recorded_ms: Quantiles,
    /// From the commit of an event to the subscriber.
    committed_ms: Quantiles,
    /// From PUBLISH to a subscriber of Redis.
    publish_ms: Quantiles,
}

/// The events that the subscriber received.
#[derive(Default)]
struct Received {
    /// The time of each event.
    events: Vec<(EventKey, Instant)>,
    recorded: LatencyHistogram,
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
    let (servers, commits) = Servers::start_with_commit_times(lab, &settings.tuning)?;
    load::run_closed_loop(&Target::create(servers.http), 16, Duration::from_secs(2))?;
    std::thread::sleep(SETTLE_TIME);
    let measure_one = |rate: &f64| measure_rate(&servers, &commits, *rate, settings.duration);
    let rates = settings.rates.iter().map(measure_one).collect::<io::Result<_>>()?;
    Ok(Report { rates })
}

fn measure_rate(servers: &Servers, commits: &CommitTimes, rate: f64, duration: Duration) -> io::Result<Rate> {
    let (http, redis) = (servers.http, servers.redis_url.clone());
    let until = Instant::now() + duration + SETTLE_TIME;
    // Separate threads: their measurements must not wait for the requests.
    let subscriber = std::thread::spawn(move || run_on_this_thread(receive_events(http, until)));
    let messages = std::thread::spawn(move || run_on_this_thread(measure_publish(redis, until)));
    // Time for the subscription to start.
    std::thread::sleep(SETTLE_TIME / 4);
    let totals = load::run_open_loop(&Target::create(http), rate, duration, 1_000)?;
    let panicked = |_| io::Error::other("a measuring thread panicked");
    let received = subscriber.join().map_err(panicked)???;
    let publish = messages.join().map_err(panicked)??.map_err(io::Error::other)?;

    let mut committed = LatencyHistogram::default();
    for (event, at) in &received.events {
        let commit = commits.committed_at(*event).ok_or_else(|| {
            io::Error::other(format!("the commit of event {} of {:032x} was not recorded", event.1, event.0))
        })?;
        committed.record(at.saturating_duration_since(commit));
    }
    Ok(Rate {
        orders_per_s: rate,
        accepted: totals.accepted_latency.count(),
        events: received.recorded.count(),
        missed: received.missed,
        accepted_ms: (&totals.accepted_latency).into(),
        recorded_ms: (&received.recorded).into(),
        committed_ms: (&committed).into(),
        publish_ms: (&publish).into(),
    })
}

/// Receives the events of all orders.
async fn receive_events(http: SocketAddr, until: Instant) -> io::Result<Received> {
    let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut socket = Websocket::subscribe(from, http, json!({"query": SUBSCRIPTION})).await?;
    let mut received = Received::default();
    while let Ok(text) = tokio::time::timeout_at(until.into(), socket.next_message()).await {
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

/// Publishes at a fixed rate, and measures the latency to its own subscription.
async fn measure_publish(redis: String, until: Instant) -> redis::RedisResult<LatencyHistogram> {
    let client = redis::Client::open(redis)?;
    let mut listener = client.get_async_pubsub().await?;
    listener.subscribe(CHANNEL).await?;
    let mut sender = client.get_multiplexed_async_connection().await?;
    let began = Instant::now();
    let sending = tokio::task::spawn_local(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(1_000 / MESSAGES_PER_SECOND));
        while Instant::now() < until {
            ticks.tick().await;
            let sent = began.elapsed().as_micros() as u64;
            redis::cmd("PUBLISH").arg(CHANNEL).arg(sent).query_async::<()>(&mut sender).await?;
        }
        Ok::<_, redis::RedisError>(())
    });
    let mut latency = LatencyHistogram::default();
    let mut messages = listener.on_message();
    while let Ok(Some(message)) = tokio::time::timeout_at(until.into(), messages.next()).await {
        let sent: u64 = message.get_payload()?;
        latency.record(began.elapsed().saturating_sub(Duration::from_micros(sent)));
    }
    sending.await.map_err(io::Error::other)??;
    Ok(latency)
}

impl Results for Report {
    const SCENARIO: &'static str = "push";

    fn tables(&self) -> String {
        let mut text = table_head([
            "orders/s",
            "orders accepted",
            "events",
            "missed",
            "201: p50, p99 (ms)",
            "committed to received",
            "recorded to received",
            "PUBLISH alone",
            "committed against PUBLISH",
            "recorded against PUBLISH",
        ]);
        for rate in &self.rates {
            let against = |ms: &Quantiles| {
                let ratio =
                    |ms: Option<f64>, bare: Option<f64>| ms.unwrap_or_default() / bare.unwrap_or(f64::NAN);
                let (p50, p99) = (ratio(ms.p50, rate.publish_ms.p50), ratio(ms.p99, rate.publish_ms.p99));
                format!("{p50:.1}×, {p99:.1}×")
            };
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
        text
    }

    fn notes(&self) -> Vec<String> {
        vec!["Open loop".to_owned()]
    }
}
