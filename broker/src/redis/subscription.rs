//! The subscription to a channel, over the pub/sub of a server or the sharded pub/sub of a cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;
use redis::aio::{MultiplexedConnection, PubSubSink, PubSubStream};
use redis::{AsyncConnectionConfig, Client, Msg, ProtocolVersion, PushInfo, PushKind, RedisResult, Value};
use tokio::sync::mpsc;

use super::pool::COMMAND_TIMEOUT;

/// The maximum number of messages that wait for the subscriber. More are dropped and reported as lost.
const MAX_WAITING_MESSAGES: usize = 256;

/// Pings the server of a subscription.
pub(super) enum Pings {
    Channel(PubSubSink),
    Sharded(MultiplexedConnection),
}

/// The messages of a subscription.
pub(super) enum Messages {
    Channel(PubSubStream),
    Sharded {
        pushes: mpsc::Receiver<PushInfo>,
        /// Whether messages were dropped.
        has_lost: Arc<AtomicBool>,
    },
}

/// What a subscription receives.
pub(super) enum Received {
    Message(Payload),
    /// Messages were dropped.
    Lost,
}

/// The content of a message.
pub(super) enum Payload {
    Channel(Msg),
    Sharded(Vec<u8>),
}

impl Payload {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Channel(message) => message.get_payload_bytes(),
            Self::Sharded(bytes) => bytes,
        }
    }
}

/// Subscribes to a channel of a server.
pub(super) async fn subscribe(client: &Client, channel: &str) -> RedisResult<(Pings, Messages)> {
    let mut connection = client.get_async_pubsub().await?;
    connection.subscribe(channel).await?;
    let (sink, messages) = connection.split();
    Ok((Pings::Channel(sink), Messages::Channel(messages)))
}

/// Subscribes to a channel at the node of a cluster that has its slot. Such a message reaches no other node.
pub(super) async fn subscribe_sharded(client: &Client, channel: &str) -> RedisResult<(Pings, Messages)> {
    let (sender, pushes) = mpsc::channel(MAX_WAITING_MESSAGES);
    let has_lost = Arc::new(AtomicBool::new(false));
    let lost = has_lost.clone();
    let push = move |info: PushInfo| {
        let sent = sender.try_send(info);
        if matches!(sent, Err(mpsc::error::TrySendError::Full(_))) {
            lost.store(true, Ordering::Relaxed);
        }
        Ok::<(), ()>(())
    };
    // The client library has sharded subscriptions with version 3 of the protocol only.
    let info = client.get_connection_info().clone();
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    let client = Client::open(info.set_redis_settings(settings))?;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(COMMAND_TIMEOUT))
        .set_response_timeout(Some(COMMAND_TIMEOUT))
        .set_push_sender(push);
    let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
    redis::cmd("SSUBSCRIBE").arg(channel).query_async::<Value>(&mut connection).await?;
    Ok((Pings::Sharded(connection), Messages::Sharded { pushes, has_lost }))
}

impl Pings {
    pub(super) async fn ping(&mut self) -> RedisResult<()> {
        match self {
            Self::Channel(sink) => sink.ping::<Value>().await.map(drop),
            Self::Sharded(connection) => redis::cmd("PING").query_async::<Value>(connection).await.map(drop),
        }
    }
}

impl Messages {
    /// Returns the next message; `None` if the connection or the subscription has ended.
    pub(super) async fn next(&mut self) -> Option<Received> {
        let (pushes, has_lost) = match self {
            Self::Channel(messages) => {
                return messages.next().await.map(|message| Received::Message(Payload::Channel(message)));
            }
            Self::Sharded { pushes, has_lost } => (pushes, has_lost),
        };
        loop {
            if has_lost.swap(false, Ordering::Relaxed) {
                return Some(Received::Lost);
            }
            let PushInfo { kind, data } = pushes.recv().await?;
            match kind {
                PushKind::SMessage => {
                    if let Some(Value::BulkString(bytes)) = data.into_iter().nth(1) {
                        return Some(Received::Message(Payload::Sharded(bytes)));
                    }
                }
                // The slot of the channel has moved to another node.
                PushKind::SUnsubscribe | PushKind::Disconnection => return None,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MAX_WAITING_MESSAGES;

    #[test]
    fn documented_limit_is_the_limit() {
        limits_page::row(
            "messages of a cluster's channel that wait for a gateway",
            &MAX_WAITING_MESSAGES.to_string(),
        );
    }
}
