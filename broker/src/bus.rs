//! The port for order events and for the presence of gateways.

use std::sync::Arc;

use async_trait::async_trait;
use domain::{OrderEvent, Progress};

use crate::error::Error;
use crate::signal::GatewayInfo;
use crate::subscriber::Subscription;

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

    /// Starts a subscription, which reconnects until it is dropped.
    ///
    /// The first signal is [`Signal::Connected`], when the subscription is active. It holds
    /// [`SUBSCRIPTION_BUFFER`](crate::SUBSCRIPTION_BUFFER) messages of each channel. Messages that do not fit are dropped, and
    /// [`Signal::Connected`] takes their place.
    async fn subscribe(&self) -> Subscription;
}
