//! The bus on a pub/sub channel.
//!
//! Redis stores no messages, and a broken connection does not report what it missed. Therefore each subscription is a
//! task that watches one connection, replaces it, and sends [`Signal::Connected`] after each connect.
//!
//! A message is a list of events, the progress of attempts or the announcement of a gateway (see `bus_content`), signed against forgery and replay
//! (see `message_auth`). An empty list reports lost events, as does a number that does not arrive.

use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::{Backoff, OrderEvent, Progress, RetryPolicy};

use redis::Pipeline;
use telemetry::LogThrottle;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::bus_content::{self, Content};
use super::client::Redis;
use super::connections::{Connections, Server};
use super::message_auth::{BusKey, MessageRejection, MessageSigner, MessageVerifier};
use super::pool::COMMAND_TIMEOUT;
use super::subscription::{self, Pings, Received};
use crate::bus::{Bus, MAX_EVENTS_PER_MESSAGE};
use crate::error::Error;
use crate::sharding::ShardedBus;
use crate::signal::{GatewayInfo, Signal};
use crate::subscriber::{Subscriber, Subscription};

/// The maximum number of channels. A gateway has a connection for each.
pub const MAX_EVENT_CHANNELS: u8 = 64;

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
    channel: Arc<str>,
    signer: Arc<MessageSigner>,
}

impl Redis {
    /// Returns the bus on the channel `<prefix>:events`, for all gateways with this key.
    pub fn bus(&self, key: BusKey) -> RedisBus {
        self.bus_channel(key, 0)
    }

    /// Returns the bus on the first `channels` channels: `<prefix>:events`, `<prefix>:events.1` and so on. All gateways need the
    /// same number.
    pub fn bus_channels(&self, key: &BusKey, channels: NonZeroU8) -> Arc<dyn Bus> {
        match channels.get() {
            1 => Arc::new(self.bus(key.clone())),
            channels => {
                let channel = |number| Arc::new(self.bus_channel(key.clone(), number)) as Arc<dyn Bus>;
                Arc::new(ShardedBus::new((0..channels).map(channel).collect()))
            }
        }
    }

    fn bus_channel(&self, key: BusKey, number: u8) -> RedisBus {
        let base = &self.keys.channel;
        let channel = if number == 0 { base.as_str().into() } else { format!("{base}.{number}").into() };
        RedisBus { redis: self.clone(), channel, signer: Arc::new(MessageSigner::new(key, number)) }
    }
}

impl RedisBus {
    async fn send(&self, content: &[u8]) -> Result<(), Error> {
        let mut commands = redis::pipe();
        self.add_message(&mut commands, content);
        self.redis.run_commands(&self.channel, &commands).await
    }

    fn add_message(&self, commands: &mut Pipeline, content: &[u8]) {
        let publish = if self.redis.connections().is_cluster() { "SPUBLISH" } else { "PUBLISH" };
        commands.cmd(publish).arg(&*self.channel).arg(self.signer.sign(content)).ignore();
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
            self.add_message(&mut commands, &bus_content::encode_events(chunk));
        }
        self.redis.run_commands(&self.channel, &commands).await
    }

    async fn publish_progress(&self, reports: &[Progress]) -> Result<(), Error> {
        match reports {
            [] => Ok(()),
            reports => self.send(&bus_content::encode_progress(reports)).await,
        }
    }

    async fn publish_gap(&self) -> Result<(), Error> {
        self.send(bus_content::GAP).await
    }

    async fn announce(&self, gateway: &GatewayInfo) -> Result<(), Error> {
        self.send(&bus_content::encode_gateway(gateway)).await
    }

    async fn subscribe(&self) -> Subscription {
        let (subscriber, receiver) = Subscriber::new();
        let verifier = self.signer.verifier();
        // The task ends only when the receiver is dropped.
        tokio::spawn(keep_subscribed(self.redis.clone(), self.channel.clone(), verifier, subscriber));
        receiver.into()
    }
}

async fn keep_subscribed(
    redis: Redis,
    channel: Arc<str>,
    mut verifier: MessageVerifier,
    mut subscriber: Subscriber,
) {
    let unsubscribed = subscriber.unsubscribe_signal();
    let mut reconnects = Reconnects::new();
    let reconnect_loop = async {
        loop {
            let started = Instant::now();
            let ended = listen(&redis, &channel, &mut verifier, &mut subscriber, &mut reconnects).await;
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
    channel: &str,
    verifier: &mut MessageVerifier,
    subscriber: &mut Subscriber,
    reconnects: &mut Reconnects,
) -> Result<(), Error> {
    let mut current = redis.subscribe_connections();
    let connections = current.borrow_and_update().clone();
    let server = connections.server(channel).await?;
    let connect = async {
        match connections.is_cluster() {
            true => subscription::subscribe_sharded(&server.client, channel).await,
            false => subscription::subscribe(&server.client, channel).await,
        }
    };
    let subscribed = timeout(COMMAND_TIMEOUT, connect).await;
    let subscribed = subscribed
        .map_err(|_| connections.timeout_error())
        .and_then(|subscribed| subscribed.map_err(|cause| connections.command_error(&cause)));
    let (mut pings, mut messages) = subscribed.inspect_err(|_| connections.forget_routes())?;
    reconnects.record_success();
    subscriber.deliver(Signal::Connected);

    let mut rejections = RejectionLog::new();
    let connection_lost = ping_loop(&connections, channel, &server, &mut pings);
    tokio::pin!(connection_lost);
    loop {
        tokio::select! {
            error = &mut connection_lost => {
                connections.forget_routes();
                return Err(error);
            }
            _ = current.changed() => return Ok(()),
            received = messages.next() => match received {
                Some(Received::Lost) => subscriber.deliver(Signal::Connected),
                Some(Received::Message(payload)) => {
                    let verified = verifier.verify(payload.bytes());
                    let follows_gap = verified.as_ref().is_ok_and(|verified| verified.follows_gap);
                    let content = verified.and_then(|verified| {
                        bus_content::decode(verified.content).map_err(|_| MessageRejection::Unreadable)
                    });
                    match content {
                        Ok(Content::Gap) => subscriber.deliver(Signal::Connected),
                        Ok(Content::Events(events)) => subscriber.deliver(Signal::Events(events)),
                        Ok(Content::Progress(reports)) => subscriber.deliver(Signal::Progress(reports)),
                        Ok(Content::Gateway(gateway)) => subscriber.deliver(Signal::Gateway(gateway)),
                        Err(rejection) => rejections.record(channel, rejection),
                    }
                    if follows_gap {
                        subscriber.deliver(Signal::Connected);
                    }
                }
                None => {
                    connections.forget_routes();
                    return Err(connections.unavailable("the connection was closed"));
                }
            },
        }
    }
}

/// Pings the server until it no longer responds, or another one has the channel.
/// A dead peer or a frozen server closes no connection, so a silent connection may be broken.
async fn ping_loop(
    connections: &Connections,
    channel: &str,
    server: &Arc<Server>,
    pings: &mut Pings,
) -> Error {
    loop {
        sleep(PING_INTERVAL).await;
        match timeout(COMMAND_TIMEOUT, pings.ping()).await {
            Ok(Ok(())) => {}
            Ok(Err(cause)) => return connections.command_error(&cause),
            Err(_) => return connections.timeout_error(),
        }
        match connections.server(channel).await {
            Ok(present) if Arc::ptr_eq(&present, server) => {}
            Ok(_) => return connections.unavailable("another server has the channel now"),
            Err(error) => return error,
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
