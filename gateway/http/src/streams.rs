//! Limits the open streams: websockets, event streams, long polls and gRPC streams.
//!
//! All kinds share one limit, in total, for the address of one client, for a key and for a tenant.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use domain::{ErrorCode, Principal, StreamPermit};
use http::HeaderMap;
use http::request::Parts;
use metrics::{counter, gauge};

use super::address_limiter::{AddressLimiter, AddressPermit, LimitReached, client};
use super::problem::Problem;
use super::quota::too_many_streams;
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

    /// Counts a stream of this client and this caller until the drop of the result.
    ///
    /// # Errors
    /// `too_many_streams` if the address has reached its limit, `quota_exceeded` if the key or the tenant has, and
    /// `streams_exhausted` if the process has.
    pub fn open(
        &self,
        kind: StreamKind,
        client: Option<IpAddr>,
        caller: Option<&Principal>,
    ) -> Result<OpenStream, Problem> {
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
        let permits = caller.map_or_else(|| Ok(Vec::new()), permits)?;
        gauge!("orders_open_streams", "kind" => kind.0).increment(1.0);
        Ok(OpenStream { kind, _place: place, permits })
    }
}

/// An open stream; the drop releases its permit.
#[derive(Debug)]
pub struct OpenStream {
    kind: StreamKind,
    _place: AddressPermit,
    permits: Vec<StreamPermit>,
}

impl OpenStream {
    /// Counts the stream for a caller that was authenticated after it was opened.
    ///
    /// # Errors
    /// `quota_exceeded`.
    pub fn add_caller(&mut self, caller: &Principal) -> Result<(), Problem> {
        self.permits = permits(caller)?;
        Ok(())
    }
}

fn permits(caller: &Principal) -> Result<Vec<StreamPermit>, Problem> {
    caller.quotas.open_stream().map_err(too_many_streams)
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
        let open = |kind, ip: &str| streams.open(kind, Some(ip.parse().unwrap()), None);
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
    fn a_caller_has_a_limit_of_streams() {
        let limits = domain::Limits { max_streams: Some(2), ..domain::Limits::default() };
        let quota = domain::Quota::new(&limits, domain::Shares::default(), std::time::Instant::now());
        let quotas = domain::Quotas { key: Some(Arc::new(quota)), tenant: None };
        let caller = Principal { quotas, ..Principal::anonymous() };
        let streams = Streams::new(&Config::default());
        let open = |caller| streams.open(KIND, None, caller);
        let first = open(Some(&caller)).unwrap();
        let mut late = open(None).unwrap();
        late.add_caller(&caller).unwrap();
        let problem = open(Some(&caller)).unwrap_err();
        assert_eq!(problem.code(), ErrorCode::QuotaExceeded);
        assert!(problem.detail().contains("key") && problem.wait().is_some());
        assert_eq!(open(None).unwrap().add_caller(&caller).unwrap_err().code(), ErrorCode::QuotaExceeded);
        drop((first, late));
        open(Some(&caller)).unwrap();
    }

    #[test]
    fn one_address_gets_a_tenth_and_loopback_can_be_exempt() {
        let limits = Config { max_streams: 20, ..crate::Config::default() };
        for (exempt_loopback, most) in [(false, 2), (true, 20)] {
            let streams = Streams::new(&Config { exempt_loopback, ..limits.clone() });
            let open = || streams.open(KIND, Some("127.0.0.1".parse().unwrap()), None).ok();
            assert_eq!(std::iter::from_fn(open).collect::<Vec<_>>().len(), most);
        }
    }
}
