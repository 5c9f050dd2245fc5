//! Limits open connections and streams for each address, and finds clients behind proxies.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::ConnectInfo;
use http::{Extensions, HeaderMap};
use ipnet::IpNet;

use crate::Config;

/// The header in which proxies list the client and the proxies before them.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// Limits what is open, in total and for each address.
#[derive(Debug)]
pub(crate) struct AddressLimiter {
    most: usize,
    most_per_address: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// The limit that rejected a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LimitReached {
    /// The limit of the address.
    Address,
    /// The total limit.
    Total,
}

/// A permit; the drop releases it.
#[derive(Debug)]
pub(crate) struct AddressPermit {
    addresses: Arc<AddressLimiter>,
    /// `None` counts towards the total only.
    address: Option<IpAddr>,
}

impl AddressLimiter {
    pub(crate) fn new(most: usize, most_per_address: usize) -> Arc<Self> {
        Arc::new(Self { most, most_per_address, open: Mutex::default() })
    }

    /// Acquires a permit. Without an address, only the total limit applies.
    pub(crate) fn acquire(self: &Arc<Self>, address: Option<IpAddr>) -> Result<AddressPermit, LimitReached> {
        let address = address.map(group);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.all >= self.most {
            return Err(LimitReached::Total);
        }
        if let Some(address) = address {
            let count = open.by_address.get(&address).copied().unwrap_or(0);
            if count >= self.most_per_address {
                return Err(LimitReached::Address);
            }
            open.by_address.insert(address, count + 1);
        }
        open.all += 1;
        Ok(AddressPermit { addresses: Arc::clone(self), address })
    }
}

impl Drop for AddressPermit {
    fn drop(&mut self) {
        let mut open = self.addresses.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.all -= 1;
        let Some(address) = self.address else { return };
        match open.by_address.get_mut(&address) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                open.by_address.remove(&address);
            }
        }
    }
}

/// Returns what counts as one address: an IPv4 address or an IPv6 /64 network.
///
/// One customer usually gets a whole /64 network.
pub(crate) fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Returns whether an address is that of a trusted proxy.
pub(crate) fn is_trusted(address: IpAddr, proxies: &[IpNet]) -> bool {
    let address = address.to_canonical();
    proxies.iter().any(|network| network.contains(&address))
}

/// Returns whether the limits for one address do not apply to an address.
///
/// A proxy connects on behalf of many clients.
pub(crate) fn exempt(address: IpAddr, limits: &Config) -> bool {
    is_trusted(address, &limits.trusted_proxies)
        || (limits.exempt_loopback && address.to_canonical().is_loopback())
}

/// Returns the address of the client of a request.
///
/// It is the peer of the connection. If the peer is a trusted proxy, it is the last hop in `X-Forwarded-For` that is no
/// trusted proxy. The hops before that one are ignored, because any client can write them.
pub(crate) fn client(extensions: &Extensions, headers: &HeaderMap, proxies: &[IpNet]) -> Option<IpAddr> {
    let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
    let mut client = peer.ip();
    let lines: Vec<&str> =
        headers.get_all(FORWARDED_FOR).iter().map(|line| line.to_str().unwrap_or_default()).collect();
    for hop in lines.iter().flat_map(|line| line.split(',')).rev() {
        if !is_trusted(client, proxies) {
            break;
        }
        match address_of(hop.trim()) {
            Some(address) => client = address,
            None => break,
        }
    }
    Some(client)
}

/// Parses the address of a hop. Some proxies add the port.
fn address_of(hop: &str) -> Option<IpAddr> {
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    bare.parse().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn permits_are_limited_for_each_address_and_in_total() {
        let addresses = AddressLimiter::new(3, 2);
        let first = addresses.acquire(Some(ip("10.0.0.1"))).unwrap();
        let second = addresses.acquire(Some(ip("::ffff:10.0.0.1"))).unwrap();
        assert_eq!(addresses.acquire(Some(ip("10.0.0.1"))).unwrap_err(), LimitReached::Address);
        let other = addresses.acquire(Some(ip("10.0.0.2"))).unwrap();
        assert_eq!(addresses.acquire(Some(ip("10.0.0.3"))).unwrap_err(), LimitReached::Total);
        assert_eq!(addresses.acquire(None).unwrap_err(), LimitReached::Total);
        drop((first, second, other));
        assert!(addresses.open.lock().unwrap().by_address.is_empty(), "no address is kept");
        let _again = addresses.acquire(Some(ip("10.0.0.1"))).unwrap();
    }

    #[test]
    fn one_ipv6_network_is_one_address() {
        let addresses = AddressLimiter::new(9, 1);
        let _first = addresses.acquire(Some(ip("2001:db8::1"))).unwrap();
        assert!(addresses.acquire(Some(ip("2001:db8::ffff:2"))).is_err());
        assert!(addresses.acquire(Some(ip("2001:db8:0:1::1"))).is_ok());
    }

    #[test]
    fn forwarded_addresses_are_used_only_from_trusted_proxies() {
        let proxies = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        for (peer, forwarded, client_is) in [
            ("192.0.2.1:5", "203.0.113.9", "192.0.2.1"),
            ("10.0.0.1:5", "203.0.113.9", "203.0.113.9"),
            ("[::ffff:10.0.0.1]:5", "203.0.113.9", "203.0.113.9"),
            ("10.0.0.1:5", "1.1.1.1, 203.0.113.9", "203.0.113.9"),
            ("10.0.0.1:5", "1.1.1.1, 203.0.113.9, 10.2.3.4", "203.0.113.9"),
            ("10.0.0.1:5", "1.1.1.1,203.0.113.9:80", "203.0.113.9"),
            ("10.0.0.1:5", "[2001:db8::1]", "2001:db8::1"),
            ("10.0.0.1:5", "unknown", "10.0.0.1"),
            ("10.0.0.1:5", "", "10.0.0.1"),
            ("10.0.0.1:5", "1.1.1.1, nonsense, 10.0.0.2", "10.0.0.2"),
        ] {
            let mut extensions = Extensions::new();
            extensions.insert(ConnectInfo(peer.parse::<SocketAddr>().unwrap()));
            let headers = [("x-forwarded-for".parse().unwrap(), HeaderValue::from_static(forwarded))];
            let found = client(&extensions, &HeaderMap::from_iter(headers), &proxies);
            assert_eq!(found, Some(ip(client_is)), "{peer} {forwarded}");
        }
        assert_eq!(client(&Extensions::new(), &HeaderMap::new(), &proxies), None);
    }
}
