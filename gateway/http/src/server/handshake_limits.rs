//! The number of TLS handshakes in progress, for each address and in all.
//!
//! A connection waits for its turn: clients that connect together, such as workers behind one address after a restart, are
//! served in order. The waiting connections are limited as connections are, and in time by the handshake's timeout.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::address_limiter::group;

/// The maximum number of handshakes in progress.
pub(super) const MAX_HANDSHAKES: usize = 1_024;
/// The maximum number of handshakes in progress from one address.
pub(super) const MAX_HANDSHAKES_PER_ADDRESS: usize = 64;

/// The handshakes in progress.
#[derive(Debug)]
pub(super) struct HandshakeLimits {
    all: Arc<Semaphore>,
    by_address: Mutex<HashMap<IpAddr, Turns>>,
}

/// The turns of one address, and the number of connections that wait for one or have one.
#[derive(Debug)]
struct Turns {
    free: Arc<Semaphore>,
    users: usize,
}

impl Default for HandshakeLimits {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(MAX_HANDSHAKES)), by_address: Mutex::default() }
    }
}

impl HandshakeLimits {
    /// Waits for a turn, which ends when it is dropped. Without an address only the limit of all counts.
    pub(super) async fn turn(self: &Arc<Self>, address: Option<IpAddr>) -> HandshakeTurn {
        let user = address.map(|address| AddressUser::new(self, group(address)));
        let of_address = match &user {
            Some(user) => user.free.clone().acquire_owned().await.ok(),
            None => None,
        };
        let of_all = self.all.clone().acquire_owned().await.ok();
        HandshakeTurn { _permits: [of_address, of_all], _user: user }
    }
}

/// A handshake in progress.
#[derive(Debug)]
pub(super) struct HandshakeTurn {
    _permits: [Option<OwnedSemaphorePermit>; 2],
    _user: Option<AddressUser>,
}

/// A connection that waits for a turn of its address, or has one.
#[derive(Debug)]
struct AddressUser {
    limits: Arc<HandshakeLimits>,
    address: IpAddr,
    free: Arc<Semaphore>,
}

impl AddressUser {
    fn new(limits: &Arc<HandshakeLimits>, address: IpAddr) -> Self {
        let mut by_address = limits.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Turns { free: Arc::new(Semaphore::new(MAX_HANDSHAKES_PER_ADDRESS)), users: 0 };
        let turns = by_address.entry(address).or_insert_with(new);
        turns.users += 1;
        Self { limits: Arc::clone(limits), address, free: turns.free.clone() }
    }
}

impl Drop for AddressUser {
    fn drop(&mut self) {
        let mut by_address = self.limits.by_address.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turns) = by_address.get_mut(&self.address) {
            turns.users -= 1;
            if turns.users == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn an_address_waits_for_its_own_handshakes_only() {
        let limits = Arc::new(HandshakeLimits::default());
        let address = |last| Some(IpAddr::from([10, 0, 0, last]));
        let mut turns = Vec::new();
        for _ in 0..MAX_HANDSHAKES_PER_ADDRESS {
            turns.push(limits.turn(address(1)).await);
        }
        let mut waiting = Box::pin(limits.turn(address(1)));
        assert!(waiting.as_mut().now_or_never().is_none());
        let other = limits.turn(address(2)).await;
        turns.pop();
        let waited = waiting.await;
        drop((turns, other, waited));
        assert!(limits.by_address.lock().unwrap().is_empty(), "no address is kept");
        assert_eq!(limits.all.available_permits(), MAX_HANDSHAKES);
    }

    #[tokio::test]
    async fn all_addresses_share_one_limit() {
        let limits = Arc::new(HandshakeLimits::default());
        let mut turns = Vec::new();
        for _ in 0..MAX_HANDSHAKES {
            turns.push(limits.turn(None).await);
        }
        assert!(limits.turn(Some(IpAddr::from([10, 0, 0, 1]))).now_or_never().is_none());
    }

    #[test]
    fn limits_are_documented() {
        limits_page::row(
            "TLS handshakes in progress; from one client address",
            &format!("{}; {MAX_HANDSHAKES_PER_ADDRESS}", limits_page::count(MAX_HANDSHAKES)),
        );
        limits_page::row("HTTP without TLS on a port with TLS", "");
        let timeout = crate::Config::default().request_read_timeout;
        limits_page::row(
            "timeout of a TLS handshake, with the wait for its turn",
            &limits_page::time(timeout),
        );
    }
}
