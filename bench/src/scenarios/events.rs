//! Deliveries of a backlog to one webhook endpoint, and the memory of the gateway while the receiver is down.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use crate::load::{self, Target};
use crate::markdown::table_head;
use crate::report::{Results, round, show_each};
use crate::servers::{Lab, Memory, Servers, Tuning, cpu_used};
use crate::simple_http;

/// Connections of the load generator while it creates orders.
const CREATORS: usize = 64;
/// Maximum time until the backlog is delivered.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(300);
const POLL_INTERVAL: Duration = Duration::from_millis(5);

#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Events of the backlog; each order has one, because no worker runs
    #[arg(long, default_value_t = 50_000)]
    events: u64,
    /// Maximum number of requests at once to the endpoint
    #[arg(long, default_value_t = 32)]
    endpoint_concurrency: u32,
    #[command(flatten)]
    tuning: Tuning,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    runs: Vec<Run>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    payload: &'static str,
    events: u64,
    delivered_per_s: f64,
    /// CPU of each process for each event; `load` is the receiver.
    cpu_us: BTreeMap<String, f64>,
    /// Before the first event.
    before: Memory,
    /// After all events, while the receiver is down.
    down: Memory,
    /// After the delivery.
    after: Memory,
}

pub(crate) fn run(lab: &Lab, settings: &Settings) -> io::Result<Report> {
    let runs = ["full", "thin"].map(|payload| measure(lab, settings, payload));
    Ok(Report { runs: runs.into_iter().collect::<io::Result<_>>()? })
}

fn measure(lab: &Lab, settings: &Settings, payload: &'static str) -> io::Result<Run> {
    let servers = Servers::start_with_webhooks(lab, &settings.tuning)?;
    let mut database = servers.database()?;
    let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let endpoint = json!({
        "url": format!("http://{addr}/"),
        "payload": payload,
        "concurrency": settings.endpoint_concurrency,
    });
    let (status, response) = simple_http::post(servers.http, "/webhooks", &endpoint.to_string())?;
    let id = serde_json::from_str::<Value>(&response)?["endpoint"]["id"].as_str().map(str::to_owned);
    let id = id.ok_or_else(|| io::Error::other(format!("no endpoint: {status} {response}")))?;
    let before = servers.memory_of_all()?;
    while database.count_stored()? < settings.events {
        load::run_closed_loop(&Target::create(servers.http), CREATORS, Duration::from_secs(1))?;
    }
    let events = database.count_stored()?;
    let down = servers.memory_of_all()?;
    let receiver = Receiver::start(addr)?;
    let cpu_before = servers.cpu()?;
    simple_http::post(servers.http, &format!("/webhooks/{id}/enable"), "")?;
    let start = receiver.wait_for(1)?;
    let end = receiver.wait_for(events)?;
    let cpu = cpu_used(&cpu_before, &servers.cpu()?);
    Ok(Run {
        payload,
        events,
        delivered_per_s: round(events as f64 / end.duration_since(start).as_secs_f64()),
        cpu_us: cpu.into_iter().map(|(name, seconds)| (name, round(seconds * 1e6 / events as f64))).collect(),
        before,
        down,
        after: servers.memory_of_all()?,
    })
}

/// An HTTP server that accepts everything, with one thread for each connection.
struct Receiver {
    received: Arc<AtomicU64>,
}

impl Receiver {
    fn start(addr: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(addr)?;
        let received = Arc::new(AtomicU64::new(0));
        let counter = received.clone();
        // The threads end with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let counter = counter.clone();
                std::thread::spawn(move || serve(stream, &counter));
            }
        });
        Ok(Self { received })
    }

    fn wait_for(&self, count: u64) -> io::Result<Instant> {
        let deadline = Instant::now() + DELIVERY_TIMEOUT;
        loop {
            let (received, now) = (self.received.load(Ordering::Relaxed), Instant::now());
            if received >= count {
                return Ok(now);
            }
            if now > deadline {
                return Err(io::Error::other(format!("{received} of {count} events were delivered")));
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

/// Answers the requests of a connection until it ends.
fn serve(stream: TcpStream, received: &AtomicU64) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    loop {
        let mut length = 0;
        loop {
            line.clear();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().ok()?;
            }
        }
        io::copy(&mut reader.by_ref().take(length), &mut io::sink()).ok()?;
        received.fetch_add(1, Ordering::Relaxed);
        reader.get_mut().write_all(b"HTTP/1.1 204 No Content\r\n\r\n").ok()?;
    }
}

impl Results for Report {
    const SCENARIO: &'static str = "events";

    fn tables(&self) -> String {
        let mut text = table_head([
            "payload",
            "events",
            "delivered/s",
            "CPU of an event (µs); load is the receiver",
            "gateway before, while down, after (MiB)",
        ]);
        let mib = |memory: &Memory| memory.get("gateway").copied().unwrap_or_default() / 1024 / 1024;
        for Run { payload, events, delivered_per_s, cpu_us, before, down, after } in &self.runs {
            let _ = writeln!(
                text,
                "| {payload} | {events} | {delivered_per_s:.0} | {} | {}, {}, {} |",
                show_each(cpu_us, |us| format!("{us:.0}")),
                mib(before),
                mib(down),
                mib(after),
            );
        }
        text
    }
}
