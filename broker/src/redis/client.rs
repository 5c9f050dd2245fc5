//! One installation of Redis with one key prefix, and the commands that run there.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use deadpool::managed::Object;
use redis::{FromRedisValue, Pipeline};
use tokio::sync::watch;
use tokio::time::timeout;

use super::connections::{Connections, Failure, RedisCertificates};
use super::pool::{self, COMMAND_TIMEOUT, Manager};
use super::server_errors::has_error_code;
use super::server_info::ServerInfo;
use crate::error::Error;

/// The default prefix of the keys: `orders:queue` and `orders:events`.
pub const DEFAULT_PREFIX: &str = "orders";

/// The interval of write checks while the length of the queue is requested.
const WRITE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// The maximum number of values in one command. A longer slice becomes several commands in one round trip.
pub(super) const MAX_VALUES_PER_COMMAND: usize = 500;

/// One installation of Redis and one key prefix. Clones are cheap and share the connections.
#[derive(Clone)]
pub struct Redis {
    pub(super) keys: Arc<Keys>,
    shared: Arc<Shared>,
}

/// The names of the keys and of the channel.
pub(super) struct Keys {
    pub(super) queue: String,
    pub(super) workers: String,
    pub(super) installations: String,
    pub(super) channel: String,
}

/// The URL with its password, and the certificates.
#[derive(Clone)]
struct Source {
    url: String,
    certificates: RedisCertificates,
}

struct Shared {
    connections: watch::Sender<Arc<Connections>>,
    /// What the present connections are made from.
    source: Mutex<Source>,
    /// The time of the latest successful write check.
    writable_at: Mutex<Option<Instant>>,
}

impl Redis {
    /// Prepares connections to the server at `url`, without connecting.
    ///
    /// The URL is `redis://host:port/db`, `rediss://…` for TLS (certificates as the system or `SSL_CERT_FILE` trusts
    /// them), `unix:///path/to/socket`, `redis+sentinel://host:port,…/primary/db` or `redis+cluster://host:port,…`. The
    /// names of keys and channels begin with `prefix`.
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
        let source = Source { url: url.to_owned(), certificates };
        let keys = Keys {
            queue: format!("{prefix}:queue"),
            workers: format!("{prefix}:workers"),
            installations: format!("{prefix}:installations"),
            channel: format!("{prefix}:events"),
        };
        Self::from_source(source, Arc::new(keys))
    }

    fn from_source(source: Source, keys: Arc<Keys>) -> Result<Self, Error> {
        let connections = Connections::new(&source.url, &source.certificates)?;
        let connections = watch::Sender::new(Arc::new(connections));
        let (source, writable_at) = (Mutex::new(source), Mutex::new(None));
        Ok(Self { keys, shared: Arc::new(Shared { connections, source, writable_at }) })
    }

    /// Replaces the server, the user and the password, for all clones.
    ///
    /// The new ones are [checked](Self::check) first. Commands in progress end on their connections, pulls and
    /// subscriptions change to new ones within a second. Jobs in the queue of another server stay there.
    ///
    /// # Errors
    /// As [`Redis::new`] and [`Redis::check`]; the present connections then stay in use.
    pub async fn replace_url(&self, url: &str) -> Result<(), Error> {
        self.replace(Source { url: url.to_owned(), ..self.source() }).await
    }

    /// Replaces the certificates, for all clones, as [`Self::replace_url`] replaces the URL.
    ///
    /// # Errors
    /// As [`Self::replace_url`].
    pub async fn replace_certificates(&self, certificates: RedisCertificates) -> Result<(), Error> {
        self.replace(Source { certificates, ..self.source() }).await
    }

    async fn replace(&self, source: Source) -> Result<(), Error> {
        let candidate = Self::from_source(source.clone(), self.keys.clone())?;
        candidate.check().await?;
        *self.shared.source.lock().unwrap_or_else(PoisonError::into_inner) = source;
        self.shared.connections.send_replace(candidate.connections());
        Ok(())
    }

    fn source(&self) -> Source {
        self.shared.source.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the present connections.
    pub(super) fn connections(&self) -> Arc<Connections> {
        self.shared.connections.borrow().clone()
    }

    /// Returns the present connections, and the requests to use others.
    pub(super) fn subscribe_connections(&self) -> watch::Receiver<Arc<Connections>> {
        self.shared.connections.subscribe()
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
        let (server, memory, cluster): (String, String, String) =
            self.run_commands(&self.keys.queue, &sections).await?;
        let connections = self.connections();
        let info = ServerInfo::parse(&server, &memory, &cluster, connections.is_cluster());
        let info = info.map_err(|reason| {
            Error::Unsupported(format!("Redis at {}: {reason}", connections.redacted_url()))
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
        commands.cmd("SETRANGE").arg(&self.keys.queue).arg(0).arg("").ignore();
        match self.try_commands::<()>(&self.keys.queue, &commands).await {
            Ok(()) => {}
            // The server checks the type last: the queue is a list, so WRONGTYPE means that it is writable. A user
            // without permission for the command gets the errors of its pushes.
            Err(Failure::Server(cause))
                if has_error_code(&cause, "WRONGTYPE") || has_error_code(&cause, "NOPERM") => {}
            Err(failure) => return Err(self.connections().failure(failure)),
        }
        *self.shared.writable_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Ok(())
    }

    /// Runs commands on one key or channel in one round trip, within the deadline.
    pub(super) async fn run_commands<T: FromRedisValue>(
        &self,
        key: &str,
        commands: &Pipeline,
    ) -> Result<T, Error> {
        let response = self.try_commands(key, commands).await;
        response.map_err(|failure| self.connections().failure(failure))
    }

    /// The same. A node of a cluster that no longer has the key executes nothing, so another one is tried.
    async fn try_commands<T: FromRedisValue>(&self, key: &str, commands: &Pipeline) -> Result<T, Failure> {
        let connections = self.connections();
        let call = async {
            let first = Self::run_once(&connections, key, commands).await;
            match first {
                Err(Failure::Server(cause))
                    if connections.is_cluster() && has_error_code(&cause, "MOVED") =>
                {
                    Self::run_once(&connections, key, commands).await
                }
                first => first,
            }
        };
        timeout(COMMAND_TIMEOUT, call).await.unwrap_or_else(|_| {
            connections.forget_routes();
            Err(Failure::Other(connections.timeout_error()))
        })
    }

    async fn run_once<T: FromRedisValue>(
        connections: &Connections,
        key: &str,
        commands: &Pipeline,
    ) -> Result<T, Failure> {
        let server = connections.server(key).await.map_err(Failure::Other)?;
        let mut used = DiscardedOnFailure(None);
        let response = async {
            let pooled = server
                .commands
                .get()
                .await
                .map_err(|cause| Failure::Other(connections.pool_error(&cause)))?;
            let connection = used.0.insert(pooled);
            commands.query_async(&mut **connection).await.map_err(Failure::Server)
        };
        let response = response.await;
        match &response {
            Ok(_) => drop(used.0.take()),
            // The server and the connection work.
            Err(Failure::Server(cause))
                if has_error_code(cause, "WRONGTYPE") || has_error_code(cause, "NOPERM") =>
            {
                drop(used.0.take());
            }
            Err(_) => connections.forget_routes(),
        }
        response
    }
}

/// A connection that is in use. If it is dropped, it is closed: it may be broken without an error on it yet.
struct DiscardedOnFailure(Option<Object<Manager>>);

impl Drop for DiscardedOnFailure {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            pool::discard(connection);
        }
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("url", &self.connections().redacted_url()).finish_non_exhaustive()
    }
}
