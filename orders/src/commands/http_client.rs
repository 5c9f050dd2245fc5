//! The HTTP client of the commands that send requests to a process of this program.

use std::time::Duration;

use crate::error::Error;

/// Creates a client without a proxy: gateways and processors are on the same network, and the environment's proxy is
/// for other hosts. `main` has installed the TLS provider.
pub(super) fn http_client(timeout: Duration) -> Result<reqwest::Client, Error> {
    reqwest::Client::builder()
        .timeout(timeout)
        .no_proxy()
        .tcp_nodelay(true)
        .build()
        .map_err(|error| Error::failed(format!("cannot create an HTTP client: {error}")))
}
