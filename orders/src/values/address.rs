//! Addresses of this process, and the networks, hosts and origins that it accepts.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use gateway_http::{Hosts, Origins};
use ipnet::IpNet;

use super::ValueError;

/// An address to listen on: `host:port`. The host may be a name such as `localhost`; port 0 takes a free port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListenAddr(String);

impl ListenAddr {
    /// Returns the form that `TcpListener::bind` accepts.
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
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        const HINT: &str = "give an address and a port such as 127.0.0.1:3000; port 0 takes a free port";
        if text.parse::<SocketAddr>().is_ok() {
            return Ok(Self(text.to_owned()));
        }
        if text.contains("://") {
            return Err(ValueError::new("it is a URL and not an address", HINT));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(ValueError::new("the port is missing", HINT));
        };
        if port.parse::<u16>().is_err() {
            return Err(ValueError::new(format!("{port:?} is not a port (0 to 65535)"), HINT));
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.' || c == '_';
        if host.is_empty() || !host.chars().all(is_name) {
            return Err(ValueError::new(format!("{host:?} is not a host"), HINT));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Returns the address on which this machine connects to a listener. Loopback replaces the unspecified address.
pub(crate) fn connect_address(mut addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_unspecified() {
        match addr {
            SocketAddr::V4(_) => addr.set_ip(Ipv4Addr::LOCALHOST.into()),
            SocketAddr::V6(_) => addr.set_ip(Ipv6Addr::LOCALHOST.into()),
        }
    }
    addr
}

/// Networks of IP addresses. A separate type, because clap reads a `Vec` as a flag that can be repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IpNets(pub(crate) Vec<IpNet>);

/// Parses addresses and networks, separated by commas.
pub(crate) fn ip_nets(text: &str) -> Result<IpNets, ValueError> {
    let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
    let parse_entry = |entry: &str| {
        let parse_address = || entry.parse::<IpAddr>().map(IpNet::from);
        entry.parse::<IpNet>().or_else(|_| parse_address()).map_err(|_| {
            ValueError::new(
                format!("{entry:?} is neither an address nor a network"),
                "give addresses or networks such as 10.0.0.0/8,fd00::/8,192.0.2.7",
            )
        })
    };
    entries.map(parse_entry).collect::<Result<_, _>>().map(IpNets)
}

/// Parses host names, separated by commas, or `*`.
pub(crate) fn hosts(text: &str) -> Result<Hosts, ValueError> {
    text.parse().map_err(|error: gateway_http::hosts::InvalidHost| {
        ValueError::new(
            error.to_string(),
            "give names or addresses without scheme, port and path, such as shop.example,10.0.0.5, or *",
        )
    })
}

/// Parses origins, separated by commas, or `*`.
pub(crate) fn origins(text: &str) -> Result<Origins, ValueError> {
    text.parse().map_err(|entry| {
        ValueError::new(
            format!("{entry:?} is not an origin"),
            "give scheme and host, without a path, such as https://shop.example,http://localhost:8080, or *",
        )
    })
}
