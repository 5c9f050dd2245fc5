//! The connections to one Redis server, and the commands that run on them.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use deadpool::managed::{Pool, PoolError};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ErrorKind, FromRedisValue, Pipeline, RedisError,
    RedisResult, TlsCertificates,
};

use super::pool::{self, COMMAND_TIMEOUT, Manager};
use super::server_errors::{describe_server_error, has_error_code};
use super::server_info::ServerInfo;
use super::url::RedisUrl;
use crate::error::Error;

/// The default prefix of the keys: `orders:queue` and `orders:events`.
pub const DEFAULT_PREFIX: &str = "orders";

/// The interval of write checks while the length of the queue is requested.
const WRITE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The maximum number of values in one command. A longer slice becomes several commands in one round trip.
pub(super) const MAX_VALUES_PER_COMMAND: usize = 500;

/// Connections for commands that respond immediately.
const MAX_COMMAND_CONNECTIONS: usize = 8;

/// Connections for pulls; each pull occupies one while it waits.
const MAX_PULL_CONNECTIONS: usize = 64;

/// Certificates for `rediss://`, in PEM form.
#[derive(Clone, Default)]
pub struct RedisCertificates {
    /// The trusted authorities, in place of those of the system.
    pub authorities: Option<Vec<u8>>,
    /// The certificate and the key of this client.
    pub certificate_and_key: Option<(Vec<u8>, Vec<u8>)>,
}

/// One Redis server and one key prefix. Clones are cheap and share the connections.
#[derive(Clone)]
pub struct Redis {
    pub(super) shared: Arc<Shared>,
}

pub(super) struct Shared {
    /// The URL without its password, for messages.
    redacted_url: String,
    /// For connections outside the pools: one for each subscription.
    pub(super) client: Client,
    commands: Pool<Manager>,
    /// Separate from `commands`, because a blocking command blocks all others on its connection.
    pub(super) pulls: Pool<Manager>,
    pub(super) queue_key: String,
    pub(super) workers_key: String,
    pub(super) installations_key: String,
    pub(super) channel: String,
    /// The time of the latest successful write check.
    writable_at: Mutex<Option<Instant>>,
}

impl Redis {
    /// Prepares connections to the server at `url`, without connecting.
    ///
    /// The URL is `redis://host:port/db`, `rediss://…` for TLS (certificates as the system or `SSL_CERT_FILE` trusts
    /// them), or `unix:///path/to/socket`. The names of keys and channels begin with `prefix`.
    ///
    /// # Errors
    /// [`Error::InvalidUrl`], which states what to change.
    pub fn new(url: &str, prefix: &str) -> Result<Self, Error> {
        Self::with_certificates(url, prefix, RedisCertificates::default())
    }

    /// The same with certificates for `rediss://`.
    ///
    /// # Errors
    /// [`Error::InvalidUrl`] as well if a certificate is unusable, or the URL has no TLS.
    pub fn with_certificates(
        url: &str,
        prefix: &str,
        certificates: RedisCertificates,
    ) -> Result<Self, Error> {
        let RedisUrl { info, redacted, tls } = RedisUrl::parse(url)?;
        if tls {
            install_crypto_provider();
        }
        let unusable = |cause: RedisError| Error::InvalidUrl(format!("the Redis URL {redacted}: {cause}"));
        // The client library disables TCP_NODELAY by default. Without it, a command that follows an unacknowledged one
        // waits for the server's delayed acknowledgement.
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let RedisCertificates { authorities, certificate_and_key } = certificates;
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
        Ok(Self {
            shared: Arc::new(Shared {
                redacted_url: redacted,
                client,
                commands,
                pulls,
                queue_key: format!("{prefix}:queue"),
                workers_key: format!("{prefix}:workers"),
                installations_key: format!("{prefix}:installations"),
                channel: format!("{prefix}:events"),
                writable_at: Mutex::new(None),
            }),
        })
    }

    /// Requests the server's version and settings, and checks that it accepts writes.
    ///
    /// For the start and for readiness. The caller logs the warnings; nothing is logged here.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if it cannot be reached or rejects jobs, [`Error::Unsupported`] if it is too old.
    pub async fn check(&self) -> Result<ServerInfo, Error> {
        let mut sections = redis::pipe();
        // One command for each section, because servers before Redis 7 accept no list of sections.
        sections.cmd("INFO").arg("server").cmd("INFO").arg("memory").cmd("INFO").arg("cluster");
        let (server, memory, cluster): (String, String, String) = self.run_commands(&sections).await?;
        let info = ServerInfo::parse(&server, &memory, &cluster).map_err(|reason| {
            Error::Unsupported(format!("Redis at {}: {reason}", self.shared.redacted_url))
        })?;
        self.check_writable().await?;
        Ok(info)
    }

    /// Checks for writability, at most once per [`WRITE_CHECK_INTERVAL`].
    pub(super) async fn check_writable_if_due(&self) -> Result<(), Error> {
        let writable_at = *self.shared.writable_at.lock().unwrap_or_else(PoisonError::into_inner);
        if writable_at.is_some_and(|at| at.elapsed() < WRITE_CHECK_INTERVAL) {
            return Ok(());
        }
        self.check_writable().await
    }

    /// Sends a write to the queue's key that changes nothing.
    /// A replica, a cluster node without the key and a server without memory accept reads and reject this write.
    async fn check_writable(&self) -> Result<(), Error> {
        let mut commands = redis::pipe();
        commands.cmd("SETRANGE").arg(&self.shared.queue_key).arg(0).arg("").ignore_errors();
        let responses: Vec<RedisResult<redis::Value>> = self.run_commands(&commands).await?;
        if let Some(Err(cause)) = responses.first() {
            // The server checks the type last: the queue is a list, so WRONGTYPE means that it is writable. A user
            // without permission for the command gets the errors of its pushes.
            if !has_error_code(cause, "WRONGTYPE") && !has_error_code(cause, "NOPERM") {
                self.shared.commands.retain(|_, _| false);
                return Err(self.command_error(cause));
            }
        }
        *self.shared.writable_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Ok(())
    }

    /// Runs commands in one round trip, within the deadline.
    pub(super) async fn run_commands<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, Error> {
        let mut used = None;
        let call = async {
            let pooled = self.shared.commands.get().await.map_err(|cause| self.pool_error(&cause))?;
            let connection = used.insert(pooled);
            commands.query_async(&mut **connection).await.map_err(|cause| self.command_error(&cause))
        };
        let response =
            tokio::time::timeout(COMMAND_TIMEOUT, call).await.unwrap_or_else(|_| Err(self.timeout_error()));
        if let (Err(_), Some(connection)) = (&response, used) {
            // The connection may be broken without an error on it yet.
            pool::discard(connection);
        }
        response
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
        Error::Unavailable(format!("Redis at {}: {reason}", self.shared.redacted_url))
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("url", &self.shared.redacted_url).finish_non_exhaustive()
    }
}

/// Installs the process-wide TLS provider that the Redis client requires, unless the program has installed one.
fn install_crypto_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // If another thread installed it first, the result is the same.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}
