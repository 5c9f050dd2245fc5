//! The URL of a receiver.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url};

use crate::networks::AllowedNetworks;

/// The maximum length of a URL.
pub const MAX_URL_BYTES: usize = 2_000;

/// A checked URL, `https` or `http`.
///
/// The check covers what the URL itself says. A name is resolved and checked by each connection.
#[derive(Clone, PartialEq, Eq)]
pub struct EndpointUrl(Url);

/// The reason why a URL is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UrlProblem {
    /// It is longer than [`MAX_URL_BYTES`].
    #[error("is longer than {MAX_URL_BYTES} bytes: use a shorter URL")]
    TooLong,
    /// It is not a URL.
    #[error("is not a URL ({0}): use the form https://host/path")]
    Syntax(url::ParseError),
    /// It is neither `https` nor `http`.
    #[error("must start with https://")]
    Scheme,
    /// It is `http`, and its host is in no network that permits this.
    #[error("must start with https://, because http:// is only for hosts in allowed networks")]
    NotEncrypted,
    /// It contains a user or a password.
    #[error("contains a user or a password: remove them; requests are verified by their signature")]
    Credentials,
    /// It contains a fragment.
    #[error("contains a fragment, which is never sent: remove # and what follows")]
    Fragment,
    /// The port is one of other services.
    #[error("has the port {0}: use 443, 80, or 1024 to 65535")]
    Port(u16),
    /// The host is an address that is not permitted.
    #[error("has an address that is not public: use the public name of the receiver")]
    Address,
}

impl EndpointUrl {
    /// Parses the URL of a client of the system.
    ///
    /// # Errors
    /// A [`UrlProblem`] for a URL that must not be used.
    pub fn parse(text: &str, allowed: &AllowedNetworks) -> Result<Self, UrlProblem> {
        let url = Self::of_operator(text)?;
        if !url.0.username().is_empty() || url.0.password().is_some() {
            return Err(UrlProblem::Credentials);
        }
        if url.0.fragment().is_some() {
            return Err(UrlProblem::Fragment);
        }
        let port = url.0.port_or_known_default().unwrap_or_default();
        if !matches!(port, 80 | 443 | 1024..) {
            return Err(UrlProblem::Port(port));
        }
        url.check_address(allowed)?;
        // A name could be in an allowed network, which only the connection knows.
        if url.is_plain() && allowed.is_empty() {
            return Err(UrlProblem::NotEncrypted);
        }
        Ok(url)
    }

    /// Parses a URL of the operator, who may reach any port and use a password.
    ///
    /// # Errors
    /// If it is too long, not a URL, or neither `http` nor `https`.
    pub fn of_operator(text: &str) -> Result<Self, UrlProblem> {
        if text.len() > MAX_URL_BYTES {
            return Err(UrlProblem::TooLong);
        }
        let url = Url::parse(text).map_err(UrlProblem::Syntax)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(UrlProblem::Scheme);
        }
        // Percent-encoding can make it longer.
        if url.as_str().len() > MAX_URL_BYTES {
            return Err(UrlProblem::TooLong);
        }
        Ok(Self(url))
    }

    /// Returns the whole URL, whose path and query may contain a secret.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Returns the name or the address of the host.
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    pub(crate) fn url(&self) -> &Url {
        &self.0
    }

    /// Returns whether the connection is not encrypted.
    pub(crate) fn is_plain(&self) -> bool {
        self.0.scheme() == "http"
    }

    /// Checks the address of a URL that has one in place of a name, in any spelling.
    pub(crate) fn check_address(&self, allowed: &AllowedNetworks) -> Result<(), UrlProblem> {
        let address = match self.0.host() {
            Some(Host::Ipv4(address)) => IpAddr::V4(address),
            Some(Host::Ipv6(address)) => IpAddr::V6(address),
            Some(Host::Domain(_)) | None => return Ok(()),
        };
        if !allowed.permits(address) {
            return Err(UrlProblem::Address);
        }
        if self.is_plain() && !allowed.contains(address) {
            return Err(UrlProblem::NotEncrypted);
        }
        Ok(())
    }
}

/// Omits the credentials, the path and the query, which may contain a secret.
impl fmt::Debug for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/…", self.0.scheme(), self.host())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str, allowed: &str) -> Option<UrlProblem> {
        EndpointUrl::parse(text, &allowed.parse().unwrap()).err()
    }

    #[test]
    fn public_urls_are_accepted() {
        for url in [
            "https://hooks.example/orders?key=1",
            "https://hooks.example:8443/",
            "https://hooks.example:80/",
            "HTTPS://HOOKS.EXAMPLE",
            "https://8.8.8.8/",
            "https://[2606:4700:4700::1111]:1024/",
            // These names are resolved and refused by the connection.
            "https://localhost/",
            "https://metadata.google.internal/",
        ] {
            assert_eq!(problem(url, ""), None, "{url}");
        }
    }

    #[test]
    fn unusable_urls_are_refused_with_their_problem() {
        let long = format!("https://host/{}", "a".repeat(MAX_URL_BYTES));
        let grows = format!("https://host/{}", "ä".repeat(MAX_URL_BYTES / 3));
        for (url, expected) in [
            (long.as_str(), UrlProblem::TooLong),
            (&grows, UrlProblem::TooLong),
            ("", UrlProblem::Syntax(url::ParseError::RelativeUrlWithoutBase)),
            ("/orders", UrlProblem::Syntax(url::ParseError::RelativeUrlWithoutBase)),
            ("https://", UrlProblem::Syntax(url::ParseError::EmptyHost)),
            ("https://host:99999/", UrlProblem::Syntax(url::ParseError::InvalidPort)),
            ("ftp://host/", UrlProblem::Scheme),
            ("file:///etc/passwd", UrlProblem::Scheme),
            ("http://host/", UrlProblem::NotEncrypted),
            ("http://8.8.8.8/", UrlProblem::NotEncrypted),
            ("https://user@host/", UrlProblem::Credentials),
            ("https://:password@host/", UrlProblem::Credentials),
            ("https://host/#part", UrlProblem::Fragment),
            ("https://host:22/", UrlProblem::Port(22)),
            ("https://host:0/", UrlProblem::Port(0)),
            ("https://host:1023/", UrlProblem::Port(1023)),
        ] {
            assert_eq!(problem(url, ""), Some(expected), "{url}");
        }
    }

    #[test]
    fn addresses_in_any_spelling_are_checked() {
        for host in [
            "127.0.0.1",
            "0x7f.1",
            "2130706433",
            "0177.0.0.1",
            "127.1",
            "127.0.0.1.",
            "%31%32%37.0.0.1",
            "１２７.0.0.1",
            "169.254.169.254",
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[0:0:0:0:0:ffff:7f00:1]",
            "0",
            "[64:ff9b::a9fe:a9fe]",
            "[2002:7f00:1::]",
        ] {
            assert_eq!(problem(&format!("https://{host}/"), ""), Some(UrlProblem::Address), "{host}");
        }
    }

    #[test]
    fn allowed_networks_permit_internal_addresses_and_plain_http() {
        let allowed = "127.0.0.0/8";
        for url in ["https://127.0.0.1/", "http://127.0.0.1:8080/", "http://2130706433/", "http://internal/"]
        {
            assert_eq!(problem(url, allowed), None, "{url}");
        }
        assert_eq!(problem("http://10.0.0.1/", allowed), Some(UrlProblem::Address));
        assert_eq!(problem("http://8.8.8.8/", allowed), Some(UrlProblem::NotEncrypted));
    }

    #[test]
    fn debug_omits_secrets() {
        let url = EndpointUrl::of_operator("https://user:word@host:81/path?key=hidden").unwrap();
        assert_eq!(format!("{url:?}"), "https://host/…");
        assert_eq!(url.as_str(), "https://user:word@host:81/path?key=hidden");
    }
}
