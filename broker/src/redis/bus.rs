//! The bus on one pub/sub channel.
//!
//! Redis forgets a message the moment it has sent it, and a broken connection tells nobody what went
//! by. So each subscription is one task with one connection that it watches and replaces for ever, and
//! it says [`Signal::Connected`] each time.
//!
//! A message is a list of events (see `message`), sealed so that nobody else can write or repeat it (see `seal`).
//! An empty list says that events were lost on their way here.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::{OrderEvent, RetryPolicy};
use futures_util::StreamExt;
use redis::aio::PubSubSink;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::seal::{BusKey, Receiver, Refused, Sender};
use super::{DEADLINE, Redis, message};
use crate::subscriber::Subscriber;
use crate::{Error, MAX_EVENTS_PER_MESSAGE, Signal};

/// How often a quiet connection is asked whether it is still there. A Redis that hangs is noticed
/// within this time and the deadline.
const PING_EVERY: Duration = Duration::from_secs(2);

/// The waits between attempts to subscribe.
const RECONNECT: RetryPolicy = RetryPolicy { base: Duration::from_millis(100), cap: Duration::from_secs(2) };

/// No wait is shorter, whatever the jitter says.
const SHORTEST_WAIT: Duration = Duration::from_millis(50);

/// A connection that lasted this long was a good one; the next failure counts as the first.
const GOOD_AFTER: Duration = Duration::from_secs(10);

/// At most one line of its kind in the log in this time.
const LOG_EVERY: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Clone, Debug)]
pub struct Bus {
    redis: Redis,
    sender: Arc<Sender>,
}

impl Bus {
    pub(super) fn new(redis: Redis, key: BusKey) -> Self {
        Self { redis, sender: Arc::new(Sender::new(key)) }
    }
}

#[async_trait]
impl crate::Bus for Bus {
    async fn publish(&self, events: &[Arc<OrderEvent>]) -> Result<(), Error> {
        if events.is_empty() {
            return Ok(());
        }
        let mut commands = redis::pipe();
        for chunk in events.chunks(MAX_EVENTS_PER_MESSAGE) {
            commands
                .cmd("PUBLISH")
                .arg(&self.redis.shared.channel)
                .arg(self.sender.seal(&message::write(chunk)))
                .ignore();
        }
        self.redis.command(&commands).await
    }

    async fn publish_gap(&self) -> Result<(), Error> {
        let mut command = redis::pipe();
        command.cmd("PUBLISH").arg(&self.redis.shared.channel).arg(self.sender.seal(message::LOSS)).ignore();
        self.redis.command(&command).await
    }

    async fn subscribe(&self) -> mpsc::Receiver<Signal> {
        let (subscriber, receiver) = Subscriber::new();
        // Ends when the receiver is dropped, and for no other reason.
        let messages = Receiver::new(self.sender.key().clone());
        tokio::spawn(keep_subscribed(self.redis.clone(), messages, subscriber));
        receiver
    }
}

async fn keep_subscribed(redis: Redis, mut messages: Receiver, mut subscriber: Subscriber) {
    let departure = subscriber.departure();
    let mut attempts = Attempts::new();
    let for_ever = async {
        loop {
            let started = Instant::now();
            let Err(error) = listen(&redis, &mut messages, &mut subscriber, &mut attempts).await;
            if started.elapsed() >= GOOD_AFTER {
                attempts.failures = 0;
            }
            sleep(attempts.failed(&error)).await;
        }
    };
    tokio::select! {
        () = departure.closed() => {}
        () = for_ever => {}
    }
}

/// Subscribes, and passes everything on until the connection breaks.
async fn listen(
    redis: &Redis,
    opened: &mut Receiver,
    subscriber: &mut Subscriber,
    attempts: &mut Attempts,
) -> Result<Infallible, Error> {
    let connect = async {
        let mut connection = redis.shared.client.get_async_pubsub().await?;
        connection.subscribe(&redis.shared.channel).await?;
        Ok(connection)
    };
    let connection = timeout(DEADLINE, connect)
        .await
        .map_err(|_| redis.no_answer())?
        .map_err(|cause| redis.failed(&cause))?;
    attempts.succeeded();
    subscriber.deliver(Signal::Connected);

    let (mut sink, mut messages) = connection.split();
    let mut refusals = Refusals::default();
    let broken = keep_asking(redis, &mut sink);
    tokio::pin!(broken);
    loop {
        tokio::select! {
            error = &mut broken => return Err(error),
            received = messages.next() => match received {
                Some(received) => {
                    let content = opened.open(received.get_payload_bytes());
                    match content.and_then(|content| message::read(content).map_err(|_| Refused::Unreadable)) {
                        Ok(events) if events.is_empty() => subscriber.deliver(Signal::Connected),
                        Ok(events) => subscriber.deliver(Signal::Events(events)),
                        Err(refused) => refusals.note(&redis.shared.channel, refused),
                    }
                }
                None => return Err(redis.unavailable("the connection was closed")),
            },
        }
    }
}

/// Returns when the server no longer answers. A dead peer or a frozen server closes no connection, so
/// silence alone says nothing.
async fn keep_asking(redis: &Redis, sink: &mut PubSubSink) -> Error {
    loop {
        sleep(PING_EVERY).await;
        match timeout(DEADLINE, sink.ping::<redis::Value>()).await {
            Ok(Ok(_)) => {}
            Ok(Err(cause)) => return redis.failed(&cause),
            Err(_) => return redis.no_answer(),
        }
    }
}

/// Counts and reports the messages that are dropped.
#[derive(Default)]
struct Refusals {
    /// Another installation is a mistake of the configuration and has a line of its own.
    foreign: LogGate,
    others: LogGate,
}

impl Refusals {
    fn note(&mut self, channel: &str, refused: Refused) {
        metrics::counter!("orders_bus_messages_rejected_total", "reason" => refused.word()).increment(1);
        match refused {
            Refused::Foreign if self.foreign.opens() => warn!(
                channel,
                "another installation uses this Redis server with the same prefix: give each its own --redis-prefix \
                 (ORDERS_REDIS_PREFIX); its messages are dropped"
            ),
            Refused::Foreign => {}
            Refused::Unreadable | Refused::Forged | Refused::Replayed => {
                if self.others.opens() {
                    warn!(channel, reason = %refused, "dropped a message of the bus");
                }
            }
        }
    }
}

/// Counts and reports the attempts of one subscription.
struct Attempts {
    failures: u32,
    gate: LogGate,
}

impl Attempts {
    fn new() -> Self {
        Self { failures: 0, gate: LogGate::default() }
    }

    fn succeeded(&mut self) {
        if self.failures > 0 {
            info!(after_failures = self.failures, "subscribed to order events again");
        }
    }

    /// How long to wait before the next attempt.
    fn failed(&mut self, error: &Error) -> Duration {
        self.failures = self.failures.saturating_add(1);
        if self.gate.opens() {
            warn!(%error, failures = self.failures, "not subscribed to order events; trying again");
        }
        RECONNECT.delay(self.failures, None, rand::random()).max(SHORTEST_WAIT)
    }
}

/// Lets one line through at a time.
#[derive(Default)]
struct LogGate {
    last: Option<Instant>,
}

impl LogGate {
    fn opens(&mut self) -> bool {
        let open = self.last.is_none_or(|last| last.elapsed() >= LOG_EVERY);
        if open {
            self.last = Some(Instant::now());
        }
        open
    }
}
