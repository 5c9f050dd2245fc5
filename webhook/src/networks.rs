//! Which addresses a request may reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// The maximum number of networks in a list.
pub const MAX_NETWORKS: usize = 64;

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

/// The IPv4 networks of the IANA registry that are not for public servers.
const SPECIAL_V4: &[Ipv4Net] = &[
    v4(0, 0, 0, 0, 8),          // this network
    v4(10, 0, 0, 0, 8),         // private
    v4(100, 64, 0, 0, 10),      // behind the address translation of a provider
    v4(127, 0, 0, 0, 8),        // loopback
    v4(169, 254, 0, 0, 16),     // link-local, with the metadata services of clouds
    v4(172, 16, 0, 0, 12),      // private
    v4(192, 0, 0, 0, 24),       // protocol assignments
    v4(192, 0, 2, 0, 24),       // documentation
    v4(192, 88, 99, 0, 24),     // relays of 6to4
    v4(192, 168, 0, 0, 16),     // private
    v4(198, 18, 0, 0, 15),      // benchmarks
    v4(198, 51, 100, 0, 24),    // documentation
    v4(203, 0, 113, 0, 24),     // documentation
    v4(224, 0, 0, 0, 4),        // multicast
    v4(240, 0, 0, 0, 4),        // reserved
    v4(255, 255, 255, 255, 32), // broadcast
];

/// The only part of IPv6 that is assigned to public servers.
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 0, 3);

/// The exceptions in [`GLOBAL_V6`].
const SPECIAL_V6: &[Ipv6Net] = &[
    v6(0x2001, 0, 0, 23),     // protocol assignments, with Teredo and benchmarks
    v6(0x2001, 0xdb8, 0, 32), // documentation
    v6(0x2002, 0, 0, 16),     // 6to4, which contains an IPv4 address
    v6(0x3fff, 0, 0, 20),     // documentation
];

/// IPv4 addresses as translators with DNS64 present them, in the last 32 bits.
const NAT64: Ipv6Net = v6(0x64, 0xff9b, 0, 96);

/// Returns whether an address is one of the public internet.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => !SPECIAL_V4.iter().any(|network| network.contains(&address)),
        IpAddr::V6(address) if NAT64.contains(&address) => {
            let [.., a, b, c, d] = address.octets();
            is_public(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
        }
        IpAddr::V6(address) => {
            GLOBAL_V6.contains(&address) && !SPECIAL_V6.iter().any(|network| network.contains(&address))
        }
    }
}

/// The networks that requests may reach although they are not public.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedNetworks(Arc<[IpNet]>);

/// The reason why a list of networks cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidNetwork {
    /// An entry is not a network.
    #[error("{0:?} is not a network: use the form 10.0.0.0/8 or fd00::/8, separated by commas")]
    Syntax(String),
    /// The list is too long.
    #[error("there are more than {MAX_NETWORKS} networks: combine them to larger ones")]
    TooMany,
}

impl AllowedNetworks {
    /// Returns the list with every address.
    pub fn all() -> Self {
        Self(Arc::new([
            IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0)),
            IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 0)),
        ]))
    }

    /// Returns whether no network is listed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether the address is in a listed network.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Returns whether a request may reach the address: it is public or in a listed network.
    pub fn permits(&self, address: IpAddr) -> bool {
        is_public(address) || self.contains(address)
    }
}

impl FromStr for AllowedNetworks {
    type Err = InvalidNetwork;

    /// Parses networks separated by commas. An address without a prefix is a network of one.
    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let parse = |entry: &str| {
            let network = entry.parse().or_else(|_| entry.parse::<IpAddr>().map(IpNet::from));
            network
                .map(|network: IpNet| network.trunc())
                .map_err(|_| InvalidNetwork::Syntax(entry.to_owned()))
        };
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let networks = entries.take(MAX_NETWORKS + 1).map(parse).collect::<Result<Arc<[_]>, _>>()?;
        if networks.len() > MAX_NETWORKS { Err(InvalidNetwork::TooMany) } else { Ok(Self(networks)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn special_addresses_are_not_public() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "10.255.255.255",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::8.8.8.8",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:0:8.8.8.8",
            "64:ff9b::127.0.0.1",
            "64:ff9b::169.254.169.254",
            "64:ff9b:1::8.8.8.8",
            "64:ff9b::1:8.8.8.8",
            "100::1",
            "100:0:0:1::1",
            "2001::1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "2002:808:808::1",
            "3fff::1",
            "3fff:fff::1",
            "4000::1",
            "5f00::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!is_public(ip(address)), "{address}");
        }
    }

    #[test]
    fn neighbours_of_special_networks_are_public() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "203.0.112.255",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2003::1",
            "2606:4700:4700::1111",
            "2a00:1450::1",
            "3ffe::1",
        ] {
            assert!(is_public(ip(address)), "{address}");
        }
    }

    #[test]
    fn listed_networks_are_permitted_in_addition() {
        let networks: AllowedNetworks = "10.1.0.0/16, fd00::/8,192.168.1.5".parse().unwrap();
        for (address, permitted) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("10.2.0.1", false),
            ("192.168.1.5", true),
            ("192.168.1.6", false),
            ("fd12::1", true),
            ("fc00::1", false),
            ("8.8.8.8", true),
            ("64:ff9b::10.1.2.3", false),
            ("127.0.0.1", false),
        ] {
            assert_eq!(networks.permits(ip(address)), permitted, "{address}");
        }
        assert!(!networks.contains(ip("8.8.8.8")));
        for address in ["127.0.0.1", "::1", "255.255.255.255", "8.8.8.8"] {
            assert!(AllowedNetworks::all().contains(ip(address)), "{address}");
            assert!(!AllowedNetworks::default().contains(ip(address)), "{address}");
        }
    }

    #[test]
    fn invalid_lists_are_refused() {
        for text in ["10.0.0.0/33", "10.0.0", "localhost", "10.0.0.0/8;fd00::/8", "fd00::/129"] {
            let problem = text.parse::<AllowedNetworks>().unwrap_err();
            assert_eq!(problem, InvalidNetwork::Syntax(text.to_owned()));
        }
        let list = |length| vec!["10.0.0.0/8"; length].join(",");
        assert_eq!(list(MAX_NETWORKS + 1).parse::<AllowedNetworks>(), Err(InvalidNetwork::TooMany));
        assert!(list(MAX_NETWORKS).parse::<AllowedNetworks>().is_ok());
        assert!("".parse::<AllowedNetworks>().unwrap().is_empty());
        // Bits of a host are ignored.
        assert_eq!("10.1.2.3/8".parse::<AllowedNetworks>(), "10.0.0.0/8".parse());
    }
}
