//! The stream to one of the gateways. It is retried without end, and knows nothing of requests.

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use domain::Backoff;
use futures_util::future::join_all;
use hyper_util::rt::TokioIo;
use proto::v1::order_service_client::OrderServiceClient;
use proto::v1::{GatewayMessage, Hello, Welcome, WorkerMessage, gateway_message, worker_message};
use rand::seq::SliceRandom;
use secrecy::{ExposeSecret, SecretString};
use telemetry::LogThrottle;
use tls::ClientTls;
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status, Streaming};
use tower::service_fn;
use url::{Host, Url};

use crate::config::{Config, RETRY_DELAYS};
use crate::error::{Error, format_causes};
use crate::metrics;

/// The maximum duration of each step: name resolution, connect, and Welcome.
const STEP_TIMEOUT: Duration = Duration::from_secs(3);
/// A hanging gateway, or a network that drops all packets, is detected after the sum of both. On a slow connection, the
/// response to a ping is queued behind the data in transit, at most a receive window.
const PING_INTERVAL: Duration = Duration::from_secs(4);
const PING_TIMEOUT: Duration = Duration::from_secs(8);
/// The number of messages queued for the connection; further ones stay in the client.
const OUTBOUND_MESSAGES: usize = 4;
/// A full batch of orders of maximum size is smaller.
const MAX_MESSAGE_BYTES: usize = 256 << 20;
/// The receive window. It holds a batch of small orders, and limits the data ahead of a response on a slow connection.
const RECEIVE_WINDOW_BYTES: u32 = 128 << 10;
/// Maximum number of bytes that are read of a credential's file.
const MAX_TOKEN_BYTES: u64 = 16 * 1024;
/// The metadata with the credential.
const AUTHORIZATION: &str = "authorization";
/// With a shorter interval, a faulty gateway could occupy the worker with heartbeats alone.
const MIN_HEARTBEAT_INTERVAL: Duration = Duration::from_millis(10);

/// An open stream whose gateway has sent Welcome.
pub(crate) struct WorkStream {
    pub(crate) outbound: mpsc::Sender<WorkerMessage>,
    pub(crate) inbound: Streaming<GatewayMessage>,
    pub(crate) heartbeat_interval: Duration,
}

/// The addresses of the gateways, and the delays between attempts.
pub(crate) struct Gateways {
    gateways: Vec<Gateway>,
    worker_id: String,
    /// The value of `authorization`, which is not logged.
    authorization: Option<AsciiMetadataValue>,
    /// The file with the credential.
    token_file: Option<PathBuf>,
    backoff: Backoff,
    log: LogThrottle,
    /// The address that was used last; it is tried last.
    last_addr: Option<SocketAddr>,
}

#[derive(Clone)]
struct Gateway {
    host: Host,
    port: u16,
    /// The origin in requests, for all of its addresses.
    origin: Uri,
    /// `None` for `http://`.
    tls: Option<GatewayTls>,
}

/// The trust in a gateway, and its name in its certificate.
#[derive(Clone)]
struct GatewayTls {
    client: Arc<ClientTls>,
    name: ServerName<'static>,
}

#[derive(Debug, thiserror::Error)]
enum ConnectError {
    #[error("{host} cannot be resolved: {source}")]
    Resolve { host: String, source: std::io::Error },
    #[error("{addr}: {}", format_causes(.source))]
    Transport { addr: SocketAddr, source: tonic::transport::Error },
    #[error("{addr}: {}", format_status(.source))]
    Refused { addr: SocketAddr, source: Box<Status> },
    #[error("{addr}: it shuts down")]
    Draining { addr: SocketAddr },
    #[error("{addr}: answered with something else than Welcome")]
    NoWelcome { addr: SocketAddr },
    #[error("{what}: no answer within {STEP_TIMEOUT:?}")]
    TimedOut { what: String },
}

impl ConnectError {
    /// Returns whether another credential would help.
    fn is_refused_credential(&self) -> bool {
        matches!(self, Self::Refused { source, .. } if source.code() == Code::Unauthenticated)
    }
}

/// Formats the refusal of a gateway, or the reason why a connection broke, such as a refused client certificate.
fn format_status(status: &Status) -> String {
    match std::error::Error::source(status) {
        Some(cause) => format!("{}: {}", status.message(), format_causes(cause)),
        None => status.message().to_owned(),
    }
}

impl Gateways {
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let gateways = config
            .gateway_urls
            .iter()
            .map(|url| Gateway::parse(url, config.gateway_tls.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        if gateways.is_empty() {
            return Err(Error::invalid("gateway_urls", "must name at least one gateway"));
        }
        Ok(Self {
            gateways,
            worker_id: config.worker_id.clone(),
            authorization: config.token.as_ref().map(authorization).transpose()?,
            token_file: config.token_file.clone(),
            backoff: Backoff::new(RETRY_DELAYS),
            log: LogThrottle::default(),
            last_addr: None,
        })
    }

    /// Opens a stream to any gateway, and retries until it succeeds. Returns itself for the next connect.
    pub(crate) async fn connect(mut self) -> (Self, Box<WorkStream>) {
        loop {
            self.read_token();
            match self.try_all_addresses().await {
                Ok(stream) => return (self, Box::new(stream)),
                Err(error) if self.log.allow().is_some() => self.log_failure(&error),
                Err(_) => {}
            }
            sleep(self.backoff.next_delay()).await;
        }
    }

    fn log_failure(&self, error: &ConnectError) {
        match (&self.token_file, error.is_refused_credential()) {
            (_, false) => tracing::warn!(%error, "no gateway reachable, retrying"),
            (Some(file), true) => {
                let file = file.display();
                tracing::warn!(%error, %file, "the gateway refuses the credential: write a valid one to the file; retrying");
            }
            (None, true) => {
                tracing::warn!(
                    %error,
                    "the gateway refuses the credential: restart with a valid one, or use --token-file \
                     (ORDERS_TOKEN_FILE), which is read again; retrying"
                );
            }
        }
    }

    /// Reads the credential again, so that the next one takes over from one that has ended.
    fn read_token(&mut self) {
        let Some(file) = &self.token_file else { return };
        let read = read_file(file).map_err(|error| error.to_string());
        let value = read.and_then(|token| authorization(&token).map_err(|error| error.to_string()));
        match value {
            Ok(value) => self.authorization = Some(value),
            Err(error) => {
                tracing::warn!(file = %file.display(), error, "the key cannot be read again, using the previous one");
            }
        }
    }

    /// Opens a stream after one was lost.
    ///
    /// `got_response` states whether a response had arrived on the lost stream. A stream without one counts as a failure,
    /// so that a gateway that drains each new stream immediately is not tried in a busy loop.
    pub(crate) async fn reconnect(mut self, got_response: bool) -> (Self, Box<WorkStream>) {
        metrics::count_reconnect();
        if got_response {
            self.backoff.reset();
        }
        sleep(self.backoff.next_delay()).await;
        self.connect().await
    }

    /// Tries every address of every gateway once, in random order, the last used one at the end.
    async fn try_all_addresses(&mut self) -> Result<WorkStream, ConnectError> {
        let mut last_error = None;
        let mut targets = Vec::new();
        for (gateway, addrs) in join_all(self.gateways.iter().map(Gateway::resolve)).await {
            match addrs {
                Ok(addrs) => targets.extend(addrs.into_iter().map(|addr| (gateway, addr))),
                Err(error) => last_error = Some(error),
            }
        }
        targets.shuffle(&mut rand::rng());
        targets.sort_by_key(|(_, addr)| Some(*addr) == self.last_addr);
        for (gateway, addr) in targets {
            match gateway.open_stream(addr, &self.worker_id, self.authorization.clone()).await {
                Ok(stream) => {
                    tracing::info!(gateway = %gateway.origin, %addr, "connected to a gateway");
                    self.last_addr = Some(addr);
                    return Ok(stream);
                }
                Err(error) => last_error = Some(error),
            }
        }
        Err(last_error.unwrap_or(ConnectError::TimedOut { what: "the name service".to_owned() }))
    }
}

impl Gateway {
    fn parse(input: &str, tls: Option<&Arc<ClientTls>>) -> Result<Self, Error> {
        let invalid = |problem: &str| {
            Error::invalid("gateway_urls", format!("must be like http://host:50051: {problem}"))
        };
        let url = Url::parse(input).map_err(|error| invalid(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid("only http:// and https:// are supported"));
        }
        let only_host = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !only_host || !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("nothing but host and port is used"));
        }
        let host = url.host().ok_or_else(|| invalid("there is no host"))?.to_owned();
        let port = url.port_or_known_default().ok_or_else(|| invalid("there is no port"))?;
        let origin = format!("{}://{host}:{port}", url.scheme()).parse();
        let tls = if url.scheme() == "https" {
            let client = tls.ok_or_else(|| invalid("https:// needs gateway_tls"))?.clone();
            let name = ServerName::try_from(url.host_str().unwrap_or_default().trim_matches(['[', ']']));
            Some(GatewayTls { client, name: name.map_err(|_| invalid("the host is not usable"))?.to_owned() })
        } else {
            None
        };
        Ok(Self { origin: origin.map_err(|_| invalid("the host is not usable"))?, host, port, tls })
    }

    async fn resolve(&self) -> (&Self, Result<Vec<SocketAddr>, ConnectError>) {
        let addrs = match &self.host {
            Host::Ipv4(ip) => Ok(vec![SocketAddr::from((*ip, self.port))]),
            Host::Ipv6(ip) => Ok(vec![SocketAddr::from((*ip, self.port))]),
            Host::Domain(name) => {
                match timeout(STEP_TIMEOUT, lookup_host((name.as_str(), self.port))).await {
                    Ok(Ok(addrs)) => Ok(addrs.collect()),
                    Ok(Err(source)) => Err(ConnectError::Resolve { host: name.clone(), source }),
                    Err(_) => Err(ConnectError::TimedOut { what: format!("the name service for {name}") }),
                }
            }
        };
        (self, addrs)
    }

    async fn open_stream(
        &self,
        addr: SocketAddr,
        worker_id: &str,
        authorization: Option<AsciiMetadataValue>,
    ) -> Result<WorkStream, ConnectError> {
        let transport = |source| ConnectError::Transport { addr, source };
        let endpoint = Endpoint::from_shared(format!("http://{addr}"))
            .map_err(transport)?
            .origin(self.origin.clone())
            .tcp_nodelay(true)
            .connect_timeout(STEP_TIMEOUT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(RECEIVE_WINDOW_BYTES)
            .initial_connection_window_size(RECEIVE_WINDOW_BYTES);
        let channel = match &self.tls {
            None => endpoint.connect().await,
            Some(tls) => tls.connect(&endpoint, addr).await,
        };
        let channel = channel.map_err(transport)?;
        let mut client = OrderServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let (outbound, receiver) = mpsc::channel(OUTBOUND_MESSAGES);
        let hello = Hello { worker_id: worker_id.to_owned(), repeats_entries: true };
        let hello = WorkerMessage { request_id: 0, message: Some(worker_message::Message::Hello(hello)) };
        outbound.try_send(hello).expect("the channel is new and has room");
        let refused = |source| ConnectError::Refused { addr, source: Box::new(source) };
        let mut call = Request::new(ReceiverStream::new(receiver));
        if let Some(authorization) = authorization {
            call.metadata_mut().insert(AUTHORIZATION, authorization);
        }
        let handshake = async {
            let mut inbound = client.work(call).await?.into_inner();
            let first = inbound.message().await?;
            Ok((inbound, first))
        };
        let (inbound, first) = timeout(STEP_TIMEOUT, handshake)
            .await
            .map_err(|_| ConnectError::TimedOut { what: addr.to_string() })?
            .map_err(refused)?;
        match first.and_then(|first| first.message) {
            Some(gateway_message::Message::Welcome(Welcome { heartbeat_interval_ms, lease_ms: _ })) => {
                let heartbeat_interval =
                    Duration::from_millis(heartbeat_interval_ms).max(MIN_HEARTBEAT_INTERVAL);
                Ok(WorkStream { outbound, inbound, heartbeat_interval })
            }
            Some(gateway_message::Message::Drain(_)) => Err(ConnectError::Draining { addr }),
            _ => Err(ConnectError::NoWelcome { addr }),
        }
    }
}

impl GatewayTls {
    /// Connects with the files that were read last.
    async fn connect(
        &self,
        endpoint: &Endpoint,
        addr: SocketAddr,
    ) -> Result<Channel, tonic::transport::Error> {
        let tls = self.clone();
        let connector = service_fn(move |_: Uri| {
            let (client, name) = (tls.client.config(), tls.name.clone());
            async move {
                let stream = connect_tls(addr, TlsConnector::from(client), name).await?;
                Ok::<_, io::Error>(TokioIo::new(stream))
            }
        });
        endpoint.connect_with_connector(connector).await
    }
}

/// Connects and completes the handshake. The endpoint limits the time.
async fn connect_tls(
    addr: SocketAddr,
    connector: TlsConnector,
    name: ServerName<'static>,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    connector.connect(name, stream).await
}

/// Returns the credential in a file, without the line break at its end.
fn read_file(file: &Path) -> io::Result<SecretString> {
    let mut content = String::new();
    File::open(file)?.take(MAX_TOKEN_BYTES).read_to_string(&mut content)?;
    Ok(SecretString::from(content.trim_end_matches(['\r', '\n'])))
}

/// Returns the metadata with a credential.
fn authorization(token: &SecretString) -> Result<AsciiMetadataValue, Error> {
    let value = AsciiMetadataValue::try_from(format!("Bearer {}", token.expose_secret()));
    let mut value = value.map_err(|_| Error::invalid("token", "must be visible ASCII characters"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateway_urls_are_validated() {
        for valid in ["http://127.0.0.1:50051", "http://gateway:50051/", "http://[::1]:1", "http://a"] {
            assert!(Gateway::parse(valid, None).is_ok(), "{valid}");
        }
        for invalid in ["gateway:50051", "https://a:1", "http://a:1/path", "http://me@a:1", "", "http://"] {
            assert!(Gateway::parse(invalid, None).is_err(), "{invalid}");
        }
        let none = Config { gateway_urls: Vec::new(), ..Config::default() };
        assert!(Gateways::new(&none).is_err());
    }

    #[test]
    fn ipv6_address_keeps_its_brackets() {
        let gateway = Gateway::parse("http://[::1]:50051", None).unwrap();
        assert_eq!(gateway.origin.to_string(), "http://[::1]:50051/");
    }
}
