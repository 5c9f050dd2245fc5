use gateway_http::context::Context;
use gateway_service::HealthMonitor;
use gateway_service::feed::Feed;
use gateway_service::orders::Orders;

/// The settings of the gRPC API.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Whether `UpdateStatus` accepts a report without a lease token, which then counts for the running attempt.
    /// `None` accepts it only on a loopback address.
    pub tokenless_reports: Option<bool>,
}

/// What the calls of the API need. Cheap to clone.
#[derive(Clone)]
pub struct State {
    /// The settings.
    pub config: Config,
    /// The use cases.
    pub orders: Orders,
    /// The live feed.
    pub feed: Feed,
    /// The number of workers.
    pub health: HealthMonitor,
    /// The server.
    pub context: Context,
}
