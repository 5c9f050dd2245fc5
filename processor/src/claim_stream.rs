//! A stream over which a gateway assigns jobs, and the connects to the gateways.

use std::time::Duration;

use futures_util::future::BoxFuture;
use proto::v1::claim_request::Message as Request;
use proto::v1::claim_response::Message as Response;
use proto::v1::worker_service_client::WorkerServiceClient;
use proto::{CLAIM_PROTOCOL, v1};
use tokio::sync::mpsc;
use tonic::Streaming;

use connection::{ConnectError, Target};

use crate::error::Error;
use crate::gateway_connection::{
    GatewayStream, Gateways, MAX_MESSAGE_BYTES, MIN_HEARTBEAT_INTERVAL, handshake,
};

/// The number of messages queued for the connection.
const OUTBOUND_MESSAGES: usize = 64;

/// An open stream whose gateway has sent ClaimWelcome.
pub(crate) struct ClaimStream {
    outbound: mpsc::Sender<v1::ClaimRequest>,
    inbound: Streaming<v1::ClaimResponse>,
    pub(crate) heartbeat_interval: Duration,
    /// Leases of earlier streams that are lost.
    pub(crate) lost: Vec<v1::Lease>,
}

impl ClaimStream {
    /// Returns the next message, or the reason of the end of the stream. May be dropped at any await point without loss.
    pub(crate) async fn next(&mut self) -> Result<Response, String> {
        loop {
            match self.inbound.message().await {
                // A gateway of a later version may send other messages.
                Ok(Some(v1::ClaimResponse { message: None })) => {}
                Ok(Some(v1::ClaimResponse { message: Some(message) })) => return Ok(message),
                Ok(None) => return Err("the gateway has ended it".to_owned()),
                Err(status) => return Err(status.message().to_owned()),
            }
        }
    }

    /// Completes when the connection has taken all queued messages. May be dropped at any await point.
    pub(crate) fn taken(&self) -> impl Future<Output = ()> + use<> {
        let outbound = self.outbound.clone();
        async move {
            // A connection that has ended takes none. The end of the stream follows.
            if outbound.reserve_many(OUTBOUND_MESSAGES).await.is_err() {
                std::future::pending().await
            }
        }
    }

    /// Returns whether there is space for messages that may be left out.
    pub(crate) fn has_space(&self) -> bool {
        self.outbound.capacity() > OUTBOUND_MESSAGES / 2
    }

    /// Queues a message; false if the connection takes none.
    pub(crate) fn send(&self, request: v1::ClaimRequest) -> bool {
        self.outbound.try_send(request).is_ok()
    }
}

impl GatewayStream for ClaimStream {
    async fn open(gateways: &Gateways, target: &Target) -> Result<Self, ConnectError> {
        let addr = target.addr;
        let channel = target.connect().await?;
        let mut client = WorkerServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        let (outbound, receiver) = mpsc::channel(OUTBOUND_MESSAGES);
        let (hello, running) = gateways.hello();
        let hello = v1::ClaimHello {
            protocol: CLAIM_PROTOCOL,
            worker_id: hello.worker_id.clone(),
            version: hello.version.clone(),
            host: hello.host.clone(),
            slots: hello.slots,
            running: running.to_vec(),
            kinds: gateways.kinds().words(),
        };
        let hello = v1::ClaimRequest { message: Some(Request::Hello(hello)), ..Default::default() };
        outbound.try_send(hello).expect("the channel is new and has room");
        let call = gateways.request(receiver);
        let (inbound, first) = handshake(addr, async {
            let mut inbound = client.claim(call).await?.into_inner();
            let first = inbound.message().await?;
            Ok((inbound, first))
        })
        .await?;
        match first.and_then(|first| first.message) {
            Some(Response::Welcome(welcome)) => {
                let interval = Duration::from_millis(welcome.heartbeat_interval_ms);
                let lost = welcome.lost.into_iter().filter_map(|refused| refused.lease).collect();
                let heartbeat_interval = interval.max(MIN_HEARTBEAT_INTERVAL);
                Ok(Self { outbound, inbound, heartbeat_interval, lost })
            }
            Some(Response::Drain(_)) => Err(ConnectError::Draining { addr }),
            _ => Err(ConnectError::NoWelcome { addr }),
        }
    }
}

/// The connects to the gateways, one at a time.
pub(crate) struct ClaimStreams {
    state: State,
    /// Whether a message has arrived on the latest stream.
    succeeded: bool,
    is_first: bool,
}

enum State {
    Idle(Box<Gateways>),
    Connecting(BoxFuture<'static, Result<(Gateways, Box<ClaimStream>), Error>>),
}

impl ClaimStreams {
    pub(crate) fn new(gateways: Gateways) -> Self {
        Self { state: State::Idle(Box::new(gateways)), succeeded: false, is_first: true }
    }

    /// Records that the present stream works. A stream without a message counts as a failure, so that a gateway that drains
    /// each new stream is not tried in a busy loop.
    pub(crate) fn succeeded(&mut self) {
        self.succeeded = true;
    }

    /// Begins to connect, unless a connect is in progress. The stream resumes these leases.
    pub(crate) fn connect(&mut self, running: Vec<v1::Lease>) {
        let pending = State::Connecting(Box::pin(std::future::pending()));
        self.state = match std::mem::replace(&mut self.state, pending) {
            State::Idle(mut gateways) => {
                gateways.set_running(running);
                let succeeded = std::mem::take(&mut self.succeeded);
                State::Connecting(if std::mem::take(&mut self.is_first) {
                    Box::pin(gateways.connect_first())
                } else {
                    Box::pin(async move { Ok(gateways.reconnect(succeeded).await) })
                })
            }
            connecting @ State::Connecting(_) => connecting,
        };
    }

    /// Waits for the stream of [`Self::connect`]. May be dropped at any await point without loss.
    ///
    /// # Errors
    /// That of [`Gateways::connect_first`].
    pub(crate) async fn connected(&mut self) -> Result<Box<ClaimStream>, Error> {
        let State::Connecting(connecting) = &mut self.state else { return std::future::pending().await };
        let (gateways, stream) = connecting.await?;
        self.state = State::Idle(Box::new(gateways));
        Ok(stream)
    }
}
