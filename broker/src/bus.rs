//! The port for order events and for the presence of gateways.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{OrderEvent, Progress, Timestamp};
use tokio::sync::mpsc;

use crate::error::Error;

/// The maximum number of events in one message of the bus.
/// More events are split into several messages, so that no message blocks the others or needs much memory.
pub const MAX_EVENTS_PER_MESSAGE: usize = 500;

/// Sends the events of every publisher to every present subscriber.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Sends the events in messages of at most [`MAX_EVENTS_PER_MESSAGE`]. An empty slice sends nothing.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; the bus loses the events.
    async fn publish(&self, events: &[Arc<OrderEvent>]) -> Result<(), Error>;

    /// Sends the progress of attempts, as [`Signal::Progress`]. An empty slice sends nothing.
    ///
    /// # Errors
    /// [`Error::Unavailable`]; the bus loses it.
    async fn publish_progress(&self, reports: &[Progress]) -> Result<(), Error>;

    /// Reports lost events to every subscriber, as [`Signal::Connected`].
    ///
    /// # Errors
    /// [`Error::Unavailable`]; possibly no subscriber received the report.
    async fn publish_gap(&self) -> Result<(), Error>;

    /// Announces a gateway to every subscriber, as [`Signal::Gateway`].
    ///
    /// # Errors
    /// [`Error::Unavailable`]; possibly no subscriber received the announcement.
    async fn announce(&self, gateway: &GatewayInfo) -> Result<(), Error>;

    /// Starts a subscription, which reconnects until its receiver is dropped.
    ///
    /// The first signal is [`Signal::Connected`], when the subscription is active. The channel holds
    /// [`SUBSCRIPTION_BUFFER`](crate::SUBSCRIPTION_BUFFER) messages. Messages that do not fit are dropped, and
    /// [`Signal::Connected`] takes their place.
    async fn subscribe(&self) -> mpsc::Receiver<Signal>;
}

/// The id of a gateway on the bus: a random number of each process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GatewayId(pub u64);

/// Maximum number of bytes of the host and of the version of a gateway; further ones are left out.
pub const MAX_GATEWAY_TEXT: usize = 64;

/// A running gateway, as it announces itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayInfo {
    /// Its id.
    pub id: GatewayId,
    /// Its host; empty if it is unknown.
    pub host: Arc<str>,
    /// Its version.
    pub version: Arc<str>,
    /// The time of its start, by the database's clock.
    pub started_at: Timestamp,
}

/// A message for a subscriber of the bus.
#[derive(Clone, Debug)]
pub enum Signal {
    /// Events before this signal may be missing.
    /// The subscription became active or reconnected, its channel was full, a message did not arrive, or a publisher could
    /// not reach the bus.
    Connected,
    /// The events of one message, shared by all subscribers.
    Events(Arc<[Arc<OrderEvent>]>),
    /// Progress of attempts. Lost progress is not reported.
    Progress(Arc<[Progress]>),
    /// This gateway is running.
    Gateway(GatewayInfo),
}
