//! The stream to one of the gateways. It is retried without end, and knows nothing of requests.

use std::net::SocketAddr;
use std::time::Duration;

use connection::{ConnectError, Gateways as Connections, STEP_TIMEOUT, Settings, Target};
use domain::{Backoff, Kinds};
use proto::v1::order_service_client::OrderServiceClient;
use proto::v1::{self, GatewayMessage, Hello, Welcome, WorkerMessage, gateway_message, worker_message};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Streaming};

use crate::config::{Config, RETRY_DELAYS};
use crate::error::Error;
use crate::metrics;

/// The number of messages queued for the connection; further ones stay in the client.
const OUTBOUND_MESSAGES: usize = 4;
/// A full batch of orders of maximum size is smaller.
pub(crate) const MAX_MESSAGE_BYTES: usize = 256 << 20;
/// With a shorter interval, a faulty gateway could occupy the worker with heartbeats alone.
pub(crate) const MIN_HEARTBEAT_INTERVAL: Duration = Duration::from_millis(10);

/// An open stream whose gateway has sent Welcome.
pub(crate) struct WorkStream {
    pub(crate) outbound: mpsc::Sender<WorkerMessage>,
    pub(crate) inbound: Streaming<GatewayMessage>,
    pub(crate) heartbeat_interval: Duration,
}

/// The gateways, and the delays between attempts.
pub(crate) struct Gateways {
    connections: Connections,
    /// What the worker states about itself with each stream.
    hello: Box<(Hello, Kinds)>,
    /// The leases that the next stream resumes.
    running: Vec<v1::Lease>,
    backoff: Backoff,
}

impl Gateways {
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let settings = Settings {
            urls: config.gateway_urls.clone(),
            tls: config.gateway_tls.clone(),
            token: config.token.clone(),
            token_file: config.token_file.clone(),
        };
        Ok(Self {
            connections: Connections::new(&settings)?,
            hello: Box::new((
                Hello {
                    worker_id: config.worker_id.clone(),
                    repeats_entries: true,
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    host: config.host.clone(),
                    slots: u32::try_from(config.concurrency).unwrap_or(u32::MAX),
                },
                config.kinds.clone(),
            )),
            running: Vec::new(),
            backoff: Backoff::new(RETRY_DELAYS),
        })
    }

    /// Opens the first stream of a processor.
    ///
    /// # Errors
    /// [`Error::Refused`], unless the credential is read again.
    pub(crate) async fn connect_first<S: GatewayStream>(mut self) -> Result<(Self, Box<S>), Error> {
        loop {
            match self.try_connect().await {
                Ok(stream) => return Ok((self, stream)),
                Err(error) if error.is_refused_credential() && !self.connections.rereads_credential() => {
                    return Err(Error::Refused(error));
                }
                Err(error) => self.wait_after(&error).await,
            }
        }
    }

    /// Opens a stream to any gateway, and retries until it succeeds. Returns itself for the next connect.
    pub(crate) async fn connect<S: GatewayStream>(mut self) -> (Self, Box<S>) {
        loop {
            match self.try_connect().await {
                Ok(stream) => return (self, stream),
                Err(error) => self.wait_after(&error).await,
            }
        }
    }

    async fn try_connect<S: GatewayStream>(&mut self) -> Result<Box<S>, ConnectError> {
        self.connections.read_token();
        self.try_all_addresses().await.map(Box::new)
    }

    async fn wait_after(&mut self, error: &ConnectError) {
        self.connections.log_failure(error);
        sleep(self.backoff.next_delay()).await;
    }

    /// Opens a stream after one was lost.
    ///
    /// `got_response` states whether a response had arrived on the lost stream. A stream without one counts as a failure,
    /// so that a gateway that drains each new stream immediately is not tried in a busy loop.
    pub(crate) async fn reconnect<S: GatewayStream>(mut self, got_response: bool) -> (Self, Box<S>) {
        metrics::count_reconnect();
        if got_response {
            self.backoff.reset();
        }
        sleep(self.backoff.next_delay()).await;
        self.connect().await
    }

    /// Tries every address of every gateway once.
    async fn try_all_addresses<S: GatewayStream>(&mut self) -> Result<S, ConnectError> {
        let mut last_error = None;
        for target in self.connections.targets().await? {
            match S::open(self, &target).await {
                Ok(stream) => {
                    self.connections.connected(&target);
                    return Ok(stream);
                }
                Err(error) => last_error = Some(error),
            }
        }
        Err(last_error.unwrap_or(ConnectError::TimedOut { what: "the gateways".to_owned() }))
    }

    /// States the leases that the next stream resumes.
    pub(crate) fn set_running(&mut self, running: Vec<v1::Lease>) {
        self.running = running;
    }

    /// Returns what the worker states about itself, and the leases that a stream resumes.
    pub(crate) fn hello(&self) -> (&Hello, &[v1::Lease]) {
        (&self.hello.0, &self.running)
    }

    /// Returns the kinds of orders that the worker processes.
    pub(crate) fn kinds(&self) -> &Kinds {
        &self.hello.1
    }

    /// Creates the request of a stream, with the credential.
    pub(crate) fn request<T: Send + 'static>(
        &self,
        messages: mpsc::Receiver<T>,
    ) -> Request<ReceiverStream<T>> {
        let mut call = Request::new(ReceiverStream::new(messages));
        self.connections.authorize(&mut call);
        call
    }
}

/// A stream to a gateway.
pub(crate) trait GatewayStream: Sized + Send {
    /// Opens a stream whose gateway has sent its first message.
    fn open(gateways: &Gateways, target: &Target) -> impl Future<Output = Result<Self, ConnectError>> + Send;
}

/// Waits for the first message of a stream.
pub(crate) async fn handshake<T>(
    addr: SocketAddr,
    first: impl Future<Output = Result<T, tonic::Status>>,
) -> Result<T, ConnectError> {
    timeout(STEP_TIMEOUT, first)
        .await
        .map_err(|_| ConnectError::TimedOut { what: addr.to_string() })?
        .map_err(|source| ConnectError::Refused { addr, source: Box::new(source) })
}

impl GatewayStream for WorkStream {
    async fn open(gateways: &Gateways, target: &Target) -> Result<Self, ConnectError> {
        let addr = target.addr;
        let channel = target.connect().await?;
        let mut client = OrderServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let (outbound, receiver) = mpsc::channel(OUTBOUND_MESSAGES);
        let (hello, _) = gateways.hello();
        let hello =
            WorkerMessage { request_id: 0, message: Some(worker_message::Message::Hello(hello.clone())) };
        outbound.try_send(hello).expect("the channel is new and has room");
        let call = gateways.request(receiver);
        let (inbound, first) = handshake(addr, async {
            let mut inbound = client.work(call).await?.into_inner();
            let first = inbound.message().await?;
            Ok((inbound, first))
        })
        .await?;
        match first.and_then(|first| first.message) {
            Some(gateway_message::Message::Welcome(Welcome { heartbeat_interval_ms, lease_ms: _ })) => {
                let heartbeat_interval =
                    Duration::from_millis(heartbeat_interval_ms).max(MIN_HEARTBEAT_INTERVAL);
                Ok(Self { outbound, inbound, heartbeat_interval })
            }
            Some(gateway_message::Message::Drain(_)) => Err(ConnectError::Draining { addr }),
            _ => Err(ConnectError::NoWelcome { addr }),
        }
    }
}
