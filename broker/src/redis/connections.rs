//! The connections to one server with one user, which are replaced together.

use std::fmt;

use deadpool::managed::{Pool, PoolError};
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, ClientTlsConfig, ErrorKind, RedisError, TlsCertificates};

use super::pool::{self, COMMAND_TIMEOUT, Manager};
use super::server_errors::describe_server_error;
use super::url::RedisUrl;
use crate::error::Error;

/// Connections for commands that respond immediately.
const MAX_COMMAND_CONNECTIONS: usize = 8;

/// Connections for pulls; each pull occupies one while it waits.
const MAX_PULL_CONNECTIONS: usize = 64;

/// Certificates for `rediss://`, in PEM form.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RedisCertificates {
    /// The trusted authorities, in place of those of the system.
    pub authorities: Option<Vec<u8>>,
    /// The certificate and the key of this client.
    pub certificate_and_key: Option<(Vec<u8>, Vec<u8>)>,
}

/// The connections to one server with one user.
pub(super) struct Connections {
    /// The URL without its password, for messages.
    redacted_url: String,
    /// For connections outside the pools: one for each subscription.
    pub(super) client: Client,
    pub(super) commands: Pool<Manager>,
    /// Separate from `commands`, because a blocking command blocks all others on its connection.
    pub(super) pulls: Pool<Manager>,
}

impl Connections {
    /// Prepares connections, without connecting.
    pub(super) fn new(url: &str, certificates: &RedisCertificates) -> Result<Self, Error> {
        let RedisUrl { info, redacted, tls } = RedisUrl::parse(url)?;
        if tls {
            install_crypto_provider();
        }
        let unusable = |cause: RedisError| Error::InvalidUrl(format!("the Redis URL {redacted}: {cause}"));
        // The client library disables TCP_NODELAY by default. Without it, a command that follows an unacknowledged one
        // waits for the server's delayed acknowledgement.
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let RedisCertificates { authorities, certificate_and_key } = certificates.clone();
        let client = if authorities.is_none() && certificate_and_key.is_none() {
            Client::open(info)
        } else if tls {
            let client_tls = certificate_and_key
                .map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
            Client::build_with_tls(info, TlsCertificates { client_tls, root_cert: authorities })
        } else {
            return Err(Error::InvalidUrl(format!(
                "the Redis URL {redacted} has no TLS, and certificates are set: use rediss://"
            )));
        };
        let client = client.map_err(unusable)?;
        let pool = |config, connections| pool::create_pool(&client, config, connections);
        let config = || AsyncConnectionConfig::new().set_connection_timeout(Some(COMMAND_TIMEOUT));
        let commands = pool(config().set_response_timeout(Some(COMMAND_TIMEOUT)), MAX_COMMAND_CONNECTIONS);
        // A pull waits longer than any other command and has its own deadline.
        let pulls = pool(config().set_response_timeout(None), MAX_PULL_CONNECTIONS);
        Ok(Self { redacted_url: redacted, client, commands, pulls })
    }

    /// Returns the URL without its password.
    pub(super) fn redacted_url(&self) -> &str {
        &self.redacted_url
    }

    pub(super) fn pool_error(&self, cause: &PoolError<RedisError>) -> Error {
        match cause {
            PoolError::Backend(cause) => self.command_error(cause),
            PoolError::Timeout(_) => self.timeout_error(),
            PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => {
                self.unavailable(cause)
            }
        }
    }

    pub(super) fn command_error(&self, cause: &RedisError) -> Error {
        if cause.is_timeout() {
            self.timeout_error()
        } else if cause.kind() == ErrorKind::AuthenticationFailed {
            self.unavailable("it refuses the user name or password (WRONGPASS)")
        } else if let Some(description) = describe_server_error(cause) {
            self.unavailable(description)
        } else {
            self.unavailable(cause)
        }
    }

    pub(super) fn timeout_error(&self) -> Error {
        self.unavailable(format_args!("no response within {} s", COMMAND_TIMEOUT.as_secs()))
    }

    pub(super) fn unavailable(&self, reason: impl fmt::Display) -> Error {
        Error::Unavailable(format!("Redis at {}: {reason}", self.redacted_url))
    }
}

/// Installs the process-wide TLS provider that the Redis client requires, unless the program has installed one.
fn install_crypto_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // If another thread installed it first, the result is the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
