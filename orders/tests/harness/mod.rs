//! Starts and stops the program, and provides its clients.

mod api;
mod process;
mod receiver;
mod servers;
mod stack;
mod watch;

use std::future::Future;
use std::hash::BuildHasher;
use std::time::Duration;

pub(crate) use api::{Api, https_client, id};
pub(crate) use process::{Process, command, killed_with_test, run, script};
pub(crate) use receiver::{Language, Receiver};
pub(crate) use servers::{Servers, redis_url};
pub(crate) use stack::{Stack, Stop, base_url, grpc_addr, metrics_url, start_gateway, start_gateway_with};
pub(crate) use watch::follow;

/// Timeout of every wait. It is long, because the machine can be busy, and only a failure reaches it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Waits for an event until [`DEADLINE`]; `what` names it in the panic.
pub(crate) async fn within<T>(what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(DEADLINE, event).await {
        Ok(value) => value,
        Err(_) => panic!("timeout after {} s: {what}", DEADLINE.as_secs()),
    }
}

/// Calls `probe` until it returns a value, until [`DEADLINE`].
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut probe: impl FnMut() -> F,
) -> T {
    within(what, async {
        loop {
            if let Some(value) = probe().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}

/// Returns different free ports. They are below the range of outgoing connections, so no connection uses one by chance.
pub(crate) fn free_ports(count: usize) -> Vec<u16> {
    let mut listeners = Vec::new();
    while listeners.len() < count {
        // Each state hashes differently.
        let random = std::collections::hash_map::RandomState::new().hash_one(0) % 12_000;
        let port = 20_000 + u16::try_from(random).expect("it is less than 12,000");
        listeners.extend(std::net::TcpListener::bind(("127.0.0.1", port)));
    }
    listeners.iter().map(|listener| listener.local_addr().expect("it has an address").port()).collect()
}

/// Installs the TLS provider, which reqwest requires also for plain HTTP. A second installation has no effect.
pub(crate) fn install_tls_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
