//! Limits the open streams: websockets, event streams, long polls and gRPC streams.
//!
//! All kinds share one limit, in total and for the address of one client.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::ErrorCode;
use http::HeaderMap;
use http::request::Parts;
use metrics::{counter, gauge};

use super::address_limiter::{AddressLimiter, AddressPermit, LimitReached, client};
use super::problem::Problem;
use crate::Config;

/// `Retry-After` of a rejection.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The kind of a stream: the label `kind` of the metric `orders_open_streams`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamKind(&'static str);

impl StreamKind {
    /// Creates a kind with this label.
    pub const fn new(label: &'static str) -> Self {
        Self(label)
    }
}

/// The streams of a process.
#[derive(Debug)]
pub struct Streams {
    addresses: Arc<AddressLimiter>,
    limits: Config,
}

impl Streams {
    /// Creates the limits of a process.
    pub fn new(limits: &Config) -> Self {
        let addresses = AddressLimiter::new(limits.max_streams, limits.max_streams_per_address());
        Self { addresses, limits: limits.clone() }
    }

    /// Counts a stream of this client until the drop of the result.
    ///
    /// # Errors
    /// `too_many_streams` if the address has reached its limit, `streams_exhausted` if the process has.
    pub fn open(&self, kind: StreamKind, client: Option<IpAddr>) -> Result<OpenStream, Problem> {
        let exempt = |ip: &IpAddr| self.limits.exempt_loopback && ip.to_canonical().is_loopback();
        let place = self.addresses.acquire(client.filter(|ip| !exempt(ip))).map_err(|full| {
            let (limit, code, detail) = match full {
                LimitReached::Address => {
                    let most = self.limits.max_streams_per_address();
                    let detail = format!("this address has {most} open streams, which is the limit");
                    ("streams_per_address", ErrorCode::TooManyStreams, detail)
                }
                LimitReached::Total => {
                    let detail = "this gateway has as many open streams as it may have";
                    ("streams", ErrorCode::StreamsExhausted, detail.to_owned())
                }
            };
            counter!("orders_http_rejections_total", "reason" => limit).increment(1);
            Problem::new(code, detail).retry_after(RETRY_AFTER)
        })?;
        gauge!("orders_open_streams", "kind" => kind.0).increment(1.0);
        Ok(OpenStream { kind, _place: place })
    }
}

/// An open stream; the drop releases its permit.
#[derive(Debug)]
pub struct OpenStream {
    kind: StreamKind,
    _place: AddressPermit,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        gauge!("orders_open_streams", "kind" => self.kind.0).decrement(1.0);
    }
}

/// The address of the client of a request.
#[derive(Debug, Clone, Copy)]
pub struct Client(pub Option<IpAddr>);

impl Client {
    /// Returns the client of a request.
    pub fn of(parts: &Parts, limits: &Config) -> Self {
        Self::from(&parts.extensions, &parts.headers, limits)
    }

    /// Returns the client of a request with these extensions and headers.
    pub fn from(extensions: &http::Extensions, headers: &HeaderMap, limits: &Config) -> Self {
        Self(client(extensions, headers, &limits.trusted_proxies))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: StreamKind = StreamKind::new("test");

    #[test]
    fn all_kinds_share_one_limit() {
        let limits = Config { max_streams: 3, max_streams_per_address: Some(2), ..crate::Config::default() };
        let streams = Streams::new(&limits);
        let open = |kind, ip: &str| streams.open(kind, Some(ip.parse().unwrap()));
        let code = |outcome: Result<OpenStream, Problem>| outcome.unwrap_err().code();
        let first = open(KIND, "10.0.0.1").unwrap();
        let _second = open(KIND, "10.0.0.1").unwrap();
        assert_eq!(code(open(KIND, "10.0.0.1")), ErrorCode::TooManyStreams);
        let _third = open(KIND, "10.0.0.2").unwrap();
        assert_eq!(code(open(KIND, "10.0.0.3")), ErrorCode::StreamsExhausted);
        drop(first);
        open(KIND, "10.0.0.1").unwrap();
    }

    #[test]
    fn one_address_gets_a_tenth_and_loopback_can_be_exempt() {
        let limits = Config { max_streams: 20, ..crate::Config::default() };
        for (exempt_loopback, most) in [(false, 2), (true, 20)] {
            let streams = Streams::new(&Config { exempt_loopback, ..limits.clone() });
            let open = || streams.open(KIND, Some("127.0.0.1".parse().unwrap())).ok();
            assert_eq!(std::iter::from_fn(open).collect::<Vec<_>>().len(), most);
        }
    }
}
