use std::sync::Arc;

use broker::Queue;

use crate::config::Config;
use crate::connection_init::ConnectionInitHook;
use crate::executor::{Executor, Schemas};
use crate::persisted_queries::TrustedDocuments;
use crate::schema;
use crate::services::Services;
use gateway_access::TrackingLinks;
use gateway_http::context::Context;
use gateway_service::HealthMonitor;
use gateway_service::event_log::EventLog;
use gateway_service::feed::Feed;
use gateway_service::health_reasons::HealthReasons;
use gateway_service::loader;
use gateway_service::orders::Orders;
use gateway_service::signals::Signals;
use gateway_service::system::System;
use gateway_service::workers::Workers;
use gateway_store::Store;
use gateway_webhooks::Webhooks;

/// Callbacks and documents of the embedding program.
#[derive(Debug, Clone, Default)]
pub struct Hooks {
    /// The only documents that run; `None` permits every document.
    pub trusted_documents: Option<Arc<TrustedDocuments>>,
    /// Accepts or rejects a websocket by the payload of `connection_init`.
    pub connection_init: ConnectionInitHook,
}

/// The parts that the API is built from.
pub struct StateParts {
    /// The limits.
    pub config: Config,
    /// Callbacks and documents of the embedding program.
    pub hooks: Hooks,
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
    /// The events of all orders.
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
    /// The server.
    pub context: Context,
}

/// The state of the handlers. One pointer, because each request clones it.
#[derive(Clone)]
pub struct State(Arc<Shared>);

struct Shared {
    executor: Executor,
    config: Arc<Config>,
    connection_init: ConnectionInitHook,
    context: Context,
}

impl State {
    /// Builds the schema and the caches.
    pub fn new(parts: StateParts) -> Self {
        let StateParts {
            config,
            hooks,
            orders,
            store,
            tracking,
            webhooks,
            feed,
            event_log,
            queue,
            health,
            signals,
            workers,
            health_reasons,
            system,
            context,
        } = parts;
        let Hooks { trusted_documents, connection_init } = hooks;
        let services = Arc::new(Services {
            order_loader: loader::orders(&orders),
            event_loader: loader::events(&orders),
            outputs_loader: loader::outputs(&orders),
            default_currency: orders.config().default_currency,
            max_page_bytes: context.limits.max_response_size,
            orders,
            store,
            tracking,
            webhooks,
            feed,
            event_log,
            queue,
            health,
            signals,
            workers,
            health_reasons,
            system,
        });
        let schemas =
            Schemas { metered: schema::metered(Arc::clone(&services)), plain: schema::plain(services) };
        let config = Arc::new(config);
        let executor =
            Executor::new(schemas, Arc::clone(&config), trusted_documents, context.limits.max_response_size);
        Self(Arc::new(Shared { executor, config, connection_init, context }))
    }

    pub(crate) fn executor(&self) -> &Executor {
        &self.0.executor
    }

    pub(crate) fn config(&self) -> &Arc<Config> {
        &self.0.config
    }

    pub(crate) fn connection_init(&self) -> &ConnectionInitHook {
        &self.0.connection_init
    }

    pub(crate) fn context(&self) -> &Context {
        &self.0.context
    }
}
