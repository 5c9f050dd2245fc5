//! What subscribers of the bus receive.

use std::sync::Arc;

use domain::{OrderEvent, Progress, Timestamp};

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
