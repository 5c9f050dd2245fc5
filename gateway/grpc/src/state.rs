//! The settings and the dependencies of the gRPC API.

use std::time::Duration;

use domain::Shares;
use gateway_http::context::Context;
use gateway_service::HealthMonitor;
use gateway_service::claims::Claims;
use gateway_service::event_log::EventLog;
use gateway_service::feed::Feed;
use gateway_service::orders::Orders;
use gateway_service::progress::ProgressReports;
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
    /// The minimum time after which a worker is sent to another gateway, if there is one; the maximum is twice as long.
    pub rebalance_after: Duration,
}

/// The default of [`Config::rebalance_after`].
const REBALANCE_AFTER: Duration = Duration::from_secs(5 * 60);

impl Default for Config {
    fn default() -> Self {
        Self { reflection: true, tokenless_reports: None, rebalance_after: REBALANCE_AFTER }
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
    /// The workers that wait for jobs.
    pub claims: Claims,
    /// The progress of attempts.
    pub progress: ProgressReports,
    /// Lists the connected workers.
    pub workers: Workers,
    /// Counts the connected workers.
    pub health: HealthMonitor,
    /// The number of running gateways.
    pub gateways: Shares,
    /// The limits, the tasks and the shutdown signals of the server.
    pub context: Context,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_are_documented() {
        let minutes = REBALANCE_AFTER.as_secs() / 60;
        limits_page::row(
            "stream of a worker, if there are several gateways",
            &format!("{minutes} to {} min", 2 * minutes),
        );
    }
}
