//! The settings and the dependencies of the gRPC API.

use gateway_http::context::Context;
use gateway_service::HealthMonitor;
use gateway_service::event_log::EventLog;
use gateway_service::feed::Feed;
use gateway_service::orders::Orders;
use gateway_service::workers::Workers;

/// The settings of the gRPC API.
#[derive(Debug, Clone)]
pub struct Config {
    /// Whether clients may read the descriptors of the services.
    pub reflection: bool,
    /// Whether `UpdateStatus` accepts a report without a lease token.
    ///
    /// Such a report counts for the running attempt. `None` accepts it only on a loopback address.
    pub tokenless_reports: Option<bool>,
}

impl Default for Config {
    fn default() -> Self {
        Self { reflection: true, tokenless_reports: None }
    }
}

/// The dependencies of the calls. A clone is cheap.
#[derive(Clone)]
pub struct State {
    /// The settings.
    pub config: Config,
    /// The use cases.
    pub orders: Orders,
    /// The live feed.
    pub feed: Feed,
    /// The events of all orders.
    pub event_log: EventLog,
    /// Lists the connected workers.
    pub workers: Workers,
    /// Counts the connected workers.
    pub health: HealthMonitor,
    /// The limits, the tasks and the shutdown signals of the server.
    pub context: Context,
}
