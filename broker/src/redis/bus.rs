//! The bus on one pub/sub channel.
//!
//! Redis stores no messages, and a broken connection does not report what it missed. Therefore each subscription is a
//! task that watches one connection, replaces it, and sends [`Signal::Connected`] after each connect.
//!
//! A message is a list of events or the announcement of a gateway (see `bus_content`), signed against forgery and replay
//! (see `message_auth`). An empty list reports lost events.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::{Backoff, OrderEvent, RetryPolicy};

use futures_util::StreamExt;
use redis::aio::PubSubSink;
use telemetry::LogThrottle;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::bus_content::{self, Content};
use super::client::Redis;
use super::connections::Connections;
use super::message_auth::{BusKey, MessageRejection, MessageSigner, MessageVerifier};
use super::pool::COMMAND_TIMEOUT;
use crate::bus::{Bus, GatewayInfo, MAX_EVENTS_PER_MESSAGE, Signal};
use crate::error::Error;
use crate::subscriber::Subscriber;

/// The interval of pings on a subscription. A hanging Redis is detected within this time and the command timeout.
const PING_INTERVAL: Duration = Duration::from_secs(2);

/// The delays between attempts to subscribe.
const RECONNECT: RetryPolicy = RetryPolicy { base: Duration::from_millis(100), cap: Duration::from_secs(2) };

/// The lifetime after which a connection counts as stable: the next failure counts as the first.
const STABLE_AFTER: Duration = Duration::from_secs(10);

/// The minimum time between two log lines of one kind.
const LOG_INTERVAL: Duration = Duration::from_secs(5);

/// The bus on one channel; see the module.
#[derive(Clone, Debug)]
pub struct RedisBus {
    redis: Redis,
    signer: Arc<MessageSigner>,
}

impl Redis {
    /// Returns the bus on the channel `<prefix>:events`, for all gateways with this key.
    pub fn bus(&self, key: BusKey) -> RedisBus {
        RedisBus { redis: self.clone(), signer: Arc::new(MessageSigner::new(key)) }
    }
}

impl RedisBus {
    async fn send(&self, content: &[u8]) -> Result<(), Error> {
        let mut command = redis::pipe();
        command.cmd("PUBLISH").arg(&self.redis.keys.channel).arg(self.signer.sign(content)).ignore();
        self.redis.run_commands(&command).await
    }
}

#[async_trait]
impl Bus for RedisBus {
    async fn publish(&self, events: &[Arc<OrderEvent>]) -> Result<(), Error> {
        if events.is_empty() {
            return Ok(());
        }
        let mut commands = redis::pipe();
        for chunk in events.chunks(MAX_EVENTS_PER_MESSAGE) {
            let message = self.signer.sign(&bus_content::encode_events(chunk));
            commands.cmd("PUBLISH").arg(&self.redis.keys.channel).arg(message).ignore();
        }
        self.redis.run_commands(&commands).await
    }

    async fn publish_gap(&self) -> Result<(), Error> {
        self.send(bus_content::GAP).await
    }

    async fn announce(&self, gateway: &GatewayInfo) -> Result<(), Error> {
        self.send(&bus_content::encode_gateway(gateway)).await
    }

    async fn subscribe(&self) -> mpsc::Receiver<Signal> {
        let (subscriber, receiver) = Subscriber::new();
        let verifier = MessageVerifier::new(self.signer.key().clone());
        // The task ends only when the receiver is dropped.
        tokio::spawn(keep_subscribed(self.redis.clone(), verifier, subscriber));
        receiver
    }
}

async fn keep_subscribed(redis: Redis, mut verifier: MessageVerifier, mut subscriber: Subscriber) {
    let unsubscribed = subscriber.unsubscribe_signal();
    let mut reconnects = Reconnects::new();
    let reconnect_loop = async {
        loop {
            let started = Instant::now();
            let ended = listen(&redis, &mut verifier, &mut subscriber, &mut reconnects).await;
            let Err(error) = ended else { continue };
            if started.elapsed() >= STABLE_AFTER {
                reconnects.reset();
            }
            sleep(reconnects.record_failure(&error)).await;
        }
    };
    tokio::select! {
        () = unsubscribed.closed() => {}
        () = reconnect_loop => {}
    }
}

/// Subscribes, and delivers all messages until the connection breaks, or others replace it.
async fn listen(
    redis: &Redis,
    verifier: &mut MessageVerifier,
    subscriber: &mut Subscriber,
    reconnects: &mut Reconnects,
) -> Result<(), Error> {
    let mut current = redis.subscribe_connections();
    let connections = current.borrow_and_update().clone();
    let connect = async {
        let mut connection = connections.client.get_async_pubsub().await?;
        connection.subscribe(&redis.keys.channel).await?;
        Ok(connection)
    };
    let connection = timeout(COMMAND_TIMEOUT, connect)
        .await
        .map_err(|_| connections.timeout_error())?
        .map_err(|cause| connections.command_error(&cause))?;
    reconnects.record_success();
    subscriber.deliver(Signal::Connected);

    let (mut sink, mut messages) = connection.split();
    let mut rejections = RejectionLog::new();
    let connection_lost = ping_loop(&connections, &mut sink);
    tokio::pin!(connection_lost);
    loop {
        tokio::select! {
            error = &mut connection_lost => return Err(error),
            _ = current.changed() => return Ok(()),
            received = messages.next() => match received {
                Some(received) => {
                    let content = verifier.verify(received.get_payload_bytes());
                    let content = content.and_then(|content| {
                        bus_content::decode(content).map_err(|_| MessageRejection::Unreadable)
                    });
                    match content {
                        Ok(Content::Gap) => subscriber.deliver(Signal::Connected),
                        Ok(Content::Events(events)) => subscriber.deliver(Signal::Events(events)),
                        Ok(Content::Gateway(gateway)) => subscriber.deliver(Signal::Gateway(gateway)),
                        Err(rejection) => rejections.record(&redis.keys.channel, rejection),
                    }
                }
                None => return Err(connections.unavailable("the connection was closed")),
            },
        }
    }
}

/// Pings the server until it no longer responds.
/// A dead peer or a frozen server closes no connection, so a silent connection may be broken.
async fn ping_loop(connections: &Connections, sink: &mut PubSubSink) -> Error {
    loop {
        sleep(PING_INTERVAL).await;
        match timeout(COMMAND_TIMEOUT, sink.ping::<redis::Value>()).await {
            Ok(Ok(_)) => {}
            Ok(Err(cause)) => return connections.command_error(&cause),
            Err(_) => return connections.timeout_error(),
        }
    }
}

/// Counts and logs the messages that are dropped.
struct RejectionLog {
    /// Another installation is a misconfiguration and has a separate log line.
    foreign: LogThrottle,
    others: LogThrottle,
}

impl RejectionLog {
    fn new() -> Self {
        Self {
            foreign: LogThrottle::with_interval(LOG_INTERVAL),
            others: LogThrottle::with_interval(LOG_INTERVAL),
        }
    }

    fn record(&mut self, channel: &str, rejection: MessageRejection) {
        metrics::counter!("orders_bus_messages_rejected_total", "reason" => rejection.as_str()).increment(1);
        match rejection {
            MessageRejection::Foreign if self.foreign.allow().is_some() => warn!(
                channel,
                "another installation uses this Redis server with the same prefix: give each its own --redis-prefix \
                 (ORDERS_REDIS_PREFIX); its messages are dropped"
            ),
            MessageRejection::Foreign => {}
            MessageRejection::Unreadable | MessageRejection::Forged | MessageRejection::Replayed => {
                if self.others.allow().is_some() {
                    warn!(channel, reason = %rejection, "dropped a message of the bus");
                }
            }
        }
    }
}

/// Counts and logs the attempts of one subscription.
struct Reconnects {
    backoff: Backoff,
    log: LogThrottle,
}

impl Reconnects {
    fn new() -> Self {
        Self { backoff: Backoff::new(RECONNECT), log: LogThrottle::with_interval(LOG_INTERVAL) }
    }

    fn record_success(&mut self) {
        if self.backoff.failures() > 0 {
            info!(after_failures = self.backoff.failures(), "subscribed to order events again");
        }
    }

    fn reset(&mut self) {
        self.backoff.reset();
    }

    /// Returns the delay before the next attempt.
    fn record_failure(&mut self, error: &Error) -> Duration {
        let delay = self.backoff.next_delay();
        if self.log.allow().is_some() {
            warn!(%error, failures = self.backoff.failures(), "not subscribed to order events; trying again");
        }
        delay
    }
}
