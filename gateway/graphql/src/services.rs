use std::sync::Arc;

use async_graphql::Context;
use broker::Queue;
use domain::{Currency, Principal};

use gateway_access::TrackingLinks;
use gateway_service::HealthMonitor;
use gateway_service::event_log::EventLog;
use gateway_service::feed::Feed;
use gateway_service::health_reasons::HealthReasons;
use gateway_service::loader::{EventLoader, OrderLoader, OutputsLoader};
use gateway_service::orders::Orders;
use gateway_service::signals::Signals;
use gateway_service::system::System;
use gateway_service::workers::Workers;
use gateway_store::Store;
use gateway_webhooks::Webhooks;

/// The use cases and components that resolvers call.
pub(crate) struct Services {
    pub(crate) orders: Orders,
    /// The database, for keys and the audit log.
    pub(crate) store: Store,
    /// The links of customers to their orders.
    pub(crate) tracking: TrackingLinks,
    /// Webhook endpoints.
    pub(crate) webhooks: Webhooks,
    pub(crate) feed: Feed,
    pub(crate) event_log: EventLog,
    pub(crate) queue: Arc<dyn Queue>,
    pub(crate) health: HealthMonitor,
    pub(crate) signals: Signals,
    pub(crate) workers: Workers,
    pub(crate) health_reasons: HealthReasons,
    pub(crate) system: System,
    pub(crate) order_loader: OrderLoader,
    pub(crate) event_loader: EventLoader,
    pub(crate) outputs_loader: OutputsLoader,
    pub(crate) default_currency: Currency,
    /// Maximum length of a page of orders, in bytes.
    pub(crate) max_page_bytes: usize,
}

/// Returns the caller of the operation.
pub(crate) fn caller<'c>(ctx: &Context<'c>) -> &'c Arc<Principal> {
    ctx.data_unchecked()
}
