//! The costs of one order, one event and one subscriber.

use std::fmt::Write as _;
use std::io;

use serde::Serialize;

use super::gateway_load::{Load, Spread};
use crate::load::run_on_this_thread;
use crate::markdown::table_head;
use crate::report::{print_progress, round};
use crate::servers::{Lab, Servers, Tuning};
use crate::simple_http;
use crate::subscribers::{create_orders, subscribe_all};

/// The costs of a subscriber.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SocketCosts {
    /// Memory of the gateway for each socket with a subscription.
    pub(super) bytes: f64,
    /// CPU time of the gateway to send an event to one of them.
    pub(super) event_us: f64,
    /// Bytes of the message of an event, with the headers of TCP and IP.
    pub(super) event_bytes: f64,
}

/// The measured costs. CPU times of orders are without what the process uses without load.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Units {
    pub(super) database_us: f64,
    pub(super) database_received_bytes: f64,
    pub(super) database_sent_bytes: f64,
    pub(super) redo_bytes: f64,
    pub(super) stored_bytes: f64,
    /// CPU time of Redis for an order, without its gateways, and for each gateway.
    pub(super) redis_us: f64,
    pub(super) redis_us_each_gateway: f64,
    /// Bytes that Redis sends to each gateway for an order.
    pub(super) redis_bytes_each_gateway: f64,
    /// CPU time of the gateway of an order, and of each other gateway.
    pub(super) gateway_us: f64,
    pub(super) other_gateway_us: f64,
    pub(super) processor_us: f64,
    /// What a gateway without load uses in a second: of itself and of the database.
    pub(super) idle_gateway_us_per_s: f64,
    pub(super) idle_gateway_database_us_per_s: f64,
    pub(super) gateway_memory_bytes: f64,
    pub(super) processor_memory_bytes: f64,
    pub(super) socket: SocketCosts,
}

impl Units {
    /// Derives the costs from the measurements.
    pub(super) fn new(loads: &[Load], socket: SocketCosts) -> io::Result<Self> {
        let single = loads.first().ok_or(io::ErrorKind::InvalidInput)?;
        let first: Vec<&Load> = loads.iter().filter(|load| load.spread == Spread::First).collect();
        // The time that the load took, per order.
        let cpu = |load: &Load, name: &str| load.cpu_us.get(name).copied().unwrap_or_default();
        let idle = |load: &Load, name: &str| load.idle_us_per_s.get(name).copied().unwrap_or_default();
        let redis = fit(&first, |load| cpu(load, "redis"));
        let redis_bytes = fit(&first, |load| load.redis_sent_bytes);
        let idle_database = fit(&first, |load| idle(load, "mariadb"));
        let others: Vec<f64> = first.iter().filter_map(|load| load.idle_gateway_us()).collect();
        let others_us = others.iter().sum::<f64>() / others.len().max(1) as f64;
        let others_idle = fit(&first, |load| load.of_gateways(&load.idle_us_per_s).sum());
        // A second of the load has this number of orders.
        let rate = single.orders as f64 / single.seconds;
        Ok(Self {
            database_us: round(cpu(single, "mariadb") - idle(single, "mariadb") / rate),
            database_received_bytes: single.database_received_bytes,
            database_sent_bytes: single.database_sent_bytes,
            redo_bytes: single.redo_bytes,
            stored_bytes: single.stored_bytes,
            redis_us: round(redis.0),
            redis_us_each_gateway: round(redis.1),
            redis_bytes_each_gateway: round(redis_bytes.1),
            gateway_us: round(cpu(single, "gateway") - idle(single, "gateway") / rate),
            other_gateway_us: round((others_us - others_idle.1 / rate).max(0.0)),
            processor_us: round(cpu(single, "processor") - idle(single, "processor") / rate),
            idle_gateway_us_per_s: round(others_idle.1),
            idle_gateway_database_us_per_s: round(idle_database.1),
            gateway_memory_bytes: single.memory_bytes.get("gateway").copied().unwrap_or_default() as f64,
            processor_memory_bytes: single.memory_bytes.get("processor").copied().unwrap_or_default() as f64,
            socket,
        })
    }

    pub(super) fn table(&self) -> String {
        let mut text = table_head(["cost of", "measured"]);
        let Self { socket, .. } = self;
        let kib = |bytes: f64| bytes / 1_024.0;
        for (what, cost) in [
            ("an order in the database: CPU", format!("{:.1} µs", self.database_us)),
            (
                "its rows and indexes; its redo log",
                format!("{:.0} bytes; {:.0} bytes", self.stored_bytes, self.redo_bytes),
            ),
            (
                "its statements; their answers",
                format!("{:.0} bytes; {:.0} bytes", self.database_received_bytes, self.database_sent_bytes),
            ),
            (
                "an order in Redis: CPU; for each gateway: CPU, sent",
                format!(
                    "{:.2} µs; {:.2} µs, {:.0} bytes",
                    self.redis_us, self.redis_us_each_gateway, self.redis_bytes_each_gateway
                ),
            ),
            ("an order in its gateway: CPU", format!("{:.1} µs", self.gateway_us)),
            ("an order in each other gateway: CPU", format!("{:.2} µs", self.other_gateway_us)),
            ("an order in its processor, without its handler: CPU", format!("{:.1} µs", self.processor_us)),
            (
                "a gateway without load, in a second: CPU; CPU of the database",
                format!(
                    "{:.0} µs; {:.0} µs",
                    self.idle_gateway_us_per_s, self.idle_gateway_database_us_per_s
                ),
            ),
            (
                "memory of a gateway; of a processor",
                format!(
                    "{:.0} MiB; {:.0} MiB",
                    kib(kib(self.gateway_memory_bytes)),
                    kib(kib(self.processor_memory_bytes))
                ),
            ),
            (
                "a subscriber on its own websocket: memory of the gateway",
                format!("{:.1} KiB", kib(socket.bytes)),
            ),
            (
                "an event sent to a subscriber: CPU of the gateway; bytes",
                format!("{:.1} µs; {:.0} bytes", socket.event_us, socket.event_bytes),
            ),
        ] {
            let _ = writeln!(text, "| {what} | {cost} |");
        }
        text
    }
}

/// Fits `a + b × gateways` to the measurements by least squares, and returns `a` and `b`, at least 0.
fn fit(loads: &[&Load], cost: impl Fn(&Load) -> f64) -> (f64, f64) {
    let count = loads.len().max(1) as f64;
    let mean = |of: &dyn Fn(&Load) -> f64| loads.iter().map(|load| of(load)).sum::<f64>() / count;
    let gateways = |load: &Load| load.gateways as f64;
    let (mean_gateways, mean_cost) = (mean(&gateways), mean(&cost));
    let covariance = mean(&|load| (gateways(load) - mean_gateways) * (cost(load) - mean_cost));
    let variance = mean(&|load| (gateways(load) - mean_gateways).powi(2));
    let slope = if variance > 0.0 { (covariance / variance).max(0.0) } else { 0.0 };
    ((mean_cost - slope * mean_gateways).max(0.0), slope)
}

/// Opens sockets that subscribe to an order each, and cancels the orders.
pub(super) fn measure_sockets(lab: &Lab, tuning: &Tuning, sockets: usize) -> io::Result<SocketCosts> {
    let servers = Servers::start_without_processor(lab, tuning)?;
    // Memory that is allocated once is not charged to the sockets.
    let ids = create_orders(&servers, 2 * sockets)?;
    let (watched, unwatched) = ids.split_at(sockets);
    let without = cancel_all(&servers, unwatched)?;
    let before = servers.memory("gateway")?;
    let (bytes, with, event_bytes) = run_on_this_thread(async {
        let wait = async |mut socket: crate::load::Websocket| loop {
            let message = socket.next_message().await?;
            if message.contains("CANCELLED") {
                return Ok(message.len());
            }
        };
        let open = subscribe_all(&servers, watched.to_vec(), wait).await?;
        let bytes = servers.memory("gateway")?.saturating_sub(before) as f64 / sockets.max(1) as f64;
        let before = servers.thread_cpu()?;
        let urls = watched.to_vec();
        let http = servers.http;
        let cancelled = tokio::task::spawn_blocking(move || cancel_each(http, &urls));
        let mut message_bytes = 0;
        for socket in open {
            message_bytes += socket.await??;
        }
        cancelled.await??;
        let with = servers.thread_cpu()?["gateway"] - before["gateway"];
        Ok::<_, io::Error>((bytes, with, message_bytes as f64 / sockets.max(1) as f64))
    })??;
    // The frame has a header of 4 bytes, TCP and IP have 52.
    let costs = SocketCosts {
        bytes: round(bytes),
        event_us: round(((with - without) * 1e6 / sockets.max(1) as f64).max(0.0)),
        event_bytes: round(event_bytes + 56.0),
    };
    print_progress(&format!("{sockets} sockets: {costs:?}"));
    Ok(costs)
}

/// Cancels the orders, and returns the CPU seconds of the gateway.
fn cancel_all(servers: &Servers, ids: &[String]) -> io::Result<f64> {
    let before = servers.thread_cpu()?;
    cancel_each(servers.http, ids)?;
    Ok(servers.thread_cpu()?["gateway"] - before["gateway"])
}

fn cancel_each(http: std::net::SocketAddr, ids: &[String]) -> io::Result<()> {
    for id in ids {
        let (status, response) = simple_http::post(http, &format!("/orders/{id}/cancel"), "")?;
        if status != 200 {
            return Err(io::Error::other(format!("failed to cancel: {status} {response}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn load(gateways: usize, redis_us: f64) -> Load {
        let names = ["gateway", "gateway 2", "gateway 3", "gateway 4"];
        let each = |first: f64, other: f64| {
            let costs = names.iter().take(gateways).enumerate();
            costs
                .map(|(n, name)| ((*name).to_owned(), if n == 0 { first } else { other }))
                .collect::<BTreeMap<_, _>>()
        };
        let mut cpu_us = each(40.0, 3.0);
        cpu_us.extend([
            ("mariadb".to_owned(), 62.0),
            ("redis".to_owned(), redis_us),
            ("processor".to_owned(), 9.0),
        ]);
        let mut idle_us_per_s = each(1_000.0, 1_000.0);
        idle_us_per_s.insert("mariadb".to_owned(), 1_000.0 + 1_000.0 * gateways as f64);
        Load {
            gateways,
            spread: Spread::First,
            orders: 2_000,
            seconds: 2.0,
            cpu_us,
            idle_us_per_s,
            redis_sent_bytes: 50.0 + 100.0 * gateways as f64,
            database_received_bytes: 300.0,
            database_sent_bytes: 30.0,
            redo_bytes: 900.0,
            stored_bytes: 500.0,
            memory_bytes: BTreeMap::from([("gateway".to_owned(), 1), ("processor".to_owned(), 2)]),
        }
    }

    #[test]
    fn costs_are_divided_into_fixed_ones_and_those_of_each_gateway() {
        let loads = [load(1, 3.0), load(2, 4.0), load(4, 6.0)];
        let socket = SocketCosts { bytes: 1.0, event_us: 2.0, event_bytes: 3.0 };
        let units = Units::new(&loads, socket).unwrap();
        assert_eq!((units.redis_us, units.redis_us_each_gateway), (2.0, 1.0));
        assert_eq!(units.redis_bytes_each_gateway, 100.0);
        // 1,000 orders in a second: 1 µs of each order is what the process uses without load.
        assert_eq!((units.gateway_us, units.other_gateway_us), (39.0, 2.0));
        assert_eq!(units.database_us, 60.0);
        assert_eq!(units.idle_gateway_database_us_per_s, 1_000.0);
    }
}
