//! Many subscriptions at once, each on a websocket of its own: what each costs while nothing happens, how
//! fast a change gets through, and what is left when they are gone.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use crate::histogram::Histogram;
use crate::load::{Socket, on_this_thread};
use crate::plain;
use crate::report::{Machine, Quantiles};
use crate::servers::{Lab, Servers, Tuning};
use crate::watchers::{AT_ONCE, create, from, gone, idling, open, stop};

#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Subscriptions that are open at once
    #[arg(long, default_value_t = 10_000)]
    sockets: usize,
    /// Changes whose way to a subscriber is measured, without and with the open subscriptions
    #[arg(long, default_value_t = 300)]
    changes: usize,
    /// Sockets that subscribe and are cut off, one after the other, to see what is left of them
    #[arg(long, default_value_t = 100_000)]
    connects: usize,
    #[command(flatten)]
    tuning: Tuning,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    scenario: &'static str,
    machine: Machine,
    sockets: usize,
    /// Memory of the gateway for each idle subscription, in bytes.
    bytes_each: u64,
    /// From sending the change over REST to the event at its subscriber, who is the only one.
    alone_ms: Quantiles,
    /// The same while all others are open.
    among_others_ms: Quantiles,
    /// From sending the change of one order to the event at each of as many subscribers of it.
    fan_out_ms: Quantiles,
    /// From cutting them all off to the moment when the gateway counts no subscription.
    gone_after_ms: f64,
    connects: usize,
    /// Memory of the gateway after a tenth, half and all of the connects, in bytes.
    memory_after: [u64; 3],
    /// What the gateway counts in the end: subscriptions, sockets and connections beside the question itself.
    left: [f64; 3],
}

pub(crate) fn run(lab: &Lab, settings: &Settings) -> io::Result<Report> {
    let servers = Servers::without_processor(lab, &settings.tuning)?;
    let Settings { sockets, changes, connects, .. } = *settings;
    let ids = create(&servers, sockets.max(2) + 2 * changes + 1)?;
    let (idle, rest) = ids.split_at(sockets);
    let (first, rest) = rest.split_at(changes);
    let (second, rest) = rest.split_at(changes);

    // What is allocated once for all is not charged to the sockets.
    let warm = idle.get(..AT_ONCE).unwrap_or(idle).to_vec();
    on_this_thread(async { stop(open(&servers, warm, idling).await?).await })??;
    gone(&servers)?;
    let alone = on_this_thread(latency(&servers, first))??;

    let before = servers.memory("gateway")?;
    let (bytes_each, among_others) = on_this_thread(async {
        let open = open(&servers, idle.to_vec(), idling).await?;
        let bytes_each = (servers.memory("gateway")?.saturating_sub(before)) / sockets.max(1) as u64;
        let among_others = latency(&servers, second).await?;
        stop(open).await?;
        Ok::<_, io::Error>((bytes_each, among_others))
    })??;
    let gone_after = gone(&servers)?;

    let popular = rest.first().ok_or(io::ErrorKind::InvalidInput)?;
    let fan_out = on_this_thread(fan_out(&servers, popular, sockets))??;
    gone(&servers)?;

    let mut memory_after = [0; 3];
    let parts = [connects / 10, connects / 2 - connects / 10, connects - connects / 2];
    for (memory, part) in memory_after.iter_mut().zip(parts) {
        on_this_thread(come_and_go(&servers, idle, part))??;
        gone(&servers)?;
        *memory = servers.memory("gateway")?;
    }
    let left = [
        servers.metric("orders_graphql_subscriptions")?,
        servers.metric("orders_graphql_websockets")?,
        // Without the one that asks and the processor.
        servers.metric("orders_open_connections")? - 2.0,
    ];
    Ok(Report {
        scenario: "subscriptions",
        machine: Machine::here(),
        sockets,
        bytes_each,
        alone_ms: (&alone).into(),
        among_others_ms: (&among_others).into(),
        fan_out_ms: (&fan_out).into(),
        gone_after_ms: gone_after.as_secs_f64() * 1_000.0,
        connects,
        memory_after,
        left,
    })
}

fn cancel(order: &str) -> String {
    format!("/orders/{order}/cancel")
}

/// How long it takes from sending a change to its event, one change after the other.
async fn latency(servers: &Servers, orders: &[String]) -> io::Result<Histogram> {
    let mut histogram = Histogram::default();
    for order in orders {
        let mut socket = Socket::watch(from(0), servers.http, order).await?;
        socket.until("PENDING").await?;
        let (http, path) = (servers.http, cancel(order));
        let began = Instant::now();
        let change = tokio::task::spawn_blocking(move || plain::post(http, &path, ""));
        socket.until("CANCELLED").await?;
        histogram.record(began.elapsed());
        change.await??;
    }
    Ok(histogram)
}

/// How long it takes from sending one change to its event at each of `count` subscribers.
async fn fan_out(servers: &Servers, order: &str, count: usize) -> io::Result<Histogram> {
    let (histogram, sent) = (Rc::new(RefCell::new(Histogram::default())), Rc::new(Cell::new(None)));
    let record = {
        let (histogram, sent) = (histogram.clone(), sent.clone());
        move |mut socket: Socket| {
            let (histogram, sent) = (histogram.clone(), sent.clone());
            async move {
                socket.until("CANCELLED").await?;
                let sent: Option<Instant> = sent.get();
                histogram.borrow_mut().record(sent.map(|sent| sent.elapsed()).unwrap_or_default());
                Ok(())
            }
        }
    };
    let open = open(servers, vec![order.to_owned(); count], record).await?;
    let (http, path) = (servers.http, cancel(order));
    sent.set(Some(Instant::now()));
    let change = tokio::task::spawn_blocking(move || plain::post(http, &path, ""));
    for socket in open {
        socket.await??;
    }
    change.await??;
    Ok(histogram.take())
}

/// Sockets that subscribe, see the present state, and are dropped.
async fn come_and_go(servers: &Servers, orders: &[String], count: usize) -> io::Result<()> {
    let orders = orders.iter().cycle().take(count).cloned().collect();
    for socket in open(servers, orders, async |_| Ok(())).await? {
        socket.await??;
    }
    Ok(())
}

impl Report {
    pub(crate) fn table(&self) -> String {
        let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / 1_048_576.0);
        let [tenth, half, all] = self.memory_after.map(mib);
        let [subscriptions, sockets, connections] = self.left;
        let mut text =
            format!("| {} subscriptions, each on a websocket of its own | |\n|---|---|\n", self.sockets);
        let rows = [
            (
                "memory of the gateway for each".to_owned(),
                format!("{:.1} KiB", self.bytes_each as f64 / 1024.0),
            ),
            (
                "change sent to event received, no other subscription: p50, p99".to_owned(),
                format!("{} ms", self.alone_ms.show()),
            ),
            ("the same among all of them".to_owned(), format!("{} ms", self.among_others_ms.show())),
            (
                "one change to as many subscribers of one order: p50, p99".to_owned(),
                format!("{} ms", self.fan_out_ms.show()),
            ),
            ("all cut off to none counted".to_owned(), format!("{:.0} ms", self.gone_after_ms)),
            (
                format!(
                    "memory after {}, {} and {} sockets came and went",
                    self.connects / 10,
                    self.connects / 2,
                    self.connects
                ),
                format!("{tenth}, {half}, {all}"),
            ),
            (
                "subscriptions, sockets, connections left in the end".to_owned(),
                format!("{subscriptions}, {sockets}, {connections}"),
            ),
        ];
        for (what, value) in rows {
            // Writing to a String does not fail.
            let _ = writeln!(text, "| {what} | {value} |");
        }
        let _ = writeln!(text, "\n{}", self.machine.show());
        text
    }
}
