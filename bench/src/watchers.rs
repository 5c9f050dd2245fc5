//! Many websockets at once, each of which follows an order.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::load::{ORDER, Socket};
use crate::plain;
use crate::servers::Servers;

/// Sockets that are opened at the same time.
pub(crate) const AT_ONCE: usize = 100;
/// Orders of one bulk create.
const BULK: usize = 1_000;
/// How long to wait for the gateway to notice that everybody has left.
const LEAVING: Duration = Duration::from_secs(60);

/// Accepts so many orders, and says their ids.
pub(crate) fn create(servers: &Servers, count: usize) -> io::Result<Vec<String>> {
    let mut ids = Vec::with_capacity(count);
    while ids.len() < count {
        let rows = vec![ORDER; BULK.min(count - ids.len())];
        let (status, answer) = plain::post(servers.http, "/orders/bulk", &format!("[{}]", rows.join(",")))?;
        let answer: Value = serde_json::from_str(&answer)?;
        let created = answer["results"].as_array().into_iter().flatten();
        let before = ids.len();
        ids.extend(created.filter_map(|row| row["order"]["id"].as_str().map(str::to_owned)));
        if status != 201 || ids.len() == before {
            return Err(io::Error::other(format!("orders cannot be created: {status} {answer}")));
        }
    }
    Ok(ids)
}

/// Addresses to connect from, so that ports do not run out.
pub(crate) fn from(n: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2 + (n / 10_000 % 100) as u8))
}

/// Subscribes to each order and goes on with `then` once its present state has come. Returns when that
/// was so for all.
pub(crate) async fn open<T, F>(
    servers: &Servers,
    orders: Vec<String>,
    then: impl Fn(Socket) -> F + Clone + 'static,
) -> io::Result<Vec<JoinHandle<io::Result<T>>>>
where
    F: Future<Output = io::Result<T>>,
    T: 'static,
{
    let (http, opening) = (servers.http, Arc::new(Semaphore::new(AT_ONCE)));
    let mut open = Vec::with_capacity(orders.len());
    for (n, order) in orders.into_iter().enumerate() {
        let permit = opening.clone().acquire_owned().await.map_err(io::Error::other)?;
        let then = then.clone();
        open.push(tokio::task::spawn_local(async move {
            let mut socket = Socket::watch(from(n), http, &order).await?;
            socket.until("PENDING").await?;
            drop(permit);
            then(socket).await
        }));
    }
    let _all = opening.acquire_many(AT_ONCE as u32).await.map_err(io::Error::other)?;
    Ok(open)
}

/// Stops what should still be going on.
pub(crate) async fn stop<T>(open: Vec<JoinHandle<io::Result<T>>>) -> io::Result<()> {
    for socket in open {
        socket.abort();
        // One that was aborted is a `JoinError`; one that has ended by itself has broken.
        if let Ok(Err(error)) = socket.await {
            return Err(error);
        }
    }
    Ok(())
}

/// Keeps a socket open.
pub(crate) async fn idling(mut socket: Socket) -> io::Result<Infallible> {
    loop {
        socket.text().await?;
    }
}

/// Waits until the gateway counts no subscription, and says how long that took.
pub(crate) fn gone(servers: &Servers) -> io::Result<Duration> {
    let began = Instant::now();
    while servers.metric("orders_graphql_subscriptions")? > 0.0 {
        if began.elapsed() > LEAVING {
            return Err(io::Error::other("the gateway still counts subscriptions that are gone"));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(began.elapsed())
}
