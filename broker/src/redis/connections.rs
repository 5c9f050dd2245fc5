//! The connections to the servers of one URL with one user, which are replaced together.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deadpool::managed::{Pool, PoolError};
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ConnectionInfo, ErrorKind,
    RedisConnectionInfo, RedisError, TlsCertificates,
};
use tokio::sync::Mutex as AsyncMutex;
use tokio::time::{Instant, timeout};

use super::pool::{self, COMMAND_TIMEOUT, Manager};
use super::server_errors::{describe, describe_server_error};
use super::server_url::RedisUrl;
use super::topology::{Clients, Host, Routes, Topology, slot};
use crate::error::Error;

/// The interval of questions to sentinels and to nodes of a cluster.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

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

/// Why commands failed.
pub(super) enum Failure {
    /// The error of a connection or of a server.
    Server(RedisError),
    Other(Error),
}

/// The connections to the servers of one URL.
pub(super) struct Connections {
    /// The URL without its password, for messages.
    redacted_url: String,
    topology: Topology,
    factory: ClientFactory,
    state: Mutex<State>,
    /// Held by the caller that asks which servers there are.
    lookup: AsyncMutex<()>,
}

/// Makes clients for servers of one installation.
struct ClientFactory {
    /// With the user, and the address of one of the hosts.
    info: ConnectionInfo,
    certificates: RedisCertificates,
}

#[derive(Default)]
struct State {
    servers: HashMap<Host, Arc<Server>>,
    /// The server of a URL with one host.
    only: Option<Arc<Server>>,
    routes: Option<Arc<Routes>>,
    /// The host that gave the latest answer.
    answered: Option<Host>,
    asked_at: Option<Instant>,
}

/// The connections to one server.
pub(super) struct Server {
    /// For connections outside the pools: one for each subscription.
    pub(super) client: Client,
    pub(super) commands: Pool<Manager>,
    /// Separate from `commands`, because a blocking command blocks all others on its connection.
    pub(super) pulls: Pool<Manager>,
}

impl Server {
    fn new(client: Client) -> Self {
        let pool = |config, connections| pool::create_pool(&client, config, connections);
        let config = || AsyncConnectionConfig::new().set_connection_timeout(Some(COMMAND_TIMEOUT));
        let commands = pool(config().set_response_timeout(Some(COMMAND_TIMEOUT)), MAX_COMMAND_CONNECTIONS);
        // A pull waits longer than any other command and has its own deadline.
        let pulls = pool(config().set_response_timeout(None), MAX_PULL_CONNECTIONS);
        Self { client, commands, pulls }
    }
}

impl ClientFactory {
    fn create(&self, info: ConnectionInfo) -> redis::RedisResult<Client> {
        let RedisCertificates { authorities, certificate_and_key } = self.certificates.clone();
        if authorities.is_none() && certificate_and_key.is_none() {
            return Client::open(info);
        }
        let client_tls =
            certificate_and_key.map(|(client_cert, client_key)| ClientTlsConfig { client_cert, client_key });
        Client::build_with_tls(info, TlsCertificates { client_tls, root_cert: authorities })
    }
}

impl Clients for ClientFactory {
    fn client(&self, host: &Host, user: Option<RedisConnectionInfo>) -> Result<Client, String> {
        let Host { name, port } = host.clone();
        let addr = match self.info.addr() {
            ConnectionAddr::TcpTls { .. } => {
                ConnectionAddr::TcpTls { host: name, port, insecure: false, tls_params: None }
            }
            _ => ConnectionAddr::Tcp(name, port),
        };
        let mut info = self.info.clone().set_addr(addr);
        if let Some(user) = user {
            info = info.set_redis_settings(user);
        }
        self.create(info).map_err(|cause| describe(&cause))
    }
}

impl Connections {
    /// Prepares connections, without connecting.
    pub(super) fn new(url: &str, certificates: &RedisCertificates) -> Result<Self, Error> {
        let RedisUrl { info, redacted, tls, topology } = RedisUrl::parse(url)?;
        if tls {
            install_crypto_provider();
        } else if *certificates != RedisCertificates::default() {
            return Err(Error::InvalidUrl(format!(
                "the Redis URL {redacted} has no TLS, and certificates are set: use rediss://, rediss+sentinel:// or rediss+cluster://"
            )));
        }
        // The client library disables TCP_NODELAY by default. Without it, a command that follows an unacknowledged one
        // waits for the server's delayed acknowledgement.
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let factory = ClientFactory { info: info.clone(), certificates: certificates.clone() };
        // The certificates are read here as well for hosts that are found later.
        let client = factory
            .create(info)
            .map_err(|cause| Error::InvalidUrl(format!("the Redis URL {redacted}: {cause}")))?;
        let only = matches!(topology, Topology::Server).then(|| Arc::new(Server::new(client)));
        let state = Mutex::new(State { only, ..State::default() });
        Ok(Self { redacted_url: redacted, topology, factory, state, lookup: AsyncMutex::default() })
    }

    /// Returns whether the servers are nodes of a cluster.
    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.topology, Topology::Cluster(_))
    }

    /// Returns the server that has this key or channel.
    ///
    /// Sentinels and nodes are asked at first, after [`Self::forget_routes`], and when the latest answer is older than
    /// [`CHECK_INTERVAL`]: a server that was replaced may continue to respond.
    pub(super) async fn server(&self, key: &str) -> Result<Arc<Server>, Error> {
        let slot = slot(key);
        if let Some(known) = self.known_server(slot) {
            return known;
        }
        let lookup = async {
            let _lookup = self.lookup.lock().await;
            // Another caller may have asked meanwhile.
            match self.known_server(slot) {
                Some(known) => known,
                None => self.look_up(slot).await,
            }
        };
        timeout(COMMAND_TIMEOUT, lookup).await.unwrap_or_else(|_| Err(self.timeout_error()))
    }

    /// Returns the server if no one has to be asked.
    fn known_server(&self, slot: u16) -> Option<Result<Arc<Server>, Error>> {
        let mut state = self.state();
        if let Some(only) = &state.only {
            return Some(Ok(only.clone()));
        }
        let routes = state.routes.clone()?;
        if state.asked_at.is_none_or(|at| at.elapsed() >= CHECK_INTERVAL) {
            return None;
        }
        Some(self.route(&mut state, &routes, slot))
    }

    fn route(&self, state: &mut State, routes: &Routes, slot: u16) -> Result<Arc<Server>, Error> {
        let Some(host) = routes.server(slot) else {
            return Err(self.unavailable(format_args!("the cluster has no node for slot {slot}")));
        };
        if let Some(server) = state.servers.get(host) {
            return Ok(server.clone());
        }
        let client = self.factory.client(host, None).map_err(|problem| self.unavailable(problem))?;
        let server = Arc::new(Server::new(client));
        state.servers.insert(host.clone(), server.clone());
        Ok(server)
    }

    async fn look_up(&self, slot: u16) -> Result<Arc<Server>, Error> {
        let (latest, present) = {
            let state = self.state();
            (state.answered.clone(), state.routes.clone())
        };
        let answer = self.topology.find_servers(&self.factory, latest, present.as_deref()).await;
        let mut state = self.state();
        state.asked_at = Some(Instant::now());
        let routes = match (answer, present) {
            (Ok(answer), _) => {
                state.answered = Some(answer.host);
                let routes = Arc::new(answer.routes);
                state.servers.retain(|host, _| routes.contains(host));
                state.routes = Some(routes.clone());
                routes
            }
            // The servers may work while no one can be asked.
            (Err(_), Some(present)) => present,
            (Err(problem), None) => return Err(self.unavailable(problem)),
        };
        self.route(&mut state, &routes, slot)
    }

    /// Asks again before the next command: a server did not respond, or refused a command. The connections to servers that
    /// are still named stay: the error may concern one key or one command only.
    pub(super) fn forget_routes(&self) {
        self.state().asked_at = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

    pub(super) fn failure(&self, failure: Failure) -> Error {
        match failure {
            Failure::Server(cause) => self.command_error(&cause),
            Failure::Other(error) => error,
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

#[cfg(test)]
mod tests {
    use super::super::topology::{MAX_HOSTS, QUESTION_TIMEOUT};
    use super::CHECK_INTERVAL;

    #[test]
    fn documented_limits_are_the_limits() {
        limits_page::row("hosts in the URL of Redis", &MAX_HOSTS.to_string());
        limits_page::row(
            "question to a sentinel or a node for the present servers",
            &format!("{} ms, each {} s", QUESTION_TIMEOUT.as_millis(), CHECK_INTERVAL.as_secs()),
        );
    }
}
