//! Checks the host of a request, against DNS rebinding.
//!
//! A page of another site can make a browser resolve that site's name to the address of this gateway. The browser then
//! treats both as one site, so the rules about origins do not apply. Only the host of the request reveals it.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use domain::ErrorCode;
use http::header::HOST;
use http::{HeaderMap, Request, Uri, Version};

use super::problem::Problem;

/// The hosts for which a gateway accepts requests.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Hosts {
    /// Loopback names on a loopback listener, and every host on any other listener.
    #[default]
    Automatic,
    /// `localhost` and loopback addresses.
    Loopback,
    /// Every host.
    Any,
    /// The listed hosts and loopback names.
    ///
    /// The hosts are in lower case and without a port, IPv6 addresses without brackets.
    Named(Arc<[String]>),
}

/// An entry that is not a host.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{0:?} is not a host name")]
pub struct InvalidHost(pub String);

impl FromStr for Hosts {
    type Err = InvalidHost;

    /// Parses a list such as `shop.example,10.0.0.5`, or `*` for every host.
    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        let mut names = Vec::new();
        for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            if entry == "*" {
                return Ok(Self::Any);
            }
            names.push(configured(entry).ok_or_else(|| InvalidHost(entry.to_owned()))?);
        }
        Ok(if names.is_empty() { Self::Automatic } else { Self::Named(names.into()) })
    }
}

impl Hosts {
    /// Resolves `Automatic` for a listener.
    #[must_use]
    pub fn on(self, listener: SocketAddr) -> Self {
        match self {
            Self::Automatic if listener.ip().to_canonical().is_loopback() => Self::Loopback,
            Self::Automatic => Self::Any,
            chosen => chosen,
        }
    }

    fn allow(&self, host: &str) -> bool {
        match self {
            Self::Automatic | Self::Any => true,
            Self::Loopback => is_loopback(host),
            Self::Named(names) => {
                is_loopback(host) || names.iter().any(|name| name.eq_ignore_ascii_case(host))
            }
        }
    }
}

/// Rejects a request whose host is not allowed, or whose `Host` header violates RFC 9112.
pub(super) fn check<B>(request: &Request<B>, hosts: &Hosts) -> Result<(), Problem> {
    let mut named = request.headers().get_all(HOST).iter();
    let header = named.next();
    if named.next().is_some() {
        return Err(refused(ErrorCode::MalformedRequest, "the request has more than one Host header"));
    }
    let authority = match request.uri().authority() {
        // The authority of the target has priority over the header.
        Some(authority) => authority.as_str(),
        None => match header.map(|value| value.to_str()) {
            Some(Ok(value)) => value,
            Some(Err(_)) => {
                return Err(refused(ErrorCode::MalformedRequest, "the Host header is not a host"));
            }
            None if request.version() == Version::HTTP_11 => {
                return Err(refused(ErrorCode::MalformedRequest, "the request has no Host header"));
            }
            // HTTP/1.0 has no `Host` header. Every browser sends one.
            None => return Ok(()),
        },
    };
    match name_and_port(authority) {
        Some((host, _)) if hosts.allow(host) => Ok(()),
        Some(_) => Err(refused(
            ErrorCode::HostNotAllowed,
            "this gateway does not answer for the host in the request; the operators can add it with --allowed-hosts",
        )),
        None => Err(refused(ErrorCode::MalformedRequest, "the Host header is not a host")),
    }
}

fn refused(code: ErrorCode, detail: &'static str) -> Problem {
    metrics::counter!("orders_http_rejections_total", "reason" => "host").increment(1);
    Problem::new(code, detail)
}

/// Returns the host of a request, and its port if there is one.
///
/// It is the authority of the request target or, if the target is a path, the `Host` header.
pub(super) fn of<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<(&'a str, Option<u16>)> {
    let authority = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => headers.get(HOST)?.to_str().ok()?,
    };
    name_and_port(authority)
}

/// Splits `host:port`; `None` if the input is not a host.
///
/// The brackets of an IPv6 address and a final dot of a name are removed.
fn name_and_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            address.parse::<Ipv6Addr>().ok()?;
            (address, port.strip_prefix(':').or(port.is_empty().then_some(""))?)
        }
        None => authority.split_once(':').unwrap_or((authority, "")),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:%!$&'()*+,;=".contains(&byte);
    if host.is_empty() || !host.bytes().all(is_host) {
        return None;
    }
    let port = if port.is_empty() { None } else { Some(digits(port)?) };
    Some((host, port))
}

fn digits(port: &str) -> Option<u16> {
    port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok()).flatten()
}

fn is_loopback(host: &str) -> bool {
    if host.eq_ignore_ascii_case("localhost") {
        return true;
    }
    // Fast path: most hosts are names, which do not begin with a digit and have no colon.
    match host.as_bytes().first() {
        Some(first) if first.is_ascii_digit() && !host.contains(':') => {
            host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
        }
        _ if host.contains(':') => {
            host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
        }
        _ => false,
    }
}

/// Parses a configured host: a name or an address, without scheme, port and path.
fn configured(entry: &str) -> Option<String> {
    let bracketed: Cow<'_, str> = match entry.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]").into(),
        Err(_) => entry.into(),
    };
    let (host, port) = name_and_port(&bracketed)?;
    let plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.:".contains(&byte));
    (port.is_none() && plain && !bracketed.ends_with("]:") && !entry.ends_with(':'))
        .then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn request(uri: &str, hosts: &[&'static str], version: Version) -> Request<()> {
        let mut request = Request::get(uri).version(version).body(()).unwrap();
        for host in hosts {
            request.headers_mut().append(HOST, HeaderValue::from_static(host));
        }
        request
    }

    fn code(hosts: &Hosts, uri: &str, named: &[&'static str]) -> Option<ErrorCode> {
        check(&request(uri, named, Version::HTTP_11), hosts).err().map(|problem| problem.code())
    }

    #[test]
    fn loopback_listener_accepts_loopback_names_only() {
        let hosts = Hosts::default().on("127.0.0.1:3000".parse().unwrap());
        for good in [
            "localhost",
            "localhost:3000",
            "LocalHost:80",
            "localhost.",
            "127.0.0.1",
            "127.0.0.1:3000",
            "127.9.9.9",
            "[::1]",
            "[::1]:3000",
            "[::ffff:127.0.0.1]:1",
        ] {
            assert_eq!(code(&hosts, "/", &[good]), None, "{good}");
        }
        for foreign in [
            "evil.example",
            "evil.example:3000",
            "localhost.evil.example",
            "evil-localhost",
            "127.0.0.1.evil.example",
            "0.0.0.0",
            "10.0.0.1:3000",
            "[::]",
            "[2001:db8::1]",
            "2130706433",
        ] {
            assert_eq!(code(&hosts, "/", &[foreign]), Some(ErrorCode::HostNotAllowed), "{foreign}");
        }
        for broken in
            ["", "a b", "user@localhost", "localhost:x", "localhost:99999", "[::1", "[::1]x", "[x]", "a/b"]
        {
            assert_eq!(code(&hosts, "/", &[broken]), Some(ErrorCode::MalformedRequest), "{broken}");
        }
    }

    #[test]
    fn request_has_exactly_one_host() {
        let hosts = Hosts::Loopback;
        assert_eq!(code(&hosts, "/", &[]), Some(ErrorCode::MalformedRequest));
        assert_eq!(code(&hosts, "/", &["localhost", "localhost"]), Some(ErrorCode::MalformedRequest));
        assert!(check(&request("/", &[], Version::HTTP_10), &hosts).is_ok());
        assert!(check(&request("/", &["evil.example"], Version::HTTP_10), &hosts).is_err());
    }

    #[test]
    fn request_target_has_priority_over_the_host_header() {
        let hosts = Hosts::Loopback;
        assert_eq!(code(&hosts, "http://localhost:3000/orders", &["evil.example"]), None);
        assert_eq!(
            code(&hosts, "http://evil.example/orders", &["localhost"]),
            Some(ErrorCode::HostNotAllowed)
        );
        assert!(check(&request("http://[::1]:1/", &[], Version::HTTP_2), &hosts).is_ok());
        assert!(check(&request("http://evil.example/", &[], Version::HTTP_2), &hosts).is_err());
    }

    #[test]
    fn listed_hosts_and_loopback_names_are_accepted() {
        let hosts: Hosts = "Shop.example, 10.0.0.5, 2001:db8::1".parse().unwrap();
        for good in ["shop.example", "SHOP.EXAMPLE:8443", "10.0.0.5:3000", "[2001:db8::1]", "localhost:3000"]
        {
            assert_eq!(code(&hosts, "/", &[good]), None, "{good}");
        }
        for foreign in ["www.shop.example", "shop.example.evil", "10.0.0.6", "[2001:db8::2]"] {
            assert_eq!(code(&hosts, "/", &[foreign]), Some(ErrorCode::HostNotAllowed), "{foreign}");
        }
        assert_eq!(hosts.clone().on("127.0.0.1:1".parse().unwrap()), hosts);
    }

    #[test]
    fn other_listeners_accept_every_host_unless_some_are_listed() {
        for listener in ["0.0.0.0:3000", "[::]:3000", "192.0.2.1:3000"] {
            let hosts = Hosts::default().on(listener.parse().unwrap());
            assert_eq!(code(&hosts, "/", &["shop.example"]), None, "{listener}");
        }
        assert_eq!("*".parse::<Hosts>().unwrap(), Hosts::Any);
        assert_eq!(" , ".parse::<Hosts>().unwrap(), Hosts::Automatic);
        for wrong in
            ["https://shop.example", "shop.example:80", "shop.example/", "*.shop.example", "a b", "[::1]:80"]
        {
            assert!(wrong.parse::<Hosts>().is_err(), "{wrong}");
        }
    }
}
