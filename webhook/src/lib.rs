//! One signed HTTP request to a receiver of webhooks, as [Standard Webhooks] 1.0.0 defines it.
//!
//! [`Client::post`] sends the request, [`Secret`] and [`sign`] sign it, [`EndpointUrl`] is a checked URL, and
//! [`AllowedNetworks`] contains the networks that are permitted although they are not public. The crate knows no order
//! and stores nothing; when a request is repeated is a decision of its callers.
//!
//! A URL may come from a client of the system, who must not reach the internal network through it. Each address is
//! checked at the moment of the connection, so a name that resolves to another address later is refused as well.
//!
//! [Standard Webhooks]: https://www.standardwebhooks.com

mod client;
mod networks;
mod resolver;
mod response;
mod secret;
mod signature;
mod url;

pub use reqwest::dns;
pub use reqwest::header;

pub use self::client::{Client, Error, Request};
pub use self::networks::{AllowedNetworks, InvalidNetwork, MAX_NETWORKS, is_public};
pub use self::response::{MAX_KEPT_BYTES, MAX_READ_BYTES, Outcome, OutcomeKind};
pub use self::secret::{InvalidSecret, Secret};
pub use self::signature::{HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, MAX_SECRETS, sign};
pub use self::url::{EndpointUrl, MAX_URL_BYTES, UrlProblem};

#[cfg(test)]
mod tests {
    use limits_page::{bytes, count, row, time};

    #[test]
    fn limits_are_documented() {
        use crate::{client, networks, resolver, response, secret, signature, url};

        row("secrets of a webhook at the same time", &count(signature::MAX_SECRETS));
        let (least, most) = secret::BYTES.into_inner();
        row("secret of a webhook", &format!("{least} to {most} bytes"));
        row("URL of a webhook", &format!("{} bytes", count(url::MAX_URL_BYTES)));
        row("networks that webhooks may reach although they are not public", &count(networks::MAX_NETWORKS));
        row("time until the connection to a webhook is open", &time(client::CONNECT_TIMEOUT));
        let idle = format!("{}; closed after {}", client::MAX_IDLE_CONNECTIONS, time(client::IDLE_TIMEOUT));
        row("idle connections to a webhook", &idle);
        row("addresses of a webhook's name that are tried", &count(resolver::MAX_ADDRESSES));
        row("concurrent lookups of webhooks' names", &count(resolver::MAX_LOOKUPS));
        let (read, kept) = (bytes(response::MAX_READ_BYTES), bytes(response::MAX_KEPT_BYTES));
        row("response of a webhook", &format!("{read} are read, {kept} is kept"));
    }
}
