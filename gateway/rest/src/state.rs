//! The settings of the REST API and the state that its handlers share.

use std::ops::Deref;
use std::sync::Arc;

use broker::Queue;
use gateway_access::TrackingLinks;
use gateway_http::context::Context;
use gateway_service::health_reasons::HealthReasons;
use gateway_service::signals::Signals;
use gateway_service::system::System;
use gateway_service::workers::Workers;
use gateway_service::{HealthMonitor, event_log::EventLog, feed::Feed, orders::Orders};
use gateway_store::Store;
use gateway_webhooks::Webhooks;

use crate::bulk_limiter::BulkLimiter;

/// The settings of the REST API.
#[derive(Debug, Clone)]
pub struct Config {
    /// Maximum size of the body of a bulk create, in bytes.
    pub max_bulk_body_size: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { max_bulk_body_size: 4 * 1024 * 1024 }
    }
}

/// The parts of a [`RestState`].
pub struct StateParts {
    /// The settings.
    pub config: Config,
    /// The use cases.
    pub orders: Orders,
    /// The database, for keys and the audit log.
    pub store: Store,
    /// The links of customers to their orders.
    pub tracking: TrackingLinks,
    /// Webhook endpoints.
    pub webhooks: Webhooks,
    /// The live feed.
    pub feed: Feed,
    /// The event log.
    pub event_log: EventLog,
    /// The queue, for its length.
    pub queue: Arc<dyn Queue>,
    /// The number of workers.
    pub health: HealthMonitor,
    /// What happened in the last hours.
    pub signals: Signals,
    /// The workers of all gateways.
    pub workers: Workers,
    /// The health in words.
    pub health_reasons: HealthReasons,
    /// The parts of the system.
    pub system: System,
    /// The state that all APIs share.
    pub context: Context,
}

/// The state of the handlers. Each request clones it several times, so it is one pointer.
#[derive(Clone)]
pub struct RestState(Arc<Shared>);

struct Shared {
    parts: StateParts,
    /// Limits the bulk creates that are processed at the same time.
    bulk_limiter: BulkLimiter,
}

impl RestState {
    /// Creates the state of the API.
    pub fn new(parts: StateParts) -> Self {
        let bulk_limiter = BulkLimiter::new(parts.config.max_bulk_body_size);
        Self(Arc::new(Shared { parts, bulk_limiter }))
    }

    pub(crate) fn bulk_limiter(&self) -> &BulkLimiter {
        &self.0.bulk_limiter
    }
}

impl Deref for RestState {
    type Target = StateParts;

    fn deref(&self) -> &StateParts {
        &self.0.parts
    }
}
