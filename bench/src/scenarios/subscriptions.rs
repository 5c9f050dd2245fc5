//! Many subscriptions, each on a separate websocket.
//!
//! The scenario measures the memory of each idle subscription, the latency of a change, and the memory after they
//! ended.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::io;
use std::rc::Rc;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use crate::latency::LatencyHistogram;
use crate::load::{Websocket, run_on_this_thread};
use crate::markdown::table_head;
use crate::report::{Quantiles, Results};
use crate::servers::{Lab, Servers, Tuning};
use crate::simple_http;
use crate::subscribers::{
    CONCURRENT_CONNECTS, create_orders, keep_open, source_address, stop_all, subscribe_all, wait_until_none,
};

#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Concurrent subscriptions
    #[arg(long, default_value_t = 10_000)]
    sockets: usize,
    /// Measured changes without and with the open subscriptions
    #[arg(long, default_value_t = 300)]
    changes: usize,
    /// Sockets that subscribe and disconnect before the remaining memory is measured
    #[arg(long, default_value_t = 100_000)]
    connects: usize,
    #[command(flatten)]
    tuning: Tuning,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    sockets: usize,
    /// Memory of the gateway for each idle subscription, in bytes.
    bytes_each: u64,
    /// From the request for the change over REST to the event at the only subscriber.
    alone_ms: Quantiles,
    /// The same while all others are open.
    among_others_ms: Quantiles,
    /// Time from the request for a change to the event at each of `sockets` subscribers.
    fan_out_ms: Quantiles,
    /// From the disconnect of all sockets until the gateway counts no subscription.
    gone_after_ms: f64,
    connects: usize,
    /// Memory of the gateway after a tenth, half and all of the connects, in bytes.
    memory_after: [u64; 3],
    /// The subscriptions, sockets and connections that the gateway counts at the end.
    ///
    /// The request for the count is not included.
    left: [f64; 3],
}

pub(crate) fn run(lab: &Lab, settings: &Settings) -> io::Result<Report> {
    let servers = Servers::start_without_processor(lab, &settings.tuning)?;
    let Settings { sockets, changes, connects, .. } = *settings;
    let ids = create_orders(&servers, sockets.max(2) + 2 * changes + 1)?;
    let (idle, rest) = ids.split_at(sockets);
    let (first, rest) = rest.split_at(changes);
    let (second, rest) = rest.split_at(changes);

    // Memory that is allocated once is not charged to the sockets.
    let warm = idle.get(..CONCURRENT_CONNECTS).unwrap_or(idle).to_vec();
    run_on_this_thread(async { stop_all(subscribe_all(&servers, warm, keep_open).await?).await })??;
    wait_until_none(&servers)?;
    let alone = run_on_this_thread(measure_changes(&servers, first))??;

    let before = servers.memory("gateway")?;
    let (bytes_each, among_others) = run_on_this_thread(async {
        let open = subscribe_all(&servers, idle.to_vec(), keep_open).await?;
        let bytes_each = (servers.memory("gateway")?.saturating_sub(before)) / sockets.max(1) as u64;
        let among_others = measure_changes(&servers, second).await?;
        stop_all(open).await?;
        Ok::<_, io::Error>((bytes_each, among_others))
    })??;
    let gone_after = wait_until_none(&servers)?;

    let popular = rest.first().ok_or(io::ErrorKind::InvalidInput)?;
    let fan_out = run_on_this_thread(measure_fan_out(&servers, popular, sockets))??;
    wait_until_none(&servers)?;

    let mut memory_after = [0; 3];
    let parts = [connects / 10, connects / 2 - connects / 10, connects - connects / 2];
    for (memory, part) in memory_after.iter_mut().zip(parts) {
        run_on_this_thread(connect_and_leave(&servers, idle, part))??;
        wait_until_none(&servers)?;
        *memory = servers.memory("gateway")?;
    }
    let left = [
        servers.metric("orders_graphql_subscriptions")?,
        servers.metric("orders_graphql_websockets")?,
        // Without the connections of this request and of the processor.
        servers.metric("orders_open_connections")? - 2.0,
    ];
    Ok(Report {
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

fn cancel_path(order: &str) -> String {
    format!("/orders/{order}/cancel")
}

/// Measures the latency of changes, one after the other, from request to event.
async fn measure_changes(servers: &Servers, orders: &[String]) -> io::Result<LatencyHistogram> {
    let mut histogram = LatencyHistogram::default();
    for order in orders {
        let mut socket = Websocket::subscribe_to_order(source_address(0), servers.http, order).await?;
        socket.wait_for_status("PENDING").await?;
        let (http, path) = (servers.http, cancel_path(order));
        let began = Instant::now();
        let change = tokio::task::spawn_blocking(move || simple_http::post(http, &path, ""));
        socket.wait_for_status("CANCELLED").await?;
        histogram.record(began.elapsed());
        change.await??;
    }
    Ok(histogram)
}

/// Measures the latency from a change request to its event at each of `count` subscribers.
async fn measure_fan_out(servers: &Servers, order: &str, count: usize) -> io::Result<LatencyHistogram> {
    let (histogram, sent) = (Rc::new(RefCell::new(LatencyHistogram::default())), Rc::new(Cell::new(None)));
    let record = {
        let (histogram, sent) = (histogram.clone(), sent.clone());
        move |mut socket: Websocket| {
            let (histogram, sent) = (histogram.clone(), sent.clone());
            async move {
                socket.wait_for_status("CANCELLED").await?;
                let sent: Option<Instant> = sent.get();
                histogram.borrow_mut().record(sent.map(|sent| sent.elapsed()).unwrap_or_default());
                Ok(())
            }
        }
    };
    let open = subscribe_all(servers, vec![order.to_owned(); count], record).await?;
    let (http, path) = (servers.http, cancel_path(order));
    sent.set(Some(Instant::now()));
    let change = tokio::task::spawn_blocking(move || simple_http::post(http, &path, ""));
    for socket in open {
        socket.await??;
    }
    change.await??;
    Ok(histogram.take())
}

/// Opens sockets that subscribe, receive the present state, and disconnect.
async fn connect_and_leave(servers: &Servers, orders: &[String], count: usize) -> io::Result<()> {
    let orders = orders.iter().cycle().take(count).cloned().collect();
    for socket in subscribe_all(servers, orders, async |_| Ok(())).await? {
        socket.await??;
    }
    Ok(())
}

impl Results for Report {
    const SCENARIO: &'static str = "subscriptions";

    fn tables(&self) -> String {
        let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / 1_048_576.0);
        let [tenth, half, all] = self.memory_after.map(mib);
        let [subscriptions, sockets, connections] = self.left;
        let heading = format!("{} subscriptions, each on a separate websocket", self.sockets);
        let mut text = table_head([heading.as_str(), ""]);
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
                "one change to the same number of subscribers of one order: p50, p99".to_owned(),
                format!("{} ms", self.fan_out_ms.show()),
            ),
            ("all disconnected to none counted".to_owned(), format!("{:.0} ms", self.gone_after_ms)),
            (
                format!(
                    "memory after {}, {} and {} sockets connected and left",
                    self.connects / 10,
                    self.connects / 2,
                    self.connects
                ),
                format!("{tenth}, {half}, {all}"),
            ),
            (
                "subscriptions, sockets, connections at the end".to_owned(),
                format!("{subscriptions}, {sockets}, {connections}"),
            ),
        ];
        for (name, value) in rows {
            let _ = writeln!(text, "| {name} | {value} |");
        }
        text
    }
}
