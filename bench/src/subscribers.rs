//! Many websockets, each of which subscribes to an order.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::load::{ORDER, Websocket};
use crate::servers::Servers;
use crate::simple_http;

/// Sockets that connect concurrently.
pub(crate) const CONCURRENT_CONNECTS: usize = 100;
/// Orders in one bulk create.
const BULK: usize = 1_000;
/// Timeout for the gateway to notice that all subscribers have left.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(60);

/// Creates orders and returns their ids.
pub(crate) fn create_orders(servers: &Servers, count: usize) -> io::Result<Vec<String>> {
    let mut ids = Vec::with_capacity(count);
    while ids.len() < count {
        let rows = vec![ORDER; BULK.min(count - ids.len())];
        let (status, response) =
            simple_http::post(servers.http, "/orders/bulk", &format!("[{}]", rows.join(",")))?;
        let response: Value = serde_json::from_str(&response)?;
        let created = response["results"].as_array().into_iter().flatten();
        let before = ids.len();
        ids.extend(created.filter_map(|row| row["order"]["id"].as_str().map(str::to_owned)));
        if status != 201 || ids.len() == before {
            return Err(io::Error::other(format!("failed to create orders: {status} {response}")));
        }
    }
    Ok(ids)
}

/// Returns the source address of socket `n`. The sockets use several addresses, because the ports of one do not suffice.
pub(crate) fn source_address(n: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2 + (n / 10_000 % 100) as u8))
}

/// Subscribes to each order, and continues with `then` after its present state. Returns when all have it.
pub(crate) async fn subscribe_all<T, F>(
    servers: &Servers,
    orders: Vec<String>,
    then: impl Fn(Websocket) -> F + Clone + 'static,
) -> io::Result<Vec<JoinHandle<io::Result<T>>>>
where
    F: Future<Output = io::Result<T>>,
    T: 'static,
{
    let (http, connecting) = (servers.http, Arc::new(Semaphore::new(CONCURRENT_CONNECTS)));
    let mut open = Vec::with_capacity(orders.len());
    for (n, order) in orders.into_iter().enumerate() {
        let permit = connecting.clone().acquire_owned().await.map_err(io::Error::other)?;
        let then = then.clone();
        open.push(tokio::task::spawn_local(async move {
            let mut socket = Websocket::subscribe_to_order(source_address(n), http, &order).await?;
            socket.wait_for_status("PENDING").await?;
            drop(permit);
            then(socket).await
        }));
    }
    let _all = connecting.acquire_many(CONCURRENT_CONNECTS as u32).await.map_err(io::Error::other)?;
    Ok(open)
}

/// Stops tasks that should still be running.
pub(crate) async fn stop_all<T>(open: Vec<JoinHandle<io::Result<T>>>) -> io::Result<()> {
    for socket in open {
        socket.abort();
        // An aborted task is a `JoinError`. A task that ended before has failed.
        if let Ok(Err(error)) = socket.await {
            return Err(error);
        }
    }
    Ok(())
}

/// Keeps a socket open.
pub(crate) async fn keep_open(mut socket: Websocket) -> io::Result<Infallible> {
    loop {
        socket.next_message().await?;
    }
}

/// Waits until the gateway counts no subscription, and returns the time that it took.
pub(crate) fn wait_until_none(servers: &Servers) -> io::Result<Duration> {
    let began = Instant::now();
    while servers.metric("orders_graphql_subscriptions")? > 0.0 {
        if began.elapsed() > LEAVE_TIMEOUT {
            return Err(io::Error::other("the gateway still counts subscriptions that have ended"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(began.elapsed())
}
