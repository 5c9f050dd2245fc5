//! The connections of processors and subscribers to gateways: addresses, TLS and the credential.
//!
//! A client asks for [`Gateways::targets`], and connects to one after the other until one answers. It knows no call.

mod error;

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use hyper_util::rt::TokioIo;
use rand::seq::SliceRandom;
use secrecy::{ExposeSecret, SecretString};
use telemetry::LogThrottle;
use tls::ClientTls;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::Request;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;
use url::{Host, Url};

pub use error::{ConnectError, InvalidSetting, format_causes, format_status};

/// The maximum duration of each step: name resolution, connect, and the first answer.
pub const STEP_TIMEOUT: Duration = Duration::from_secs(3);
/// A hanging gateway, or a network that drops all packets, is detected after the sum of both. On a slow connection, the
/// response to a ping is queued behind the data in transit, at most a receive window.
const PING_INTERVAL: Duration = Duration::from_secs(4);
const PING_TIMEOUT: Duration = Duration::from_secs(8);
/// The receive window. It holds a batch of small orders, and limits the data ahead of a response on a slow connection.
const RECEIVE_WINDOW_BYTES: u32 = 128 << 10;
/// Maximum number of bytes that are read of a credential's file.
const MAX_TOKEN_BYTES: u64 = 16 * 1024;
/// The metadata with the credential.
const AUTHORIZATION: &str = "authorization";

/// The settings of the connections.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The gateways, as `http://host:port`, or `https://host:port` for TLS.
    pub urls: Vec<String>,
    /// The authorities of `https://` gateways, and the certificate of this process.
    pub tls: Option<Arc<ClientTls>>,
    /// The credential.
    pub token: Option<SecretString>,
    /// A file with the credential, which replaces `token`.
    pub token_file: Option<PathBuf>,
}

/// The addresses of the gateways, and the credential for them.
pub struct Gateways {
    gateways: Vec<Gateway>,
    credential: Credential,
    log: LogThrottle,
    /// The address that was used last; it is tried last.
    last_addr: Option<SocketAddr>,
}

struct Credential {
    /// The value of `authorization`, which is not logged.
    value: Option<AsciiMetadataValue>,
    file: Option<PathBuf>,
}

/// One address of a gateway.
pub struct Target {
    gateway: Gateway,
    /// The address.
    pub addr: SocketAddr,
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

impl Gateways {
    /// Creates the list of the gateways, without a connection.
    ///
    /// # Errors
    /// [`InvalidSetting`].
    pub fn new(settings: &Settings) -> Result<Self, InvalidSetting> {
        let parse = |url: &String| Gateway::parse(url, settings.tls.as_ref());
        let gateways = settings.urls.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        if gateways.is_empty() {
            return Err(InvalidSetting::new("gateway_urls", "must name at least one gateway"));
        }
        let value = settings.token.as_ref().map(authorization).transpose()?;
        let credential = Credential { value, file: settings.token_file.clone() };
        Ok(Self { gateways, credential, log: LogThrottle::default(), last_addr: None })
    }

    /// Returns every address of every gateway in random order, the last used one at the end.
    ///
    /// # Errors
    /// The last error of the name service, if there is no address.
    pub async fn targets(&self) -> Result<Vec<Target>, ConnectError> {
        let mut last_error = None;
        let mut targets = Vec::new();
        for (gateway, addrs) in join_all(self.gateways.iter().map(Gateway::resolve)).await {
            match addrs {
                Ok(addrs) => {
                    targets.extend(addrs.into_iter().map(|addr| Target { gateway: gateway.clone(), addr }));
                }
                Err(error) => last_error = Some(error),
            }
        }
        if targets.is_empty() {
            let none = || ConnectError::TimedOut { what: "the name service".to_owned() };
            return Err(last_error.unwrap_or_else(none));
        }
        targets.shuffle(&mut rand::rng());
        targets.sort_by_key(|target| Some(target.addr) == self.last_addr);
        Ok(targets)
    }

    /// Records that a target is used.
    pub fn connected(&mut self, target: &Target) {
        tracing::info!(gateway = %target.gateway.origin, addr = %target.addr, "connected to a gateway");
        self.last_addr = Some(target.addr);
    }

    /// Logs at a limited rate that no gateway can be used.
    pub fn log_failure(&self, error: &ConnectError) {
        if self.log.allow().is_none() {
            return;
        }
        match (&self.credential.file, error.is_refused_credential()) {
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

    /// Returns whether the credential is read again before each connect.
    #[must_use]
    pub fn rereads_credential(&self) -> bool {
        self.credential.file.is_some()
    }

    /// Reads the credential again, so that the next one takes over from one that has ended.
    pub fn read_token(&mut self) {
        let Some(file) = &self.credential.file else { return };
        let read = read_file(file).map_err(|error| error.to_string());
        let value = read.and_then(|token| authorization(&token).map_err(|error| error.to_string()));
        match value {
            Ok(value) => self.credential.value = Some(value),
            Err(error) => {
                tracing::warn!(file = %file.display(), error, "the key cannot be read again, using the previous one");
            }
        }
    }

    /// Adds the credential to a call.
    pub fn authorize<T>(&self, call: &mut Request<T>) {
        if let Some(value) = &self.credential.value {
            call.metadata_mut().insert(AUTHORIZATION, value.clone());
        }
    }
}

impl Target {
    /// Opens a connection.
    ///
    /// # Errors
    /// [`ConnectError::Transport`].
    pub async fn connect(&self) -> Result<Channel, ConnectError> {
        let Self { gateway, addr } = self;
        let addr = *addr;
        let transport = |source| ConnectError::Transport { addr, source };
        let endpoint = Endpoint::from_shared(format!("http://{addr}"))
            .map_err(transport)?
            .origin(gateway.origin.clone())
            .tcp_nodelay(true)
            .connect_timeout(STEP_TIMEOUT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(RECEIVE_WINDOW_BYTES)
            .initial_connection_window_size(RECEIVE_WINDOW_BYTES);
        let channel = match &gateway.tls {
            None => endpoint.connect().await,
            Some(tls) => tls.connect(&endpoint, addr).await,
        };
        channel.map_err(transport)
    }
}

impl Gateway {
    fn parse(input: &str, tls: Option<&Arc<ClientTls>>) -> Result<Self, InvalidSetting> {
        let invalid = |problem: &str| {
            InvalidSetting::new("gateway_urls", format!("must be like http://host:50051: {problem}"))
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
fn authorization(token: &SecretString) -> Result<AsciiMetadataValue, InvalidSetting> {
    let value = AsciiMetadataValue::try_from(format!("Bearer {}", token.expose_secret()));
    let mut value = value.map_err(|_| InvalidSetting::new("token", "must be visible ASCII characters"))?;
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
        assert!(Gateways::new(&Settings::default()).is_err());
    }

    #[test]
    fn ipv6_address_keeps_its_brackets() {
        let gateway = Gateway::parse("http://[::1]:50051", None).unwrap();
        assert_eq!(gateway.origin.to_string(), "http://[::1]:50051/");
    }
}
