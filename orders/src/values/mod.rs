//! The types of settings: each is parsed once, at the edge, and then trusted. A parser's error
//! completes the sentence "`--setting` is `value`: …" and its hint says what is expected.

#[cfg(test)]
mod any_input;
mod units;
mod urls;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use domain::{Currency, OrderId, Timestamp};
use gateway::http::{Hosts, Origins};
use gateway::store::Setting;
use ipnet::IpNet;

pub(crate) use units::{duration, show_duration, show_size, size};
pub(crate) use urls::{DatabaseUrl, Secret, ServerUrl, masked};
/// A value that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    problem: String,
    /// What is expected.
    pub(crate) hint: String,
}

impl Wrong {
    fn new(problem: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { problem: problem.into(), hint: hint.into() }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for Wrong {}

/// Where to listen: `host:port`. The host may be a name such as `localhost`; port 0 is any free one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListenAddr(String);

impl ListenAddr {
    /// As `TcpListener::bind` takes it.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ListenAddr {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        const HINT: &str = "give an address and a port such as 127.0.0.1:3000; port 0 takes a free port";
        if text.parse::<SocketAddr>().is_ok() {
            return Ok(Self(text.to_owned()));
        }
        if text.contains("://") {
            return Err(Wrong::new("it is a URL and not an address", HINT));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(Wrong::new("the port is missing", HINT));
        };
        if port.parse::<u16>().is_err() {
            return Err(Wrong::new(format!("{port:?} is not a port (0 to 65535)"), HINT));
        }
        let name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
        if host.is_empty() || !host.chars().all(name) {
            return Err(Wrong::new(format!("{host:?} is not a host"), HINT));
        }
        Ok(Self(text.to_owned()))
    }
}

/// How this machine reaches a listener: the "any" addresses are reached over loopback.
pub(crate) fn reachable(mut addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_unspecified() {
        match addr {
            SocketAddr::V4(_) => addr.set_ip(Ipv4Addr::LOCALHOST.into()),
            SocketAddr::V6(_) => addr.set_ip(Ipv6Addr::LOCALHOST.into()),
        }
    }
    addr
}

/// Whole numbers from `min` to `max`.
pub(crate) fn number<T>(min: u64, max: u64) -> impl Fn(&str) -> Result<T, Wrong> + Clone + Send + Sync
where
    T: TryFrom<u64>,
{
    move |text: &str| {
        let hint = || format!("give a whole number from {min} to {max}");
        let outside = || Wrong::new(format!("it is not within {min} to {max}"), hint());
        let digits = text.strip_prefix('-').unwrap_or(text);
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Wrong::new("it is not a whole number", hint()));
        }
        let value: u64 = text.parse().map_err(|_| outside())?;
        if !(min..=max).contains(&value) {
            return Err(outside());
        }
        T::try_from(value).map_err(|_| Wrong::new("it is too large", hint()))
    }
}

/// Networks of IP addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Networks(pub(crate) Vec<IpNet>);

/// Addresses and networks, separated by commas.
pub(crate) fn networks(text: &str) -> Result<Networks, Wrong> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let read = |entry: &str| {
        let alone = || entry.parse::<IpAddr>().map(IpNet::from);
        entry.parse::<IpNet>().or_else(|_| alone()).map_err(|_| {
            Wrong::new(
                format!("{entry:?} is neither an address nor a network"),
                "give addresses or networks such as 10.0.0.0/8,fd00::/8,192.0.2.7",
            )
        })
    };
    entries.map(read).collect::<Result<_, _>>().map(Networks)
}

/// Host names, separated by commas, or all of them.
pub(crate) fn hosts(text: &str) -> Result<Hosts, Wrong> {
    text.parse().map_err(|error: gateway::http::hosts::InvalidHost| {
        Wrong::new(
            error.to_string(),
            "give names or addresses without scheme, port and path, such as shop.example,10.0.0.5, or *",
        )
    })
}

/// Sites, separated by commas, or all of them.
pub(crate) fn origins(text: &str) -> Result<Origins, Wrong> {
    text.parse().map_err(|entry| {
        Wrong::new(
            format!("{entry:?} is not an origin"),
            "give scheme and host, without a path, such as https://shop.example,http://localhost:8080, or *",
        )
    })
}

/// A share from 0 to 1.
pub(crate) fn share(text: &str) -> Result<f64, Wrong> {
    const HINT: &str = "give a number from 0 (never) to 1 (always) such as 0.1";
    let value: f64 = text.parse().map_err(|_| Wrong::new("it is not a number", HINT))?;
    if !(0.0..=1.0).contains(&value) {
        return Err(Wrong::new("it is not within 0 to 1", HINT));
    }
    Ok(value)
}

/// An ISO 4217 code.
pub(crate) fn currency(text: &str) -> Result<Currency, Wrong> {
    text.parse::<Currency>().map_err(|error| {
        Wrong::new(
            format!("it {error}"),
            "give the three capital letters of an ISO 4217 currency such as USD",
        )
    })
}

/// A point in time.
pub(crate) fn time(text: &str) -> Result<Timestamp, Wrong> {
    text.parse().map_err(|error| {
        Wrong::new(format!("it is {error}"), "give a time with its zone such as 2026-01-31T12:00:00Z")
    })
}

/// The id of an order.
pub(crate) fn order_id(text: &str) -> Result<OrderId, Wrong> {
    text.parse().map_err(|error| Wrong::new(format!("it is {error}"), "`orders dead-letters list` shows ids"))
}

/// A column of an order and its new value.
pub(crate) fn setting(text: &str) -> Result<Setting, Wrong> {
    text.parse().map_err(|error| Wrong::new(format!("it {error}"), "such as currency=EUR or priority=normal"))
}

/// So many in a second: `50/s`.
pub(crate) fn rate(text: &str) -> Result<u32, Wrong> {
    let count = text.strip_suffix("/s").unwrap_or(text);
    number(1, u64::from(gateway::orders::MAX_RATE))(count)
        .map_err(|wrong| Wrong::new(wrong.problem, "give a rate from 1/s to 10000/s, such as 50/s"))
}

/// The name of somebody who asks for something.
pub(crate) fn requester(text: &str) -> Result<String, Wrong> {
    match domain::text::check(text, domain::text::MAX_REQUESTER) {
        Ok(()) => Ok(text.to_owned()),
        Err(message) => Err(Wrong::new(format!("it {message}"), "give a name of 1 to 100 characters")),
    }
}

/// The start of our key names in Redis.
pub(crate) fn key_prefix(text: &str) -> Result<String, Wrong> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:{}".contains(c);
    if text.is_empty() || text.len() > 64 || !text.chars().all(allowed) {
        return Err(Wrong::new(
            "it is not a valid key prefix",
            "use 1 to 64 letters, digits and the characters - _ . : { }",
        ));
    }
    Ok(text.to_owned())
}

/// The name of a worker in logs and metrics.
pub(crate) fn worker_id(text: &str) -> Result<String, Wrong> {
    let allowed = |c: char| c.is_ascii_graphic();
    if text.is_empty() || text.len() > 100 || !text.chars().all(allowed) {
        return Err(Wrong::new("it is not a name", "use 1 to 100 printable ASCII characters without spaces"));
    }
    Ok(text.to_owned())
}
