//! Opening the stream to one of the gateways. Tries for ever; knows nothing of requests.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use proto::v1::order_service_client::OrderServiceClient;
use proto::v1::{GatewayMessage, Hello, Welcome, WorkerMessage, gateway_message, worker_message};
use rand::seq::SliceRandom;
use tokio::net::lookup_host;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Endpoint, Uri};
use tonic::{Status, Streaming};
use url::{Host, Url};

use crate::backoff::Backoff;
use crate::error::chain;
use crate::{Config, Error, metrics};

/// For the name, the connection and the Welcome, each.
const STEP_TIMEOUT: Duration = Duration::from_secs(3);
/// A gateway that hangs, or a network that drops everything, is noticed after the sum of both. On a slow connection
/// a ping is answered behind the data that is in transit, at most a receive window.
const PING_INTERVAL: Duration = Duration::from_secs(4);
const PING_TIMEOUT: Duration = Duration::from_secs(8);
/// Messages on their way into the connection; more wait in the client.
const OUTBOUND: usize = 4;
/// A full batch of the largest orders is below this.
const MAX_MESSAGE_BYTES: usize = 256 << 20;
/// Receive window. A batch of small orders fits, and on a slow connection an answer waits behind no more than this.
const WINDOW_BYTES: u32 = 128 << 10;
/// Below this a wrong gateway would make the worker do nothing but heartbeats.
const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(10);

/// An open stream on which the gateway has said Welcome.
pub(crate) struct Stream {
    pub(crate) outbound: mpsc::Sender<WorkerMessage>,
    pub(crate) inbound: Streaming<GatewayMessage>,
    pub(crate) heartbeat_interval: Duration,
}

/// Where the gateways are, and how patient to be with them.
pub(crate) struct Gateways {
    gateways: Vec<Gateway>,
    worker_id: String,
    backoff: Backoff,
    /// The address that was used last; it is tried last.
    last: Option<SocketAddr>,
}

#[derive(Clone)]
struct Gateway {
    host: Host,
    port: u16,
    /// What requests call it, whichever of its addresses is used.
    origin: Uri,
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{host} cannot be resolved: {source}")]
    Resolve { host: String, source: std::io::Error },
    #[error("{addr}: {}", chain(.source))]
    Transport { addr: SocketAddr, source: tonic::transport::Error },
    #[error("{addr}: {}", .source.message())]
    Refused { addr: SocketAddr, source: Box<Status> },
    #[error("{addr}: it shuts down")]
    Drains { addr: SocketAddr },
    #[error("{addr}: answered with something else than Welcome")]
    NoWelcome { addr: SocketAddr },
    #[error("{what}: no answer within {STEP_TIMEOUT:?}")]
    TimedOut { what: String },
}

impl Gateways {
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let gateways =
            config.gateway_urls.iter().map(|url| Gateway::parse(url)).collect::<Result<Vec<_>, _>>()?;
        if gateways.is_empty() {
            return Err(Error::invalid("gateway_urls", "must name at least one gateway"));
        }
        Ok(Self { gateways, worker_id: config.worker_id.clone(), backoff: Backoff::default(), last: None })
    }

    /// Opens a stream to any gateway, however long it takes. Gives itself back for the next time.
    pub(crate) async fn connect(mut self) -> (Self, Box<Stream>) {
        loop {
            match self.try_all().await {
                Ok(stream) => return (self, Box::new(stream)),
                Err(failure) if self.backoff.should_log() => {
                    tracing::warn!(error = %failure, "no gateway reachable, retrying");
                }
                Err(_) => {}
            }
            sleep(self.backoff.next()).await;
        }
    }

    /// The same after a stream was lost. `useful` says that something was answered on it; one
    /// that never was counts as a failure, so that a gateway that is about to go, and says so at
    /// once every time, is not asked in a circle.
    pub(crate) async fn reconnect(mut self, useful: bool) -> (Self, Box<Stream>) {
        metrics::reconnect();
        if useful {
            self.backoff.reset();
        }
        sleep(self.backoff.next()).await;
        self.connect().await
    }

    /// Every address of every gateway once, in random order, the last one used at the end.
    async fn try_all(&mut self) -> Result<Stream, Failure> {
        let mut failure = None;
        let mut found = Vec::new();
        for (gateway, addrs) in join_all(self.gateways.iter().map(Gateway::resolve)).await {
            match addrs {
                Ok(addrs) => found.extend(addrs.into_iter().map(|addr| (gateway, addr))),
                Err(error) => failure = Some(error),
            }
        }
        found.shuffle(&mut rand::rng());
        found.sort_by_key(|(_, addr)| Some(*addr) == self.last);
        for (gateway, addr) in found {
            match gateway.open(addr, &self.worker_id).await {
                Ok(stream) => {
                    tracing::info!(gateway = %gateway.origin, %addr, "connected to a gateway");
                    self.last = Some(addr);
                    return Ok(stream);
                }
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or(Failure::TimedOut { what: "the name service".to_owned() }))
    }
}

impl Gateway {
    fn parse(text: &str) -> Result<Self, Error> {
        let invalid = |problem: &str| {
            Error::invalid("gateway_urls", format!("must be like http://host:50051: {problem}"))
        };
        let url = Url::parse(text).map_err(|error| invalid(&error.to_string()))?;
        if url.scheme() != "http" {
            return Err(invalid("only http:// is supported"));
        }
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if !bare || !url.username().is_empty() || url.password().is_some() {
            return Err(invalid("nothing but host and port is used"));
        }
        let host = url.host().ok_or_else(|| invalid("there is no host"))?.to_owned();
        let port = url.port_or_known_default().ok_or_else(|| invalid("there is no port"))?;
        let origin = format!("http://{host}:{port}").parse();
        Ok(Self { origin: origin.map_err(|_| invalid("the host is not usable"))?, host, port })
    }

    async fn resolve(&self) -> (&Self, Result<Vec<SocketAddr>, Failure>) {
        let addrs = match &self.host {
            Host::Ipv4(ip) => Ok(vec![SocketAddr::from((*ip, self.port))]),
            Host::Ipv6(ip) => Ok(vec![SocketAddr::from((*ip, self.port))]),
            Host::Domain(name) => {
                match timeout(STEP_TIMEOUT, lookup_host((name.as_str(), self.port))).await {
                    Ok(Ok(addrs)) => Ok(addrs.collect()),
                    Ok(Err(source)) => Err(Failure::Resolve { host: name.clone(), source }),
                    Err(_) => Err(Failure::TimedOut { what: format!("the name service for {name}") }),
                }
            }
        };
        (self, addrs)
    }

    async fn open(&self, addr: SocketAddr, worker_id: &str) -> Result<Stream, Failure> {
        let transport = |source| Failure::Transport { addr, source };
        let channel = Endpoint::from_shared(format!("http://{addr}"))
            .map_err(transport)?
            .origin(self.origin.clone())
            .tcp_nodelay(true)
            .connect_timeout(STEP_TIMEOUT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .connect()
            .await
            .map_err(transport)?;
        let mut client = OrderServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let (outbound, receiver) = mpsc::channel(OUTBOUND);
        let hello = Hello { worker_id: worker_id.to_owned(), repeats_entries: true };
        let hello = WorkerMessage { request_id: 0, message: Some(worker_message::Message::Hello(hello)) };
        outbound.try_send(hello).expect("the channel is new and has room");
        let refused = |source| Failure::Refused { addr, source: Box::new(source) };
        let greeting = async {
            let mut inbound = client.work(ReceiverStream::new(receiver)).await?.into_inner();
            let first = inbound.message().await?;
            Ok((inbound, first))
        };
        let (inbound, first) = timeout(STEP_TIMEOUT, greeting)
            .await
            .map_err(|_| Failure::TimedOut { what: addr.to_string() })?
            .map_err(refused)?;
        match first.and_then(|first| first.message) {
            Some(gateway_message::Message::Welcome(Welcome { heartbeat_interval_ms, lease_ms: _ })) => {
                let heartbeat_interval = Duration::from_millis(heartbeat_interval_ms).max(SHORTEST_HEARTBEAT);
                Ok(Stream { outbound, inbound, heartbeat_interval })
            }
            Some(gateway_message::Message::Drain(_)) => Err(Failure::Drains { addr }),
            _ => Err(Failure::NoWelcome { addr }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateway_urls_are_checked() {
        for good in ["http://127.0.0.1:50051", "http://gateway:50051/", "http://[::1]:1", "http://a"] {
            assert!(Gateway::parse(good).is_ok(), "{good}");
        }
        for bad in ["gateway:50051", "https://a:1", "http://a:1/path", "http://me@a:1", "", "http://"] {
            assert!(Gateway::parse(bad).is_err(), "{bad}");
        }
        let none = Config { gateway_urls: Vec::new(), ..Config::default() };
        assert!(Gateways::new(&none).is_err());
    }

    #[test]
    fn an_ipv6_address_keeps_its_brackets() {
        let gateway = Gateway::parse("http://[::1]:50051").unwrap();
        assert_eq!(gateway.origin.to_string(), "http://[::1]:50051/");
    }
}
